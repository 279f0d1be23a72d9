"""The tables in which results are read: their columns, what each means, and where it is stored."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rlsuite.running.packing import unpacked

__all__ = ["VIEWS", "Column", "Kind", "View", "add_views"]

Kind = Literal["text", "json", "int", "float", "bool"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a view; `sql` is where it comes from. Only floats may be unknown (NULL)."""

    name: str
    kind: Kind
    sql: str
    meaning: str


@dataclass(frozen=True, slots=True)
class View:
    """A table to read from: one row for each `row`, from `source`."""

    name: str
    row: str
    columns: tuple[Column, ...]
    source: str

    def create(self) -> str:
        """The statement that makes it, for one connection alone."""
        columns = ", ".join(f'{column.sql} AS "{column.name}"' for column in self.columns)
        return f"CREATE TEMP VIEW {self.name} AS SELECT {columns} FROM {self.source}"


def _json(document: str, *columns: tuple[str, str, Kind, str]) -> tuple[Column, ...]:
    """Columns (name, path, kind, meaning) of a JSON document."""
    found = []
    for name, path, kind, meaning in columns:
        sql = f"json_extract({document}, '${path}')"
        found.append(Column(name, kind, f"real({sql})" if kind == "float" else sql, meaning))
    return tuple(found)


def _exploded(arrays: str) -> str:
    """Runs, with a row for each element of their arrays of this name."""
    return (
        "run, json_each((SELECT zipped(name, dtype, length, data) FROM cell_data "
        f"WHERE cell_data.digest = run.digest AND cell_data.name GLOB '{arrays}.*')) AS each"
    )


UPDATES = (
    "run JOIN cell_data AS steps ON steps.digest = run.digest AND steps.name = 'updates.step' "
    "JOIN cell_data AS told ON told.digest = run.digest AND told.name GLOB 'updates.values.*', "
    "json_each(paired(steps.dtype, steps.length, steps.data, told.dtype, told.data)) AS each"
)
"""Runs, with a row for each number of each metric of their updates."""

