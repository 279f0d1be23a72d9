"""How often the intervals hold the truth, and how often the tests err: measured, not believed.

Run: python -m rlsuite.statistics.simulation [--sets 1000] [--only NAME ...]

Scores are drawn from populations whose tasks differ in centre and spread. Three shapes: normal;
lognormal (σ = 0.8, skewness 3.7); and "failing", where one run in five fails and lands far below
the others. The truth is the same statistic of the population itself.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count

import numpy as np

from registry.errors import SettingError
from rlsuite.statistics.aggregates import iqm, mean, median, optimality_gap
from rlsuite.statistics.comparison import compare_agents
from rlsuite.statistics.differences import difference_interval
from rlsuite.statistics.improvement import probability_of_improvement
from rlsuite.statistics.intervals import Method, bootstrap_interval, student_t_interval
from rlsuite.statistics.proportions import performance_profile, success_interval
from rlsuite.statistics.resampling import compiling_from
from rlsuite.statistics.scores import Floats, Interval, Statistic
from rlsuite.statistics.sequential import sequential_comparison
from rlsuite.statistics.tolerance import tolerance_interval

__all__ = [
    "QUANTITIES",
    "SHAPES",
    "Population",
    "coverage",
    "pairwise_error_rate",
    "profile_coverage",
    "sequential_error_rate",
    "success_coverage",
    "tolerance_coverage",
]

_GRID = (np.arange(4000) + 0.5) / 4000  # of probabilities, to integrate over a population
_EACH = 5  # data sets from one population
_RESAMPLES = 1000


def _normal(u: Floats) -> Floats:
    from scipy.special import ndtri

    return np.asarray(ndtri(u))


def _lognormal(u: Floats) -> Floats:
    return np.exp(0.8 * _normal(u)) - np.exp(0.32)


def _failing(u: Floats) -> Floats:
    fails = u < 0.2
    within = np.where(fails, u / 0.2, (u - 0.2) / 0.8)
    return np.where(fails, -3.0 + 0.3 * _normal(within), 0.5 * _normal(within)) + 0.6


SHAPES: Mapping[str, Callable[[Floats], Floats]] = {
    "normal": _normal,
    "lognormal": _lognormal,
    "failing": _failing,
}
"""Quantile functions with mean 0: a probability to a score."""


@dataclass(frozen=True, slots=True)
class Population:
    """Where the runs of one agent come from: `centre + spread * shape`, task by task, `[M]`."""

    shape: str
    centre: Floats
    spread: Floats

    @classmethod
    def drawn(cls, rng: np.random.Generator, tasks: int, shape: str) -> Population:
        """Tasks that differ: centres of standard deviation 0.5, spreads of 0.3 times e^±0.5."""
        centre = rng.normal(0.0, 0.5, tasks)
        return cls(shape, centre, 0.3 * np.exp(rng.normal(0.0, 0.5, tasks)))

    def rival(self, rng: np.random.Generator) -> Population:
        """Another agent on the same tasks, better or worse by about a spread, and spread anew."""
        shift = self.spread * rng.normal(0.5, 0.7, len(self.centre))
        spread = self.spread * np.exp(rng.normal(0.0, 0.3, len(self.centre)))
        return Population(self.shape, self.centre + shift, spread)

    def runs(self, rng: np.random.Generator, number: int) -> Floats:
        """Scores `[number, M]`."""
        u = rng.random((number, len(self.centre)))
        return self.centre + self.spread * SHAPES[self.shape](u)

    def grid(self) -> Floats:
        """The population itself, as 4,000 equally likely scores of each task, `[4000, M]`."""
        return self.centre + self.spread * SHAPES[self.shape](_GRID)[:, None]


gap = functools.partial(optimality_gap, gamma=0.5)
STATISTICS: Mapping[str, Statistic] = {"iqm": iqm, "mean": mean, "median": median, "gap": gap}


@dataclass(frozen=True, slots=True)
class _Quantity:
    """What is estimated: an interval from the data of one or two agents, and its true value."""

    interval: Callable[[Floats, Floats, int], Interval]
    truth: Callable[[Population, Population], float]


def _aggregate(statistic: Statistic, method: Method = "auto") -> _Quantity:
    def interval(x: Floats, _: Floats, seed: int) -> Interval:
        return bootstrap_interval(x, statistic, seed=seed, resamples=_RESAMPLES, method=method)

    return _Quantity(interval, lambda one, _: float(statistic(one.grid())))


def _difference(statistic: Statistic) -> _Quantity:
    def interval(x: Floats, y: Floats, seed: int) -> Interval:
        return difference_interval(x, y, statistic, seed=seed, resamples=_RESAMPLES)

    def truth(one: Population, two: Population) -> float:
        return float(statistic(one.grid()) - statistic(two.grid()))

    return _Quantity(interval, truth)


def _improvement() -> _Quantity:
    def interval(x: Floats, y: Floats, seed: int) -> Interval:
        return probability_of_improvement(x, y, seed=seed, resamples=_RESAMPLES)

    def truth(one: Population, two: Population) -> float:
        return float(
            np.mean(
                [
                    np.searchsorted(np.sort(b), a).mean() / len(b)
                    for a, b in zip(one.grid().T, two.grid().T, strict=True)
                ]
            )
        )

    return _Quantity(interval, truth)


QUANTITIES: Mapping[str, _Quantity] = {
    **{name: _aggregate(statistic) for name, statistic in STATISTICS.items()},
    "iqm, percentile": _aggregate(iqm, "percentile"),
    **{f"difference of {name}": _difference(s) for name, s in STATISTICS.items()},
    "improvement": _improvement(),
}
"""What `coverage` can measure, by name."""


def coverage(
    quantity: str, tasks: int, runs: int, shape: str, *, sets: int = 1000, seed: int = 0
) -> float:
    """The share of data sets whose 95% interval holds the true value.

    Args:
        quantity: a name in `QUANTITIES`.
        tasks: M.
        runs: N of every task and agent.
        shape: a name in `SHAPES`.
        sets: how many data sets, a multiple of 5 (each population gives five).
        seed: of everything.

    Raises:
        SettingError: a name that is not known, or a number of sets that does not divide.
    """
    if quantity not in QUANTITIES or shape not in SHAPES:
        raise SettingError(
            f"quantity must be one of {sorted(QUANTITIES)} and shape one of {sorted(SHAPES)}, got "
            f"{quantity!r} and {shape!r}."
        )
    measured, seeds = QUANTITIES[quantity], count()
    hits = 0
    with compiling_from(0):
        for rng, one, two in _populations(tasks, shape, sets, seed):
            truth = measured.truth(one, two)
            for _ in range(_EACH):
                x, y = one.runs(rng, runs), two.runs(rng, runs)
                hits += _holds(measured.interval(x, y, next(seeds)), truth)
    return hits / sets


def _populations(
    tasks: int, shape: str, sets: int, seed: int
) -> Iterator[tuple[np.random.Generator, Population, Population]]:
    if sets < _EACH or sets % _EACH:
        raise SettingError(f"sets must be a multiple of {_EACH}, got {sets!r}.")
    for number in range(sets // _EACH):
        rng = np.random.default_rng([seed, tasks, number])
        one = Population.drawn(rng, tasks, shape)
        yield rng, one, one.rival(rng)


def _holds(interval: Interval, truth: float) -> bool:
    low, high = interval.low, interval.high
    assert low is not None
    assert high is not None
    # rounding must not count against an end that is the truth itself
    return low <= truth + 1e-9 and truth <= high + 1e-9


def student_t_coverage(runs: int, shape: str, *, sets: int = 10_000, seed: int = 0) -> float:
    """The share of Student's t intervals of one task that hold the population's mean."""
    x = SHAPES[shape](np.random.default_rng([seed, runs]).random((sets, runs)))
    return float(np.mean([_holds(student_t_interval(one), 0.0) for one in x]))


def profile_coverage(
    tasks: int, runs: int, shape: str, *, sets: int = 1000, seed: int = 0
) -> float:
    """The share of points of performance profiles whose interval holds the population's share.

    The points are the thresholds that 5, 20, 50, 80 and 95% of the population are above.
    """
    hits = 0
    for rng, one, _ in _populations(tasks, shape, sets, seed):
        grid = one.grid()
        taus = np.quantile(grid, [0.05, 0.2, 0.5, 0.8, 0.95])
        truth = (grid[:, :, None] > taus).mean(axis=(0, 1))
        for _ in range(_EACH):
            found = performance_profile(one.runs(rng, runs), taus)
            assert found.low is not None
            assert found.high is not None
            hits += int(((found.low <= truth + 1e-9) & (truth <= found.high + 1e-9)).sum())
    return hits / (5 * sets)


def success_coverage(
    runs: int, rate: float, alike: float, *, trials: int = 50, sets: int = 5000, seed: int = 0
) -> float:
    """The share of intervals that hold the success rate of the algorithm.

    Args:
        runs: N.
        rate: the true rate over all runs.
        alike: the correlation of two episodes of one run: 0 if all runs are equally good, towards
            1 if a run succeeds always or never (beta-distributed rates).
        trials: episodes of each run.
        sets: how many data sets.
        seed: of everything.
    """
    rng = np.random.default_rng([seed, runs])
    if alike > 0.0:
        total = 1.0 / alike - 1.0
        rates = rng.beta(rate * total, (1.0 - rate) * total, (sets, runs))
    else:
        rates = np.full((sets, runs), rate)
    won = rng.binomial(trials, rates)
    return float(np.mean([_holds(success_interval(one, trials), rate) for one in won]))


def tolerance_coverage(
    runs: int, shape: str, *, content: float = 0.9, sets: int = 2000, seed: int = 0
) -> float:
    """The share of tolerance intervals that do hold `content` of the population."""
    rng = np.random.default_rng([seed, runs])
    quantile = SHAPES[shape]
    grid = np.sort(quantile(_GRID))
    held = 0
    for _ in range(sets):
        found = tolerance_interval(quantile(rng.random(runs)), content)
        assert found.low is not None
        assert found.high is not None
        inside = np.searchsorted(grid, found.high) - np.searchsorted(grid, found.low)
        held += int(inside >= content * len(grid))
    return held / sets


def pairwise_error_rate(
    agents: int, tasks: int, runs: int, shape: str, *, sets: int = 1000, seed: int = 0
) -> float:
    """How often `compare_agents` calls any pair of equal agents clear, at level 0.95."""
    statistic = iqm if tasks > 1 else mean
    wrong, seeds = 0, count()
    with compiling_from(0):
        for rng, one, _ in _populations(tasks, shape, sets, seed):
            for _ in range(_EACH):
                scores = {str(agent): one.runs(rng, runs) for agent in range(agents)}
                found = compare_agents(
                    scores, statistic, seed=next(seeds), resamples=2 * _RESAMPLES
                )
                wrong += any(pair.clear for pair in found.pairs)
    return wrong / sets


def sequential_error_rate(
    groups: tuple[int, ...], shape: str, *, tasks: int = 1, sets: int = 1000, seed: int = 0
) -> float:
    """How often the sequential test tells any two equal agents apart, at level 0.95.

    Args:
        groups: how many agents are equal, group by group: (4,) is four equal ones, (2, 2) two pairs
            that are far from each other.
        shape: a name in `SHAPES`.
        tasks: M.
        sets: how many times the whole sequence of looks is run, to its end.
        seed: of everything.
    """
    rng = np.random.default_rng([seed, *groups])
    group_of = [group for group, size in enumerate(groups) for _ in range(size)]
    quantile = SHAPES[shape]
    wrong = 0
    for number in range(sets):
        scores = {
            str(agent): 3.0 * group + quantile(rng.random((25, tasks)))
            for agent, group in enumerate(group_of)
        }
        found = sequential_comparison(scores, permutations=999, seed=number)
        wrong += any(
            pair.better is not None and group_of[int(pair.first)] == group_of[int(pair.second)]
            for pair in found.pairs
        )
    return wrong / sets


Row = tuple[str, ...]


def _percent(shares: list[float]) -> str:
    """The mean of normal and lognormal, then every shape by itself."""
    return (
        f"**{50 * (shares[0] + shares[1]):.1f}** ({' / '.join(f'{100 * s:.0f}' for s in shares)})"
    )


def _grid_rows(measure: Callable[..., float], sizes: tuple[int, ...], sets: int) -> Iterator[Row]:
    for tasks in sizes:
        cells = [
            _percent([measure(tasks, runs, shape, sets=sets) for shape in SHAPES])
            for runs in (3, 5, 10)
        ]
        yield (str(tasks), *cells)


def _coverage_table(quantity: str, sizes: tuple[int, ...]) -> Callable[[int], Iterator[Row]]:
    def rows(sets: int) -> Iterator[Row]:
        yield ("tasks", "N = 3", "N = 5", "N = 10")
        yield from _grid_rows(functools.partial(coverage, quantity), sizes, sets)

    return rows


def _student_rows(sets: int) -> Iterator[Row]:
    yield ("tasks", "N = 3", "N = 5", "N = 10")
    shares = [
        _percent([student_t_coverage(n, shape, sets=10 * sets) for shape in SHAPES])
        for n in (3, 5, 10)
    ]
    yield ("1", *shares)


def _profile_rows(sets: int) -> Iterator[Row]:
    yield ("tasks", "N = 3", "N = 5", "N = 10")
    yield from _grid_rows(profile_coverage, (1, 4, 8, 26), sets)


def _success_rows(sets: int) -> Iterator[Row]:
    yield ("runs", "rate", "runs alike", "runs differ (0.05)", "runs differ (0.3)")
    for runs in (3, 5, 10):
        for rate in (0.5, 0.8, 0.95):
            cells = [
                f"{100 * success_coverage(runs, rate, alike, sets=5 * sets):.0f}"
                for alike in (0.0, 0.05, 0.3)
            ]
            yield (str(runs), str(rate), *cells)


def _tolerance_rows(sets: int) -> Iterator[Row]:
    yield ("runs", "method", *SHAPES)
    for runs in (5, 10, 46, 100):
        cells = [f"{100 * tolerance_coverage(runs, s, sets=2 * sets):.0f}" for s in SHAPES]
        yield (str(runs), tolerance_interval(np.arange(runs)).method, *cells)


def _pairwise_rows(sets: int) -> Iterator[Row]:
    yield ("equal agents", "tasks", "runs", *SHAPES)
    for agents, tasks, runs in (
        (2, 1, 5),
        (4, 1, 5),
        (4, 3, 5),
        (4, 8, 5),
        (4, 26, 3),
        (4, 26, 10),
    ):
        cells = [
            f"{100 * pairwise_error_rate(agents, tasks, runs, s, sets=sets):.1f}" for s in SHAPES
        ]
        yield (str(agents), str(tasks), str(runs), *cells)


def _sequential_rows(sets: int) -> Iterator[Row]:
    yield ("agents", *SHAPES)
    for groups in ((2,), (3,), (4,), (5,), (2, 2), (3, 2), (4, 1)):
        cells = [f"{100 * sequential_error_rate(groups, s, sets=2 * sets):.1f}" for s in SHAPES]
        name = f"{groups[0]} equal" if len(groups) == 1 else " + ".join(map(str, groups))
        yield (name, *cells)


_SIZES = (2, 4, 5, 8, 19, 20, 26, 50)
_FEWER = (1, 2, 4, 5, 8, 26)
TABLES: Mapping[str, Callable[[int], Iterator[Row]]] = {
    "student-t": _student_rows,
    **{name: _coverage_table(name, _SIZES) for name in (*STATISTICS, "iqm, percentile")},
    "difference of iqm": _coverage_table("difference of iqm", _FEWER[1:]),
    **{
        name: _coverage_table(name, _FEWER)
        for name in ("difference of mean", "difference of median", "difference of gap")
    },
    "improvement": _coverage_table("improvement", _FEWER),
    "profile": _profile_rows,
    "success": _success_rows,
    "tolerance": _tolerance_rows,
    "pairwise": _pairwise_rows,
    "sequential": _sequential_rows,
}


def main() -> None:
    """Prints the tables of docs/statistics.md."""
    parser = argparse.ArgumentParser(description="Coverage and error rates, measured again.")
    parser.add_argument("--sets", type=int, default=1000, help="data sets of each figure")
    parser.add_argument("--only", nargs="+", choices=list(TABLES), default=list(TABLES))
    arguments = parser.parse_args()
    for name in arguments.only:
        print(f"\n{name}\n", flush=True)
        for index, row in enumerate(TABLES[name](arguments.sets)):
            print(f"| {' | '.join(row)} |", flush=True)
            if index == 0:
                print(f"|{' --- |' * len(row)}", flush=True)


if __name__ == "__main__":
    main()
