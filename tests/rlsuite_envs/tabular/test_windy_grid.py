"""WindyGrid: Example 6.5 and the exercises after it."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import rlsuite  # noqa: F401  registers the ids
from registry.errors import SettingError
from rlsuite_envs.tabular.windy_grid import MOVES, WIND, WindyGrid

UP, RIGHT, DOWN, LEFT = range(4)
BEST = [*[RIGHT] * 9, *[DOWN] * 4, LEFT, LEFT]
PLACES = [31, 32, 33, 24, 15, 6, 7, 8, 9, 19, 29, 39, 49, 48, 37]
KEYWORDS = [
    {},
    {"king_moves": True},
    {"king_moves": True, "stay": True},
    {"stochastic_wind": True},
    {"king_moves": True, "stay": True, "stochastic_wind": True},
]


def make(**keywords):
    return gym.make("rlsuite/WindyGrid-v0", **keywords)


def test_the_path_of_the_book_takes_fifteen_steps():
    """Right along the wind, which carries to the upper edge, down in still air, and back left."""
    env = make()
    assert env.reset(seed=0) == (30, {"prob": 1.0})
    outcomes = [env.step(action) for action in BEST]
    assert [outcome[0] for outcome in outcomes] == PLACES
    assert [outcome[1] for outcome in outcomes] == [-1.0] * 15
    assert [outcome[2] for outcome in outcomes] == [False] * 14 + [True]


def test_the_wind_of_the_column_left_counts_and_the_edges_hold():
    model = WindyGrid().model
    arrived = {(s, a): int(model.next_state[s, a, 0]) for s in range(70) for a in range(4)}
    assert arrived[38, LEFT] == 27  # right of the goal: carried to the cell above it
    assert arrived[65, UP] == 45  # up and one further
    assert arrived[5, DOWN] == 5  # down against the wind, off the upper edge
    assert arrived[6, DOWN] == 6
    assert arrived[60, LEFT] == arrived[60, DOWN] == 60
    assert not model.terminal[57].any()  # two below the goal: blown across it, not onto it
    assert model.next_state[57, UP, 0] == 27


def test_known_answers():
    oracle = make().unwrapped.oracle()
    assert (oracle.horizon, oracle.scope, oracle.provenance) == (200, "task", "exact")
    assert oracle.optimal_return == -15.0
    assert make().unwrapped.oracle(limit=False).optimal_return == -15.0
    assert oracle.best_stationary_return is None
    for keywords in KEYWORDS[1:3]:  # to stay beside the eight moves wins nothing
        assert make(**keywords).unwrapped.oracle().optimal_return == -7.0


@pytest.mark.parametrize("keywords", KEYWORDS)
def test_every_outcome_is_the_move_and_the_wind(keywords):
    """A slow twin: cell by cell, one outcome at a time."""
    model = WindyGrid(**keywords).model
    n_actions = {(): 4, ("king_moves",): 8, ("king_moves", "stay"): 9}[
        tuple(sorted(set(keywords) - {"stochastic_wind"}))
    ]
    assert model.n_actions == n_actions
    for s in set(range(70)) - {37}:
        row, column = divmod(s, 10)
        blows = [WIND[column]]
        if "stochastic_wind" in keywords and WIND[column]:
            blows += [WIND[column] + 1, WIND[column] - 1]
        for a, (down, right) in enumerate(MOVES[:n_actions]):
            possible = np.flatnonzero(model.probability[s, a])
            assert model.probability[s, a, possible] == pytest.approx(1 / len(blows))
            wanted = [
                min(max(row + down - blow, 0), 6) * 10 + min(max(column + right, 0), 9)
                for blow in blows
            ]
            assert model.next_state[s, a, possible].tolist() == wanted
            assert (model.terminal[s, a, possible] == (np.array(wanted) == 37)).all()
            assert (model.reward[s, a, possible] == -1.0).all()


def test_a_wind_that_varies_costs_steps_and_king_moves_save_some():
    four, king = (
        make(stochastic_wind=True, king_moves=king).unwrapped.oracle().optimal_return
        for king in (False, True)
    )
    assert four == pytest.approx(-20.628258, abs=1e-6)
    assert king == pytest.approx(-10.964609, abs=1e-6)


def test_the_answers_are_those_of_played_episodes():
    """The mean of 2,000 episodes of the best policy lies within four standard errors."""
    env = WindyGrid(stochastic_wind=True)
    oracle = env.oracle(limit=False)
    best = oracle.optimal_policy().argmax(axis=-1)
    returns = []
    state, _ = env.reset(seed=0)
    for _ in range(2_000):
        total, terminated = 0.0, False
        while not terminated:
            state, reward, terminated, _, _ = env.step(int(best[state]))
            total += reward
        returns.append(total)
        state, _ = env.reset()
    error = np.std(returns) / np.sqrt(len(returns))
    assert abs(np.mean(returns) - oracle.optimal_return) < 4 * error


def test_keys_name_every_action():
    for keywords, n in (({}, 4), ({"king_moves": True}, 8), (KEYWORDS[2], 9)):
        keys = WindyGrid(**keywords).get_keys_to_action()
        assert set(keys.values()) == set(range(n))
        assert len(keys) == n + 4


def test_king_moves_are_drawn_as_arrows_and_the_wind_as_chevrons():
    env = make(king_moves=True, stay=True, render_mode="ansi")
    env.reset(seed=0)
    policy = np.zeros(70, np.int64)
    policy[:9] = range(9)
    env.unwrapped.overlay(policy=policy)
    assert env.render().split("\n")[0].split() == list("^>v<↗↘↙↖o^")
    env = make(render_mode="rgb_array")
    env.reset(seed=0)
    frame = env.render()
    cells = frame[12 : 12 + 56, 12 : 12 + 560].reshape(56, 10, 56, 3)
    marks = [(cells[10:46, c, 10:46] < 240).any() for c in range(10)]
    assert marks == [wind > 0 for wind in WIND]


@pytest.mark.parametrize("keywords", KEYWORDS)
def test_both_checkers_have_nothing_to_say(keywords):
    """Warnings are errors here."""
    from stable_baselines3.common.env_checker import check_env as sb3_check_env

    check_env(make(**keywords).unwrapped)
    sb3_check_env(make(**keywords))


@pytest.mark.parametrize("name", ["king_moves", "stay", "stochastic_wind"])
def test_keywords_are_flags(name):
    with pytest.raises(SettingError, match=f"{name} must be True or False, got 1"):
        WindyGrid(**{name: 1})


def test_to_stay_is_a_ninth_action():
    with pytest.raises(SettingError, match="it needs king_moves=True"):
        WindyGrid(stay=True)
