"""Text: every token with its reward."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

import rlsuite  # noqa: F401  registers the ids
from rlsuite_envs.rendering.canvas import BLUE, GREEN, INK, VERMILLION
from rlsuite_envs.rendering.letters import END, Page, frame, text

LETTERS = ("a", "b")


def page(*written: str, reward: float = 0.0) -> Page:
    rewards = [0.0] * len(written)
    if rewards:
        rewards[-1] = reward
    over = END in written
    return Page(
        prompt="ab",
        written=written,
        limit=3,
        rewards=rewards,
        log_probs=[-0.5] * len(written),
        tokens=(*LETTERS, END),
        next_probs=[] if over else [0.5, 0.25, 0.25],
    )


def box(picture: np.ndarray, place: int) -> tuple[int, ...]:
    """The ground of the box at a place, near its upper edge."""
    return tuple(picture[22 + 4, 84 + 66 * place + 27])


def test_boxes_fill_up_from_the_left():
    empty, one, over = frame(page(), ""), frame(page("a"), ""), frame(page("a", END), "")
    assert box(one, 2) == BLUE
    assert box(empty, 2) == (255, 255, 255)
    assert box(over, 3) == INK
    assert box(one, 0) == box(empty, 0)


@pytest.mark.parametrize(("reward", "color"), [(1.0, GREEN), (-1.0, VERMILLION)])
def test_the_sign_of_a_reward_has_a_colour_and_is_written(reward, color):
    picture = frame(page("a", END, reward=reward), "")
    assert (picture == color).all(axis=-1).any()
    assert f"reward  {reward:6.3f}" in text(page("a", END, reward=reward), "")


def test_a_token_that_the_reference_cannot_write():
    shown = Page(
        prompt="ab",
        written=["a"],
        limit=3,
        rewards=[0.0],
        log_probs=[-np.inf],
        tokens=(*LETTERS, END),
        next_probs=[0.0, 0.0, 1.0],
    )
    assert frame(shown, "").shape == (344, 560, 3)
    assert "log p_ref    -inf" in text(shown, "")


def test_the_environment_shows_its_text_and_reward():
    env = gym.make("rlsuite/TokenGeneration-v0", render_mode="ansi")
    env.reset(seed=0, options={"prompt": (0, 1)})
    env.step(1)
    _, _, _, _, info = env.step(3)
    lines = env.render().splitlines()
    assert lines[0] == "ab|bd"
    assert lines[2].endswith(f"{info['ref_logprob']:.3f}")
    assert lines[-1] == "2 of 5 tokens"
    _, reward, *_ = env.step(6)
    lines = env.render().splitlines()
    assert lines[0] == "ab|bd."
    assert f"reward {reward:7.3f}" in lines[3]
    assert lines[-1].startswith("finished   reward")


def test_a_text_that_was_cut_off_says_so():
    env = gym.make("rlsuite/TokenGeneration-v0", render_mode="ansi", max_new_tokens=1)
    env.reset(seed=0)
    env.step(0)
    assert "cut off −0.50" in env.render()


def test_the_picture_is_read_off_the_state():
    env = gym.make("rlsuite/TokenGeneration-v0", render_mode="rgb_array").unwrapped
    twin = gym.make("rlsuite/TokenGeneration-v0", render_mode="rgb_array").unwrapped
    env.reset(seed=3)
    env.step(2)
    twin.set_state(env.get_state())
    assert env.render().tobytes() == twin.render().tobytes()


def test_there_is_a_picture_before_the_first_reset():
    env = gym.make("rlsuite/TokenGeneration-v0", render_mode="ansi").unwrapped
    assert env.render().startswith("  |\n")
