"""GridWorld: the default layout, the forms of observation, layouts that change."""

from __future__ import annotations

import copy
import json

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

import rlsuite  # noqa: F401  registers the ids
from registry.errors import OracleError, SettingError
from rlsuite_envs.rendering.canvas import BLUE, GREEN, PAPER, WALL
from rlsuite_envs.tabular.grid_world import GridWorld

UP, RIGHT, DOWN, LEFT = range(4)
FORMS = [
    {"observation": "index"},
    {"observation": "position"},
    {"observation": "planes"},
    {"observation": "planes", "redraw": True},
    {"observation": "pixels"},
    {"slip": 0.3, "map": "S.#\n..G"},
]


def make(**keywords):
    return gym.make("rlsuite/GridWorld-v0", **keywords)


def test_the_default_layout_is_the_one_of_the_documentation():
    env = make().unwrapped
    assert sorted(env.layout.obstacles) == [4, 12, 21]
    assert (env.layout.rows, env.layout.columns, env.layout.start) == (5, 5, 0)
    assert env.layout.goals == {24}
    assert env.oracle().optimal_return == pytest.approx(0.93, abs=1e-12)
    assert env.oracle().best_stationary_return is None
    assert env.oracle().baseline_return == pytest.approx(-0.156589663816, abs=1e-9)
    assert env.oracle(limit=False).optimal_return == pytest.approx(0.93, abs=1e-12)


def test_the_default_layout_follows_from_the_rule():
    u = np.random.default_rng(0).random(23)
    assert sorted(1 + np.argsort(u)[:3]) == [4, 12, 21]


def test_a_walk_by_hand():
    """Right three times, bump into the obstacle in cell 4, down, ... to the goal."""
    env = make()
    assert env.reset(seed=0) == (0, {"prob": 1.0})
    walk = [
        (UP, 0), (LEFT, 0), (RIGHT, 1), (RIGHT, 2), (DOWN, 7), (DOWN, 7), (RIGHT, 8), (UP, 3),
        (RIGHT, 3), (DOWN, 8), (RIGHT, 9), (RIGHT, 9), (DOWN, 14), (DOWN, 19),
    ]  # fmt: skip
    for action, cell in walk:
        assert env.step(action) == (cell, -0.01, False, False, {"prob": 1.0})
    assert env.step(DOWN) == (24, 1.0, True, False, {"prob": 1.0})


def test_four_by_four_without_obstacles_is_a_setting():
    """Six steps: five at -0.01, then 1."""
    env = make(size=4, n_obstacles=0)
    assert env.observation_space.n == 16
    assert env.unwrapped.layout.obstacles == frozenset()
    assert env.unwrapped.oracle().optimal_return == pytest.approx(0.95, abs=1e-12)


def test_a_rectangle_and_a_map():
    assert make(size=(2, 7), n_obstacles=1).observation_space.n == 14
    assert make(size=[2, 7], n_obstacles=1).observation_space.n == 14  # as JSON has it
    env = make(map="S.G")
    assert env.unwrapped.oracle().optimal_return == pytest.approx(0.99)


def test_the_time_limit_truncates_after_a_hundred_steps():
    env = make()
    env.reset(seed=0)
    outcomes = [env.step(UP) for _ in range(100)]
    assert [outcome[3] for outcome in outcomes] == [False] * 99 + [True]
    assert not any(outcome[2] for outcome in outcomes)


@given(st.integers(2, 7), st.integers(0, 10_000), st.floats(0.0, 1.0))
@settings(max_examples=30, deadline=None)
def test_every_layout_seed_gives_a_task_that_can_be_solved(size, layout_seed, slip):
    n_obstacles = min(3, (size - 1) ** 2)
    env = GridWorld(size, n_obstacles=n_obstacles, layout_seed=layout_seed, slip=slip)
    oracle = env.oracle()
    assert oracle.baseline_return <= oracle.optimal_return + 1e-12
    if slip == 0.0:
        assert oracle.optimal_return >= 1.0 - 0.01 * size**2


def test_slip_is_a_third_each_at_two_thirds():
    """From cell 6 of the default grid (up 1, right 7, down 11, left 5) there is no wall near."""
    model = GridWorld(slip=2 / 3).model
    assert model.next_state[6, UP].tolist() == [1, 7, 5]
    np.testing.assert_allclose(model.probability[6, UP], [1 / 3] * 3)


@pytest.mark.parametrize("keywords", FORMS)
def test_both_checkers_have_nothing_to_say(keywords):
    """Warnings are errors here."""
    from stable_baselines3.common.env_checker import check_env as sb3_check_env

    check_env(make(**keywords).unwrapped)
    sb3_check_env(make(**keywords))
    sb3_check_env(make(**keywords).unwrapped)


def test_positions_are_rows_and_columns():
    env = make(observation="position")
    observation, _ = env.reset(seed=0)
    assert observation.tolist() == [0, 0]
    env.step(RIGHT)
    observation = env.step(DOWN)[0]
    assert observation.tolist() == [1, 1]
    assert observation.dtype == np.int64
    assert env.observation_space.nvec.tolist() == [5, 5]


