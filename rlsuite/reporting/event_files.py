"""Trainings as event files that TensorBoard reads; needs the extra `tensorboard`.

    FOLDER/<task>/<agent>/seed-<n>-<digest>/events.out.tfevents.<digest>

    training/return, training/length, training/regret       windows of the training curve
    training/lowest return, training/highest return
    updates/loss, updates/entropy, ...                      what the agent tells of its updates
    evaluation/return, evaluation/score, evaluation/regret  evaluation points, the last one final
    cell                                                    what was run and what became of it, text

Files are made from finished records, so nothing of a result depends on them, and the same record
gives the same bytes. Values are 32-bit floats, as TensorBoard keeps them; the store has them whole.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import math
import os
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import numpy as np

from registry.errors import SettingError
from rlsuite.diagnosis import write_failure
from rlsuite.evaluation import Evaluation
from rlsuite.records import RunRecord, canonical_json
from rlsuite.reporting.formatting import number
from rlsuite.reporting.tables import markdown_text
from rlsuite.running.events import CellFinished, Event
from rlsuite.training import TrainingLog
from rlsuite.watching.updates import STEP

__all__ = ["CellFiles", "TrainingFile", "cell_events", "run_folder"]

TRAINING_POINTS = 200
NAME_LENGTH = 100
Scalars = Mapping[str, float | None]


class CellFiles:
    """Told of a benchmark's events, it writes a file for each cell that ends.

    A cell that was stored before gets a file if it has none yet, so the same command again
    completes a folder.

    Args:
        folder: Where the files go.

    Raises:
        SettingError: TensorBoard is not installed, or the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = _checked(folder)

    def __call__(self, event: Event) -> None:
        """Takes one event in; an `OSError` says that a file cannot be written."""
        if not isinstance(event, CellFinished):
            return
        path = _path(self.folder, event.record)
        if event.reused and path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name("unfinished")
        unfinished.write_bytes(cell_events(event.record))
        os.replace(unfinished, path)


