"""DeepSea: bsuite's task, with closed forms for what is best in it."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import rlsuite  # noqa: F401  registers the ids
from registry.errors import SettingError
from rlsuite_envs.tabular.deep_sea import DeepSea

LEFT, RIGHT = range(2)
KEYWORDS = [{}, {"size": 3, "stochastic": True}, {"size": 2, "mapping_seed": None}]


def make(**keywords):
    return gym.make("rlsuite/DeepSea-v0", **keywords)


def actions_of(env, right):
    """[S, 2]: the policy that goes right everywhere, or left everywhere."""
    n = env.size
    pi = np.full(((n + 1) ** 2, 2), 0.5)
    for row in range(n):
        for column in range(row + 1):
            pi[row * (n + 1) + column] = np.eye(2)[env._right[row, column] ^ (not right)]
    return pi


def test_a_dive_by_hand():
    env = make(size=3, mapping_seed=None, move_cost=0.3)
    assert env.reset(seed=0) == (0, {"prob": 1.0})
    steps = [env.step(RIGHT) for _ in range(3)]
    assert [step[0] for step in steps] == [5, 10, 15]
    assert [step[1] for step in steps] == pytest.approx([-0.1, -0.1, 0.9])
    assert [step[2] for step in steps] == [False, False, True]
    env.reset()
    steps = [env.step(action) for action in (RIGHT, LEFT, LEFT)]
    assert [step[0] for step in steps] == [5, 8, 12]
    assert [step[1] for step in steps] == pytest.approx([-0.1, 0.0, 0.0])
    assert steps[-1][2] is True


def test_actions_mean_what_the_seed_says():
    env = DeepSea(size=4, mapping_seed=11)
    meaning = np.random.default_rng(11).random(16).reshape(4, 4) >= 0.5
    for row in range(4):
        for column in range(row + 1):
            cell, below = row * 5 + column, (row + 1) * 5
            right, left = below + column + 1, below + max(column - 1, 0)
            wanted = [left, right] if meaning[row, column] else [right, left]
            assert env.model.next_state[cell, :, 0].tolist() == wanted


@pytest.mark.parametrize("size", [1, 2, 5, 10, 20])
def test_the_optimum_is_099_and_chance_finds_one_dive_in_2_to_the_n(size):
    oracle = make(size=size).unwrapped.oracle()
    assert oracle.optimal_return == pytest.approx(0.99, abs=1e-12)
    # half of the N steps cost 0.01 / N each
    assert oracle.baseline_return == pytest.approx(0.5**size - 0.005, abs=1e-12)
    env = DeepSea(size=size)
    assert oracle.policy_return(actions_of(env, right=True)) == pytest.approx(0.99)
    assert oracle.policy_return(actions_of(env, right=False)) == 0.0


@pytest.mark.parametrize("size", [2, 5, 10, 20])
def test_closed_forms_of_the_stochastic_sea(size):
    """Right all the way has the return that bsuite takes for the best one. To turn left after the
    first step that went astray is better, as no further steps are paid for."""
    env, p = DeepSea(size=size, stochastic=True), 1 - 1 / size
    oracle = env.oracle(limit=False)
    right = oracle.policy_return(actions_of(env, right=True))
    assert right == pytest.approx(p ** (size - 1) - 0.01, abs=1e-12)
    paid = 0.01 / size * sum(p**t for t in range(size))
    assert oracle.optimal_return == pytest.approx(p ** (size - 1) - paid, abs=1e-12)
    assert oracle.optimal_return > right


def test_the_stochastic_table_by_hand():
    """The last row of size 2: corners pay one more or less; the treasure is never missed."""
    model = DeepSea(size=2, stochastic=True, mapping_seed=None).model
    outcomes = {}
    for s, a in ((0, RIGHT), (0, LEFT), (3, RIGHT), (4, LEFT), (4, RIGHT)):
        k = np.flatnonzero(model.probability[s, a])
        columns = (model.probability, model.next_state, model.reward, model.terminal)
        outcomes[s, a] = sorted(zip(*(c[s, a, k].tolist() for c in columns), strict=True))
    cost = 0.005
    assert outcomes[0, RIGHT] == [(0.5, 3, -cost, False), (0.5, 4, -cost, False)]
    assert outcomes[0, LEFT] == [(1.0, 3, 0.0, False)]
    assert outcomes[3, RIGHT] == [
        (0.25, 6, -1 - cost, True),
        (0.25, 6, 1 - cost, True),
        (0.25, 7, -1 - cost, True),
        (0.25, 7, 1 - cost, True),
    ]
    assert outcomes[4, LEFT] == [(0.5, 6, -1.0, True), (0.5, 6, 1.0, True)]
    assert outcomes[4, RIGHT] == [(0.5, 8, 1 - cost - 1, True), (0.5, 8, 1 - cost + 1, True)]


def test_cells_that_cannot_be_reached_are_not_drawn():
    env = make(size=3, render_mode="ansi")
    env.reset(seed=0)
    assert env.render() == "[S]\n .  .\n .  .  .\n #  #  #  G\nstep 0\n"


@pytest.mark.parametrize("keywords", KEYWORDS)
def test_both_checkers_have_nothing_to_say(keywords):
    """Warnings are errors here."""
    from stable_baselines3.common.env_checker import check_env as sb3_check_env

    check_env(make(**keywords).unwrapped)
    sb3_check_env(make(**keywords))


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"size": 0}, "size must be a whole number of at least 1"),
        ({"stochastic": "yes"}, "stochastic must be True or False"),
        ({"mapping_seed": -2}, "mapping_seed must be a whole number of at least 0"),
        ({"move_cost": -0.1}, "move_cost must be a finite number of at least 0"),
    ],
)
def test_keywords_outside_their_range_are_refused(keywords, message):
    with pytest.raises(SettingError, match=message):
        DeepSea(**keywords)