def test_planes_show_agent_obstacles_and_goal():
    env = make(observation="planes")
    env.reset(seed=0)
    observation = env.step(RIGHT)[0]
    assert observation.dtype == np.float32
    agent, obstacles, goal = observation.reshape(5, 5, 3).transpose(2, 0, 1)
    assert np.argwhere(agent).tolist() == [[0, 1]]
    assert np.flatnonzero(obstacles).tolist() == [4, 12, 21]
    assert np.argwhere(goal).tolist() == [[4, 4]]


def test_pixels_show_agent_obstacles_and_goal():
    """Cells of 16 pixels, margins of 2: the middle of each tells what is there."""
    env = make(observation="pixels")
    env.reset(seed=0)
    frame = env.step(RIGHT)[0]
    assert frame.shape == (84, 84, 3)
    assert frame.dtype == np.uint8
    middles = frame[2:82].reshape(5, 16, 84, 3)[:, 8, 2:82].reshape(5, 5, 16, 3)[:, :, 4]
    assert np.argwhere((middles == BLUE).all(axis=2)).tolist() == [[0, 1]]
    walls = (middles == WALL).all(axis=2)
    assert np.flatnonzero(walls).tolist() == [4, 12, 21]
    assert (frame[:2] == PAPER).all()
    goal = frame[66:82, 66:82].reshape(-1, 3)
    assert (goal == GREEN).all(axis=1).any()


def test_every_cell_has_a_frame_of_its_own_in_grids_of_any_size():
    for size in (2, (3, 7), 41, (84, 2)):
        frames = GridWorld(size, n_obstacles=0, observation="pixels")._form.every()
        assert len(np.unique(frames.reshape(len(frames), -1), axis=0)) == len(frames)


@pytest.mark.parametrize("keywords", FORMS)
def test_the_oracle_sees_what_the_agent_sees(keywords):
    env = make(**keywords).unwrapped
    observation, _ = env.reset(seed=3)
    every = env.oracle().observations()
    assert len(every) == env.model.n_states
    np.testing.assert_array_equal(every[0], observation)
    for action in (RIGHT, DOWN, RIGHT, DOWN):
        observation = env.step(action)[0]
        np.testing.assert_array_equal(every[env.get_state()["state"]], observation)


@pytest.mark.parametrize("observation", ["position", "planes", "pixels"])
def test_observations_are_fresh_objects(observation):
    env = make(observation=observation).unwrapped
    first, _ = env.reset(seed=0)
    again = env.step(UP)[0]
    np.testing.assert_array_equal(first, again)
    assert not np.shares_memory(first, again)


def test_the_form_of_observation_changes_nothing_else():
    envs = [make(observation=form, slip=0.2) for form in ("index", "position", "planes")]
    for env in envs:
        env.reset(seed=1)
    for action in np.random.default_rng(0).integers(4, size=60).tolist():
        outcomes = [env.step(action)[1:] for env in envs]
        assert outcomes[0] == outcomes[1] == outcomes[2]
        if outcomes[0][1] or outcomes[0][2]:
            break


def redrawing(**keywords):
    return GridWorld(observation="planes", redraw=True, **keywords)


def test_redraw_draws_obstacles_at_each_reset_with_a_path():
    env = redrawing(n_obstacles=5)
    env.reset(seed=0)
    layouts = set()
    for _ in range(30):
        env.reset()
        layouts.add(env.layout.obstacles)
        assert len(env.layout.obstacles) == 5
        assert env.oracle().optimal_return > 0
    assert len(layouts) > 25


def test_redraw_draws_the_layout_and_then_the_start():
    """23 uniforms for the cells (this seed's first layout has a path), one for the start."""
    env = redrawing()
    env.reset(seed=0)
    rng = gym.utils.seeding.np_random(0)[0]
    u = rng.random(23)
    assert sorted(env.layout.obstacles) == sorted(1 + np.argsort(u)[:3])
    rng.random()
    assert env.np_random.bit_generator.state == rng.bit_generator.state


def test_redraw_answers_for_the_present_layout_alone():
    env = redrawing()
    env.reset(seed=1)
    oracle = env.oracle()
    before = oracle.observations()
    value = oracle.baseline_return
    assert oracle.scope == "instance"
    env.reset()
    np.testing.assert_array_equal(oracle.observations(), before)
    assert (env.oracle().observations() != before).any()
    assert env.oracle().baseline_return != value
    assert make().unwrapped.oracle().scope == "task"


@pytest.mark.parametrize("steps", [0, 4])
def test_redraw_saves_its_obstacles(steps):
    env, twin = redrawing(slip=0.2), redrawing(slip=0.2)
    env.reset(seed=5)
    twin.reset(seed=6)
    for _ in range(steps):
        env.step(RIGHT)
    state = env.get_state()
    twin.set_state(json.loads(json.dumps(state)))
    assert twin.layout == env.layout
    assert twin.get_state() == state
    for action in [DOWN, RIGHT, DOWN] * 5:
        one, other = env.step(action), twin.step(action)
        np.testing.assert_array_equal(one[0], other[0])
        assert one[1:] == other[1:]
    np.testing.assert_array_equal(env.reset()[0], twin.reset()[0])
    assert copy.deepcopy(env).layout == env.layout


