"""Figures of a finite task: values, policies and visits, as PNG or SVG, always the same bytes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.errors import SettingError
from rlsuite.diagnosis import write_failure
from rlsuite.showing.state_tables import Board, StateTable

__all__ = ["plot_table", "refuse_plot"]

SUFFIXES = (".png", ".svg")
DPI = 200
CELL_INCHES, SMALLEST_INCHES, LARGEST_INCHES = 0.62, 3.6, 9.0
NUMBERED = 260
"""Grids of at most so many cells have their numbers written in."""

SHOWN = 0.02
"""Actions less probable than this get no arrow."""

FREE, EDGE, WALL, INK, MUTED = "#f3f4f6", "#d6dae0", "#424a56", "#1f242c", "#636c78"
BLUE, GREEN, VERMILLION = "#0072b2", "#009e73", "#d55e00"  # Okabe and Ito (2008)

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "hatch.linewidth": 1.2,
    "svg.fonttype": "path",
    "svg.hashsalt": "rlsuite",
}

HEADINGS = {"values": "value of each state", "policy": "policy", "visits": "visits per episode"}

Floats = NDArray[np.float64]


def plot_table(table: StateTable, out: Path) -> None:
    """Writes the figure of a table.

    Args:
        table: What `state_table` found.
        out: A `.png` or `.svg` file.

    Raises:
        SettingError: the name ends otherwise, or the file cannot be written.
    """
    refuse_plot(out)
    with _figure(table) as figure:
        draw = _draw_states if table.board is None else _draw_board
        draw(figure, table)
        metadata = {"Date": None} if out.suffix.lower() == ".svg" else {"Software": None}
        figure.savefig(out, dpi=DPI, metadata=metadata)


def refuse_plot(out: Path) -> None:
    """Raises `SettingError` unless a figure can be written to this file."""
    if out.suffix.lower() not in SUFFIXES:
        raise SettingError(f"a plot is a .png or .svg file, got {str(out)!r}.")
    reason = write_failure(out.parent) if out.parent.is_dir() else "its folder does not exist"
    if out.is_dir():
        reason = "it is a folder"
    if reason is not None:
        raise SettingError(f"{out} cannot be written: {reason}.")


@contextmanager
def _figure(table: StateTable) -> Iterator[Any]:
    """An empty figure of the right size; pyplot, which has global state, is not used."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with matplotlib.rc_context(STYLE):
        layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
        figure = Figure(figsize=_size(table), layout=layout)
        FigureCanvasAgg(figure)
        yield figure


def _size(table: StateTable) -> tuple[float, float]:
    if table.board is None:
        return 8.0, 3.6
    board = table.board
    cell = min(CELL_INCHES, LARGEST_INCHES / max(board.columns, board.rows))
    width = max(cell * board.columns, SMALLEST_INCHES)
    cell = width / board.columns
    bar = 0.0 if table.kind == "policy" else 0.8
    return width + 0.3 + bar, cell * board.rows + 0.9


def _head(axes: Any, table: StateTable) -> None:
    """Two lines above the axes: what it is, and how it came about."""
    who, task = (_short(name) for name in (table.who, table.task))
    who = who[:1].upper() + who[1:]
    axes.set_title(f"{who} on {task}: {HEADINGS[table.kind]}", pad=24, color=INK)
    axes.annotate(
        table.note,
        (0, 1),
        xytext=(0, 8),
        xycoords="axes fraction",
        textcoords="offset points",
        color=MUTED,
        fontsize=8,
    )


def _short(name: str) -> str:
    return name.rpartition("/")[2].rpartition("-v")[0] or name


def _draw_board(figure: Any, table: StateTable) -> None:
    board = table.board
    assert board is not None
    axes = figure.add_subplot()
    _head(axes, table)
    axes.set_xlim(-0.5, board.columns - 0.5)
    axes.set_ylim(board.rows - 0.5, -0.5)
    axes.set_aspect("equal")
    axes.axis("off")
    open_cells = [c for c in range(board.rows * board.columns) if c not in board.closed]
    if table.kind == "policy":
        _draw_cells(axes, board, dict.fromkeys(open_cells, FREE))
        _draw_arrows(axes, board, open_cells, table.numbers)
        _draw_names(axes, board, {})
        return
    # visits of goals and pits are how often an episode ends there
    shown = open_cells if table.kind == "values" else sorted({*open_cells, *board.goals})
    colors = _draw_heat(figure, axes, shown, table)
    _draw_cells(axes, board, colors)
    if board.rows * board.columns <= NUMBERED:
        _write_numbers(axes, board, colors, table.numbers)
    _draw_names(axes, board, colors)


