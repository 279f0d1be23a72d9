"""Policies on problems over thousands of runs: what is stored is taken, the rest is played."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import pairwise
from os import PathLike
from pathlib import Path
from typing import Any

from registry.catalogue import registry
from registry.errors import SettingError, SuiteError
from registry.seeding import check_seed
from registry.specs import TaskSpec
from rlsuite.answer_key import time_limit
from rlsuite.backends import Backend
from rlsuite.making import accepted_keywords, make_environment
from rlsuite.records import RunRecord
from rlsuite.running.events import Event, Listener
from rlsuite.running.run_loop import Rules, Running
from rlsuite.statistics import Interval
from rlsuite.statistics.scores import check_level
from rlsuite.store import DEFAULT_PATH, Store
from rlsuite.studies.figures import (
    Difference,
    PolicyFigures,
    figures_of,
    paired_differences,
    studied,
)
from rlsuite.suite import Cell, Grid, Suite, choices

__all__ = ["POLICIES", "PROBLEM", "StudyResult", "study"]

PROBLEM = "rlsuite/BernoulliBandit-v0"
POLICIES = {
    "Thompson sampling": "rlsuite/ThompsonSampling-v0",
    "UCB1": "rlsuite/UCB1-v0",
    "ε-greedy": "rlsuite/EpsilonGreedy-v0",
    "uniform": "rlsuite/Random-v0",
}
"""What a study shows unless told otherwise."""

RUNS, MOST_RUNS = 2_000, 64_000
BLOCK_RUNS, BLOCK_DECISIONS = 1_000, 1_000_000
"""A block has at most so many runs, and about so many decisions; it depends on nothing else, so
that more runs of the same study go on after those that are stored."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyResult:
    """The figures of every policy on every problem, in the order given. `print` shows them.

    `level` is the coverage of intervals that is promised; with a `width` every interval has a
    higher one of its own, so that they hold at all looks together (Bonferroni), and stopping at a
    look takes nothing from the promise.
    """

    policies: tuple[PolicyFigures, ...]
    differences: tuple[Difference, ...]
    records: tuple[RunRecord, ...]
    store_path: Path
    level: float
    width: float | None
    looks: tuple[int, ...]
    reused: int
    notes: tuple[str, ...]
    call: str = ""

    @property
    def failed(self) -> tuple[RunRecord, ...]:
        """Blocks without figures; the next study tries them again."""
        return tuple(record for record in self.records if record.state != "ok")

    @property
    def problems(self) -> dict[str, list[PolicyFigures]]:
        """The policies of each problem."""
        found: dict[str, list[PolicyFigures]] = {}
        for figures in self.policies:
            found.setdefault(figures.problem, []).append(figures)
        return found

    def __getitem__(self, policy: str) -> PolicyFigures:
        """The figures of a policy by its label, where the study has one problem."""
        found = [figures for figures in self.policies if figures.policy == policy]
        if len(found) != 1:
            known = ", ".join(sorted({figures.policy for figures in self.policies}))
            raise SettingError(
                f"a label names one policy on one problem, got {policy!r}, of which there are "
                f"{len(found)}; this study has {known}."
            )
        return found[0]

    def plot(self, path: str | PathLike[str], log: bool = False) -> Path:
        """Writes a figure, .png or .svg: regret, reward and optimal pulls; see `study_plots`."""
        from rlsuite.reporting.study_plots import plot_study

        return plot_study(self.policies, Path(path), log=log)

    def report(self, path: str | PathLike[str], command: str = "") -> Path:
        """Writes one self-contained HTML file and returns its path."""
        from rlsuite.reporting.report import write_report

        return write_report(self.records, path, title="Study", command=command or self.call)

    def as_json(self) -> dict[str, Any]:
        """All figures as plain values."""
        return {
            "level": self.level,
            "width": self.width,
            "looks": list(self.looks),
            "policies": [_policy_json(figures) for figures in self.policies],
            "differences": [
                {
                    "problem": d.problem,
                    "first": d.first,
                    "second": d.second,
                    "regret": _interval_json(d.interval),
                    "correlation": d.correlation,
                    "better": d.better,
                }
                for d in self.differences
            ],
            "reused": self.reused,
            "notes": list(self.notes),
            "store": str(self.store_path),
        }

    def __str__(self) -> str:
        from rlsuite.reporting.study_views import study_text

        return study_text(self)


