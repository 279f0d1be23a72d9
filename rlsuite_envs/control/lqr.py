"""Linear dynamics, quadratic cost: continuous control with its exact answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box
from numpy.typing import NDArray

from registry.errors import InvalidActionError, SettingError
from rlsuite_envs.checks import check_count, check_real, check_state, generator_from
from rlsuite_envs.control.linear_system import Floats, LinearSystem, quadratic, times
from rlsuite_envs.control.oracle import LQROracle
from rlsuite_envs.rendering import tracks
from rlsuite_envs.rendering.canvas import Frame
from rlsuite_envs.rendering.display import display_for, render, render_metadata

__all__ = ["LQR"]

STEP_SECONDS = 0.1
MASS_ON_A_LINE = {
    "A": ((1.0, STEP_SECONDS), (0.0, 1.0)),
    "B": ((STEP_SECONDS**2 / 2,), (STEP_SECONDS,)),
    "Q": ((1.0, 0.0), (0.0, 0.1)),
    "R": ((0.1,),),
}
"""Position and velocity of a unit mass, pushed for a tenth of a second at a time."""

Matrix = Sequence[Sequence[float]]
NOT_NEGATIVE = "a finite number of at least 0"
SEMIDEFINITE = 1e-12
"""Eigenvalues this far below 0, relative to the largest entry, are rounding."""


class LQR(gym.Env[NDArray[np.float32], NDArray[np.float32]]):
    """Keep the state of a linear system near 0 at little cost.

    x' = A x + B u + w with u = F a; the reward is -(x'Qx + u'Ru), of the state before the step.
    Start and noise are uniform, so everything is bounded: F, the input of action 1, is the largest
    one that the best controller can ever need, and the bounds of the observation hold for any
    actions. The best controller therefore never meets a bound, and the answer of the Riccati
    recursion is the exact one of this environment. By default a mass on a line is pushed: position
    and velocity, ten steps a second, five seconds.

    Each reset draws n uniforms for the start, each step n for the noise, coordinate by coordinate,
    where there is no spread too. `info` holds `regret` after a step: by how much the best expected
    return from that state on is above that after this action.

    Args:
        A: Dynamics, n rows of n numbers.
        B: Effect of the input, n rows of m numbers.
        Q: Cost of the state, n rows of n numbers, symmetric, no eigenvalue below 0.
        R: Cost of the input, m rows of m numbers, symmetric, all eigenvalues above 0. Give all four
            or none of them.
        noise: Standard deviation of each coordinate's noise, at least 0.
        start: Coordinates start in [-start, start]; more than 0.
        horizon: Steps of an episode, at least 1.
        render_mode: None, `"human"`, `"rgb_array"` or `"ansi"`.

    Attributes:
        system: A, B, Q, R, noise, start and horizon as arrays and numbers.
        force: F, shape [m].

    Raises:
        SettingError: a keyword is outside its range, or does not go with the others.
    """

    metadata: dict[str, Any] = render_metadata(fps=10)

    def __init__(
        self,
        *,
        A: Matrix | None = None,
        B: Matrix | None = None,
        Q: Matrix | None = None,
        R: Matrix | None = None,
        noise: float = 0.05,
        start: float = 1.0,
        horizon: int = 50,
        render_mode: str | None = None,
    ) -> None:
        self.system = system = LinearSystem(
            **_matrices({"A": A, "B": B, "Q": Q, "R": R}),
            noise=check_real("noise", noise, NOT_NEGATIVE, 0.0, np.inf),
            start=check_real("start", start, "a finite number above 0", 1e-12, np.inf),
            horizon=check_count("horizon", horizon),
        )
        self.horizon = system.horizon
        needed, self.ranges = system.largest(system.gains)
        # where the best controller never acts, as with a horizon of 1, any unit will do
        self.force = np.where(needed > 0.0, needed, 1.0)
        reach = system.reach(self.force)
        if not np.isfinite(reach).all() or reach.max() > np.finfo(np.float32).max / 2:
            raise SettingError(
                f"A makes states grow beyond what float32 can hold within {system.horizon} steps: "
                "use a shorter horizon or a tamer A."
            )
        n_states, n_inputs = system.B.shape
        high = np.nextafter(reach.astype(np.float32), np.float32(np.inf))
        self.observation_space = Box(-high, high, (n_states,), np.float32)
        self.action_space = Box(-1.0, 1.0, (n_inputs,), np.float32)
        self.render_mode = render_mode
        self._display = display_for(self, render_mode)
        self._rows = _Rows(system, self.force)
        self._x: list[float] | None = None
        self._action = [0.0] * n_inputs
        self._t = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Draws a start. There are no options."""
        super().reset(seed=seed)
        self._x = self._rows.started(self._uniforms())
        self._t, self._action = 0, [0.0] * len(self._action)
        if self._display is not None:
            self._display.show()
        return np.array(self._x, np.float32), {}

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Applies an action for one step.

        Raises:
            InvalidActionError: the action is not in the action space.
            ResetNeeded: before the first reset, or after the last step of an episode.
        """
        if self._x is None or self._t >= self.system.horizon:
            raise ResetNeeded("there is no episode to step in: call reset() first.")
        a = self._checked(action)
        reward, regret = self._rows.judged(self._x, a, self._t)
        self._x = self._rows.moved(self._x, a, self._uniforms())
        self._t, self._action = self._t + 1, a
        if self._display is not None:
            self._display.show()
        over = self._t >= self.system.horizon
        return np.array(self._x, np.float32), reward, False, over, {"regret": regret}

    def render(self) -> Any:
        """The present state: pixels uint8 [height, width, 3], a text, or None after showing it."""
        return render(self._display)

    def close(self) -> None:
        """Closes the window, if there is one."""
        if self._display is not None:
            self._display.close()

    def oracle(self, horizon: int | None = None) -> LQROracle:
        """The answer key.

        Args:
            horizon: A time limit around the environment; the shorter of it and its own holds. None:
                its own.

        Raises:
            SettingError: `horizon` is not a whole number of at least 1.
        """
        own = self.system.horizon
        limit = own if horizon is None else min(check_count("horizon", horizon), own)
        return LQROracle(system=self.system, force=self.force, horizon=limit)

    @property
    def rows(self) -> _Rows:
        """The sums of a step, for one state and for many."""
        return self._rows

    def get_state(self) -> dict[str, Any]:
        """Generator, clock, state and last action, as JSON can hold them."""
        return {
            "rng": self.np_random.bit_generator.state,
            "t": self._t,
            "x": None if self._x is None else list(self._x),
            "action": list(self._action),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on from what `get_state` returned, in an environment with the same keywords.

        Raises:
            SettingError: it is not such a state.
        """
        check_state("LQR", state, ("rng", "t", "x", "action"))
        t = check_count("LQR.set_state: 't'", state["t"], low=0)
        n_states, n_inputs = self.system.B.shape
        x = state["x"]
        if x is not None:
            x = _check_numbers("LQR.set_state: 'x'", x, n_states)
        action = _check_numbers("LQR.set_state: 'action'", state["action"], n_inputs)
        self.np_random = generator_from("LQR", state["rng"])
        self._t, self._x, self._action = t, x, action

    def _uniforms(self) -> list[float]:
        return [self.np_random.random() for _ in range(len(self.system.A))]

    def _checked(self, action: Any) -> list[float]:
        try:
            array = np.asarray(action)
        except ValueError:
            array = np.array(None)
        # written so that NaN is refused as well
        if (
            array.dtype.kind not in "fiu"
            or array.shape != self.action_space.shape
            or not np.all(np.abs(array) <= 1.0)
        ):
            raise InvalidActionError(
                f"action {action!r} is not in the action space: it must be an array of shape "
                f"{self.action_space.shape} with numbers in [-1, 1]."
            )
        return [float(a) for a in array]

    def _tracks(self) -> list[tracks.Track]:
        x = [None] * len(self.ranges) if self._x is None else self._x
        of_state = [
            tracks.Track(name=f"x{i + 1}", value=value, limit=float(limit))
            for i, (value, limit) in enumerate(zip(x, self.ranges, strict=True))
        ]
        of_action = [
            tracks.Track(name=f"a{i + 1}", value=value, limit=1.0, is_action=True)
            for i, value in enumerate(self._action)
        ]
        return of_state + of_action

    def _frame(self) -> Frame:
        return tracks.frame(self._tracks(), f"step {self._t} of {self.system.horizon}")

    def _text(self) -> str:
        return tracks.text(self._tracks(), f"step {self._t} of {self.system.horizon}")


