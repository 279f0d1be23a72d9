"""Records as one table in CSV: the same run, the same bytes."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
from collections.abc import Iterable
from typing import Any

from rlsuite.records import RunRecord, canonical_json

__all__ = ["COLUMNS", "result_hash", "results_table"]

COLUMNS = (
    "task",
    "agent",
    "agent_id",
    "settings",
    "seed",
    "total_timesteps",
    "state",
    "steps_used",
    "metric",
    "method",
    "mean_return",
    "low",
    "high",
    "score",
    "regret",
    "optimal_return",
    "baseline_return",
    "metrics",
    "curve",
    "training",
    "episodes",
    "notes",
    "error",
)
"""Columns of the table. What a clock says is left out: seconds, dates, and the machine."""


def results_table(records: Iterable[RunRecord]) -> str:
    """All records as CSV, sorted; floats in full, so that equal text means equal bits.

    `training` and `episodes` are counts with a hash of all values; `error` is the last line.
    """
    rows = sorted((_row(record) for record in records), key=lambda row: [str(v) for v in row[:6]])
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    return out.getvalue()


def result_hash(record: RunRecord) -> str:
    """Equal for two results that agree to the last bit in every column from `state` on."""
    return hashlib.sha256(repr(_row(record)[COLUMNS.index("state") :]).encode()).hexdigest()


def _row(record: RunRecord) -> list[Any]:
    special = {
        "settings": canonical_json(record.settings),
        "metrics": ";".join(f"{k}={v!r}" for k, v in sorted(record.metrics.items())),
        "curve": ";".join(
            f"{p.step}:{p.mean_return!r}:{p.low!r}:{p.high!r}:{p.score!r}" for p in record.curve
        ),
        "training": _training(record),
        "episodes": _episodes(record),
        "notes": "; ".join(record.notes),
        "error": record.error.strip().rpartition("\n")[2],
    }
    return [special[c] if c in special else _plain(getattr(record, c)) for c in COLUMNS]


def _plain(value: Any) -> Any:
    if value is None:
        return ""
    return repr(float(value)) if isinstance(value, float) else value


def _training(record: RunRecord) -> str:
    if record.training is None:
        return ""
    digest = hashlib.sha256()
    for field in dataclasses.fields(record.training):
        column = getattr(record.training, field.name)
        digest.update(column.astype(column.dtype.newbyteorder("<")).tobytes())
    return f"{int(record.training.episodes.sum())} episodes {digest.hexdigest()[:16]}"


def _episodes(record: RunRecord) -> str:
    text = repr([dataclasses.astuple(episode) for episode in record.episodes])
    return f"{len(record.episodes)} {hashlib.sha256(text.encode()).hexdigest()[:16]}"