def _draw_heat(figure: Any, axes: Any, cells: list[int], table: StateTable) -> dict[int, Any]:
    """The colour of each cell that has a number, and the bar that explains the colours."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    known = [cell for cell in cells if np.isfinite(table.numbers[cell])]
    values = table.numbers[known] if known else np.zeros(1)
    low = 0.0 if table.kind == "visits" else float(values.min())
    high = float(values.max())
    scale = Normalize(low, high if high > low else low + 1.0)
    mapped = ScalarMappable(scale, colormaps["viridis"])
    assert table.board is not None
    beside = axes.inset_axes((1.0 + 0.3 / table.board.columns, 0.0, 0.3 / table.board.columns, 1.0))
    bar = figure.colorbar(mapped, cax=beside)
    bar.outline.set_visible(False)
    bar.ax.tick_params(color=MUTED, labelcolor=MUTED, labelsize=8)
    found: dict[int, Any] = {cell: mapped.to_rgba(table.numbers[cell]) for cell in known}
    return found


def _draw_cells(axes: Any, board: Board, colors: dict[int, Any]) -> None:
    from matplotlib.collections import PolyCollection

    plain, hatched, faces = [], [], []
    for cell in range(board.rows * board.columns):
        y, x = divmod(cell, board.columns)
        square = [(x - 0.5, y - 0.5), (x + 0.5, y - 0.5), (x + 0.5, y + 0.5), (x - 0.5, y + 0.5)]
        if cell in board.pits:
            hatched.append(square)
            continue
        plain.append(square)
        ground = WALL if cell in board.walls else GREEN if cell in board.goals else FREE
        faces.append(colors.get(cell, ground))
    axes.add_collection(PolyCollection(plain, facecolors=faces, edgecolors=EDGE, linewidths=0.6))
    if hatched:  # told apart without their colour, too
        pits = PolyCollection(hatched, facecolors=VERMILLION, edgecolors="#00000055", hatch="///")
        axes.add_collection(pits)


def _draw_names(axes: Any, board: Board, colors: dict[int, Any]) -> None:
    """S in the corner of the start; G in a goal, in its corner where a number stands in it."""
    for cells, name in ((board.starts, "S"), (board.goals, "G")):
        for cell in cells:
            y, x = divmod(cell, board.columns)
            ground = colors.get(cell, GREEN if name == "G" else FREE)
            ink = "white" if name == "G" and cell not in colors else _ink_on(ground)
            if name == "G" and cell not in colors:
                axes.text(x, y, name, ha="center", va="center", color=ink, weight="bold")
            else:
                axes.text(x - 0.43, y - 0.22, name, color=ink, fontsize=7, weight="bold")


def _write_numbers(axes: Any, board: Board, colors: dict[int, Any], numbers: Floats) -> None:
    """The number of each cell, all with the same decimals."""
    largest = max((abs(float(numbers[cell])) for cell in colors), default=0.0)
    form = ".0f" if largest >= 100 else ".1f" if largest >= 10 else ".2f"
    form = form if largest >= 0.1 or largest == 0 else ".1e"
    for cell, ground in colors.items():
        y, x = divmod(cell, board.columns)
        text = f"{numbers[cell]:{form}}".replace("-", "−")
        size = min(9.0, 40.0 / len(text))
        axes.text(x, y, text, ha="center", va="center", fontsize=size, color=_ink_on(ground))


def _ink_on(ground: Any) -> str:
    from matplotlib.colors import to_rgb

    r, g, b = to_rgb(ground)
    return INK if 0.299 * r + 0.587 * g + 0.114 * b > 0.55 else "white"


def _draw_arrows(axes: Any, board: Board, cells: list[int], pi: Floats) -> None:
    """An arrow for each action, as long as it is probable; a single one in the middle.

    A dot for an action that stays.
    """
    from matplotlib.patches import Circle, FancyArrow

    for cell in cells:
        y, x = divmod(cell, board.columns)
        for (dx, dy), p in zip(board.moves, pi[cell].tolist(), strict=True):
            if p < SHOWN:
                continue
            if dx == dy == 0:
                axes.add_patch(Circle((x, y), 0.05 + 0.05 * p, facecolor=BLUE))
                continue
            length = (0.14 + 0.32 * p) / math.hypot(dx, dy)
            back = length / 2 if p > 1 - SHOWN else 0.0
            head = min(0.17, 0.6 * length)
            arrow = FancyArrow(
                x - dx * back,
                y - dy * back,
                dx * length,
                dy * length,
                width=0.05,
                head_width=0.2 * head / 0.17,
                head_length=head,
                length_includes_head=True,
                facecolor=BLUE,
                edgecolor="none",
            )
            axes.add_patch(arrow)


def _draw_states(figure: Any, table: StateTable) -> None:
    """States that are no places: bars by number, or a map of states and actions."""
    axes = figure.add_subplot()
    _head(axes, table)
    axes.set_xlabel("state", color=MUTED)
    axes.tick_params(color=MUTED, labelcolor=MUTED)
    states = len(table.numbers)
    if table.kind != "policy":
        axes.stairs(np.nan_to_num(table.numbers), np.arange(states + 1) - 0.5, fill=True, fc=BLUE)
        axes.set_xlim(-0.5, states - 0.5)
        axes.axhline(0.0, color=MUTED, linewidth=0.6)
        return
    image = axes.imshow(
        table.numbers.T, aspect="auto", interpolation="nearest", cmap="viridis", vmin=0.0, vmax=1.0
    )
    axes.set_ylabel("action", color=MUTED)
    axes.set_yticks(np.arange(table.numbers.shape[1]))
    bar = figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(color=MUTED, labelcolor=MUTED, labelsize=8)
