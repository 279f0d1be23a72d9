"""Axes of charts: ranges, round ticks, references, and how many points a curve needs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from registry.errors import SettingError
from rlsuite.reporting.formatting import number
from rlsuite.reporting.svg import GRID, at, compact, minus, text

__all__ = [
    "DASHED",
    "MAX_POINTS",
    "Reference",
    "Scale",
    "domain",
    "log_ticks",
    "nice_ticks",
    "reference_words",
    "tame",
    "thin",
    "x_tick",
]

MAX_POINTS = 200
DASHED = 'stroke="currentColor" stroke-width="1.2" stroke-dasharray="3 4" opacity="0.7"'


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


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of 10 within [low, high]; over three decades the powers alone.

    Raises:
        SettingError: the range is empty or not positive.
    """
    if not 0.0 < low < high < math.inf:
        raise SettingError(f"a logarithmic axis needs 0 < low < high, got {low}, {high}.")
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if high / low < 1000 else (1,)
    ticks = [float(f"{factor}e{power}") for power in powers for factor in factors]
    return [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]


def _multiples(step: float, low: float, high: float) -> range:
    """The numbers i for which i * step lies within [low, high]."""
    return range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)


@dataclass(frozen=True, slots=True)
class Scale:
    """A straight line from numbers to places; with `log`, from their logarithms."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The place of a number."""
        low, high = self.low, self.high
        if self.log:
            value, low, high = math.log(value), math.log(low), math.log(high)
        share = (value - low) / (high - low)
        return self.start + share * (self.end - self.start)

    def clipped(self, value: float) -> float:
        """The place of a number, or the end beyond which it lies."""
        return self(min(max(value, self.low), self.high))


def tame(values: list[float], ends: list[float]) -> list[float]:
    """Values, and interval ends as far as they leave the values most of the room.

    With three runs an interval reaches 2.5 standard deviations to each side: drawn in full it would
    press the curves flat, so it may run out of the drawing.
    """
    low, high = min(values), max(values)
    reach = 0.4 * (high - low) if high > low else math.inf
    return [*values, *(min(max(end, low - reach), high + reach) for end in ends)]


def domain(
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


def x_tick(value: float, x: Scale, bottom: float, largest: float) -> str:
    """A tick of the horizontal axis with its label; `largest` settles the unit of all of them."""
    place = at(x(value))
    line = f'<line x1="{place}" x2="{place}" y1="{at(bottom)}" y2="{at(bottom + 5)}" {GRID}/>'
    return line + text(x(value), bottom + 18, compact(value, largest), "middle", "tick")


def reference_words(reference: Reference) -> str:
    """`optimal 0.744`."""
    return f"{reference.label} {minus(number(reference.value))}"
