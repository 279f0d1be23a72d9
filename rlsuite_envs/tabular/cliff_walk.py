"""Cliff walking: the shortest way runs along the edge. S&B 2nd ed., Example 6.6."""

from __future__ import annotations

import numpy as np

from rlsuite_envs.checks import check_real
from rlsuite_envs.rendering.grid import Scene
from rlsuite_envs.rendering.tabular import direction_keys
from rlsuite_envs.tabular.env import TabularEnv
from rlsuite_envs.tabular.layouts import absorbing_mdp, arrivals, slippery
from rlsuite_envs.tabular.mdp import TabularMDP

__all__ = ["CliffWalk"]

ROWS, COLUMNS = 4, 12
START, GOAL = 36, 47
CLIFF = frozenset(range(37, 47))
STEP, FALL = -1.0, -100.0
SCENE = Scene(
    rows=ROWS,
    columns=COLUMNS,
    starts=frozenset({START}),
    goals=frozenset({GOAL}),
    cliff=CLIFF,
)


class CliffWalk(TabularEnv):
    """Walk from the bottom left to the bottom right of 4 x 12 cells; between them is the cliff.

    Every step pays -1. A step onto the cliff pays -100 instead and leads back to the start; it does
    not end the episode, only the goal does. The observation is the number of the cell,
    row * 12 + column. Actions are 0 up, 1 right, 2 down, 3 left; who bumps into the wall stays.

    Each reset and each step draws one uniform, where there is only one possibility too. `info`
    holds `prob`, the probability of the outcome that was drawn.

    Args:
        slip: Probability in [0, 1] that the move goes to one of the two perpendicular directions,
            slip / 2 each. 0 in the book.
        render_mode: None, `"human"`, `"rgb_array"` or `"ansi"`.

    Raises:
        SettingError: a keyword is outside its range.
    """

    is_grid = True

    def __init__(self, *, slip: float = 0.0, render_mode: str | None = None) -> None:
        slip = check_real("slip", slip, "a probability in [0, 1]", 0.0, 1.0)
        super().__init__(_mdp(slip), id="rlsuite/CliffWalk-v0", render_mode=render_mode)

    def get_keys_to_action(self) -> dict[tuple[str | int, ...], int]:
        """Keys for a person who plays: the arrows, or W, D, S and A."""
        return direction_keys()

    def scene(self) -> Scene:
        """What stands where."""
        return SCENE


def _mdp(slip: float) -> TabularMDP:
    target, probability = slippery(arrivals(ROWS, COLUMNS), slip)
    falls = np.isin(target, sorted(CLIFF))
    return absorbing_mdp(
        next_state=np.where(falls, START, target),
        probability=probability,
        reward=np.where(falls, FALL, STEP),
        terminal=target == GOAL,
        start=START,
        absorbing=CLIFF | {GOAL},
    )
