"""A grid whose goal is another one in each episode, and part of what is observed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from gymnasium.spaces import Dict, MultiDiscrete, Space
from numpy.typing import NDArray

from registry.errors import SettingError
from rlsuite_envs.checks import check_real
from rlsuite_envs.rendering import grid
from rlsuite_envs.rendering.canvas import Frame
from rlsuite_envs.rendering.tabular import checked_overlay, direction_keys
from rlsuite_envs.tabular.env import ObservationForm, StateNumbers, TabularEnv
from rlsuite_envs.tabular.layouts import absorbing_mdp, arrivals, check_size, read_map, slippery
from rlsuite_envs.tabular.mdp import TabularMDP

__all__ = ["GoalGrid"]

DEFAULT_SIZE = 5
AT_GOAL, ELSEWHERE = 0.0, -1.0

Observation = Literal["index", "position", "dict"]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Place:
    """Where one may start, what the goals are, and what is in the way; all cells by numbers."""

    rows: int
    columns: int
    starts: tuple[int, ...]
    goals: tuple[int, ...]
    walls: frozenset[int]

    @property
    def n_cells(self) -> int:
        return self.rows * self.columns

    @property
    def n_states(self) -> int:
        """Pairs of a cell and a goal."""
        return self.n_cells * len(self.goals)


class _Pairs:
    """A state is shown as [row, column] of the agent and of the goal: as four numbers, or named."""

    def __init__(self, place: _Place, *, named: bool) -> None:
        sides = [place.rows, place.columns]
        self._named = named
        self.space: Space[Any] = (
            Dict({"position": MultiDiscrete(sides), "goal": MultiDiscrete(sides)})
            if named
            else MultiDiscrete(sides * 2)
        )
        cell, goal = np.divmod(np.arange(place.n_states), len(place.goals))
        goal = np.array(place.goals)[goal]
        self._all = np.stack([*np.divmod(cell, sides[1]), *np.divmod(goal, sides[1])], axis=-1)

    def one(self, state: int) -> Any:
        """[row, column, row, column], int64, or a dictionary of two such pairs."""
        return self._shown(self._all[state])

    def every(self) -> Any:
        """The same of all states, [S, 4], or a dictionary of [S, 2]."""
        return self._shown(self._all)

    def _shown(self, rows: NDArray[np.int64]) -> Any:
        if not self._named:
            return rows.copy()
        return {"position": rows[..., :2].copy(), "goal": rows[..., 2:].copy()}


class GoalGrid(TabularEnv):
    """Walk to the goal of the episode, which is observed: 0 for the step that arrives, else -1.

    Each episode draws a goal and a start, every pair of two different cells as likely. So one
    policy has to reach every goal, and what is learned on the way to one of them may be worth
    something for the others (hindsight experience replay, Andrychowicz et al. 2017, was made for
    rewards like these).

    The state is a pair of the agent's cell and the goal. With G goals, its number is
    cell * G + number of the goal, in the order of their cells. Actions are 0 up, 1 right, 2 down,
    3 left; who bumps into a wall or an obstacle stays, and the step counts. Reaching the goal
    terminates the episode.

    Each reset draws one uniform for the pair, each step one for the direction. `info` holds `prob`,
    the probability of what was drawn.

    Args:
        size: Side of the square, or (rows, columns); 5 unless given.
        map: Instead of it, the layout as text: # obstacle, . free, S the start of every episode, G
            a goal. Without S one may start in every free cell, without G every one is a goal.
        slip: Probability in [0, 1] that the move goes to one of the two perpendicular directions,
            slip / 2 each.
        observation: `"index"` (number of the state), `"position"` (row and column of the agent and
            of the goal) or `"dict"` (the same as `position` and `goal`).
        render_mode: None, `"human"`, `"rgb_array"` or `"ansi"`.

    Attributes:
        goals: The cells that may be the goal, rising.

    Raises:
        SettingError: a keyword is outside its range, or does not go with the others.
    """

    def __init__(
        self,
        size: int | tuple[int, int] | None = None,
        *,
        map: str | Sequence[str] | None = None,
        slip: float = 0.0,
        observation: Observation = "index",
        render_mode: str | None = None,
    ) -> None:
        self._place = place = _place(size, map)
        self.goals = place.goals
        super().__init__(
            _mdp(place, check_real("slip", slip, "a probability in [0, 1]", 0.0, 1.0)),
            form=_form(observation, place),
            id="rlsuite/GoalGrid-v0",
            render_mode=render_mode,
        )

    def overlay(self, values: Any = None, policy: Any = None) -> None:
        """What is drawn over the cells, of those states that have the present goal.

        Args:
            values: A number for each state, [S]: a heat map. NaN leaves a cell as it is.
            policy: Probabilities [S, 4], or an action for each state [S]: arrows.

        Raises:
            SettingError: they are no such arrays.
        """
        shape = (self._mdp.n_states, self._mdp.n_actions)
        self._overlay = checked_overlay(values, policy, shape, places=True)

    def get_keys_to_action(self) -> dict[tuple[str | int, ...], int]:
        """Keys for a person who plays: the arrows, or W, D, S and A."""
        return direction_keys()

    def scene(self) -> grid.Scene:
        """What stands where, with the goal of the episode; without one before the first reset."""
        place = self._place
        goal = None if self._state is None else self.goals[self._state % len(self.goals)]
        return grid.Scene(
            rows=place.rows,
            columns=place.columns,
            starts=frozenset(place.starts if len(place.starts) == 1 else ()),
            goals=frozenset(() if goal is None else (goal,)),
            obstacles=place.walls,
        )

    def _shown(self) -> tuple[int | None, str, grid.Overlay]:
        """The agent's cell, the caption, and what is drawn over the cells."""
        caption, here = f"step {self._t}", self._overlay
        if self._state is None:
            return None, caption, grid.Overlay()
        cell, goal = divmod(self._state, len(self.goals))
        values, policy = (
            None if part is None else part[goal :: len(self.goals)]
            for part in (here.values, here.policy)
        )
        return cell, caption, grid.Overlay(values=values, policy=policy)

    def _frame(self) -> Frame:
        return grid.frame(self.scene(), *self._shown())

    def _text(self) -> str:
        return grid.text(self.scene(), *self._shown())


