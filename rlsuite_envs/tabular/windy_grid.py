"""A grid with a crosswind that blows upwards. S&B 2nd ed., Example 6.5, Exercises 6.9 and 6.10."""

from __future__ import annotations

import numpy as np

from registry.errors import SettingError
from rlsuite_envs.checks import check_flag
from rlsuite_envs.rendering.grid import Scene
from rlsuite_envs.rendering.tabular import direction_keys
from rlsuite_envs.tabular.env import TabularEnv
from rlsuite_envs.tabular.layouts import absorbing_mdp
from rlsuite_envs.tabular.mdp import TabularMDP

__all__ = ["WindyGrid"]

ROWS, COLUMNS = 7, 10
START, GOAL = 30, 37
WIND = (0, 0, 0, 1, 1, 1, 2, 2, 1, 0)
STEP = -1.0
MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1), (-1, 1), (1, 1), (1, -1), (-1, -1), (0, 0))
"""(down, right) of the four moves, of the further moves of a king, and of staying."""

GUSTS = (0, 1, -1)
"""What a stochastic wind adds to its strength, a third each."""

SCENE = Scene(
    rows=ROWS, columns=COLUMNS, starts=frozenset({START}), goals=frozenset({GOAL}), wind=WIND
)


class WindyGrid(TabularEnv):
    """Walk from the left to the right of 7 x 10 cells while a wind blows upwards.

    Every step pays -1 and leads one cell further, and up by the wind of the column that is left:
    0 0 0 1 1 1 2 2 1 0. Who would leave the grid stays at its edge. Only the cell where a step ends
    counts: one is not at the goal who is blown across it.

    The observation is the number of the cell, row * 10 + column. Actions are 0 up, 1 right, 2 down,
    3 left; with `king_moves` also 4 up right, 5 down right, 6 down left, 7 up left; with `stay`
    also 8, which leaves the move to the wind.

    Each reset and each step draws one uniform, where there is only one possibility too. `info`
    holds `prob`, the probability of the outcome that was drawn.

    Args:
        king_moves: Eight moves instead of four (Exercise 6.9).
        stay: A ninth action that does not move; needs `king_moves`.
        stochastic_wind: Where there is wind, it blows as far as it should, one cell further or one
            less, a third each, drawn in this order (Exercise 6.10).
        render_mode: None, `"human"`, `"rgb_array"` or `"ansi"`.

    Raises:
        SettingError: a keyword is outside its range, or does not go with the others.
    """

    is_grid = True

    def __init__(
        self,
        *,
        king_moves: bool = False,
        stay: bool = False,
        stochastic_wind: bool = False,
        render_mode: str | None = None,
    ) -> None:
        king_moves, stay = check_flag("king_moves", king_moves), check_flag("stay", stay)
        if stay and not king_moves:
            raise SettingError("stay is a ninth action beside the eight: it needs king_moves=True.")
        n_actions = 8 + stay if king_moves else 4
        mdp = _mdp(n_actions, check_flag("stochastic_wind", stochastic_wind))
        super().__init__(mdp, id="rlsuite/WindyGrid-v0", render_mode=render_mode)

    def get_keys_to_action(self) -> dict[tuple[str | int, ...], int]:
        """Keys for a person who plays: the arrows, or W, D, S and A; E, C, Z, Q; X stays."""
        return direction_keys(self._n_actions)

    def scene(self) -> Scene:
        """What stands where."""
        return SCENE


def _mdp(n_actions: int, stochastic: bool) -> TabularMDP:
    down, right = np.array(MOVES[:n_actions]).T
    row, column = (place[:, None, None] for place in np.divmod(np.arange(ROWS * COLUMNS), COLUMNS))
    wind = np.array(WIND)[column]
    gusts = np.array(GUSTS if stochastic else GUSTS[:1])
    gust = np.where(wind > 0, gusts, 0)
    to_row = np.clip(row + down[:, None] - wind - gust, 0, ROWS - 1)
    to_column = np.clip(column + right[:, None], 0, COLUMNS - 1)
    target = np.broadcast_to(to_row * COLUMNS + to_column, (ROWS * COLUMNS, n_actions, len(gusts)))
    # in still air the first outcome is certain
    certain = np.eye(1, len(gusts))[0]
    probability = np.where(wind > 0, np.full(len(gusts), 1.0 / len(gusts)), certain)
    return absorbing_mdp(
        next_state=target,
        probability=np.broadcast_to(probability, target.shape),
        reward=np.full(target.shape, STEP),
        terminal=target == GOAL,
        start=START,
        absorbing=frozenset({GOAL}),
    )
