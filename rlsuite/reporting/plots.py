"""Charts as inline SVG, written by hand: no script, no font, no file beside the page.

Neutral parts are drawn in `currentColor` and series in the CSS variables `--series-1` to
`--series-8` (with fallbacks), so one drawing serves light, dark and print. A series is told apart
by colour, dash and marker together, and carries its name as text. Every drawing has a title and a
description for readers who do not see it, and every dot says its value on hover.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from registry.errors import SettingError
from rlsuite.reporting.axes import (
    DASHED,
    Reference,
    Scale,
    domain,
    log_ticks,
    nice_ticks,
    reference_words,
    tame,
    thin,
    x_tick,
)
from rlsuite.reporting.formatting import number
from rlsuite.reporting.svg import (
    CHAR,
    GRID,
    WIDTH,
    at,
    colour,
    compact,
    dash,
    marker,
    minus,
    points,
    short,
    svg,
    text,
    tooltip,
)
from rlsuite.statistics import Interval

__all__ = ["Series", "interval_bar", "line_chart"]

ROW = 14
"""Height of a line of text."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Series:
    """A curve `y [P]` over `x [P]`, with a band from `low` to `high` (NaN where there is none)."""

    label: str
    style: int
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def line_chart(
    series: Sequence[Series],
    *,
    ident: str,
    title: str,
    description: str,
    x_label: str,
    y_label: str,
    references: Sequence[Reference] = (),
    height: int = 250,
    log_x: bool = False,
) -> str:
    """Curves with bands, a legend above them and dashed lines for known values.

    Args:
        series: at least one, with at least one finite point each; thinned to 200 points.
        ident: a prefix for the ids of the drawing, unique in its page.
        title: read out first by screen readers.
        description: what the chart shows, in a sentence or two.
        x_label: below the axis.
        y_label: above the axis.
        references: drawn if that leaves room for the curves, else named at the edge.
        height: of the plotting area, in units of a drawing that is 400 wide.
        log_x: whether the horizontal axis is logarithmic; its numbers are above 0.

    Returns:
        An `<svg>` element; all texts are escaped.

    Raises:
        SettingError: nothing to draw.
    """
    drawn = [_finite(s) for s in series]
    if not drawn or any(len(s.x) == 0 for s in drawn):
        raise SettingError("a line chart needs at least one series of finite points.")
    low, high, inside, outside = domain(_heights(drawn), references)
    ticks = nice_ticks(low, high)
    largest = max(map(abs, ticks))
    left = 14 + CHAR * max(len(compact(t, largest)) for t in ticks)
    legend, legend_height = _legend(drawn)
    top = legend_height + 26
    left_end, right_end = _ends(drawn, log_x)
    x = Scale(left_end, right_end, left, WIDTH - 14, log_x)
    x_ticks = log_ticks(left_end, right_end) if log_x else nice_ticks(left_end, right_end, 4)
    y = Scale(low, high, top + height, top)
    parts = [legend, text(0, top - 11, y_label, css="axis-title")]
    parts += [_y_tick(t, y, left, largest) for t in ticks]
    parts += [x_tick(t, x, top + height, t if log_x else right_end) for t in x_ticks]
    parts.append(text((left + WIDTH) / 2, top + height + 36, x_label, "middle", "axis-title"))
    area = f"{ident}-area"
    parts.append(
        f'<clipPath id="{escape(area)}"><rect x="{at(left)}" y="{at(top)}" '
        f'width="{at(WIDTH - left)}" height="{at(height)}"/></clipPath>'
        f'<g clip-path="url(#{escape(area)})">'
    )
    parts += [_band(s, x, y) for s in drawn]
    parts += [_curve(s, x, y) for s in drawn]
    parts.append("</g>")
    parts += [_marks(s, x, y) for s in drawn]
    parts += [_level(r, i, y, left) for i, r in enumerate(inside)]
    parts += _off_scale(outside, low, left + 6, top + 12, top + height - 6)
    return svg(ident, title, description, top + height + 44, parts)


def interval_bar(
    interval: Interval, style: int, low: float, high: float, reference: float | None = None
) -> str:
    """A small drawing for a line of a table: estimate and interval on the axis [low, high].

    Decoration beside the written figure, so hidden from screen readers. `reference` is drawn as a
    thin line.

    Raises:
        SettingError: the axis is empty.
    """
    if not low < high:
        raise SettingError(f"an axis needs low < high, got {low}, {high}.")
    x = Scale(low, high, 4, 116)
    parts = [f'<line x1="4" x2="116" y1="8" y2="8" {GRID}/>']
    if reference is not None and low <= reference <= high:
        place = at(x(reference))
        parts.append(
            f'<line x1="{place}" x2="{place}" y1="1" y2="15" stroke="currentColor" '
            'stroke-dasharray="2 2" opacity="0.6"/>'
        )
    if interval.low is not None and interval.high is not None:
        left, right = x.clipped(interval.low), x.clipped(interval.high)
        parts.append(
            f'<line x1="{at(left)}" x2="{at(right)}" y1="8" y2="8" stroke-width="5" '
            f'opacity="0.35" style="stroke:{colour(style)}"/>'
        )
    parts.append(marker(x.clipped(interval.estimate), 8, style, 3.6))
    return (
        '<svg class="bar" viewBox="0 0 120 16" width="120" height="16" aria-hidden="true">'
        f"{''.join(parts)}</svg>"
    )


