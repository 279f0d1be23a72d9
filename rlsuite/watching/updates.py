"""What each update of a training did, folded into at most 200 rows."""

from __future__ import annotations

import dataclasses
import functools
import math
import operator
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, cast

import numpy as np

from rlsuite.records import UpdateCurve

__all__ = ["MAX_ROWS", "STEP", "UpdateLog", "numbers_of"]

MAX_ROWS = 200
STEP = "num_timesteps"


def numbers_of(metrics: Any) -> dict[str, float]:
    """The numbers in a dataclass or a mapping of metrics, by name; what is none is left out."""
    if isinstance(metrics, Mapping):
        pairs: Iterable[tuple[str, Any]] = metrics.items()
    else:
        names, values_of = _fields(cast("Hashable", type(metrics)))
        pairs = zip(names, values_of(metrics), strict=True)
    return {name: float(v) for name, v in pairs if isinstance(v, NUMBERS)}


@functools.cache
def _fields(metrics_type: Any) -> tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]:
    """Names, and what gives all values at once: it is called at every update."""
    names: tuple[str, ...] = ()
    if dataclasses.is_dataclass(metrics_type):
        names = tuple(field.name for field in dataclasses.fields(metrics_type))
    if len(names) < 2:  # attrgetter would give no tuple, and one number is no metrics of a step
        return (), lambda metrics: ()
    return names, operator.attrgetter(*names)


NUMBERS = (float, int, np.number)


class UpdateLog:
    """Means over windows of w consecutive updates, at most 200 of them.

    w is 1 at first and doubles whenever 200 windows are full, so a log never grows and nothing
    needs to be known of the budget. NaN, where an update has nothing to tell, is left out of means.
    """

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self._width = 1
        self._windows: list[list[float]] = []  # step, updates, sum of each, numbers in each sum
        self._open: list[float] = []

    def add(self, numbers: Mapping[str, float]) -> None:
        """One update: its step under `num_timesteps`, and the same names at every update."""
        if not self.names:
            self.names = tuple(name for name in numbers if name != STEP)
        if not self._open:
            self._open = [0.0] * (2 + 2 * len(self.names))
        window, shift = self._open, 2 + len(self.names)
        window[0] = numbers[STEP]
        window[1] += 1
        for k, name in enumerate(self.names):
            value = numbers[name]
            if not math.isnan(value):
                window[2 + k] += value
                window[shift + k] += 1
        if window[1] == self._width:
            self._windows.append(window)
            self._open = []
            if len(self._windows) == MAX_ROWS:
                self._width *= 2
                pairs = zip(self._windows[::2], self._windows[1::2], strict=True)
                self._windows = [_joined(a, b) for a, b in pairs]

    def state(self) -> dict[str, Any]:
        """Everything so far, as JSON would hold it (but for infinity)."""
        return {
            "names": list(self.names),
            "width": self._width,
            "windows": [list(window) for window in self._windows],
            "open": list(self._open),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from a `state`."""
        self.names, self._width = tuple(state["names"]), state["width"]
        self._windows = [list(window) for window in state["windows"]]
        self._open = list(state["open"])

    def curve(self) -> UpdateCurve | None:
        """Everything so far; None before the first update."""
        rows = np.array([*self._windows, *([self._open] if self._open else [])])
        if not len(rows):
            return None
        n = len(self.names)
        sums, counts = rows[:, 2 : 2 + n], rows[:, 2 + n :]
        means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
        with np.errstate(over="ignore"):  # what no float32 can hold is infinite
            columns = np.ascontiguousarray(means.T.astype(np.float32))
        return UpdateCurve(
            step=rows[:, 0].astype(np.int64),
            updates=rows[:, 1].astype(np.int64),
            values=dict(zip(self.names, columns, strict=True)),
        )


def _joined(a: list[float], b: list[float]) -> list[float]:
    return [b[0], *(x + y for x, y in zip(a[1:], b[1:], strict=True))]
