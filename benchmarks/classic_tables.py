"""The result tables of the agents' pages: ours beside Stable-Baselines3, from stored results.

    rlsuite bench classic
    python benchmarks/classic_tables.py [store] [algorithm ...]

Theirs are in the store that comes with the suite `classic`. A run is one training; what it
returned is the mean over its 100 evaluation episodes, which are the same for all runs of a task.
Means have Student's t over runs, their difference (ours minus theirs) Welch's. The IQM leaves out
the best and the worst quarter of the runs, so the worst run stands beside it.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from rlsuite import Store
from rlsuite.records import RunRecord
from rlsuite.statistics import Interval, difference_interval, iqm, mean, student_t_interval
from rlsuite.store import DEFAULT_PATH
from rlsuite.suite import load_suite

THEIRS = " (SB3)"  # what the label of a baseline ends with
HEAD = (
    "| task | steps | | runs | mean [95 %] | IQM | worst run | rlsuite - SB3 [95 %] |",
    "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |",
)


def runs_of(path: Path) -> dict[tuple[str, str, int], dict[int, float]]:
    """Returns of finished runs: (agent, task, steps) to seed to return."""
    found: dict[tuple[str, str, int], dict[int, float]] = defaultdict(dict)
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


def tables(own: Path, baselines: Path, algorithms: Sequence[str]) -> None:
    """Prints a table for each algorithm that both stores hold."""
    ours, theirs = runs_of(own), runs_of(baselines)
    found = sorted({agent.removesuffix(THEIRS) for agent, _, _ in theirs})
    for algorithm in algorithms or found:
        print(f"\n{algorithm}\n\n" + "\n".join(HEAD))
        for agent, task, steps in sorted(theirs):
            if agent != algorithm + THEIRS:
                continue
            there, here = theirs[agent, task, steps], ours.get((algorithm, task, steps))
            if here:
                apart = difference_interval([*here.values()], [*there.values()], mean)
                print(row((task, f"{steps:,}", "rlsuite"), here, text(apart)))
                print(row(("", "", "SB3"), there, ""))
            else:
                print(row((task, f"{steps:,}", "SB3"), there, "no runs of ours"))


def main() -> None:
    paths = [Path(a) for a in sys.argv[1:] if a.endswith(".sqlite")]
    algorithms = [a for a in sys.argv[1:] if not a.endswith(".sqlite")]
    shipped = load_suite("classic").baselines
    own, baselines = (*paths, *([DEFAULT_PATH, shipped][len(paths) :]))
    assert baselines is not None
    tables(own, baselines, algorithms)


if __name__ == "__main__":
    main()