def study(
    problems: Any = PROBLEM,
    *,
    policies: Mapping[str, Any] | Sequence[str] | None = None,
    runs: int | None = None,
    horizon: int | None = None,
    seed: int = 0,
    width: float | None = None,
    level: float = 0.95,
    store: str | PathLike[str] | None = None,
    backend: str | None = None,
    workers: int | None = None,
    progress: Listener | None = None,
) -> StudyResult:
    """Plays every policy on every problem, run after run, and measures its regret while it learns.

    Run r meets the same luck under every policy, and luck of its own: differences between policies
    are paired. Runs are played and stored in blocks; the same call again plays only what is
    missing, and more runs go on after those that are there. No figure depends on the workers.

    Args:
        problems: The id of a bandit or task, `(id, keywords)`, a `TaskSpec`, or a list of these.
        policies: Labels and what they stand for, as for `benchmark`; or a list of ids.
        runs: Of each policy, 2,000 unless given; with `width` the most, 64,000 unless given.
        horizon: Decisions of each run; None takes each problem's own.
        seed: Root of all draws.
        width: Stop as soon as the interval of the mean regret is at most so wide, policy by policy.
            It is looked at after 1,000 runs, 2,000, 4,000 and so on; see `StudyResult`.
        level: Coverage of intervals.
        store: The SQLite file; None is `results/rlsuite.sqlite` under the current folder.
        backend: Id of a registered backend; None as for `benchmark`.
        workers: How many blocks at once, in processes of their own.
        progress: Told of blocks as `benchmark` tells of cells.

    Returns:
        The figures. A policy that fails is named in the notes; the others go on.

    Raises:
        UnknownIdError: an unknown problem, policy or backend; nothing was played.
        SettingError: a setting outside its range; nothing was played.
        SuiteError: no problem or no policy.
        StoreError: the store cannot be opened or written.
    """
    most = _check_runs(runs, width)
    check_level(level)
    check_seed(seed)
    looks = _looks(most) if width is not None else (most,)
    cells = list(_suite(problems, policies, horizon, seed).cells())
    path = DEFAULT_PATH if store is None else Path(store)
    backend = backend or ("rlsuite/serial-v0" if workers is None else "rlsuite/processes-v0")
    backend_type = registry.get("backend", backend).load()
    each = 1.0 - (1.0 - level) / len(looks)
    found = _Found(each)
    wanted, played = dict.fromkeys(range(len(cells)), 0), list(cells)
    with Store(path) as opened:
        for look in looks:
            blocks = [
                block
                for index, cell in enumerate(cells)
                if cell in played
                for block in _blocks(cell, wanted[index], look)
            ]
            runner: Backend = backend_type(workers=workers)
            found.play(blocks, opened, runner, progress or _silent)
            wanted |= {index: look for index, cell in enumerate(cells) if cell in played}
            played = [c for c in played if width is None or found.is_wide(c, width)]
            if not played:
                break
    figures = found.figures(cells)
    result = StudyResult(
        policies=tuple(figures),
        differences=(),
        records=tuple(found.records),
        store_path=path,
        level=level,
        width=width,
        looks=looks,
        reused=found.reused,
        notes=(*found.notes, *_notes(figures, found.records, width, len(played))),
        call=_call(problems, policies, runs, horizon, seed, width),
    )
    return replace(
        result,
        differences=tuple(
            d for mine in result.problems.values() for d in paired_differences(mine, level=each)
        ),
    )


