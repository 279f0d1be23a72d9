"""RandomWalk: Examples 6.2 and 7.1, whose values are on a straight line."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

import rlsuite  # noqa: F401  registers the ids
from registry.errors import SettingError
from rlsuite_envs.tabular.random_walk import RandomWalk

KEYWORDS = [{}, {"states": 5, "left_reward": 0.0}, {"states": 1}]


def make(**keywords):
    return gym.make("rlsuite/RandomWalk-v0", **keywords)


def values(env, **keywords):
    oracle = env.unwrapped.oracle(**keywords)
    return oracle.policy_values(np.ones((env.observation_space.n, 1)))[1:-1]


def test_values_of_the_book():
    """Example 6.2: 1/6 to 5/6. Example 7.1: -9/10 to 9/10."""
    five = values(make(states=5, left_reward=0.0), limit=False)
    assert five == pytest.approx(np.arange(1, 6) / 6, abs=1e-12)
    nineteen = values(make(), limit=False)
    assert nineteen == pytest.approx(np.arange(-9, 10) / 10, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(1, 40),
    left=st.floats(-5, 5),
    right=st.floats(-5, 5),
)
def test_values_are_on_a_straight_line(n, left, right):
    env = RandomWalk(states=n, left_reward=left, right_reward=right)
    line = left + (right - left) * np.arange(1, n + 1) / (n + 1)
    assert values(env, limit=False) == pytest.approx(line, abs=1e-10)


def test_the_registered_limit_cuts_off_next_to_nothing():
    """The slowest mode of the walk decays as cos(pi / 20) each step; from the middle nothing is
    lost at all, as what is cut off is worth nothing there."""
    with_limit, without = values(make()), values(make(), limit=False)
    assert np.abs(with_limit - without).max() <= np.cos(np.pi / 20) ** 1000
    assert make().unwrapped.oracle().horizon == 1000


def test_a_walk_by_hand():
    """Left below a half, right else, off the ends with their rewards."""
    env = RandomWalk(states=3, left_reward=-2.0, right_reward=5.0)
    for seed in range(20):
        state, info = env.reset(seed=seed)
        assert (state, info) == (2, {"prob": 1.0})
        twin = np.random.default_rng(seed)
        twin.random()
        terminated = False
        while not terminated:
            state += 1 if twin.random() >= 0.5 else -1
            found, reward, terminated, truncated, info = env.step(0)
            assert found == state
            assert reward == {0: -2.0, 4: 5.0}.get(state, 0.0)
            assert terminated is (state in (0, 4))
            assert (truncated, info) == (False, {"prob": 0.5})


def test_the_start_is_the_middle():
    for n, start in ((1, 1), (2, 1), (5, 3), (19, 10)):
        assert RandomWalk(states=n).reset(seed=0)[0] == start


def test_there_is_nothing_to_decide():
    oracle = make().unwrapped.oracle()
    assert make().action_space.n == 1
    assert oracle.optimal_return == oracle.baseline_return
    assert RandomWalk().get_keys_to_action() == {("0",): 0}


def test_the_ends_are_told_apart():
    env = make(states=5, render_mode="ansi")
    env.reset(seed=0)
    assert env.render().splitlines()[0].split() == ["C", ".", ".", "[S]", ".", ".", "G"]


@pytest.mark.parametrize("keywords", KEYWORDS)
def test_both_checkers_have_nothing_to_say(keywords):
    """Warnings are errors here."""
    from stable_baselines3.common.env_checker import check_env as sb3_check_env

    check_env(make(**keywords).unwrapped)
    sb3_check_env(make(**keywords))


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"states": 0}, "states must be a whole number of at least 1"),
        ({"left_reward": float("nan")}, "left_reward must be a finite number"),
        ({"right_reward": float("inf")}, "right_reward must be a finite number"),
    ],
)
def test_keywords_outside_their_range_are_refused(keywords, message):
    with pytest.raises(SettingError, match=message):
        RandomWalk(**keywords)