WHO = (
    Column("task", "text", "run.task", "id of the task"),
    Column("agent", "text", "run.agent", "label of the agent"),
    Column("seed", "int", "run.seed", "seed of the run"),
)
DIGEST = Column("digest", "text", "run.digest", "key of the cell")
VIEWS: Mapping[str, View] = {
    view.name: view
    for view in (
        View(
            "runs",
            "cell, finished or failed",
            (
                *WHO,
                Column("state", "text", "run.state", "ok, failed, timeout, oom, killed, skipped"),
                Column("score", "float", "run.score", "0 is the baseline, 1 is optimal"),
                Column("return", "float", "run.mean_return", "mean return of the final policy"),
                Column("regret", "float", "run.regret", "optimal minus return, or while learning"),
                *_json(
                    "run.record",
                    ("low", ".low", "float", "lower bound of the return, over episodes"),
                    ("high", ".high", "float", "upper bound of the return, over episodes"),
                    ("optimal_return", ".optimal_return", "float", "of the answer key"),
                    ("baseline_return", ".baseline_return", "float", "of the baseline policy"),
                    ("steps", ".steps_used", "int", "environment steps that were taken"),
                    ("total_timesteps", ".total_timesteps", "int", "the budget"),
                    ("train_seconds", ".train_seconds", "float", "wall clock of training"),
                    ("eval_seconds", ".eval_seconds", "float", "wall clock of evaluation"),
                    ("family", ".family", "text", "family of the task"),
                    ("env_id", ".env_id", "text", "id of the environment"),
                    ("agent_id", ".agent_id", "text", "id of the agent"),
                    ("metric", ".metric", "text", "what the score is made of"),
                    ("method", ".method", "text", "exact or sampled"),
                    ("settings", ".settings", "json", "settings of the agent"),
                    ("metrics", ".metrics", "json", "further figures"),
                    ("notes", ".notes", "json", "what a reader should know"),
                    ("error", ".error", "text", "tail of the log of a failed cell"),
                    ("started_at", ".started_at", "text", "date and time, UTC"),
                ),
                Column("attempt", "int", "run.attempt", "how often it was tried"),
                Column(
                    "imported",
                    "text",
                    "coalesce(json_extract(run.record, '$.key.imported'), '')",
                    "where it comes from, if it was not run here",
                ),
                DIGEST,
            ),
            "run",
        ),
        View(
            "evaluations",
            "evaluation while training",
            (
                *WHO,
                *_json(
                    "each.value",
                    ("step", ".step", "int", "environment steps so far"),
                    ("return", ".mean_return", "float", "mean return of the policy"),
                    ("score", ".score", "float", "0 is the baseline, 1 is optimal"),
                    ("regret", ".regret", "float", "optimal minus return"),
                    ("low", ".low", "float", "lower bound of the return, over episodes"),
                    ("high", ".high", "float", "upper bound of the return, over episodes"),
                    ("train_seconds", ".train_seconds", "float", "wall clock of training so far"),
                    ("method", ".method", "text", "exact or sampled"),
                ),
                DIGEST,
            ),
            "run, json_each(run.record, '$.curve') AS each",
        ),
        View(
            "training",
            "window of training episodes, at most 2,000 a run",
            (
                *WHO,
                *_json(
                    "each.value",
                    ("step", ".step", "int", "environment step at the window's end"),
                    ("mean", ".mean", "float", "mean return of the episodes in it"),
                    ("minimum", ".minimum", "float", "smallest return"),
                    ("maximum", ".maximum", "float", "largest return"),
                    ("length", ".length", "float", "mean length"),
                    ("regret", ".regret", "float", "cumulative pseudo-regret so far"),
                    ("episodes", ".episodes", "int", "how many ended in it"),
                ),
                DIGEST,
            ),
            _exploded("training"),
        ),
        View(
            "updates",
            "metric of an agent's updates and window of them, at most 200 windows a run",
            (
                *WHO,
                Column("metric", "text", "substr(told.name, 16)", "which one: loss, entropy, ..."),
                *_json(
                    "each.value",
                    ("step", ".step", "int", "environment step of the window's last update"),
                    ("value", ".value", "float", "mean over the updates in it"),
                ),
                DIGEST,
            ),
            UPDATES,
        ),
        View(
            "episodes",
            "episode of the final evaluation",
            (
                *WHO,
                *_json(
                    "each.value",
                    ("episode", ".index", "int", "its number, from 0"),
                    ("episode_seed", ".seed", "int", "the seed it was reset with"),
                    ("return", ".episode_return", "float", "sum of its rewards"),
                    ("length", ".length", "int", "its steps"),
                    ("terminated", ".terminated", "bool", "whether it reached an end"),
                    ("truncated", ".truncated", "bool", "whether it ran out of time"),
                    ("capped", ".capped", "bool", "whether the evaluator's step cap ended it"),
                ),
                DIGEST,
            ),
            _exploded("episodes"),
        ),
    )
}
"""By name: `runs`, `evaluations`, `training`, `updates`, `episodes`."""


def add_views(connection: sqlite3.Connection) -> None:
    """Gives one connection the views, and what they call beyond SQL."""
    connection.create_function("real", 1, _real, deterministic=True)
    connection.create_aggregate("zipped", 4, _Zipped)  # type: ignore[arg-type]
    connection.create_function("paired", 5, _paired, deterministic=True)
    for view in VIEWS.values():
        connection.execute(view.create())


def _real(value: Any) -> float | None:
    """Records write NaN and infinities as `{"float": "nan"}`; SQL knows no NaN."""
    if isinstance(value, str):
        value = float(json.loads(value)["float"])
    return None if value is None or math.isnan(value) else float(value)


def _paired(step_type: str, length: int, steps: bytes, value_type: str, values: bytes) -> str:
    """Two arrays of one length as a JSON list of objects."""
    zipped = _Zipped()
    zipped.step("step", step_type, length, steps)
    zipped.step("value", value_type, length, values)
    return zipped.finalize()


class _Zipped:
    """Arrays as a JSON list with an object for each element; NaN becomes null."""

    def __init__(self) -> None:
        self.columns: dict[str, list[Any]] = {}

    def step(self, name: str, dtype: str, length: int, data: bytes) -> None:
        """Takes one array."""
        values = unpacked((dtype, length, data)).tolist()
        known = [None if v != v else v for v in values]
        self.columns[name.rpartition(".")[2]] = known

    def finalize(self) -> str:
        """The list; infinities as a number that no float can hold."""
        rows = zip(*self.columns.values(), strict=True)
        text = json.dumps([dict(zip(self.columns, row, strict=True)) for row in rows])
        return text.replace("Infinity", "9e999")