class _Rows:
    """What a step does, on lists of coordinates: floats, or arrays with an entry for each row.

    Both give the same bits, as every sum is taken term by term.
    """

    def __init__(self, system: LinearSystem, force: Floats) -> None:
        self._A, self._Q, self._R = system.A.tolist(), system.Q.tolist(), system.R.tolist()
        self._B, self._force = system.B.tolist(), force.tolist()
        self._start, self._noise = system.start, system.noise_bound
        after = system.costs_to_go[1:]
        # the price of leaving the best input, R + B'PB, and the best gains, of every time
        self._gains = system.gains
        self._prices = system.R + system.B.T @ after @ system.B

    def started(self, u: Sequence[Any]) -> list[Any]:
        """The start from uniforms, n of them."""
        return [self._start * (2.0 * one - 1.0) for one in u]

    def judged(self, x: Sequence[Any], a: Sequence[Any], t: Any) -> tuple[Any, Any]:
        """Reward and regret of actions a in states x, with t steps gone."""
        push = self._push(a)
        reward = -(quadratic(self._Q, x) + quadratic(self._R, push))
        gains, prices = (_entries(table[t]) for table in (self._gains, self._prices))
        best = times(gains, x)
        apart = [one - other for one, other in zip(push, best, strict=True)]
        return reward, quadratic(prices, apart)

    def moved(self, x: Sequence[Any], a: Sequence[Any], u: Sequence[Any]) -> list[Any]:
        """The next state, from uniforms for the noise, n of them."""
        drift, pushed = times(self._A, x), times(self._B, self._push(a))
        noise = [self._noise * (2.0 * one - 1.0) for one in u]
        return [d + p + w for d, p, w in zip(drift, pushed, noise, strict=True)]

    def _push(self, a: Sequence[Any]) -> list[Any]:
        return [force * one for force, one in zip(self._force, a, strict=True)]


