"""The Bernoulli bandit: its draws, its arms, its clock, its answer key."""

from __future__ import annotations

import json
import re

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from hypothesis import given
from hypothesis import strategies as st

import rlsuite  # noqa: F401  registers the ids
from registry.contracts import HasOracle
from registry.errors import InvalidActionError, OracleError, SettingError
from rlsuite_envs.bandits.bernoulli import BernoulliBandit


def play(env, steps, seed=None, arm=None):
    """The rewards of `steps` steps, arms in turn or always `arm`."""
    env.reset(seed=seed)
    n = env.action_space.n
    return [env.step(t % n if arm is None else arm)[1] for t in range(steps)]


def test_a_step_is_one_uniform_below_the_mean():
    env = BernoulliBandit()
    rewards = play(env, 50, seed=7)
    u = np.random.Generator(np.random.PCG64(7)).random(50)
    means = [0.1, 0.3, 0.5, 0.7, 0.9] * 10
    assert rewards == [float(x < mean) for x, mean in zip(u, means, strict=True)]


@pytest.mark.parametrize("steps", [0, 1, 137])
def test_no_other_draw_is_made(steps):
    env = BernoulliBandit()
    play(env, steps, seed=11)
    env.reset()
    expected = np.random.Generator(np.random.PCG64(11))
    expected.random(steps)
    assert env.np_random.bit_generator.state == expected.bit_generator.state


def test_the_first_step_by_hand():
    env = BernoulliBandit(means=[0.25, 1.0, 0.0])
    observation, info = env.reset(seed=0)
    assert observation.dtype == np.float32
    assert observation.tolist() == [1.0]
    assert info == {}
    observation, reward, terminated, truncated, info = env.step(1)
    assert observation.tolist() == [1.0]
    assert (reward, terminated, truncated) == (1.0, False, False)
    assert info == {"regret": 0.0, "expected_reward": 1.0, "optimal_action": 1}
    _, reward, _, _, info = env.step(2)
    assert reward == 0.0  # u < 0 never holds
    assert info == {"regret": 1.0, "expected_reward": 0.0, "optimal_action": 1}
    assert [type(value) for value in info.values()] == [float, float, int]


def test_the_lowest_of_several_best_arms_is_named():
    env = BernoulliBandit(means=(0.2, 0.6, 0.6))
    env.reset(seed=0)
    *_, info = env.step(2)
    assert info["optimal_action"] == 1
    assert info["regret"] == 0.0


@pytest.mark.parametrize(("keywords", "length"), [({}, 500), ({"horizon": 7}, 7)])
def test_the_horizon_truncates_and_nothing_terminates(keywords, length):
    env = gym.make("rlsuite/BernoulliBandit-v0", **keywords)
    for _ in range(2):
        env.reset(seed=1)
        ends = [env.step(0)[2:4] for _ in range(length)]
        assert ends == [(False, False)] * (length - 1) + [(False, True)]


def test_a_limit_around_the_environment_shortens_it():
    env = gym.make("rlsuite/BernoulliBandit-v0", max_episode_steps=20)
    env.reset(seed=1)
    assert [env.step(0)[3] for _ in range(20)] == [False] * 19 + [True]
    assert env.unwrapped.oracle(horizon=env.spec.max_episode_steps).optimal_return == 18.0
    assert env.unwrapped.oracle(horizon=10_000).optimal_return == 450.0
    assert gym.make("rlsuite/BernoulliBandit-v0").spec.max_episode_steps is None


def test_known_answers():
    oracle = gym.make("rlsuite/BernoulliBandit-v0").unwrapped.oracle()
    assert oracle.optimal_return == 450.0
    assert oracle.baseline_return == 250.0
    assert oracle.regret_per_step() == pytest.approx(0.4, abs=1e-15)
    assert oracle.lai_robbins == pytest.approx(3.120793951600, abs=1e-12)
    assert oracle.scope == "task"
    np.testing.assert_array_equal(oracle.means, [[0.1, 0.3, 0.5, 0.7, 0.9]])
    np.testing.assert_array_equal(oracle.observations(), np.ones((1, 1), np.float32))
    assert isinstance(BernoulliBandit(), HasOracle)


def test_low_means_scenario():
    """The low-mean arms of Garivier & Cappé (2011)."""
    oracle = BernoulliBandit([0.1] + [0.05] * 3 + [0.02] * 3 + [0.01] * 3).oracle()
    assert oracle.regret_per_step() == pytest.approx(0.1 - 0.034, abs=1e-15)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.integers(1, 40))
