"""Cells: grids with obstacles, cliffs and goals, and the states of any table as numbered tiles."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from rlsuite_envs.rendering.canvas import (
    BLUE,
    CELL,
    FAINT,
    GREEN,
    INK,
    LINE,
    MUTED,
    PAPER,
    VERMILLION,
    WALL,
    Canvas,
    Color,
    Frame,
    heat,
    readable_on,
)
from rlsuite_envs.rendering.font import text_width

__all__ = ["Overlay", "Scene", "frame", "number", "pixels", "text", "tiles"]

LARGEST, LONGEST_SIDE, MARGIN, STRIP = 96, 560, 12, 36
"""Pixels: the side of a cell at most, all cells together, around them, the caption below them."""

SMALLEST, DETAILED, NUMBERED = 4, 16, 40
"""Sides of a cell: at least, with drawings in it, with numbers in it."""

NARROWEST, LOWEST = 264, 144
"""Pixels of the whole picture, at least."""

GOAL_CELL: Color = (223, 243, 236)
CLIFF_DARK: Color = (177, 76, 0)

MOVES = ((0, -1), (1, 0), (0, 1), (-1, 0), (1, -1), (1, 1), (-1, 1), (-1, -1), (0, 0))
"""(x, y) of the actions 0 up, 1 right, 2 down, 3 left; of king's moves, clockwise; of staying."""

SHOWN = 0.04
"""Actions less probable than this get no arrow."""

ARROWS = "^>v<↗↘↙↖o"


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """What stands where, all cells by their numbers: row * columns + column.

    `empty` are places without a state; `numbered` writes the number of each state into its cell.
    `wind`: how far each column's wind blows upwards; empty where there is none.
    """

    rows: int
    columns: int
    starts: frozenset[int] = frozenset()
    goals: frozenset[int] = frozenset()
    obstacles: frozenset[int] = frozenset()
    cliff: frozenset[int] = frozenset()
    empty: frozenset[int] = frozenset()
    numbered: bool = False
    wind: tuple[int, ...] = ()

    @property
    def n_cells(self) -> int:
        """Cells, empty ones too."""
        return self.rows * self.columns


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Overlay:
    """What a user asked to be drawn over the cells.

    Attributes:
        values: A number for each cell, [S]; NaN: none. Shown as a heat map, with the numbers where
            cells are large enough. The colours range over the cells that can be reached from a
            start; what lies beyond has the colour of the nearer end.
        policy: Probabilities [S, A] of the actions, shown as arrows: up, right, down, left, and of
            king's moves up right, down right, down left, up left, staying.
    """

    values: NDArray[np.float64] | None = None
    policy: NDArray[np.float64] | None = None


NOTHING = Overlay()


