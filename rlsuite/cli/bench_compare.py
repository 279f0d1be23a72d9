"""What `rlsuite bench compare` shows: a table of differences, and what else is not the same."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import typer

from rlsuite.cli.bench import FailOn
from rlsuite.cli.console import counted, print_table
from rlsuite.data.comparing import CellName, Compared, Row, compare
from rlsuite.reporting.formatting import interval_text, number, short_task_names

__all__ = ["show_comparison"]

OK, FAILED = 0, 1
NAMED = 10
METHODS = {
    "paired-t": "Student's t on pairs of runs with the same seed",
    "welch-t": "Welch's t over runs",
    "bootstrap-se-t": "bootstrap over runs, its standard error with Student's t (Satterthwaite)",
    "expanded-t": "bootstrap over runs, percentiles expanded with Student's t (Satterthwaite)",
}


def show_comparison(a: str, b: str, *, store: Path | None, fail_on: FailOn, as_json: bool) -> int:
    """Compares, prints, and returns the exit code."""
    found = compare(a, b, store)
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=2))
    else:
        _show(found)
    return FAILED if _fails(found, fail_on) else OK


def _fails(found: Compared, fail_on: FailOn) -> bool:
    if fail_on is FailOn.worse:
        return any(row.verdict == "worse" for row in found.rows)
    alike = found.identical == found.common and not (found.only_a or found.only_b)
    return fail_on is FailOn.different and not alike


def _show(found: Compared) -> None:
    what = "agents" if found.agents else "results"
    typer.echo(f"Two {what}: A is {found.a}, B is {found.b}.")
    common = counted(found.common, "cell")
    typer.echo(f"{common} in common, {found.identical:,} of them identical to the last bit.")
    for line in _only(found):
        typer.echo(line)
    if found.rows:
        typer.echo("")
        _print_rows(found)
    for line in _notes(found):
        typer.echo(f"  {line}")
    for title, lines in (
        ("Not compared:", found.uncompared),
        ("Not the same in the cells in common (number of cells):", found.differing),
    ):
        if lines:
            typer.echo(f"\n{title}")
            for line in lines:
                typer.echo(f"  {line}")


def _only(found: Compared) -> Iterator[str]:
    for name, cells in (("A", found.only_a), ("B", found.only_b)):
        if cells:
            groups = Counter((task, agent) for task, agent, _ in cells)
            named = [_group(key, cells) for key in list(groups)[:NAMED]]
            more = f"; and {len(groups) - NAMED:,} more" if len(groups) > NAMED else ""
            yield f"Only in {name}, {counted(len(cells), 'cell')}: {'; '.join(named)}{more}."


def _group(key: tuple[str, str], cells: Sequence[CellName]) -> str:
    """`q on CartPole-v1, seeds 0 to 4`."""
    task, agent = key
    seeds = sorted(seed for *where, seed in cells if tuple(where) == key)
    gapless = len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1))
    text = f"{seeds[0]} to {seeds[-1]}" if gapless else ", ".join(map(str, seeds))
    where = f"{agent} on {task}" if agent else task
    return f"{where}, seed{'s' * (len(seeds) > 1)} {text}"


def _print_rows(found: Compared) -> None:
    tasks = {task for row in found.rows for task in row.tasks}
    short = short_task_names(tuple(sorted(tasks)))
    columns = ["task", "agent", "figure", "A", "B", "B - A [95%]", "P(B better)", "runs", "B is"]
    lines = [_line(row, short) for row in found.rows]
    if found.agents:
        columns, lines = _without(1, columns), [_without(1, line) for line in lines]
    numbers = range(len(columns) - 6, len(columns) - 1)
    print_table("Differences", columns, lines, right=set(numbers))


def _without(place: int, line: list[str]) -> list[str]:
    return line[:place] + line[place + 1 :]


def _line(row: Row, short: dict[str, str]) -> list[str]:
    several = len(row.tasks) > 1
    where = f"{row.family}: {len(row.tasks)} tasks" if several else short[row.tasks[0]]
    pairs = f"{row.runs[0]} pairs" if row.paired else f"{row.runs[0]}, {row.runs[1]}"
    return [
        where,
        row.agent,
        row.quantity,
        number(row.a),
        number(row.b),
        number(0.0) if row.verdict == "equal" else interval_text(row.difference),
        number(0.5) if row.verdict == "equal" else interval_text(row.improvement),
        pairs,
        row.verdict,
    ]


def _notes(found: Compared) -> Iterator[str]:
    shown = [row for row in found.rows if row.verdict != "equal"]
    methods = dict.fromkeys(row.difference.method for row in shown)
    if methods:
        yield f"95% intervals: {'; '.join(METHODS[method] for method in methods)}."
    judged = sum(row.p_holm is not None for row in found.rows)
    if judged:
        yield (
            f"better, worse: the difference is not 0 at the 5% level, after Holm's correction for "
            f"{counted(judged, 'row')}. unclear: it may be 0, which does not say that it is."
        )
    if any(row.verdict == "equal" for row in found.rows):
        yield "equal: the figures of the runs are the same on both sides."
    if any(row.verdict == "no interval" for row in found.rows):
        yield "no interval: a single run says nothing about how much runs differ."
    failed = [sum(row.failed[side] for row in found.rows if len(row.tasks) == 1) for side in (0, 1)]
    if any(failed):
        yield f"Failed runs are left out of the figures: {failed[0]:,} of A, {failed[1]:,} of B."
