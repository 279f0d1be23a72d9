"""Policies that a training leaves: more episodes of them are played without training again.

Beside the store stands a folder with a file for each evaluation of a training: the agent as it
saved itself. They save work and nothing else depends on them, so the whole folder may be removed at
any time; cells that need one that is gone are trained anew.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from registry.errors import CheckpointError
from rlsuite.records import RunRecord
from rlsuite.suite import Cell

__all__ = ["FINAL", "POLICIES_BYTES", "POLICY_BYTES", "Shelf", "needed", "trim"]

FINAL = "final"
"""Name of the policy at the end; those at the points of evaluation are numbered from 0."""

POLICY_BYTES = 32 * 2**20
"""Size of a file above which it is not kept, nor the others of its cell: of agents that save the
memory they learn from."""

POLICIES_BYTES = 4 * 2**30
"""Size of all files together above which the oldest are removed, at the end of a suite and now and
then while it runs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shelf:
    """The policies of one training. `training` is `RunKey.training`."""

    folder: str
    training: str

    def as_json(self) -> dict[str, str]:
        """As a dictionary."""
        return asdict(self)

    def file(self, name: str) -> Path:
        """The file of a policy."""
        return Path(self.folder) / self.training[:2] / f"{self.training}.{name}.agent"

    def has(self, names: Iterable[str]) -> bool:
        """Whether all of these are there."""
        return all(self.file(name).is_file() for name in names)

    def keep(self, agent: Any, name: str) -> bool:
        """Saves the agent; False, and none of this training is kept, where that is not possible.

        Whatever is killed, a file is there in full or not at all.
        """
        file = self.file(name)
        temporary = file.with_suffix(f".{os.getpid()}.tmp")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            agent.save(temporary)
            if temporary.stat().st_size <= POLICY_BYTES:
                os.replace(temporary, file)
                return True
            reason = f"it takes more than {POLICY_BYTES // 2**20} MiB"
        except Exception as error:  # of somebody's save: it may be any
            reason = f"{type(error).__name__}: {error}"
        print(f"The policy is not kept, so that more episodes will need a new training: {reason}")
        self.clear()
        return False

    def load(self, agent_type: Any, name: str) -> Any:
        """The agent of a file.

        Raises:
            CheckpointError: it is missing, damaged, or not of this class.
        """
        file = self.file(name)
        try:
            return agent_type.load(file)
        except Exception as error:  # of somebody's load: it may be any
            raise CheckpointError(f"the policy {file} cannot be used: {error}") from error

    def size(self) -> int:
        """Bytes that the policies of this training take."""
        return sum(size for _, _, size in _files(self._mine()))

    def clear(self, torn_only: bool = False) -> None:
        """Removes what is there of this training, or what a kill left of files half written."""
        for file in self._mine():
            if not torn_only or file.suffix != ".agent":
                with contextlib.suppress(OSError):  # what cannot be removed can be used again
                    file.unlink(missing_ok=True)

    def _mine(self) -> Iterator[Path]:
        return self.file(FINAL).parent.glob(f"*{self.training}.*")


def needed(cell: Cell, before: RunRecord) -> list[str]:
    """Names of the policies that `before` has to be evaluated with to become the record of a cell.

    The final one always; those at the points on the way where the cell plays another number of
    episodes there.
    """
    names = [FINAL]
    if before.key.identity["evaluation"]["episodes"] != cell.eval_episodes:
        names += map(str, range(len(before.curve) - 1))
    return names


def trim(folder: Path, limit: int) -> None:
    """Removes the oldest files of a folder of policies until all take at most `limit` bytes."""
    files = list(_files(folder.glob("*/*")))
    total = sum(size for _, _, size in files)
    for _, file, size in sorted(files):
        if total <= limit:
            return
        with contextlib.suppress(OSError):
            file.unlink(missing_ok=True)
            total -= size


def _files(paths: Iterable[Path]) -> Iterator[tuple[int, Path, int]]:
    """Date, path and size of each file that is there."""
    for path in paths:
        with contextlib.suppress(OSError):  # somebody else has just removed it
            status = path.stat()
            yield status.st_mtime_ns, path, status.st_size
