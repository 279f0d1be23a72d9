"""A queue of numbers 0..N-1 by priority: a binary heap in arrays, for rules that also run compiled.

Of equal priorities the lowest number comes first, so the order is that of any other correct queue.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

__all__ = ["Queue", "empty_queue", "pop", "push"]


class Queue(NamedTuple):
    """Each number stands in it once, or not at all."""

    heap: Any  # the numbers, each before its two children 2i + 1 and 2i + 2, int64 [N]
    place: Any  # of each number in `heap`, or -1, int64 [N]
    priority: Any  # of each number in the queue, [N]
    n_queued: Any  # int64 [1]


def empty_queue(size: int) -> Queue:
    """Room for the numbers 0..size-1."""
    return Queue(
        heap=np.zeros(size, np.int64),
        place=np.full(size, -1),
        priority=np.zeros(size),
        n_queued=np.zeros(1, np.int64),
    )


def push(x: Queue, number: int, priority: float) -> None:
    """Puts the number in, or raises its priority if it is in with a lower one."""
    if x.place[number] < 0:
        x.place[number] = x.n_queued[0]
        x.heap[x.n_queued[0]] = number
        x.n_queued[0] += 1
    elif priority <= x.priority[number]:
        return
    x.priority[number] = priority
    i = x.place[number]
    while i > 0 and _first(x, number, x.heap[(i - 1) // 2]):
        _put(x, i, x.heap[(i - 1) // 2])
        i = (i - 1) // 2
    _put(x, i, number)


def pop(x: Queue) -> int:
    """Takes the number of the highest priority out of a queue that is not empty."""
    top, i = x.heap[0], 0
    x.n_queued[0] -= 1
    last, n = x.heap[x.n_queued[0]], x.n_queued[0]
    while 2 * i + 1 < n:
        child = 2 * i + 1
        if child + 1 < n and _first(x, x.heap[child + 1], x.heap[child]):
            child += 1
        if _first(x, last, x.heap[child]):
            break
        _put(x, i, x.heap[child])
        i = child
    _put(x, i, last)
    x.place[top] = -1
    return top


def _first(x: Queue, one: int, other: int) -> bool:
    p, o = x.priority[one], x.priority[other]
    return p > o or (p == o and one < other)


def _put(x: Queue, i: int, number: int) -> None:
    x.heap[i], x.place[number] = number, i
