"""Shapes with soft edges on an array of pixels: NumPy and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rlsuite_envs.rendering.font import (
    BELOW,
    CAP_HEIGHT,
    coverage_of_strokes,
    text_mask,
    text_width,
)

__all__ = [
    "BLUE",
    "CELL",
    "FAINT",
    "GREEN",
    "INK",
    "LINE",
    "MUTED",
    "ORANGE",
    "PAPER",
    "PURPLE",
    "SKY",
    "VERMILLION",
    "WALL",
    "Canvas",
    "Color",
    "Frame",
    "heat",
    "readable_on",
]

Color = tuple[int, int, int]
Frame = NDArray[np.uint8]
Points = Sequence[tuple[float, float]]

# greys
PAPER: Color = (255, 255, 255)
CELL: Color = (243, 244, 246)
LINE: Color = (214, 218, 224)
FAINT: Color = (168, 175, 185)
MUTED: Color = (99, 108, 120)
WALL: Color = (66, 74, 86)
INK: Color = (31, 36, 44)
# the colours of Okabe and Ito (2008), told apart by colour-blind readers too
BLUE: Color = (0, 114, 178)
SKY: Color = (86, 180, 233)
GREEN: Color = (0, 158, 115)
ORANGE: Color = (230, 159, 0)
VERMILLION: Color = (213, 94, 0)
PURPLE: Color = (204, 121, 167)

HEAT = np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], float)
"""Five colours of matplotlib's viridis, evenly spaced. Dark is low, in grey prints too."""

LUMA = (0.299, 0.587, 0.114)


def heat(share: float) -> Color:
    """The colour of a value whose place between the lowest (0) and the highest (1) is `share`."""
    place = min(max(share, 0.0), 1.0) * (len(HEAT) - 1)
    low = min(int(place), len(HEAT) - 2)
    mixed = HEAT[low] + (place - low) * (HEAT[low + 1] - HEAT[low])
    r, g, b = mixed.round().astype(int).tolist()
    return r, g, b


def readable_on(background: Color) -> Color:
    """Ink on light grounds, paper on dark ones."""
    bright = sum(part * weight for part, weight in zip(background, LUMA, strict=True))
    return INK if bright > 140 else PAPER


