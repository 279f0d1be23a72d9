"""The display of the bandits: it remembers what an episode has shown of the arms."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rlsuite_envs.rendering import arms
from rlsuite_envs.rendering.canvas import Frame
from rlsuite_envs.rendering.display import Display, check_mode
from rlsuite_envs.rendering.grid import number

__all__ = ["BanditDisplay", "BanditScene", "bandit_display"]


@dataclass(frozen=True, kw_only=True, slots=True)
class BanditScene:
    """What a bandit knows: the clock, the true means now, the features of the context now."""

    t: int
    horizon: int
    means: Sequence[float] | None
    context: Sequence[float] | None = None


class Bandit(Protocol):
    """A bandit that can be drawn."""

    n_arms: int
    metadata: dict[str, Any]

    def _scene(self) -> BanditScene:
        """Its present state."""
        ...


class BanditDisplay:
    """Counts the pulls of an episode and draws them.

    Counts begin at a reset, or where a state was set: a saved state does not tell them.

    Attributes:
        truth: Whether the true means are drawn too.
    """

    def __init__(self, bandit: Bandit, mode: str, bounds: arms.Bounds) -> None:
        self._bandit, self._bounds = bandit, bounds
        self._pulls = arms.Pulls.none(bandit.n_arms)
        self._display = Display(self, check_mode(mode), bandit.metadata["render_fps"])
        self.truth = False

    def saw(self, arm: int, reward: float) -> None:
        """Counts a pull, and shows it where there is a window."""
        self._pulls.saw(arm, reward)
        self._display.show()

    def restart(self) -> None:
        """A new episode."""
        self.forget()
        self._display.show()

    def forget(self) -> None:
        """No pull was seen."""
        self._pulls.forget()

    def remember(self, pulls: arms.Pulls) -> None:
        """Draws these pulls from now on, which somebody else has counted."""
        self._pulls = copy.deepcopy(pulls)

    def picture(self) -> Any:
        """What `render` returns."""
        return self._display.picture()

    def close(self) -> None:
        """Closes the window."""
        self._display.close()

    def _frame(self) -> Frame:
        scene = self._bandit._scene()
        truth = scene.means if self.truth else None
        caption = self._caption(scene)
        return arms.frame(self._pulls, self._bounds, caption, context=scene.context, truth=truth)

    def _text(self) -> str:
        scene = self._bandit._scene()
        truth = scene.means if self.truth else None
        caption = self._caption(scene)
        return arms.text(self._pulls, self._bounds, caption, context=scene.context, truth=truth)

    def _caption(self, scene: BanditScene) -> str:
        parts = [f"pull {scene.t} of {scene.horizon}"]
        if sum(self._pulls.counts) == scene.t > 0:
            parts.append(f"return {number(sum(self._pulls.sums))}")
        if self._pulls.last is not None:
            arm, reward = self._pulls.last
            parts.append(f"arm {arm} paid {number(reward)}")
        return "   ".join(parts)


def bandit_display(bandit: Any, mode: str | None, bounds: arms.Bounds) -> BanditDisplay | None:
    """The display of a bandit; None, which costs nothing, where `render_mode` is None.

    Raises:
        SettingError: there is no such mode.
    """
    return None if mode is None else BanditDisplay(bandit, mode, bounds)
