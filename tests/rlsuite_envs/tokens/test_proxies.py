"""Learned rewards: what each can see, and that more capacity fits more."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import rlsuite  # noqa: F401  (registers the models)
from registry.catalogue import registry
from registry.errors import SettingError
from rlsuite_envs.tokens.feature_reward import GOLD, all_feature_scores
from rlsuite_envs.tokens.learned import fitted_reward, linear_reward, mlp_reward, tabular_reward
from rlsuite_envs.tokens.preferences import sample_preferences
from rlsuite_envs.tokens.proxies import MLPReward, fit_reward
from rlsuite_envs.tokens.reference_models import markov_reference
from rlsuite_envs.tokens.scoring import Judge
from rlsuite_envs.tokens.shapes import DEFAULT_SHAPE
from rlsuite_envs.tokens.tables import EOS
from rlsuite_envs.tokens.tabulation import tabulate
from rlsuite_envs.tokens.token_generation import TokenGeneration
from rlsuite_envs.tokens.tree import prefix_tree

TREE = prefix_tree(5)
REFERENCE = tabulate(markov_reference(), "the reference", TREE)
NAMES = ("linear", "learned", "mlp", "tabular")


@pytest.fixture(scope="module")
def pairs():
    """1,000 pairs for the fit, 2,000 fresh ones."""
    gold = all_feature_scores(GOLD, DEFAULT_SHAPE)
    rngs = np.random.default_rng(1), np.random.default_rng(2)
    counts = (1000, 2000)
    return [
        sample_preferences(TREE, REFERENCE, gold, n, rng)
        for n, rng in zip(counts, rngs, strict=True)
    ]


@pytest.fixture(scope="module")
def scores():
    """Of every text by every learned reward."""
    return {
        name: Judge(fitted_reward(name, REFERENCE, DEFAULT_SHAPE), name).all_scores(TREE)
        for name in NAMES
    }


def test_more_capacity_fits_more_of_the_pairs_it_was_fitted_to(pairs, scores):
    accuracy = [pairs[0].accuracy(scores[name]) for name in NAMES]
    assert accuracy == sorted(accuracy)
    assert accuracy[-1] > 0.95


def test_fresh_pairs_show_what_was_understood(pairs, scores):
    accuracy = {name: pairs[1].accuracy(scores[name]) for name in NAMES}
    assert accuracy["learned"] == max(accuracy.values())
    assert min(accuracy["linear"], accuracy["mlp"]) > 0.6
    # most fresh texts are not in the table: both score 0, which counts half
    assert accuracy["tabular"] < 0.56


def test_the_linear_reward_cannot_see_neighbours():
    model = linear_reward()
    assert not np.any(model.bigram)
    text = np.array([[0, 1, 2, 3, EOS], [0, 1, 3, 2, EOS]])
    first, second = model.score(text, np.array([5, 5]))
    swapped = model.position[0][2] + model.position[1][3]
    other = model.position[0][3] + model.position[1][2]
    assert first - second == pytest.approx(swapped - other)


def test_the_table_scores_no_text_it_has_not_met(scores):
    met = np.count_nonzero(scores["tabular"])
    assert 500 < met <= 2000


def test_the_network_by_hand():
    """One hidden unit that looks at the first letter: v tanh(w) where it is a."""
    parameters = np.zeros(32 * 36 + 64)
    parameters[0], parameters[32 * 36 + 32] = 0.5, 2.0
    model = MLPReward(parameters)
    tokens = np.array([[3, 4, 0, EOS], [3, 4, 1, EOS]])
    np.testing.assert_allclose(model.score(tokens, np.array([4, 4])), [2 * np.tanh(0.5), 0.0])


def test_the_network_is_at_a_minimum():
    """The mean gradient of the loss there is small against that of a network without weights."""
    model = mlp_reward()
    best = fitted_loss(model._parameters)
    for i, shift in itertools.product((0, 500, 1200), (-0.05, 0.05)):
        moved = model._parameters.copy()
        moved[i] += shift
        assert fitted_loss(moved) > best - 1e-6


def fitted_loss(parameters):
    """Σ -log σ(r(preferred) - r(rejected)) + 2 |w|², over the pairs of the fit."""
    gold = all_feature_scores(GOLD, DEFAULT_SHAPE)
    found = sample_preferences(TREE, REFERENCE, gold, 1000, np.random.default_rng(1)).pairs(TREE)
    model = MLPReward(parameters)
    better = model.score(found.chosen, found.chosen_lengths)
    worse = model.score(found.rejected, found.rejected_lengths)
    return np.logaddexp(0.0, worse - better).sum() + 2.0 * parameters @ parameters


@pytest.mark.parametrize("name", ["Linear", "MLP", "Tabular"])
def test_registered_ones_are_those_of_the_default_task(name):
    made = registry.get("reward_model", f"rlsuite/{name}Reward-v0").load()()
    assert made is fitted_reward(name.lower(), REFERENCE, DEFAULT_SHAPE)
    tokens, lengths = np.array([[0, 1, 2, 3, EOS]]), np.array([5])
    env = TokenGeneration(reward=name.lower())
    assert env.score(tokens, lengths)[0] == pytest.approx(made.score(tokens, lengths)[0])
    assert tabular_reward() is fitted_reward("tabular", REFERENCE, DEFAULT_SHAPE)


def test_more_pairs_are_another_reward():
    few = TokenGeneration(reward="linear", preferences=50).world.judges[0].model
    assert few != linear_reward()
    with pytest.raises(SettingError, match="preferences must be a whole number of at least 1"):
        TokenGeneration(reward="linear", preferences=0)


def test_texts_that_are_too_long():
    task = TokenGeneration(reward=lambda t, n: n * 1.0, max_new_tokens=8)
    pairs = task.preferences(50, rng=np.random.default_rng(0), source="reward")
    with pytest.raises(SettingError, match="know 5 positions; a preference has 8 new tokens"):
        fit_reward("linear", pairs, task.world.shape)
