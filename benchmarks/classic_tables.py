"""The result tables of the agents' pages: ours beside Stable-Baselines3, from stored results.

    rlsuite bench classic
    python benchmarks/classic_tables.py                     # prints them
    python benchmarks/classic_tables.py --write             # into docs/agents/, between the marks
    python benchmarks/classic_tables.py ours.sqlite theirs.sqlite
    python benchmarks/classic_tables.py benchmarks/classic.sqlite   # what the pages show

Theirs are in the store that comes with the suite `classic`. A run is one training; what it
returned is the mean over its 100 evaluation episodes, which are the same for all runs of a task.
Means have Student's t over runs, their difference (ours minus theirs) Welch's. The IQM leaves out
the best and the worst quarter of the runs, so the worst run stands beside it.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from rlsuite import Store
from rlsuite.records import RunRecord
from rlsuite.statistics import Interval, difference_interval, iqm, mean, student_t_interval
from rlsuite.store import DEFAULT_PATH
from rlsuite.suite import load_suite

PAGES = Path(__file__).resolve().parent.parent / "docs" / "agents"
MARKS = "<!-- results -->\n", "<!-- end of results -->"
THEIRS = " (SB3)"  # what the label of a baseline ends with
HEAD = (
    "| task | steps | | runs | mean [95 %] | IQM | worst run | rlsuite - SB3 [95 %] |",
    "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |",
)

Runs = dict[tuple[str, str, int], dict[int, float]]
"""Agent, task and steps to seed to return."""


def runs_of(path: Path) -> Runs:
    """The returns of all finished runs of a store."""
    found: Runs = defaultdict(dict)
    with Store(path, read_only=True) as store:
        for record in store.records(lean=True):
            if record.state == "ok":
                _keep(found[record.agent, record.task, record.total_timesteps], record)
    return found


def _keep(runs: dict[int, float], record: RunRecord) -> None:
    if record.seed in runs:
        raise SystemExit(
            f"{record.agent} on {record.task}, seed {record.seed}, is stored twice, with other "
            "settings or other code: give a store that holds each run once."
        )
    assert record.mean_return is not None
    runs[record.seed] = record.mean_return


def text(interval: Interval) -> str:
    """`499.6 [498.8, 500.4]`; the estimate alone where there are no bounds."""
    if interval.low is None:
        return f"{interval.estimate:,.1f}"
    return f"{interval.estimate:,.1f} [{interval.low:,.1f}, {interval.high:,.1f}]"


def row(front: Sequence[str], runs: dict[int, float], last: str) -> str:
    """One agent on one task."""
    returns = list(runs.values())
    cells = (
        *front,
        str(len(returns)),
        text(student_t_interval(returns)),
        f"{iqm(returns):,.1f}",
        f"{min(returns):,.1f}",
        last,
    )
    return f"| {' | '.join(cells)} |"


def rows(algorithm: str, ours: Runs, theirs: Runs) -> Iterator[str]:
    """The table of one algorithm: every task that both have, ours above theirs."""
    yield from HEAD
    for agent, task, steps in sorted(ours):
        here, there = ours[agent, task, steps], theirs.get((agent + THEIRS, task, steps))
        if agent == algorithm and there:
            apart = difference_interval([*here.values()], [*there.values()], mean)
            yield row((task, f"{steps:,}", "rlsuite"), here, text(apart))
            yield row(("", "", "SB3"), there, "")


def write(page: Path, table: str) -> None:
    """Puts a table between the marks of a page."""
    before = page.read_text(encoding="utf-8")
    pattern = f"(?<={re.escape(MARKS[0])}).*?(?={re.escape(MARKS[1])})"
    after, count = re.subn(pattern, lambda _: f"{table}\n", before, flags=re.DOTALL)
    if count != 1:
        raise SystemExit(f"{page} has no place for a table: it needs {MARKS[0]!r}, {MARKS[1]!r}.")
    page.write_text(after, encoding="utf-8")


def main() -> None:
    paths = [Path(argument) for argument in sys.argv[1:] if argument != "--write"]
    shipped = load_suite("classic").baselines
    assert shipped is not None
    own, baselines = (*paths, *(DEFAULT_PATH, shipped)[len(paths) :])
    ours, theirs = runs_of(own), runs_of(baselines)
    compared = {agent.removesuffix(THEIRS) for agent, _, _ in theirs}
    for algorithm in sorted(compared & {agent for agent, _, _ in ours}):
        table = "\n".join(rows(algorithm, ours, theirs))
        print(f"\n{algorithm}\n\n{table}")
        if "--write" in sys.argv:
            write(PAGES / f"{algorithm.lower()}.md", table)


if __name__ == "__main__":
    main()
