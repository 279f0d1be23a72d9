"""Checkpoints of one training on its way: the last few of them, each with all that goes on.

    FOLDER/step-20000.agent     the agent as it saves itself
    FOLDER/step-20000.json      what was counted so far, and the SHA-256 of the agent

The JSON file is written last and put in place at once: whatever is killed, a checkpoint is there
whole or not at all, and those before it are untouched.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.errors import CheckpointError, SettingError
from rlsuite.evaluation import check_whole
from rlsuite.records import canonical_json
from rlsuite.running.resuming import load_pair, save_pair

__all__ = ["CheckpointRules", "SavedSteps"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointRules:
    """How often a training is saved, where, and whether it goes on from there.

    Raises:
        SettingError: a number is none of at least 1.
    """

    every: int  # steps of the environment between two checkpoints
    folder: Path | None = None  # None: one below results/checkpoints, from what is trained
    keep: int = 3  # how many of the last checkpoints are kept
    resume: bool = False  # from the newest one, if there is any

    def __post_init__(self) -> None:
        check_whole("checkpoint_every", self.every)
        check_whole("keep", self.keep)


class SavedSteps:
    """The checkpoints in a folder.

    Args:
        folder: Where they are; it is made with the first one.
        keep: How many of the last ones are kept.
        about: What is trained; a checkpoint of something else is refused.
    """

    def __init__(self, folder: Path, keep: int, about: Mapping[str, Any]) -> None:
        self.folder, self.keep = folder, keep
        self.about: dict[str, Any] = json.loads(canonical_json(about))

    @property
    def steps(self) -> list[int]:
        """Those there are, rising."""
        found = [path.stem.removeprefix("step-") for path in self.folder.glob("step-*.json")]
        return sorted(int(step) for step in found if step.isdecimal())

    def agent_file(self, step: int) -> Path:
        """The agent after `step` steps, which `rlsuite evaluate --checkpoint` takes."""
        return self.folder / f"step-{step}.agent"

    def save(self, agent: Any, step: int, state: Mapping[str, Any]) -> None:
        """Keeps one more, and drops the oldest beyond `keep`.

        Raises:
            CheckpointError: it cannot be written; those before are kept.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            content = {"about": self.about, **state}
            save_pair(self._head(step), self.agent_file(step), agent, step, content)
        except OSError as error:
            raise CheckpointError(
                f"the checkpoint after step {step:,} was not written: {error}. {self.newest_words}"
            ) from error
        for old in self.steps[: -self.keep]:
            for file in (self._head(old), self.agent_file(old)):  # the head first: no half ones
                with contextlib.suppress(OSError):
                    file.unlink(missing_ok=True)

    def newest(self) -> tuple[Path, dict[str, Any], list[str]] | None:
        """The newest that can be read, and why newer ones cannot; None where there is none.

        Raises:
            CheckpointError: there are some, and none can be read, or they are of another training.
        """
        damaged: list[str] = []
        for step in reversed(self.steps):
            try:
                found = load_pair(self._head(step))
            except CheckpointError as error:
                damaged.append(str(error))
                continue
            if found is not None:
                self._check(found[1]["about"])
                return *found, damaged
        if damaged:
            raise CheckpointError(
                f"no checkpoint in {self.folder} can be read: {' '.join(damaged)} Remove the "
                "folder to begin anew."
            )
        return None

    def refuse_others(self) -> None:
        """Raises `SettingError` where there are checkpoints already, which would be mixed up."""
        if self.steps:
            raise SettingError(
                f"{self.folder} holds checkpoints up to step {self.steps[-1]:,}: go on from there "
                "with --resume, or remove the folder, or name another one."
            )

    @property
    def newest_words(self) -> str:
        """Where the last good one is, for an error."""
        if not self.steps:
            return "There is no earlier checkpoint."
        last = self.steps[-1]
        return f"The last good checkpoint is {self.agent_file(last)}, after step {last:,}."

    def _check(self, saved: Mapping[str, Any]) -> None:
        for name in sorted(self.about.keys() | saved.keys()):
            if saved.get(name) != self.about.get(name):
                raise CheckpointError(
                    f"the checkpoints in {self.folder} are of another training, with {name} "
                    f"{saved.get(name)!r} instead of {self.about.get(name)!r}: go on with what it "
                    "began with, or name another folder."
                )

    def _head(self, step: int) -> Path:
        return self.folder / f"step-{step}.json"
