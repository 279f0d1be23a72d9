"""DynaMaze as a vector environment: rows whose mazes change, each at its own time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from rlsuite_envs.tabular.dyna_maze import DynaMaze
from rlsuite_envs.tabular.mdp import TabularMDP
from rlsuite_envs.tabular.oracle import TabularOracle
from rlsuite_envs.vector.base import RESET, STEP, Batch, NativeVectorEnv
from rlsuite_envs.vector.checks import Ints
from rlsuite_envs.vector.tabular import TabularVectorEnv, run, tables_of

__all__ = ["ChangingMazes", "dyna_maze"]


class ChangingMazes(NativeVectorEnv):
    """n mazes that change, walked together; each row counts the steps of its own run.

    Args:
        single: A maze that changes.
        num_envs: n, at least 1.
        max_episode_steps: Steps after which an episode is truncated; None or -1: no limit.
        autoreset_mode: `"NextStep"`, `"SameStep"` or `"Disabled"`.

    Raises:
        SettingError: a keyword is outside its range.
    """

    def __init__(
        self,
        single: DynaMaze,
        num_envs: int = 1,
        *,
        max_episode_steps: int | None = None,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
    ) -> None:
        super().__init__(
            single,
            num_envs,
            max_episode_steps=max_episode_steps,
            autoreset_mode=autoreset_mode,
            step_info={"prob": ((), np.float64), "regret": ((), np.float64)},
            reset_info={"prob": ((), np.float64)},
        )
        assert single.change_at is not None
        self._change_at, self._rates = single.change_at, np.array(single.best_rates)
        self._n_states = single.phases[0].n_states
        # the tables of both phases, one below the other
        self._starts, self._outcomes = tables_of(single.phases)
        self._state, self._steps = np.zeros(num_envs, np.int64), np.zeros(num_envs, np.int64)

    @property
    def model(self) -> TabularMDP:
        """The dynamics of the present phase, without the time limit.

        Raises:
            OracleError: there is more than one row, and each may be in another phase.
        """
        model: TabularMDP = self._single_of(None).model
        return model

    def oracle(
        self,
        horizon: int | None = None,
        gamma: float = 1.0,
        *,
        limit: bool = True,
        phase: int | None = None,
        row: int | None = None,
    ) -> TabularOracle:
        """The answer key of one phase; see `DynaMaze.oracle`.

        Args:
            horizon: The time limit; None: that of this vector environment.
            gamma: γ in [0, 1].
            limit: False for the task without a time limit.
            phase: 0 or 1, before or after the change; None: the present one of the row.
            row: The sub-environment that is meant; needed unless a phase is named.

        Raises:
            OracleError: neither row nor phase is named.
            SettingError: a keyword is outside its range.
        """
        single = self._single_of(0 if row is None and phase is not None else row)
        if limit and horizon is None:
            horizon = self.max_episode_steps
        oracle: TabularOracle = single.oracle(
            horizon, gamma, limit=limit and horizon is not None, phase=phase
        )
        return oracle

    @property
    def _differs(self) -> bool:
        return True

    def _advance(self, todo: NDArray[np.uint8], actions: Ints, batch: Batch) -> int:
        self._steps[(todo == RESET) & self._reseeded] = 0
        phase = (self._steps >= self._change_at).astype(np.int64)
        ended: int = run(
            todo,
            actions,
            self._rng,
            self._state,
            self._clock,
            phase * self._n_states,
            self._outcomes,
            self._starts,
            self._n_actions,
            self._limit,
            batch.reward,
            batch.terminated,
            batch.truncated,
            batch.columns["prob"],
        )
        stepped = todo == STEP
        regret = batch.columns["regret"]
        np.subtract(self._rates[phase], batch.reward, out=regret, where=stepped)
        self._steps += stepped
        return ended

    def _observations(self) -> Any:
        return self._state.copy()

    def _observation(self, i: int) -> Any:
        return self._state.item(i)

    def _row(self, i: int) -> dict[str, Any]:
        state = self._state.item(i) if self._started else None
        return {"t": self._clock.item(i), "state": state, "steps": self._steps.item(i)}

    def _set_row(self, i: int, state: Mapping[str, Any]) -> None:
        self._clock[i], self._steps[i] = state["t"], state["steps"]
        self._state[i] = 0 if state["state"] is None else state["state"]


def dyna_maze(
    num_envs: int = 1,
    *,
    max_episode_steps: int | None = None,
    autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
    **keywords: Any,
) -> ChangingMazes | TabularVectorEnv:
    """The vector form of `rlsuite/DynaMaze-v0`; the other keywords are those of `DynaMaze`."""
    single = DynaMaze(**keywords)
    form = TabularVectorEnv if single.change_at is None else ChangingMazes
    return form(
        single, num_envs, max_episode_steps=max_episode_steps, autoreset_mode=autoreset_mode
    )
