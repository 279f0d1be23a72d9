"""Charts as inline SVG, written by hand: no script, no font, no file beside the page.

Neutral parts are drawn in `currentColor` and series in the CSS variables `--series-1` to
`--series-8` (with fallbacks), so one drawing serves light, dark and print. A series is told apart
by colour, dash and marker together, and carries its name as text. Every drawing has a title and a
description for readers who do not see it, and every dot says its value on hover.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from registry.errors import SettingError
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

__all__ = [
    "Dots",
    "Reference",
    "Series",
    "interval_bar",
    "line_chart",
    "nice_ticks",
    "strip_chart",
    "thin",
]

MAX_POINTS = 200
_DASHED = 'stroke="currentColor" stroke-width="1.2" stroke-dasharray="3 4" opacity="0.7"'


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Series:
    """A curve `y [P]` over `x [P]`, with a band from `low` to `high` (NaN where there is none)."""

    label: str
    style: int
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Dots:
    """One line of a strip chart: `(name, value)` of every run, and their mean with its interval."""

    label: str
    style: int
    points: tuple[tuple[str, float], ...]
    mean: Interval | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Reference:
    """A known value to compare with, such as the optimal return."""

    label: str
    value: float


def thin(length: int, limit: int = MAX_POINTS) -> NDArray[np.int64]:
    """Indices of at most `limit` of `length` points, evenly spread, with the first and the last."""
    if limit < 2:
        raise SettingError(f"limit must be at least 2, got {limit!r}.")
    if length <= limit:
        return np.arange(length)
    return np.unique(np.linspace(0, length - 1, limit).round().astype(np.int64))


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers within [low, high]: multiples of 1, 2 or 5 times a power of 10.

    Raises:
        SettingError: the range is empty or not finite.
    """
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise SettingError(f"ticks need a range low < high of finite numbers, got {low}, {high}.")
    rough = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999999)
    if not _multiples(step, low, high):  # a range just short of the first multiple
        step = power
    digits = max(0, -math.floor(math.log10(step)))
    return [round(i * step, digits) + 0.0 for i in _multiples(step, low, high)]


def _multiples(step: float, low: float, high: float) -> range:
    """The numbers i for which i * step lies within [low, high]."""
    return range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)


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

    Returns:
        An `<svg>` element; all texts are escaped.

    Raises:
        SettingError: nothing to draw.
    """
    drawn = [_finite(s) for s in series]
    if not drawn or any(len(s.x) == 0 for s in drawn):
        raise SettingError("a line chart needs at least one series of finite points.")
    low, high, inside, outside = _domain(_heights(drawn), references)
    ticks = nice_ticks(low, high)
    largest = max(map(abs, ticks))
    left = 14 + CHAR * max(len(compact(t, largest)) for t in ticks)
    legend, legend_height = _legend(drawn)
    top = legend_height + 26
    right_end = float(max(s.x.max() for s in drawn))
    left_end = min(0.0, float(min(s.x.min() for s in drawn)))
    if right_end <= left_end:
        right_end = left_end + 1.0
    x = _Scale(left_end, right_end, left, WIDTH - 14)
    y = _Scale(low, high, top + height, top)
    parts = [legend, text(0, top - 11, y_label, css="axis-title")]
    parts += [_y_tick(t, y, left, largest) for t in ticks]
    parts += [_x_tick(t, x, top + height, right_end) for t in nice_ticks(left_end, right_end, 4)]
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


def strip_chart(
    rows: Sequence[Dots],
    *,
    ident: str,
    title: str,
    description: str,
    x_label: str,
    references: Sequence[Reference] = (),
) -> str:
    """Every run as a dot, one line for each agent; the bar is the mean with its interval.

    Args and errors as in `line_chart`; a row without points shows its note alone.
    """
    values = [value for row in rows for _, value in row.points]
    if not values:
        raise SettingError("a strip chart needs at least one run.")
    ends = [v for r in rows if r.mean for v in (r.mean.low, r.mean.high) if v is not None]
    low, high, inside, outside = _domain(_tame(values, ends), references)
    x = _Scale(low, high, 12, WIDTH - 12)
    # Names of references need two lines above the lanes.
    top, step = (37.0 if references else 4.0), 46.0
    bottom = top + step * len(rows) + 2
    ticks = nice_ticks(low, high)
    largest = max(map(abs, ticks))
    parts = [_x_tick(t, x, bottom, largest) for t in ticks]
    parts.append(text(WIDTH / 2, bottom + 36, x_label, "middle", "axis-title"))
    parts += [_reference_name(r, i, x) for i, r in enumerate(inside)]
    for index, row in enumerate(rows):
        parts.append(_strip(row, x, top + index * step, ticks, inside))
    if outside:
        words = "; ".join(f"{r.label} {minus(number(r.value))}" for r in outside)
        parts.append(text(0, 11, f"off scale: {words}", css="reference"))
    return svg(ident, title, description, bottom + 44, parts)


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
    x = _Scale(low, high, 4, 116)
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


@dataclass(frozen=True, slots=True)
class _Scale:
    """A straight line from numbers to places."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def clipped(self, value: float) -> float:
        return self(min(max(value, self.low), self.high))


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
    return _tame(means, bands)


def _tame(values: list[float], ends: list[float]) -> list[float]:
    """Values, and interval ends as far as they leave the values most of the room.

    With three runs an interval reaches 2.5 standard deviations to each side: drawn in full it would
    press the curves flat, so it may run out of the drawing.
    """
    low, high = min(values), max(values)
    reach = 0.4 * (high - low) if high > low else math.inf
    return [*values, *(min(max(end, low - reach), high + reach) for end in ends)]


