"""Policies over texts where no exact answer is known: estimates, and a note that says so."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

import rlsuite
from registry.errors import OracleError
from rlsuite.text_figures import text_figures

ID = "rlsuite/TokenGeneration-v0"
LARGE = {"reward": lambda tokens, lengths: lengths * 0.1, "prompts": ["a", "fed"]}


class LastLetter:
    """States its probabilities, which depend on the last token alone; never writes a mask."""

    table = np.random.default_rng(0).exponential(size=(8, 7))

    def action_probabilities(self, observations, *, deterministic, mask=None):
        tokens, lengths = observations["tokens"], observations["length"]
        weights = self.table[tokens[np.arange(len(tokens)), lengths - 1]] * np.asarray(mask)
        if deterministic:
            return np.eye(7)[weights.argmax(axis=1)]
        return weights / weights.sum(axis=1, keepdims=True)

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        raise AssertionError("it states its probabilities")


def test_estimates_agree_with_the_exact_figures():
    exact = rlsuite.evaluate(LastLetter(), ID)
    found = rlsuite.evaluate(LastLetter(), ID, exact=False, episodes=2000)
    error = found.metrics["objective_error"]
    assert abs(found.metrics["objective"] - exact.mean_return) < 4 * error
    for name in ("kl", "eos_rate", "mean_length", "perplexity", "distinct_1", "distinct_2"):
        assert found.metrics[name] == pytest.approx(exact.metrics[name], rel=0.1), name
    assert any("sample estimates from 2000 texts" in note for note in found.notes)
    assert any("which are not the episodes played" in note for note in found.notes)
    paid = found.metrics["expected_reward"] - gym.make(ID).unwrapped.beta * found.metrics["kl"]
    assert found.metrics["objective"] == pytest.approx(paid), "of the same texts"
    assert not any("sample estimate" in note for note in exact.notes)


def test_above_the_cap_everything_is_an_estimate_and_says_so():
    env = gym.make(ID, max_new_tokens=12, **LARGE)
    with pytest.raises(OracleError, match="sample estimates"):
        env.unwrapped.oracle()
    found = rlsuite.evaluate(LastLetter(), env, episodes=50)
    assert (found.method, found.score, found.regret) == ("sampled", None, None)
    assert {"objective", "kl", "perplexity", "eos_rate", "distinct_2"} <= found.metrics.keys()
    notes = " ".join(found.notes)
    assert "no answer key" in notes
    assert "50 texts" in notes


def test_the_same_seed_gives_the_same_estimates():
    first, again = (rlsuite.evaluate(LastLetter(), ID, exact=False, episodes=30) for _ in range(2))
    other = rlsuite.evaluate(LastLetter(), ID, exact=False, episodes=30, seed=1)
    assert first.metrics == again.metrics
    assert first.metrics["kl"] != other.metrics["kl"]


def test_the_greedy_form_has_a_divergence_too():
    env = gym.make(ID)
    figures, _ = text_figures(LastLetter(), env, greedy=True, texts=20, seed=0)
    assert figures["kl"] > 0
    assert "perplexity" not in figures  # it cannot write what the reference writes


@pytest.mark.parametrize(
    ("policy", "env"),
    [
        (object(), gym.make(ID)),
        (LastLetter(), gym.make("rlsuite/GridWorld-v0")),
        (LastLetter(), gym.make(ID, max_episode_steps=3)),
        (LastLetter(), gym.wrappers.TransformReward(gym.make(ID), lambda reward: 2 * reward)),
    ],
    ids=["states nothing", "no texts", "a shorter limit", "another task"],
)
def test_where_nothing_can_be_said(policy, env):
    assert text_figures(policy, env, greedy=False, texts=10, seed=0) == ({}, "")
