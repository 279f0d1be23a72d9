"""Tables: bit for bit what `SyncVectorEnv` gives, in all three modes."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete
from hypothesis import given, settings
from hypothesis import strategies as st

import rlsuite  # noqa: F401  (registers the ids)
from registry.errors import OracleError, SettingError
from rlsuite_envs.tabular.cliff_walk import CliffWalk
from rlsuite_envs.tabular.deep_sea import DeepSea
from rlsuite_envs.tabular.env import TabularEnv
from rlsuite_envs.tabular.garnet import Garnet
from rlsuite_envs.tabular.goal_grid import GoalGrid
from rlsuite_envs.tabular.grid_world import GridWorld
from rlsuite_envs.tabular.mdp import TabularMDP
from rlsuite_envs.tabular.random_walk import RandomWalk
from rlsuite_envs.tabular.windy_grid import WindyGrid
from rlsuite_envs.vector.tabular import (
    TabularVectorEnv,
    cliff_walk,
    deep_sea,
    garnet,
    goal_grid,
    grid_world,
    random_walk,
    windy_grid,
)

PAPER_MAP = ("S.#.", "...G", "#..G")
GRIDS = [
    {},
    {"slip": 0.3},
    {"size": (2, 3), "n_obstacles": 1, "observation": "position", "slip": 0.1},
    {"observation": "planes"},
    {"observation": "pixels", "slip": 0.2},
    {"map": PAPER_MAP, "slip": 1.0, "observation": "planes"},
    {"size": (3, 4), "n_obstacles": 2, "observation": "planes", "redraw": True, "slip": 0.2},
]

modes = st.sampled_from(("NextStep", "SameStep", "Disabled"))
limits = st.none() | st.integers(1, 20)
widths = st.integers(1, 4)
seeds = st.integers(0, 2**40)


def table(seed, states=5, actions=3, outcomes=3, ending=0.2):
    """Impossible and repeated outcomes, several starts, some of them impossible."""
    rng = np.random.default_rng(seed)
    shape = (states, actions, outcomes)
    probability = rng.dirichlet(np.ones(outcomes), size=shape[:2])
    if outcomes > 1:
        gone = rng.random(shape[:2]) < 0.3
        probability[gone, rng.integers(outcomes)] = 0.0
        probability /= probability.sum(axis=-1, keepdims=True)
    start = rng.dirichlet(np.ones(states)) * (rng.random(states) < 0.6)
    start[rng.integers(states)] += 0.5
    return TabularMDP(
        next_state=rng.integers(states, size=shape),
        probability=probability,
        reward=rng.normal(size=shape),
        terminal=rng.random(shape) < ending,
        start=start / start.sum(),
    )


@settings(max_examples=60, deadline=None)
@given(
    model=st.integers(0, 10**6),
    outcomes=st.integers(1, 4) | st.just(11),
    mode=modes,
    limit=limits,
    n=widths,
    seed=seeds,
)
def test_any_table_equals_sync(side_by_side, model, outcomes, mode, limit, n, seed):
    mdp = table(model, outcomes=outcomes)
    ours = TabularVectorEnv(mdp, n, max_episode_steps=limit, autoreset_mode=mode)
    side_by_side.drive(ours, side_by_side.sync(lambda: TabularEnv(mdp), n, limit, mode), seed=seed)


@settings(max_examples=60, deadline=None)
@given(keywords=st.sampled_from(GRIDS), mode=modes, limit=limits, n=widths, seed=seeds)
def test_grid_world_equals_sync(side_by_side, keywords, mode, limit, n, seed):
    ours = grid_world(n, max_episode_steps=limit, autoreset_mode=mode, **keywords)
    theirs = side_by_side.sync(lambda: GridWorld(**keywords), n, limit, mode)
    side_by_side.drive(ours, theirs, seed=seed)


@settings(max_examples=20, deadline=None)
@given(slip=st.sampled_from((0.0, 0.25)), mode=modes, limit=limits, n=widths, seed=seeds)
def test_cliff_walk_equals_sync(side_by_side, slip, mode, limit, n, seed):
    ours = cliff_walk(n, max_episode_steps=limit, autoreset_mode=mode, slip=slip)
    theirs = side_by_side.sync(lambda: CliffWalk(slip=slip), n, limit, mode)
    side_by_side.drive(ours, theirs, seed=seed)


TEXTBOOK = [
    (deep_sea, DeepSea, {"size": 3}),
    (deep_sea, DeepSea, {"size": 2, "stochastic": True, "mapping_seed": None}),
    (garnet, Garnet, {"states": 4, "branching": 2, "ending": 0.2}),
    (garnet, Garnet, {"ending": 0.0, "mdp_seed": 1}),
    (goal_grid, GoalGrid, {"size": (2, 3), "slip": 0.2}),
    (goal_grid, GoalGrid, {"map": ["S.#", "..G", "G#."], "observation": "dict"}),
    (goal_grid, GoalGrid, {"size": 2, "observation": "position"}),
    (random_walk, RandomWalk, {"states": 3}),
    (windy_grid, WindyGrid, {}),
    (windy_grid, WindyGrid, {"king_moves": True, "stay": True, "stochastic_wind": True}),
]


@settings(max_examples=60, deadline=None)
@given(case=st.sampled_from(TEXTBOOK), mode=modes, limit=limits, n=widths, seed=seeds)
def test_the_textbook_equals_sync(side_by_side, case, mode, limit, n, seed):
    vector, single, keywords = case
    ours = vector(n, max_episode_steps=limit, autoreset_mode=mode, **keywords)
    side_by_side.drive(
        ours, side_by_side.sync(lambda: single(**keywords), n, limit, mode), seed=seed
    )


class FloatProb(gym.Wrapper):
    """Gymnasium's environments without the int that two of them give as `prob` at a reset."""

    def reset(self, **keywords):
        observation, info = self.env.reset(**keywords)
        return observation, info | {"prob": float(info["prob"])}


