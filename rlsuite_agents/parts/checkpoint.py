"""Checkpoints: arrays as safetensors, all else as JSON in its header. Nothing in them is code.

    header["rlsuite"] = "<sha256> <json>"
    json = {"format": 1, "written_by": version, "agent": id, "config": {...}, "state": {...}}

The SHA-256 covers the JSON and every array, so that a flipped bit shows. One entry in the header,
because the order of several is not fixed: equal agents give equal bytes.

A file is written beside its place and moved there when it is complete: whatever is killed, the path
holds the old checkpoint or the new one, never half of one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.errors import CheckpointError, RlsuiteError

__all__ = [
    "FORMAT",
    "Checkpoint",
    "generator_state",
    "load_checkpoint",
    "restore_generator",
    "save_checkpoint",
    "write_atomically",
]

FORMAT = 1
"""Version of the layout. Readers refuse a newer one with a sentence."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Checkpoint:
    """What a file held: the settings, the arrays by name, and the JSON state."""

    config: Any
    arrays: Mapping[str, NDArray[Any]]
    state: Mapping[str, Any]
    path: Path

    def array(
        self, name: str, shape: tuple[int, ...], dtype: Any = np.float64, *, nan: bool = False
    ) -> NDArray[Any]:
        """The array of this name, as an array of its own.

        Raises:
            CheckpointError: it is missing, has another shape or dtype, or (unless `nan`) holds NaN
                or infinity.
        """
        if name not in self.arrays:
            raise CheckpointError(
                f"{self.path} lacks the array {name!r}; it holds {sorted(self.arrays)}."
            )
        found = self.arrays[name]
        if found.shape != tuple(shape) or found.dtype != np.dtype(dtype):
            raise CheckpointError(
                f"{self.path}: the array {name!r} should be {np.dtype(dtype)} of shape "
                f"{tuple(shape)}, but is {found.dtype} of shape {found.shape}."
            )
        if not nan:
            _refuse_non_finite(str(self.path), {name: found})
        return found.copy()

    def value(self, name: str, kind: type | tuple[type, ...]) -> Any:
        """The value of this name in the JSON state; raises `CheckpointError` unless it is a `kind`.

        `bool` counts as an `int` only where `bool` is asked for.
        """
        found = self.state.get(name)
        wanted = kind if isinstance(kind, tuple) else (kind,)
        if not isinstance(found, wanted) or (isinstance(found, bool) and bool not in wanted):
            names = " or ".join(k.__name__ for k in wanted)
            raise CheckpointError(
                f"{self.path}: {name!r} should be of type {names}, but is {found!r:.80}."
            )
        return found

    def index(self, name: str, n: int) -> int | None:
        """An index in [0, n), or None, from the JSON state; raises `CheckpointError`."""
        found = self.value(name, (int, type(None)))
        if found is None or 0 <= found < n:
            return found
        raise CheckpointError(f"{self.path}: {name!r} should be in [0, {n}), but is {found}.")


def save_checkpoint(
    path: str | PathLike[str],
    *,
    agent: str,
    config: Any,
    arrays: Mapping[str, NDArray[Any]],
    state: Mapping[str, Any],
    allow_nan: frozenset[str] = frozenset(),
) -> None:
    """Writes one checkpoint to exactly this path, in one piece or not at all.

    Args:
        path: where; the folder must exist. What stands there is replaced.
        agent: the id that `load_checkpoint` will ask for.
        config: a dataclass of plain settings (numbers, strings, None, tuples of them).
        arrays: what is large, by name.
        state: the rest: what JSON can hold, NumPy scalars and arrays (they become lists).
        allow_nan: names of arrays in which NaN or infinity mean something.

    Raises:
        CheckpointError: the folder is missing or cannot be written, the disk is full, a weight is
            NaN or infinite, or `state` holds what JSON cannot. What stood at `path` is untouched.
    """
    from safetensors.numpy import save

    target = Path(path)
    _refuse_non_finite(
        f"{target} was not written", {k: v for k, v in arrays.items() if k not in allow_nan}
    )
    contiguous = {name: np.ascontiguousarray(value) for name, value in arrays.items()}
    for name, value in arrays.items():  # ascontiguousarray turns 0-d arrays into 1-d ones
        contiguous[name] = contiguous[name].reshape(np.shape(value))
    header = {
        "format": FORMAT,
        "written_by": metadata.version("rlsuite"),
        "agent": agent,
        "config": {f.name: getattr(config, f.name) for f in dataclasses.fields(config)},
        "state": dict(state),
    }
    try:
        text = json.dumps(header, default=_plain, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"{target} was not written: the agent's state is not plain JSON ({error})."
        ) from error
    content = save(contiguous, metadata={"rlsuite": f"{_digest(text, contiguous)} {text}"})
    write_atomically(target, content)


