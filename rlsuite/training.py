"""Counts a training: every step, every episode, at most 2,000 windows of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlsuite.records import TrainingCurve

__all__ = ["MAX_WINDOWS", "TrainingLog", "budget_note"]

MAX_WINDOWS = 2_000


def budget_note(steps: int, budget: int) -> str:
    """What a record says of a training that did not take the steps of its budget."""
    return f"took {steps:,} steps of a budget of {budget:,}"


EMPTY = (0.0, np.inf, -np.inf, 0, 0)
"""A window without an episode: sum, minimum and maximum of returns, summed length, episodes."""


class TrainingLog:
    """Counts the steps and episodes of a training, and folds them into at most 2,000 windows.

    A window covers w consecutive steps; w is 1 at first and doubles whenever more than 2,000
    windows hold something, so a log never grows and nothing needs to be known of the budget. A
    window is kept if an episode ended in it, or if the environment tells regret.

    Args:
        on_step: Called as `on_step(steps)` after every step; an exception from it ends the
            training.
        regret_steps: How many steps the regret is summed over; None is all of them.
    """

    def __init__(
        self,
        on_step: Callable[[int], None] | None = None,
        regret_steps: int | None = None,
    ) -> None:
        self.steps = 0
        self.episodes = 0
        self.regret: float | None = None
        self.on_step = on_step
        self.regret_steps = regret_steps
        self._width = 1
        self._edge = 0  # the last step of the open window
        self._open = EMPTY
        # closed windows: (last step, sum, min, max, summed length, regret so far, episodes)
        self._windows: list[tuple[int, float, float, float, int, float, int]] = []

    def count(self, regret: float | None) -> None:
        """One environment step, with its pseudo-regret if the environment tells it."""
        self.steps += 1
        if self.steps > self._edge:
            self._close()
            self._edge = self._edge_of(self.steps)
        if regret is not None and (self.regret_steps is None or self.steps <= self.regret_steps):
            self.regret = (self.regret or 0.0) + float(regret)

    def finish(self, episode_return: float, length: int) -> None:
        """One episode ended with the step just counted."""
        self.episodes += 1
        total, low, high, lengths, count = self._open
        self._open = (
            total + episode_return,
            min(low, episode_return),
            max(high, episode_return),
            lengths + length,
            count + 1,
        )

    def add_block(
        self,
        steps: int,
        ends: NDArray[np.int64],
        returns: NDArray[np.float64],
        lengths: NDArray[np.int64],
    ) -> None:
        """What `count` and `finish` would have made of these steps, without regret.

        Args:
            steps: How many.
            ends: With which of them, from 1, each of n episodes ended; [n], rising.
            returns: Of the episodes, [n].
            lengths: Of the episodes, [n].
        """
        at, last = self.steps + ends, self.steps + steps
        while len(at):
            taken = self._take(at, returns, lengths)
            at, returns, lengths = at[taken:], returns[taken:], lengths[taken:]
        self.episodes += len(ends)
        if last > self._edge:
            self._close_before(last)
        self.steps = last

    def state(self) -> dict[str, Any]:
        """Everything counted so far, as JSON would hold it (but for NaN and infinity)."""
        return {
            "steps": self.steps,
            "episodes": self.episodes,
            "regret": self.regret,
            "width": self._width,
            "edge": self._edge,
            "open": list(self._open),
            "windows": [list(window) for window in self._windows],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from a `state`."""
        self.steps, self.episodes = state["steps"], state["episodes"]
        self.regret = state["regret"]
        self._width, self._edge = state["width"], state["edge"]
        self._open = tuple(state["open"])
        self._windows = [tuple(window) for window in state["windows"]]

    def curve(self) -> TrainingCurve:
        """Everything so far."""
        windows = [*self._windows]
        last = self._open_window()
        if last is not None:
            windows.append(last)
        windows = windows if len(windows) <= MAX_WINDOWS else _halved(windows, 2 * self._width)
        columns = list(zip(*windows, strict=True)) or [()] * 7
        episodes = np.array(columns[6], dtype=np.int64)
        none = episodes == 0
        per = np.where(none, 1, episodes)
        sums = np.array(columns[1], dtype=np.float64)
        lengths = np.array(columns[4], dtype=np.float64)
        return TrainingCurve(
            step=np.array(columns[0], dtype=np.int64),
            mean=np.where(none, np.nan, sums / per),
            minimum=np.where(none, np.nan, np.array(columns[2], dtype=np.float64)),
            maximum=np.where(none, np.nan, np.array(columns[3], dtype=np.float64)),
            length=np.where(none, np.nan, lengths / per),
            regret=np.array(columns[5], dtype=np.float64),
            episodes=episodes,
        )

    def _open_window(self) -> tuple[int, float, float, float, int, float, int] | None:
        """The window being filled, if there is something in it."""
        total, low, high, lengths, count = self._open
        if not count and (self.regret is None or self.steps == 0):
            return None
        regret = np.nan if self.regret is None else self.regret
        return min(self._edge, self.steps), total, low, high, lengths, regret, count

    def _edge_of(self, step: int) -> int:
        """The last step of the window that a step falls into."""
        return -(-step // self._width) * self._width

    def _take(
        self, at: NDArray[np.int64], returns: NDArray[np.float64], lengths: NDArray[np.int64]
    ) -> int:
        """Counts some of the next episodes, up to where the windows double; how many."""
        if at[0] > self._edge:
            self._close_before(int(at[0]))
        places = (at - 1) // self._width
        first = np.flatnonzero(np.diff(places, prepend=-1))
        room = max(MAX_WINDOWS - len(self._windows), 0)
        full = len(first) > room + 1  # one window more than that is closed: they double
        bounds = [*first[: room + 1].tolist(), int(first[room + 1]) if full else len(at)]
        windows = self._summed(returns[: bounds[-1]], lengths[: bounds[-1]], bounds)
        for place, window in zip(places[bounds[:-1]].tolist(), windows, strict=True):
            if place >= self._edge // self._width:  # not the open one any more
                self._close_before(place * self._width + 1)
            self._open = window
        if full:
            self._close_before(int(at[bounds[-1]]))
        return bounds[-1]

    def _summed(
        self, returns: NDArray[np.float64], lengths: NDArray[np.int64], bounds: list[int]
    ) -> list[tuple[float, float, float, int, int]]:
        """Windows of episodes in a row; the first one goes on from the open one.

        Sums are added up one by one, as `finish` does.
        """
        total, low, high, summed, count = self._open
        begin, end = bounds[0], bounds[1]
        chain = np.concatenate([[total], returns[begin:end]])
        starts = np.array(bounds[:-1])
        group = np.repeat(np.arange(len(starts)), np.diff(bounds))
        totals = np.bincount(group, weights=returns)
        totals[0] = np.add.accumulate(chain)[-1]
        lows, highs = np.minimum.reduceat(returns, starts), np.maximum.reduceat(returns, starts)
        lows[0], highs[0] = min(low, lows[0]), max(high, highs[0])
        steps, counts = np.add.reduceat(lengths, starts), np.diff(bounds)
        steps[0], counts[0] = steps[0] + summed, counts[0] + count
        columns = (column.tolist() for column in (totals, lows, highs, steps, counts))
        return list(zip(*columns, strict=True))

    def _close_before(self, step: int) -> None:
        """Ends the open window, and opens the one that a later step falls into."""
        self.steps = self._edge + 1
        self._close()
        self._edge = self._edge_of(step)

    def _close(self) -> None:
        """Ends the open window; the next step belongs to another one."""
        steps, self.steps = self.steps, self.steps - 1
        window = self._open_window()
        self.steps = steps
        self._open = EMPTY
        if window is None:
            return
        self._windows.append(window)
        if len(self._windows) > MAX_WINDOWS:
            self._width *= 2
            self._windows = _halved(self._windows, self._width)


def _halved(windows: list[Any], width: int) -> list[Any]:
    """Windows of the new width: those that end in the same one are put together."""
    merged: list[Any] = []
    for window in windows:
        if merged and _place(merged[-1][0], width) == _place(window[0], width):
            step, total, low, high, length, _, count = merged[-1]
            merged[-1] = (
                max(step, window[0]),
                total + window[1],
                min(low, window[2]),
                max(high, window[3]),
                length + window[4],
                window[5],
                count + window[6],
            )
        else:
            merged.append(window)
    return merged


def _place(step: int, width: int) -> int:
    return (step - 1) // width
