"""Learned rewards of the task of letters: preferences sampled by the gold reward, and the fit."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from registry.texts import RewardModel
from rlsuite_envs.tokens.feature_reward import GOLD, all_feature_scores
from rlsuite_envs.tokens.preferences import sample_preferences
from rlsuite_envs.tokens.proxies import fit_reward
from rlsuite_envs.tokens.reference_models import markov_reference
from rlsuite_envs.tokens.shapes import DEFAULT_SHAPE, TextShape
from rlsuite_envs.tokens.tabulation import tabulate
from rlsuite_envs.tokens.tree import tree_of

__all__ = [
    "N_PREFERENCES",
    "fitted_reward",
    "learned_reward",
    "linear_reward",
    "mlp_reward",
    "tabular_reward",
]

N_PREFERENCES = 1000
"""Pairs that a learned reward is fitted to, unless the task says otherwise."""
PREFERENCE_SEED = 1
"""Seed of those pairs."""


def fitted_reward(
    name: str,
    log_reference: NDArray[np.float64],
    shape: TextShape,
    n_pairs: int = N_PREFERENCES,
) -> RewardModel:
    """The learned reward of this name (see `proxies`), fitted once per process.

    Both answers of a pair are sampled from the reference policy for the same prompt; the first is
    preferred with probability σ(gold(first) - gold(second)).

    Args:
        name: `"learned"`, `"linear"`, `"mlp"` or `"tabular"`.
        log_reference: log ref(a | s) in every decision state, [P, N, V].
        shape: Of texts that gold can score.
        n_pairs: At least 1.
    """
    return _fitted(name, log_reference.tobytes(), shape, n_pairs)


@lru_cache(maxsize=16)
def _fitted(name: str, log_reference: bytes, shape: TextShape, n_pairs: int) -> RewardModel:
    tree = tree_of(shape)
    log_probs = np.frombuffer(log_reference).reshape(tree.n_prompts, tree.n_prefixes, -1)
    gold = all_feature_scores(GOLD, shape)
    rng = np.random.default_rng(PREFERENCE_SEED)
    pairs = sample_preferences(tree, log_probs, gold, n_pairs, rng)
    return fit_reward(name, pairs.pairs(tree), shape)


def learned_reward() -> RewardModel:
    """A Bradley-Terry model of the gold reward's own features, for the default task."""
    return _of_default_task("learned")


def linear_reward() -> RewardModel:
    """A Bradley-Terry model of letters by position alone, for the default task."""
    return _of_default_task("linear")


def mlp_reward() -> RewardModel:
    """A Bradley-Terry model by a small network, for the default task."""
    return _of_default_task("mlp")


def tabular_reward() -> RewardModel:
    """A Bradley-Terry model with a number per text, for the default task."""
    return _of_default_task("tabular")


def _of_default_task(name: str) -> RewardModel:
    reference = tabulate(markov_reference(), "the reference model", tree_of(DEFAULT_SHAPE))
    return fitted_reward(name, reference, DEFAULT_SHAPE)
