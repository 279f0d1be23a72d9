"""A game with its score: counts what is played and writes it below the environment's picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from registry.contracts import HasOracle
from registry.errors import SettingError
from rlsuite.answer_key import find_answer_key, layers, time_limit
from rlsuite.reporting.formatting import number

__all__ = ["PlayedEpisode", "Scoreboard", "with_lines"]

Frame = NDArray[np.uint8]
Audience = Callable[[Frame, bool], None]
"""Called with every picture, and whether an episode ends with it."""

NARROWEST, PADDING, LINE_HEIGHT, TEXT_SIZE = 440, 12, 22, 14
PAPER, INK, MUTED, RULE = (255, 255, 255), (31, 36, 44), (99, 108, 120), (214, 218, 224)


@dataclass(frozen=True, kw_only=True, slots=True)
class PlayedEpisode:
    """An episode that came to its end."""

    episode_return: float
    length: int
    terminated: bool


class Scoreboard(gym.Wrapper[Any, Any, Any, Any]):
    """Shows every state to an audience, with what was earned so far beside what could be.

    The task stays as it is. The optimal return is that of the answer key, where there is one; for
    a token task it is that of the reward alone, as a played text shows nothing else.

    Args:
        env: Made with `render_mode="rgb_array"`.
        audience: Called with every picture.
        objective: Whether the task is scored by the KL-regularised objective.
        help: A last line for a person who plays: the keys.

    Attributes:
        finished: The episodes that came to their end.
        regret: The pseudo-regret of all steps, None where the environment tells none.

    Raises:
        SettingError: the environment has no picture.
    """

    stateless = True

    def __init__(
        self,
        env: gym.Env[Any, Any],
        audience: Audience,
        *,
        objective: bool = False,
        help: str = "",
    ) -> None:
        super().__init__(env)
        if env.render_mode != "rgb_array":
            raise SettingError(
                f"a scoreboard needs an environment made with render_mode='rgb_array', got "
                f"{env.render_mode!r}."
            )
        self.audience, self.help = audience, help
        self.finished: list[PlayedEpisode] = []
        self.regret: float | None = None
        self.optimal: float | None = None
        self._objective, self._scope = objective, ""
        self._episode, self._length, self._total = -1, 0, 0.0
        self._ended = ""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begins the next episode and shows it."""
        result = self.env.reset(seed=seed, options=options)
        self._episode += 1
        self._length, self._total, self._ended = 0, 0.0, ""
        if (
            self._scope != "task"
        ):  # answers of one layout or of one set of arms hold for one episode
            self._look_up()
        self.audience(self.picture(), False)
        return result

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Takes a step and shows it."""
        result = self.env.step(action)
        _, reward, terminated, truncated, info = result
        self._length += 1
        self._total += float(reward)
        if "regret" in info:
            self.regret = (self.regret or 0.0) + float(info["regret"])
        if terminated or truncated:
            self._ended = "the end" if terminated else "time is up"
            self.finished.append(
                PlayedEpisode(
                    episode_return=self._total, length=self._length, terminated=bool(terminated)
                )
            )
        self.audience(self.picture(), bool(self._ended))
        return result

    def picture(self) -> Frame:
        """The environment's picture with the score below it."""
        frame: Any = self.env.render()
        return with_lines(frame, self.lines())

    def lines(self) -> tuple[str, ...]:
        """The score: what was earned, what could be, and the line of help."""
        steps = f"step {self._length:,}" if self._length != 1 else "step 1"
        ended = f"   {self._ended}" if self._ended else ""
        earned = f"episode {self._episode + 1}   {steps}   return {_shown(self._total)}{ended}"
        help = "any key goes on   Esc ends" if self._ended and self.help else self.help
        return tuple(line for line in (earned, self._compared(), help) if line)

    def _compared(self) -> str:
        if self.optimal is None:
            return "no answer key: the optimal return is not known"
        optimal = f"optimal {_shown(self.optimal)}"
        if self.regret is not None:
            limit = time_limit(self.env) or getattr(self.env.unwrapped, "horizon", None)
            steps = "" if limit is None else f" in {limit:,} steps"
            return f"regret so far {_shown(self.regret)}   {optimal}{steps}"
        if not self._ended:
            return optimal
        behind = self.optimal - self._total
        if abs(behind) < 1e-9:
            return f"{optimal}: reached"
        return (
            f"{optimal}: {_shown(abs(behind))} {'short of it' if behind > 0 else 'above, by luck'}"
        )

    def _look_up(self) -> None:
        """The optimal return of the task, or of this episode where each has its own."""
        if self._objective:
            inner: Any = layers(self.env)[-1]
            plain = inner.oracle(beta=0.0) if isinstance(inner, HasOracle) else None
            self.optimal, self._scope = getattr(plain, "optimal_return", None), "task"
            return
        oracle = find_answer_key(self.env).oracle
        self.optimal = None if oracle is None else float(oracle.optimal_return)
        self._scope = "task" if oracle is None else oracle.scope


def _shown(value: float) -> str:
    """Whole numbers without decimals, the others as everywhere; with a true minus."""
    text = f"{value:,.0f}" if float(value).is_integer() else number(value)
    return text.replace("-", "−")


def with_lines(frame: Frame, lines: Sequence[str]) -> Frame:
    """The frame in the middle, lines of text below it: uint8 with even sides, as films need."""
    from PIL import Image, ImageDraw

    height, width = frame.shape[:2]
    below = LINE_HEIGHT * len(lines) + PADDING
    full = (max(width, NARROWEST) + 1) // 2 * 2
    image = Image.new("RGB", (full, (height + below + 1) // 2 * 2), PAPER)
    image.paste(Image.fromarray(frame), ((full - width) // 2, 0))
    draw = ImageDraw.Draw(image)
    draw.line([(PADDING, height), (full - PADDING, height)], fill=RULE)
    for i, line in enumerate(lines):
        place = (PADDING, height + 7 + i * LINE_HEIGHT)
        draw.text(place, line, fill=INK if i == 0 else MUTED, font=_font())
    return np.asarray(image)


@cache
def _font() -> Any:
    """DejaVu Sans, which comes with matplotlib and has every letter that is needed."""
    import matplotlib
    from PIL import ImageFont

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(path), TEXT_SIZE)
