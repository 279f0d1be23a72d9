"""Windows and keys, on a screen that is none: SDL's dummy driver and posted events."""

from __future__ import annotations

import time

import gymnasium as gym
import numpy as np
import pytest

import rlsuite  # noqa: F401  registers the ids
from registry.errors import SettingError
from rlsuite.showing.window import Window, key_help, keys_of

pygame = pytest.importorskip("pygame")


@pytest.fixture
def window(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    opened = Window("a title", fps=500)
    pygame.event.clear()
    yield opened
    opened.close()


def press(*codes: int) -> None:
    for code in codes:
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=code))


def test_a_frame_is_shown_pixel_by_pixel(window):
    frame = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    window.show(frame)
    shown = pygame.surfarray.array3d(pygame.display.get_surface()).transpose(1, 0, 2)
    np.testing.assert_array_equal(shown, frame)
    window.show(frame[:10])
    assert pygame.display.get_surface().get_size() == (30, 10)


def test_keys_come_in_order_and_escape_ends(window):
    press(pygame.K_UP, ord("a"), pygame.K_ESCAPE, ord("b"))
    assert [window.key(), window.key()] == [pygame.K_UP, ord("a")]
    assert window.key() is None
    assert window.closed
    assert window.key() is None


def test_closing_the_window_ends(window):
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    assert window.key() is None


def test_other_events_are_no_keys(window):
    pygame.event.post(pygame.event.Event(pygame.KEYUP, key=ord("a")))
    press(ord("b"))
    assert window.key() == ord("b")


def test_a_frame_rests_and_escape_cuts_it_short(window):
    start = time.perf_counter()
    window.rest(0.05)
    assert time.perf_counter() - start >= 0.045
    press(pygame.K_ESCAPE)
    window.rest(60.0)
    assert window.closed


@pytest.mark.parametrize("driver", [None, "offscreen"])
def test_without_a_screen_it_says_what_to_do(monkeypatch, driver):
    """SDL's own choice of a driver that shows nothing is no screen."""
    monkeypatch.delenv("SDL_VIDEODRIVER", raising=False)
    if driver is None:

        def fail():
            raise pygame.error("No available video device")

        monkeypatch.setattr(pygame.display, "init", fail)
    else:
        monkeypatch.setattr(pygame.display, "init", lambda: None)
        monkeypatch.setattr(pygame.display, "get_driver", lambda: driver)
    with pytest.raises(SettingError, match=r"no screen .* --agent ID --gif out\.gif"):
        Window("a title", fps=1)


def test_without_pygame_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pygame", None)
    with pytest.raises(gym.error.DependencyNotInstalled, match="pip install pygame-ce"):
        Window("a title", fps=1)


@pytest.mark.parametrize(
    ("identifier", "shown"),
    [
        ("rlsuite/GridWorld-v0", "arrow keys or W A S D"),
        ("rlsuite/CliffWalk-v0", "arrow keys or W A S D"),
        ("rlsuite/BernoulliBandit-v0", "0 to 4"),
        ("rlsuite/TokenGeneration-v0", "a to f, Enter"),
        ("FrozenLake-v1", "arrow keys"),
        ("Taxi-v4", "arrow keys, o to p"),
        ("CartPole-v1", "left, right"),
    ],
)
def test_keys_of_well_known_environments(identifier, shown):
    env = gym.make(identifier)
    keys = keys_of(env)
    assert set(keys.values()) == set(range(env.action_space.n))
    assert key_help(keys) == shown


def test_frozen_lakes_arrows_are_its_own():
    """Gymnasium's FrozenLake: 0 left, 1 down, 2 right, 3 up."""
    keys = keys_of(gym.make("FrozenLake-v1"))
    order = [pygame.K_LEFT, pygame.K_DOWN, pygame.K_RIGHT, pygame.K_UP]
    assert [keys[key] for key in order] == [0, 1, 2, 3]


class Actions(gym.Env):
    def __init__(self, space: gym.Space, keys: dict | None = None) -> None:
        self.action_space = space
        if keys is not None:
            self.get_keys_to_action = lambda: keys


def test_unknown_environments_get_digits():
    keys = keys_of(Actions(gym.spaces.Discrete(3, start=5)))
    assert keys == {ord("0"): 5, ord("1"): 6, ord("2"): 7}


def test_gymnasiums_forms_of_keys_are_understood_and_combinations_left_out():
    keys = {"w": 0, ("a",): 1, (pygame.K_UP,): 2, ("a", "w"): 3, (): 4}
    found = keys_of(Actions(gym.spaces.Discrete(5), keys))
    assert found == {ord("w"): 0, ord("a"): 1, pygame.K_UP: 2}


@pytest.mark.parametrize("space", [gym.spaces.Discrete(11), gym.spaces.Box(-1, 1, (2,))])
def test_actions_without_keys_are_refused(space):
    with pytest.raises(SettingError, match="there are no keys for the actions"):
        keys_of(Actions(space))
