"""Learning from a fixed batch of transitions, on a table of S states and A actions."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Batch", "batch_of", "best_values", "fitted_q"]


class Batch(NamedTuple):
    """M kinds of transitions: what all those that share S, A, S', its mask and its end have."""

    pair: NDArray[np.int64]  # S · A + a, [M]
    s_next: NDArray[np.int64]  # S', [M]
    discount: NDArray[np.float64]  # γ, or 0 if S' is terminal, [M]
    r: NDArray[np.float64]  # the mean of R, [M]
    weight: NDArray[np.float64]  # how many transitions there are of the kind, [M]
    next_mask: NDArray[np.bool_] | None  # actions allowed in S', [M, A]; None: all


def batch_of(
    s: Any, a: Any, r: Any, s_next: Any, terminated: Any, next_mask: Any, gamma: float, n: int
) -> Batch:
    """Transitions [N] with n actions, those of one kind put together."""
    columns = [s * n + a, s_next, terminated]
    if next_mask is not None:
        columns += list(np.packbits(next_mask, axis=1).T)
    _, first, kind = np.unique(
        np.column_stack(columns), axis=0, return_index=True, return_inverse=True
    )
    weight = np.bincount(kind)
    return Batch(
        pair=columns[0][first],
        s_next=s_next[first],
        discount=gamma * (1.0 - terminated[first]),
        r=np.bincount(kind, r) / weight,
        weight=weight.astype(np.float64),
        next_mask=None if next_mask is None else next_mask[first],
    )


def best_values(q: Any, allowed: Any, otherwise: float) -> NDArray[np.float64]:
    """max_a Q(s, a) over the actions allowed, [B] from q and allowed [B, A]; where none is, else.

    Args:
        q: Q, [B, A].
        allowed: which actions count, [B, A].
        otherwise: the value where none does.
    """
    best = np.where(allowed, q, -np.inf).max(axis=1)
    return np.where(np.isneginf(best), otherwise, best)


def fitted_q(
    q: NDArray[np.float64],
    batch: Batch,
    supported: NDArray[np.bool_],
    penalty: NDArray[np.float64],
    unseen_value: float,
) -> NDArray[np.float64]:
    """One iteration of fitted Q on a table (Ernst, Geurts & Wehenkel 2005, Figure 1): a new Q.

        Q(s, a) ← mean of R + γ max_b Q(S', b) over the transitions from (s, a)  -  penalty(s, a)

    which is value iteration in the empirical MDP of the batch.

    Args:
        q: Q, [S, A].
        batch: The transitions.
        supported: Actions that count, in the maximum and in the result, [S, A].
        penalty: At least 0, [S, A].
        unseen_value: Value of actions that are not supported, and of states without one that is.
    """
    if batch.next_mask is None:
        v_next = best_values(q, supported, unseen_value)[batch.s_next]
    else:
        allowed = supported[batch.s_next] & batch.next_mask
        v_next = best_values(q[batch.s_next], allowed, unseen_value)
    target = batch.r + batch.discount * v_next
    count = np.bincount(batch.pair, batch.weight, q.size).reshape(q.shape)
    total = np.bincount(batch.pair, batch.weight * target, q.size).reshape(q.shape)
    seen = supported & (count > 0)
    mean = np.divide(total, count, out=np.zeros_like(q), where=seen)
    return np.where(seen, mean - penalty, unseen_value)