GYMNASIUM = [
    ("FrozenLake-v1", {}),
    ("FrozenLake-v1", {"map_name": "8x8", "is_slippery": False}),
    ("FrozenLake-v1", {"success_rate": 0.7, "reward_schedule": (5, -1, -0.1)}),
    ("FrozenLake8x8-v1", {}),
    ("CliffWalking-v1", {}),
    ("CliffWalkingSlippery-v1", {}),
    ("Taxi-v4", {}),
    ("Taxi-v4", {"is_rainy": True}),
]


@pytest.mark.parametrize(("identifier", "keywords"), GYMNASIUM)
@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_gymnasiums_tables_equal_sync(side_by_side, identifier, keywords, mode):
    def single(limit):
        given = keywords if limit is None else {**keywords, "max_episode_steps": limit}
        return gym.make(identifier, disable_env_checker=True, **given)

    for n, limit, seed in ((3, None, 1), (2, 7, 2), (1, 1, 3)):
        ours = TabularVectorEnv.from_gymnasium(
            gym.make(identifier, **keywords), n, max_episode_steps=limit, autoreset_mode=mode
        )
        makers = [lambda limit=limit: FloatProb(single(limit))] * n
        theirs = gym.vector.SyncVectorEnv(makers, autoreset_mode=mode)
        same_but_metadata = {**ours.metadata, **theirs.metadata}
        ours.metadata = theirs.metadata = same_but_metadata
        side_by_side.drive(ours, theirs, seed=seed, steps=60)


