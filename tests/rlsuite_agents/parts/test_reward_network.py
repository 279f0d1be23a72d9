"""The network of expected rewards: its gradient, its memory, its arms; NeuralLinear's fits."""

from __future__ import annotations

import numpy as np
import pytest

from registry.errors import SettingError
from rlsuite_agents.bandits.neural_epsilon_greedy import NeuralEpsilonGreedyConfig
from rlsuite_agents.bandits.neural_linear import Model, NeuralLinearConfig
from rlsuite_agents.parts.reward_network import Pulls, RewardNetwork

CONFIG = NeuralEpsilonGreedyConfig(net_arch=(5, 4), batch_size=8, memory=50)


def network(config=CONFIG, n_arms=3):
    return RewardNetwork(2, n_arms, config, np.random.default_rng(0))


def filled(model, n=40, seed=1):
    rng = np.random.default_rng(seed)
    for _ in range(n):
        model.pulls.add(rng.normal(size=2), int(rng.integers(model.n_arms)), rng.normal())
    return model


def loss(model, rows):
    """½ (Q(x, a) - r)², averaged."""
    pulls, total = model.pulls, 0.0
    for row in rows:
        q = model.values(pulls.contexts[row])[pulls.arms[row]]
        total += 0.5 * (float(q) - float(pulls.rewards[row])) ** 2
    return total / len(rows)


def test_the_gradient_is_that_of_the_loss():
    model, rows = filled(network()), np.arange(8)
    model.parameters.vector[:] += 0.1  # all units away from their kinks
    model.optimizer.step = lambda *_: 0.0
    model._step(rows)
    gradient = model.parameters.gradient.copy()
    for k in range(0, gradient.size, 7):
        ends = []
        for h in (1e-2, -1e-2):
            model.parameters.vector[k] += h
            ends.append(loss(model, rows))
            model.parameters.vector[k] -= h
        assert gradient[k] == pytest.approx((ends[0] - ends[1]) / 2e-2, abs=2e-3)


def test_an_arm_more_leaves_the_others_as_they_are():
    model = filled(network())
    for _ in range(3):
        model._step(np.arange(8))
    x, steps = np.array([0.3, -1.0]), model.optimizer.steps
    before, moments = model.values(x), np.sort(np.abs(model.optimizer.first))[::-1]
    model.grow()
    after = model.values(x)
    np.testing.assert_allclose(after[:3], before, rtol=1e-6)
    assert after[3] == 0.0
    assert model.optimizer.steps == steps
    found = np.sort(np.abs(model.optimizer.first))[::-1]
    np.testing.assert_array_equal(found[: len(moments)], moments)


def test_the_oldest_pulls_are_forgotten_first():
    pulls = Pulls(1, 3)
    for k in range(5):
        pulls.add([k], k, 10.0 * k)
    assert len(pulls) == 3
    assert pulls.total == 5
    assert pulls.arms.tolist() == [3, 4, 2]
    assert pulls.rewards.tolist() == [30.0, 40.0, 20.0]


def test_the_memory_grows_as_it_fills():
    pulls = Pulls(1, 5_000)
    for k in range(3_000):
        pulls.add([k], 0, k)
    assert pulls.rewards[:3_000].tolist() == list(range(3_000))
    assert len(pulls.rewards) <= 5_000


def test_the_regressions_of_neural_linear_are_those_of_all_pulls():
    """After a training, the newest pull included, by the textbook's formulas."""
    config = NeuralLinearConfig(net_arch=(6,), batch_size=8, train_every=30, train_steps=2)
    model = Model(network(config), config, np.random.default_rng(2))
    rng = np.random.default_rng(3)
    for _ in range(30):
        model.update(rng.normal(size=2), int(rng.integers(3)), rng.normal())
    pulls, b = model.network.pulls, model.linear.beliefs
    z = model.network.features(pulls.contexts[:30])
    for arm in range(3):
        rows, r = z[pulls.arms[:30] == arm], pulls.rewards[:30][pulls.arms[:30] == arm]
        a = 0.25 * np.eye(6) + rows.T @ rows
        theta = np.linalg.solve(a, rows.T @ r)
        np.testing.assert_allclose(b.theta[arm], theta, atol=1e-6)
        np.testing.assert_allclose(b.rate[arm], 6 + 0.5 * (r @ r - theta @ a @ theta), atol=1e-6)
        assert b.pulls[arm] == len(r)


def test_each_arm_is_pulled_a_few_times_first():
    config = NeuralLinearConfig(net_arch=(6,), initial_pulls=2)
    model, rng = Model(network(config), config, np.random.default_rng(2)), np.random.default_rng(0)
    arms = []
    for _ in range(6):
        arms.append(model.choose(np.ones(2), None, rng))
        model.update(np.ones(2), arms[-1], 1.0)
    assert arms == [0, 0, 1, 1, 2, 2]
    assert model._waiting(None) == -1
    model.grow()
    assert model.choose(np.ones(2), None, rng) == 3
    assert model.choose(np.ones(2), [1, 1, 1, 0], rng) < 3


def test_a_network_has_a_hidden_layer():
    with pytest.raises(SettingError, match=r"net_arch must have a hidden layer at least, got \(\)"):
        NeuralEpsilonGreedyConfig(net_arch=())
