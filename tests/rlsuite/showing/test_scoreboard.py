"""The score below the picture: counted right, compared with what could be."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

from registry.errors import SettingError
from rlsuite.showing.scoreboard import PlayedEpisode, Scoreboard, with_lines

CORRIDOR = {"map": "S.G"}


def board_of(identifier: str, seen: list | None = None, help: str = "", **kwargs) -> Scoreboard:
    env = gym.make(identifier, render_mode="rgb_array", **kwargs)
    objective = "Token" in identifier
    frames = [] if seen is None else seen
    return Scoreboard(env, lambda *shown: frames.append(shown), objective=objective, help=help)


def test_an_episode_is_counted_shown_and_compared():
    seen: list = []
    board = board_of("rlsuite/GridWorld-v0", seen, **CORRIDOR)
    board.reset(seed=0)
    assert board.lines() == ("episode 1   step 0   return 0", "optimal 0.990")
    board.step(0)
    board.step(1)
    board.step(1)
    assert board.lines() == (
        "episode 1   step 3   return 0.980   the end",
        "optimal 0.990: 0.010 short of it",
    )
    assert board.finished == [PlayedEpisode(episode_return=0.98, length=3, terminated=True)]
    assert [ends for _, ends in seen] == [False, False, False, True]
    assert len({frame.tobytes() for frame, _ in seen}) == 4
    board.reset()
    assert board.lines()[0] == "episode 2   step 0   return 0"


def test_the_optimum_is_reached_or_surpassed_by_luck():
    board = board_of("rlsuite/GridWorld-v0", **CORRIDOR)
    board.reset(seed=0)
    board.step(1)
    board.step(1)
    assert board.lines()[1] == "optimal 0.990: reached"
    lucky = board_of("rlsuite/GridWorld-v0", slip=0.5, **CORRIDOR)
    for seed in range(20):
        lucky.reset(seed=seed)
        if not lucky.step(1)[2] and lucky.step(1)[2]:
            break
    assert lucky.lines()[1].endswith("above, by luck")


def test_a_time_limit_is_named():
    board = board_of("rlsuite/GridWorld-v0", max_episode_steps=1, **CORRIDOR)
    board.reset(seed=0)
    board.step(0)
    assert board.lines()[0].endswith("time is up")
    assert board.finished[0].terminated is False


def test_a_bandit_shows_its_regret():
    board = board_of("rlsuite/BernoulliBandit-v0", means=[0.25, 0.75], horizon=8)
    board.reset(seed=0)
    assert board.lines()[1] == "optimal 6"
    board.step(0)
    board.step(1)
    assert board.regret == 0.5
    assert board.lines()[1] == "regret so far 0.500   optimal 6 in 8 steps"


def test_a_text_is_compared_with_the_best_reward_not_the_objective():
    board = board_of("rlsuite/TokenGeneration-v0")
    board.reset(seed=0)
    plain = gym.make("rlsuite/TokenGeneration-v0").unwrapped.oracle(beta=0.0)
    assert board.optimal == plain.optimal_return


def test_arms_drawn_anew_are_looked_up_anew():
    board = board_of("rlsuite/BernoulliBandit-v0", n_arms=3, redraw="episode")
    board.reset(seed=0)
    first = board.optimal
    board.reset()
    assert board.optimal != first


def test_without_an_answer_key_it_says_so():
    board = board_of("CartPole-v1")
    board.reset(seed=0)
    assert board.lines()[1] == "no answer key: the optimal return is not known"


def test_a_person_is_told_the_keys_and_how_to_go_on():
    board = board_of("rlsuite/GridWorld-v0", help="arrow keys", **CORRIDOR)
    board.reset(seed=0)
    assert board.lines()[-1] == "arrow keys"
    board.step(1)
    board.step(1)
    assert board.lines()[-1] == "any key goes on   Esc ends"


def test_the_course_is_the_same_with_and_without_it():
    plain = gym.make("rlsuite/BernoulliBandit-v0")
    board = board_of("rlsuite/BernoulliBandit-v0")
    plain.reset(seed=3)
    board.reset(seed=3)
    for k in range(30):
        assert plain.step(k % 5)[1] == board.step(k % 5)[1]


def test_an_environment_made_without_pictures_is_refused():
    with pytest.raises(SettingError, match=r"made with render_mode='rgb_array', got None"):
        Scoreboard(gym.make("rlsuite/GridWorld-v0"), lambda *shown: None)


def test_lines_are_written_below_a_frame_that_stays_as_it_is():
    frame = np.zeros((51, 301, 3), np.uint8)
    shown = with_lines(frame, ["episode 1", "optimal 3"])
    assert shown.dtype == np.uint8
    assert shown.shape[0] % 2 == shown.shape[1] % 2 == 0  # as films need
    left = (shown.shape[1] - 301) // 2
    np.testing.assert_array_equal(shown[:51, left : left + 301], frame)
    assert (shown[:51, : left - 1] == 255).all()
    below = shown[52:]
    assert (below < 100).any()
    assert (below == 255).all(axis=-1).mean() > 0.8
