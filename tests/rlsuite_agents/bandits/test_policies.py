"""What every context-free policy keeps to: the same bits compiled, late rewards, arms, logs."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

import rlsuite  # noqa: F401  (registers the agents)
from registry.bandit_models import BanditModel
from registry.bandit_runs import RunsBandits, merged
from registry.catalogue import registry
from registry.contracts import Transition
from registry.errors import InvalidActionError, InvalidObservationError, SettingError
from rlsuite_agents.parts.bandit import BanditPolicy
from rlsuite_agents.parts.bandit_runs import plain_runs
from rlsuite_agents.parts.spaces import Detached

POLICIES = [
    cls
    for entry in registry.entries("agent")
    if ":" in entry.entry_point and ".bandits." in entry.entry_point
    for cls in [entry.load()]
    if issubclass(cls, BanditPolicy) and hasattr(cls, "rules")
]
UNIT = [cls for cls in POLICIES if cls.unit_rewards]
ONE = np.ones(1, np.float32)

every_policy = pytest.mark.parametrize("cls", POLICIES, ids=lambda cls: cls.__name__)


def model(horizon=60, kind="bernoulli"):
    means = np.array([[0.1, 0.6, 0.3, 0.6]])
    sd = np.full(4, 0.5) if kind == "gaussian" else np.zeros(4)
    return BanditModel(kind=kind, means=means, sd=sd, horizon=horizon)


def arms(n=4):
    return Detached(Box(0.0, 1.0, (1,), np.float32), Discrete(n))


def played(agent, steps, coin, mask=None):
    """What an agent does in `steps` decisions on arms of rising means."""
    trace = []
    for _ in range(steps):
        arm, extras = agent.act(ONE, mask, agent.rng)
        reward = float(coin.random() < (arm + 1) / 8)
        agent.observe(Transition(ONE, arm, reward, ONE, False, False, extras=extras))
        trace.append(arm)
    return trace


def beliefs(agent):
    return {name: row.tolist() for name, row in agent.saved().items()}


def test_all_eighteen_are_here():
    assert len(POLICIES) >= 18
    assert all(issubclass(cls, RunsBandits) for cls in POLICIES)


@every_policy
def test_compiled_runs_have_the_bits_of_the_plain_loop(cls):
    runs, marks = range(3, 6), [10, 30]
    fast = cls.run_bandits(model(), seed=7, runs=runs, marks=marks)
    slow = plain_runs(lambda env: cls(env, seed=0), model(), seed=7, runs=runs, marks=marks)
    assert (fast.compiled, slow.compiled) == (True, False)
    for name in ("regret_sum", "regret_squares", "optimal_sum", "reward_sum", "reward_squares"):
        np.testing.assert_array_equal(getattr(fast, name), getattr(slow, name), name)
    for name in ("marks", "regret_at", "simple_regret_at", "reward_total", "optimal_total"):
        np.testing.assert_array_equal(getattr(fast, name), getattr(slow, name), name)


@every_policy
def test_a_loaded_policy_goes_on_for_1000_actions(cls, tmp_path):
    agent, coin = cls(arms(), seed=1), np.random.default_rng(0)
    played(agent, 50, coin)
    waiting = [agent.decide() for _ in range(3)]
    agent.save(tmp_path / "agent")
    again = cls.load(tmp_path / "agent")
    for one in (agent, again):
        for decision, _ in reversed(waiting):
            one.feedback(decision, 1.0)
    coins = np.random.default_rng(1), np.random.default_rng(1)
    assert played(agent, 1000, coins[0]) == played(again, 1000, coins[1])
    assert beliefs(agent) == beliefs(again)


@every_policy
def test_arms_are_added_and_masked_after_loading(cls, tmp_path):
    agent, coin = cls(arms(), seed=2), np.random.default_rng(0)
    played(agent, 40, coin)
    agent.save(tmp_path / "agent")
    agent = cls.load(tmp_path / "agent")
    before = agent.saved()
    assert agent.add_arm() == 4
    fresh = cls(arms(5), seed=0).saved()
    for name, row in agent.saved().items():
        if len(row) == 5 and len(before[name]) == 4:
            np.testing.assert_array_equal(row[:4], before[name])
            np.testing.assert_array_equal(row[4:], fresh[name][4:])
    only = np.array([0, 0, 1, 0, 1], np.int8)
    assert set(played(agent, 60, coin, only)) <= {2, 4}
    row = agent.action_probabilities(ONE[None], deterministic=False, mask=only[None])[0]
    np.testing.assert_array_equal(row[[0, 1, 3]], 0.0)
    assert row.sum() == pytest.approx(1.0)
    agent.save(tmp_path / "five")
    assert beliefs(cls.load(tmp_path / "five")) == beliefs(agent)
    with pytest.raises(SettingError, match="has 5 arms, but its environment has 4"):
        agent.learn(1)
    with pytest.raises(SettingError, match=r"after add_arm there are 6 arms, but .* has 4"):
        agent.add_arm(arms())


@every_policy
def test_the_reported_probability_is_how_often_an_arm_is_played(cls):
    agent, coin, n = cls(arms(), seed=3), np.random.default_rng(0), 2_000
    played(agent, 30, coin)
    agent.logs = True
    p = agent.action_probabilities(ONE[None], deterministic=False)[0]
    taken = []
    for _ in range(n):
        arm, extras = agent.act(ONE, None, agent.rng)
        assert extras["probability"] == p[arm] > 0
        taken.append(arm)
    share = np.bincount(taken, minlength=4) / n
    assert np.all(np.abs(share - p) <= 4 * np.sqrt(p * (1 - p) / n) + 1e-12)


CONJUGATE = ("ThompsonSampling", "GaussianThompsonSampling", "NIGThompsonSampling", "BayesUCB")


@pytest.mark.parametrize("name", CONJUGATE)
def test_late_rewards_may_come_in_any_order(name):
    cls = registry.agent_spec(f"rlsuite/{name}-v0").load()
    ordered, shuffled = cls(arms(), seed=4), cls(arms(), seed=4)
    decisions = [ordered.decide() for _ in range(30)]
    assert decisions == [shuffled.decide() for _ in range(30)]
    rewards = np.random.default_rng(0).random(30)
    for k in range(30):
        ordered.feedback(k, float(rewards[k]))
    for k in np.random.default_rng(1).permutation(30):
        shuffled.feedback(int(k), float(rewards[k]))
    for field, row in ordered.saved().items():
        np.testing.assert_allclose(shuffled.saved()[field], row, rtol=1e-12, atol=1e-12)
    with pytest.raises(InvalidObservationError, match="no decision 3 waits for its reward"):
        ordered.feedback(3, 1.0)


@every_policy
def test_feedback_of_a_delayed_environment_is_learned_when_it_comes(cls):
    late, prompt = cls(arms(), seed=5), cls(arms(), seed=5)
    arm, extras = late.act(ONE, None, late.rng)
    assert prompt.act(ONE, None, prompt.rng) == (arm, extras)
    none = {"decision_id": [], "reward": [], "observation": []}
    before = beliefs(late)
    info = {"decision_id": 0, "feedback": none}
    late.observe(Transition(ONE, arm, 0.0, ONE, False, False, info=info, extras=extras))
    assert beliefs(late) == before
    second, more = late.act(ONE, None, late.rng)
    came = {"decision_id": [0], "reward": [1.0], "observation": [ONE]}
    info = {"decision_id": 1, "feedback": came}
    late.observe(Transition(ONE, second, 0.0, ONE, False, False, info=info, extras=more))
    prompt.observe(Transition(ONE, arm, 1.0, ONE, False, False, extras=extras))
    assert beliefs(late) == beliefs(prompt)
    assert list(late.pending) == [-2]


@pytest.mark.parametrize("cls", UNIT, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("reward", [-0.1, 1.5, float("nan")])
def test_rewards_outside_0_1_are_refused(cls, reward):
    agent = cls(arms(), seed=0)
    decision, _ = agent.decide()
    with pytest.raises(InvalidObservationError, match=rf"{cls.__name__} takes rewards in \[0, 1\]"):
        agent.feedback(decision, reward)
    assert decision in agent.pending
    with pytest.raises(InvalidObservationError, match=r"these arms are of the kind 'gaussian'"):
        cls.run_bandits(model(kind="gaussian"), seed=0, runs=range(1))


@every_policy
def test_what_is_no_pull_is_refused(cls):
    agent = cls(arms(), seed=0)
    _, extras = agent.act(ONE, None, agent.rng)
    with pytest.raises(InvalidActionError, match=r"has the arms 0 to 3, got 4"):
        agent.observe(Transition(ONE, 4, 1.0, ONE, False, False, extras=extras))
    if not cls.unit_rewards:
        with pytest.raises(InvalidObservationError, match="arm 1 paid nan, which is not finite"):
            agent.observe(Transition(ONE, 1, float("nan"), ONE, False, False, extras=extras))
    if cls.remembers:
        with pytest.raises(InvalidObservationError, match="hand observe the extras that act"):
            agent.observe(Transition(ONE, 1, 1.0, ONE, False, False))


@pytest.mark.parametrize("mask", [[0, 0, 0, 0], [1, 0], np.zeros((1, 4), bool)])
def test_a_mask_that_is_none_is_refused(mask):
    agent = registry.agent_spec("rlsuite/UCB1-v0").load()(arms(), seed=0)
    with pytest.raises(InvalidObservationError, match="allows at least one of the 4 arms, got"):
        agent.decide(mask=mask)
    assert agent.decide(mask=[0, 0, 1, 0]) == (0, 2)


def test_runs_do_not_depend_on_the_block_and_meet_the_same_luck():
    ucb1 = registry.agent_spec("rlsuite/UCB1-v0").load()
    whole = ucb1.run_bandits(model(), seed=0, runs=range(20))
    parts = merged([ucb1.run_bandits(model(), seed=0, runs=r) for r in (range(7), range(7, 20))])
    np.testing.assert_array_equal(whole.regret_at, parts.regret_at)
    np.testing.assert_allclose(whole.regret_sum, parts.regret_sum)
    assert len(np.unique(whole.reward_total)) > 5  # other luck in other runs
    each = ucb1.run_bandits([model()] * 20, seed=0, runs=range(20))
    np.testing.assert_array_equal(whole.regret_at, each.regret_at)
    for bad, sentence in (
        ({"runs": range(0)}, "a rising range of at least one number"),
        ({"runs": range(1), "marks": [61]}, "marks are steps from 1 to 60"),
        ({"runs": range(2), "models": [model()]}, "one model for each of the 2 runs"),
        ({"runs": range(2), "models": [model(), model(9)]}, "one horizon and one kind"),
    ):
        with pytest.raises(SettingError, match=sentence):
            ucb1.run_bandits(bad.pop("models", model()), seed=0, **bad)
    with pytest.raises(SettingError, match="at least one block"):
        merged([])
    with pytest.raises(SettingError, match="the same horizon and marks"):
        merged([whole, ucb1.run_bandits(model(9), seed=0, runs=range(1))])


def test_what_pays_more_than_the_arm_of_hindsight_is_optimal_too():
    """Arm 0 is the best in hindsight; at the second step arm 1 pays more, and UCB1 pulls it."""
    table = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    rows = BanditModel(
        kind="table", means=table, sd=np.zeros(2), horizon=3, best=np.zeros(3, np.int64)
    )
    ucb1 = registry.agent_spec("rlsuite/UCB1-v0").load()
    for block in (
        ucb1.run_bandits(rows, seed=0, runs=range(4)),
        plain_runs(lambda env: ucb1(env, seed=0), rows, seed=0, runs=range(4)),
    ):
        np.testing.assert_array_equal(block.optimal_sum[:2], [4.0, 4.0])
        np.testing.assert_array_equal(block.regret_sum[:2], [0.0, -4.0])


def test_softmax_is_played_as_often_as_it_says():
    """0.881 is 0.881: no draw of a draw, no argmax of a Dirichlet."""
    cls = registry.agent_spec("rlsuite/Softmax-v0").load()
    agent = cls(arms(2), cls.config_type(temperature=0.5), seed=0)
    for arm in (0, 1):
        agent.observe(Transition(ONE, arm, float(arm), ONE, False, False))
    p = agent.action_probabilities(ONE[None], deterministic=False)[0]
    np.testing.assert_allclose(p, [0.11920292, 0.88079708])
    share = np.mean([agent.act(ONE, None, agent.rng)[0] for _ in range(20_000)])
    assert abs(share - p[1]) <= 4 * np.sqrt(p[0] * p[1] / 20_000)


def test_means_not_sums_are_exploited():
    """Many small rewards sum to more than one large one; the arm of the larger mean is greedy."""
    cls = registry.agent_spec("rlsuite/EpsilonGreedy-v0").load()
    agent = cls(arms(2), cls.config_type(epsilon=0.0), seed=0)
    for arm, reward in [(0, 0.25)] * 8 + [(1, 1.0)]:
        agent.observe(Transition(ONE, arm, reward, ONE, False, False))
    assert agent.act(ONE, None, agent.rng)[0] == 1


def test_running_means_count_the_reward_at_hand():
    """Rewards 1, 0, 0 have the mean 1/3, and their squares sum to 2/3 about it."""
    agent = registry.agent_spec("rlsuite/UCBTuned-v0").load()(arms(2), seed=0)
    for reward in (1.0, 0.0, 0.0):
        agent.observe(Transition(ONE, 0, reward, ONE, False, False))
    assert agent.beliefs.means[0] == pytest.approx(1 / 3)
    assert agent.beliefs.squares[0] == pytest.approx(2 / 3)


def test_schedules_of_epsilon():
    cls = registry.agent_spec("rlsuite/EpsilonGreedy-v0").load()
    agent = cls(arms(2), cls.config_type(epsilon="inverse(1, 0, 1)"), seed=0)
    for t in range(4):
        p = agent.action_probabilities(ONE[None], deterministic=False)[0]
        assert p.min() == pytest.approx(0.5 / (1 + t))
        agent.observe(Transition(ONE, 0, 1.0, ONE, False, False))


def test_discounts_touch_all_arms_every_round():
    agent = registry.agent_spec("rlsuite/DiscountedUCB-v0").load()(arms(2), seed=0)
    for arm in (0, 1, 1):
        agent.observe(Transition(ONE, arm, 1.0, ONE, False, False))
    assert agent.beliefs.counts == pytest.approx([0.99**2, 1.99])
