"""Figures of studies: regret, the moving average of rewards, and the share of optimal pulls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from registry.errors import SettingError
from rlsuite.showing.table_plots import MUTED, STYLE, refuse_plot
from rlsuite.studies.figures import Curve, PolicyFigures

__all__ = ["plot_study"]

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8b5a2b")
"""Okabe and Ito (2008), their yellow replaced by a brown."""
DASHES = ("-", "--", ":", "-.")
DPI = 160
POINTS = 1_000
"""Points of a curve that are drawn."""


def plot_study(policies: Sequence[PolicyFigures], out: Path, *, log: bool = False) -> Path:
    """Writes a figure with a row of panels for each problem.

    Mean pseudo-regret against time and against its logarithm, with the interval at each step and,
    where it is known, a line of Lai and Robbins' asymptotic slope, which bounds regret at no finite
    time; the moving average of rewards; the share of optimal pulls.

    Args:
        policies: What to draw.
        out: A `.png` or `.svg` file.
        log: Whether regret is logarithmic too.

    Raises:
        SettingError: there is nothing to draw, the name ends otherwise, or it cannot be written.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    refuse_plot(out)
    problems: dict[str, list[PolicyFigures]] = {}
    for figures in policies:
        problems.setdefault(figures.problem, []).append(figures)
    if not problems:
        raise SettingError("there is nothing to plot: no policy of the study has figures.")
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10.0, 6.6 * len(problems)), layout="constrained")
        FigureCanvasAgg(figure)
        parts = np.ravel(figure.subfigures(len(problems), 1, squeeze=False))
        for part, (problem, mine) in zip(parts, problems.items(), strict=True):
            _draw(part, problem, mine, log)
        metadata = {"Date": None} if out.suffix.lower() == ".svg" else {"Software": None}
        figure.savefig(out, dpi=DPI, metadata=metadata)
    return out


def _draw(part: Any, problem: str, policies: Sequence[PolicyFigures], log: bool) -> None:
    """The four panels of a problem."""
    first = policies[0]
    part.suptitle(f"{problem}, {_runs(policies)}", x=0.01, ha="left", fontweight="bold")
    (linear, by_log), (reward, optimal) = part.subplots(2, 2)
    window = first.curve.window
    for panel, title in (
        (linear, "mean pseudo-regret"),
        (by_log, "the same on logarithmic time"),
        (reward, f"reward, moving average of {window} steps" if window > 1 else "reward"),
        (optimal, "share of runs that pull an optimal arm"),
    ):
        panel.set_title(title, loc="left", fontsize=10)
        panel.set_xlabel("decisions")
        panel.grid(alpha=0.25, linewidth=0.5)
    for k, figures in enumerate(policies):
        style = {"color": COLOURS[k % len(COLOURS)], "ls": DASHES[k // len(COLOURS) % len(DASHES)]}
        curve = figures.curve
        at = _points(curve)
        for panel in (linear, by_log):
            panel.plot(curve.step[at], curve.regret[at], label=figures.policy, lw=1.6, **style)
            band = (curve.step[at], curve.low[at], curve.high[at])
            panel.fill_between(*band, color=style["color"], alpha=0.18, lw=0)
        reward.plot(curve.step[at], curve.reward[at], lw=1.4, **style)
        optimal.plot(curve.step[at], curve.optimal[at], lw=1.4, **style)
    if first.slope is not None and first.block.horizon > 1:
        _slope(by_log, first.slope, policies)
    optimal.set_ylim(-0.02, 1.02)
    by_log.set_xscale("log")
    if log:
        linear.set_yscale("log")
        by_log.set_yscale("log")
    handles, labels = by_log.get_legend_handles_labels()
    part.legend(handles, labels, frameon=False, ncols=3, loc="outside lower left")


def _slope(panel: Any, slope: float, policies: Sequence[PolicyFigures]) -> None:
    """A line of that slope in ln t; where it starts means nothing."""
    horizon = policies[0].block.horizon
    step = np.array([1.0, horizon])
    words = f"asymptotic slope of Lai and Robbins, {slope:.3g} ln t"
    panel.plot(step, slope * np.log(step), color=MUTED, ls=(0, (1, 1.5)), lw=1.4, label=words)


def _points(curve: Curve) -> Any:
    """Steps that are drawn: all, or some evenly spread over time and over its logarithm."""
    last = len(curve.step)
    if last <= 2 * POINTS:
        return np.arange(last)
    even = np.linspace(0, last - 1, POINTS)
    return np.unique(np.concatenate([even, np.geomspace(1, last, POINTS) - 1.0]).astype(int))


def _runs(policies: Sequence[PolicyFigures]) -> str:
    counts = sorted({figures.runs for figures in policies})
    most = f"{counts[-1]:,} {'run' if counts[-1] == 1 else 'runs'}"
    return most if len(counts) == 1 else f"{counts[0]:,} to {most}"