def _place(size: object, map: str | Sequence[str] | None) -> _Place:
    if map is None:
        rows, columns = check_size(DEFAULT_SIZE if size is None else size)
        cells = "." * (rows * columns)
    elif size is not None:
        raise SettingError(f"give map or size, not both; got size={size!r}.")
    else:
        rows, columns, cells = read_map(map)
    if cells.count("S") > 1:
        raise SettingError(f"map has at most one start 'S', got {cells.count('S')}.")
    free = tuple(i for i, symbol in enumerate(cells) if symbol != "#")
    place = _Place(
        rows=rows,
        columns=columns,
        starts=tuple(i for i in free if cells[i] == "S") or free,
        goals=tuple(i for i in free if cells[i] == "G") or free,
        walls=frozenset(range(rows * columns)) - frozenset(free),
    )
    _check_reachable(place)
    return place


def _check_reachable(place: _Place) -> None:
    """Moves can be taken back, so one start tells which cells belong together."""
    if len(set(place.starts) | set(place.goals)) < 2:
        raise SettingError("map needs a start and a goal in another cell; leave more cells free.")
    moves = arrivals(place.rows, place.columns, place.walls)
    reached = {place.starts[0]}
    while not reached.issuperset(found := set(moves[list(reached)].ravel().tolist())):
        reached |= found
    apart = sorted((set(place.starts) | set(place.goals)) - reached)
    if apart:
        raise SettingError(
            f"map: no path leads from cell {place.starts[0]} to cell {apart[0]}; every goal must "
            "be within reach of every start."
        )


def _mdp(place: _Place, slip: float) -> TabularMDP:
    n = len(place.goals)
    moves = arrivals(place.rows, place.columns, place.walls)
    targets, probability = slippery(moves, slip)
    cells = targets.repeat(n, axis=0)
    goal = np.tile(np.arange(n), place.n_cells)[:, None, None]
    arrived = cells == np.array(place.goals)[goal]
    cell, number = np.divmod(np.arange(place.n_states), n)
    still = np.isin(cell, sorted(place.walls)) | (cell == np.array(place.goals)[number])
    start = np.isin(cell, place.starts) & ~still
    return absorbing_mdp(
        next_state=cells * n + goal,
        probability=probability.repeat(n, axis=0),
        reward=np.where(arrived, AT_GOAL, ELSEWHERE),
        terminal=arrived,
        start=start / start.sum(),
        absorbing=frozenset(np.flatnonzero(still).tolist()),
    )


def _form(observation: object, place: _Place) -> ObservationForm:
    if observation == "index":
        return StateNumbers(place.n_states)
    if observation in ("position", "dict"):
        return _Pairs(place, named=observation == "dict")
    raise SettingError(f"observation must be 'index', 'position' or 'dict', got {observation!r}.")