def _entries(matrix: Floats) -> list[Any]:
    """A matrix [i, j] as rows of floats; many of them, [rows, i, j], as rows of arrays [rows]."""
    if matrix.ndim == 2:
        return matrix.tolist()
    return [list(row) for row in np.moveaxis(matrix, 0, -1)]


def _matrices(given: dict[str, Matrix | None]) -> dict[str, Floats]:
    missing = [name for name, matrix in given.items() if matrix is None]
    if 0 < len(missing) < len(given):
        raise SettingError(
            f"give all of A, B, Q and R, or none of them; missing: {', '.join(missing)}."
        )
    chosen = MASS_ON_A_LINE if missing else given
    found = {name: _matrix(name, matrix) for name, matrix in chosen.items()}
    n, m = found["B"].shape
    for name, shape in (("A", (n, n)), ("Q", (n, n)), ("R", (m, m))):
        if found[name].shape != shape:
            raise SettingError(
                f"{name} must have the shape {shape}, as B has {(n, m)}; got {found[name].shape}."
            )
    for name, low in (("Q", -SEMIDEFINITE), ("R", SEMIDEFINITE)):
        matrix = found[name]
        least = np.linalg.eigvalsh(matrix).min() if np.array_equal(matrix, matrix.T) else -np.inf
        if least < low * max(1.0, float(np.abs(matrix).max())):
            wanted = "at least 0" if name == "Q" else "above 0"
            raise SettingError(f"{name} must be symmetric with all eigenvalues {wanted}.")
    return found


def _matrix(name: str, value: Any) -> Floats:
    wanted = "rows of finite numbers, all of one length"
    try:
        matrix = np.asarray(value)
    except ValueError:
        matrix = np.array(None)
    if matrix.dtype.kind not in "fiu" or matrix.ndim != 2 or 0 in matrix.shape:
        raise SettingError(f"{name} must be {wanted}, got {value!r:.80}.")
    if not np.isfinite(matrix).all():
        raise SettingError(f"{name} must be {wanted}, got NaN or infinity.")
    return matrix.astype(np.float64)


def _check_numbers(setting: str, value: Any, count: int) -> list[float]:
    """A list of `count` finite numbers; raises `SettingError` where it is something else."""
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) != count:
        raise SettingError(f"{setting} must be a list of {count} numbers, got {value!r:.80}.")
    return [check_real(setting, one, "a finite number", -np.inf, np.inf) for one in value]
