"""Every run as a dot, one lane for each agent: the spread that a mean hides."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from registry.errors import SettingError
from rlsuite.reporting.axes import (
    DASHED,
    Reference,
    Scale,
    domain,
    nice_ticks,
    reference_words,
    tame,
    x_tick,
)
from rlsuite.reporting.formatting import number
from rlsuite.reporting.svg import (
    CHAR,
    GRID,
    WIDTH,
    at,
    colour,
    marker,
    minus,
    short,
    svg,
    text,
    tooltip,
)
from rlsuite.statistics import Interval

__all__ = ["Dots", "strip_chart"]

CROWD = 60
"""Dots of an agent from which they are drawn smaller and fainter."""

LANES = (0, -4, 4, -8, 8)
"""How far dots are moved apart where they would hide each other."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Dots:
    """One line of a strip chart: `(name, value)` of every run, and their mean with its interval.

    `runs` counts those that a chart with too many dots leaves out too.
    """

    label: str
    style: int
    points: tuple[tuple[str, float], ...]
    runs: int = 0
    mean: Interval | None = None
    note: str = ""


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
    low, high, inside, outside = domain(tame(values, ends), references)
    x = Scale(low, high, 12, WIDTH - 12)
    # Names of references need two lines above the lanes.
    top, step = (37.0 if references else 4.0), 46.0
    bottom = top + step * len(rows) + 2
    ticks = nice_ticks(low, high)
    largest = max(map(abs, ticks))
    parts = [x_tick(t, x, bottom, largest) for t in ticks]
    parts.append(text(WIDTH / 2, bottom + 36, x_label, "middle", "axis-title"))
    parts += [_reference_name(r, i, x) for i, r in enumerate(inside)]
    for index, row in enumerate(rows):
        parts.append(_strip(row, x, top + index * step, ticks, inside))
    if outside:
        words = "; ".join(reference_words(r) for r in outside)
        parts.append(text(0, 11, f"off scale: {words}", css="reference"))
    return svg(ident, title, description, bottom + 44, parts)


def _strip(
    row: Dots, x: Scale, top: float, ticks: Sequence[float], references: Sequence[Reference]
) -> str:
    """Name and mean above, a lane of dots below, moved apart where they would hide each other."""
    note = row.note or (minus(number(row.mean.estimate)) if row.mean else "")
    parts = [
        f"<g>{tooltip(row.label)}{text(0, top + 11, short(row.label, 46))}</g>",
        text(WIDTH, top + 11, note, "end", "value"),
    ]
    middle = top + 28
    parts += [_upright(x(tick), middle, GRID) for tick in ticks]
    parts += [_upright(x(reference.value), middle, DASHED) for reference in references]
    if row.mean is not None:
        parts.append(_mean_bar(row, row.mean, x, middle))
    near: deque[float] = deque()
    crowded = len(row.points) > CROWD
    size, opacity = (2.2, 0.45) if crowded else (3.6, 0.75)
    for index, (name, value) in enumerate(sorted(row.points, key=lambda p: (p[1], p[0]))):
        place = x.clipped(value)
        while near and place - near[0] >= 6:
            near.popleft()
        lane = index if crowded else len(near)
        near.append(place)
        words = f"{row.label}, {name}: {minus(number(value))}"
        parts.append(marker(place, middle + LANES[lane % 5], row.style, size, words, opacity))
    return "".join(parts)


def _mean_bar(row: Dots, mean: Interval, x: Scale, middle: float) -> str:
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


def _upright(place: float, middle: float, paint: str) -> str:
    """A piece of a vertical line, as high as a lane of dots: names stay free of it."""
    return (
        f'<line x1="{at(place)}" x2="{at(place)}" y1="{at(middle - 12)}" y2="{at(middle + 12)}" '
        f"{paint}/>"
    )


def _reference_name(reference: Reference, index: int, x: Scale) -> str:
    words = reference_words(reference)
    half = CHAR * len(words) / 2
    centre = min(max(x(reference.value), half), WIDTH - half)
    return text(centre, 26 - 15 * (index % 2), words, "middle", "reference")
