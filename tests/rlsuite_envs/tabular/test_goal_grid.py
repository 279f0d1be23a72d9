"""GoalGrid: every goal has its own exact values, and distances by hand."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import rlsuite  # noqa: F401  registers the ids
from registry.errors import SettingError
from rlsuite_envs.tabular.goal_grid import GoalGrid

UP, RIGHT, DOWN, LEFT = range(4)
ROOMS = """
...#...
.......
...#...
#.###.#
...#...
"""
KEYWORDS = [
    {},
    {"observation": "position", "slip": 0.2},
    {"observation": "dict", "size": (2, 3)},
    {"map": ["S.#", "..G", "G#."]},
]


def make(**keywords):
    return gym.make("rlsuite/GoalGrid-v0", **keywords)


def test_known_answers():
    """On an open 5 x 5 grid two different cells are 10/3 steps apart on average."""
    oracle = make().unwrapped.oracle()
    assert (oracle.horizon, oracle.scope, oracle.provenance) == (50, "task", "exact")
    assert oracle.optimal_return == pytest.approx(-(10 / 3 - 1), abs=1e-12)
    assert oracle.best_stationary_return is None
    values = oracle.optimal_values()[0].reshape(5, 5, 5, 5)
    for (row, column, goal_row, goal_column), value in np.ndenumerate(values):
        distance = abs(row - goal_row) + abs(column - goal_column)
        assert value == -max(distance - 1, 0)


@pytest.mark.parametrize("size", [(2, 2), (1, 4), (3, 4)])
def test_the_mean_distance_of_any_open_grid(size):
    rows, columns = size
    cells = [(r, c) for r in range(rows) for c in range(columns)]
    distances = [abs(a - c) + abs(b - d) for a, b in cells for c, d in cells if (a, b) != (c, d)]
    oracle = make(size=size).unwrapped.oracle()
    assert oracle.optimal_return == pytest.approx(1 - np.mean(distances), abs=1e-12)


def test_an_episode_by_hand():
    env = make(map=["S.", ".G"])
    assert env.reset(seed=0) == (0, {"prob": 1.0})
    assert env.step(UP) == (0, -1.0, False, False, {"prob": 1.0})
    assert env.step(RIGHT) == (1, -1.0, False, False, {"prob": 1.0})
    assert env.step(DOWN) == (3, 0.0, True, False, {"prob": 1.0})


def test_walls_are_in_the_way_of_every_goal():
    """Distances by a search of one's own, from every cell to every goal."""
    env = make(map=ROOMS).unwrapped
    cells = "".join(ROOMS.split())
    free = [i for i, symbol in enumerate(cells) if symbol == "."]
    assert env.goals == tuple(free)
    values = env.oracle().optimal_values()[0].reshape(35, len(free))
    for number, goal in enumerate(free):
        distance, edge = {goal: 0}, [goal]
        while edge:
            cell = edge.pop(0)
            row, column = divmod(cell, 7)
            for r, c in (
                (row - 1, column),
                (row + 1, column),
                (row, column - 1),
                (row, column + 1),
            ):
                near = 7 * r + c
                if 0 <= r < 5 and 0 <= c < 7 and near in free and near not in distance:
                    distance[near] = distance[cell] + 1
                    edge.append(near)
        assert len(distance) == len(free)
        for cell in set(free) - {goal}:
            assert values[cell, number] == 1 - distance[cell]


def test_every_pair_of_start_and_goal_is_as_likely():
    env = make(map=["S.G", "..G"]).unwrapped
    assert np.flatnonzero(env.model.start).tolist() == [0, 1]
    assert env.model.start[:2].tolist() == [0.5, 0.5]
    env = make(size=2).unwrapped
    start = env.model.start.reshape(4, 4)
    assert (start == (1 - np.eye(4)) / 12).all()
    env = make(map=["S..", "..."]).unwrapped  # without G every free cell but the start
    assert env.model.start.reshape(6, 6)[0].tolist() == [0.0, *[0.2] * 5]


def test_the_observation_names_the_goal():
    for seed in range(10):
        index, position, named = (
            make(observation=form, size=(3, 4)).reset(seed=seed)[0]
            for form in ("index", "position", "dict")
        )
        cell, goal = divmod(index, 12)
        assert position.tolist() == [*divmod(cell, 4), *divmod(goal, 4)]
        assert named["position"].tolist() == position[:2].tolist()
        assert named["goal"].tolist() == position[2:].tolist()


def test_the_policy_of_all_goals_is_exact_in_every_form():
    """Greedy towards the goal by the observed numbers alone, in the form they come in."""

    def towards(down, right):
        action = np.where(down > 0, DOWN, np.where(down < 0, UP, np.where(right > 0, RIGHT, LEFT)))
        return np.eye(4)[action]

    def of_position(seen):
        return towards(*(seen[:, 2:] - seen[:, :2]).T)

    def of_dict(seen):
        return towards(*(seen["goal"] - seen["position"]).T)

    for form, policy in (("position", of_position), ("dict", of_dict)):
        oracle = make(observation=form).unwrapped.oracle()
        assert oracle.policy_return(policy) == pytest.approx(oracle.optimal_return, abs=1e-12)


def test_pictures_show_the_goal_of_the_episode():
    env = make(map=["S.#", "G.G"], render_mode="ansi")
    shown = set()
    for seed in range(10):
        env.reset(seed=seed)
        shown.add(env.render())
    assert shown == {
        "[S] .  #\n G  .  .\nstep 0\n",
        "[S] .  #\n .  .  G\nstep 0\n",
    }
    values, policy = np.arange(12.0), np.array([RIGHT, DOWN] * 6)
    for seed in range(10):
        state, _ = env.reset(seed=seed)
        env.unwrapped.overlay(values=values, policy=policy)
        assert env.render().startswith("[v] v" if state else "[>] >")
    with pytest.raises(SettingError, match="values must be 12 numbers"):
        env.unwrapped.overlay(values=np.zeros(6))
    assert GoalGrid(render_mode="ansi").render().splitlines()[0].split() == ["."] * 5


@pytest.mark.parametrize("keywords", KEYWORDS)
def test_both_checkers_have_nothing_to_say(keywords):
    """Warnings are errors here."""
    from stable_baselines3.common.env_checker import check_env as sb3_check_env

    check_env(make(**keywords).unwrapped)
    sb3_check_env(make(**keywords))


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"size": 1}, "size must be a whole number of at least 2, or"),
        ({"size": 3, "map": ["S.G"]}, "give map or size, not both; got size=3"),
        ({"map": ["S.S"]}, "map has at most one start 'S', got 2"),
        ({"map": ["S#."]}, "no path leads from cell 0 to cell 2"),
        ({"map": [".##"]}, "map needs a start and a goal in another cell"),
        ({"map": ["S.x"]}, "map: unknown symbol 'x'"),
        ({"slip": 2.0}, r"slip must be a probability in \[0, 1\]"),
        ({"observation": "planes"}, "observation must be 'index', 'position' or 'dict'"),
    ],
)
def test_keywords_outside_their_range_are_refused(keywords, message):
    with pytest.raises(SettingError, match=message):
        GoalGrid(**keywords)