def tiles(
    n_states: int,
    starts: frozenset[int] = frozenset(),
    goals: frozenset[int] = frozenset(),
) -> Scene:
    """The scene of a table whose states are no places: numbered tiles, near a square.

    Goals have a flag instead of the number.
    """
    columns = int(np.ceil(np.sqrt(n_states)))
    rows = -(-n_states // columns)
    empty = frozenset(range(n_states, rows * columns))
    return Scene(rows=rows, columns=columns, starts=starts, goals=goals, empty=empty, numbered=True)


def frame(scene: Scene, agent: int | None, caption: str = "", overlay: Overlay = NOTHING) -> Frame:
    """The picture of a grid: uint8 [height, width, 3], of one size for one scene.

    Args:
        scene: What stands where.
        agent: Its cell; None: it is nowhere yet.
        caption: A few words below the cells.
        overlay: Values and a policy to draw over the cells.
    """
    canvas = Canvas.on(_ground(scene))
    side, left, _ = _measures(scene)
    if overlay.values is not None:
        _draw_values(canvas, scene, overlay.values)
    if overlay.policy is not None and side >= DETAILED:
        _draw_policy(canvas, scene, overlay)
    if agent is not None:
        x, y = _corner(scene, agent)
        covered = overlay.values is not None or overlay.policy is not None or scene.numbered
        (_draw_marker if covered else _draw_agent)(canvas, x, y, side)
    canvas.text(left, canvas.pixels.shape[0] - 14, caption, 10, MUTED)
    return canvas.pixels


def pixels(scene: Scene, agent: int, size: int) -> Frame:
    """The cells alone, as small as a network reads them: uint8 [size, size, 3].

    Args:
        scene: What stands where, at most `size` cells along each side.
        agent: Its cell.
        size: Pixels of a side; where they are no multiple of the cells, margins are left.
    """
    canvas = Canvas.on(_small_ground(scene, size))
    _draw_agent(canvas, *_small_corner(scene, agent, size))
    return canvas.pixels


def text(scene: Scene, agent: int | None, caption: str = "", overlay: Overlay = NOTHING) -> str:
    """The same as text: a symbol per cell, the agent's in brackets.

    S start, G goal, # obstacle, C cliff, . free; numbers for states that are no places. With a
    policy, free cells show the likeliest move as ^ > v <.
    """
    symbols = [_symbol(scene, cell, overlay) for cell in range(scene.n_cells)]
    width = max(map(len, symbols))
    lines = []
    for row in range(scene.rows):
        cells = range(row * scene.columns, (row + 1) * scene.columns)
        shown = [
            f"[{symbols[c]:>{width}}]" if c == agent else f" {symbols[c]:>{width}} " for c in cells
        ]
        lines.append("".join(shown).rstrip())
    return "\n".join([*lines, caption] if caption else lines) + "\n"


def number(value: float, *, whole: bool = True) -> str:
    """A value in about five characters: 0.93, −13, 12.5, 1.2e6.

    Whole numbers stand without decimals, unless `whole` is False: 1.00, −13.0.
    """
    size = abs(value)
    if whole and size < 1e5 and value == round(value):
        shown = f"{value:.0f}"
    elif size >= 1e5 or 0 < size < 1e-3:
        shown = f"{value:.1e}".replace("e+0", "e").replace("e-0", "e-")
    elif size >= 100:
        shown = f"{value:.0f}"
    else:
        shown = f"{value:.1f}" if size >= 10 else f"{value:.2f}"
    return shown.replace("-", "−")


def _measures(scene: Scene) -> tuple[int, int, int]:
    """Side of a cell, and where the first one begins from the left and from the top."""
    side = LONGEST_SIDE // max(scene.rows, scene.columns)
    side = min(max(side, SMALLEST), LARGEST)
    width = max(side * scene.columns + 2 * MARGIN, NARROWEST)
    spare = max(LOWEST - (side * scene.rows + MARGIN + STRIP), 0)
    return side, (width - side * scene.columns) // 2, MARGIN + spare // 2


def _corner(scene: Scene, cell: int) -> tuple[int, int]:
    side, left, top = _measures(scene)
    row, column = divmod(cell, scene.columns)
    return left + column * side, top + row * side


@lru_cache(maxsize=32)
def _ground(scene: Scene) -> Frame:
    """All that does not move. Nobody writes to it."""
    side, left, top = _measures(scene)
    height = scene.rows * side + 2 * top - MARGIN + STRIP
    canvas = Canvas(height, scene.columns * side + 2 * left)
    gap = 1 if side >= DETAILED else 0
    if not scene.empty:
        canvas.fill(left, top, scene.columns * side + gap, scene.rows * side + gap, LINE)
    for cell in sorted(set(range(scene.n_cells)) - scene.empty):
        x, y = _corner(scene, cell)
        _draw_cell(canvas, scene, cell, x, y, side)
    canvas.pixels.setflags(write=False)
    return canvas.pixels


def _small_corner(scene: Scene, cell: int, size: int) -> tuple[int, int, int]:
    """Where a cell begins from the left and from the top, and its side."""
    side = size // max(scene.rows, scene.columns)
    row, column = divmod(cell, scene.columns)
    left, top = (size - side * scene.columns) // 2, (size - side * scene.rows) // 2
    return left + column * side, top + row * side, side


@lru_cache(maxsize=32)
def _small_ground(scene: Scene, size: int) -> Frame:
    """`pixels` without the agent. Nobody writes to it."""
    canvas = Canvas(size, size)
    for cell in range(scene.n_cells):
        _draw_cell(canvas, scene, cell, *_small_corner(scene, cell, size))
    canvas.pixels.setflags(write=False)
    return canvas.pixels


def _draw_cell(canvas: Canvas, scene: Scene, cell: int, x: int, y: int, side: int) -> None:
    inner = side - 1 if side >= DETAILED else side
    left, top = (x + 1, y + 1) if side >= DETAILED else (x, y)
    if scene.numbered and cell not in scene.goals:
        canvas.fill(left, top, inner, inner, LINE)
        canvas.fill(left + 1, top + 1, inner - 2, inner - 2, CELL)
        if side >= DETAILED:
            size = max(side * 0.16, 5.0)
            canvas.text(
                x + side / 2, y + side / 2 + size / 2, str(cell), size, MUTED, anchor="center"
            )
    elif cell in scene.obstacles:
        canvas.fill(left, top, inner, inner, WALL)
    elif cell in scene.cliff:
        _draw_cliff(canvas, left, top, inner)
    elif cell in scene.goals:
        canvas.fill(left, top, inner, inner, GOAL_CELL if side >= DETAILED else GREEN)
        if side >= DETAILED:
            _draw_flag(canvas, x, y, side)
    else:
        canvas.fill(left, top, inner, inner, CELL)
        if scene.wind and side >= DETAILED:
            _draw_wind(canvas, scene.wind[cell % scene.columns], x, y, side)
        if cell in scene.starts and side >= DETAILED:
            size = side * 0.24
            canvas.text(x + side / 2, y + side / 2 + size / 2, "S", size, FAINT, anchor="center")


def _draw_wind(canvas: Canvas, strength: int, x: float, y: float, side: float) -> None:
    """As many chevrons pointing up as the wind blows far."""
    for k in range(strength):
        middle = x + side / 2
        foot = y + side * (0.62 + 0.2 * (k - (strength - 1) / 2))
        half, rise = 0.16 * side, 0.13 * side
        points = [(middle - half, foot), (middle, foot - rise), (middle + half, foot)]
        canvas.line(points, max(0.035 * side, 1.2), LINE)


def _draw_cliff(canvas: Canvas, x: int, y: int, side: int) -> None:
    """Stripes, so that it is not told by its colour alone."""
    canvas.fill(x, y, side, side, VERMILLION)
    period = max(side // 4, 2)
    rows, columns = np.mgrid[y : y + side, x : x + side]
    dark = (rows + columns) // period % 2 == 0
    canvas.pixels[y : y + side, x : x + side][dark] = CLIFF_DARK


def _draw_flag(canvas: Canvas, x: float, y: float, side: float) -> None:
    pole, top = x + 0.36 * side, y + 0.2 * side
    cloth = [(pole, top), (pole + 0.36 * side, top + 0.16 * side), (pole, top + 0.32 * side)]
    canvas.polygon(cloth, GREEN)
    canvas.line([(pole, top), (pole, y + 0.8 * side)], max(0.05 * side, 1.5), INK)


def _draw_agent(canvas: Canvas, x: float, y: float, side: float) -> None:
    if side < DETAILED:
        canvas.fill(int(x), int(y), int(side), int(side), BLUE)
        return
    cx, cy, r = x + side / 2, y + side / 2, 0.31 * side
    canvas.disc(cx, cy, r + max(0.04 * side, 1.0), PAPER)
    canvas.disc(cx, cy, r, BLUE)
    if side >= NUMBERED:
        for eye in (cx - 0.1 * side, cx + 0.1 * side):
            canvas.disc(eye, cy - 0.05 * side, 0.052 * side, PAPER)


def _draw_marker(canvas: Canvas, x: float, y: float, side: float) -> None:
    """The agent small in a corner of its cell, framed, which leaves what is in it to be read."""
    if side < DETAILED:
        _draw_agent(canvas, x, y, side)
        return
    width = max(0.035 * side, 1.5)
    canvas.box(x + 1, y + 1, side - 1, side - 1, BLUE, line=2 * width)
    canvas.box(x + 1, y + 1, side - 1, side - 1, PAPER, line=width)
    canvas.disc(x + 0.2 * side, y + 0.2 * side, 0.19 * side, PAPER)
    canvas.disc(x + 0.2 * side, y + 0.2 * side, 0.15 * side, BLUE)


def _open_cells(scene: Scene) -> Iterator[int]:
    """Cells where decisions are taken."""
    closed = scene.goals | scene.obstacles | scene.cliff | scene.empty
    return (cell for cell in range(scene.n_cells) if cell not in closed)


def _colored(scene: Scene, values: NDArray[np.float64]) -> dict[int, Color]:
    """The colour of each cell that has a value to show."""
    cells = [cell for cell in _open_cells(scene) if np.isfinite(values[cell])]
    if not cells:
        return {}
    low, high = _range(scene, values)
    wide = high > low
    return {c: heat(float((values[c] - low) / (high - low)) if wide else 0.5) for c in cells}


def _range(scene: Scene, values: NDArray[np.float64]) -> tuple[float, float]:
    """The values of the two ends of the colours; some open cell has a value.

    A pocket behind obstacles, whose values are far from all others and say nothing of the task,
    would take nearly all colours: it counts only where no reachable cell has a value.
    """
    known = values[sorted(_reachable(scene))]
    if not np.isfinite(known).any():
        known = values[list(_open_cells(scene))]
    known = known[np.isfinite(known)]
    return float(known.min()), float(known.max())


@lru_cache(maxsize=32)
def _reachable(scene: Scene) -> frozenset[int]:
    """Open cells to which steps over open cells lead from a start; all, where that means nothing.

    It means nothing without a start, and for states that are no places.
    """
    remaining = set(_open_cells(scene))
    if scene.numbered or not scene.starts & remaining:
        return frozenset(remaining)
    reached, frontier = set[int](), sorted(scene.starts & remaining)
    while frontier:
        cell = frontier.pop()
        reached.add(cell)
        for dx, dy in MOVES[:4]:
            neighbour = cell + dy * scene.columns + dx
            beside = 0 <= cell % scene.columns + dx < scene.columns
            if beside and neighbour in remaining and neighbour not in reached:
                frontier.append(neighbour)
    return frozenset(reached)


def _draw_values(canvas: Canvas, scene: Scene, values: NDArray[np.float64]) -> None:
    side, left, _ = _measures(scene)
    colors = _colored(scene, values)
    inset = 1 if side >= DETAILED else 0
    for cell, color in colors.items():
        x, y = _corner(scene, cell)
        canvas.fill(x + inset, y + inset, side - inset, side - inset, color)
        if side >= NUMBERED:
            size = min(max(0.125 * side, 6.0), 11.0)
            foot = y + 0.92 * side
            canvas.text(
                x + side / 2, foot, number(values[cell]), size, readable_on(color), anchor="center"
            )
    if colors:
        shown = values[list(colors)]
        whole = bool((shown == shown.round()).all())
        low, high = (number(end + 0.0, whole=whole) for end in _range(scene, values))
        _draw_legend(canvas, left, low, high)


def _draw_legend(canvas: Canvas, margin: int, low: str, high: str) -> None:
    """The colours from low to high, at the right of the caption."""
    height, width = canvas.pixels.shape[:2]
    right, foot, length = width - margin, height - 14, 72
    canvas.text(right, foot, high, 9, MUTED, anchor="right")
    right -= text_width(high, 9) + 5
    for i in range(length):
        canvas.fill(right - length + i, foot - 10, 1, 11, heat(i / (length - 1)))
    canvas.text(right - length - 6, foot, low, 9, MUTED, anchor="right")


def _draw_policy(canvas: Canvas, scene: Scene, overlay: Overlay) -> None:
    assert overlay.policy is not None
    side = _measures(scene)[0]
    ground = {} if overlay.values is None else _colored(scene, overlay.values)
    lifted = 0.08 * side if ground and side >= NUMBERED else 0.0
    for cell in _open_cells(scene):
        x, y = _corner(scene, cell)
        color = readable_on(ground.get(cell, CELL))
        for (dx, dy), p in zip(MOVES, overlay.policy[cell].tolist(), strict=False):
            if p < SHOWN:
                continue
            if dx == dy == 0:
                canvas.disc(x + side / 2, y + side / 2 - lifted, (0.05 + 0.03 * p) * side, color)
                continue
            length = (0.14 + 0.22 * p) * side / math.hypot(dx, dy)
            back = 0.5 * length if p > 1 - SHOWN else 0.0  # a single arrow stands in the middle
            cx, cy = x + side / 2 - dx * back, y + side / 2 - lifted - dy * back
            canvas.arrow(cx, cy, dx * length, dy * length, max(0.05 * side, 1.5), color)


def _symbol(scene: Scene, cell: int, overlay: Overlay) -> str:
    if cell in scene.empty:
        return ""
    if scene.numbered and cell not in scene.goals:
        return str(cell)
    for cells, symbol in ((scene.obstacles, "#"), (scene.cliff, "C"), (scene.goals, "G")):
        if cell in cells:
            return symbol
    if overlay.policy is not None and overlay.policy[cell].max() >= SHOWN:
        return ARROWS[int(overlay.policy[cell].argmax())]
    return "S" if cell in scene.starts else "."
