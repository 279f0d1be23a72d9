"""How often the intervals hold the truth, and how estimators fail: measured, not believed.

Run: python -m rlsuite.ope.simulation [--sets 1000] [--seed 0] [--picture FILE]

Eight contexts, all equally likely, five actions, rewards 0 or 1 with probabilities q(x, a). The
policy that logs plays softmax(-β q), against the rewards; the evaluated one softmax(η q). So the
larger β and η are, the fewer decisions count. The reward model of DR and SNDR is the mean reward of
each context and action, drawn to ½ a little, 3-fold cross-fitted.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rlsuite.ope.diagnostics import effective_sample_size
from rlsuite.ope.estimators import (
    Terms,
    direct_method,
    doubly_robust,
    ipw,
    model_values,
    self_normalized_dr,
    snipw,
    weights,
)
from rlsuite.ope.intervals import bernstein_interval, bootstrap_intervals

__all__ = ["SETTINGS", "Coverage", "Problem", "clipping", "coverage", "direct_errors", "picture"]

Floats = NDArray[np.float64]

SETTINGS = ((0, 3), (0, 8), (2, 4), (3, 4), (4, 3), (4, 6), (6, 8), (8, 8))
"""Pairs of β and η, from many decisions that count to few."""

NAMES = ("IPW", "SNIPW", "DR", "SNDR")
FOLDS = 3
PRIOR = 5
"""Decisions that a cell's mean is drawn to ½ by."""


@dataclass(frozen=True, slots=True)
class Problem:
    """π_b, π_e and q, each [8, 5]."""

    logging: Floats
    target: Floats
    q: Floats

    @classmethod
    def of(cls, beta: float, eta: float, seed: int = 0) -> Problem:
        """With q uniform in [0, 1], drawn from the seed."""
        q = np.random.default_rng(seed).random((8, 5))
        return cls(_softmax(-beta * q), _softmax(eta * q), q)

    @property
    def value(self) -> float:
        """V(π_e), exactly."""
        return float((self.target * self.q).sum(axis=1).mean())

    @property
    def w(self) -> Floats:
        """π_e / π_b, [8, 5]."""
        return self.target / self.logging

    @property
    def ess_share(self) -> float:
        """What ESS / N tends to: 1 / E[w²]."""
        return float(1.0 / (self.logging * self.w**2).sum(axis=1).mean())

    def draw(self, n: int, rng: np.random.Generator) -> tuple[NDArray[np.intp], ...]:
        """Contexts, actions and rewards of n decisions."""
        x = rng.integers(8, size=n)
        a = (self.logging.cumsum(axis=1)[x, :-1] < rng.random((n, 1))).sum(axis=1)
        return x, a, (rng.random(n) < self.q[x, a]).astype(np.intp)


def _softmax(logits: Floats) -> Floats:
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(p / p.sum(axis=1, keepdims=True))


def _cell_means(x: NDArray[np.intp], a: NDArray[np.intp], r: NDArray[np.intp]) -> Floats:
    """q(x, a) [N, 5]: means of the other folds, with 5 more decisions that were paid ½ each."""
    fold, q = np.arange(len(x)) % FOLDS, np.empty((len(x), 5))
    for k in range(FOLDS):
        seen = fold != k
        cell = x[seen] * 5 + a[seen]
        count = np.bincount(cell, minlength=40)
        total = np.bincount(cell, weights=r[seen], minlength=40)
        means = ((total + 0.5 * PRIOR) / (count + PRIOR)).reshape(8, 5)
        q[~seen] = means[x[~seen]]
    return q


def _terms(
    problem: Problem, x: NDArray[np.intp], a: NDArray[np.intp], r: NDArray[np.intp]
) -> dict[str, Terms]:
    w, q = weights(problem.target[x, a], problem.logging[x, a]), _cell_means(x, a, r)
    model = q[np.arange(len(x)), a], model_values(q, problem.target[x])
    return {
        "IPW": ipw(w, r),
        "SNIPW": snipw(w, r),
        "DR": doubly_robust(w, r, *model),
        "SNDR": self_normalized_dr(w, r, *model),
    }


@dataclass(frozen=True, slots=True)
class Coverage:
    """How often intervals of 95 % held the truth: share of the sets, by estimator."""

    n: int
    ess_share: float
    bootstrap: dict[str, float]
    bernstein: dict[str, float]


def coverage(
    problem: Problem, n: int, *, sets: int = 1000, resamples: int = 400, seed: int = 0
) -> Coverage:
    """Over `sets` logs of n decisions each."""
    held = dict.fromkeys(NAMES, 0)
    bounded = {"IPW": 0, "DR": 0}
    largest, share, value = float(problem.w.max()), 0.0, problem.value
    ranges = {"IPW": (0.0, largest), "DR": (-largest, 1.0 + largest)}
    for k in range(sets):
        x, a, r = problem.draw(n, np.random.default_rng((seed, k)))
        share += effective_sample_size(problem.w[x, a]) / n / sets
        made = _terms(problem, x, a, r)
        found = bootstrap_intervals(list(made.values()), resamples=resamples, seed=k)
        for name, interval in zip(made, found, strict=True):
            low, high = interval.low, interval.high
            held[name] += low is None or high is None or low <= value <= high
        for name, bounds in ranges.items():
            interval = bernstein_interval(made[name], *bounds)
            assert interval.low is not None
            assert interval.high is not None
            bounded[name] += interval.low <= value <= interval.high
    return Coverage(
        n,
        share,
        {name: count / sets for name, count in held.items()},
        {name: count / sets for name, count in bounded.items()},
    )


