"""The answer key of a finite MDP: exact returns, the time limit included."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from registry.contracts import Model, OracleProvenance
from registry.errors import OracleError, SettingError
from rlsuite_envs.checks import check_count, check_real
from rlsuite_envs.tabular.solvers import (
    Dynamics,
    Floats,
    Ints,
    action_values,
    backward_induction,
    chain_of_actions,
    chain_of_policy,
    evaluate_clocked_policy,
    evaluate_with_limit,
    greedy_actions,
)
from rlsuite_envs.tabular.unlimited import evaluate_unlimited, reachable_states, solve_unlimited

__all__ = ["TabularOracle"]

STATIONARY_GAMMAS = (1.0, 0.999, 0.99, 0.95, 0.9)
"""Discounts whose greedy policies, without a limit, are tried as stationary policies."""

ROW_SUM_TOLERANCE = 1e-6
"""How far the probabilities of a row may be from summing to 1: float32 policies are let in."""

ATTAINED = 1e-12
"""A return this close to J*, relatively, is J*: the rest is rounding."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TabularOracle:
    """Exact returns J = Σ_s start(s) v_0(s) over episodes of at most `horizon` steps.

    Nothing is sampled. S states, A actions, H steps. Every number is of the task with exactly this
    limit and discount; the cut-off at the limit is worth nothing.

    Attributes:
        model: The dynamics and the start distribution.
        horizon: H, at least 1; None is the task without a time limit.
        gamma: γ in [0, 1].
        encode: Makes `observations()`; None: the numbers of the states.
        mask: Actions that the baseline chooses from, bool [S, A]; None: all of them.
        scope: `"task"`, or `"instance"` where the answers hold for the present layout alone.
        provenance: Always `"exact"`.

    Raises:
        SettingError: `horizon` or `gamma` is outside its range.
    """

    model: Model
    horizon: int | None
    gamma: float = 1.0
    encode: Callable[[], Any] | None = None
    mask: NDArray[np.bool_] | None = None
    scope: Literal["task", "instance"] = "task"
    provenance: OracleProvenance = "exact"

    def __post_init__(self) -> None:
        if self.horizon is not None:
            object.__setattr__(self, "horizon", check_count("horizon", self.horizon))
        gamma = check_real("gamma", self.gamma, "a number in [0, 1]", 0.0, 1.0)
        object.__setattr__(self, "gamma", gamma)

    @property
    def optimal_return(self) -> float:
        """J*: the largest expected return, over policies that may look at the clock.

        Raises:
            OracleError: there is no limit, γ = 1, and no finite optimum was found.
        """
        return self._return(self._first_values)

    @cached_property
    def baseline_return(self) -> float:
        """J of the uniform random policy, among the allowed actions where the task has masks."""
        if self.mask is None:
            uniform = np.full(self._shape, 1.0 / self._shape[1])
        else:
            uniform = self.mask / self.mask.sum(axis=-1, keepdims=True)
        return self._return(self._evaluate(uniform))

    @cached_property
    def best_stationary_return(self) -> float | None:
        """The best return found among stationary policies; None where one of them attains J*.

        Tried are the greedy policies, without a limit, of γ in {1, 0.999, 0.99, 0.95, 0.9} and the
        optimal actions of every time step, each evaluated with the limit.
        """
        if self.horizon is None:
            return None
        best, tried = -np.inf, set()
        goal = self.optimal_return
        for actions in self._stationary_candidates():
            key = actions.astype(np.int32).tobytes()
            if key in tried:
                continue
            tried.add(key)
            chain = chain_of_actions(self._dynamics, actions)
            best = max(best, self._return(evaluate_with_limit(chain, self.horizon, self.gamma)))
            if best >= goal - ATTAINED * max(1.0, abs(goal)):
                return None
        return best

    def observations(self) -> Any:
        """All S states as one batch of observations; their numbers, int64 [S], unless encoded."""
        return np.arange(self._shape[0]) if self.encode is None else self.encode()

    def policy_return(self, pi: Any) -> float:
        """J(π), exactly.

        Args:
            pi: Probabilities [S, A], or [H, S, A] for a policy that depends on the time, or a
                function from `observations()` to [S, A].

        Without a limit and with γ = 1, a policy that may go on for ever has the return -∞ if that
        costs (+∞ if it pays).

        Raises:
            OracleError: the shape is another one, a row is no probability distribution, or (no
                limit, γ = 1) the sum of rewards has no limit.
        """
        return self._return(self.policy_values(pi))

    def policy_metrics(self, pi: Any) -> Mapping[str, float]:
        """Nothing beside J(π): an empty mapping."""
        return {}

    def policy_values(self, pi: Any) -> Floats:
        """v_0^π(s), shape [S]; `pi` and errors as for `policy_return`.

        Without a limit and with γ = 1, states that π never reaches from the start are NaN.
        """
        return self._evaluate(self._checked(pi(self.observations()) if callable(pi) else pi))

    def value_error(self, values: Any, pi: Any) -> float:
        """Root of the mean squared error of predicted values of π, each state counting alike.

        The states are those that π acts in, from the start on: no terminal ones, and none that it
        never visits.

        Args:
            values: v̂(s), [S], in the order of `observations()`; other states may hold anything.
            pi: Probabilities [S, A], or a function from `observations()` to them.

        Raises:
            OracleError: the values are no such array, one that counts is not finite, or π has no
                finite values; or as for `policy_return`.
        """
        table = self._checked(pi(self.observations()) if callable(pi) else pi)
        if table.ndim == 3:
            raise OracleError("values are predicted of a policy without a clock, of shape [S, A].")
        found = np.asarray(values)
        if found.shape != self._shape[:1] or found.dtype.kind not in "fiu":
            raise OracleError(
                f"values must be {self._shape[0]} numbers, one for each state; got {found.dtype} "
                f"of shape {found.shape}."
            )
        acts = reachable_states(chain_of_policy(self._dynamics, table), self.model.start)
        apart = found[acts] - self._evaluate(table)[acts]
        if not np.isfinite(apart).all():
            raise OracleError("the values predicted and the true ones must be finite where π acts.")
        return float(np.sqrt(np.mean(apart**2)))

    def optimal_values(self) -> Floats:
        """v*: shape [H + 1, S], row t with t steps gone and the last one 0; [S] without a limit.

        Without a limit and with γ = 1, states that cannot be reached from the start are NaN.
        """
        return (self._unlimited[0] if self.horizon is None else self._values).copy()

    def optimal_action_values(self, t: int = 0) -> Floats:
        """q*_t(s, a), shape [S, A]; NaN wherever `optimal_values` is.

        Args:
            t: Steps gone, from 0 to H - 1; without a limit always 0.

        Raises:
            SettingError: `t` is no such number.
        """
        steps = 1 if self.horizon is None else self.horizon
        if check_count("t", t, low=0) >= steps:
            raise SettingError(f"t must be less than the number of steps, {steps}; got {t!r}.")
        if self.horizon is not None:
            return action_values(self._dynamics, self._values[t + 1], self.gamma)
        unknown = np.isnan(self._unlimited[0])
        q = action_values(self._dynamics, np.where(unknown, 0.0, self._unlimited[0]), self.gamma)
        q[unknown] = np.nan
        return q

    def optimal_policy(self) -> Floats:
        """π*(a|s), shape [H, S, A], or [S, A] without a limit: probability 1 for one best action.

        With a limit it is the first of the best actions at each time. Without one it is a best
        action that leads towards the end of the episode, so that the policy attains J*.
        """
        return np.eye(self._shape[1])[
            self._unlimited[1] if self.horizon is None else self._optimal_actions
        ]

    @property
    def _shape(self) -> tuple[int, int]:
        states, actions = self.model.next_state.shape[:2]
        return states, actions

    @cached_property
    def _dynamics(self) -> Dynamics:
        return Dynamics.of(self.model)

    @cached_property
    def _values(self) -> Floats:
        assert self.horizon is not None
        return backward_induction(self._dynamics, self.horizon, self.gamma)

    @cached_property
    def _optimal_actions(self) -> Ints:
        return greedy_actions(self._dynamics, self._values, self.gamma)

    @cached_property
    def _unlimited(self) -> tuple[Floats, Ints]:
        return solve_unlimited(self._dynamics, self.model.start, self.gamma)

    @property
    def _first_values(self) -> Floats:
        return self._unlimited[0] if self.horizon is None else self._values[0]

    def _return(self, values: Floats) -> float:
        started = self.model.start > 0
        return float(self.model.start[started] @ values[started])

    def _evaluate(self, pi: Floats) -> Floats:
        if pi.ndim == 3:
            return evaluate_clocked_policy(self._dynamics, pi, self.gamma)
        chain = chain_of_policy(self._dynamics, pi)
        if self.horizon is None:
            return evaluate_unlimited(chain, self.model.start, self.gamma)
        return evaluate_with_limit(chain, self.horizon, self.gamma)

    def _stationary_candidates(self) -> Iterator[Ints]:
        for gamma in STATIONARY_GAMMAS:
            try:
                yield solve_unlimited(self._dynamics, self.model.start, gamma)[1]
            except OracleError:
                # the task without a limit need not have an optimum; then it suggests no policy
                continue
        yield from np.unique(self._optimal_actions, axis=0)

    def _checked(self, pi: Any) -> Floats:
        try:
            table = np.asarray(pi)
        except ValueError as error:
            raise OracleError(f"a policy is an array of probabilities; got {pi!r}.") from error
        shapes = (
            [self._shape] if self.horizon is None else [self._shape, (self.horizon, *self._shape)]
        )
        if table.dtype.kind not in "fiub" or table.shape not in shapes:
            raise OracleError(
                f"a policy of this task has the shape {' or '.join(map(str, shapes))}, (states, "
                f"actions) with the time in front where there is a limit; got {table.dtype} of "
                f"shape {table.shape}."
            )
        table = table.astype(np.float64)
        sums = table.sum(axis=-1, keepdims=True)
        # written so that NaN is refused as well
        if not (np.all(table >= 0) and np.all(np.abs(sums - 1.0) <= ROW_SUM_TOLERANCE)):
            raise OracleError(
                "the rows of a policy are probabilities, at least 0 and summing to 1; got entries "
                f"from {table.min():.6g} to {table.max():.6g} and sums from {sums.min():.6g} to "
                f"{sums.max():.6g}."
            )
        return table / sums
