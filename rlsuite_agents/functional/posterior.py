"""Beliefs about a table: Dirichlet over where an action leads, normal over what it pays.

`counts` [S, A, S + 1] says how often a in s led to each state and, last, to the end; `reward_sum`
[S, A] what that paid in all.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Prior", "mean_world", "optimal_action_values", "reward_posterior", "sample_world"]

Floats = NDArray[np.float64]


class Prior(NamedTuple):
    """What is believed of every pair before anything was seen."""

    weight: float  # observations that the Dirichlet counts for, spread evenly over S + 1 outcomes
    mean: float  # of the mean reward
    scale: float  # its standard deviation, above 0
    noise: float  # standard deviation of one reward about the mean, known, above 0


def reward_posterior(n: Any, reward_sum: Any, prior: Prior) -> tuple[Any, Any]:
    """Mean and standard deviation of the posterior of a mean reward, normal with a normal prior.

    Precisions add up, and means are weighted by them (Gelman et al., Bayesian Data Analysis, 3rd
    ed., section 2.5): 1 / sd² = 1 / scale² + n / noise².
    `n` rewards were seen, numbers or arrays.
    """
    precision = 1.0 / prior.scale**2 + n / prior.noise**2
    weighted = prior.mean / prior.scale**2 + reward_sum / prior.noise**2
    return weighted / precision, precision**-0.5


def mean_world(counts: Floats, reward_sum: Floats, prior: Prior) -> tuple[Floats, Floats]:
    """The posterior mean: rewards [S, A] and probabilities [S, A, S + 1], whose rows sum to 1."""
    alpha = counts + prior.weight / counts.shape[2]
    r, _ = reward_posterior(counts.sum(axis=2), reward_sum, prior)
    return r, alpha / alpha.sum(axis=2, keepdims=True)


def sample_world(
    counts: Floats, reward_sum: Floats, prior: Prior, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """A draw from the posterior, in the form of `mean_world`.

    A Dirichlet variable is gamma variables of the same shapes over their sum.
    """
    gammas = rng.standard_gamma(counts + prior.weight / counts.shape[2])
    mean, deviation = reward_posterior(counts.sum(axis=2), reward_sum, prior)
    r = mean + deviation * rng.standard_normal(reward_sum.shape)
    return r, gammas / gammas.sum(axis=2, keepdims=True)


def optimal_action_values(
    r: Floats, p: Floats, gamma: float, allowed: NDArray[np.bool_], start: NDArray[np.int64]
) -> Floats:
    """q* of a table by policy iteration with exact evaluation (S&B 2nd ed., section 4.3): [S, A].

    Args:
        r: Expected rewards, [S, A].
        p: Probabilities of the next states, [S, A, S]; what is missing to 1 ends the task.
        gamma: γ in [0, 1).
        allowed: Actions that the policy may take, [S, A].
        start: An allowed action for each state to begin with, [S].
    """
    states, pi = np.arange(len(r)), start
    while True:
        v = np.linalg.solve(np.eye(len(r)) - gamma * p[states, pi], r[states, pi])
        q = r + gamma * (p @ v)
        values = np.where(allowed, q, -np.inf)
        # a gain within rounding is none, or equal policies might take turns for ever
        gains = values.max(axis=1) > values[states, pi] + 1e-9 * np.abs(v).max()
        if not gains.any():
            return q
        pi = np.where(gains, values.argmax(axis=1), pi)