class _Found:
    """What has been played so far."""

    def __init__(self, level: float) -> None:
        self.records: list[RunRecord] = []
        self.notes: dict[str, None] = {}
        self.reused = 0
        self._level = level

    def play(self, blocks: list[Cell], store: Store, runner: Backend, tell: Listener) -> None:
        """Takes these blocks from the store, or plays them."""
        run = Running(_Blocks(tuple(blocks)), store, runner, tell, Rules(checkpoint_every=None))
        run.reuse()
        run.finish()
        self.records += [record for _, record in sorted(run.records.items())]
        self.reused += run.reused
        self.notes |= dict.fromkeys(run.notes())

    def figures(self, cells: Sequence[Cell]) -> list[PolicyFigures]:
        """The figures of these cells, in their order."""
        found = {
            (record.task, record.agent): figures_of(record, block, level=self._level)
            for record, block in studied(self.records)
        }
        return [found[name] for c in cells if (name := (c.task.id, c.label)) in found]

    def is_wide(self, cell: Cell, width: float) -> bool:
        """Whether more runs are wanted of a policy; not of one that failed."""
        return any(_width(figures.regret) > width for figures in self.figures([cell]))


@dataclass(frozen=True, slots=True)
class _Blocks:
    blocks: tuple[Cell, ...]

    def cells(self) -> Iterator[Cell]:
        """The blocks."""
        yield from self.blocks


def _suite(problems: Any, policies: Any, horizon: int | None, seed: int) -> Suite:
    """The pairs of problem and policy, checked."""
    several = problems if isinstance(problems, list) else [problems]
    if not several:
        raise SuiteError("a study needs a problem, such as 'rlsuite/BernoulliBandit-v0'.")
    chosen = choices(POLICIES if policies is None else policies)
    if not chosen:
        raise SuiteError("a study needs a policy, such as 'rlsuite/UCB1-v0'.")
    tasks = tuple(_problem(problem, horizon) for problem in several)
    names = [task.id for task in tasks]
    if twice := {name for name in names if names.count(name) > 1}:
        raise SuiteError(f"a problem is named twice: {', '.join(sorted(twice))}; name it once.")
    suite = Suite("study", (Grid(tasks=tasks, agents=chosen, seeds=(seed,), eval_points=0),))
    suite.check()
    for task in tasks:
        if task.metric != "learning_regret":
            raise SettingError(
                f"a study needs a bandit, which is scored by the regret of learning; {task.id!r} "
                f"is scored by {task.metric}: take `rlsuite bench` for it. A bandit that is none "
                "of rlsuite's is given as a TaskSpec with metric='learning_regret'."
            )
    return suite


def _problem(problem: Any, horizon: int | None) -> TaskSpec:
    """The task, named by its keywords where they are not its own."""
    given: dict[str, Any] = {}
    if isinstance(problem, tuple) and len(problem) == 2:
        problem, given = problem[0], dict(problem[1])
    if not isinstance(problem, str | TaskSpec):
        raise SettingError(
            f"a problem is the id of a bandit, (id, keywords) or a TaskSpec, got {problem!r}."
        )
    task = problem if isinstance(problem, TaskSpec) else registry.task_spec(problem)
    if task.metric == "final_return":
        task = _as_bandit(task, given)
    known = accepted_keywords(task.env_id) or ()
    if horizon is not None:
        if isinstance(horizon, bool) or not isinstance(horizon, int) or horizon < 1:
            raise SettingError(f"horizon is a whole number of at least 1, got {horizon!r}.")
        if "horizon" in known:
            given["horizon"] = horizon
        task = replace(task, total_timesteps=horizon)
    elif isinstance(given.get("horizon"), int):
        task = replace(task, total_timesteps=given["horizon"])
    if not given:
        return task
    words = ", ".join(f"{name}={value!r}" for name, value in given.items())
    return replace(task, id=f"{task.id} ({words})", env_kwargs={**task.env_kwargs, **given})


