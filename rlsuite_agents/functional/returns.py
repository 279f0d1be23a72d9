"""Returns and advantages of a stretch of experience, backwards from its end.

Time is axis 0: every array is [T], or [T, N] for N streams side by side. `discounts[t]` is γ while
the task goes on and 0 where S_{t+1} is terminal; `v_next[t]` is v(S_{t+1}), where S_{t+1} is the
last state of its episode rather than the first of the next one. Where an episode was cut off by a
time limit inside the stretch, λ is 0 at that step: the target bootstraps there and nothing of the
next episode leaks in.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "discounted_returns",
    "generalized_advantages",
    "lambda_returns",
    "mean_of_others",
    "n_step_returns",
]

Array = NDArray[np.float64]


def discounted_returns(
    rewards: ArrayLike, discounts: ArrayLike, bootstrap: ArrayLike = 0.0
) -> Array:
    """Monte-Carlo returns (S&B 2nd ed., eq. 3.9): G_t = R_{t+1} + γ_{t+1} G_{t+1}, G_T given.

    Args:
        rewards: R_1..R_T, [T] or [T, N].
        discounts: γ_1..γ_T, like `rewards`; 0 after a terminal state.
        bootstrap: G_T, what follows the last step: a number, or [N].

    Returns:
        G_0..G_{T-1}, like `rewards`.

    Raises:
        ValueError: the shapes do not fit together.
    """
    r, d = _same_shape(rewards=rewards, discounts=discounts)
    out = np.empty_like(r)
    _backward(r, d, np.broadcast_to(np.asarray(bootstrap, np.float64), r.shape[1:])[()], out)
    return out


def n_step_returns(rewards: ArrayLike, discounts: ArrayLike, v_next: ArrayLike, n: int) -> Array:
    """n-step returns (S&B 2nd ed., eq. 7.1): n rewards, then the value of the state they led to.

        G_{t:t+n} = R_{t+1} + γ_{t+1} R_{t+2} + ... + γ_{t+1}...γ_{t+n} v(S_{t+n})

    The last n - 1 of them reach the end of the stretch earlier, and bootstrap there.

    Args:
        rewards: R_1..R_T, [T] or [T, N].
        discounts: γ_1..γ_T, like `rewards`; 0 after a terminal state.
        v_next: v(S_1)..v(S_T), like `rewards`.
        n: number of rewards, at least 1.

    Returns:
        G_{0:n}..G_{T-1:T-1+n}, like `rewards`.

    Raises:
        ValueError: the shapes do not fit together, or n is below 1.
    """
    r, d, v = _same_shape(rewards=rewards, discounts=discounts, v_next=v_next)
    if n < 1:
        raise ValueError(f"n_step_returns needs n of at least 1, got {n!r}.")
    out = np.empty_like(r)
    _n_step(r, d, v, n, out)
    return out


def lambda_returns(
    rewards: ArrayLike, discounts: ArrayLike, v_next: ArrayLike, lambda_: ArrayLike
) -> Array:
    """λ-returns (S&B 2nd ed., section 12.8), the last one being G_T = v(S_T).

        G_t = R_{t+1} + γ_{t+1} [ (1 - λ_{t+1}) v(S_{t+1}) + λ_{t+1} G_{t+1} ]

    Args:
        rewards: R_1..R_T, [T] or [T, N].
        discounts: γ_1..γ_T, like `rewards`; 0 after a terminal state.
        v_next: v(S_1)..v(S_T), like `rewards`.
        lambda_: λ in [0, 1], one for all, [T], or like `rewards`; 0 is one-step TD, 1 Monte Carlo.

    Returns:
        G_0..G_{T-1}, like `rewards`.

    Raises:
        ValueError: the shapes do not fit together.
    """
    r, d, v = _same_shape(rewards=rewards, discounts=discounts, v_next=v_next)
    out = np.empty_like(r)
    _lambda(r, d, v, _over_time(lambda_, r), out)
    return out


def generalized_advantages(
    rewards: ArrayLike,
    discounts: ArrayLike,
    values: ArrayLike,
    v_next: ArrayLike,
    lambda_: ArrayLike,
) -> Array:
    """Generalised advantage estimates (Schulman et al. 2016, eq. 16), with A_T = 0.

        δ_t = R_{t+1} + γ_{t+1} v(S_{t+1}) - v(S_t),    A_t = δ_t + γ_{t+1} λ_{t+1} A_{t+1}

    Args:
        rewards: R_1..R_T, [T] or [T, N].
        discounts: γ_1..γ_T, like `rewards`; 0 after a terminal state.
        values: v(S_0)..v(S_{T-1}), like `rewards`.
        v_next: v(S_1)..v(S_T), like `rewards`.
        lambda_: λ in [0, 1], one for all, [T], or like `rewards`.

    Returns:
        A_0..A_{T-1}, like `rewards`.

    Raises:
        ValueError: the shapes do not fit together.
    """
    r, d, v, w = _same_shape(rewards=rewards, discounts=discounts, values=values, v_next=v_next)
    out = np.empty_like(r)
    _advantages(r, d, v, w, _over_time(lambda_, r), out)
    return out


def mean_of_others(returns: ArrayLike, lengths: ArrayLike) -> Array:
    """For each step the mean return of all steps of the other episodes.

    A baseline that keeps the policy gradient unbiased: the mean over all would depend on the
    episode's own actions.

    Args:
        returns: G of n steps, one episode after the other, [n].
        lengths: steps of each of at least two episodes, each at least 1, [E]; their sum is n.

    Returns:
        [n].
    """
    g, steps = np.asarray(returns, np.float64), np.asarray(lengths)
    own = np.add.reduceat(g, np.cumsum(steps) - steps)
    return np.repeat((g.sum() - own) / (len(g) - steps), steps)


# The rules: explicit loops over time that numba compiles as they stand.


def _backward(rewards: Any, discounts: Any, g: Any, out: Any) -> None:
    for t in range(len(rewards) - 1, -1, -1):
        g = rewards[t] + discounts[t] * g
        out[t] = g


def _n_step(rewards: Any, discounts: Any, v_next: Any, n: int, out: Any) -> None:
    steps = len(rewards)
    for t in range(steps):
        end = min(t + n, steps)
        g = v_next[end - 1]
        for k in range(end - 1, t - 1, -1):
            g = rewards[k] + discounts[k] * g
        out[t] = g


def _lambda(rewards: Any, discounts: Any, v_next: Any, lambdas: Any, out: Any) -> None:
    if len(rewards) == 0:
        return
    g = v_next[-1]
    for t in range(len(rewards) - 1, -1, -1):
        g = rewards[t] + discounts[t] * ((1.0 - lambdas[t]) * v_next[t] + lambdas[t] * g)
        out[t] = g


def _advantages(
    rewards: Any, discounts: Any, values: Any, v_next: Any, lambdas: Any, out: Any
) -> None:
    if len(rewards) == 0:
        return
    advantage = 0.0 * values[0]
    for t in range(len(rewards) - 1, -1, -1):
        delta = rewards[t] + discounts[t] * v_next[t] - values[t]
        advantage = delta + discounts[t] * lambdas[t] * advantage
        out[t] = advantage


def _same_shape(**named: ArrayLike) -> list[Array]:
    arrays = {name: np.asarray(value, np.float64) for name, value in named.items()}
    shapes = {name: array.shape for name, array in arrays.items()}
    shape = shapes["rewards"]
    if len(shape) not in (1, 2) or any(other != shape for other in shapes.values()):
        raise ValueError(
            f"all arrays must have one shape, [T] or [T, N] with time first; got {shapes}."
        )
    return list(arrays.values())


def _over_time(lambda_: ArrayLike, like: Array) -> Array:
    """λ as an array like `like`: one for all, [T] or [T, N]."""
    array = np.asarray(lambda_, np.float64)
    if array.ndim == 1 and like.ndim == 2:
        array = array[:, None]
    if array.ndim and len(array) != len(like):
        raise ValueError(
            f"lambda_ must be one number, [T] or like the rewards {like.shape}; got {array.shape}."
        )
    return np.broadcast_to(array, like.shape)
