"""Temporal-difference errors δ, in Sutton & Barto's letters.

The functions whose names end in `_row` are the rules: one row q(s, ·) of A values and scalars, in
explicit loops that also run compiled, bit for bit the same. The names without it take one row or a
batch of B rows, and answer a number or [B].

`discount` is γ while the task goes on and 0 where S' is terminal, so that nothing of q_next counts
after the end. A time limit is not an end: there `discount` stays γ.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rlsuite_agents.functional.exploration import greedy

__all__ = [
    "discount_of",
    "double_q_learning_error",
    "double_q_learning_error_row",
    "expected_sarsa_error",
    "expected_sarsa_error_row",
    "q_learning_error",
    "q_learning_error_row",
    "sarsa_error",
    "sarsa_error_row",
    "td_error",
]


def discount_of(gamma: float, terminated: bool) -> float:
    """γ while the task goes on, 0 after a terminal state. A time limit is not a terminal state."""
    return 0.0 if terminated else gamma


def td_error(v: Any, r: Any, discount: Any, v_next: Any) -> Any:
    """δ = R + γ v(S') - v(S)   (S&B 2nd ed., eq. 6.5). Numbers, or arrays of one shape."""
    return r + discount * v_next - v


def sarsa_error_row(q: Any, a: int, r: float, discount: float, q_next: Any, a_next: int) -> float:
    """δ = R + γ Q(S', A') - Q(S, A)   (S&B 2nd ed., eq. 6.7, the bracket). One row: [A]."""
    return r + discount * q_next[a_next] - q[a]


def expected_sarsa_error_row(
    q: Any, a: int, r: float, discount: float, q_next: Any, pi_next: Any
) -> float:
    """δ = R + γ Σ_a' π(a'|S') Q(S', a') - Q(S, A)   (S&B 2nd ed., eq. 6.9). One row: [A].

    With a discount of 0, after an end, `pi_next` may hold anything.
    """
    if discount == 0.0:
        return r - q[a]
    expected = 0.0
    for b in range(len(q_next)):
        expected += pi_next[b] * q_next[b]
    return r + discount * expected - q[a]


def q_learning_error_row(
    q: Any, a: int, r: float, discount: float, q_next: Any, mask: Any = None
) -> float:
    """δ = R + γ max_a' Q(S', a') - Q(S, A)   (S&B 2nd ed., eq. 6.8). One row: q, q_next [A].

    The maximum is over the actions that `mask` [A] allows; after an end there may be none.
    """
    if discount == 0.0:
        return r - q[a]
    best = -math.inf
    for b in range(len(q_next)):
        if (mask is None or mask[b]) and q_next[b] > best:
            best = q_next[b]
    return r + discount * best - q[a]


def double_q_learning_error_row(
    q: Any,
    a: int,
    r: float,
    discount: float,
    q_next_value: Any,
    q_next_selector: Any,
    mask: Any = None,
) -> float:
    """δ = R + γ Q₂(S', argmax_a' Q₁(S', a')) - Q₁(S, A)   (S&B 2nd ed., eq. 6.10). One row: [A].

    The argmax is over the actions that `mask` [A] allows; the lowest index wins a tie.
    """
    best = greedy(q_next_selector, mask)
    return r + discount * q_next_value[best] - q[a]


def sarsa_error(q: Any, a: Any, r: Any, discount: Any, q_next: Any, a_next: Any) -> Any:
    """δ of Sarsa (S&B 2nd ed., eq. 6.7).

    Args:
        q: Q(S, ·), [A] or [B, A].
        a: A, an int or [B].
        r: R, a number or [B].
        discount: γ, or 0 after a terminal state; a number or [B].
        q_next: Q(S', ·), like `q`.
        a_next: A', an int or [B]; where the discount is 0, any.

    Returns:
        δ, a number or [B].
    """
    if np.ndim(q) == 1:
        return sarsa_error_row(q, a, r, discount, q_next, a_next)
    return r + discount * _taken(q_next, a_next) - _taken(q, a)


def expected_sarsa_error(q: Any, a: Any, r: Any, discount: Any, q_next: Any, pi_next: Any) -> Any:
    """δ of expected Sarsa (S&B 2nd ed., eq. 6.9).

    Args:
        q: Q(S, ·), [A] or [B, A].
        a: A, an int or [B].
        r: R, a number or [B].
        discount: γ, or 0 after a terminal state; a number or [B].
        q_next: Q(S', ·), like `q`.
        pi_next: π(·|S'), like `q`.

    Returns:
        δ, a number or [B].
    """
    if np.ndim(q) == 1:
        return expected_sarsa_error_row(q, a, r, discount, q_next, pi_next)
    q_next, pi_next = np.asarray(q_next), np.asarray(pi_next)
    expected = np.zeros(len(q_next))
    for b in range(q_next.shape[1]):  # added up in the order of the rule
        expected += pi_next[:, b] * q_next[:, b]
    return r + discount * expected - _taken(q, a)


def q_learning_error(q: Any, a: Any, r: Any, discount: Any, q_next: Any) -> Any:
    """δ of Q-learning (S&B 2nd ed., eq. 6.8).

    Args:
        q: Q(S, ·), [A] or [B, A].
        a: A, an int or [B].
        r: R, a number or [B].
        discount: γ, or 0 after a terminal state; a number or [B].
        q_next: Q(S', ·), like `q`.

    Returns:
        δ, a number or [B].
    """
    if np.ndim(q) == 1:
        return q_learning_error_row(q, a, r, discount, q_next)
    return r + discount * np.max(q_next, axis=1) - _taken(q, a)


def double_q_learning_error(
    q: Any, a: Any, r: Any, discount: Any, q_next_value: Any, q_next_selector: Any
) -> Any:
    """δ of double Q-learning (S&B 2nd ed., eq. 6.10): one table selects, the other one values.

    Args:
        q: Q₁(S, ·), [A] or [B, A].
        a: A, an int or [B].
        r: R, a number or [B].
        discount: γ, or 0 after a terminal state; a number or [B].
        q_next_value: Q₂(S', ·), like `q`.
        q_next_selector: Q₁(S', ·), like `q`; the lowest index wins a tie.

    Returns:
        δ, a number or [B].
    """
    if np.ndim(q) == 1:
        return double_q_learning_error_row(q, a, r, discount, q_next_value, q_next_selector)
    best = np.argmax(q_next_selector, axis=1)
    return r + discount * _taken(q_next_value, best) - _taken(q, a)


def _taken(q: Any, a: Any) -> Any:
    """Q of the action taken in each row: [B] from [B, A]."""
    q = np.asarray(q)
    return q[np.arange(len(q)), a]