def _as_bandit(task: TaskSpec, given: Mapping[str, Any]) -> TaskSpec:
    """A task of no protocol of its own, such as a wrapped bandit: scored by regret if it is one."""
    kwargs = {**task.env_kwargs, **given}
    with closing(make_environment(replace(task, env_kwargs=kwargs))) as env:
        if not env.has_wrapper_attr("expected_rewards"):
            return task
        limit = time_limit(env) or task.total_timesteps
        steps = min(task.total_timesteps, env.get_wrapper_attr("horizon"), limit)
    return replace(task, metric="learning_regret", total_timesteps=steps)


def _blocks(cell: Cell, first: int, end: int) -> Iterator[Cell]:
    """The blocks of the runs from `first` up to `end`."""
    size = max(1, min(BLOCK_RUNS, BLOCK_DECISIONS // max(cell.total_timesteps, 1)))
    bounds = [first, *range((first // size + 1) * size, end, size), end]
    for a, b in pairwise(bounds):
        yield replace(cell, runs=(a, b))


def _looks(most: int) -> tuple[int, ...]:
    looks = []
    look = BLOCK_RUNS
    while look < most:
        looks.append(look)
        look *= 2
    return (*looks, most)


def _check_runs(runs: int | None, width: float | None) -> int:
    if width is not None and not 0.0 < width < float("inf"):
        raise SettingError(f"width is a number above 0, got {width!r}.")
    most = (RUNS if width is None else MOST_RUNS) if runs is None else runs
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise SettingError(f"runs is a whole number of at least 1, got {runs!r}.")
    return most


def _width(interval: Interval) -> float:
    if interval.low is None or interval.high is None:
        return float("inf")
    return interval.high - interval.low


def _notes(
    figures: Sequence[PolicyFigures], records: Sequence[RunRecord], width: float | None, wide: int
) -> Iterator[str]:
    plain = sorted({f.policy for f in figures if not f.block.compiled})
    if plain:
        yield (
            f"Note: {', '.join(plain)} went through the plain loop, which is slower: there is no "
            "compiled run of it for this problem."
        )
    failed = sorted({(r.task, r.agent) for r in records if r.state != "ok"})
    for task, agent in failed:
        errors = [r.error for r in records if (r.task, r.agent) == (task, agent) and r.error]
        why = errors[0].strip().splitlines()[-1] if errors else "no reason is known"
        yield f"Note: {agent} failed on {task}: {why}"
    if width is not None:
        yield (
            f"Note: runs were added until the interval of the mean regret was at most {width:g} "
            "wide. Intervals are widened so that they hold at all looks together (Bonferroni)."
        )
    if width is not None and wide:
        yield f"Note: {wide} of the intervals were still wider when there were no more runs."


def _call(
    problems: Any, policies: Any, runs: Any, horizon: Any, seed: int, width: float | None
) -> str:
    from rlsuite.benchmarking import written_call

    given = {"policies": policies, "runs": runs, "horizon": horizon, "width": width}
    return written_call("study", problems, **given, seed=seed or None)


def _silent(event: Event) -> None:
    """Tells nobody."""


def _interval_json(interval: Interval | None) -> dict[str, Any] | None:
    if interval is None:
        return None
    bounds = {"low": interval.low, "high": interval.high}
    return {"estimate": interval.estimate, **bounds, "level": interval.level}


def _policy_json(f: PolicyFigures) -> dict[str, Any]:
    from rlsuite.studies.figures import QUANTILES

    return {
        "problem": f.problem,
        "policy": f.policy,
        "agent": f.agent_id,
        "runs": f.runs,
        "horizon": f.block.horizon,
        "regret": _interval_json(f.regret),
        "quantiles": dict(zip(map(str, QUANTILES), f.quantiles, strict=True)),
        "simple_regret": _interval_json(f.simple_regret),
        "optimal": _interval_json(f.optimal),
        "stuck": _interval_json(f.stuck),
        "reward": _interval_json(f.reward),
        "lai_robbins": f.slope,
        "compiled": f.block.compiled,
    }
