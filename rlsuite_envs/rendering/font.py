"""A small font of strokes: letters at any size, drawn with soft edges, without any font file.

A letter stands on y = 0; capitals reach 6, small letters 4, tails -2. Its drawing is a text:
strokes are separated by `|`; a stroke is a list of points `x,y` and arcs
`(cx,cy,rx,ry,from,to)`, angles in degrees, counterclockwise from the right.
"""

from __future__ import annotations

import math
import re
from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["CAP_HEIGHT", "coverage_of_strokes", "glyph", "text_mask", "text_width"]

CAP_HEIGHT = 6.0
"""Height of a capital letter in units of the drawings."""

ABOVE, BELOW = 1.0, 2.5
"""Room above the capitals and below the line, in the same units."""

GAP = 1.5
"""Between two letters, in the same units."""

ARC_STEP = 20.0
"""Degrees of one straight piece of an arc."""

UNKNOWN = (4.0, "0,0 4,0 4,6 0,6 0,0")

GLYPHS: dict[str, tuple[float, str]] = {
    " ": (1.8, ""),
    "0": (4.0, "(2,3,2,3,0,360)"),
    "1": (3.0, "0,4.6 1.8,6 1.8,0"),
    "2": (4.0, "(2,4.1,1.9,1.9,160,-25) 0,0 4,0"),
    "3": (4.0, "(1.9,4.45,1.7,1.55,150,-90) (1.9,1.55,2.0,1.55,90,-150)"),
    "4": (4.2, "3.1,0 3.1,6 0,1.7 4.2,1.7"),
    "5": (4.0, "3.6,6 0.6,6 0.3,3.2 (1.9,1.95,2.0,1.95,128,-145)"),
    "6": (4.0, "3.2,6 0.5,3 | (2,1.95,2,1.95,0,360)"),
    "7": (4.0, "0,6 4,6 1.3,0"),
    "8": (4.0, "(2,4.5,1.7,1.5,0,360) | (2,1.5,2,1.5,0,360)"),
    "9": (4.0, "0.8,0 3.5,3 | (2,4.05,2,1.95,0,360)"),
    "A": (4.8, "0,0 2.4,6 4.8,0 | 0.9,2.1 3.9,2.1"),
    "B": (4.0, "0,3.2 2.3,3.2 (2.3,4.6,1.4,1.4,-90,90) 0,6 0,0 2.4,0 (2.4,1.6,1.6,1.6,-90,90)"),
    "C": (4.4, "(2.7,3,2.7,3,50,310)"),
    "D": (4.4, "0,0 0,6 1.6,6 (1.6,3,2.8,3,90,-90) 0,0"),
    "E": (3.6, "3.6,6 0,6 0,0 3.6,0 | 0,3.1 3.1,3.1"),
    "F": (3.5, "3.5,6 0,6 0,0 | 0,3 3,3"),
    "G": (4.8, "(2.7,3,2.7,3,50,330) 4.9,2.8 3.0,2.8"),
    "H": (4.3, "0,0 0,6 | 4.3,0 4.3,6 | 0,3.1 4.3,3.1"),
    "I": (0.6, "0.3,0 0.3,6"),
    "J": (2.8, "2.8,6 2.8,1.5 (1.4,1.5,1.4,1.5,0,-160)"),
    "K": (4.1, "0,0 0,6 | 4,6 0,2.2 | 1.4,3.5 4.1,0"),
    "L": (3.4, "0,6 0,0 3.4,0"),
    "M": (5.2, "0,0 0,6 2.6,1.6 5.2,6 5.2,0"),
    "N": (4.4, "0,0 0,6 4.4,0 4.4,6"),
    "O": (5.2, "(2.6,3,2.6,3,0,360)"),
    "P": (4.0, "0,0 0,6 2.3,6 (2.3,4.4,1.7,1.6,90,-90) 0,2.8"),
    "Q": (5.2, "(2.6,3,2.6,3,0,360) | 3.2,1.5 5.2,-0.4"),
    "R": (4.1, "0,0 0,6 2.3,6 (2.3,4.5,1.6,1.5,90,-90) 0,3 | 2.1,3 4.1,0"),
    "S": (4.0, "(2,4.5,1.8,1.5,40,270) (2,1.5,2.0,1.5,90,-140)"),
    "T": (4.4, "0,6 4.4,6 | 2.2,6 2.2,0"),
    "U": (4.2, "0,6 0,2.1 (2.1,2.1,2.1,2.1,180,360) 4.2,6"),
    "V": (4.6, "0,6 2.3,0 4.6,6"),
    "W": (6.4, "0,6 1.6,0 3.2,5.4 4.8,0 6.4,6"),
    "X": (4.2, "0,0 4.2,6 | 0,6 4.2,0"),
    "Y": (4.4, "0,6 2.2,3 4.4,6 | 2.2,3 2.2,0"),
    "Z": (4.0, "0,6 4,6 0,0 4,0"),
    "a": (3.5, "(1.8,2,1.8,2,0,360) | 3.6,4 3.6,0"),
    "b": (3.6, "0,6 0,0 | (1.8,2,1.8,2,0,360)"),
    "c": (3.2, "(1.9,2,1.9,2,48,312)"),
    "d": (3.6, "3.6,6 3.6,0 | (1.8,2,1.8,2,0,360)"),
    "e": (3.6, "0.1,2.1 3.6,2.1 (1.8,2,1.8,2,0,310)"),
    "f": (2.5, "(2.3,4.6,1.3,1.4,80,180) 1,0 | 0,3.9 2.4,3.9"),
    "g": (3.6, "(1.8,2,1.8,2,0,360) | 3.6,4 3.6,-0.3 (1.9,-0.3,1.7,1.6,0,-150)"),
    "h": (3.3, "0,6 0,0 | 0,2.3 (1.65,2.3,1.65,1.7,180,0) 3.3,0"),
    "i": (0.6, "0.3,4 0.3,0 | 0.3,5.7 0.3,5.72"),
    "j": (1.5, "1.3,4 1.3,-0.8 (0.1,-0.8,1.2,1.1,0,-80) | 1.3,5.7 1.3,5.72"),
    "k": (3.2, "0,6 0,0 | 3.1,4 0,1.5 | 1.1,2.4 3.2,0"),
    "l": (1.3, "0.3,6 0.3,0.9 (1.2,0.9,0.9,0.9,180,270)"),
    "m": (5.6, "0,4 0,0 | 0,2.5 (1.4,2.5,1.4,1.5,180,0) 2.8,0 | 2.8,2.5 "
    "(4.2,2.5,1.4,1.5,180,0) 5.6,0"),
    "n": (3.3, "0,4 0,0 | 0,2.3 (1.65,2.3,1.65,1.7,180,0) 3.3,0"),
    "o": (3.7, "(1.85,2,1.85,2,0,360)"),
    "p": (3.6, "0,4 0,-2 | (1.8,2,1.8,2,0,360)"),
    "q": (3.6, "3.6,4 3.6,-2 | (1.8,2,1.8,2,0,360)"),
    "r": (2.3, "0,4 0,0 | 0,2.2 (1.7,2.2,1.7,1.8,180,65)"),
    "s": (3.0, "(1.5,2.98,1.4,1.02,30,270) (1.5,0.98,1.5,0.98,90,-150)"),
    "t": (2.3, "0.9,5.4 0.9,1.1 (2.1,1.1,1.2,1.1,180,280) | 0,4 2.2,4"),
    "u": (3.3, "0,4 0,1.7 (1.65,1.7,1.65,1.7,180,360) | 3.3,4 3.3,0"),
    "v": (3.4, "0,4 1.7,0 3.4,4"),
    "w": (5.0, "0,4 1.25,0 2.5,3.6 3.75,0 5,4"),
    "x": (3.2, "0,0 3.2,4 | 0,4 3.2,0"),
    "y": (3.4, "0,4 1.75,0 | 3.4,4 1.1,-2"),
    "z": (3.1, "0,4 3.1,4 0,0 3.1,0"),
    ".": (0.6, "0.3,0 0.3,0.02"),
    ",": (0.8, "0.5,0.1 0.1,-1.1"),
    ":": (0.6, "0.3,0.3 0.3,0.32 | 0.3,3.6 0.3,3.62"),
    ";": (0.8, "0.5,0.3 0.1,-1.1 | 0.5,3.6 0.5,3.62"),
    "!": (0.6, "0.3,6 0.3,2 | 0.3,0 0.3,0.02"),
    "?": (3.4, "(1.7,4.4,1.6,1.6,170,-60) 1.7,2.6 1.7,1.8 | 1.7,0 1.7,0.02"),
    "'": (0.6, "0.3,6 0.3,4.6"),
    '"': (1.8, "0.3,6 0.3,4.6 | 1.5,6 1.5,4.6"),
    "(": (1.6, "(4.2,2.3,4.0,5.2,138,222)"),
    ")": (1.6, "(-2.6,2.3,4.0,5.2,42,-42)"),
    "[": (1.5, "1.5,6.4 0.2,6.4 0.2,-1.2 1.5,-1.2"),
    "]": (1.5, "0,6.4 1.3,6.4 1.3,-1.2 0,-1.2"),
    "/": (3.0, "0,-0.6 3,6.4"),
    "|": (0.6, "0.3,6.4 0.3,-1.2"),
    "_": (3.6, "0,-0.8 3.6,-0.8"),
    "+": (3.6, "0,2.4 3.6,2.4 | 1.8,4.2 1.8,0.6"),
    "-": (2.2, "0,2.4 2.2,2.4"),
    "−": (3.6, "0,2.4 3.6,2.4"),
    "±": (3.6, "0,3.1 3.6,3.1 | 1.8,4.9 1.8,1.3 | 0,0 3.6,0"),
    "=": (3.6, "0,3.3 3.6,3.3 | 0,1.5 3.6,1.5"),
    "<": (3.4, "3.4,4.4 0,2.4 3.4,0.4"),
    ">": (3.4, "0,4.4 3.4,2.4 0,0.4"),
    "*": (2.6, "1.3,5.8 1.3,3 | 0.1,5.1 2.5,3.7 | 0.1,3.7 2.5,5.1"),
    "%": (5.0, "(1.1,4.8,1.1,1.2,0,360) | (3.9,1.2,1.1,1.2,0,360) | 0.7,0 4.3,6"),
    "#": (4.2, "1.0,0 1.7,6 | 2.6,0 3.3,6 | 0.1,2.1 3.9,2.1 | 0.4,4.1 4.2,4.1"),
    "·": (0.6, "0.3,2.4 0.3,2.42"),
    "…": (4.4, "0.3,0 0.3,0.02 | 2.2,0 2.2,0.02 | 4.1,0 4.1,0.02"),
    "π": (4.4, "0,4 4.4,4 | 1.3,4 1.0,0 | 3.2,4 3.2,0.9 (4.0,0.9,0.8,0.9,180,280)"),
    "μ": (3.6, "0.2,4 0,-2 | 0.2,4 0.2,1.7 (1.75,1.7,1.55,1.7,180,360) | 3.3,4 3.3,0"),
}  # fmt: skip