def test_the_defect_of_upstream_is_not_copied():
    """FrozenLake's reset gives the int 1, so that upstream's `prob` is int64 then."""
    theirs = gym.make_vec("FrozenLake-v1", num_envs=3)
    ours = TabularVectorEnv.from_gymnasium("FrozenLake-v1", 3)
    _, info = theirs.reset(seed=0)
    assert info["prob"].dtype == np.int64
    _, info = ours.reset(seed=0)
    assert info["prob"].dtype == np.float64
    assert info["prob"].tolist() == [1.0, 1.0, 1.0]


def test_from_gymnasium_takes_the_limit_and_our_own_environments():
    assert TabularVectorEnv.from_gymnasium("FrozenLake-v1").max_episode_steps == 100
    assert TabularVectorEnv.from_gymnasium("CliffWalking-v1").max_episode_steps is None
    limited = TabularVectorEnv.from_gymnasium("FrozenLake-v1", max_episode_steps=-1)
    assert limited.max_episode_steps is None
    ours = TabularVectorEnv.from_gymnasium("rlsuite/GridWorld-v0", 2)
    assert ours.max_episode_steps == 100
    assert ours.model is not None
    with pytest.raises(SettingError, match="has no tables"):
        TabularVectorEnv.from_gymnasium("CartPole-v1")


def test_from_gymnasium_refuses_what_a_wrapper_may_change():
    for env, name in (
        (gym.wrappers.TransformReward(gym.make("CliffWalking-v1"), abs), "TransformReward"),
        (gym.wrappers.TimeAwareObservation(gym.make("FrozenLake-v1")), "TimeAwareObservation"),
        (gym.wrappers.TransformReward(gym.make("rlsuite/CliffWalk-v0"), abs), "TransformReward"),
    ):
        with pytest.raises(SettingError, match=f"the wrapper {name} around .* would be lost"):
            TabularVectorEnv.from_gymnasium(env)


def test_from_gymnasium_takes_the_shortest_of_several_limits():
    bare = gym.make("FrozenLake-v1").unwrapped
    for limits, expected in (((), None), ((5,), 5), ((5, 9), 5), ((9, 5), 5)):
        env = bare
        for limit in limits:
            env = gym.wrappers.TimeLimit(env, limit)
        assert TabularVectorEnv.from_gymnasium(env).max_episode_steps == expected


@pytest.mark.parametrize("keywords", [{}, {"redraw": True, "observation": "planes"}])
def test_the_environment_given_stays_as_it_is(keywords):
    given = GridWorld(render_mode="ansi", **keywords)
    given.reset(seed=7)
    before, frame = given.get_state(), given.render()
    envs = TabularVectorEnv(given, 2, autoreset_mode="SameStep")
    envs.reset(seed=1)
    envs.step(np.array([1, 2]))
    envs.render(), envs.set_state(envs.get_state()), envs.close()
    assert given.get_state() == before
    assert given.render() == frame
    state = envs.get_state()
    given.reset(seed=8)
    assert envs.get_state() == state


def test_the_model_of_a_gymnasium_environment_walks_like_it():
    """From the MDP alone, without `from_gymnasium`: all but the `prob` of a reset."""
    mdp = TabularMDP.from_gymnasium(gym.make("Taxi-v4"))
    ours = TabularVectorEnv(mdp, 4, max_episode_steps=200)
    theirs = gym.make_vec("Taxi-v4", num_envs=4, vectorization_mode="sync")
    assert np.array_equal(ours.reset(seed=3)[0], theirs.reset(seed=3)[0])
    rng = np.random.default_rng(0)
    for _ in range(450):
        actions = rng.integers(6, size=4)
        for one, other in zip(ours.step(actions)[:4], theirs.step(actions)[:4], strict=True):
            assert np.array_equal(one, other)


