"""A long cell goes on where it stopped: its training is saved on the way, and at SIGTERM.

A checkpoint of a cell is two files beside the store: the agent as it saves itself (weights,
generators, the environment's state), and a JSON file with what the cell has counted so far, which
names the other one and its SHA-256. The JSON file is written last and put in place at once, so that
a kill leaves the old checkpoint or the new one. Only agents that promise `resume` and `split_learn`
are saved; their cells give the same bits as if they had never stopped.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from registry.errors import CheckpointError, SettingError
from rlsuite.records import CurvePoint
from rlsuite.running.packing import decoded, encoded
from rlsuite.views import recorders_of

__all__ = [
    "CheckpointPlan",
    "Saver",
    "Stopped",
    "load_cell",
    "load_pair",
    "remove_cell",
    "save_cell",
    "save_pair",
    "stop_requests",
    "sweep",
]

FORMAT = 3
FIRST_PART = 64
"""Steps of the first call of `learn`; they double while a call takes less than `PART_SECONDS`."""

PART_SECONDS = 0.25
"""How long SIGTERM waits for the running call of `learn`, about."""


class Stopped(KeyboardInterrupt):
    """The training was asked to stop, and is saved."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointPlan:
    """Where the checkpoints of a cell are kept, and after how many steps the next one is due.

    Raises:
        SettingError: `every` is no whole number of at least 1.
    """

    folder: str
    digest: str
    every: int

    def __post_init__(self) -> None:
        if isinstance(self.every, bool) or not isinstance(self.every, int) or self.every < 1:
            raise SettingError(
                f"checkpoint_every is a whole number of steps of at least 1, got {self.every!r}."
            )

    def as_json(self) -> dict[str, Any]:
        """As a dictionary."""
        return asdict(self)

    @classmethod
    def from_json(cls, parts: Mapping[str, Any]) -> CheckpointPlan:
        """The inverse of `as_json`."""
        return cls(**parts)

    @property
    def head(self) -> Path:
        """The JSON file."""
        return Path(self.folder) / f"{self.digest}.json"

    def agent_file(self, step: int) -> Path:
        """The agent after `step` steps."""
        return Path(self.folder) / f"{self.digest}.{step}.agent"


def save_cell(plan: CheckpointPlan, agent: Any, step: int, state: Mapping[str, Any]) -> None:
    """Keeps a cell as it stands after `step` steps, instead of the checkpoint before.

    Raises:
        CheckpointError, OSError: it cannot be written; the one before is kept.
    """
    Path(plan.folder).mkdir(parents=True, exist_ok=True)
    file = plan.agent_file(step)
    save_pair(plan.head, file, agent, step, state)
    for old in plan.head.parent.glob(f"{plan.digest}.*.agent"):
        if old != file:
            old.unlink(missing_ok=True)


def save_pair(path: Path, file: Path, agent: Any, step: int, state: Mapping[str, Any]) -> None:
    """Writes an agent to `file`, and then to `path` what belongs to it and its SHA-256.

    Raises:
        CheckpointError, OSError: it cannot be written; what stood at `path` is kept.
    """
    agent.save(file)
    head = {
        "format": FORMAT,
        "step": step,
        "agent": file.name,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "state": encoded(state),
    }
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as stream:
        json.dump(head, stream, allow_nan=False)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)


def load_cell(plan: CheckpointPlan) -> tuple[Path, dict[str, Any]] | None:
    """The agent's file and the state of the cell; None where there is no checkpoint.

    Raises:
        CheckpointError: there is one, and it is damaged.
    """
    return load_pair(plan.head)


def load_pair(path: Path) -> tuple[Path, dict[str, Any]] | None:
    """The agent's file and the state that `save_pair` wrote; None where there is none.

    Raises:
        CheckpointError: there is one, and it is damaged.
    """
    try:
        head = json.loads(path.read_text(encoding="utf-8"))
        if head["format"] != FORMAT:
            raise CheckpointError(f"{path} has the format {head['format']!r}, not {FORMAT}.")
        file = path.with_name(Path(head["agent"]).name)
        found = hashlib.sha256(file.read_bytes()).hexdigest()
        state: dict[str, Any] = decoded(head["state"])
    except FileNotFoundError as error:
        if not path.exists():
            return None
        raise CheckpointError(f"{path} names an agent that is missing.") from error
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is damaged: {error}.") from error
    if found != head["sha256"]:
        raise CheckpointError(f"{file} is not the agent that {path.name} was saved with.")
    return file, state


