"""A treasure that only exploration finds. Osband et al. 2019 and 2020 (bsuite)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rlsuite_envs.checks import check_count, check_flag, check_real
from rlsuite_envs.rendering.grid import Scene
from rlsuite_envs.rendering.tabular import digit_keys
from rlsuite_envs.tabular.env import TabularEnv
from rlsuite_envs.tabular.layouts import absorbing_mdp
from rlsuite_envs.tabular.mdp import TabularMDP

__all__ = ["DeepSea"]

TREASURE = 1.0


class DeepSea(TabularEnv):
    """Dive N rows down; each step also goes a column to the left or to the right.

    A dive begins at the top left. The treasure lies at the bottom right and pays 1: only N steps to
    the right in a row reach it, and each of them costs `move_cost` / N, while steps to the left
    cost nothing. So all that is learned soon says: go left. Who explores by chance finds the
    treasure in one of 2^N dives.

    Which of the two actions leads to the right is drawn for each of the N x N cells from
    `np.random.default_rng(mapping_seed)`: one uniform per cell, row by row; below a half action 0
    is the one, else action 1.

    The observation is row * (N + 1) + column; row N is the sea bed, where the dive has ended.

    Each reset and each step draws one uniform, where there is only one possibility too. `info`
    holds `prob`, the probability of the outcome that was drawn.

    Args:
        size: N, at least 1.
        stochastic: A step to the right stays in its column with probability 1 / N, and steps from
            the two corners of row N - 1 pay 1 more or 1 less, a half each.
        mapping_seed: Seed of the actions' meaning, at least 0; None: 0 is left, 1 is right.
        move_cost: Cost of N steps to the right, at least 0.
        render_mode: None, `"human"`, `"rgb_array"` or `"ansi"`.

    Raises:
        SettingError: a keyword is outside its range.
    """

    def __init__(
        self,
        *,
        size: int = 10,
        stochastic: bool = False,
        mapping_seed: int | None = 0,
        move_cost: float = 0.01,
        render_mode: str | None = None,
    ) -> None:
        self.size = self.horizon = check_count("size", size)
        self._right = _right_action(self.size, mapping_seed)
        mdp = _mdp(
            self._right,
            check_flag("stochastic", stochastic),
            check_real("move_cost", move_cost, "a finite number of at least 0", 0.0, np.inf),
        )
        super().__init__(mdp, id="rlsuite/DeepSea-v0", render_mode=render_mode)

    def get_keys_to_action(self) -> dict[tuple[str | int, ...], int]:
        """Keys for a person who plays: 0 and 1, whose meaning is to be found out."""
        return digit_keys(self._n_actions)

    def scene(self) -> Scene:
        """The cells that can be reached, and the treasure as a flag."""
        side = self.size + 1
        above = np.triu_indices(side, k=1)
        return Scene(
            rows=side,
            columns=side,
            starts=frozenset({0}),
            goals=frozenset({side * side - 1}),
            obstacles=frozenset(range(side * self.size, side * side - 1)),
            empty=frozenset((above[0] * side + above[1]).tolist()),
        )


def _right_action(size: int, mapping_seed: int | None) -> NDArray[np.int64]:
    """The action that leads to the right in each cell, [N, N]."""
    if mapping_seed is None:
        return np.ones((size, size), np.int64)
    rng = np.random.default_rng(check_count("mapping_seed", mapping_seed, low=0))
    return (rng.random((size, size)) >= 0.5).astype(np.int64)


def _mdp(right_action: NDArray[np.int64], stochastic: bool, move_cost: float) -> TabularMDP:
    """Outcomes: as meant, with 1 more or less at the corners; then the same two of a stray step."""
    size = len(right_action)
    side = size + 1
    row, column = (place[:, None, None] for place in np.divmod(np.arange(side * side), side))
    meaning = np.pad(right_action, ((0, 1), (0, 1))).ravel()[:, None, None]
    right = np.arange(2)[:, None] == meaning
    found = right & (row == size - 1) & (column == size - 1)
    corner = (row == size - 1) & ((column == 0) | (column == size - 1))
    more = np.array([1.0, -1.0, 1.0, -1.0] if stochastic else [0.0])
    stray = np.array([False, False, True, True] if stochastic else [False])
    # the last step to the treasure finds it in any case, as in bsuite
    may_stay = right & ~found & stochastic
    step = np.where(right, np.where(stray & may_stay, 0, 1), -1)
    target = np.minimum(row + 1, size) * side + np.clip(column + step, 0, size)
    of_step = np.where(may_stay, np.where(stray, 1.0 / size, 1.0 - 1.0 / size), ~stray)
    of_more = np.where(corner & stochastic, 0.5, more >= 0.0)
    reward = found * TREASURE - right * (move_cost / size) + corner * more
    shape = (side * side, 2, len(more))
    return absorbing_mdp(
        next_state=target,
        probability=np.broadcast_to(of_step * of_more, shape),
        reward=np.broadcast_to(reward, shape),
        terminal=np.broadcast_to(row == size - 1, shape),
        start=0,
        absorbing=frozenset(range(side * size, side * side)),
    )
