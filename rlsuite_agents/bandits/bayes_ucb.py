"""Bayes-UCB: the largest posterior quantile (Kaufmann, Cappé & Garivier 2012, algorithm 1).

    the arm of the largest quantile of Beta(α_a, β_a) of the level 1 - 1 / (t (ln T)^c)

in round t, with c = 0 as the paper advises. A quantile is computed, to about 1e-12, only for an arm
that may have the largest.

Differs from the source: a reward between 0 and 1 counts as that fraction of a success; ties are
drawn evenly, the first round included, where all quantiles are 0; masked arms are never played.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlsuite_agents.functional.bandit_posteriors import bayes_ucb_indices, log_beta_of
from rlsuite_agents.functional.bandits import best_beta_mean, note_beta
from rlsuite_agents.functional.exploration import greedy_probabilities, random_argmax
from rlsuite_agents.parts.bandit import BanditPolicy, BanditRules
from rlsuite_agents.parts.settings import check_range

__all__ = ["BayesUCB", "BayesUCBConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class BayesUCBConfig:
    """Settings of `BayesUCB`. Beta(1, 1) is the uniform prior, Beta(½, ½) Jeffreys'."""

    prior_alpha: float = 1.0  # α of the prior of every arm, in [0.5, 1e6]
    prior_beta: float = 1.0  # β of the prior of every arm, in [0.5, 1e6]

    def __post_init__(self) -> None:
        check_range(self, "prior_alpha", "[0.5, 1e6]")
        check_range(self, "prior_beta", "[0.5, 1e6]")


class Beliefs(NamedTuple):
    """What the rules read and write."""

    alpha: Any  # successes and the prior's, [K]
    beta: Any  # failures and the prior's, [K]
    log_beta: Any  # ln B(α, β), [K]
    round: Any  # t of the next round, int64 [1]
    scratch_indices: Any  # [K]


def start(config: BayesUCBConfig, n_arms: int) -> Beliefs:
    """The prior."""
    alpha = np.full(n_arms, float(config.prior_alpha))
    beta = np.full(n_arms, float(config.prior_beta))
    log_beta = np.full(n_arms, log_beta_of(alpha.tolist(), beta.tolist(), 0))
    return Beliefs(alpha, beta, log_beta, np.ones(1, np.int64), np.zeros(n_arms))


def choose(x: Beliefs, mask: Any, rng: Any) -> int:
    """An arm of the largest quantile."""
    bayes_ucb_indices(x.alpha, x.beta, x.log_beta, 1.0 / x.round[0], mask, x.scratch_indices)
    return random_argmax(x.scratch_indices, mask, rng)


def probabilities(x: Beliefs, mask: Any) -> NDArray[np.float64]:
    """0 and 1; ties are shared."""
    bayes_ucb_indices(x.alpha, x.beta, x.log_beta, 1.0 / x.round[0], mask, x.scratch_indices)
    allowed = None if mask is None else [mask]
    return greedy_probabilities([x.scratch_indices], allowed, False)[0]


def update(x: Beliefs, arm: int, reward: float) -> None:
    """Adds the reward to the successes, and what it lacks to 1 to the failures."""
    note_beta(x.alpha, x.beta, arm, reward)
    x.log_beta[arm] = log_beta_of(x.alpha, x.beta, arm)
    x.round[0] += 1


def best(x: Beliefs, mask: Any) -> int:
    """The arm of the largest posterior mean."""
    return best_beta_mean(x.alpha, x.beta, mask)


class BayesUCB(BanditPolicy):
    """The arm whose posterior reaches highest. Rewards lie in [0, 1]."""

    id = "rlsuite/BayesUCB-v0"
    config_type = BayesUCBConfig
    rules = BanditRules(start, choose, update, probabilities, best)
    unit_rewards = True