def clipping(problem: Problem, clip: float, n: int) -> tuple[float, float]:
    """Bias and standard deviation of clipped IPW on logs of n decisions, exactly."""
    w = np.minimum(problem.w, clip)
    mean = float((problem.logging * w * problem.q).sum(axis=1).mean())
    second = float((problem.logging * w**2 * problem.q).sum(axis=1).mean())  # r is 0 or 1
    return mean - problem.value, float(np.sqrt((second - mean**2) / n))


def direct_errors(problem: Problem, n: int, *, sets: int = 200, seed: int = 0) -> dict[str, float]:
    """Root mean squared errors of DM and DR with a model that overlooks the context, and of IPW.

    The model is the mean reward of each action: wrong, however many decisions there are.
    """
    squares = dict.fromkeys(("DM", "DR", "IPW"), 0.0)
    for k in range(sets):
        x, a, r = problem.draw(n, np.random.default_rng((seed, k)))
        q = _cell_means(np.zeros_like(x), a, r)
        w = weights(problem.target[x, a], problem.logging[x, a])
        values = model_values(q, problem.target[x])
        made = {
            "DM": direct_method(values),
            "DR": doubly_robust(w, r, q[np.arange(n), a], values),
            "IPW": ipw(w, r),
        }
        for name, terms in made.items():
            squares[name] += (terms.value - problem.value) ** 2 / sets
    return {name: float(np.sqrt(square)) for name, square in squares.items()}


def picture(path: Path, found: list[Coverage], *, sets: int = 200) -> None:
    """Three ways to be wrong: clipping, a wrong model, and few decisions that count."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    problem = Problem.of(3.0, 4.0)
    limits = np.geomspace(0.2, float(problem.w.max()), 60)
    both = np.array([clipping(problem, limit, 2000) for limit in limits])
    left.plot(limits, np.abs(both[:, 0]), color="#d55e00", label="bias, whatever N is")
    left.plot(limits, both[:, 1], "--", color="#0072b2", label="standard deviation, N = 2,000")
    left.set(
        xscale="log",
        xlabel="λ: largest weight of IPW",
        ylabel="error",
        title="Clipping: less noise, more bias",
    )
    sizes = [200, 800, 3200, 12800]
    errors = [direct_errors(problem, n, sets=sets) for n in sizes]
    styles = {"DM": ("#d55e00", "o-"), "DR": ("#009e73", "s-"), "IPW": ("#0072b2", "^--")}
    for name, (color, style) in styles.items():
        middle.plot(sizes, [e[name] for e in errors], style, color=color, label=name)
    middle.set(
        xscale="log",
        yscale="log",
        xlabel="N",
        ylabel="root mean squared error",
        title="A wrong model: DM stays wrong",
    )
    marks = dict(zip(NAMES, ("^--", "v:", "s-", "o-"), strict=True))
    colors = dict(zip(NAMES, ("#0072b2", "#cc79a7", "#009e73", "#e69f00"), strict=True))
    rows = sorted(found, key=lambda c: c.ess_share)
    for name in NAMES:
        right.plot(
            [c.ess_share for c in rows],
            [c.bootstrap[name] for c in rows],
            marks[name],
            color=colors[name],
            label=name,
        )
    right.axhline(0.95, color="0.5", linewidth=1)
    right.axvline(0.1, color="0.5", linewidth=1, linestyle=":")
    right.set(
        xscale="log",
        xlabel="ESS / N",
        ylabel="share of 95 % intervals that hold V",
        title=f"Few decisions count (N = {rows[0].n:,})",
    )
    for axes in (left, middle, right):
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def main() -> None:
    """Prints the tables, and draws the picture where one is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--sets", type=int, default=1000)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="of the logs")
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    print("| β, η | ESS / N | " + " | ".join(NAMES) + " | IPW, Bernstein | DR, Bernstein |")
    print("|" + " --- |" * 8)
    found = []
    for beta, eta in SETTINGS:
        c = coverage(Problem.of(beta, eta), options.n, sets=options.sets, seed=options.seed)
        shares = [*c.bootstrap.values(), *c.bernstein.values()]
        row = [f"{beta:g}, {eta:g}", f"{c.ess_share:.3f}", *(f"{s:.1%}" for s in shares)]
        print(f"| {' | '.join(row)} |", flush=True)
        found.append(c)
    if options.picture is not None:
        picture(options.picture, found)


if __name__ == "__main__":
    main()
