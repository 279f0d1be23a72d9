"""Numbers as markers on tracks: the coordinates of a state, and the actions below them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlsuite_envs.rendering.canvas import (
    BLUE,
    CELL,
    INK,
    LINE,
    MUTED,
    ORANGE,
    PAPER,
    Canvas,
    Frame,
)
from rlsuite_envs.rendering.grid import number

__all__ = ["Track", "frame", "text"]

WIDTH, ROW, MARGIN, STRIP = 584, 48, 12, 36
"""Pixels: the picture, one track, around them, the caption below them."""

FROM, TO = 56, 500
"""Where the tracks begin and end, from the left."""

MARKS = 41
"""Characters of a track in a text, an odd number: zero is in the middle."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Track:
    """A number between -limit and limit. What is beyond is shown at the end, and as a number.

    `value` is None where it is not known yet; `is_action` tells what is done from what is.
    """

    name: str
    value: float | None
    limit: float
    is_action: bool = False

    @property
    def share(self) -> float:
        """Where the value is, from -1 to 1."""
        return min(max((self.value or 0.0) / self.limit, -1.0), 1.0) if self.limit > 0 else 0.0


def frame(tracks: Sequence[Track], caption: str = "") -> Frame:
    """The picture: uint8 [height, width, 3], of one size for so many tracks."""
    height = MARGIN + ROW * len(tracks) + STRIP
    canvas = Canvas(height, WIDTH)
    middle = (FROM + TO) / 2
    for i, track in enumerate(tracks):
        y = MARGIN + ROW * i + ROW / 2
        canvas.text(MARGIN, y + 5, track.name, 10, MUTED)
        canvas.box(FROM - 6, y - 5, TO - FROM + 12, 10, CELL, radius=5)
        canvas.line([(middle, y - 14), (middle, y + 14)], 1.5, LINE)
        if track.value is not None:
            x = middle + track.share * (TO - FROM) / 2
            _draw_value(canvas, track, middle, x, y)
            canvas.text(WIDTH - MARGIN, y + 5, number(track.value), 10, INK, anchor="right")
    canvas.text(MARGIN, height - 14, caption, 10, MUTED)
    return canvas.pixels


def text(tracks: Sequence[Track], caption: str = "") -> str:
    """The same as text: a line per track, o where a state is, > or < how far an action goes."""
    lines = []
    for track in tracks:
        marks = ["-"] * MARKS
        middle = MARKS // 2
        marks[middle] = "|"
        shown = ""
        if track.value is not None:
            place = middle + round(track.share * middle)
            marks[place] = "o" if not track.is_action else "><"[track.value < 0]
            shown = f" {number(track.value)}"
        lines.append(f"{track.name:>3} {''.join(marks)}{shown}")
    return "\n".join([*lines, caption] if caption else lines) + "\n"


def _draw_value(canvas: Canvas, track: Track, middle: float, x: float, y: float) -> None:
    """A ball where a state is; an arrow from zero for an action."""
    if track.is_action:
        canvas.arrow(middle, y, x - middle, 0.0, 6.0, ORANGE)
        return
    canvas.disc(x, y, 12.0, PAPER)
    canvas.disc(x, y, 10.0, BLUE)
