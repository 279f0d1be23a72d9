"""Imitation by counting: by hand, exactly, and as close as the number of examples allows."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

import rlsuite
from registry.errors import SettingError
from registry.logged_data import LoggedData
from rlsuite_agents.tabular.behaviour_cloning import BehaviourCloning, BehaviourCloningConfig

CLIFF = "rlsuite/CliffWalk-v0"


class Stated:
    """A policy that is a table."""

    def __init__(self, pi):
        self.pi = pi

    def action_probabilities(self, observations, *, deterministic, mask=None):
        assert not deterministic
        return self.pi[observations]

    predict = None


def examples(pairs):
    s, a = zip(*pairs, strict=True)
    n = len(s)
    return LoggedData(
        observation=s,
        action=a,
        reward=np.zeros(n),
        next_observation=s,
        terminated=np.zeros(n, bool),
        truncated=np.zeros(n, bool),
    )


def clone(data, learn=None, **settings):
    env = gym.make(CLIFF)
    agent = BehaviourCloning(env, BehaviourCloningConfig(**settings), seed=0, data=data)
    return agent.learn(len(data) if learn is None else learn)


def pi(agent, s, mask=None, deterministic=False):
    mask = None if mask is None else np.array([mask])
    return agent.action_probabilities(np.array([s]), deterministic=deterministic, mask=mask)[0]


FOUR = examples([(36, 1), (36, 0), (36, 1), (36, 1)])


def test_by_hand():
    agent = clone(FOUR)
    np.testing.assert_allclose(pi(agent, 36), [0.25, 0.75, 0, 0])
    np.testing.assert_array_equal(pi(agent, 36, deterministic=True), [0, 1, 0, 0])
    np.testing.assert_allclose(pi(agent, 7), 0.25)  # never seen
    np.testing.assert_array_equal(pi(agent, 7, deterministic=True), [1, 0, 0, 0])


def test_smoothing_adds_examples_of_every_action():
    agent = clone(FOUR, smoothing=1.0)
    np.testing.assert_allclose(pi(agent, 36), [2 / 8, 4 / 8, 1 / 8, 1 / 8])
    np.testing.assert_allclose(pi(agent, 7), 0.25)


def test_masks_are_obeyed_even_where_all_examples_are_masked():
    agent = clone(FOUR)
    np.testing.assert_allclose(pi(agent, 36, [1, 0, 1, 1]), [1, 0, 0, 0])
    np.testing.assert_allclose(pi(agent, 36, [0, 0, 1, 1]), [0, 0, 0.5, 0.5])
    np.testing.assert_array_equal(pi(agent, 36, [0, 0, 1, 1], True), [0, 0, 1, 0])
    smooth = clone(FOUR, smoothing=1.0)
    np.testing.assert_allclose(pi(smooth, 36, [1, 0, 0, 1]), [2 / 3, 0, 0, 1 / 3])


def test_the_budget_is_in_examples():
    agent = clone(FOUR, learn=2)
    np.testing.assert_allclose(pi(agent, 36), [0.5, 0.5, 0, 0])
    agent.learn(10)
    assert (agent.num_timesteps, agent.counts.sum()) == (12, 4)
    counted = clone(FOUR, learn=0)
    counted.learn(4, lambda learner: learner.num_timesteps < 3)
    assert (counted.num_timesteps, counted.counts.sum()) == (3, 3)


def test_data_in_the_proportions_of_a_policy_score_as_it_does():
    """Counts 10 π(a|s) in every state give π back, and its exact return."""
    rng = np.random.default_rng(0)
    counts = rng.multinomial(10, [0.1, 0.6, 0.2, 0.1], size=48)
    pairs = [(s, a) for s, a in np.ndindex(48, 4) for _ in range(counts[s, a])]
    agent = clone(examples(pairs))
    oracle = gym.make(CLIFF).unwrapped.oracle()
    found = rlsuite.evaluate(agent, CLIFF, deterministic=False)
    assert found.method == "exact"
    assert found.mean_return == pytest.approx(oracle.policy_return(counts / 10), rel=1e-12)


def test_it_converges_to_the_policy_that_made_the_data():
    """Hoeffding: all pairs within √(ln(2 S A / δ) / 2 n(s)), but with probability δ = 10⁻⁶."""
    table = np.random.default_rng(1).dirichlet(np.ones(4), size=21)
    name = "rlsuite/Garnet-v0"
    data = rlsuite.collect(Stated(table), name, steps=5_000)
    agent = BehaviourCloning(gym.make(name), seed=0, data=data).learn(len(data))
    n = agent.counts.sum(axis=1, keepdims=True)
    seen = n[:, 0] > 0
    assert seen.sum() >= 20
    found = agent.action_probabilities(np.arange(len(n)), deterministic=False)
    bound = np.sqrt(np.log(2 * table.size / 1e-6) / (2 * n[seen]))
    assert (np.abs(found - table)[seen] <= bound).all()
    assert (np.abs(0.25 - table)[seen] > bound).any()  # the uniform policy is told apart


def test_saved_and_loaded_it_goes_on(tmp_path):
    whole, half = clone(FOUR), clone(FOUR, learn=2)
    half.save(tmp_path / "half")
    loaded = BehaviourCloning.load(tmp_path / "half", env=gym.make(CLIFF), data=FOUR).learn(2)
    np.testing.assert_array_equal(loaded.counts, whole.counts)
    bare = BehaviourCloning.load(tmp_path / "half")
    np.testing.assert_allclose(pi(bare, 36), [0.5, 0.5, 0, 0])
    with pytest.raises(SettingError, match="was loaded without an environment"):
        bare.learn(1)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"data": None}, r"BehaviourCloningConfig.data must be the path of a data set, got None"),
        ({"smoothing": -0.5}, r"smoothing must be a number in \[0, inf\), got -0.5"),
    ],
)
def test_settings_outside_their_range_are_refused(settings, sentence):
    with pytest.raises(SettingError, match=sentence):
        BehaviourCloningConfig(**settings)


def test_without_data_it_is_refused():
    with pytest.raises(SettingError, match="BehaviourCloning learns from logged data: name a file"):
        BehaviourCloning(gym.make(CLIFF), seed=0)
