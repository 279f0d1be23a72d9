"""Text, letter by letter: what was written, what it earned, what the reference would write next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rlsuite_envs.rendering.canvas import (
    BLUE,
    CELL,
    FAINT,
    GREEN,
    INK,
    LINE,
    MUTED,
    PAPER,
    SKY,
    VERMILLION,
    Canvas,
    Frame,
)
from rlsuite_envs.rendering.grid import number

__all__ = ["END", "Page", "frame", "text"]

WIDTH, HEIGHT = 560, 344
LEFT, TOP, SIDE, STEP = 84, 22, 54, 66
"""Pixels: where the first letter stands, the side of its box, from one box to the next."""

ROWS = (106, 130)
"""The lines of the rewards and of the log-probabilities."""

BARS_TOP, BARS = 176, 90
END = "END"
"""The name of the token that ends a text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """A text that is being written.

    Attributes:
        prompt: Its letters.
        written: Names of the tokens after it; the last one may be `END`.
        limit: At most so many.
        rewards: What each of them earned.
        log_probs: Of each of them under the reference; -inf for one that it cannot write.
        tokens: Names of all tokens.
        next_probs: Of each token under the reference now; empty where the text is finished.
    """

    prompt: str
    written: Sequence[str]
    limit: int
    rewards: Sequence[float]
    log_probs: Sequence[float]
    tokens: Sequence[str]
    next_probs: Sequence[float]


def frame(page: Page, caption: str) -> Frame:
    """The picture of a text: uint8 [344, 560, 3]."""
    canvas = Canvas(HEIGHT, WIDTH)
    canvas.text(LEFT - 14, TOP + 32, "text", 9, MUTED, anchor="right", weight=0.12)
    canvas.text(LEFT - 14, ROWS[0], "reward", 9, MUTED, anchor="right", weight=0.12)
    canvas.text(LEFT - 14, ROWS[1], "log πref", 9, MUTED, anchor="right", weight=0.12)
    for i, letter in enumerate(page.prompt):
        _draw_token(canvas, i, letter, prompt=True)
    for i in range(page.limit):
        place = len(page.prompt) + i
        if i >= len(page.written):
            canvas.box(LEFT + place * STEP, TOP, SIDE, SIDE, LINE, radius=8, line=1.5)
            continue
        _draw_token(canvas, place, page.written[i], prompt=False)
        center, reward = LEFT + place * STEP + SIDE / 2, page.rewards[i]
        color = FAINT if reward == 0 else GREEN if reward > 0 else VERMILLION
        canvas.text(center, ROWS[0], _signed(reward), 10, color, anchor="center", weight=0.16)
        canvas.text(center, ROWS[1], _log(page.log_probs[i]), 9, MUTED, anchor="center")
    _draw_next(canvas, page)
    canvas.text(LEFT, HEIGHT - 14, caption, 10, MUTED)
    return canvas.pixels


def text(page: Page, caption: str) -> str:
    """The same as text: `ab|cd`, then a line per token."""
    letters = "".join(token for token in page.written if token != END)
    ended = "." if END in page.written else ""
    lines = [f"{page.prompt}|{letters}{ended}"]
    rows = zip(page.written, page.rewards, page.log_probs, strict=True)
    for token, reward, log_prob in rows:
        lines.append(f"  {token:<3}  reward {reward:7.3f}  log p_ref {log_prob:7.3f}")
    return "\n".join([*lines, caption]) + "\n"


def _draw_token(canvas: Canvas, place: int, name: str, *, prompt: bool) -> None:
    x = LEFT + place * STEP
    ground = MUTED if prompt else INK if name == END else BLUE
    canvas.box(x, TOP, SIDE, SIDE, ground, radius=8)
    size = 12 if name == END else 22
    canvas.text(x + SIDE / 2, TOP + SIDE / 2 + size / 2, name, size, PAPER, anchor="center")


def _draw_next(canvas: Canvas, page: Page) -> None:
    """Bars of the reference policy; empty places where the text is finished."""
    base = BARS_TOP + BARS
    canvas.text(LEFT - 14, base - 34, "πref of", 9, MUTED, anchor="right", weight=0.12)
    canvas.text(LEFT - 14, base - 18, "the next", 9, MUTED, anchor="right", weight=0.12)
    largest = max(page.next_probs, default=1.0)
    for i, name in enumerate(page.tokens):
        x = LEFT + i * STEP
        canvas.box(x, BARS_TOP, SIDE, BARS, CELL, radius=4)
        if page.next_probs:
            p = page.next_probs[i]
            height = (BARS - 24) * p / largest
            canvas.box(x, base - height, SIDE, height, SKY, radius=min(4.0, height / 2))
            shown = f"{p:.2f}" if p else "0"
            canvas.text(x + SIDE / 2, base - height - 6, shown, 9, INK, anchor="center")
        color = INK if page.next_probs and page.next_probs[i] else FAINT
        canvas.text(x + SIDE / 2, base + 18, name, 10, color, anchor="center")


def _signed(reward: float) -> str:
    return f"+{number(reward)}" if reward > 0 else number(reward)


def _log(value: float) -> str:
    return number(round(value, 2)) if math.isfinite(value) else "−inf"
