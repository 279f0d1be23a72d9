"""Shaping by a potential leaves the best policy where it was; a careless bonus moves it."""

from __future__ import annotations

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

import rlsuite  # noqa: F401  registers the ids
from registry.errors import SettingError
from registry.specs import TaskSpec
from rlsuite.answer_key import find_answer_key
from rlsuite.making import make_environment
from rlsuite_envs.shaping import PotentialShaping, shaped_mdp
from rlsuite_envs.tabular.garnet import Garnet
from rlsuite_envs.tabular.grid_world import GridWorld
from rlsuite_envs.tabular.mdp import TabularMDP
from rlsuite_envs.tabular.windy_grid import WindyGrid

DISTANCE = np.array([abs(4 - cell // 5) + abs(4 - cell % 5) for cell in range(25)], float)
"""Steps to the goal of the default GridWorld, obstacles aside."""


@settings(max_examples=40, deadline=None)
@given(
    mdp_seed=st.integers(0, 10**6),
    gamma=st.sampled_from((0.0, 0.5, 0.95, 1.0)),
    ending=st.sampled_from((0.05, 0.3)),
)
def test_the_best_policy_stays_where_it_was(mdp_seed, gamma, ending):
    """Exactly, for any potential: q* goes down by it, and so do the values of all policies."""
    rng = np.random.default_rng(mdp_seed)
    mdp = Garnet(mdp_seed=mdp_seed, states=8, ending=ending).model
    phi = rng.normal(scale=3.0, size=9)
    plain, shaped = mdp.oracle(gamma=gamma), shaped_mdp(mdp, phi, gamma).oracle(gamma=gamma)
    lowered = plain.optimal_action_values()[:8] - phi[:8, None]
    assert shaped.optimal_action_values()[:8] == pytest.approx(lowered, abs=1e-8)
    best = shaped.optimal_policy()
    assert plain.policy_return(best) == pytest.approx(plain.optimal_return, abs=1e-8)
    pi = rng.dirichlet(np.ones(4), size=9)
    values = plain.policy_values(pi)[:8] - phi[:8]
    assert shaped.policy_values(pi)[:8] == pytest.approx(values, abs=1e-8)


@pytest.mark.parametrize("slip", [0.0, 0.2])
def test_in_the_grid_world_too(slip):
    """The distance shows the way; undiscounted, the best policy is as good as ever."""
    mdp = GridWorld(slip=slip).model
    plain, shaped = mdp.oracle(), shaped_mdp(mdp, -DISTANCE, 1.0).oracle()
    found = plain.policy_return(shaped.optimal_policy())
    assert found == pytest.approx(plain.optimal_return, abs=1e-10)
    # from the start, what the path brings down to the goal is paid on the way
    assert shaped.optimal_return == pytest.approx(plain.optimal_return + 8.0, abs=1e-10)


def test_a_bonus_that_is_no_potential_moves_the_optimum():
    """A bonus for each step nearer to the goal, and nothing for the steps away from it."""
    mdp = GridWorld().model
    nearer = DISTANCE[mdp.next_state] < DISTANCE[:, None, None]
    bonus = replace(mdp, reward=mdp.reward + 0.5 * (nearer & ~mdp.terminal))
    plain, tempted = mdp.oracle(100), bonus.oracle(100)
    lured = tempted.optimal_policy()
    # to and fro pays more than to arrive, so it arrives as the time runs out: 99 steps at -0.01
    assert tempted.optimal_return > tempted.policy_return(plain.optimal_policy()) + 10
    assert plain.policy_return(lured) == pytest.approx(1.0 - 0.99, abs=1e-12)
    assert plain.optimal_return == pytest.approx(0.93)


def test_a_limit_that_counts_leaves_the_last_potential_over():
    """By hand: one step, then the time is up; action 1 pays 1 less and ends where Φ is 5."""
    outcome = np.array([[[0], [1]], [[0], [1]]])
    mdp = TabularMDP(
        next_state=outcome,
        probability=np.ones((2, 2, 1)),
        reward=-outcome.astype(float),
        terminal=np.zeros((2, 2, 1), bool),
        start=np.array([1.0, 0.0]),
    )
    shaped = shaped_mdp(mdp, [0.0, 5.0], 1.0).oracle(1)
    assert (mdp.oracle(1).optimal_return, shaped.optimal_return) == (0.0, 4.0)
    assert mdp.oracle(1).policy_return(shaped.optimal_policy()) == -1.0


def test_another_gamma_moves_it_too():
    """The theorem is of the learner's own discount."""
    mdp = WindyGrid().model
    phi = np.full(70, 100.0)
    shaped = shaped_mdp(mdp, phi, 0.9).oracle(200)
    assert mdp.oracle(200).policy_return(shaped.optimal_policy()) == -15.0
    # each step now costs another ten; a potential below zero pays as much for not arriving
    shaped = shaped_mdp(mdp, -phi, 0.9).oracle(200)
    assert mdp.oracle(200).policy_return(shaped.optimal_policy()) == -200.0


@pytest.mark.parametrize("as_function", [False, True])
def test_the_wrapper_pays_what_the_table_says(as_function):
    rng = np.random.default_rng(0)
    phi = rng.normal(size=21)
    env = gym.make("rlsuite/Garnet-v0", ending=0.2)
    given_potential = (lambda s: phi[s]) if as_function else phi.tolist()
    shaped = PotentialShaping(env, potential=given_potential, gamma=0.9)
    table, plain = shaped_mdp(env.unwrapped.model, phi, 0.9), env.unwrapped.model
    state, _ = shaped.reset(seed=1)
    ends = 0
    for _ in range(300):
        action = int(rng.integers(4))
        arrived, reward, terminated, truncated, info = shaped.step(action)
        assert type(reward) is float
        k = np.flatnonzero(plain.next_state[state, action] == arrived)[0]
        assert reward == pytest.approx(table.reward[state, action, k], abs=1e-12)
        assert info == {"prob": plain.probability[state, action, k]}
        ends += terminated
        state = arrived if not (terminated or truncated) else shaped.reset()[0]
    assert ends > 20


def test_the_end_is_worth_nothing_and_the_time_limit_changes_nothing():
    """By hand, in a row of three states: potentials 1, 2, 3; gamma a half."""
    phi = [7.0, 1.0, 2.0, 3.0, 7.0]

    def rewards(seed, outside, limit):
        env = gym.make("rlsuite/RandomWalk-v0", states=3, max_episode_steps=-1)
        if outside:
            env = PotentialShaping(gym.wrappers.TimeLimit(env, limit), potential=phi, gamma=0.5)
        else:
            env = gym.wrappers.TimeLimit(PotentialShaping(env, potential=phi, gamma=0.5), limit)
        state, _ = env.reset(seed=seed)
        course = [state]
        found = []
        while True:
            state, reward, terminated, truncated, _ = env.step(0)
            course.append(state)
            found.append(reward)
            if terminated or truncated:
                return course, found, terminated

    endings = set()
    for seed in range(20):
        course, found, terminated = rewards(seed, True, 3)
        assert (course, found, terminated) == rewards(seed, False, 3)
        for t, reward in enumerate(found):
            before, after = course[t], course[t + 1]
            plain = {0: -1.0, 4: 1.0}.get(after, 0.0)
            worth = 0.0 if after in (0, 4) else phi[after]
            assert reward == plain + 0.5 * worth - phi[before]
        endings.add(terminated)
    assert endings == {True, False}


def test_a_task_can_name_it_and_scores_are_not_mixed_up():
    task = TaskSpec(
        id="test/Shaped-v0",
        env_id="rlsuite/GridWorld-v0",
        wrappers=(
            (
                "rlsuite_envs.shaping:PotentialShaping",
                {"potential": (-DISTANCE).tolist(), "gamma": 0.99},
            ),
        ),
    )
    env = make_environment(task)
    env.reset(seed=0)
    assert env.step(1)[1] == pytest.approx(-0.01 + 0.99 * -7 + 8)
    key = find_answer_key(env)
    assert key.oracle is None
    assert key.why_not == "no answer key: the wrapper PotentialShaping may change the task"


def test_both_checkers_have_nothing_to_say():
    """Warnings are errors here; the checker of Gymnasium wants the innermost environment."""
    from stable_baselines3.common.env_checker import check_env as sb3_check_env

    env = PotentialShaping(gym.make("rlsuite/GridWorld-v0"), potential=-DISTANCE, gamma=1.0)
    sb3_check_env(env)
    check_env(env.unwrapped)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"potential": [1.0, 2.0], "gamma": 1.0}, r"must be 25 finite numbers, .* shape \(2,\)"),
        ({"potential": [np.nan] * 25, "gamma": 1.0}, "must be 25 finite numbers"),
        ({"potential": ["a"] * 25, "gamma": 1.0}, "must be 25 finite numbers"),
        ({"potential": DISTANCE, "gamma": 1.5}, r"gamma must be a number in \[0, 1\]"),
    ],
)
def test_arguments_outside_their_range_are_refused(keywords, message):
    with pytest.raises(SettingError, match=message):
        PotentialShaping(GridWorld(), **keywords)
    with pytest.raises(SettingError, match=message):
        shaped_mdp(GridWorld().model, **keywords)


def test_a_table_needs_numbered_states():
    with pytest.raises(SettingError, match="potential must be a function of the observation"):
        PotentialShaping(GridWorld(observation="position"), potential=DISTANCE, gamma=1.0)