def test_summed_regret_and_oracle_agree(means, horizon):
    """Pulling arm 0 throughout: the regrets told in `info` add up to J* - J(arm 0)."""
    env = BernoulliBandit(means, horizon=horizon)
    env.reset(seed=0)
    total = sum(env.step(0)[4]["regret"] for _ in range(horizon))
    oracle = env.oracle()
    arm_0 = np.eye(len(means))[:1]
    assert total == pytest.approx(oracle.optimal_return - oracle.policy_return(arm_0), abs=1e-11)


def test_observations_are_fresh():
    env = BernoulliBandit()
    first, _ = env.reset(seed=0)
    first[:] = 9
    assert env.step(0)[0].tolist() == [1.0]
    assert env.oracle().observations().tolist() == [[1.0]]


class TestArmsFromAPrior:
    def test_they_are_beta_draws_at_the_seeded_reset(self):
        env = BernoulliBandit(n_arms=3, prior=(2.0, 5.0))
        _, info = env.reset(seed=5)
        rng = np.random.Generator(np.random.PCG64(5))
        arms = [rng.beta(2.0, 5.0) for _ in range(3)]
        assert info == {"new_instance": True}
        assert env.oracle().means.tolist() == [arms]
        assert env.np_random.bit_generator.state == rng.bit_generator.state

    def test_the_default_prior_is_flat(self):
        flat, default = BernoulliBandit(n_arms=4, prior=(1, 1)), BernoulliBandit(n_arms=4)
        flat.reset(seed=2)
        default.reset(seed=2)
        np.testing.assert_array_equal(flat.oracle().means, default.oracle().means)

    def test_an_unseeded_reset_keeps_them(self):
        env = BernoulliBandit(n_arms=3)
        assert env.reset()[1] == {"new_instance": True}  # the very first draws, seed or not
        arms = env.oracle().means
        assert env.reset()[1] == {"new_instance": False}
        np.testing.assert_array_equal(env.oracle().means, arms)
        assert env.reset(seed=1)[1] == {"new_instance": True}
        assert not np.array_equal(env.oracle().means, arms)

    def test_an_unseeded_reset_that_keeps_them_draws_nothing(self):
        env = BernoulliBandit(n_arms=3)
        env.reset(seed=1)
        before = env.np_random.bit_generator.state
        env.reset()
        assert env.np_random.bit_generator.state == before

    def test_redraw_each_episode(self):
        env = BernoulliBandit(n_arms=3, redraw="episode")
        seen = []
        for seed in (4, None, None):
            assert env.reset(seed=seed)[1] == {"new_instance": True}
            seen.append(tuple(env.oracle().means[0]))
        assert len(set(seen)) == 3

    def test_the_answer_key_is_for_these_arms_alone(self):
        env = BernoulliBandit(n_arms=3, horizon=10)
        env.reset(seed=0)
        oracle = env.oracle()
        assert oracle.scope == "instance"
        assert oracle.optimal_return == pytest.approx(10 * oracle.means.max(), abs=1e-12)

    def test_before_the_first_reset_there_is_none(self):
        env = BernoulliBandit(n_arms=3)
        with pytest.raises(OracleError, match="no answer key before it: call reset"):
            env.oracle()
        with pytest.raises(ResetNeeded, match="call reset\\(\\) before step"):
            env.step(0)

    @pytest.mark.parametrize("prior", [(1e-6, 1e-6), (1e6, 1e6), (1e-6, 1e6)])
    def test_the_ends_of_the_range_give_probabilities(self, prior):
        env = BernoulliBandit(n_arms=200, prior=prior)
        env.reset(seed=0)
        means = env.oracle().means
        assert np.all((means >= 0) & (means <= 1))


@pytest.mark.parametrize(
    ("keywords", "sentence"),
    [
        ({"means": []}, "means must be a sequence of at least one probability in [0, 1], got []"),
        ({"means": [0.5, 1.5]}, "in [0, 1], got 1.5"),
        ({"means": [0.5, float("nan")]}, "in [0, 1], got nan"),
        ({"means": "0.5"}, "in [0, 1], got '0.5'"),
        ({"means": 0.5}, "in [0, 1], got 0.5"),
        ({"means": [[0.5]]}, "in [0, 1], got [0.5]"),
        ({"n_arms": 0}, "n_arms must be a whole number of at least 1, got 0"),
        ({"n_arms": 2.0}, "n_arms must be a whole number of at least 1, got 2.0"),
        ({"n_arms": 2, "prior": (0.0, 1.0)}, "two numbers from 1e-6 to 1e6"),
        ({"n_arms": 2, "prior": (1.0,)}, "two numbers from 1e-6 to 1e6"),
        ({"n_arms": 2, "prior": ()}, "two numbers from 1e-6 to 1e6"),
        ({"n_arms": 2, "prior": "ab"}, "two numbers from 1e-6 to 1e6"),
        ({"n_arms": 2, "redraw": "always"}, "redraw must be 'seed' or 'episode', got 'always'"),
        ({"n_arms": 2, "means": [0.5]}, "give means or n_arms, not both"),
        ({"prior": (1.0, 1.0)}, "prior needs n_arms"),
        ({"redraw": "episode"}, "redraw='episode' needs n_arms"),
        ({"horizon": 0}, "horizon must be a whole number of at least 1, got 0"),
    ],
)
def test_bad_keywords_get_a_sentence(keywords, sentence):
    with pytest.raises(SettingError, match=re.escape(sentence)):
        BernoulliBandit(**keywords)