def _ends(series: Sequence[Series], log: bool) -> tuple[float, float]:
    """The horizontal axis: from 0 or what lies below, or, if logarithmic, from the first number."""
    low, high = min(float(s.x.min()) for s in series), max(float(s.x.max()) for s in series)
    if log:
        return (low, high) if low < high else (low / 2.0, low * 2.0)
    low = min(0.0, low)
    return (low, high) if low < high else (low, low + 1.0)


def _finite(s: Series) -> Series:
    keep = np.flatnonzero(np.isfinite(s.x) & np.isfinite(s.y))
    keep = keep[thin(len(keep))]
    return Series(
        label=s.label, style=s.style, x=s.x[keep], y=s.y[keep], low=s.low[keep], high=s.high[keep]
    )


def _heights(series: Sequence[Series]) -> list[float]:
    """The numbers that the vertical axis must show."""
    means = [float(v) for s in series for v in s.y]
    bands = [float(v) for s in series for v in (*s.low, *s.high) if np.isfinite(v)]
    return tame(means, bands)


def _band(s: Series, x: Scale, y: Scale) -> str:
    """A band for each stretch of points that have one."""
    known = np.isfinite(s.low) & np.isfinite(s.high)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], known.astype(int), [0]])))
    parts = []
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        there = [(x(a), y(b)) for a, b in zip(s.x[start:end], s.high[start:end], strict=True)]
        back = [(x(a), y(b)) for a, b in zip(s.x[start:end], s.low[start:end], strict=True)]
        path = points([*there, *back[::-1]])
        parts.append(f'<polygon points="{path}" style="fill:{colour(s.style)}" opacity="0.14"/>')
    return "".join(parts)


def _curve(s: Series, x: Scale, y: Scale) -> str:
    path = points([(x(a), y(b)) for a, b in zip(s.x, s.y, strict=True)])
    return (
        f'<polyline points="{path}" fill="none" stroke-width="2" stroke-linejoin="round" '
        f'{dash(s.style)}style="stroke:{colour(s.style)}"/>'
    )


def _marks(s: Series, x: Scale, y: Scale) -> str:
    """A marker at each point of a short curve, at the end of a long one."""
    chosen = range(len(s.x)) if len(s.x) <= 20 else (len(s.x) - 1,)
    parts = []
    for i in chosen:
        value = float(s.y[i])
        words = f"{s.label}: {minus(number(value))} at {compact(float(s.x[i]))}"
        parts.append(marker(x(float(s.x[i])), y.clipped(value), s.style, 3.4, words))
    return "".join(parts)


def _legend(series: Sequence[Series]) -> tuple[str, float]:
    """Names with a piece of their line, wrapped to the width; and the height it takes."""
    parts, left, row = [], 0.0, 0
    for s in series:
        label = short(s.label, 44)
        width = 34 + CHAR * len(label) + 16
        if left and left + width - 16 > WIDTH:
            left, row = 0.0, row + 1
        middle = 9 + 19 * row
        parts.append(
            f"<g>{tooltip(s.label)}"
            f'<line x1="{at(left)}" y1="{middle}" x2="{at(left + 26)}" y2="{middle}" '
            f'stroke-width="2" {dash(s.style)}style="stroke:{colour(s.style)}"/>'
            + marker(left + 13, middle, s.style, 3.4)
            + text(left + 33, middle + 4, label)
            + "</g>"
        )
        left += width
    return "".join(parts), 19.0 * (row + 1)


def _y_tick(value: float, y: Scale, left: float, largest: float) -> str:
    place = at(y(value))
    grid = f'<line class="grid" x1="{at(left)}" x2="{WIDTH}" y1="{place}" y2="{place}" {GRID}/>'
    return grid + text(left - 6, y(value) + 4, compact(value, largest), "end", "tick")


def _level(reference: Reference, index: int, y: Scale, left: float) -> str:
    """A dashed horizontal line; labels of the first on the left, of the others on the right."""
    place = y(reference.value)
    words = reference_words(reference)
    edge, anchor = (left + 6, "start") if index == 0 else (WIDTH - 6, "end")
    line = f'<line x1="{at(left)}" x2="{WIDTH}" y1="{at(place)}" y2="{at(place)}" {DASHED}/>'
    return line + text(edge, place - 5, words, anchor, "reference")


def _off_scale(
    outside: Sequence[Reference], low: float, left: float, top: float, bottom: float
) -> list[str]:
    """References that would press the curves flat are named at the edge beyond which they lie."""
    rows = {True: 0, False: 0}
    parts = []
    for reference in sorted(outside, key=lambda reference: reference.value):
        below = reference.value < low
        place = bottom - ROW * rows[True] if below else top + ROW * rows[False]
        rows[below] += 1
        words = f"{reference_words(reference)} {'↓' if below else '↑'}"
        parts.append(text(left, place, words, css="reference"))
    return parts