def text_width(text: str, size: float) -> int:
    """Width in pixels of a line of text whose capitals are `size` pixels high."""
    widths = [GLYPHS.get(letter, UNKNOWN)[0] + GAP for letter in text]
    return sum(round(width * size / CAP_HEIGHT) for width in widths)


def text_mask(text: str, size: float, weight: float = 0.13) -> NDArray[np.float32]:
    """How far each pixel is covered by a line of text, from 0 to 1: float32 [h, w].

    The line y = 0 of the letters is `round(2.5 size / 6)` pixels above the last row.

    Args:
        text: What to write; unknown letters become empty frames.
        size: Height of the capitals in pixels.
        weight: Width of the strokes, as a part of `size`.
    """
    parts = [glyph(letter, float(size), float(weight)) for letter in text]
    if not parts:
        return np.zeros((1, 0), np.float32)
    return np.concatenate(parts, axis=1)


@cache
def glyph(letter: str, size: float, weight: float) -> NDArray[np.float32]:
    """The coverage of one letter and of the gap after it, float32 [h, w]."""
    width, drawing = GLYPHS.get(letter, UNKNOWN)
    scale = size / CAP_HEIGHT
    columns = round((width + GAP) * scale)
    below = round(BELOW * scale)
    rows = below + math.ceil((CAP_HEIGHT + ABOVE) * scale)
    strokes = [
        # half a gap to the left of the letter, half to the right
        np.column_stack([(x + GAP / 2) * scale, rows - below - y * scale])
        for x, y in map(np.transpose, _strokes(drawing))
    ]
    found = coverage_of_strokes(strokes, max(1.0, weight * size) / 2, rows, columns)
    found.setflags(write=False)
    return found


