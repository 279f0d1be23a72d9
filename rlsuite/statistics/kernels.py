"""The loops that numba compiles. Imported inside functions only: importing it imports numba.

Draws are counter-based: the j-th 64-bit word of key k is SplitMix64's finaliser of `k + (j+1) φ`
(Steele, Lea and Flood 2014, "Fast Splittable Pseudorandom Number Generators", figure 16). A word
gives two draws, its lower and its upper 32 bits, and `(u32 * n) >> 32` is one of n runs (Lemire
2019, without the rejection step: the bias is below n / 2^32). Replicate b of a table with N x M
places uses the words from `b W` on, `W = ceil(N M / 2)`, place after place, row by row: a replicate
depends on the key and on b alone, not on how many are made or in which batches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

__all__ = ["iqm_kernel", "mean_kernel", "median_kernel", "relabelled_ranges"]


def compiled(function: Callable[..., Any]) -> Any:
    """`numba.njit`, kept on disk where there is a folder for it."""
    try:
        return numba.njit(cache=True)(function)
    except RuntimeError as error:  # raised at once where no cache folder can be written
        if "cannot cache" not in str(error):
            raise
        return numba.njit(function)


@compiled
def _word(key: Any, index: Any) -> Any:
    z = key + (np.uint64(index) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@compiled
def _draw(key: Any, first: Any, place: Any, count: Any) -> Any:
    """The draw of one place of a replicate whose words start at `first`: 0 .. count - 1."""
    word = _word(key, first + (place >> 1))
    half = word >> np.uint64(32) if place & 1 else word & np.uint64(0xFFFFFFFF)
    return np.int64((half * np.uint64(count)) >> np.uint64(32))


@compiled
def iqm_kernel(ranks: Any, ordered: Any, counts: Any, cut: Any, key: Any, out: Any) -> Any:
    """Interquartile means by counting: no replicate is ever sorted.

    Args:
        ranks: where each run stands among all scores, [N, M]; the runs of a task come first.
        ordered: all scores in rising order, [n].
        counts: N_m, [M].
        cut: how many scores are cut from each side.
        key: of the draws, uint64.
        out: [B], filled.
    """
    slots, tasks = ranks.shape
    total = len(ordered)
    words = (slots * tasks + 1) // 2
    seen = np.zeros(total, np.int64)
    for b in range(len(out)):
        for n in range(slots):
            for m in range(tasks):
                if n < counts[m]:
                    i = _draw(key, b * words, n * tasks + m, counts[m])
                    seen[ranks[i, m]] += 1
        skip, left, total_kept = cut, total - 2 * cut, 0.0
        for r in range(total):
            c = seen[r]
            seen[r] = 0
            skipped = min(c, skip)
            skip -= skipped
            taken = min(c - skipped, left)
            left -= taken
            total_kept += taken * ordered[r]
        out[b] = total_kept / (total - 2 * cut)


@compiled
def _task_means(packed: Any, counts: Any, key: Any, first: Any, means: Any) -> Any:
    slots, tasks = packed.shape
    means[:] = 0.0
    for n in range(slots):
        for m in range(tasks):
            if n < counts[m]:
                means[m] += packed[_draw(key, first, n * tasks + m, counts[m]), m]
    for m in range(tasks):
        means[m] /= counts[m]


@compiled
def mean_kernel(packed: Any, counts: Any, key: Any, out: Any) -> Any:
    """Means of task means; arguments as `iqm_kernel`, with the scores instead of their ranks."""
    means = np.empty(packed.shape[1])
    words = (packed.size + 1) // 2
    for b in range(len(out)):
        _task_means(packed, counts, key, b * words, means)
        out[b] = means.mean()


@compiled
def median_kernel(packed: Any, counts: Any, key: Any, out: Any) -> Any:
    """Medians of task means; arguments as `mean_kernel`."""
    tasks = packed.shape[1]
    means = np.empty(tasks)
    words = (packed.size + 1) // 2
    for b in range(len(out)):
        _task_means(packed, counts, key, b * words, means)
        for i in range(1, tasks):  # insertion sort: tasks are few
            value, j = means[i], i
            while j > 0 and means[j - 1] > value:
                means[j] = means[j - 1]
                j -= 1
            means[j] = value
        out[b] = 0.5 * (means[(tasks - 1) // 2] + means[tasks // 2])


@compiled
def _shuffled(order: Any, key: Any, first: Any) -> Any:
    """Fisher and Yates's shuffle of 0 .. n - 1, with the words from `first` on."""
    for i in range(len(order)):
        order[i] = i
    for i in range(len(order) - 1, 0, -1):
        word = _word(key, first + i) >> np.uint64(32)
        j = np.int64((word * np.uint64(i + 1)) >> np.uint64(32))
        order[i], order[j] = order[j], order[i]


@compiled
def _deal(order: Any, values: Any, counts: Any, totals: Any) -> Any:
    """Adds to each agent's total the runs that fall to it when all are dealt out in this order.

    Each gets as many runs as it has; those that are missing (NaN) are passed over.
    """
    slots = values.shape[1]
    agent, left = 0, counts[0]
    for place in order:
        value = values[place // slots, place % slots]
        if not np.isnan(value):
            while left == 0:
                agent += 1
                left = counts[agent]
            totals[agent] += value
            left -= 1


@compiled
def relabelled_ranges(values: Any, counts: Any, key: Any, out: Any) -> Any:
    """How far the means of some agents lie apart at each look, under relabelling of their runs.

    Row 0 is the data as they are. In every other row the runs of each look are dealt out to the
    agents anew, in an order that all tasks share: whole runs change hands.

    Args:
        values: [looks, tasks, agents, slots], the runs of each look; NaN where there is none.
        counts: how many there are, [looks, tasks, agents].
        key: of the draws, uint64.
        out: [rows, looks so far], filled with the largest mean (of task means) minus the smallest.
    """
    looks, tasks, agents, slots = values.shape
    order = np.arange(agents * slots)
    totals = np.empty((tasks, agents))
    seen = np.empty((tasks, agents))
    for row in range(len(out)):
        totals[:] = 0.0
        seen[:] = 0.0
        for look in range(out.shape[1]):
            if row > 0:
                _shuffled(order, key, (row * looks + look) * len(order))
            else:
                order[:] = np.arange(len(order))
            lowest, highest = np.inf, -np.inf
            for m in range(tasks):
                _deal(order, values[look, m], counts[look, m], totals[m])
            for a in range(agents):
                centre = 0.0
                for m in range(tasks):
                    seen[m, a] += counts[look, m, a]
                    centre += totals[m, a] / seen[m, a]
                lowest, highest = min(lowest, centre), max(highest, centre)
            out[row, look] = (highest - lowest) / tasks