class Named:
    """States as a dictionary: a form of a user's own."""

    space = Dict({"number": Discrete(5), "half": Box(0.0, 2.0, (1,), np.float32)})

    def one(self, state):
        return {"number": state, "half": np.array([state / 2], np.float32)}

    def every(self):
        return {"number": np.arange(5), "half": (np.arange(5)[:, None] / 2)}


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_a_form_of_ones_own(side_by_side, mode):
    mdp = table(4)
    ours = TabularVectorEnv(
        TabularEnv(mdp, form=Named()), 3, max_episode_steps=5, autoreset_mode=mode
    )
    theirs = side_by_side.sync(lambda: TabularEnv(mdp, form=Named()), 3, 5, mode)
    side_by_side.drive(ours, theirs, seed=8)


def test_a_uniform_above_the_sum_takes_the_last_possible_outcome_but_the_first_of_gymnasium():
    """Seven times 1/7 is less than 1; the largest uniform lies above the sum."""
    sevenths = np.full(7, 1 / 7)
    assert np.cumsum(sevenths)[-1] < 1.0
    mdp = TabularMDP(
        next_state=np.arange(7).reshape(1, 1, 7).repeat(7, axis=0),
        probability=sevenths.reshape(1, 1, 7).repeat(7, axis=0),
        reward=np.zeros((7, 1, 7)),
        terminal=np.zeros((7, 1, 7), bool),
        start=sevenths,
    )
    # a generator whose next output is all ones: with increment 0, state = (top word) / M
    top = (2**64 - 1) << 64
    before = top * pow(47026247687942121848144207491837523525, -1, 2**128) % 2**128
    rng = {"state": before, "inc": 0}
    for as_gymnasium, state in ((False, 6), (True, 0)):
        envs = TabularVectorEnv(mdp, 1, as_gymnasium=as_gymnasium)
        envs.reset(seed=0)
        saved = envs.get_state()
        saved["envs"][0]["rng"]["state"] = rng
        envs.set_state(saved)
        assert envs.np_random[0].random() == 1 - 2**-53
        assert envs.step(np.zeros(1, np.int64))[0].tolist() == [state]
        envs.set_state(saved)
        assert envs.reset()[0].tolist() == [state]


def test_oracle_of_the_vector_is_that_of_the_single():
    envs = gym.make_vec("rlsuite/GridWorld-v0", num_envs=3, slip=0.2)
    single = gym.make("rlsuite/GridWorld-v0", slip=0.2).unwrapped
    assert envs.unwrapped.oracle().optimal_return == single.oracle().optimal_return
    assert envs.unwrapped.oracle(7).optimal_return == single.oracle(7).optimal_return
    unlimited = envs.unwrapped.oracle(limit=False)
    assert unlimited.optimal_return == single.oracle(limit=False).optimal_return
    shorter = gym.make_vec("rlsuite/GridWorld-v0", num_envs=3, slip=0.2, max_episode_steps=9)
    assert shorter.unwrapped.oracle().horizon == 9
    assert TabularVectorEnv(GridWorld(), 2).oracle().horizon is None
    assert envs.unwrapped.model.n_states == 25


def test_oracle_of_redrawn_layouts_needs_the_row():
    envs = grid_world(3, redraw=True, observation="planes", max_episode_steps=20)
    with pytest.raises(OracleError, match=r"name one of them, row=0 to 2"):
        envs.oracle()
    with pytest.raises(OracleError, match="no answer key before the first one"):
        envs.oracle(row=0)
    observations, _ = envs.reset(seed=5)
    before = envs.get_state()
    for i in range(3):
        single = GridWorld(redraw=True, observation="planes")
        single.reset(seed=5 + i)
        oracle = envs.oracle(row=i)
        assert oracle.optimal_return == single.oracle(20).optimal_return
        assert np.array_equal(oracle.observations()[0], observations[i])
    assert envs.get_state() == before
    with pytest.raises(SettingError, match=r"row must be from 0 to 2, got 3"):
        envs.oracle(row=3)


def test_only_tables_are_taken():
    with pytest.raises(SettingError, match="without wrappers; got TimeLimit"):
        TabularVectorEnv(gym.wrappers.TimeLimit(CliffWalk(), 5), 2)
