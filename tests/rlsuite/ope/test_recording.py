"""Logs that agents write while they learn."""

from __future__ import annotations

from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

import rlsuite
from registry.errors import DataError, SettingError, UnsupportedSpaceError
from rlsuite.ope import evaluate, record

CONTEXTUAL = "rlsuite/ContextualBandit-v0"


def test_a_learning_agent_states_what_it_would_do_before_it_learns():
    """A second agent that is told the same, decision by decision, would have had the same odds."""
    log = record("rlsuite/EpsilonGreedy-v0", "rlsuite/BernoulliBandit-v0", 60, epsilon=0.2)
    again = rlsuite.make_agent(
        "rlsuite/EpsilonGreedy-v0", "rlsuite/BernoulliBandit-v0", epsilon=0.2
    )
    from registry.contracts import Transition

    for i in range(60):
        x = log.context[i : i + 1].astype(np.float32)
        pi = again.action_probabilities(x, deterministic=False)[0]
        np.testing.assert_allclose(log.probabilities[i], pi, rtol=1e-14)
        assert log.propensity[i] == pi[log.action[i]]
        a = int(log.action[i])
        again.observe(Transition(x[0], a, log.reward[i], x[0], False, False))
    assert len({tuple(p) for p in log.probabilities}) > 1  # it has learned
    assert log.n_actions == 5


def test_the_same_seed_gives_the_same_log():
    logs = [record("rlsuite/LinUCB-v0", CONTEXTUAL, 30, seed=s) for s in (1, 1, 2)]
    np.testing.assert_array_equal(logs[0].context, logs[1].context)
    np.testing.assert_array_equal(logs[0].reward, logs[1].reward)
    assert (logs[0].context != logs[2].context).any()


def test_the_value_of_the_policy_that_logged_is_found_again():
    """The uniform policy's own log has weights 1, whatever the estimator; episodes go on."""
    log = record("rlsuite/Random-v0", CONTEXTUAL, 1500, learn=False)
    found = evaluate(log, "uniform", estimators=["ipw", "snipw"])
    assert found["ipw"].value == pytest.approx(log.reward.mean())
    assert found.diagnostics.ess_share == pytest.approx(1.0)


class Bandit(gym.Env):
    """Masks, and rewards that come two decisions late, as a delaying wrapper tells them."""

    observation_space = Discrete(3)
    action_space = Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.waiting = 0, []
        return 1, {"action_mask": np.array([1, 1, 0], np.int8)}

    def step(self, action):
        assert action != 2
        self.waiting.append((self.t, 10.0 * self.t + action))
        self.t += 1
        last = self.t == 5
        due = [w for w in self.waiting if last or w[0] <= self.t - 3]
        self.waiting = [w for w in self.waiting if w not in due]
        ids, rewards = ([w[i] for w in due] for i in (0, 1))
        info = {
            "action_mask": np.array([1, 1, 0], np.int8),
            "decision_id": self.t - 1,
            "feedback": {"decision_id": np.array(ids, int), "reward": np.array(rewards)},
        }
        return 1, 0.0, False, last, info


class Uniform:
    """Draws among what is allowed; `lies` about the odds of an action that it takes."""

    def __init__(self, lies=False):
        self.lies, self.rng = lies, np.random.default_rng(0)

    def action_probabilities(self, observations, *, deterministic, mask=None):
        if self.lies:
            return np.array([[0.0, 1.0, 0.0]])
        return mask / mask.sum(axis=1, keepdims=True)

    def act(self, observation, mask, rng):
        return 0, {}

    def observe(self, transition):
        self.last = transition


def test_late_rewards_stand_beside_their_decisions_and_masks_are_kept():
    log = record(Uniform(), Bandit(), 8, learn=False)
    # the first episode's five were paid, of the second only the first had been
    np.testing.assert_array_equal(log.decision_id, [0, 1, 2, 3, 4, 5])
    np.testing.assert_array_equal(log.reward, 10.0 * np.array([0, 1, 2, 3, 4, 0]) + log.action)
    np.testing.assert_array_equal(log.action_mask, [[True, True, False]] * 6)
    np.testing.assert_array_equal(log.propensity, np.full(6, 0.5))
    np.testing.assert_array_equal(log.context, np.ones((6, 1)))
    with pytest.raises(DataError, match="no reward has arrived yet"):
        record(Uniform(), Bandit(), 2, learn=False)


def test_an_agent_that_lies_is_refused():
    with pytest.raises(DataError, match="decision 0: Uniform took action 0, to which its"):
        record(Uniform(lies=True), Bandit(), 5)


class Hidden(gym.Env):
    """Tells its answers."""

    observation_space = Box(0, 1, (1,), np.float32)
    action_space = Discrete(2)

    def reset(self, *, seed=None, options=None):
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.zeros(1, np.float32), 1.0, True, False, {"regret": 0.0, "hint": 1}


def test_answers_are_not_shown():
    class Curious(Uniform):
        def action_probabilities(self, observations, *, deterministic, mask=None):
            return np.array([[0.5, 0.5]])

    agent = Curious()
    record(agent, Hidden(), 3)
    assert dict(agent.last.info) == {"hint": 1}
    assert agent.num_timesteps == 3


@pytest.mark.parametrize(
    ("agent", "env", "keywords", "error", "sentence"),
    [
        ("rlsuite/LinUCB-v0", CONTEXTUAL, {"steps": 0}, SettingError, "steps must be a whole"),
        (SimpleNamespace(), CONTEXTUAL, {}, SettingError, "has no action_probabilities: without"),
        (
            SimpleNamespace(action_probabilities=len),
            *(CONTEXTUAL, {}, SettingError, "has no method act, so it cannot learn step by step"),
        ),
        (Uniform(), CONTEXTUAL, {"alpha": 1}, SettingError, "alpha cannot be set: the agent is"),
        (Uniform(), "Pendulum-v1", {}, UnsupportedSpaceError, "holds actions of Discrete, got Box"),
    ],
)
def test_what_is_refused(agent, env, keywords, error, sentence):
    with pytest.raises(error, match=sentence):
        record(agent, env, **{"steps": 5, **keywords})
