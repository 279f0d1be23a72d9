"""How numbers are written, in the terminal and in reports alike."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping

from rlsuite.records import RunRecord
from rlsuite.statistics import Interval

__all__ = [
    "counts_text",
    "failure_lines",
    "interval_text",
    "last_line",
    "number",
    "seconds_text",
    "short_task_names",
]


def number(value: float | None) -> str:
    """Up to four significant figures, at most three decimals; a dash for None and NaN.

    Sizes below 0.0005 read `1.20e-05`, and below 1e-9, where only rounding lives, 0.000.
    """
    if value is None or math.isnan(value):
        return "–"
    return _written(value, abs(value))


def interval_text(interval: Interval | None) -> str:
    """`0.951 [0.932, 0.970]`: all three to the same decimals; without bounds the estimate alone."""
    if interval is None:
        return "–"
    low, high = interval.low, interval.high
    if low is None or high is None:
        return number(interval.estimate)
    size = max(abs(interval.estimate), abs(low), abs(high))
    estimate, lower, upper = (_written(v, size) for v in (interval.estimate, low, high))
    return f"{estimate} [{lower}, {upper}]"


def seconds_text(seconds: float) -> str:
    """`0.42 s`, `3.1 s`, `2 min 05 s` or `1 h 03 min`."""
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def failure_lines(failed: Iterable[RunRecord]) -> list[str]:
    """Cells without figures: a line of how many in which state, then one for each of them.

    Nothing for no cells.
    """
    found = list(failed)
    lines = [
        f"  {r.task}  {r.agent}  seed {r.seed}  {r.state.upper()}: {last_line(r.error)}"
        for r in found
    ]
    cells = "1 cell" if len(lines) == 1 else f"{len(lines):,} cells"
    states = counts_text(Counter(record.state for record in found))
    return [f"{cells} without figures ({states}):", *lines] if lines else []


def counts_text(states: Mapping[str, int]) -> str:
    """`12 ok, 2 failed, 1 timeout`: what ended well first."""
    ordered = sorted(states.items(), key=lambda pair: (pair[0] != "ok", pair[0]))
    return ", ".join(f"{count:,} {state}" for state, count in ordered if count)


def last_line(text: str) -> str:
    """The last line of an error, which says what happened, with single blanks."""
    lines = text.strip().splitlines() or ["no message"]
    return " ".join(lines[-1].split())


def short_task_names(tasks: tuple[str, ...]) -> dict[str, str]:
    """Each task without namespace and version, as long as that leaves the names different."""
    bare = {task: _bare(task) for task in tasks}
    counts = list(bare.values())
    return {task: name if counts.count(name) == 1 else task for task, name in bare.items()}


def _bare(task: str) -> str:
    name = task.rpartition("/")[2]
    head, dash, version = name.rpartition("-v")
    return head if dash and version.isdigit() else name


def _written(value: float, size: float) -> str:
    """The value with as many decimals as a number of this size gets."""
    if 1e-9 < size < 0.0005:
        return f"{value:.2e}"
    decimals = next((d for limit, d in ((10, 3), (100, 2), (10_000, 1)) if size < limit), 0)
    text = f"{value:,.{decimals}f}"
    return text.removeprefix("-") if float(text.replace(",", "")) == 0 else text