def test_an_unknown_keyword_is_a_type_error():
    with pytest.raises(TypeError, match="unexpected keyword argument 'arms'"):
        BernoulliBandit(arms=3)


@pytest.mark.parametrize("horizon", [0, 1.5])
def test_bad_horizon_of_the_oracle(horizon):
    with pytest.raises(SettingError, match="horizon must be a whole number of at least 1"):
        BernoulliBandit().oracle(horizon=horizon)


def test_a_refused_action_changes_nothing():
    env = BernoulliBandit()
    env.reset(seed=0)
    before = env.get_state()
    with pytest.raises(InvalidActionError, match="action 5 is not in the action space"):
        env.step(5)
    assert env.get_state() == before


class TestState:
    @pytest.mark.parametrize("keywords", [{}, {"n_arms": 4}, {"n_arms": 4, "redraw": "episode"}])
    def test_goes_on_identically(self, keywords):
        env, twin = BernoulliBandit(**keywords), BernoulliBandit(**keywords)
        play(env, 33, seed=9)
        twin.set_state(json.loads(json.dumps(env.get_state())))
        for _ in range(2):
            for t in range(40):
                left, right = env.step(t % 4), twin.step(t % 4)
                assert left[1:] == right[1:]
            assert env.reset()[1] == twin.reset()[1]
        assert env.get_state() == twin.get_state()

    def test_the_clock_goes_on(self):
        env, twin = BernoulliBandit(horizon=10), BernoulliBandit(horizon=10)
        play(env, 9, seed=0)
        twin.set_state(env.get_state())
        assert twin.step(0)[3] is True

    def test_before_the_first_reset(self):
        env, twin = BernoulliBandit(n_arms=2), BernoulliBandit(n_arms=2)
        twin.set_state(env.get_state())
        assert env.reset() == twin.reset()
        assert env.get_state() == twin.get_state()

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ({"t": -1}, "'t' must be a whole number of at least 0, got -1"),
            ({"means": [0.5]}, "the state has 1 arms, this environment has 5"),
            ({"means": [2.0] * 5}, "'means' must be a sequence of at least one probability"),
            ({"rng": {}}, "'rng' must be the state of a PCG64 generator"),
            ({"context": 3}, "a dictionary with the keys means, rng, t"),
        ],
    )
    def test_a_bad_state_is_refused_and_changes_nothing(self, change, sentence):
        env = BernoulliBandit()
        env.reset(seed=0)
        before = env.get_state()
        with pytest.raises(SettingError, match=re.escape(sentence)):
            env.set_state({**before, **change})
        assert env.get_state() == before


def test_rewards_have_the_means_they_claim():
    """Each arm 20,000 times: the sample mean lies within 4 standard errors of μ."""
    env = BernoulliBandit(horizon=20_000)
    for arm, mean in enumerate((0.1, 0.3, 0.5, 0.7, 0.9)):
        rewards = play(env, 20_000, seed=arm, arm=arm)
        assert abs(np.mean(rewards) - mean) <= 4 * np.sqrt(mean * (1 - mean) / 20_000)


@pytest.mark.slow
def test_policy_return_agrees_with_sampled_episodes():
    """A random policy, 10^5 episodes of 5 steps: within 4 standard errors of `policy_return`."""
    env = BernoulliBandit(horizon=5)
    rng = np.random.default_rng(0)
    pi = rng.dirichlet(np.ones(5))
    actions = rng.choice(5, size=(100_000, 5), p=pi)
    env.reset(seed=1)
    returns = np.empty(len(actions))
    for k, row in enumerate(actions.tolist()):
        env.reset()
        returns[k] = sum(env.step(a)[1] for a in row)
    exact = env.oracle().policy_return(pi[None])
    assert abs(returns.mean() - exact) <= 4 * returns.std(ddof=1) / np.sqrt(len(returns))
