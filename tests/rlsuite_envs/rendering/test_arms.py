"""Arms: counts, means, intervals, and the truth only on request."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

import rlsuite  # noqa: F401  registers the ids
from rlsuite_envs.rendering.arms import (
    APART,
    LEFT,
    RIGHT,
    WIDTH,
    Bounds,
    Pulls,
    _label_step,
    frame,
    interval,
    text,
)
from rlsuite_envs.rendering.canvas import BLUE, ORANGE
from rlsuite_envs.rendering.font import text_width

BINARY = Bounds(0.0, 1.0, True)


def has(picture: np.ndarray, color: tuple[int, int, int]) -> bool:
    return bool((picture == color).all(axis=-1).any())


def pulls_of(*rewards: float) -> Pulls:
    pulls = Pulls.none(2)
    for reward in rewards:
        pulls.saw(0, reward)
    return pulls


def test_wilson_by_the_formula_and_by_a_table():
    """7 of 10 successes: [0.397, 0.892] (Brown, Cai & DasGupta's Wilson interval)."""
    low, high = interval(pulls_of(*[1.0] * 7, *[0.0] * 3), 0, True)
    assert (low, high) == pytest.approx((0.3968, 0.8922), abs=1e-4)


def test_the_normal_interval_by_hand():
    """Rewards 1, 2, 3: mean 2, variance 1, half width 1.96 / sqrt(3)."""
    low, high = interval(pulls_of(1.0, 2.0, 3.0), 0, False)
    assert (low, high) == pytest.approx((2 - 1.959964 / 3**0.5, 2 + 1.959964 / 3**0.5))


def test_no_interval_without_pulls():
    assert interval(pulls_of(), 0, True) is None
    assert interval(pulls_of(1.0), 1, True) is None
    assert interval(pulls_of(1.0), 0, False) is None


def test_rewards_that_never_vary_have_an_interval_without_width():
    assert interval(pulls_of(0.1, 0.1, 0.1), 0, False) == pytest.approx((0.1, 0.1))


def test_a_mean_is_drawn_once_there_is_one():
    assert not has(frame(pulls_of(), BINARY, ""), BLUE)
    assert has(frame(pulls_of(1.0), BINARY, ""), BLUE)


def test_the_truth_is_shown_on_request_alone():
    assert not has(frame(pulls_of(1.0), BINARY, ""), ORANGE)
    assert has(frame(pulls_of(1.0), BINARY, "", truth=[0.2, 0.9]), ORANGE)


@pytest.mark.parametrize("n_arms", [1, 5, 40, 300])
def test_any_number_of_arms_fits(n_arms):
    pulls = Pulls.none(n_arms)
    pulls.saw(n_arms - 1, 1.0)
    assert frame(pulls, BINARY, "").shape == (338, 560, 3)


@pytest.mark.parametrize(
    ("n_arms", "step"), [(1, 1), (10, 1), (30, 2), (61, 5), (200, 20), (2000, 200)]
)
def test_labels_of_arms_have_round_steps_and_stay_apart(n_arms, step):
    assert _label_step(n_arms) == step
    room = step * (WIDTH - LEFT - RIGHT) / n_arms
    assert room >= text_width(str(n_arms - 1), 10) + APART


@pytest.mark.parametrize(("n_arms", "caps"), [(60, True), (61, False)])
def test_intervals_of_many_arms_have_no_caps(n_arms, caps):
    """Cap of the interval of arm 30: wider than its line, in the plot above the bars."""
    pulls = Pulls.none(n_arms)
    for reward in (0.0, 1.0) * 4:
        pulls.saw(30, reward)
    pulls.last = None
    picture = frame(pulls, BINARY, "").astype(int)
    blueish = picture[41:200, LEFT : WIDTH - RIGHT, 2] - picture[41:200, LEFT : WIDTH - RIGHT, 0]
    widths = (blueish > 40).sum(axis=1)
    bare = widths[widths > 0]
    assert (bare[0] > np.median(bare)) == caps


@pytest.mark.parametrize("d", [1, 10, 22])
def test_any_context_fits_above(d):
    plain = frame(Pulls.none(3), BINARY, "")
    picture = frame(Pulls.none(3), BINARY, "", context=[1.0] * d)
    assert picture.shape[0] == plain.shape[0] + 40
    assert has(picture, BLUE)


def test_the_text_is_a_table():
    shown = text(pulls_of(1.0, 0.0), BINARY, "pull 2", context=[1.0, -1.0], truth=[0.5, 0.25])
    lines = shown.splitlines()
    assert lines[0] == "context +-"
    assert lines[2].split() == [">", "0", "2", "0.500", "[0.095,", "0.905]", "0.500"]
    assert lines[3].split() == ["1", "0", "-", "-", "0.250"]
    assert lines[-1] == "pull 2"


def test_an_episode_is_counted_and_the_next_begins_anew():
    env = gym.make("rlsuite/BernoulliBandit-v0", render_mode="ansi", means=[1.0, 0.0], horizon=3)
    env.reset(seed=0)
    for arm in (0, 0, 1):
        env.step(arm)
    assert "pull 3 of 3   return 2   arm 1 paid 0" in env.render()
    env.reset()
    assert env.render().endswith("pull 0 of 3\n")


def test_a_state_that_was_set_tells_the_clock_but_no_pulls():
    env = gym.make("rlsuite/ContextualBandit-v0", render_mode="ansi").unwrapped
    env.reset(seed=0)
    env.step(1)
    state = env.get_state()
    env.step(1)
    env.set_state(state)
    shown = env.render()
    assert shown.endswith("pull 1 of 1000\n")
    assert ">" not in shown
    env.step(2)
    assert "pull 2 of 1000   arm 2 paid" in env.render()  # no return: one pull was not seen


def test_the_context_is_the_next_ones():
    env = gym.make("rlsuite/ContextualBandit-v0", render_mode="ansi", d=3)
    observation, _ = env.reset(seed=1)
    shown = "".join("+" if x > 0 else "-" for x in observation)
    assert env.render().startswith(f"context {shown}\n")


@pytest.mark.parametrize("name", ["BernoulliBandit", "ContextualBandit"])
def test_a_bandit_reveals_its_truth_when_asked(name):
    env = gym.make(f"rlsuite/{name}-v0", render_mode="rgb_array")
    env.reset(seed=0)
    assert not has(env.render(), ORANGE)
    env.unwrapped.overlay(truth=True)
    assert has(env.render(), ORANGE)
    env.unwrapped.overlay()
    assert not has(env.render(), ORANGE)


def test_bandits_draw_before_the_first_reset():
    for name in ("BernoulliBandit", "ContextualBandit"):
        env = gym.make(f"rlsuite/{name}-v0", render_mode="rgb_array").unwrapped
        assert env.render().shape[1] == 560


def test_a_digit_is_seen_as_an_image():
    """64 features as 8 x 8 cells of 5 pixels: filled where a pixel is in the upper half."""
    env = gym.make("rlsuite/ClassificationBandit-v0", render_mode="rgb_array")
    observation, _ = env.reset(seed=0)
    frame = env.render()
    colors = frame[8:46:5, 68:106:5].reshape(64, 3).tolist()
    filled = [color == colors[int(observation.argmax())] for color in colors]
    assert filled == (observation > 0.5).tolist()
