"""Records to what is drawn: means over runs with 95% bands, and every run as a dot."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rlsuite.records import CurvePoint, RunRecord, UpdateCurve
from rlsuite.reporting.axes import MAX_POINTS, thin
from rlsuite.reporting.plots import Series
from rlsuite.reporting.strips import Dots
from rlsuite.statistics import student_t_interval
from rlsuite.statistics.scores import t_quantile

__all__ = [
    "band",
    "clock_series",
    "learning_series",
    "regret_series",
    "run_dots",
    "update_series",
]

Floats = NDArray[np.float64]
Styles = Mapping[str, int]


def learning_series(records: Sequence[RunRecord], styles: Styles) -> list[Series]:
    """Mean return at each evaluation point of one task, a series for each agent.

    Args:
        records: of one task; failed ones have no curve and are left out.
        styles: the style number of each agent.
    """
    return _evaluation_series(records, styles, "mean_return")


def regret_series(records: Sequence[RunRecord], styles: Styles) -> list[Series]:
    """Regret of one task: summed while learning (bandits), else of the policy at each point."""
    if any(record.metric == "learning_regret" for record in records):
        return _training_series(records, styles)
    return _evaluation_series(records, styles, "regret")


def clock_series(records: Sequence[RunRecord], styles: Styles) -> list[Series]:
    """Mean return against seconds of training, a series for each agent whose clock is known.

    Runs line up as they do against steps; each point stands at the mean of their seconds.
    """
    found = []
    for agent, mine in _by_agent(records).items():
        curves = [_known(record.curve, "mean_return") for record in mine]
        clocks = [_known(record.curve, "train_seconds") for record in mine]
        kept = [k for k, curve in enumerate(curves) if curve and len(curve) == len(clocks[k])]
        if not kept:
            continue
        _, values = _aligned([curves[k] for k in kept])
        _, seconds = _aligned([clocks[k] for k in kept])
        mean = np.nanmean(seconds, axis=0)
        if (spent := mean > 0.0).any():
            found.append(_series(agent, styles[agent], mean[spent], values[:, spent]))
    return found


def run_dots(
    records: Sequence[RunRecord],
    agents: Sequence[str],
    styles: Styles,
    quantity: str,
    limit: int = 2_000,
) -> list[Dots]:
    """Every finished run of one task, a line for each agent in the given order.

    `quantity` is the field of the record: `mean_return`, `score` or `regret`. Of more than `limit`
    runs some are left out, for each agent evenly over its seeds and at least two; `runs` of the
    line counts them all.
    """
    known: dict[str, list[tuple[str, float]]] = {agent: [] for agent in agents}
    planned, failed = Counter[str](), Counter[str]()
    for r in records:
        planned[r.agent] += 1
        failed[r.agent] += r.state != "ok"
        if r.state == "ok" and (value := getattr(r, quantity)) is not None:
            known[r.agent].append((f"seed {r.seed}", float(value)))
    share = min(1.0, limit / max(sum(map(len, known.values())), 1))
    lines = []
    for agent, runs in known.items():
        interval = student_t_interval([value for _, value in runs]) if runs else None
        chosen = thin(len(runs), max(2, math.floor(share * len(runs))))
        note = f"{failed[agent]} of {planned[agent]} failed" if failed[agent] and not runs else ""
        lines.append(
            Dots(
                label=agent,
                style=styles[agent],
                points=tuple(runs[k] for k in chosen),
                runs=len(runs),
                mean=interval,
                note=note,
            )
        )
    return lines


def band(values: Floats) -> tuple[Floats, Floats, Floats]:
    """Mean and Student's t band over runs at each point.

    Args:
        values: `[N, P]`, NaN where a run has no value.

    Returns:
        Mean, low and high, each `[P]`; low and high are NaN where fewer than two runs have a value,
        the mean where none has.
    """
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    quantiles = {n: t_quantile(n - 1, 0.95) for n in set(count.tolist()) if n > 1}
    t = np.array([quantiles.get(n, np.nan) for n in count.tolist()])
    with np.errstate(invalid="ignore", divide="ignore"):  # points where no run has a value
        mean = np.where(known, values, 0.0).sum(axis=0) / count
        squares = np.where(known, (values - mean) ** 2, 0.0).sum(axis=0)
        half = t * np.sqrt(squares / (count - 1) / count)
    return mean, mean - half, mean + half


def _evaluation_series(
    records: Sequence[RunRecord], styles: Styles, name: Literal["mean_return", "regret"]
) -> list[Series]:
    series = []
    for agent, mine in _by_agent(records).items():
        curves = [_known(record.curve, name) for record in mine]
        curves = [curve for curve in curves if curve]
        if curves:
            steps, values = _aligned(curves)
            series.append(_series(agent, styles[agent], steps, values))
    return series


def _by_agent(records: Sequence[RunRecord]) -> dict[str, list[RunRecord]]:
    found: dict[str, list[RunRecord]] = {}
    for record in records:
        if record.state == "ok":
            found.setdefault(record.agent, []).append(record)
    return found


def _known(curve: tuple[CurvePoint, ...], name: str) -> list[tuple[int, float]]:
    points = map(attrgetter("step", name), curve)
    return [point for point in points if point[1] is not None]


def _aligned(curves: list[list[tuple[int, float]]]) -> tuple[Floats, Floats]:
    """Steps [P] and values [N, P] of several runs.

    Runs evaluated at the same steps line up by step. Where the steps differ a little, as those of
    agents that collect whole rollouts do, but not their number, they line up by index.
    """
    if len({len(curve) for curve in curves}) == 1:
        both = np.array(curves, dtype=np.float64)  # [N, P, 2]
        return np.median(both[:, :, 0], axis=0), both[:, :, 1]
    grid = sorted({step for curve in curves for step, _ in curve})
    values = np.full((len(curves), len(grid)), np.nan)
    place = {step: index for index, step in enumerate(grid)}
    for row, curve in enumerate(curves):
        for step, value in curve:
            values[row, place[step]] = value
    return np.array(grid, dtype=np.float64), values


def _training_series(records: Sequence[RunRecord], styles: Styles) -> list[Series]:
    """Cumulative regret on a grid of at most 200 steps that all runs of an agent share."""
    series = []
    for agent, mine in _by_agent(records).items():
        curves = [curve for record in mine if (curve := _cumulative(record)) is not None]
        if not curves:
            continue
        grid = np.unique(np.concatenate([steps for steps, _ in curves]))
        grid = grid[thin(len(grid), MAX_POINTS)]
        rows = [np.interp(grid, steps, regret, right=np.nan) for steps, regret in curves]
        series.append(_series(agent, styles[agent], grid, np.array(rows)))
    return series


def update_series(records: Sequence[RunRecord], styles: Styles, metric: str) -> list[Series]:
    """A metric of the agents' updates, on a grid of at most 200 steps that their runs share."""
    series = []
    for agent, mine in _by_agent(records).items():
        told = [r.updates for r in mine if r.updates is not None and metric in r.updates.values]
        known = [
            (u.step[at], u.values[metric][at]) for u in told if (at := _finite(u, metric)).any()
        ]
        if not known:
            continue
        grid = np.unique(np.concatenate([steps for steps, _ in known])).astype(np.float64)
        grid = grid[thin(len(grid), MAX_POINTS)]
        rows = [np.interp(grid, x, y, left=np.nan, right=np.nan) for x, y in known]
        series.append(_series(agent, styles[agent], grid, np.array(rows)))
    return series


def _finite(updates: UpdateCurve, metric: str) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = np.isfinite(updates.values[metric])
    return found


def _cumulative(record: RunRecord) -> tuple[Floats, Floats] | None:
    """Steps and regret of one run, from nothing at step 0; None where no regret was told."""
    if record.training is None:
        return None
    known = np.isfinite(record.training.regret)
    if not known.any():
        return None
    steps = np.concatenate([[0.0], record.training.step[known]])
    return steps, np.concatenate([[0.0], record.training.regret[known]])


def _series(label: str, style: int, x: Floats, values: Floats) -> Series:
    mean, low, high = band(values)
    return Series(label=label, style=style, x=x, y=mean, low=low, high=high)
