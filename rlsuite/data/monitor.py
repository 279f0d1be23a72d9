"""Training runs that Stable-Baselines3 logged with its Monitor, as records of a store.

A file `NAME.monitor.csv` begins with a line of JSON behind a `#`, then come the columns `r`, `l`,
`t` (return, length and seconds of an episode), and others, which are ignored. A run is a folder of
such files, one for each environment that it trained in; their episodes are put in order by their
time, as Stable-Baselines3 does. An episode that the run did not finish is not in them.

What comes out says that it was imported, in the identity of its key and in its notes: it is never
taken for a cell that was computed here.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from registry.catalogue import registry
from registry.errors import SettingError, StoreError
from rlsuite.records import CurvePoint, RunKey, RunRecord, TrainingCurve
from rlsuite.store import DEFAULT_PATH, Store
from rlsuite.training import MAX_WINDOWS

__all__ = ["SOURCE", "Imported", "import_monitor", "run_folders"]

SOURCE = "Stable-Baselines3 Monitor"
ENDING = "monitor.csv"
LAST = 100
"""Episodes whose mean return is a figure: the window that Stable-Baselines3 shows."""

POINTS = 20
NOTE = (
    f"imported from {SOURCE} files: the return is the mean of the last {LAST} training episodes, "
    "exploration included, and no evaluation; steps are those of finished episodes"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Imported:
    """One run that was read. `known`: it was in the store already."""

    folder: Path
    record: RunRecord
    known: bool


@dataclass(frozen=True, slots=True)
class _Episodes:
    """The finished episodes of a run in their order: returns, lengths, seconds; `[E]` each."""

    returns: NDArray[np.float64]
    lengths: NDArray[np.int64]
    seconds: NDArray[np.float64]
    started: float

    @property
    def steps(self) -> NDArray[np.int64]:
        """Environment steps at the end of each."""
        return np.cumsum(self.lengths)


def import_monitor(
    folder: str | PathLike[str],
    *,
    agent: str,
    task: str,
    store: str | PathLike[str] = DEFAULT_PATH,
    seed: int = 0,
    total_timesteps: int | None = None,
) -> tuple[Imported, ...]:
    """Reads runs and keeps them in a store, all of them or, if one is malformed, none.

    Args:
        folder: holds the files of one run, or folders that do, which are then runs with the seeds
            `seed`, `seed + 1` and so on, in the order of their names.
        agent: the label under which the runs are shown.
        task: what was learned; a task of the registry gives its family, others are `other`.
        store: the store; it is made where there is none.
        seed: of the first run.
        total_timesteps: the budget of each run; None is the most steps that one of them took.

    Raises:
        SettingError: no files, no episode, or a malformed line, with its file and number.
        StoreError: a file cannot be read, or the store not be written.
    """
    if not agent.strip():
        raise SettingError("--agent is the name under which the runs are shown, got an empty one.")
    folders = run_folders(Path(folder))
    runs = [_episodes(one) for one in folders]
    budget = max(int(run.lengths.sum()) for run in runs)
    if total_timesteps is not None:
        if total_timesteps < budget:
            raise SettingError(
                f"--steps {total_timesteps:,} is less than the {budget:,} steps that a run took."
            )
        budget = total_timesteps
    records = [
        _record(run, one, agent, task, seed + index, budget)
        for index, (run, one) in enumerate(zip(runs, folders, strict=True))
    ]
    found = []
    with Store(store) as opened:
        for one, record in zip(folders, records, strict=True):
            known = opened.state(record.key.digest) is not None
            opened.put(record)
            found.append(Imported(folder=one, record=record, known=known))
    return tuple(found)


def run_folders(folder: Path) -> list[Path]:
    """The folders of single runs: this one, or those in it, `run_2` before `run_10`.

    Raises:
        SettingError: there are no files of Monitor.
    """
    if _files(folder):
        return [folder]
    inside = [one for one in folder.iterdir() if one.is_dir()] if folder.is_dir() else []
    found = sorted((one for one in inside if _files(one)), key=_natural)
    if not found:
        raise SettingError(
            f"{folder} holds no file whose name ends in {ENDING}, and no folder with one: name the "
            "folder that was given to Stable-Baselines3's Monitor."
        )
    return found


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{ENDING}"), key=_natural) if folder.is_dir() else []


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorts numbers in names by their size."""
    parts = re.findall(r"\d+|\D+", path.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _episodes(folder: Path) -> _Episodes:
    """All episodes of a run, those of several environments merged by their time."""
    started: list[float] = []
    rows: list[tuple[float, float, int]] = []
    for path in _files(folder):
        start, found = _read(path)
        started.append(start)
        rows += [(start + seconds, value, length) for value, length, seconds in found]
    if not rows:
        raise SettingError(f"{folder} holds no finished episode.")
    rows.sort(key=lambda row: row[0])  # stable: episodes of one file stay in order
    times, returns, lengths = zip(*rows, strict=True)
    first = min(started)
    return _Episodes(
        np.array(returns), np.array(lengths, dtype=np.int64), np.array(times) - first, first
    )


def _read(path: Path) -> tuple[float, list[tuple[float, int, float]]]:
    """When a file was begun, and its episodes: return, length, seconds since then."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path} cannot be read as text: {error}.") from error
    start = _started(path, lines[0] if lines else "")
    columns = next(csv.reader(lines[1:2]), [])
    if not {"r", "l", "t"} <= set(columns):
        raise _malformed(path, 2, lines[1] if len(lines) > 1 else "", "names of columns like r,l,t")
    places = [columns.index(name) for name in ("r", "l", "t")]
    return start, list(_rows(path, lines[2:], len(columns), places))


def _started(path: Path, line: str) -> float:
    """The clock of the first line."""
    expected = 'a # and JSON with t_start, like #{"t_start": 0.0, "env_id": "CartPole-v1"}'
    if not line.startswith("#"):
        raise _malformed(path, 1, line, expected)
    try:
        return float(json.loads(line[1:])["t_start"])
    except (ValueError, KeyError, TypeError) as error:
        raise _malformed(path, 1, line, expected) from error


def _rows(
    path: Path, lines: Sequence[str], width: int, places: Sequence[int]
) -> Iterator[tuple[float, int, float]]:
    for number, line in enumerate(lines, start=3):
        cells = next(csv.reader([line]), [])
        try:
            value, length, seconds = (cells[place] for place in places)
            row = float(value), int(length), float(seconds)
            sound = len(cells) == width and row[1] > 0 and math.isfinite(row[0] + row[2])
        except (ValueError, IndexError, csv.Error):
            sound = False
        if not sound:
            expected = "a finite return, a length of at least 1 and seconds, like 21.0,21,0.5"
            raise _malformed(path, number, line, expected)
        yield row


def _malformed(path: Path, number: int, line: str, expected: str) -> SettingError:
    return SettingError(
        f"{path}, line {number}: expected {expected}; got {line[:80]!r}. Nothing was imported."
    )


def _record(
    run: _Episodes, folder: Path, agent: str, task: str, seed: int, budget: int
) -> RunRecord:
    spec = registry.task_spec(task)
    content = hashlib.sha256()
    for path in _files(folder):
        content.update(hashlib.sha256(path.read_bytes()).digest())
    identity = {
        "imported": SOURCE,
        "files": content.hexdigest(),
        "task": task,
        "agent": agent,
        "seed": seed,
        "total_timesteps": budget,
    }
    return RunRecord(
        key=RunKey(identity=identity),
        task=task,
        env_id=spec.env_id,
        family=spec.family,
        metric="final_return",
        agent=agent,
        agent_id="imported",
        settings={},
        seed=seed,
        total_timesteps=budget,
        state="ok",
        steps_used=int(run.lengths.sum()),
        mean_return=float(run.returns[-LAST:].mean()),
        notes=(NOTE,),
        curve=_curve(run, budget),
        training=_training(run),
        train_seconds=float(run.seconds[-1]),
        started_at=datetime.fromtimestamp(run.started, UTC).isoformat(timespec="seconds"),
        fingerprint={"imported": SOURCE},
    )


def _curve(run: _Episodes, budget: int) -> tuple[CurvePoint, ...]:
    """Means of the last hundred episodes at twenty steps that all runs of a budget share."""
    points = []
    for step in np.unique(np.linspace(0, budget, POINTS + 1)[1:].astype(np.int64)):
        ended = int(np.searchsorted(run.steps, step, side="right"))
        if ended and step <= run.steps[-1] + run.lengths.max():  # not beyond the end of the run
            value = float(run.returns[max(0, ended - LAST) : ended].mean())
            seconds = float(run.seconds[ended - 1])
            points.append(CurvePoint(step=int(step), mean_return=value, train_seconds=seconds))
    return tuple(points)


def _training(run: _Episodes) -> TrainingCurve:
    """Windows as a training here has them: of w steps, w the least power of 2 that leaves 2,000."""
    width = 1
    while len(np.unique((run.steps - 1) // width)) > MAX_WINDOWS:
        width *= 2
    windows, starts, counts = np.unique(
        (run.steps - 1) // width, return_index=True, return_counts=True
    )
    return TrainingCurve(
        step=np.minimum((windows + 1) * width, run.steps[-1]),
        mean=np.add.reduceat(run.returns, starts) / counts,
        minimum=np.minimum.reduceat(run.returns, starts),
        maximum=np.maximum.reduceat(run.returns, starts),
        length=np.add.reduceat(run.lengths, starts) / counts,
        regret=np.full(len(windows), np.nan),
        episodes=counts.astype(np.int64),
    )
