"""What an environment shows in the render mode it was made with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import gymnasium as gym

from registry.errors import SettingError
from rlsuite_envs.rendering.canvas import Frame

__all__ = ["RENDER_MODES", "Display", "check_mode", "display_for", "render", "render_metadata"]

RENDER_MODES = ("human", "rgb_array", "ansi")


class Drawable(Protocol):
    """An environment that can draw its present state."""

    def _frame(self) -> Frame:
        """The picture, a fresh array [height, width, 3]."""
        ...

    def _text(self) -> str:
        """The same as text."""
        ...


class HasPicture(Protocol):
    """A display."""

    def picture(self) -> Any:
        """What `env.render()` returns."""
        ...


def render_metadata(fps: int) -> dict[str, Any]:
    """The class attribute `metadata` of an environment that shows `fps` steps a second."""
    return {"render_modes": list(RENDER_MODES), "render_fps": fps}


class Display:
    """Draws an environment: as pixels, as text, or in a window.

    The window is the one of Gymnasium's `HumanRendering`; it is opened by the first frame, and
    copies and pickles of an environment open their own.
    """

    def __init__(self, env: Drawable, mode: str, fps: int) -> None:
        self._env, self.mode, self._fps = env, mode, fps
        self._window: gym.wrappers.HumanRendering[Any, Any] | None = None

    def show(self) -> None:
        """Draws a frame in the window, if the mode is `"human"`; waits as long as a frame lasts."""
        if self.mode != "human":
            return
        if self._window is None:
            self._window = gym.wrappers.HumanRendering(_Frames(self._env._frame, self._fps))
        self._window.reset()

    def picture(self) -> Frame | str | None:
        """The frame, the text, or None after showing it."""
        if self.mode == "rgb_array":
            return self._env._frame()
        if self.mode == "ansi":
            return self._env._text()
        self.show()
        return None

    def close(self) -> None:
        """Closes the window; a later frame opens another one."""
        if self._window is not None:
            self._window.close()
            self._window = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_window": None}


class _Frames(gym.Env[None, int]):
    """Somebody's frames, in the form in which Gymnasium's wrapper takes them."""

    render_mode = "rgb_array"

    def __init__(self, frame: Callable[[], Frame], fps: int) -> None:
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": fps}
        self._frame = frame

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[None, dict[str, Any]]:
        """Nothing to reset: the wrapper shows a frame afterwards."""
        return None, {}

    def render(self) -> Any:
        """The present frame."""
        return self._frame()


def display_for(env: Any, mode: str | None) -> Display | None:
    """The display of an environment; None, which costs nothing, where `render_mode` is None.

    Raises:
        SettingError: there is no such mode.
    """
    return None if mode is None else Display(env, check_mode(mode), env.metadata["render_fps"])


def check_mode(mode: str) -> str:
    """The render mode.

    Raises:
        SettingError: there is no such mode.
    """
    if mode not in RENDER_MODES:
        known = ", ".join(map(repr, RENDER_MODES))
        raise SettingError(f"render_mode must be None or one of {known}, got {mode!r}.")
    return mode


def render(display: HasPicture | None) -> Any:
    """What `env.render()` returns; as in Gymnasium, a warning and None without a render mode."""
    if display is None:
        gym.logger.warn(
            "render() shows nothing, because the environment was made without a render mode: give "
            'one to gymnasium.make, such as render_mode="rgb_array".'
        )
        return None
    return display.picture()
