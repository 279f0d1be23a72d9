"""A window of pygame: shows frames, waits for keys. Without a screen it says so."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from registry.errors import SettingError

__all__ = ["Window", "key_help", "keys_of"]

WAIT_MS = 20
ARROWS = {0x40000052: "up", 0x4000004F: "right", 0x40000051: "down", 0x40000050: "left"}
"""The codes of SDL, and so of pygame."""

UP, RIGHT, DOWN, LEFT = ARROWS
NAMED = {LEFT: "left", RIGHT: "right", UP: "up", DOWN: "down", 13: "Enter", 32: "space"}

KNOWN: Mapping[str, dict[int, int]] = {
    "FrozenLake": {LEFT: 0, DOWN: 1, RIGHT: 2, UP: 3},
    "CliffWalking": {UP: 0, RIGHT: 1, DOWN: 2, LEFT: 3},
    "Taxi": {DOWN: 0, UP: 1, RIGHT: 2, LEFT: 3, ord("p"): 4, ord("o"): 5},
    "Blackjack": {ord("s"): 0, ord("h"): 1},
    "CartPole": {LEFT: 0, RIGHT: 1},
    "MountainCar": {LEFT: 0, DOWN: 1, RIGHT: 2},
    "Acrobot": {LEFT: 0, DOWN: 1, RIGHT: 2},
}
"""Keys for environments of Gymnasium that name none themselves, by the name of their id."""


class Window:
    """One window; the first frame gives it its size.

    Args:
        title: Shown by the desktop.
        fps: Frames of a second while somebody watches.

    Raises:
        SettingError: there is no screen.
        DependencyNotInstalled: pygame is missing.
    """

    def __init__(self, title: str, fps: float) -> None:
        try:
            import pygame
        except ImportError as error:
            raise gym.error.DependencyNotInstalled(
                "a window needs pygame-ce, which is not installed: pip install pygame-ce."
            ) from error
        self._pygame = pygame
        try:
            pygame.display.init()
            driver = pygame.display.get_driver()
        except pygame.error:
            driver = ""
        # SDL falls back on a driver that nobody sees; whoever names one means it
        if not os.environ.get("SDL_VIDEODRIVER") and driver in ("", "offscreen", "dummy"):
            pygame.display.quit()
            raise SettingError(
                "there is no screen to show a window on. Without one, name an agent and a file: "
                "--agent ID --gif out.gif."
            )
        pygame.display.set_caption(title)
        self._surface: Any = None
        self._clock = pygame.time.Clock()
        self._pressed: deque[int | None] = deque()
        self.fps = fps
        self.closed = False

    def show(self, frame: NDArray[np.uint8]) -> None:
        """Draws a frame."""
        pygame, size = self._pygame, (frame.shape[1], frame.shape[0])
        if self._surface is None or self._surface.get_size() != size:
            self._surface = pygame.display.set_mode(size)
        self._surface.blit(pygame.surfarray.make_surface(frame.transpose(1, 0, 2)), (0, 0))
        pygame.display.flip()

    def rest(self, seconds: float = 0.0) -> None:
        """Lets a frame be seen: as long as one lasts, or longer. Esc and closing are heard."""
        time = self._pygame.time
        until = time.get_ticks() + 1000 * max(seconds, 1.0 / self.fps)
        while not self.closed and (left := until - time.get_ticks()) > 0:
            self._listen()
            self.closed = self.closed or None in self._pressed
            time.wait(max(1, min(WAIT_MS, int(left))))

    def key(self) -> int | None:
        """Waits for the next key and returns its code; None once the window is closed."""
        self._listen()
        while not self.closed and not self._pressed:
            self._pygame.time.wait(WAIT_MS)
            self._listen()
        pressed = self._pressed.popleft() if self._pressed else None
        self.closed = self.closed or pressed is None
        return None if self.closed else pressed

    def close(self) -> None:
        """Closes the window."""
        self.closed = True
        self._pygame.display.quit()

    def _listen(self) -> None:
        """Keeps the keys pressed since the last call, in order; None for Esc and for closing."""
        pygame = self._pygame
        for event in pygame.event.get():
            if event.type == pygame.QUIT:
                self._pressed.append(None)
            elif event.type == pygame.KEYDOWN:
                self._pressed.append(None if event.key == pygame.K_ESCAPE else event.key)


def keys_of(env: gym.Env[Any, Any]) -> dict[int, Any]:
    """The action of each key: the environment's own `get_keys_to_action`, known ones, or digits.

    Raises:
        SettingError: nobody knows keys for these actions.
    """
    if env.has_wrapper_attr("get_keys_to_action"):
        return _single_keys(env.get_wrapper_attr("get_keys_to_action")())
    name = "" if env.spec is None else env.spec.name
    known = next((keys for start, keys in KNOWN.items() if name.startswith(start)), None)
    if known is not None:
        return dict(known)
    space = env.action_space
    if isinstance(space, gym.spaces.Discrete) and space.n <= 10:
        return {ord(str(k)): int(space.start) + k for k in range(int(space.n))}
    raise SettingError(
        f"there are no keys for the actions {space}: the environment may offer "
        "get_keys_to_action(), as in Gymnasium, or an agent may play, --agent ID."
    )


def key_help(keys: Iterable[int]) -> str:
    """What to press: `arrows or W A S D`, `0 to 4`, `a to f, Enter`."""
    codes = set(keys)
    parts = []
    if codes >= set(ARROWS):
        letters = {ord(letter) for letter in "wasd"}
        parts.append("arrow keys or W A S D" if letters <= codes else "arrow keys")
        codes -= set(ARROWS) | (letters if letters <= codes else set())
    parts += _runs(sorted(code for code in codes if code < 128 and chr(code).isalnum()))
    parts += [name for code, name in NAMED.items() if code in codes]
    return ", ".join(parts)


def _runs(codes: list[int]) -> list[str]:
    """`a to f` for what follows each other, single keys as they are."""
    runs: list[list[int]] = []
    for code in codes:
        if runs and code == runs[-1][-1] + 1:
            runs[-1].append(code)
        else:
            runs.append([code])
    return [chr(r[0]) if len(r) == 1 else f"{chr(r[0])} to {chr(r[-1])}" for r in runs]


def _single_keys(keys: Mapping[Any, Any]) -> dict[int, Any]:
    """The entries of Gymnasium's form that are one key: `"w"`, `("w",)` or a code."""
    found = {}
    for combination, action in keys.items():
        pressed = combination if isinstance(combination, tuple) else (combination,)
        if len(pressed) == 1:
            key = pressed[0]
            found[ord(key) if isinstance(key, str) else int(key)] = action
    return found