def coverage_of_strokes(
    strokes: list[NDArray[np.float64]], radius: float, rows: int, columns: int
) -> NDArray[np.float32]:
    """How far round-ended strokes of this radius cover each pixel, float32 [rows, columns].

    Args:
        strokes: Lists of points (x, y) in pixels, [n, 2] with n at least 2.
        radius: Half the width of a stroke.
        rows: Height of the mask.
        columns: Width of the mask.
    """
    nearest = np.full((rows, columns), np.inf)
    y, x = np.mgrid[0:rows, 0:columns] + 0.5
    for points in strokes:
        for (ax, ay), (bx, by) in zip(points[:-1].tolist(), points[1:].tolist(), strict=True):
            dx, dy = bx - ax, by - ay
            length = dx * dx + dy * dy
            along = 0.0 if length == 0 else np.clip(((x - ax) * dx + (y - ay) * dy) / length, 0, 1)
            np.minimum(
                nearest, (x - ax - along * dx) ** 2 + (y - ay - along * dy) ** 2, out=nearest
            )
    return np.clip(radius + 0.5 - np.sqrt(nearest), 0.0, 1.0).astype(np.float32)


def _strokes(drawing: str) -> list[NDArray[np.float64]]:
    """The points of each stroke of a drawing, [n, 2]."""
    found = []
    for stroke in filter(str.strip, drawing.split("|")):
        points: list[tuple[float, float]] = []
        for piece in re.findall(r"\([^)]*\)|[^\s()]+", stroke):
            numbers = [float(number) for number in piece.strip("()").split(",")]
            points += _arc(*numbers) if piece[0] == "(" else [(numbers[0], numbers[1])]
        found.append(np.array(points))
    return found


def _arc(
    cx: float, cy: float, rx: float, ry: float, first: float, last: float
) -> list[tuple[float, float]]:
    steps = max(2, math.ceil(abs(last - first) / ARC_STEP))
    angles = [math.radians(first + (last - first) * i / steps) for i in range(steps + 1)]
    return [(cx + rx * math.cos(a), cy + ry * math.sin(a)) for a in angles]
