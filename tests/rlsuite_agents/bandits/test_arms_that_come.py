"""Arms that sleep, arrive and are added: what is believed of them, and masks that are none."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

import rlsuite
from registry.catalogue import registry
from registry.contracts import Transition
from registry.errors import InvalidObservationError
from rlsuite_agents.bandits.exp3 import Exp3, Exp3Config
from rlsuite_agents.bandits.exp3ix import Exp3IX
from rlsuite_agents.bandits.linucb import LinUCB, LinUCBConfig
from rlsuite_agents.parts.spaces import Detached
from rlsuite_envs.bandits.bernoulli import BernoulliBandit
from rlsuite_envs.bandits.wrappers import ArrivingArms

ONE = np.ones(1, np.float32)
SLEEPS = np.array([1, 1, 0], np.int8)


def arms(n, shape=(1,)):
    return Detached(Box(-5.0, 5.0, shape, np.float32), Discrete(n))


def pulls(agent, means, steps, coin, mask=None):
    """How often each arm is pulled, of arms that pay 0 or 1."""
    counts = np.zeros(len(means), int)
    for _ in range(steps):
        arm, extras = agent.act(ONE, mask, agent.rng)
        reward = float(coin.random() < means[arm])
        agent.observe(Transition(ONE, arm, reward, ONE, False, False, extras=extras))
        counts[arm] += 1
    return counts


def totals(agent):
    return agent.beliefs.gains if isinstance(agent, Exp3) else agent.beliefs.losses


def test_what_exp3_knows_of_a_sleeping_arm_by_hand():
    """γ = ½, two of three arms: π = ½ each; a reward of 1 is worth 2, less the 1 that π earned."""
    agent = Exp3(arms(3), Exp3Config(gamma=0.5), seed=0)
    agent.observe(Transition(ONE, 1, 1.0, ONE, False, False, extras={"pi": [0.5, 0.5, 0.0]}))
    assert agent.beliefs.gains == [-1.0, 1.0, 0.0]
    # all three awake: the rate is γ/3 = 1/6, and a third of γ = ½ is even play
    weights = np.exp([-1 / 6, 1 / 6, 0.0])
    p = agent.action_probabilities(ONE[None], deterministic=False)[0]
    np.testing.assert_allclose(p, 0.5 * weights / weights.sum() + 0.5 / 3)


def test_what_exp3_ix_knows_of_a_sleeping_arm_by_hand():
    """π = ½, η = 1: a loss of 1 counts 1 / (½ + ½), and π loses half of it."""
    agent = Exp3IX(arms(3), seed=0)
    extras = {"pi": [0.5, 0.5, 0.0], "rate": [1.0]}
    agent.observe(Transition(ONE, 0, 0.0, ONE, False, False, extras=extras))
    assert agent.beliefs.losses == [0.5, -0.5, 0.0]


@pytest.mark.parametrize("cls", [Exp3, Exp3IX])
def test_an_arm_that_slept_is_like_one_that_is_added(cls):
    slept, added = cls(arms(3), seed=1), cls(arms(2), seed=1)
    means = [0.4, 0.6, 0.5]
    left = pulls(slept, means, 300, np.random.default_rng(0), SLEEPS)
    right = pulls(added, means[:2], 300, np.random.default_rng(0))
    assert left.tolist() == [*right, 0]
    waiting = added.decide()[0], slept.decide(mask=SLEEPS)[0]
    added.add_arm()
    added.feedback(waiting[0], 1.0)
    slept.feedback(waiting[1], 1.0)
    assert totals(slept) == totals(added)
    coins = np.random.default_rng(1), np.random.default_rng(1)
    assert (
        pulls(slept, means, 300, coins[0]).tolist() == pulls(added, means, 300, coins[1]).tolist()
    )


@pytest.mark.parametrize("cls", [Exp3, Exp3IX])
def test_a_new_arm_is_judged_by_what_it_pays(cls):
    """After 4,000 pulls of two arms a bad third one gets less than half of its even share of the
    next 2,000, and a good one more than twice its share."""
    for mean, low, high in ((0.02, 0, 333), (0.95, 1333, 2000)):
        agent, coin = cls(arms(2), seed=0), np.random.default_rng(0)
        pulls(agent, [0.4, 0.5], 4_000, coin)
        agent.add_arm()
        assert low <= pulls(agent, [0.4, 0.5, mean], 2_000, coin)[2] <= high


@pytest.mark.parametrize("cls", [Exp3, Exp3IX])
def test_an_arm_that_arrives_late_and_pays_nothing_is_left_alone(cls):
    """1,000 steps after it came it is played less than half of its even share."""
    bandit = BernoulliBandit([0.4, 0.5, 0.02], horizon=3_000)
    agent = cls(ArrivingArms(bandit, arrivals=[0, 0, 2_000]), seed=0)
    agent.learn(3_000)
    late = agent.action_probabilities(ONE[None], deterministic=False)[0]
    assert late[2] < 1 / 6


POLICIES = [
    cls
    for entry in registry.entries("agent")
    if ":" in entry.entry_point and ".bandits." in entry.entry_point
    for cls in [entry.load()]
]


@pytest.mark.parametrize("cls", POLICIES, ids=lambda cls: cls.__name__)
def test_every_policy_goes_on_where_all_it_knew_has_gone(cls):
    """Arm 0 leaves when arm 1 comes: nothing is known of any arm that is there."""
    env = ArrivingArms(BernoulliBandit([0.1, 0.5]), arrivals=[0, 3], departures=[3, None])
    assert cls(env, seed=1).learn(50).num_timesteps == 50


@pytest.mark.parametrize("cls", POLICIES, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("mask", [[0, 0, 0], [1, 1], [[1, 1, 1]], [1, 1, 1, 1]])
def test_masks_that_are_none_are_refused(cls, mask):
    agent = cls(arms(3), seed=0)
    for one in (mask, np.array(mask, bool)):
        with pytest.raises(InvalidObservationError, match="allows at least one of the 3 arms"):
            agent.decide(ONE, one)
        with pytest.raises(InvalidObservationError, match="allows at least one of the 3 arms"):
            agent.act(ONE, one, agent.rng)
        with pytest.raises(InvalidObservationError, match="allows at least one of the 3 arms"):
            agent.predict(ONE, deterministic=True, mask=one)
    assert not agent.pending


@pytest.mark.parametrize("reward", ["1", None, [1.0, 2.0], 1j])
@pytest.mark.parametrize("name", ["UCB1", "ThompsonSampling", "LinUCB"])
def test_rewards_that_are_no_numbers_are_refused(name, reward):
    agent = rlsuite.make_agent(f"rlsuite/{name}-v0", arms(3), seed=0)
    decision, arm = agent.decide(ONE)
    with pytest.raises(InvalidObservationError, match=f"a reward is a number, got .* arm {arm}"):
        agent.feedback(decision, reward)
    agent.feedback(decision, 1)


SHARED = LinUCBConfig(model="shared", intercept=False)


@pytest.mark.parametrize("env", [None, arms(4, (4, 2))], ids=["by hand", "in an environment"])
def test_a_shared_model_takes_a_new_arm(env, tmp_path):
    """Its features come with it, and what was decided before may be rewarded after."""
    rows = np.random.default_rng(0).normal(size=(30, 4, 2)).astype(np.float32)
    agent, twin = LinUCB(arms(3, (3, 2)), SHARED, seed=0), LinUCB(arms(3, (3, 2)), SHARED, seed=0)
    early, arm = agent.decide(rows[0, :3])
    agent.add_arm(env)
    twin.observe(Transition(rows[0, :3], arm, 1.0, rows[0, :3], False, False))
    agent.feedback(early, 1.0)
    np.testing.assert_array_equal(agent.theta, twin.theta)
    for x in rows:
        agent.feedback(agent.decide(x)[0], float(x[0, 0]))
    with pytest.raises(InvalidObservationError, match="a context is 8 finite numbers"):
        agent.decide(rows[0, :3])
    agent.save(tmp_path / "agent")
    again = LinUCB.load(tmp_path / "agent")
    np.testing.assert_array_equal(again.theta, agent.theta)
    assert [again.decide(x)[1] for x in rows] == [agent.decide(x)[1] for x in rows]


def test_the_features_of_a_new_arm_are_looked_at_too():
    agent = LinUCB(arms(2, (2, 1)), SHARED, seed=0)
    small = np.ones((2, 1), np.float32)
    for _ in range(150):
        agent.observe(Transition(small, 0, 1.0, small, False, False))
    agent.add_arm()
    large = np.array([[1.0], [1.0], [2_000.0]], np.float32)
    for _ in range(99):
        agent.observe(Transition(large, 0, 1.0, large, False, False))
    with pytest.warns(UserWarning, match="sizes .* from 1 to 2e\\+03"):
        agent.observe(Transition(large, 0, 1.0, large, False, False))
