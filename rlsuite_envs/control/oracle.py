"""The answer key of linear control with quadratic cost: Riccati, and the cost of any gains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from registry.contracts import OracleProvenance
from registry.errors import OracleError, SettingError
from rlsuite_envs.checks import check_count
from rlsuite_envs.control.linear_system import Floats, LinearSystem, optimal_gains, riccati

__all__ = ["LQROracle"]

ROUNDING = 1e-9
"""How far actions may be above 1 and still be inside: that is the rounding of the bound."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LQROracle:
    """Exact expected returns over `horizon` steps, the noise included; nothing is sampled.

    Policies are linear: actions a_t = G_t x_t with gains G [m, n], or [H, m, n] with the time in
    front. Their return is exact as long as no action leaves [-1, 1]; whether one can is known
    exactly too, since start and noise are bounded, and gains for which one can are refused.

    Attributes:
        system: Dynamics, cost, noise, start.
        force: F, the input of action 1, shape [m].
        horizon: H.
        scope: Always `"task"`.
        provenance: Always `"exact"`.
    """

    system: LinearSystem
    force: Floats
    horizon: int
    scope: Literal["task", "instance"] = "task"
    provenance: OracleProvenance = "exact"

    @property
    def optimal_return(self) -> float:
        """J* = -(tr(P_0 Cov x_0) + Σ_t tr(P_{t+1} Cov w)), over all policies, linear or not.

        Raises:
            OracleError: the best actions for this horizon may be outside the bounds.
        """
        self._check_inside(self.optimal_gains())
        traces = np.trace(self._costs_to_go, axis1=1, axis2=2)
        return -float(self._start_variance * traces[0] + self._noise_variance * traces[1:].sum())

    @cached_property
    def baseline_return(self) -> float:
        """J of actions drawn uniformly from [-1, 1], each time anew, whatever the state."""
        system = self.system
        of_input = np.diag(self.force**2 / 3.0)
        spread = system.B @ of_input @ system.B.T + self._noise_variance * np.eye(len(system.A))
        total, second = 0.0, self._start_variance * np.eye(len(system.A))
        for _ in range(self.horizon):
            total += np.trace(system.Q @ second) + np.trace(system.R @ of_input)
            second = system.A @ second @ system.A.T + spread
        return -float(total)

    @cached_property
    def best_stationary_return(self) -> float | None:
        """The best return of the optimal gains of one time, kept throughout; None if it is J*."""
        returns = []
        for gains in self.optimal_gains():
            try:
                returns.append(self.policy_return(gains))
            except OracleError:
                # kept for too long, these gains may ask for more than the bounds allow
                continue
        best = max(returns, default=-np.inf)
        return None if best >= self.optimal_return else best

    def optimal_gains(self) -> Floats:
        """G_t of the best actions a_t = G_t x_t, shape [H, m, n]."""
        return optimal_gains(self.system, self._costs_to_go) / self.force[:, None]

    def optimal_value(self, state: Any, t: int = 0) -> float:
        """v*_t(x): the best expected return from x on, with t steps gone.

        Args:
            state: x, shape [n].
            t: Steps gone, from 0 to H.

        Raises:
            SettingError: `t` or the shape of `state` is another one.
        """
        if check_count("t", t, low=0) > self.horizon:
            raise SettingError(f"t must be at most the number of steps, {self.horizon}; got {t!r}.")
        x = np.asarray(state, np.float64)
        if x.shape != (len(self.system.A),):
            raise SettingError(f"state must have the shape ({len(self.system.A)},), got {x.shape}.")
        ahead = np.trace(self._costs_to_go[t + 1 :], axis1=1, axis2=2).sum()
        return -float(x @ self._costs_to_go[t] @ x + self._noise_variance * ahead)

    def observations(self) -> Any:
        """Refused: there is no batch of all states.

        Raises:
            OracleError: always.
        """
        raise OracleError(
            "the states of linear control are a continuum, so they cannot be listed; give "
            "policy_return the gains of a linear policy."
        )

    def policy_return(self, pi: Any) -> float:
        """J of the linear policy a_t = G_t x_t, exactly.

        Args:
            pi: The gains G, shape [m, n], or [H, m, n].

        Raises:
            OracleError: the shape is another one, or some start and noise would lead to an action
                outside [-1, 1], which the environment refuses.
        """
        system, gains = self.system, self._checked(pi)
        self._check_inside(gains)
        total, second = 0.0, self._start_variance * np.eye(len(system.A))
        for gain in self.force[:, None] * gains:
            total += np.trace((system.Q + gain.T @ system.R @ gain) @ second)
            closed = system.A + system.B @ gain
            second = closed @ second @ closed.T + self._noise_variance * np.eye(len(system.A))
        return -float(total)

    def policy_metrics(self, pi: Any) -> Mapping[str, float]:
        """Nothing beside J: an empty mapping."""
        return {}

    @property
    def _start_variance(self) -> float:
        return self.system.start**2 / 3.0

    @property
    def _noise_variance(self) -> float:
        return self.system.noise**2

    @cached_property
    def _costs_to_go(self) -> Floats:
        return riccati(self.system, self.horizon)

    def _check_inside(self, gains: Floats) -> None:
        most = self.system.largest(self.force[:, None] * gains)[0] / self.force
        if most.max() > 1.0 + ROUNDING:
            raise OracleError(
                f"this policy may ask for an action of size {most.max():.6g}, outside [-1, 1], so "
                "it has no exact return."
            )

    def _checked(self, pi: Any) -> Floats:
        shape = self.system.B.shape[::-1]
        shapes = (shape, (self.horizon, *shape))
        gains = np.asarray(pi)
        if gains.dtype.kind not in "fiu" or gains.shape not in shapes:
            raise OracleError(
                f"a policy of linear control is its gains, of shape {shapes[0]} or {shapes[1]}; "
                f"got {gains.dtype} of shape {gains.shape}."
            )
        if not np.isfinite(gains).all():
            raise OracleError("the gains of a policy must be finite, got NaN or infinity.")
        return np.broadcast_to(gains.astype(np.float64), shapes[1])