def test_redraw_has_no_layout_before_the_first_reset():
    env, twin = redrawing(), redrawing()
    for ask in (env.oracle, lambda: env.model):
        with pytest.raises(OracleError, match=r"drawn at each reset.*call reset\(seed=...\) first"):
            ask()
    twin.reset(seed=0)
    twin.set_state(env.get_state())
    with pytest.raises(OracleError, match="drawn at each reset"):
        twin.oracle()
    np.testing.assert_array_equal(twin.reset()[0], env.reset()[0])


@pytest.mark.parametrize(
    "obstacles",
    [None, [1, 2], [1, 1, 2], [0, 1, 2], [1, 2, 24], [1, 2, 99], "123", [[1], 2, 3], [1, 2, 5]],
)
def test_obstacles_that_do_not_fit_are_refused(obstacles):
    env = redrawing()
    env.reset(seed=0)
    state = {**env.get_state(), "state": 5}
    before = env.get_state()
    with pytest.raises(SettingError, match="'obstacles' must list 3 different cells of this 5 x 5"):
        env.set_state({**state, "obstacles": obstacles})
    assert env.get_state() == before


def test_a_state_without_obstacles_is_refused_by_redraw():
    env = redrawing()
    env.reset(seed=0)
    for state in (make().unwrapped.get_state(), [1, 2]):
        with pytest.raises(SettingError, match="a dictionary with the keys obstacles, rng, state"):
            env.set_state(state)


@pytest.mark.parametrize(
    ("keywords", "sentence"),
    [
        ({"observation": "image"}, "'index', 'position', 'planes' or 'pixels', got 'image'"),
        ({"observation": "pixels", "size": (2, 85)}, "at most 84 x 84 cells, got 2 x 85"),
        ({"redraw": 1}, "redraw must be True or False, got 1"),
        ({"redraw": True}, "redraw=True needs observation='planes'.*; got 'index'"),
        ({"redraw": True, "observation": "position"}, "needs observation='planes'"),
        ({"redraw": True, "observation": "planes", "layout_seed": 0}, "layout_seed or redraw"),
        ({"redraw": True, "observation": "planes", "map": "S.G"}, "map or redraw=True"),
        ({"map": "S.G", "size": 5}, "give map or size, not both"),
        ({"map": "S.G", "n_obstacles": 0, "layout_seed": 1}, "map or n_obstacles and layout_seed"),
        ({"map": "S..."}, "at least one goal"),
        ({"size": 1}, r"a whole number of at least 2, or \(rows, columns\) .* cells, got 1\."),
        ({"size": 0}, r"a whole number of at least 2, or \(rows, columns\) .* cells, got 0\."),
        ({"size": (0, 4)}, r"a whole number of at least 2, or .* cells, got \(0, 4\)\."),
        ({"size": (1, 1)}, "at least two cells, got"),
        ({"size": (3, 3, 3)}, r"or \(rows, columns\) with at least two cells, got \(3, 3, 3\)"),
        ({"size": "55"}, "size must be a whole number of at least 2.*got '55'"),
        ({"size": 2.5}, "size must be a whole number"),
        ({"n_obstacles": -1}, "n_obstacles must be a whole number of at least 0"),
        ({"n_obstacles": 17}, "n_obstacles must be at most 16 on 5 x 5 cells.*got 17"),
        ({"size": 9, "n_obstacles": 64}, "n_obstacles=64 is too many for 9 x 9 cells: 10,000"),
        ({"layout_seed": -1}, "layout_seed must be a whole number of at least 0"),
        ({"slip": 1.1}, r"slip must be a probability in \[0, 1\], got 1.1"),
        ({"slip": float("nan")}, r"slip must be a probability in \[0, 1\]"),
    ],
)
def test_a_wrong_keyword_gets_a_sentence(keywords, sentence):
    with pytest.raises(SettingError, match=sentence):
        GridWorld(**keywords)


@pytest.mark.parametrize("keywords", FORMS)
def test_vector_environments_walk_as_the_single_ones(keywords):
    envs = gym.make_vec("rlsuite/GridWorld-v0", num_envs=2, vectorization_mode="sync", **keywords)
    singles = [make(**keywords) for _ in range(2)]
    observations, _ = envs.reset(seed=3)
    for i, single in enumerate(singles):
        np.testing.assert_array_equal(observations[i], single.reset(seed=3 + i)[0])
    for action in (RIGHT, DOWN, RIGHT):
        observations, rewards, *_ = envs.step(np.array([action, action]))
        for i, single in enumerate(singles):
            observation, reward, *_ = single.step(action)
            np.testing.assert_array_equal(observations[i], observation)
            assert rewards[i] == reward
    envs.close()
