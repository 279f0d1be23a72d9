"""Linear control as a vector environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from registry.errors import InvalidActionError
from rlsuite_envs.compiled import compiled
from rlsuite_envs.control.lqr import LQR
from rlsuite_envs.control.oracle import LQROracle
from rlsuite_envs.vector.base import RESET, SKIP, STEP, Batch, NativeVectorEnv
from rlsuite_envs.vector.checks import Bools, rows_text
from rlsuite_envs.vector.pcg64 import uniform

__all__ = ["LQRVectorEnv", "lqr"]


class LQRVectorEnv(NativeVectorEnv):
    """n linear systems of the same kind, stepped together.

    Args:
        single: The system; its keywords hold for every row.
        num_envs: n, at least 1.
        max_episode_steps: A limit beside the system's own horizon; the shorter one holds.
        autoreset_mode: `"NextStep"`, `"SameStep"` or `"Disabled"`.

    Raises:
        SettingError: a keyword is outside its range.
    """

    def __init__(
        self,
        single: LQR,
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
            step_info={"regret": ((), np.float64)},
            reset_info={},
        )
        self._limit = min(self._limit, single.system.horizon)
        self._rows = single.rows
        n_states, n_inputs = single.system.B.shape
        self._x, self._action = np.zeros((num_envs, n_states)), np.zeros((num_envs, n_inputs))

    def oracle(self, horizon: int | None = None) -> LQROracle:
        """The answer key; see `LQR.oracle`.

        Args:
            horizon: The time limit; None: that of this vector environment.

        Raises:
            SettingError: `horizon` is not a whole number of at least 1.
        """
        limit = self.max_episode_steps if horizon is None else horizon
        oracle: LQROracle = self._single.oracle(limit)  # type: ignore[attr-defined]
        return oracle

    def _advance(self, todo: NDArray[np.uint8], actions: Any, batch: Batch) -> int:
        u = np.zeros_like(self._x)
        _draw(todo, self._rng, u)
        stepped, reset = todo == STEP, todo == RESET
        rows = np.flatnonzero(reset)
        self._x[rows] = np.stack(self._rows.started(list(u[rows].T)), axis=-1)
        self._clock[rows], self._action[rows] = 0, 0.0
        rows = np.flatnonzero(stepped)
        if len(rows):
            x, a = list(self._x[rows].T), list(actions[rows].T)
            reward, regret = self._rows.judged(x, a, self._clock[rows])
            batch.reward[rows], batch.columns["regret"][rows] = reward, regret
            self._x[rows] = np.stack(self._rows.moved(x, a, list(u[rows].T)), axis=-1)
            self._clock[rows] += 1
            self._action[rows] = actions[rows]
        batch.truncated[rows] = self._clock[rows] >= self._limit
        return int(np.count_nonzero(batch.truncated[rows]))

    def _accepted(self, actions: Any) -> Any:
        """The actions as float64 [n, m], all valid where they count."""
        try:
            array = np.asarray(actions)
        except ValueError:
            array = np.array(None)
        if array.dtype.kind not in "fiu" or array.shape != self._action.shape:
            raise InvalidActionError(
                f"actions must be numbers in [-1, 1], of shape {self._action.shape}, with a row "
                f"for each sub-environment; got {array.dtype} of shape {array.shape}."
            )
        # written so that NaN is refused as well
        wrong: Bools = ~np.all(np.abs(array) <= 1.0, axis=1) & ~self._over
        if wrong.any():
            raise InvalidActionError(
                f"the actions of {rows_text(wrong)} are not in the action space: they must be "
                "numbers in [-1, 1]. No sub-environment has moved."
            )
        return array.astype(np.float64)

    def _observations(self) -> Any:
        return self._x.astype(np.float32)

    def _observation(self, i: int) -> Any:
        return self._x[i].astype(np.float32)

    def _row(self, i: int) -> dict[str, Any]:
        return {
            "t": self._clock.item(i),
            "x": self._x[i].tolist() if self._started else None,
            "action": self._action[i].tolist(),
        }

    def _set_row(self, i: int, state: Mapping[str, Any]) -> None:
        self._clock[i], self._action[i] = state["t"], state["action"]
        self._x[i] = 0.0 if state["x"] is None else state["x"]


@compiled
def _draw(todo, rng, u):  # type: ignore[no-untyped-def]  # numba infers the types
    """Fills the rows of u [n, d] that are stepped or reset with uniforms of their generators."""
    for i in range(len(todo)):
        if todo[i] != SKIP:
            for j in range(u.shape[1]):
                u[i, j] = uniform(rng, i)


def lqr(
    num_envs: int = 1,
    *,
    max_episode_steps: int | None = None,
    autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
    **keywords: Any,
) -> LQRVectorEnv:
    """The vector form of `rlsuite/LQR-v0`; the other keywords are those of `LQR`."""
    return LQRVectorEnv(
        LQR(**keywords),
        num_envs,
        max_episode_steps=max_episode_steps,
        autoreset_mode=autoreset_mode,
    )