class TrainingFile:
    """Follows one training: a point at every 200th part of it, and the final evaluation.

    A point is the mean over the episodes that ended since the one before; of the agent's updates
    it is the first one after each 200th part. The same training again writes the same file anew;
    one that goes on from a checkpoint writes a file beside the first one.

    Args:
        folder: Where the file goes.
        about: What is trained, with what: the words of the text beside the curves.
        total: Steps of the training.
        log: What was counted before this training goes on.

    Raises:
        SettingError: TensorBoard is not installed, or the folder cannot be written.
    """

    def __init__(
        self, folder: Path, about: Mapping[str, Any], total: int, log: TrainingLog
    ) -> None:
        digest = hashlib.sha256(canonical_json({**about, "steps": total}).encode()).hexdigest()
        run = run_folder(
            _checked(folder), about["environment"], about["agent"], about["seed"], digest
        )
        place = run / f"{_file(digest)}{f'.{log.steps}' if log.steps else ''}"
        place.parent.mkdir(parents=True, exist_ok=True)
        self._stream = place.open("wb")
        self._write = _Writer(self._stream)
        self._write.text("cell", _table(about.items()))
        self._every = max(total // TRAINING_POINTS, 1)
        self._last = self._next_update = log.steps
        self._next = log.steps + self._every
        self._seen = _sums(log)

    def __call__(self, log: TrainingLog) -> None:
        """After every step."""
        if log.steps >= self._next:
            self._next = log.steps + self._every
            self.point(log)

    def update(self, numbers: Mapping[str, float]) -> None:
        """After every update of the agent: its numbers by name."""
        step = int(numbers[STEP])
        if step >= self._next_update:
            self._next_update = step + self._every
            self._write.scalars(step, _updated(numbers))

    def point(self, log: TrainingLog) -> None:
        """What has happened since the last point, if an episode ended or regret is told."""
        returns, lengths, count = _sums(log)
        before_returns, before_lengths, before = self._seen
        scalars: dict[str, float | None] = {"training/regret": log.regret}
        if count > before:
            scalars["training/return"] = (returns - before_returns) / (count - before)
            scalars["training/length"] = (lengths - before_lengths) / (count - before)
            self._seen = (returns, lengths, count)
        self._write.scalars(log.steps, scalars)
        self._stream.flush()
        self._last = log.steps

    def finish(self, log: TrainingLog, evaluation: Evaluation | None) -> None:
        """The end of the training; `evaluation` is None where it was stopped before its end."""
        if log.steps > self._last:
            self.point(log)
        if evaluation is not None:
            self._write.scalars(log.steps, _evaluated(evaluation))

    def close(self) -> None:
        """Closes the file; calling it twice does no harm."""
        self._stream.close()


def _sums(log: TrainingLog) -> tuple[float, float, int]:
    """Returns, lengths and number of all episodes so far."""
    curve = log.curve()
    returns = float(np.nansum(curve.mean * curve.episodes))
    lengths = float(np.nansum(curve.length * curve.episodes))
    return returns, lengths, int(curve.episodes.sum())


def cell_events(record: RunRecord) -> bytes:
    """The event file of a record.

    Times are those of the training: the clock of TensorBoard's axis "Relative" shows seconds of
    training, without the evaluations in between.
    """
    start = datetime.fromisoformat(record.started_at).timestamp() if record.started_at else 0.0
    stream = io.BytesIO()
    write = _Writer(stream, clock=start)
    write.text("cell", _about(record))
    if record.training is not None:
        curve, per_step = record.training, record.train_seconds / max(record.steps_used, 1)
        for index, step in enumerate(curve.step.tolist()):
            scalars = {
                "training/return": float(curve.mean[index]),
                "training/lowest return": float(curve.minimum[index]),
                "training/highest return": float(curve.maximum[index]),
                "training/length": float(curve.length[index]),
                "training/regret": float(curve.regret[index]),
            }
            write.scalars(step, scalars, seconds=step * per_step)
    if record.updates is not None:
        per_step = record.train_seconds / max(record.steps_used, 1)
        for index, step in enumerate(record.updates.step.tolist()):
            told = {name: float(column[index]) for name, column in record.updates.values.items()}
            write.scalars(step, _updated(told), seconds=step * per_step)
    for point in record.curve:
        write.scalars(point.step, _evaluated(point), seconds=point.train_seconds)
    return stream.getvalue()


def _updated(numbers: Mapping[str, float]) -> Scalars:
    return {f"updates/{name}": value for name, value in numbers.items() if name != STEP}


def _evaluated(found: Any) -> Scalars:
    """The figures of an evaluation, or of a point of a curve."""
    return {
        "evaluation/return": found.mean_return,
        "evaluation/score": found.score,
        "evaluation/regret": found.regret,
    }


class _Writer:
    """Events as TensorBoard's records: a length, its checksum, a protocol buffer, its checksum."""

    def __init__(self, stream: IO[bytes], clock: float | None = None) -> None:
        self._proto = importlib.import_module("tensorboard.compat.proto.event_pb2")
        self._summary = importlib.import_module("tensorboard.compat.proto.summary_pb2")
        records = importlib.import_module("tensorboard.summary.writer.record_writer")
        self._records = records.RecordWriter(stream)
        self._clock = clock
        self._event(0.0, file_version="brain.Event:2")

    def scalars(self, step: int, scalars: Scalars, seconds: float = 0.0) -> None:
        """Numbers at a step; None and NaN are left out."""
        values = [
            self._summary.Summary.Value(tag=tag, simple_value=value)
            for tag, value in scalars.items()
            if value is not None and not math.isnan(value)
        ]
        if values:
            summary = self._summary.Summary(value=values)
            self._event(seconds, step=int(step), summary=summary)

    def text(self, tag: str, markdown: str) -> None:
        """Markdown, shown under the tab "Text"."""
        value = self._summary.Summary.Value(tag=f"{tag}/text_summary")
        value.metadata.plugin_data.plugin_name = "text"
        value.tensor.dtype = 7  # DT_STRING
        value.tensor.string_val.append(markdown.encode())
        value.tensor.tensor_shape.dim.add().size = 1
        self._event(0.0, summary=self._summary.Summary(value=[value]))

    def _event(self, seconds: float, **content: Any) -> None:
        now = datetime.now().timestamp() if self._clock is None else self._clock + seconds
        event = self._proto.Event(wall_time=now, **content)
        self._records.write(event.SerializeToString(deterministic=True))


def _about(record: RunRecord) -> str:
    rows: list[tuple[str, Any]] = [
        ("task", record.task),
        ("agent", record.agent),
        ("id", record.agent_id),
        ("seed", record.seed),
        ("steps", f"{record.steps_used:,} of {record.total_timesteps:,}"),
        ("state", record.state),
        *[(name, number(getattr(record, name))) for name in ("mean_return", "score", "regret")],
        *record.settings.items(),
        *[("note", note) for note in record.notes],
    ]
    error = "".join(f"\n    {line}" for line in record.error.splitlines())
    return _table(rows) + (f"\n{error}\n" if error else "")


def _table(rows: Iterable[tuple[str, Any]]) -> str:
    lines = [f"| {markdown_text(name)} | {markdown_text(str(value))} |" for name, value in rows]
    return "\n".join(["| | |", "| --- | --- |", *lines]) + "\n"


def _path(folder: Path, record: RunRecord) -> Path:
    digest = record.key.digest
    return run_folder(folder, record.task, record.agent, record.seed, digest) / _file(digest)


def run_folder(folder: Path, task: str, agent: str, seed: int, digest: str) -> Path:
    """Where files of one run go, below a folder of many."""
    return folder / _name(task) / _name(agent) / f"seed-{seed}-{digest[:8]}"


def _file(digest: str) -> str:
    return f"events.out.tfevents.{digest[:16]}"


def _name(text: str) -> str:
    """A label as the name of one folder, whatever it holds."""
    return re.sub(r"[^\w.,=+() -]+", "_", text)[:NAME_LENGTH].strip(". ") or "_"


def _checked(folder: Path) -> Path:
    """The folder, once TensorBoard is there and files can be made in it."""
    try:
        importlib.import_module("tensorboard.summary.writer.record_writer")
    except ImportError as error:
        raise SettingError(
            "files for TensorBoard need the package tensorboard: pip install 'rlsuite[tensorboard]'"
        ) from error
    failure = write_failure(folder)
    if failure is not None:
        raise SettingError(
            f"the TensorBoard folder {folder} cannot be written: {failure}. Name another one; "
            "nothing was run yet."
        )
    return folder
