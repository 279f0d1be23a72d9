"""Each task of a leaderboard: what is known of it, its charts, and every figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlsuite.records import RunRecord
from rlsuite.reporting.axes import Reference
from rlsuite.reporting.boards import Leaderboard, TaskCell
from rlsuite.reporting.curves import (
    clock_series,
    learning_series,
    regret_series,
    run_dots,
    update_series,
)
from rlsuite.reporting.formatting import interval_text, number
from rlsuite.reporting.pictures import Filmstrip
from rlsuite.reporting.plots import Series, line_chart
from rlsuite.reporting.report_views import Cell, figure_cell, styles_of
from rlsuite.reporting.strips import strip_chart
from rlsuite.reporting.tables import quantities, quantity_name, runs_text

__all__ = ["MOST_DOTS", "task_views"]

MOST_DOTS = 2_000
"""Dots of one chart above which they are thinned."""

PAGE_DOTS = 40_000
"""Dots of all charts together; with many tasks each has fewer, but at least 100."""

UPDATES = {"entropy": "entropy of the policy", "q_mean": "mean of the Q values"}
"""Metrics of updates that are drawn, and what they are."""

METRICS = {
    "final_return": "scored by the return of the policy after training",
    "learning_regret": "scored by the regret summed while learning",
    "objective": "scored by E[r] − β KL(π ‖ reference) of the policy after training",
    "value_error": "scored by the error of the predicted values",
}


def _strip_words(strip: Filmstrip | None) -> str:
    """What the pictures show, or why there are none."""
    if strip is None:
        return ""
    who = f"{strip.agent}, seed {strip.seed}"
    if not strip.frames:
        return f"No pictures of {who}: {strip.note}"
    end = "filmed to here"
    if strip.episode_return is not None:
        end = f"its return is {number(strip.episode_return)}"
    return (
        f"One episode of {who} after training, the run in the middle of the agent with the best "
        f"mean: {strip.steps:,} steps, {end}."
    )


BANDS = "Lines are means over runs, bands their 95% intervals (Student's t)."


def task_views(
    boards: Sequence[Leaderboard],
    records: Sequence[RunRecord],
    pictures: Mapping[str, Filmstrip],
) -> list[dict[str, Any]]:
    """Each task with its charts and a table of every figure, in the order of the boards."""
    by_task: dict[tuple[str, str], list[RunRecord]] = {}
    for record in records:
        by_task.setdefault((record.family, record.task), []).append(record)
    dots = min(MOST_DOTS, max(100, PAGE_DOTS // max(len(by_task), 1)))
    views: list[dict[str, Any]] = []
    for board in boards:
        for index, task in enumerate(board.tasks):
            mine = by_task[board.family, task]
            ident = f"task-{len(views)}"
            views.append(
                {
                    "task": task,
                    "family": board.family,
                    "anchor": ident,
                    "facts": _facts(mine),
                    "strip": pictures.get(task),
                    "strip_words": _strip_words(pictures.get(task)),
                    "charts": _Charts(board, task, mine, ident, dots).all(),
                    **_figures(board, index, _constants(mine)),
                }
            )
    return views


def _facts(records: Sequence[RunRecord]) -> str:
    """One sentence on how the task is scored and what is known of it."""
    first = records[0]
    parts = [METRICS.get(first.metric, f"scored by {first.metric}")]
    parts += [f"{r.label} {number(r.value)}" for r in _references(records)]
    parts += [f"{k.replace('_', ' ')} {number(v)}" for k, v in _constants(records).items()]
    if not any(r.optimal_return is not None for r in records):
        parts.append("no answer key")
    if first.env_id != first.task:
        parts.append(f"environment {first.env_id}")
    return "; ".join(parts)


def _constants(records: Sequence[RunRecord]) -> dict[str, float]:
    """Metrics that are the same in all of several runs: they describe the task, not the agents."""
    done = [record for record in records if record.state == "ok"]
    if len(done) < 2:
        return {}
    found = {name: {record.metrics.get(name) for record in done} for name in done[0].metrics}
    return {n: v for n, values in sorted(found.items()) if (v := _only(values)) is not None}


def _only(values: set[float | None]) -> float | None:
    return next(iter(values)) if len(values) == 1 else None


def _references(records: Sequence[RunRecord]) -> list[Reference]:
    """The optimum and the baseline, where all runs agree on them."""
    found = []
    for label, name in (("optimal", "optimal_return"), ("baseline", "baseline_return")):
        values = {v for r in records if (v := getattr(r, name)) is not None}
        if len(values) == 1:
            found.append(Reference(label, float(values.pop())))
    return found


@dataclass(frozen=True, slots=True)
class _Charts:
    """The charts of one task: each a caption, a drawing, and a sentence on how to read it."""

    board: Leaderboard
    task: str
    records: Sequence[RunRecord]
    ident: str
    dots: int

    def all(self) -> list[dict[str, str]]:
        """Those for which there is something to draw."""
        learning = [*self._learning(), *self._clock(), *self._regret()]
        return [*learning, *self._every_run(), *self._updates()]

    @property
    def _while_learning(self) -> bool:
        return self.records[0].metric == "learning_regret"

    @property
    def _name(self) -> str:
        return quantity_name(self.board, "return")

    @property
    def _order(self) -> list[str]:
        present = {record.agent for record in self.records}
        return [row.agent for row in self.board.rows if row.agent in present]

    def _sorted(self, series: Sequence[Series]) -> list[Series]:
        order = {agent: index for index, agent in enumerate(self._order)}
        return sorted(series, key=lambda one: order[one.label])

    def _learning(self) -> list[dict[str, str]]:
        series = self._sorted(learning_series(self.records, styles_of(self.board)))
        read = f"The {self._name} of the policy, evaluated while it was trained. {BANDS}"
        words = (f"Learning curves on {self.task}", f"mean {self._name} of the policy")
        axes = ("environment steps", self._name)
        return self._lines("learning", "By steps", series, words, axes, read, True)

    def _clock(self) -> list[dict[str, str]]:
        series = self._sorted(clock_series(self.records, styles_of(self.board)))
        read = (
            "The same against the time that training took, the mean over runs; evaluation is not "
            "counted. It depends on the machine."
        )
        words = (f"Curves against the clock on {self.task}", f"mean {self._name} of the policy")
        axes = ("training time, seconds (logarithmic)", self._name)
        return self._lines("clock", "By training time", series, words, axes, read, True, True)

    def _regret(self) -> list[dict[str, str]]:
        series = self._sorted(regret_series(self.records, styles_of(self.board)))
        what = "regret of the policy"
        read = f"How far the policy was from optimal: 0 is best. {BANDS}"
        label = "regret (0 is optimal)"
        if self._while_learning:
            what, label = "cumulative regret while learning", "regret"
            read = f"Expected reward lost up to each step: flat is optimal, low is good. {BANDS}"
        words, axes = (f"Regret on {self.task}", f"mean {what}"), ("environment steps", label)
        return self._lines("regret", what[0].upper() + what[1:], series, words, axes, read, False)

    def _updates(self) -> list[dict[str, str]]:
        charts = []
        for metric, what in UPDATES.items():
            series = self._sorted(update_series(self.records, styles_of(self.board), metric))
            read = f"What the agents told of their updates: the {what}. {BANDS}"
            words = (f"The {what} on {self.task}", f"mean {what}")
            axes = ("environment steps", what)
            charts += self._lines(
                metric, what[0].upper() + what[1:], series, words, axes, read, False
            )
        return charts

    def _lines(
        self,
        kind: str,
        caption: str,
        series: Sequence[Series],
        words: tuple[str, str],
        axes: tuple[str, str],
        read: str,
        known: bool,
        log_x: bool = False,
    ) -> list[dict[str, str]]:
        if not series:
            return []
        drawn = line_chart(
            series,
            ident=f"{self.ident}-{kind}",
            title=words[0],
            description=_describe(series, words[1]),
            x_label=axes[0],
            y_label=axes[1],
            references=_references(self.records) if known else (),
            log_x=log_x,
        )
        return [{"caption": caption, "svg": drawn, "read": read}]

    def _every_run(self) -> list[dict[str, str]]:
        regret = self._while_learning and any(r.regret is not None for r in self.records)
        what = "regret" if regret else "mean_return"
        lines = run_dots(self.records, self._order, styles_of(self.board), what, self.dots)
        if not any(line.points for line in lines):
            return []
        read = "One dot for each run; the line is the mean, the bar its 95% interval."
        shown, runs = sum(len(line.points) for line in lines), sum(line.runs for line in lines)
        thinned = ""
        if shown < runs:
            thinned = f" {shown:,} of {runs:,} dots are drawn; means and intervals are of all runs."
        drawn = strip_chart(
            lines,
            ident=f"{self.ident}-runs",
            title=f"Every run on {self.task}",
            description=read + thinned,
            x_label="regret" if regret else self._name,
            references=() if regret else _references(self.records),
        )
        return [{"caption": "Every run", "svg": drawn, "read": read + thinned}]


def _describe(series: Sequence[Any], what: str) -> str:
    ends = ", ".join(f"{s.label} {number(float(s.y[-1]))}" for s in series)
    return f"The {what} over runs, with 95% bands (Student's t). At the end: {ends}."


def _figures(board: Leaderboard, index: int, constants: Mapping[str, float]) -> dict[str, Any]:
    """The table below the charts of a task."""
    rows = [(row, cell) for row in board.rows if (cell := row.cells[index]) is not None]
    names = quantities(board, index)
    metrics = sorted({name for _, cell in rows for name in cell.metrics} - set(constants))
    headings = ["agent", *[quantity_name(board, name) for name in names], *metrics]
    body = [
        [
            Cell(row.agent, row.agent.casefold(), kind="text"),
            *[figure_cell(cell, name) for name in names],
            *[_metric(cell, name) for name in metrics],
            Cell(runs_text(cell), cell.runs),
            Cell(" or ".join(f"{b:,}" for b in cell.budgets), cell.budgets[0]),
            Cell(cell.method or "–", cell.method, kind="text"),
        ]
        for row, cell in rows
    ]
    columns = [(h, "text" if h == "agent" else "number") for h in headings]
    columns += [("runs", "number"), ("training steps", "number"), ("scored", "text")]
    return {"columns": columns, "rows": body}


def _metric(cell: TaskCell, name: str) -> Cell:
    interval = cell.metrics.get(name)
    return Cell(interval_text(interval), interval.estimate if interval else None)
