"""What every contextual policy keeps to: bits, checkpoints, chances, late rewards, bad input."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

import rlsuite
from registry.bandit_models import BanditModel, ContextualModel
from registry.contracts import Transition
from registry.errors import (
    InvalidActionError,
    InvalidObservationError,
    SettingError,
    UnsupportedSpaceError,
)
from rlsuite_agents.bandits.lints import LinTS, LinTSConfig
from rlsuite_agents.bandits.linucb import LinUCB, LinUCBConfig
from rlsuite_agents.bandits.logisticts import LogisticTS
from rlsuite_agents.bandits.neural_epsilon_greedy import (
    NeuralEpsilonGreedy,
    NeuralEpsilonGreedyConfig,
)
from rlsuite_agents.bandits.neural_linear import NeuralLinear, NeuralLinearConfig
from rlsuite_agents.bandits.squarecb import SquareCB
from rlsuite_agents.parts.bandit_runs import plain_runs
from rlsuite_agents.parts.contextual_runs import plain_contextual_runs

SMALL = {"net_arch": (8,), "batch_size": 16, "train_every": 25, "train_steps": 3}
CONFIGS = {
    LinUCB: LinUCBConfig(),
    LinTS: LinTSConfig(),
    LogisticTS: None,
    SquareCB: None,
    NeuralEpsilonGreedy: NeuralEpsilonGreedyConfig(**SMALL),
    NeuralLinear: NeuralLinearConfig(**SMALL),
}
LINEAR = [cls for cls in CONFIGS if cls.linear]
every = pytest.mark.parametrize("cls", CONFIGS, ids=lambda cls: cls.__name__)
linear = pytest.mark.parametrize("cls", LINEAR, ids=lambda cls: cls.__name__)


class Arms(gym.Env):
    """Spaces alone; the tests pay the rewards."""

    def __init__(self, n_arms=3, shape=(2,)):
        self.observation_space = Box(-5, 5, shape, np.float32)
        self.action_space = Discrete(n_arms)


def made(cls, env=None, seed=0):
    return cls(env or Arms(), CONFIGS[cls], seed=seed)


def pay(x, arm):
    """1 where the arm suits the context, else 0."""
    return float(arm == (0 if x[0] > 0 else 1 if x[1] > 0 else 2))


def play(agent, contexts, mask=None):
    """Arms played in these contexts, learning from each."""
    arms = []
    for x in contexts:
        arm, extras = agent.act(x, mask, agent.rng)
        agent.observe(Transition(x, arm, pay(x, arm), x, False, False, extras=extras))
        arms.append(arm)
    return arms


def contexts(n, seed=0, d=2):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def chances(agent, x, mask=None):
    mask = None if mask is None else np.array([mask], bool)
    return agent.action_probabilities(x[None], deterministic=False, mask=mask)[0]


def run(rng, horizon=60):
    """Contexts and potential outcomes of a run."""
    x = rng.normal(size=(horizon, 2)).astype(np.float32).astype(np.float64)
    means = np.array([[pay(row, arm) for arm in range(3)] for row in x]) * 0.8 + 0.1
    rewards = (rng.random(means.shape) < means).astype(np.float64)
    return ContextualModel(contexts=x, means=means, rewards=rewards)


@linear
def test_compiled_runs_give_the_bits_of_the_plain_loop(cls):
    given = {"seed": 3, "runs": range(1, 4), "marks": [7]}
    fast = cls.run_contextual(run, **given)
    slow = plain_contextual_runs(lambda env: made(cls, env), run, **given)
    assert fast.compiled
    assert not slow.compiled
    for name in ("regret_at", "simple_regret_at", "reward_total", "regret_sum", "optimal_sum"):
        np.testing.assert_array_equal(getattr(fast, name), getattr(slow, name))
    assert fast.marks.tolist() == [7, 60]
    alone = cls.run_contextual(run, seed=3, runs=range(2, 3), marks=[7])
    np.testing.assert_array_equal(alone.regret_at[0], fast.regret_at[1])


def test_runs_without_contexts_meet_the_luck_of_all_policies():
    model = BanditModel(
        kind="gaussian", means=np.array([[0.2, 0.8]]), sd=np.full(2, 0.3), horizon=50
    )
    fast = LinTS.run_bandits(model, seed=1, runs=range(2))
    slow = plain_runs(lambda env: made(LinTS, env), model, seed=1, runs=range(2))
    np.testing.assert_array_equal(fast.regret_at, slow.regret_at)
    np.testing.assert_array_equal(fast.reward_total, slow.reward_total)


def test_runs_of_networks_are_plain():
    block = NeuralEpsilonGreedy.run_contextual(
        run, seed=0, runs=range(1), config=CONFIGS[NeuralEpsilonGreedy]
    )
    assert not block.compiled


def test_runs_refuse_rewards_outside_the_unit_interval():
    def twice(rng):
        model = run(rng)
        return ContextualModel(
            contexts=model.contexts, means=model.means, rewards=2 * model.rewards
        )

    with pytest.raises(InvalidObservationError, match=r"LogisticTS takes rewards in \[0, 1\]; the"):
        LogisticTS.run_contextual(twice, seed=0, runs=range(1))


def test_runs_of_one_block_have_one_shape():
    lengths = iter([20, 30])
    with pytest.raises(SettingError, match="the runs of one block must have one shape"):
        LinUCB.run_contextual(lambda rng: run(rng, next(lengths)), seed=0, runs=range(2))
    model = BanditModel(kind="bernoulli", means=np.array([[0.5]]), sd=np.zeros(1), horizon=9)
    with pytest.raises(SettingError, match="one model for each of the 2 runs, got 1"):
        LinUCB.run_bandits([model], seed=0, runs=range(2))


@every
def test_a_checkpoint_goes_on_bit_for_bit_for_1000_actions(cls, tmp_path):
    agent, x = made(cls), contexts(1_120)
    play(agent, x[:120])
    agent.save(tmp_path / "agent")
    other = cls.load(tmp_path / "agent")
    assert play(agent, x[120:]) == play(other, x[120:])
    for name, array in agent.saved().items():
        np.testing.assert_array_equal(array, other.saved()[name], err_msg=name)


@every
def test_arms_can_be_added_and_masked_after_loading(cls, tmp_path):
    agent, x = made(cls), contexts(80)
    play(agent, x)
    before = agent.model.values(agent.context(x[0])).copy()
    agent.save(tmp_path / "agent")
    other = cls.load(tmp_path / "agent")
    assert other.add_arm() == 3
    np.testing.assert_allclose(other.model.values(x[0].astype(float))[:3], before, rtol=1e-6)
    mask = np.array([0, 1, 0, 1], np.int8)
    assert set(play(other, x, mask)) <= {1, 3}
    p = chances(other, x[0], mask)
    assert p[[0, 2]].tolist() == [0.0, 0.0]
    assert p.sum() == pytest.approx(1.0)
    other.save(tmp_path / "again")
    assert cls.load(tmp_path / "again").n_arms == 4


@every
def test_the_seed_seeds_the_draws(cls):
    """Other seeds, other draws; the same seed, the same ones."""
    x = contexts(60)
    arms = [play(made(cls, seed=seed), x) for seed in (0, 0, 1)]
    assert arms[0] == arms[1]
    assert arms[0] != arms[2]


@pytest.mark.parametrize("cls", [LinTS, LogisticTS, SquareCB, NeuralLinear, NeuralEpsilonGreedy])
def test_chances_are_those_of_the_arms_before_any_draw(cls):
    """Marginal, not 0 and 1 given the draw: frequencies of 3,000 arms agree, 4.5 errors each."""
    agent, x = made(cls), contexts(12)
    play(agent, x)
    for mask in (None, np.array([True, False, True])):
        p, n = chances(agent, x[0], mask), 3_000
        rng = np.random.default_rng(1)
        counts = np.bincount([agent.act(x[0], mask, rng)[0] for _ in range(n)], minlength=3)
        assert np.all(np.abs(counts / n - p) <= 4.5 * np.sqrt(p * (1 - p) / n) + 1e-9)
        assert p.max() < 1.0


@every
def test_logs_hold_the_chance_of_the_arm_taken(cls):
    agent, x = made(cls), contexts(30)
    agent.logs = True
    for row in x:
        p = chances(agent, row)
        arm, extras = agent.act(row, None, agent.rng)
        assert extras["probability"] == p[arm] > 0.0
        agent.observe(Transition(row, arm, 1.0, row, False, False, extras=extras))


@pytest.mark.parametrize("cls", [LinUCB, LinTS, SquareCB])
def test_late_rewards_in_any_order_come_to_the_same(cls, tmp_path):
    agent, prompt, x = made(cls), made(cls), contexts(20)
    decided = [agent.decide(row) for row in x]
    agent.save(tmp_path / "agent")
    agent = cls.load(tmp_path / "agent")  # what waits is saved
    for k in np.random.default_rng(0).permutation(20).tolist():
        agent.feedback(decided[k][0], pay(x[k], decided[k][1]))
    for row, (_, arm) in zip(x, decided, strict=True):
        prompt.observe(Transition(row, arm, pay(row, arm), row, False, False))
    np.testing.assert_allclose(agent.theta, prompt.theta, atol=1e-12)
    with pytest.raises(InvalidObservationError, match="no decision 0 waits"):
        agent.feedback(0, 1.0)


@every
def test_it_learns_which_arm_suits_a_context(cls):
    agent = made(cls)
    play(agent, contexts(600))
    x = contexts(100, seed=9)
    believed = agent.predict(x, deterministic=True)[0]
    assert np.mean([pay(*pair) for pair in zip(x, believed, strict=True)]) > 0.7


@every
@pytest.mark.parametrize("bad", [[np.nan, 0.0], [np.inf, 0.0], [1.0], [1.0, 2.0, 3.0]])
def test_a_context_that_is_none_is_refused(cls, bad):
    with pytest.raises(InvalidObservationError, match="a context is 2 finite numbers, got"):
        made(cls).act(np.array(bad), None, np.random.default_rng(0))


@every
def test_arms_and_rewards_that_are_none_are_refused(cls):
    agent, x = made(cls), contexts(1)[0]
    with pytest.raises(InvalidActionError, match="has the arms 0 to 2, got 3"):
        agent.observe(Transition(x, 3, 1.0, x, False, False))
    with pytest.raises(InvalidObservationError, match=r"not finite|takes rewards in \[0, 1\]"):
        agent.observe(Transition(x, 1, float("nan"), x, False, False))


@every
def test_features_of_very_different_sizes_are_warned_of_once(cls):
    agent, x = made(cls), contexts(150)
    x[:, 1] *= 1e-4
    with pytest.warns(UserWarning, match=f"{cls.__name__}: the features of the contexts have siz"):
        play(agent, x[:100])
    play(agent, x[100:])


def test_compiled_runs_warn_of_large_features():
    def large(rng):
        model = run(rng, 100)
        scaled = 500.0 * model.contexts
        return ContextualModel(contexts=scaled, means=model.means, rewards=model.rewards)

    with pytest.warns(UserWarning, match="bring them to about 1"):
        LinUCB.run_contextual(large, seed=0, runs=range(1))


def test_without_a_ridge_there_is_no_belief_about_what_was_not_seen():
    for config in (LinUCBConfig, LinTSConfig):
        with pytest.raises(SettingError, match=r"lambda_ must be a number in \(0, inf\), got 0"):
            config(lambda_=0)


def test_a_shared_model_learns_from_all_arms():
    """One θ: what arm 0 paid tells what arm 2, with the same features, will pay."""
    env, rows = Arms(3, (3, 2)), np.array([[1, 0], [0, 1], [1, 0]], np.float32)
    config = LinUCBConfig(model="shared", alpha=0.0, intercept=False)
    agent = LinUCB(env, config, seed=0)
    for _ in range(9):
        agent.observe(Transition(rows, 0, 1.0, rows, False, False))
    np.testing.assert_allclose(agent.model.values(agent.context(rows)), [0.9, 0.0, 0.9])
    np.testing.assert_array_equal(chances(agent, rows), [0.5, 0.0, 0.5])
    assert agent.act(rows, np.array([0, 0, 1]), agent.rng)[0] == 2
    assert agent.add_arm(Arms(4, (4, 2))) == 3
    more = np.concatenate([rows, [[2, 0]]]).astype(np.float32)
    np.testing.assert_array_equal(chances(agent, more), [0, 0, 0, 1])


def test_a_shared_model_on_arms_with_features_of_their_own(tmp_path):
    """In 300 decisions among 20 arms one θ loses less than half of what 20 of them lose."""
    problem = "rlsuite/ContextualBandit-v0", {"features": "arms", "n_arms": 20, "horizon": 300}
    linucb = "rlsuite/LinUCB-v0"
    policies = {"shared": (linucb, {"model": "shared"}), "disjoint": linucb}
    result = rlsuite.study(problem, policies=policies, runs=5, store=tmp_path / "s.sqlite")
    assert [figures.block.compiled for figures in result.policies] == [False, True]
    shared, disjoint = (figures.block.regret_at[:, -1] for figures in result.policies)
    assert shared.max() < 0.5 * disjoint.min()
    env = gym.make(problem[0], **problem[1])
    agent = LinUCB(env, LinUCBConfig(model="shared", intercept=False), seed=0).learn(300)
    np.testing.assert_allclose(agent.theta, env.unwrapped.theta, atol=0.3)


def test_a_shared_model_wants_a_row_for_each_arm():
    with pytest.raises(UnsupportedSpaceError, match=r"a row for each of the 3 arms, got \(2,\)"):
        LinUCB(Arms(), LinUCBConfig(model="shared"), seed=0)