class Canvas:
    """Pixels to draw on. x goes right, y goes down; whole numbers are the corners of pixels.

    Whatever lies outside is not drawn.

    Args:
        height: Rows of pixels.
        width: Columns of pixels.
        color: Of the empty canvas.
    """

    def __init__(self, height: int, width: int, color: Color = PAPER) -> None:
        self.pixels: Frame = np.empty((height, width, 3), np.uint8)
        self.pixels[:] = color

    @classmethod
    def on(cls, frame: Frame) -> Canvas:
        """A canvas on a copy of a frame."""
        canvas = cls.__new__(cls)
        canvas.pixels = frame.copy()
        return canvas

    def fill(self, x: int, y: int, width: int, height: int, color: Color) -> None:
        """A rectangle of whole pixels."""
        self.pixels[max(y, 0) : max(y + height, 0), max(x, 0) : max(x + width, 0)] = color

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        color: Color,
        *,
        radius: float = 0.0,
        line: float | None = None,
        opacity: float = 1.0,
    ) -> None:
        """A rectangle with rounded corners; with `line`, only a frame of this width inside it."""
        left, top, px, py = self._grid(x, y, x + width, y + height)
        half_x, half_y = width / 2, height / 2
        qx = np.abs(px - x - half_x) - half_x + radius
        qy = np.abs(py - y - half_y) - half_y + radius
        outside = np.hypot(np.maximum(qx, 0), np.maximum(qy, 0))
        distance = outside + np.minimum(np.maximum(qx, qy), 0) - radius
        if line is not None:
            distance = np.maximum(distance, -line - distance)
        self._blend(left, top, opacity * np.clip(0.5 - distance, 0, 1), color)

    def disc(self, x: float, y: float, radius: float, color: Color, opacity: float = 1.0) -> None:
        """A filled circle."""
        left, top, px, py = self._grid(x - radius, y - radius, x + radius, y + radius)
        distance = np.hypot(px - x, py - y) - radius
        self._blend(left, top, opacity * np.clip(0.5 - distance, 0, 1), color)

    def line(self, points: Points, width: float, color: Color, opacity: float = 1.0) -> None:
        """A line through points, with round ends."""
        corners = np.array(points, float)
        pad = width / 2
        (x0, y0), (x1, y1) = corners.min(axis=0) - pad, corners.max(axis=0) + pad
        left, top, right, bottom = self._window(x0, y0, x1, y1)
        mask = coverage_of_strokes([corners - (left, top)], pad, bottom - top, right - left)
        self._blend(left, top, opacity * mask, color)

    def polygon(self, points: Points, color: Color, opacity: float = 1.0) -> None:
        """A filled polygon, even-odd."""
        corners = np.array(points, float)
        (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
        left, top, px, py = self._grid(x0, y0, x1, y1)
        inside = np.zeros(np.broadcast_shapes(px.shape, py.shape), bool)
        nearest = np.full(inside.shape, np.inf)
        for (ax, ay), (bx, by) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            dx, dy = bx - ax, by - ay
            along = np.clip(((px - ax) * dx + (py - ay) * dy) / (dx * dx + dy * dy), 0, 1)
            nearest = np.minimum(nearest, np.hypot(px - ax - along * dx, py - ay - along * dy))
            crosses = (ay > py) != (by > py)
            inside ^= crosses & (px < ax + (py - ay) * dx / (dy if dy else 1.0))
        distance = np.where(inside, -nearest, nearest)
        self._blend(left, top, opacity * np.clip(0.5 - distance, 0, 1), color)

    def arrow(self, x: float, y: float, dx: float, dy: float, width: float, color: Color) -> None:
        """An arrow from (x, y) by (dx, dy)."""
        length = float(np.hypot(dx, dy))
        if length < 1:
            return
        ux, uy = dx / length, dy / length
        head = min(2.6 * width, 0.6 * length)
        bx, by = x + dx - head * ux, y + dy - head * uy
        self.line([(x, y), (bx, by)], width, color)
        side = 0.62 * head
        tips = [
            (x + dx, y + dy),
            (bx - side * uy, by + side * ux),
            (bx + side * uy, by - side * ux),
        ]
        self.polygon(tips, color)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float,
        color: Color = INK,
        *,
        anchor: Literal["left", "center", "right"] = "left",
        weight: float = 0.13,
        opacity: float = 1.0,
    ) -> None:
        """A line of text whose capitals are `size` pixels high and end at y, their foot."""
        shift = {"left": 0.0, "center": 0.5, "right": 1.0}[anchor]
        mask = text_mask(text, size, weight)
        left = round(x - shift * text_width(text, size))
        top = round(y) - mask.shape[0] + round(BELOW * size / CAP_HEIGHT)
        self._blend(left, top, opacity * mask, color)

    def _window(self, x0: float, y0: float, x1: float, y1: float) -> tuple[int, int, int, int]:
        """The pixels that a shape within these bounds can touch: left, top, right, bottom."""
        height, width = self.pixels.shape[:2]
        left, top = max(int(np.floor(x0)) - 1, 0), max(int(np.floor(y0)) - 1, 0)
        right, bottom = min(int(np.ceil(x1)) + 1, width), min(int(np.ceil(y1)) + 1, height)
        return left, top, max(right, left), max(bottom, top)

    def _grid(
        self, x0: float, y0: float, x1: float, y1: float
    ) -> tuple[int, int, NDArray[np.float64], NDArray[np.float64]]:
        """Left, top, and the centres of the pixels: x as a row, y as a column."""
        left, top, right, bottom = self._window(x0, y0, x1, y1)
        x, y = np.arange(left, right, dtype=float), np.arange(top, bottom, dtype=float)
        return left, top, x[None] + 0.5, y[:, None] + 0.5

    def _blend(self, left: int, top: int, cover: NDArray[np.floating], color: Color) -> None:
        height, width = self.pixels.shape[:2]
        rows, columns = cover.shape
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + columns, width), min(top + rows, height)
        if x0 >= x1 or y0 >= y1:
            return
        part = cover[y0 - top : y1 - top, x0 - left : x1 - left, None]
        under = self.pixels[y0:y1, x0:x1]
        # rounded, not cut off: full cover must give the colour itself
        self.pixels[y0:y1, x0:x1] = under + part * (np.array(color) - under.astype(float)) + 0.5
