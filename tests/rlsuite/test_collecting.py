"""Collected data are what the environment did, episode by episode, with the policy's own odds."""

from __future__ import annotations

import itertools

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Discrete, MultiBinary
from gymnasium.wrappers import TimeLimit

import rlsuite
from registry.seeding import Stream, integer_seed
from rlsuite.testing.sanity import Walk, limited

CLIFF = "rlsuite/CliffWalk-v0"


def random_in(env):
    return rlsuite.make_agent("rlsuite/Random-v0", env)


class Right:
    """Only predict, always action 2."""

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return np.int64(2), state


class Back:
    """Pushes against the first number of the state."""

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return -0.3 * np.sign(observation[:1]), state


class Shifted(gym.Env):
    """States 5 ... 7 and actions 3, 4: spaces that do not count from 0. Action 4 moves on."""

    observation_space, action_space = Discrete(3, start=5), Discrete(2, start=3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.s = 5
        return np.int64(self.s), {}

    def step(self, action):
        self.s += int(action == 4)
        return np.int64(self.s), 0.1, self.s == 7, False, {}


class Uneven:
    """π(3) = 0.25, π(4) = 0.75 in every state."""

    def action_probabilities(self, observations, *, deterministic, mask=None):
        assert not deterministic
        return np.tile([0.25, 0.75], (len(observations), 1))

    predict = None


@pytest.mark.parametrize("name", [CLIFF, "Taxi-v4", "rlsuite/LQR-v0"])
def test_replaying_the_actions_gives_the_data_again(name):
    env = gym.make(name)
    policy = random_in(env) if isinstance(env.action_space, Discrete) else Back()
    data = rlsuite.collect(policy, name, episodes=3, seed=5)
    root = integer_seed(5, Stream.DATA)
    starts = [0, *(np.flatnonzero(data.ends) + 1).tolist()]
    assert len(starts) == 4
    assert starts[-1] == len(data)
    for k, (first, last) in enumerate(itertools.pairwise(starts)):
        now, _ = env.reset(seed=integer_seed(root, Stream.EVALUATION, k))
        for i in range(first, last):
            np.testing.assert_array_equal(data.observation[i], now)
            now, reward, terminated, truncated, info = env.step(data.action[i])
            np.testing.assert_array_equal(data.next_observation[i], now)
            assert data.reward[i] == reward
            assert (data.terminated[i], data.truncated[i]) == (terminated, truncated)
            if data.next_mask is not None and not terminated:
                np.testing.assert_array_equal(data.next_mask[i], info["action_mask"].astype(bool))
    data.check_spaces(env.observation_space, env.action_space)
    assert (data.next_mask is not None) == (name == "Taxi-v4")


def test_steps_are_the_beginning_of_more_steps_and_the_last_one_is_cut_off():
    env = gym.make(CLIFF)
    long, short = (rlsuite.collect(random_in(env), CLIFF, steps=n) for n in (90, 40))
    assert (len(long), len(short)) == (90, 40)
    for name, array in long.first(40).arrays().items():
        if name != "truncated":
            np.testing.assert_array_equal(short.arrays()[name], array)
    assert short.truncated[-1]
    assert not short.terminated[-1]
    assert short.truncated[:-1].sum() == long.truncated[:39].sum()


def test_seeds_and_policies_of_their_own():
    env = gym.make(CLIFF)
    one, same, other = (rlsuite.collect(random_in(env), CLIFF, steps=50, seed=s) for s in (1, 1, 2))
    assert one.digest() == same.digest() != other.digest()
    state = np.random.get_state()[1].copy()  # noqa: NPY002 - to see that it stays
    rlsuite.collect(Right(), limited(Walk()), steps=5)
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002


def test_probabilities_are_those_of_the_behaviour():
    shifted = TimeLimit(Shifted(), 9)
    data = rlsuite.collect(Uneven(), shifted, steps=4_000)
    assert data.observation.min() == 5
    assert set(data.action.tolist()) == {3, 4}
    np.testing.assert_allclose(data.probability, np.where(data.action == 4, 0.75, 0.25))
    mixed = rlsuite.collect(Uneven(), shifted, steps=4_000, epsilon=0.6)
    np.testing.assert_allclose(mixed.probability, np.where(mixed.action == 4, 0.6, 0.4))
    for found, p in ((data, 0.75), (mixed, 0.6)):  # 4 standard errors of 4,000 draws
        assert abs((found.action == 4).mean() - p) < 4 * np.sqrt(p * (1 - p) / 4_000)


def test_epsilon_keeps_to_the_mask():
    walk = limited(Walk(masked=True))
    data = rlsuite.collect(random_in(limited(Walk())), walk, steps=500, epsilon=1.0)
    assert walk.unwrapped.violations == 0
    at_left = data.observation == 0
    np.testing.assert_allclose(data.probability[at_left], 1 / 2)
    np.testing.assert_allclose(data.probability[~at_left], 1 / 3)
    going = ~data.terminated
    np.testing.assert_array_equal(data.next_mask[going, 0], data.next_observation[going] > 0)


def test_greedy_data_have_probability_one():
    env = gym.make(CLIFF)
    agent = rlsuite.make_agent("rlsuite/QLearning-v0", env).learn(100)
    data = rlsuite.collect(agent, CLIFF, steps=30, deterministic=True)
    assert (data.probability == 1.0).all()
    half = rlsuite.collect(agent, CLIFF, steps=200, deterministic=True, epsilon=0.5)
    assert set(np.round(half.probability, 9)) == {0.125, 0.625}


def test_only_predict_tells_no_probability_and_long_episodes_are_cut_off():
    data = rlsuite.collect(Right(), Walk(), episodes=2, max_steps=2)
    assert data.probability is None
    assert data.truncated.tolist() == [False, True, False, True]
    assert not data.terminated.any()


def test_a_policy_that_looks_at_the_clock_is_played_with_it():
    env = gym.make(CLIFF)
    plan = rlsuite.make_agent("rlsuite/ValueIteration-v0", env).learn(100)
    data = rlsuite.collect(plan, CLIFF, episodes=2)
    assert data.reward.sum() == 2 * -13
    assert data.probability is None


def test_where_the_data_come_from():
    env = gym.make("rlsuite/GridWorld-v0", slip=0.2)
    about = rlsuite.collect(random_in(env), env, steps=3, seed=4, about={"why": "a test"}).about
    assert about["environment"]["id"] == "rlsuite/GridWorld-v0"
    assert about["environment"]["kwargs"]["slip"] == 0.2
    assert (about["policy"], about["seed"], about["why"]) == ("Random", 4, "a test")
    assert (about["epsilon"], about["deterministic"]) == (0.0, False)
    bare = rlsuite.collect(Right(), Walk(), steps=1).about["environment"]
    assert bare == {"class": "Walk"}


@pytest.mark.parametrize(
    ("keywords", "sentence"),
    [
        ({}, r"either steps or episodes, got steps=None, episodes=None"),
        ({"steps": 1, "episodes": 1}, r"either steps or episodes, got steps=1, episodes=1"),
        ({"steps": 0}, r"steps must be a whole number of at least 1, got 0"),
        ({"episodes": 1.5}, r"episodes must be a whole number of at least 1, got 1.5"),
        ({"steps": 1, "max_steps": 0}, r"max_steps must be a whole number"),
        ({"steps": 1, "epsilon": 1.5}, r"epsilon must be a number in \[0, 1\], got 1.5"),
        ({"steps": 1, "epsilon": "a"}, r"epsilon must be a number in \[0, 1\], got 'a'"),
        ({"steps": 1, "epsilon": 0.5}, r"epsilon=0.5 is mixed into .* which Right does not have"),
        ({"steps": 1, "seed": -1}, r"a seed is a whole number"),
    ],
)
def test_what_is_refused(keywords, sentence):
    with pytest.raises(rlsuite.SettingError, match=sentence):
        rlsuite.collect(Right(), Walk(), **keywords)


def test_spaces_that_are_no_numbers_are_refused():
    with pytest.raises(rlsuite.SettingError, match=r"hold observations of Discrete and Box, got D"):
        rlsuite.collect(Right(), limited(Walk("Dict")), steps=1)
    env = Walk()
    env.action_space = MultiBinary(2)
    with pytest.raises(rlsuite.SettingError, match=r"hold actions of Discrete and Box, got Multi"):
        rlsuite.collect(Right(), env, steps=1)
