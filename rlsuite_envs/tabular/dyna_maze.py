"""Mazes for planning, two of which change while one learns. S&B 2nd ed., Examples 8.1 to 8.3."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np

from registry.errors import SettingError
from rlsuite_envs.checks import check_count, check_state
from rlsuite_envs.rendering import grid
from rlsuite_envs.rendering.canvas import Frame
from rlsuite_envs.rendering.tabular import direction_keys
from rlsuite_envs.tabular.env import TabularEnv
from rlsuite_envs.tabular.layouts import (
    Layout,
    absorbing_mdp,
    arrivals,
    parse_map,
    shortest_path,
)
from rlsuite_envs.tabular.mdp import TabularMDP
from rlsuite_envs.tabular.oracle import TabularOracle

__all__ = ["DynaMaze", "Variant"]

Variant = Literal["dyna", "blocking", "shortcut"]

DYNA = """
.......#G
..#....#.
S.#....#.
..#......
.....#...
.........
"""

BARRIER = """
........G
.........
.........
{}
.........
...S.....
"""
RIGHT_OPEN, LEFT_OPEN, BOTH_OPEN = "########.", ".########", ".#######."

MAPS = {
    "dyna": (DYNA,),
    "blocking": (BARRIER.format(RIGHT_OPEN), BARRIER.format(LEFT_OPEN)),
    "shortcut": (BARRIER.format(LEFT_OPEN), BARRIER.format(BOTH_OPEN)),
}
CHANGE_AT = {"blocking": 1000, "shortcut": 3000}


class DynaMaze(TabularEnv):
    """Walk from S to G: +1 there, 0 for any other step. Two of the three mazes change.

    `"dyna"` is the maze of Figure 8.2, which never changes. `"blocking"` (Figure 8.4): the way
    around the right end of a barrier is closed, and a longer one around the left end opened.
    `"shortcut"` (Figure 8.5): beside the way around the left end, a shorter one around the right
    end is opened. That happens once in a run, after `change_at` steps, counted over all episodes. A
    run begins with a seeded reset (or the first one); resets without a seed go on with it. Who
    stands where a wall is built walks out of it.

    Actions are 0 up, 1 right, 2 down, 3 left; who bumps into a wall stays. The observation is the
    number of the cell, row * 9 + column.

    Each reset and each step draws one uniform, though nothing is left to chance. `info` holds
    `prob`, always 1.0, and in the mazes that change `regret` at each step: the best average reward
    of the present maze, 1 over the length of its shortest path, minus the reward.

    Args:
        variant: `"dyna"`, `"blocking"` or `"shortcut"`.
        change_at: Steps of a run before the maze changes, at least 1; None: 1000 for `"blocking"`
            and 3000 for `"shortcut"`.
        render_mode: None, `"human"`, `"rgb_array"` or `"ansi"`.

    Attributes:
        phases: The model before and after the change; one model where nothing changes.
        change_at: None where nothing changes.
        best_rates: The best average reward per step in each phase.

    Raises:
        SettingError: a keyword is outside its range, or does not go with the others.
    """

    is_grid = True

    def __init__(
        self,
        *,
        variant: Variant = "dyna",
        change_at: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        self.change_at = _check_change(variant, change_at)
        layouts = tuple(parse_map(text) for text in MAPS[variant])
        self.phases = tuple(_mdp(layout) for layout in layouts)
        self.best_rates = tuple(1.0 / (shortest_path(layout) or 1) for layout in layouts)
        self._scenes = tuple(_scene(layout) for layout in layouts)
        self._phase = self._steps = 0
        super().__init__(self.phases[0], id="rlsuite/DynaMaze-v0", render_mode=render_mode)

    @property
    def phase(self) -> int:
        """0, or 1 once the maze has changed."""
        return self._phase

    @property
    def follows_model(self) -> bool:
        """Whether a compiled loop may step it; not where the maze changes. See `TabularEnv`."""
        return self.change_at is None and self._is_bare

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Goes to the start; with a seed, a run begins anew. There are no options."""
        if seed is not None:
            self._steps = 0
            self._enter(0)
        return super().reset(seed=seed)

    def step(self, action: np.int64) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Moves one cell. After it, the maze changes if it is time.

        Raises:
            InvalidActionError: the action is not in the action space.
            ResetNeeded: there is no state before the first reset.
        """
        if self.change_at is None:
            return super().step(action)
        observation, reward, terminated, truncated, info = super().step(action)
        info["regret"] = self.best_rates[self._phase] - reward
        self._steps += 1
        if self._steps == self.change_at:
            self._enter(1)
        return observation, reward, terminated, truncated, info

    def oracle(
        self,
        horizon: int | None = None,
        gamma: float = 1.0,
        *,
        limit: bool = True,
        phase: int | None = None,
    ) -> TabularOracle:
        """The answer key of one phase; see `TabularEnv.oracle`.

        In a maze that changes its `scope` is `"instance"`: it does not hold for every episode.

        Args:
            horizon: The time limit; None: the one registered for the id.
            gamma: γ in [0, 1].
            limit: False for the task without a time limit.
            phase: 0 or 1, before or after the change; None: the present one.

        Raises:
            OracleError: the id is not registered, so that its limit is not known.
            SettingError: a keyword is outside its range.
        """
        oracle = super().oracle(horizon, gamma, limit=limit)
        if phase is not None:
            last = len(self.phases) - 1
            if check_count("phase", phase, low=0) > last:
                raise SettingError(f"phase must be from 0 to {last}, got {phase!r}.")
            oracle = replace(oracle, model=self.phases[phase].merged())
        return oracle if self.change_at is None else replace(oracle, scope="instance")

    def get_keys_to_action(self) -> dict[tuple[str | int, ...], int]:
        """Keys for a person who plays: the arrows, or W, D, S and A."""
        return direction_keys()

    def get_state(self) -> dict[str, Any]:
        """Generator, clock, cell and, if the maze changes, the steps of the run, for JSON."""
        state = super().get_state()
        return state if self.change_at is None else {**state, "steps": self._steps}

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on from what `get_state` returned, in an environment with the same keywords.

        Raises:
            SettingError: it is not such a state.
        """
        if self.change_at is None:
            super().set_state(state)
            return
        check_state("DynaMaze", state, ("rng", "t", "state", "steps"))
        rest = dict(state)
        steps = check_count("DynaMaze.set_state: 'steps'", rest.pop("steps"), low=0)
        super().set_state(rest)
        self._steps = steps
        self._enter(int(steps >= self.change_at))

    def scene(self) -> grid.Scene:
        """What stands where now."""
        return self._scenes[self._phase]

    def _enter(self, phase: int) -> None:
        if phase != self._phase:
            self._phase = phase
            self._use(self.phases[phase])

    def _caption(self) -> str:
        of_run = "" if self.change_at is None else f", {self._steps} of the run"
        return f"step {self._t}{of_run}"

    def _frame(self) -> Frame:
        return grid.frame(self.scene(), self._state, self._caption(), self._overlay)

    def _text(self) -> str:
        return grid.text(self.scene(), self._state, self._caption(), self._overlay)


def _check_change(variant: object, change_at: object) -> int | None:
    if variant not in MAPS:
        raise SettingError(f"variant must be 'dyna', 'blocking' or 'shortcut', got {variant!r}.")
    if change_at is None:
        return CHANGE_AT.get(str(variant))
    if variant == "dyna":
        raise SettingError(
            "change_at needs variant='blocking' or 'shortcut': 'dyna' never changes."
        )
    return check_count("change_at", change_at)


def _mdp(layout: Layout) -> TabularMDP:
    """Unlike those of a GridWorld, walls can be left: one may be built where somebody stands."""
    target = arrivals(layout.rows, layout.columns, layout.obstacles)[:, :, None]
    goal = np.isin(target, sorted(layout.goals))
    return absorbing_mdp(
        next_state=target,
        probability=np.ones(target.shape),
        reward=np.where(goal, 1.0, 0.0),
        terminal=goal,
        start=layout.start,
        absorbing=layout.goals,
    )


def _scene(layout: Layout) -> grid.Scene:
    return grid.Scene(
        rows=layout.rows,
        columns=layout.columns,
        starts=frozenset({layout.start}),
        goals=layout.goals,
        obstacles=layout.obstacles,
    )
