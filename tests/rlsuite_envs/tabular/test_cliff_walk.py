"""CliffWalk: Example 6.6, and Gymnasium's version of it as a twin."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import rlsuite  # noqa: F401  registers the ids
from registry.errors import SettingError
from rlsuite_envs.tabular.cliff_walk import CliffWalk
from rlsuite_envs.tabular.mdp import TabularMDP

UP, RIGHT, DOWN, LEFT = range(4)
EDGE = [UP, *[RIGHT] * 11, DOWN]


def make(**keywords):
    return gym.make("rlsuite/CliffWalk-v0", **keywords)


def policy_of(path, default=UP):
    """The deterministic policy that walks a path from the start and else goes up."""
    pi = np.zeros((48, 4))
    pi[:, default] = 1.0
    env = CliffWalk()
    state, _ = env.reset(seed=0)
    for action in path:
        pi[state] = np.eye(4)[action]
        state = env.step(action)[0]
    return pi


def test_the_edge_is_the_shortest_path():
    env = make()
    assert env.reset(seed=0) == (36, {"prob": 1.0})
    outcomes = [env.step(action) for action in EDGE]
    assert [outcome[0] for outcome in outcomes] == [*range(24, 36), 47]
    assert sum(outcome[1] for outcome in outcomes) == -13.0
    assert [outcome[2] for outcome in outcomes] == [False] * 12 + [True]


def test_the_cliff_costs_a_hundred_leads_back_and_ends_nothing():
    env = make()
    env.reset(seed=0)
    assert env.step(RIGHT) == (36, -100.0, False, False, {"prob": 1.0})
    env.step(UP)
    env.step(RIGHT)
    assert env.step(DOWN) == (36, -100.0, False, False, {"prob": 1.0})


def test_known_answers():
    oracle = make().unwrapped.oracle()
    assert (oracle.horizon, oracle.scope, oracle.provenance) == (200, "task", "exact")
    assert oracle.optimal_return == -13.0
    assert oracle.best_stationary_return is None
    assert oracle.policy_return(policy_of(EDGE)) == -13.0
    top = [UP] * 3 + [RIGHT] * 11 + [DOWN] * 3
    assert oracle.policy_return(policy_of(top)) == -17.0
    # up for ever: 200 steps within the limit, and without it there is no end
    assert oracle.policy_return(policy_of([])) == -200.0
    assert make().unwrapped.oracle(limit=False).policy_return(policy_of([])) == -np.inf


@pytest.mark.parametrize(
    ("slip", "twin"), [(0.0, "CliffWalking-v1"), (2 / 3, "CliffWalkingSlippery-v1")]
)
def test_gymnasiums_version_is_the_same_task(slip, twin):
    """Its slippery form goes a third each way, so its slip is two thirds."""
    ours = CliffWalk(slip=slip).model
    theirs = TabularMDP.from_gymnasium(gym.make(twin))
    for horizon in (1, 20, 200, None):
        one, other = ours.oracle(horizon), theirs.oracle(horizon)
        assert one.optimal_return == pytest.approx(other.optimal_return, rel=1e-10)
        assert one.baseline_return == pytest.approx(other.baseline_return, rel=1e-9)
    pi = np.random.default_rng(0).dirichlet(np.ones(4), size=48)
    assert ours.oracle(50).policy_return(pi) == pytest.approx(theirs.oracle(50).policy_return(pi))


def test_more_slip_costs_more():
    values = [CliffWalk(slip=slip).oracle().optimal_return for slip in (0.0, 0.1, 0.3)]
    assert values[0] > values[1] > values[2]


@pytest.mark.parametrize("slip", [0.0, 0.2])
def test_both_checkers_have_nothing_to_say(slip):
    """Warnings are errors here."""
    from stable_baselines3.common.env_checker import check_env as sb3_check_env

    check_env(make(slip=slip).unwrapped)
    sb3_check_env(make(slip=slip))


@pytest.mark.parametrize("slip", [-0.1, 1.5, "0.1", None, True])
def test_slip_is_a_probability(slip):
    with pytest.raises(SettingError, match=r"slip must be a probability in \[0, 1\]"):
        CliffWalk(slip=slip)