def load_checkpoint(path: str | PathLike[str], *, agent: str, config_type: type) -> Checkpoint:
    """Reads a checkpoint of this agent and checks all of it; runs nothing that is in the file.

    Raises:
        CheckpointError: the file is missing, truncated, altered or not a checkpoint of ours; it
            belongs to another agent or a newer format; a setting is unknown, missing or refused.
    """
    target = Path(path)
    text, digest, arrays = _read(target)
    try:
        header = json.loads(text)
        format_version = header["format"]
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{target} is damaged: its header is not readable.") from error
    if format_version != FORMAT:
        raise CheckpointError(
            f"{target} has checkpoint format {format_version!r}, written by rlsuite "
            f"{header.get('written_by')}; this rlsuite reads format {FORMAT}. Update rlsuite."
        )
    if digest != _digest(text, arrays):
        raise CheckpointError(f"{target} is damaged: its contents do not match its checksum.")
    if header["agent"] != agent:
        raise CheckpointError(
            f"{target} is a checkpoint of {header['agent']!r}, not of {agent!r}; "
            "load it with the class that saved it."
        )
    config = _config(target, header, config_type)
    return Checkpoint(config=config, arrays=arrays, state=header["state"], path=target)


def generator_state(rng: np.random.Generator) -> dict[str, Any]:
    """The position of a generator in its stream, as a dictionary that JSON can hold."""
    plain: dict[str, Any] = json.loads(json.dumps(rng.bit_generator.state, default=_plain))
    return plain


def restore_generator(rng: np.random.Generator, state: Any) -> None:
    """Puts a generator where `generator_state` found it.

    Raises:
        CheckpointError: the state is malformed, or of another kind of bit generator.
    """
    kind = type(rng.bit_generator).__name__
    if not isinstance(state, Mapping) or state.get("bit_generator") != kind:
        raise CheckpointError(f"this is not the state of a {kind} generator: {state!r:.80}.")
    try:
        rng.bit_generator.state = dict(state)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(f"the state of a {kind} generator is damaged ({error}).") from error


def _plain(value: Any) -> Any:
    """What `json` asks about anything it does not know."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is neither JSON nor a NumPy array")


def _digest(text: str, arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 of the header's text and of each array with its name, dtype and shape."""
    found = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        found.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape}".encode())
        found.update(arrays[name].tobytes())
    return found.hexdigest()


def _refuse_non_finite(where: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    for name, value in arrays.items():
        if np.issubdtype(value.dtype, np.floating) and not np.isfinite(value).all():
            raise CheckpointError(
                f"{where}: the array {name!r} holds NaN or infinity. "
                "The training has diverged; go back to an earlier checkpoint."
            )


def write_atomically(target: Path, content: bytes) -> None:
    """Writes a file whole or not at all; raises `CheckpointError`."""
    temporary: Path | None = None
    try:
        path = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}")
        with open(path, "xb") as file:  # as open to others as the umask says; tempfile's are not
            temporary = path
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()
        raise CheckpointError(
            f"{target} was not written: {error.strerror or error}. Give a path in a folder that "
            "exists, can be written and has space left."
        ) from error


def _read(target: Path) -> tuple[str, str, dict[str, NDArray[Any]]]:
    from safetensors import SafetensorError, safe_open

    if not target.is_file():
        what = "is a folder" if target.is_dir() else "does not exist"
        raise CheckpointError(f"there is no checkpoint {target}: it {what}.")
    try:
        with safe_open(target, framework="numpy") as file:
            header = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{target} cannot be read: it is truncated, or not a checkpoint ({error})."
        ) from error
    if "rlsuite" not in header:
        raise CheckpointError(f"{target} is a safetensors file, but not a checkpoint of rlsuite.")
    digest, _, text = header["rlsuite"].partition(" ")
    return text, digest, arrays


def _config(target: Path, header: Mapping[str, Any], config_type: type) -> Any:
    settings = header["config"]
    known = {field.name for field in dataclasses.fields(config_type)}
    for kind, names in (("has", set(settings) - known), ("lacks", known - set(settings))):
        if names:
            raise CheckpointError(
                f"{target} {kind} the setting {sorted(names)[0]!r}: it was written by rlsuite "
                f"{header['written_by']}, whose {config_type.__name__} is another one."
            )
    try:
        return config_type(**{name: _hashable(value) for name, value in settings.items()})
    except RlsuiteError as error:
        raise CheckpointError(f"{target} holds a setting that is refused: {error}") from error


def _hashable(value: Any) -> Any:
    """JSON knows no tuples; settings, being frozen, know no lists."""
    return tuple(_hashable(item) for item in value) if isinstance(value, list) else value
