"""Rectangles of cells: layouts as text or drawn at random, and the MDP of walking on them.

Cell number = row * columns + column, from the top left. The actions are 0 up, 1 right, 2 down,
3 left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from registry.errors import SettingError
from rlsuite_envs.checks import check_count
from rlsuite_envs.tabular.mdp import TabularMDP

__all__ = [
    "Layout",
    "absorbing_mdp",
    "arrivals",
    "check_size",
    "grid_mdp",
    "parse_map",
    "random_layout",
    "read_map",
    "shortest_path",
    "slippery",
]

MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))
SYMBOLS = "S start, G goal, # obstacle, . free"

Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """What stands where; all cells by their numbers. Goals can be reached from the start."""

    rows: int
    columns: int
    start: int
    goals: frozenset[int]
    obstacles: frozenset[int]

    @property
    def n_cells(self) -> int:
        """S: every cell is a state, obstacles too."""
        return self.rows * self.columns


def random_layout(
    rng: np.random.Generator, rows: int, columns: int, n_obstacles: int, tries: int
) -> Layout:
    """Start top left, goal bottom right, obstacles between them that leave a path.

    Draws one uniform for each cell other than start and goal, row by row; the `n_obstacles`
    smallest become obstacles. Where they leave no path, draws all again from the same generator.

    Raises:
        SettingError: so many layouts in a row left no path.
    """
    cells = np.arange(1, rows * columns - 1)
    for _ in range(tries):
        u = np.array([rng.random() for _ in range(len(cells))])
        chosen = cells[np.argsort(u, kind="stable")[:n_obstacles]]
        layout = Layout(
            rows=rows,
            columns=columns,
            start=0,
            goals=frozenset({rows * columns - 1}),
            obstacles=frozenset(chosen.tolist()),
        )
        if shortest_path(layout) is not None:
            return layout
    raise SettingError(
        f"n_obstacles={n_obstacles} is too many for {rows} x {columns} cells: {tries:,} layouts "
        "drawn in a row left no path from start to goal. Use fewer."
    )


def parse_map(text: str | Sequence[str]) -> Layout:
    """A layout from its picture: one line of symbols for each row, or one text of all lines.

    S is the start, G a goal, # an obstacle, . a free cell. Blank lines above and below and blanks
    around a line do not count.

    Raises:
        SettingError: the map is no rectangle, has another symbol, not exactly one start, no goal,
            or no path from the start to a goal.
    """
    rows, columns, cells = read_map(text)
    if cells.count("S") != 1:
        raise SettingError(f"map needs exactly one start 'S', got {cells.count('S')}.")
    if "G" not in cells:
        raise SettingError("map needs at least one goal 'G', got none.")
    layout = Layout(
        rows=rows,
        columns=columns,
        start=cells.index("S"),
        goals=frozenset(i for i, symbol in enumerate(cells) if symbol == "G"),
        obstacles=frozenset(i for i, symbol in enumerate(cells) if symbol == "#"),
    )
    if shortest_path(layout) is None:
        raise SettingError("map: no goal can be reached from the start; open a path.")
    return layout


def read_map(text: str | Sequence[str]) -> tuple[int, int, str]:
    """Rows, columns, and the symbols of all cells of a picture, row by row.

    Raises:
        SettingError: the map is no rectangle, or has a symbol other than S, G, # and .
    """
    lines = _lines(text)
    cells = "".join(lines)
    unknown = sorted(set(cells) - set("SG#."))
    if unknown:
        raise SettingError(f"map: unknown symbol {unknown[0]!r}; known are {SYMBOLS}.")
    return len(lines), len(lines[0]), cells


def check_size(size: object) -> tuple[int, int]:
    """(rows, columns) of a square's side, or of both sides; at least two cells.

    Raises:
        SettingError: it is neither.
    """
    wanted = "a whole number of at least 2, or (rows, columns) with at least two cells"
    sides = size if isinstance(size, Sequence) else (size, size)
    if isinstance(sides, str) or len(sides) != 2:
        raise SettingError(f"size must be {wanted}, got {size!r}.")
    try:
        rows, columns = (check_count("size", side) for side in sides)
    except SettingError:
        rows = columns = 0
    if rows * columns < 2:
        raise SettingError(f"size must be {wanted}, got {size!r}.")
    return rows, columns


def arrivals(rows: int, columns: int, obstacles: frozenset[int] = frozenset()) -> Ints:
    """Where each move leads, [S, 4]; at a wall or an obstacle one stays."""
    row, column = np.divmod(np.arange(rows * columns), columns)
    found = np.empty((rows * columns, len(MOVES)), np.int64)
    blocked = np.zeros(rows * columns, bool)
    blocked[list(obstacles)] = True
    for a, (down, right) in enumerate(MOVES):
        r = np.clip(row + down, 0, rows - 1)
        c = np.clip(column + right, 0, columns - 1)
        target = r * columns + c
        found[:, a] = np.where(blocked[target], np.arange(rows * columns), target)
    return found


def slippery(moves: Ints, slip: float) -> tuple[Ints, NDArray[np.float64]]:
    """Targets and probabilities [S, 4, K] of moves that slip, from where they lead, [S, 4].

    Outcome 0 is the move itself, with probability 1 - slip; outcomes 1 and 2 are the directions a
    quarter turn clockwise and counterclockwise from it, with slip / 2 each. K = 1 without slip.
    """
    if slip == 0.0:
        return moves[:, :, None], np.ones((*moves.shape, 1))
    turns = np.stack([moves, np.roll(moves, -1, axis=1), np.roll(moves, 1, axis=1)], axis=-1)
    return turns, np.broadcast_to([1.0 - slip, slip / 2, slip / 2], turns.shape)


def grid_mdp(layout: Layout, slip: float, at_goal: float, elsewhere: float) -> TabularMDP:
    """The MDP of walking on a layout: a goal pays `at_goal` and ends it, other steps `elsewhere`.

    In cells where nobody ever is (obstacles, goals) every action stays, pays 0 and is terminal.
    """
    next_state, probability = slippery(
        arrivals(layout.rows, layout.columns, layout.obstacles), slip
    )
    goal = np.zeros(layout.n_cells, bool)
    goal[list(layout.goals)] = True
    return absorbing_mdp(
        next_state=next_state,
        probability=probability,
        reward=np.where(goal[next_state], at_goal, elsewhere),
        terminal=goal[next_state],
        start=layout.start,
        absorbing=layout.goals | layout.obstacles,
    )


def absorbing_mdp(
    *,
    next_state: Ints,
    probability: NDArray[np.float64],
    reward: NDArray[np.float64],
    terminal: NDArray[np.bool_],
    start: int | NDArray[np.float64],
    absorbing: frozenset[int],
) -> TabularMDP:
    """The MDP whose `absorbing` states, where nobody ever acts, keep who is put there.

    It starts in one state, or is given the probability of each, [S].
    """
    still = sorted(absorbing)
    next_state, reward, terminal = next_state.copy(), reward.copy(), terminal.copy()
    next_state[still] = np.array(still, np.int64)[:, None, None]
    reward[still], terminal[still] = 0.0, True
    distribution = np.eye(1, len(next_state), start)[0] if isinstance(start, int) else start
    return TabularMDP(
        next_state=next_state,
        probability=probability,
        reward=reward,
        terminal=terminal,
        start=distribution,
    )


def _lines(text: str | Sequence[str]) -> list[str]:
    given = text.strip().splitlines() if isinstance(text, str) else text
    if not isinstance(given, Sequence) or not all(isinstance(line, str) for line in given):
        raise SettingError(f"map must be a text or a list of lines, got {text!r}.")
    lines = [line.strip() for line in given]
    if not lines or not lines[0]:
        raise SettingError("map is empty; give one line of symbols for each row.")
    for number, line in enumerate(lines, start=1):
        if len(line) != len(lines[0]):
            raise SettingError(
                f"map must be a rectangle: line 1 has {len(lines[0])} cells, "
                f"line {number} has {len(line)}."
            )
    return lines


def shortest_path(layout: Layout) -> int | None:
    """Steps from the start to the nearest goal; None where no goal can be reached."""
    moves = arrivals(layout.rows, layout.columns, layout.obstacles)
    reached, edge, steps = {layout.start}, [layout.start], 0
    while edge:
        if not layout.goals.isdisjoint(edge):
            return steps
        edge = [s for s in set(moves[edge].ravel().tolist()) if s not in reached]
        reached.update(edge)
        steps += 1
    return None
