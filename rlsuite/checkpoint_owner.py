"""Reads from a checkpoint whose it is, so that nobody has to name its agent again."""

from __future__ import annotations

import json
from pathlib import Path

from registry.errors import CheckpointError

__all__ = ["agent_of"]

LENGTH_BYTES = 8
LARGEST_HEADER = 100_000_000
"""What the format allows: more is no safetensors file."""


def agent_of(path: Path) -> str:
    """The id of the agent that wrote a checkpoint.

    The header of a safetensors file is a length in eight bytes and so much JSON; checkpoints of
    rlsuite keep `"<sha256> <json>"` under `"rlsuite"` in its metadata. Only the name is read here;
    the agent itself checks the rest when it loads.

    Raises:
        CheckpointError: the file is missing, or is no checkpoint of rlsuite.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(LENGTH_BYTES), "little")
            header = file.read(length) if length <= LARGEST_HEADER else b""
        entry = json.loads(header)["__metadata__"]["rlsuite"]
        agent = json.loads(entry.partition(" ")[2])["agent"]
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"{path} is no checkpoint of rlsuite: give a file that `rlsuite train --save` wrote."
        ) from error
    if not isinstance(agent, str):
        raise CheckpointError(f"{path} does not name its agent: {agent!r}.")
    return agent
