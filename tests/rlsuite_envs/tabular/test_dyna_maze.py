"""DynaMaze: the mazes of Figures 8.2, 8.4 and 8.5, and what changes in them."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import rlsuite  # noqa: F401  registers the ids
from registry.errors import SettingError
from rlsuite_envs.tabular.dyna_maze import DynaMaze

UP, RIGHT, DOWN, LEFT = range(4)
AROUND_THE_RIGHT = [*[RIGHT] * 5, *[UP] * 5]
AROUND_THE_LEFT = [*[LEFT] * 3, *[UP] * 5, *[RIGHT] * 8]
KEYWORDS = [{}, {"variant": "blocking"}, {"variant": "shortcut", "change_at": 2}]


def make(**keywords):
    return gym.make("rlsuite/DynaMaze-v0", **keywords)


def walk(env, actions):
    return [env.step(action) for action in actions]


@pytest.mark.parametrize(
    ("variant", "lengths"), [("dyna", [14]), ("blocking", [10, 16]), ("shortcut", [16, 10])]
)
def test_the_shortest_paths_of_the_book(variant, lengths):
    """By the answer key, discounted: the goal after n steps is worth gamma^(n - 1)."""
    env = make(variant=variant).unwrapped
    assert len(env.phases) == len(lengths)
    for phase, n in enumerate(lengths):
        discounted = env.oracle(phase=phase, gamma=0.95)
        assert discounted.optimal_return == pytest.approx(0.95 ** (n - 1), rel=1e-12)
        assert env.oracle(phase=phase).optimal_return == 1.0
        assert env.oracle(phase=phase, horizon=n - 1).optimal_return == 0.0
        assert env.best_rates[phase] == 1.0 / n


def test_the_maze_of_figure_8_2_by_hand():
    env = make()
    assert env.reset(seed=0) == (18, {"prob": 1.0})
    assert env.step(LEFT)[0] == 18
    steps = walk(env, [RIGHT, RIGHT, UP, LEFT])
    assert [step[0] for step in steps] == [19, 19, 10, 9]
    assert steps[0] == (19, 0.0, False, False, {"prob": 1.0})
    env.reset()
    path = [RIGHT, DOWN, DOWN, *[RIGHT] * 3, UP, *[RIGHT] * 4, UP, UP, UP]
    steps = walk(env, path)
    assert len(path) == 14
    assert sum(step[1] for step in steps) == 1.0
    assert steps[-1] == (8, 1.0, True, False, {"prob": 1.0})


def test_the_way_is_blocked_after_so_many_steps_of_the_run():
    env = make(variant="blocking", change_at=15)
    env.reset(seed=3)
    steps = walk(env, AROUND_THE_RIGHT)
    assert [step[2] for step in steps] == [False] * 9 + [True]
    assert [step[4]["regret"] for step in steps] == [0.1] * 9 + [0.1 - 1.0]
    env.reset()
    steps = walk(env, AROUND_THE_RIGHT[:7])
    # the sixth step would have gone through the opening; the wall was built before it
    assert [step[0] for step in steps] == [49, 50, 51, 52, 53, 44, 44]
    assert [step[4]["regret"] for step in steps] == [0.1] * 5 + [0.0625] * 2
    env.reset()
    assert [step[2] for step in walk(env, AROUND_THE_LEFT)] == [False] * 15 + [True]


def test_the_shortcut_is_opened_and_the_long_way_stays():
    env = make(variant="shortcut", change_at=16)
    env.reset(seed=0)
    assert walk(env, AROUND_THE_LEFT)[-1][2]
    for path in (AROUND_THE_RIGHT, AROUND_THE_LEFT):
        env.reset()
        assert [step[2] for step in walk(env, path)] == [False] * (len(path) - 1) + [True]


def test_a_seeded_reset_begins_a_run_and_others_go_on():
    env = make(variant="shortcut", change_at=3).unwrapped
    env.reset(seed=0)
    walk(env, [UP] * 3)
    assert env.phase == 1
    env.reset()
    assert (env.phase, env.get_state()["steps"]) == (1, 3)
    env.reset(seed=0)
    assert (env.phase, env.get_state()["steps"]) == (0, 0)


def test_a_wall_may_be_built_where_somebody_stands():
    env = make(variant="blocking", change_at=7)
    env.reset(seed=0)
    walk(env, AROUND_THE_RIGHT[:7])  # stands in the opening as it is closed
    assert env.step(RIGHT)[0] == 35
    assert env.step(UP)[0] == 26
    assert env.step(DOWN)[0] == 26


def test_regret_is_what_the_best_rate_would_have_brought():
    """Goals of the best play less those of this one, for whole episodes and in between."""
    env = make(variant="blocking")
    env.reset(seed=0)
    total, goals = 0.0, 0
    rng = np.random.default_rng(1)
    for _ in range(2000):
        step = env.step(int(rng.integers(4)))
        total += step[4]["regret"]
        goals += step[2]
        if step[2] or step[3]:
            env.reset()
    assert total == pytest.approx(1000 / 10 + 1000 / 16 - goals, abs=1e-9)


def test_the_answer_key_is_of_one_phase():
    env = make(variant="blocking", change_at=2).unwrapped
    env.reset(seed=0)
    before = env.oracle(gamma=0.95)
    walk(env, [UP, UP])
    after = env.oracle(gamma=0.95)
    assert (before.scope, after.scope) == ("instance", "instance")
    assert before.optimal_return == pytest.approx(0.95**9)
    assert after.optimal_return == pytest.approx(0.95**15)
    assert make().unwrapped.oracle().scope == "task"
    with pytest.raises(SettingError, match="phase must be from 0 to 1, got 2"):
        env.oracle(phase=2)
    with pytest.raises(SettingError, match="phase must be from 0 to 0, got 1"):
        make().unwrapped.oracle(phase=1)


def test_saved_states_hold_the_clock_of_the_run():
    env, other = (make(variant="shortcut", change_at=4).unwrapped for _ in range(2))
    env.reset(seed=5)
    for steps in range(8):
        other.set_state(env.get_state())
        assert other.get_state() == env.get_state()
        assert other.phase == env.phase == int(steps >= 4)
        assert walk(env, [RIGHT, UP][steps % 2 :][:1]) == walk(other, [RIGHT, UP][steps % 2 :][:1])
    with pytest.raises(SettingError, match="takes what get_state"):
        other.set_state({**make().unwrapped.get_state()})
    with pytest.raises(SettingError, match="'steps' must be a whole number of at least 0"):
        other.set_state({**env.get_state(), "steps": -1})
    still = make().unwrapped
    still.reset(seed=0)
    assert sorted(still.get_state()) == ["rng", "state", "t"]


def test_no_compiled_loop_may_take_a_maze_that_changes_for_its_table():
    assert not DynaMaze(variant="blocking").follows_model
    assert DynaMaze().follows_model


def test_pictures_show_the_present_maze():
    env = make(variant="shortcut", change_at=1, render_mode="ansi")
    env.reset(seed=0)
    assert env.render().splitlines()[3].split() == [".", *"########"]
    env.step(UP)
    assert env.render().splitlines()[3].split() == [".", *"#######", "."]
    assert env.render().splitlines()[-1] == "step 1, 1 of the run"
    env = make(variant="shortcut", change_at=1, render_mode="rgb_array")
    env.reset(seed=0)
    before = env.render()
    env.step(DOWN)
    env.step(UP)
    assert before.shape == env.render().shape
    assert (before != env.render()).any()


@pytest.mark.parametrize("keywords", KEYWORDS)
def test_both_checkers_have_nothing_to_say(keywords):
    """Warnings are errors here."""
    from stable_baselines3.common.env_checker import check_env as sb3_check_env

    check_env(make(**keywords).unwrapped)
    sb3_check_env(make(**keywords))


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"variant": "figure"}, "variant must be 'dyna', 'blocking' or 'shortcut', got 'figure'"),
        ({"change_at": 5}, "change_at needs variant='blocking' or 'shortcut'"),
        ({"variant": "blocking", "change_at": 0}, "change_at must be a whole number of at least 1"),
    ],
)
def test_keywords_outside_their_range_are_refused(keywords, message):
    with pytest.raises(SettingError, match=message):
        DynaMaze(**keywords)
