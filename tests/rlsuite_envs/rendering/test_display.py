"""Render modes: what each gives, what a window needs, what none costs."""

from __future__ import annotations

import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest

import rlsuite  # noqa: F401  registers the ids
from registry.errors import SettingError
from rlsuite_envs.rendering.display import Display
from rlsuite_envs.tabular.env import TabularEnv
from rlsuite_envs.tabular.grid_world import GridWorld
from rlsuite_envs.tabular.mdp import TabularMDP


@pytest.fixture
def _no_screen(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


@pytest.mark.parametrize(
    "make",
    [
        lambda mode: gym.make("rlsuite/GridWorld-v0", render_mode=mode),
        lambda mode: gym.make("rlsuite/BernoulliBandit-v0", render_mode=mode),
    ],
)
@pytest.mark.filterwarnings("ignore:.*not in the possible render_modes")
def test_an_unknown_mode_is_refused(make):
    with pytest.raises(SettingError, match=r"render_mode must be None or one of .*got 'svg'"):
        make("svg")


def test_without_a_mode_there_is_a_warning_and_nothing_to_see():
    env = GridWorld()
    env.reset(seed=0)
    with pytest.warns(UserWarning, match="made without a render mode"):
        assert env.render() is None


def test_without_a_mode_there_is_no_display_at_all():
    for name in ("GridWorld", "CliffWalk", "BernoulliBandit", "ContextualBandit"):
        env = gym.make(f"rlsuite/{name}-v0").unwrapped
        assert env.render_mode is None
        assert env._display is None
        env.close()


@pytest.mark.usefixtures("_no_screen")
def test_a_window_shows_every_state_and_is_gymnasiums():
    pygame = pytest.importorskip("pygame")
    env = GridWorld(render_mode="human")
    env.metadata = {**env.metadata, "render_fps": 1000}
    assert env._display._window is None
    env._display._fps = 1000
    env.reset(seed=0)
    window = env._display._window
    assert isinstance(window, gym.wrappers.HumanRendering)
    before = pygame.surfarray.array3d(pygame.display.get_surface()).transpose(1, 0, 2)
    np.testing.assert_array_equal(before, env._frame())
    env.step(1)
    after = pygame.surfarray.array3d(pygame.display.get_surface()).transpose(1, 0, 2)
    np.testing.assert_array_equal(after, env._frame())
    assert (before != after).any()
    assert env.render() is None
    env.close()
    assert pygame.display.get_surface() is None
    env.close()


@pytest.mark.usefixtures("_no_screen")
@pytest.mark.parametrize("go_on", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copy_does_not_take_the_window_with_it(go_on):
    pytest.importorskip("pygame")
    env = gym.make("rlsuite/BernoulliBandit-v0", render_mode="human").unwrapped
    env.reset(seed=0)
    env.step(2)
    twin = go_on(env)
    assert twin._display._display._window is None
    assert twin._display._bandit is twin
    assert "arm 2 paid" in twin._display._text()
    assert twin._display._pulls is not env._display._pulls
    env.close()


def test_a_table_without_a_picture_of_its_own_is_shown_as_tiles():
    mdp = TabularMDP.from_gymnasium(gym.make("FrozenLake-v1"))
    env = TabularEnv(mdp, render_mode="ansi")
    env.reset(seed=0)
    env.step(2)
    assert env.render().count("[") == 1
    assert env.render().endswith("step 1\n")
    pixels = TabularEnv(mdp, render_mode="rgb_array")
    pixels.reset(seed=0)
    plain = pixels.render()
    pixels.overlay(values=np.arange(16.0))
    assert (pixels.render() != plain).any()
    with pytest.raises(SettingError, match="no places of a grid"):
        pixels.overlay(policy=[0] * 16)


def test_a_new_layout_is_shown_once_it_is_drawn():
    env = GridWorld(redraw=True, observation="planes", render_mode="ansi")
    assert "#" not in env.render()
    env.reset(seed=0)
    first = env.render()
    assert first.count("#") == 3
    env.reset()
    assert env.render() != first


def test_overlays_are_drawn_until_they_are_taken_away():
    env = GridWorld(render_mode="ansi")
    env.reset(seed=0)
    plain = env.render()
    env.overlay(policy=[1] * 25)
    assert env.render().count(">") == 21  # 25 cells without three obstacles and the goal
    env.overlay()
    assert env.render() == plain


def test_the_display_calls_its_environment():
    class Blank:
        def _frame(self) -> np.ndarray:
            return np.zeros((2, 2, 3), np.uint8)

        def _text(self) -> str:
            return "blank"

    assert Display(Blank(), "ansi", 1).picture() == "blank"
    assert Display(Blank(), "rgb_array", 1).picture().shape == (2, 2, 3)