def remove_cell(plan: CheckpointPlan) -> None:
    """Removes the checkpoint of a cell, if there is one."""
    for file in Path(plan.folder).glob(f"*{plan.digest}.*"):  # torn ones too, which have a dot
        with contextlib.suppress(OSError):  # what cannot be removed is found damaged, or used again
            file.unlink(missing_ok=True)


def sweep(folder: Path, finished: Container[str]) -> None:
    """Removes checkpoints of finished cells, which a worker without a coordinator left behind."""
    if not folder.is_dir():
        return
    for file in folder.iterdir():
        if file.name.lstrip(".").partition(".")[0] in finished:
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)


class Saver:
    """Cuts the training of a cell into calls of `learn`, and saves it between them.

    Args:
        plan: Where to, and how often.
        run: The cell while it is run: its `log`, `env`, `watch`, `curve` and clocks are saved and
            restored.
    """

    def __init__(self, plan: CheckpointPlan, run: Any) -> None:
        self.plan, self.run = plan, run
        self.saved_at = 0

    def resumed(self, agent: Any) -> tuple[Any, int]:
        """The agent and the steps it has done: those of the checkpoint, or `agent` and 0.

        A checkpoint that cannot be used is removed, and standard output says so.
        """
        try:
            found = load_cell(self.plan)
            if found is None:
                return agent, 0
            file, state = found
            resumed = type(agent).load(file, env=self.run.env, device=self.run.device)
        except CheckpointError as error:
            print(f"The training begins anew, its checkpoint cannot be used: {error}")
            remove_cell(self.plan)
            self.run.env.close()
            self.run.log.restore(type(self.run.log)().state())
            return self.run.build(), 0
        self._restore(state)
        self.saved_at = state["done"]
        return resumed, self.saved_at

    def train(self, agent: Any, done: int, point: int, learn: Callable[[Any, int], object]) -> None:
        """Calls `learn(agent, steps)` for parts of the way from `done` to `point`, and saves.

        Raises:
            Stopped: SIGTERM came; the training is saved.
        """
        size = FIRST_PART
        while done < point:
            due = self.saved_at + self.plan.every
            part = min(size, point - done, max(1, due - done))
            start = time.perf_counter()
            with stop_requests() as asked:
                learn(agent, part)
            done += part
            if asked.is_set() or done >= due:
                self._save(agent, done)
            if asked.is_set():
                raise Stopped(f"stopped after {done} steps")
            if time.perf_counter() - start < PART_SECONDS and part == size:
                size *= 2

    def _save(self, agent: Any, done: int) -> None:
        self.saved_at = done
        run = self.run
        state = {
            "done": done,
            "log": run.log.state(),
            "recorders": [recorder.state() for recorder in recorders_of(run.env)],
            "watch": None if run.watch is None else run.watch.state(),
            "curve": [asdict(point) for point in run.curve],
            "train_seconds": run.train_seconds,
            "eval_seconds": run.eval_seconds,
        }
        try:
            save_cell(self.plan, agent, done, state)
        except (CheckpointError, OSError) as error:  # training matters more than its copy
            print(f"The training goes on, but could not be saved: {error}")

    def _restore(self, state: Mapping[str, Any]) -> None:
        run = self.run
        run.log.restore(state["log"])
        for recorder, saved in zip(recorders_of(run.env), state["recorders"], strict=True):
            recorder.restore(saved)
        if run.watch is not None and state["watch"] is not None:
            run.watch.restore(state["watch"])
        run.curve[:] = [CurvePoint(**point) for point in state["curve"]]
        run.train_seconds, run.eval_seconds = state["train_seconds"], state["eval_seconds"]


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """An event that SIGTERM sets inside, instead of ending the process.

    Elsewhere than in the main thread signals cannot be caught: there it is never set.
    """
    asked = threading.Event()

    def handler(number: int, frame: FrameType | None) -> None:
        asked.set()

    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGTERM, before)