def _domain(
    values: list[float], references: Sequence[Reference]
) -> tuple[float, float, list[Reference], list[Reference]]:
    """The range of an axis, and which references lie inside it and which do not."""
    low, high = min(values), max(values)
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        reach = max(0.05 * abs(low), 1e-9) if low else 0.5
        low, high = low - reach, high + reach
    span = high - low
    inside: list[Reference] = []
    outside: list[Reference] = []
    for reference in references:
        reached = max(high, reference.value) - min(low, reference.value)
        fits = span >= 0.4 * reached
        (inside if fits else outside).append(reference)
        if fits:
            low, high = min(low, reference.value), max(high, reference.value)
    margin = 0.07 * (high - low)
    return low - margin, high + margin, inside, outside


def _band(s: Series, x: _Scale, y: _Scale) -> str:
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


def _curve(s: Series, x: _Scale, y: _Scale) -> str:
    path = points([(x(a), y(b)) for a, b in zip(s.x, s.y, strict=True)])
    return (
        f'<polyline points="{path}" fill="none" stroke-width="2" stroke-linejoin="round" '
        f'{dash(s.style)}style="stroke:{colour(s.style)}"/>'
    )


def _marks(s: Series, x: _Scale, y: _Scale) -> str:
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


def _strip(
    row: Dots, x: _Scale, top: float, ticks: Sequence[float], references: Sequence[Reference]
) -> str:
    """Name and mean above, a lane of dots below, moved apart where they would hide each other."""
    note = row.note or (minus(number(row.mean.estimate)) if row.mean else "")
    parts = [
        f"<g>{tooltip(row.label)}{text(0, top + 11, short(row.label, 46))}</g>",
        text(WIDTH, top + 11, note, "end", "value"),
    ]
    middle = top + 28
    parts += [_upright(x(tick), middle, GRID) for tick in ticks]
    parts += [_upright(x(reference.value), middle, _DASHED) for reference in references]
    if row.mean is not None:
        parts.append(_mean_bar(row, row.mean, x, middle))
    taken: list[float] = []
    for name, value in sorted(row.points, key=lambda point: (point[1], point[0])):
        place = x.clipped(value)
        near = sum(abs(place - other) < 6 for other in taken)
        taken.append(place)
        offset = (0, -4, 4, -8, 8)[near % 5]
        words = f"{row.label}, {name}: {minus(number(value))}"
        parts.append(marker(place, middle + offset, row.style, 3.6, words, opacity=0.75))
    return "".join(parts)


def _mean_bar(row: Dots, mean: Interval, x: _Scale, middle: float) -> str:
    paint = colour(row.style)
    place = x.clipped(mean.estimate)
    bar = (
        f'<line x1="{at(place)}" x2="{at(place)}" y1="{at(middle - 11)}" y2="{at(middle + 11)}" '
        f'stroke-width="2.5" style="stroke:{paint}"/>'
    )
    if mean.low is None or mean.high is None:
        return bar
    left, right = x.clipped(mean.low), x.clipped(mean.high)
    return (
        f'<rect x="{at(left)}" y="{at(middle - 6)}" width="{at(max(right - left, 0.5))}" '
        f'height="12" rx="2" opacity="0.2" style="fill:{paint}"/>{bar}'
    )


def _y_tick(value: float, y: _Scale, left: float, largest: float) -> str:
    place = at(y(value))
    grid = f'<line class="grid" x1="{at(left)}" x2="{WIDTH}" y1="{place}" y2="{place}" {GRID}/>'
    return grid + text(left - 6, y(value) + 4, compact(value, largest), "end", "tick")


def _x_tick(value: float, x: _Scale, bottom: float, largest: float) -> str:
    place = at(x(value))
    line = f'<line x1="{place}" x2="{place}" y1="{at(bottom)}" y2="{at(bottom + 5)}" {GRID}/>'
    return line + text(x(value), bottom + 18, compact(value, largest), "middle", "tick")


def _level(reference: Reference, index: int, y: _Scale, left: float) -> str:
    """A dashed horizontal line; labels of the first on the left, of the others on the right."""
    place = y(reference.value)
    words = f"{reference.label} {minus(number(reference.value))}"
    edge, anchor = (left + 6, "start") if index == 0 else (WIDTH - 6, "end")
    line = f'<line x1="{at(left)}" x2="{WIDTH}" y1="{at(place)}" y2="{at(place)}" {_DASHED}/>'
    return line + text(edge, place - 5, words, anchor, "reference")


def _upright(place: float, middle: float, paint: str) -> str:
    """A piece of a vertical line, as high as a lane of dots: names stay free of it."""
    return (
        f'<line x1="{at(place)}" x2="{at(place)}" y1="{at(middle - 12)}" y2="{at(middle + 12)}" '
        f"{paint}/>"
    )


def _reference_name(reference: Reference, index: int, x: _Scale) -> str:
    words = f"{reference.label} {minus(number(reference.value))}"
    half = CHAR * len(words) / 2
    centre = min(max(x(reference.value), half), WIDTH - half)
    return text(centre, 26 - 15 * (index % 2), words, "middle", "reference")


def _off_scale(
    outside: Sequence[Reference], low: float, left: float, top: float, bottom: float
) -> list[str]:
    """References that would press the curves flat are named at the edge beyond which they lie."""
    parts = []
    for reference in outside:
        below = reference.value < low
        words = f"{reference.label} {minus(number(reference.value))} {'↓' if below else '↑'}"
        parts.append(text(left, bottom if below else top, words, css="reference"))
    return parts
