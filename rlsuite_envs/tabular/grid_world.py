"""A grid with obstacles: walk from the start to the goal, on as few steps as possible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, MultiDiscrete, Space
from numpy.typing import NDArray

from registry.errors import OracleError, SettingError
from rlsuite_envs.checks import check_count, check_flag, check_real, check_state
from rlsuite_envs.rendering.grid import Scene, pixels
from rlsuite_envs.rendering.tabular import direction_keys
from rlsuite_envs.tabular.env import ObservationForm, StateNumbers, TabularEnv
from rlsuite_envs.tabular.layouts import Layout, check_size, grid_mdp, parse_map, random_layout
from rlsuite_envs.tabular.mdp import TabularMDP
from rlsuite_envs.tabular.oracle import TabularOracle

__all__ = ["GridWorld", "Pixels", "Planes", "Positions"]

DEFAULT_SIZE, DEFAULT_OBSTACLES, DEFAULT_LAYOUT_SEED = 5, 3, 0
AT_GOAL, ELSEWHERE = 1.0, -0.01
TRIES = 10_000
"""Layouts drawn in a row from a `layout_seed` before n_obstacles is found to be too many."""

TRIES_TO_MAKE, TRIES_TO_REDRAW = 1_000, 1_000_000
"""The same with `redraw`: a keyword that passes when the environment is made is so easy that a
reset, which tries far longer, does not fail in practice."""

FRAME = 84
"""Pixels of a side of a frame, as Mnih et al. (2015) give them to their network."""

OBSERVATIONS = ("index", "position", "planes", "pixels")
Observation = Literal["index", "position", "planes", "pixels"]
Size = int | tuple[int, int]


class Positions:
    """A cell is shown as [row, column], int64."""

    def __init__(self, layout: Layout) -> None:
        self.space: Space[Any] = MultiDiscrete([layout.rows, layout.columns])
        self._columns, self._n_cells = layout.columns, layout.n_cells

    def one(self, state: int) -> NDArray[np.int64]:
        """[row, column]."""
        return np.array(divmod(state, self._columns))

    def every(self) -> NDArray[np.int64]:
        """[row, column] of all cells, shape [S, 2]."""
        return np.stack(np.divmod(np.arange(self._n_cells), self._columns), axis=-1)


class Planes:
    """A cell is shown as a picture of the whole grid, float32 [H * W * 3], flattened.

    Entry (row * W + column) * 3 + plane is 1 where the agent (plane 0), an obstacle (1) or a goal
    (2) is, else 0.

    Attributes:
        empty: The picture without the agent. Nobody writes to it.
    """

    def __init__(self, layout: Layout) -> None:
        self.space: Space[Any] = Box(0.0, 1.0, (layout.n_cells * 3,), np.float32)
        self.show(layout)

    def show(self, layout: Layout) -> None:
        """Shows another layout of the same size from now on."""
        picture = np.zeros((layout.n_cells, 3), np.float32)
        picture[sorted(layout.obstacles), 1] = 1.0
        picture[sorted(layout.goals), 2] = 1.0
        self.empty = picture.ravel()

    def one(self, state: int) -> NDArray[np.float32]:
        """The picture with the agent in one cell."""
        picture = self.empty.copy()
        picture[3 * state] = 1.0
        return picture

    def every(self) -> NDArray[np.float32]:
        """The pictures with the agent in each cell, shape [S, H * W * 3]."""
        n_cells = len(self.empty) // 3
        pictures = np.tile(self.empty, (n_cells, 1))
        pictures[np.arange(n_cells), 3 * np.arange(n_cells)] = 1.0
        return pictures


class Pixels:
    """A cell is shown as `render` draws it, smaller and without words: uint8 [84, 84, 3].

    Raises:
        SettingError: the grid has more than 84 rows or columns.
    """

    def __init__(self, layout: Layout) -> None:
        if max(layout.rows, layout.columns) > FRAME:
            raise SettingError(
                f"observation='pixels' shows at most {FRAME} x {FRAME} cells, "
                f"got {layout.rows} x {layout.columns}."
            )
        self.space: Space[Any] = Box(0, 255, (FRAME, FRAME, 3), np.uint8)
        self._scene = scene_of(layout, layout.obstacles)

    def one(self, state: int) -> NDArray[np.uint8]:
        """The frame with the agent in one cell."""
        return pixels(self._scene, state, FRAME)

    def every(self) -> NDArray[np.uint8]:
        """The frames with the agent in each cell, shape [S, 84, 84, 3]."""
        return np.stack([self.one(state) for state in range(self._scene.n_cells)])


class GridWorld(TabularEnv):
    """Walk to the goal: +1 there, -0.01 for any other step.

    Start top left, goal bottom right. Actions are 0 up, 1 right, 2 down, 3 left; who bumps into a
    wall or an obstacle stays, and the step counts. Reaching the goal terminates the episode.

    The obstacles come from `np.random.default_rng(layout_seed)`: one uniform for each cell other
    than start and goal, row by row; the `n_obstacles` smallest become obstacles; if they leave no
    path, all are drawn again. The layout is the same in every episode unless `redraw`.

    Each reset draws one uniform (the start is certain, and it is drawn all the same), with `redraw`
    after those of the layout; each step draws one for the direction. `info` holds `prob`, the
    probability of the outcome that was drawn.

    Args:
        size: Side of the square, at least 2, or (rows, columns); 5 unless given.
        n_obstacles: Number of obstacles, at least 0; 3 unless given.
        layout_seed: Seed of the layout, at least 0; 0 unless given.
        map: Instead of these three, the layout as text: S start, G goal, # obstacle, . free.
        slip: Probability in [0, 1] that the move goes to one of the two perpendicular directions,
            slip / 2 each.
        redraw: Draws new obstacles at each reset; needs `observation="planes"`, which shows them.
            The oracle then answers for the present layout.
        observation: `"index"` (number of the cell), `"position"` (row and column), `"planes"`
            (agent, obstacles and goals as 0 and 1) or `"pixels"` (a frame of 84 x 84 pixels).
        render_mode: None, `"human"`, `"rgb_array"` or `"ansi"`.

    Raises:
        SettingError: a keyword is outside its range, or does not go with the others.
    """

    is_grid = True

    def __init__(
        self,
        size: Size | None = None,
        *,
        n_obstacles: int | None = None,
        layout_seed: int | None = None,
        map: str | Sequence[str] | None = None,
        slip: float = 0.0,
        redraw: bool = False,
        observation: Observation = "index",
        render_mode: str | None = None,
    ) -> None:
        drawn = {"size": size, "n_obstacles": n_obstacles, "layout_seed": layout_seed}
        _check_combination(map, drawn, redraw, observation)
        self._slip = check_real("slip", slip, "a probability in [0, 1]", 0.0, 1.0)
        self.redraw = redraw
        tries = TRIES_TO_MAKE if redraw else TRIES
        self.layout = parse_map(map) if map is not None else _drawn(**drawn, tries=tries)
        self._drawn = not redraw
        super().__init__(
            self._mdp_of(self.layout),
            form=_form(observation, self.layout),
            id="rlsuite/GridWorld-v0",
            render_mode=render_mode,
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Goes to the start; with `redraw`, draws new obstacles first. There are no options."""
        if self.redraw:
            gym.Env.reset(self, seed=seed)
            size, n_obstacles = (self.layout.rows, self.layout.columns), len(self.layout.obstacles)
            self._show(random_layout(self.np_random, *size, n_obstacles, TRIES_TO_REDRAW))
            return super().reset()
        return super().reset(seed=seed)

    @property
    def follows_model(self) -> bool:
        """Whether a compiled loop may step it: cells are shown as numbers, and none are redrawn."""
        return type(self).step is TabularEnv.step and not self.redraw and self._is_bare

    @property
    def model(self) -> TabularMDP:
        """The dynamics on the present layout, without the time limit.

        Raises:
            OracleError: with `redraw`, no layout has been drawn yet.
        """
        self._check_drawn()
        return super().model

    def oracle(
        self, horizon: int | None = None, gamma: float = 1.0, *, limit: bool = True
    ) -> TabularOracle:
        """The answer key; see `TabularEnv.oracle`. With `redraw` it is of the present layout.

        Raises:
            OracleError: with `redraw`, no layout has been drawn yet; or the id is not registered.
            SettingError: as for `TabularEnv.oracle`.
        """
        oracle = super().oracle(horizon, gamma, limit=limit)
        if not self.redraw:
            return oracle
        # the observations are made now: the next reset shows another layout
        pictures = self._form.every()
        return replace(oracle, scope="instance", encode=lambda: pictures.copy())

    def get_keys_to_action(self) -> dict[tuple[str | int, ...], int]:
        """Keys for a person who plays: the arrows, or W, D, S and A."""
        return direction_keys()

    def get_state(self) -> dict[str, Any]:
        """Generator, clock and cell, with `redraw` the obstacles too, as JSON can hold them."""
        state = super().get_state()
        if self.redraw:
            state["obstacles"] = sorted(self.layout.obstacles) if self._drawn else None
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on from what `get_state` returned, in an environment with the same keywords.

        Raises:
            SettingError: it is not such a state, or its obstacles do not fit this grid.
        """
        if not self.redraw:
            super().set_state(state)
            return
        check_state("GridWorld", state, ("rng", "t", "state", "obstacles"))
        rest = dict(state)
        obstacles = rest.pop("obstacles")
        self._check_obstacles(obstacles, rest["state"])
        super().set_state(rest)
        self._drawn = False
        if obstacles is not None:
            self._show(replace(self.layout, obstacles=frozenset(obstacles)))

    def scene(self) -> Scene:
        """What stands where; without obstacles, where they are still to be drawn."""
        return scene_of(self.layout, self.layout.obstacles if self._drawn else frozenset())

    def _show(self, layout: Layout) -> None:
        assert isinstance(self._form, Planes)
        self.layout, self._drawn = layout, True
        self._form.show(layout)
        self._use(self._mdp_of(layout))

    def _mdp_of(self, layout: Layout) -> TabularMDP:
        return grid_mdp(layout, self._slip, AT_GOAL, ELSEWHERE)

    def _check_drawn(self) -> None:
        if not self._drawn:
            raise OracleError(
                "with redraw=True the obstacles are drawn at each reset, so there is no answer key "
                "before the first one: call reset(seed=...) first."
            )

    def _check_obstacles(self, obstacles: Any, state: Any) -> None:
        here = self.layout
        if obstacles is None and state is None:
            return
        free = set(range(here.n_cells)) - {here.start} - here.goals - {state}
        if (
            not isinstance(obstacles, Sequence)
            or len(obstacles) != len(here.obstacles)
            or not all(isinstance(cell, int) for cell in obstacles)
            or len(free & set(obstacles)) != len(obstacles)
        ):
            raise SettingError(
                f"GridWorld.set_state: 'obstacles' must list {len(here.obstacles)} different cells "
                f"of this {here.rows} x {here.columns} grid, without start, goal and the present "
                f"cell; got {obstacles!r}."
            )


def scene_of(layout: Layout, obstacles: frozenset[int]) -> Scene:
    """What stands where in a layout, with these obstacles."""
    return Scene(
        rows=layout.rows,
        columns=layout.columns,
        starts=frozenset({layout.start}),
        goals=layout.goals,
        obstacles=obstacles,
    )


def _form(observation: Observation, layout: Layout) -> ObservationForm:
    if observation == "index":
        return StateNumbers(layout.n_cells)
    if observation == "position":
        return Positions(layout)
    return Planes(layout) if observation == "planes" else Pixels(layout)


def _check_combination(
    map: object, drawn: Mapping[str, object], redraw: object, observation: object
) -> None:
    if observation not in OBSERVATIONS:
        raise SettingError(
            f"observation must be 'index', 'position', 'planes' or 'pixels', got {observation!r}."
        )
    check_flag("redraw", redraw)
    given = [name for name, value in drawn.items() if value is not None]
    if map is not None and given:
        raise SettingError(f"give map or {' and '.join(given)}, not both: a map is fixed.")
    if redraw and map is not None:
        raise SettingError("give map or redraw=True, not both: a map is fixed.")
    if redraw and "layout_seed" in given:
        raise SettingError(
            "give layout_seed or redraw=True, not both: with redraw the layouts come from the "
            "environment's own seed."
        )
    if redraw and observation != "planes":
        raise SettingError(
            "redraw=True needs observation='planes', which shows where the new obstacles are; got "
            f"{observation!r}."
        )


def _drawn(size: object, n_obstacles: object, layout_seed: object, *, tries: int) -> Layout:
    """The layout of a seed. With `redraw` it is only the trial that layouts have paths."""
    rows, columns = check_size(DEFAULT_SIZE if size is None else size)
    obstacles = check_count(
        "n_obstacles", DEFAULT_OBSTACLES if n_obstacles is None else n_obstacles, low=0
    )
    seed = check_count(
        "layout_seed", DEFAULT_LAYOUT_SEED if layout_seed is None else layout_seed, low=0
    )
    most = (rows - 1) * (columns - 1)
    if obstacles > most:
        raise SettingError(
            f"n_obstacles must be at most {most} on {rows} x {columns} cells, so that a path can "
            f"be left; got {obstacles}."
        )
    return random_layout(np.random.default_rng(seed), rows, columns, obstacles, tries)
