"""The answer key of a bandit with a fixed horizon, whose contexts are drawn anew at every step.

Its arms may change with the clock.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from registry.contracts import OracleProvenance
from registry.errors import OracleError

__all__ = ["BanditOracle"]

ROW_SUM_TOLERANCE = 1e-6
"""How far the probabilities of a row may be from summing to 1: float32 policies are let in."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BanditOracle:
    """Exact returns and regrets over `horizon` decisions; nothing is sampled.

    C contexts, A arms. The context of every decision is drawn from `probabilities`, whatever was
    done before, so J(π) = Σ_t Σ_c p(c) Σ_a π_t(a|c) μ_t(c, a). A bandit without contexts has C = 1.

    Attributes:
        means: μ(c, a), the expected reward of an arm, shape [C, A]; or, where it changes with the
            time, μ_t(c, a), shape [H, C, A].
        probabilities: p(c), shape [C], summing to 1.
        contexts: The observation of each context, shape [C, ...]; None where a context is a region
            of observations that pay the same: then π(a|c) is the average over the region.
        horizon: Number of decisions of an episode.
        lai_robbins: The asymptotic slope of the regret in ln T, where it is known: for arms that
            pay 0 or 1, or normal numbers (see `arms`); else None. Never a floor at a finite T.
        scope: `"task"`, or `"instance"` where the arms are drawn at a reset and the answers hold
            for those alone.
        against: The one arm that regret is measured against at every decision, as in adversarial
            bandits; None: the best arm of the decision.
        available: Which arms may be pulled, in the shape of `means`; None: all. Best is the best of
            these, the uniform policy is uniform over them, and no policy may pull the others.
        provenance: Always `"exact"`.
    """

    means: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    contexts: NDArray[np.float32] | None
    horizon: int
    lai_robbins: float | None = None
    scope: Literal["task", "instance"] = "task"
    against: int | None = None
    available: NDArray[np.bool_] | None = None
    provenance: OracleProvenance = "exact"

    @property
    def sampled_because(self) -> str:
        """Why a policy that answers observations is to be scored by playing; mostly empty."""
        if self.contexts is None:
            return "what is observed is a continuum, which no exact answer can list"
        if self.available is not None:
            return "which arms are available is told beside the observation"
        return ""

    @property
    def optimal_return(self) -> float:
        """J*: the best arm of the context at every decision."""
        return self.policy_return(self.optimal_policy)

    @property
    def baseline_return(self) -> float:
        """J of the uniform random policy."""
        return self.policy_return(self._uniform())

    @property
    def best_stationary_return(self) -> float | None:
        """The return of the best arm of each context throughout, where arms change; else None."""
        if self.means.ndim == 2:
            return None
        total = self._open().sum(axis=0)
        if not np.isfinite(total).any(axis=-1).all():
            return None  # no arm is always available
        return self.policy_return(np.eye(self.means.shape[-1])[total.argmax(axis=-1)])

    @property
    def measure_return(self) -> float:
        """What the regret of a run is measured against: J*, or what the arm `against` earns."""
        if self.against is None:
            return self.optimal_return
        shape = self.means.shape[-2:]
        return self._expected(self.means, np.tile(np.eye(shape[1])[self.against], (shape[0], 1)))

    @property
    def gaps(self) -> NDArray[np.float64]:
        """The regret of pulling arm a in context c, of the shape of `means`.

        It is μ*(c) - μ(c, a), at least 0; measured against one arm, or of an arm that is not
        available, it may be negative.
        """
        if self.against is None:
            return self._open().max(axis=-1, keepdims=True) - self.means
        return self.means[..., self.against, None] - self.means

    @property
    def optimal_policy(self) -> NDArray[np.float64]:
        """π*(a|c), of the shape of `means`: 1 for the best arm, the first of several."""
        return np.eye(self.means.shape[-1])[self._open().argmax(axis=-1)]

    def observations(self) -> NDArray[np.float32]:
        """The C contexts as one batch of observations, shape [C, ...].

        Raises:
            OracleError: the contexts are regions.
        """
        if self.contexts is None:
            raise OracleError(
                "the contexts of this bandit are a continuum, so they cannot be listed; give the "
                f"policy as a table with a row for each of its {len(self.probabilities)} regions."
            )
        return self.contexts.copy()

    def policy_return(self, pi: Any) -> float:
        """J(π), exactly.

        Args:
            pi: Probabilities [C, A], or [H, C, A] for a policy that depends on the time, or a
                function from `observations()` to [C, A].

        Raises:
            OracleError: the shape is another one, or a row is no probability distribution.
        """
        return self._expected(self.means, self._table(pi))

    def policy_metrics(self, pi: Any) -> Mapping[str, float]:
        """Nothing beside J(π): an empty mapping."""
        return {}

    def regret_per_step(self, pi: Any = None) -> float:
        """The expected pseudo-regret of one decision under π, averaged over the horizon.

        Args:
            pi: As for `policy_return`; None is the uniform random policy.

        Raises:
            OracleError: as for `policy_return`.
        """
        table = self._table(self._uniform() if pi is None else pi)
        return self._expected(self.gaps, table) / self.horizon

    def _uniform(self) -> NDArray[np.float64]:
        if self.available is not None:
            return self.available / self.available.sum(axis=-1, keepdims=True)
        shape = self.means.shape[-2:]
        return np.full(shape, 1.0 / shape[1])

    def _open(self) -> NDArray[np.float64]:
        """The means, minus infinity where an arm is not available."""
        return (
            self.means if self.available is None else np.where(self.available, self.means, -np.inf)
        )

    def _expected(self, values: NDArray[np.float64], table: NDArray[np.float64]) -> float:
        """Σ_t Σ_c p(c) Σ_a π_t(a|c) values_t(c, a), summed without rounding on the way."""
        if values.ndim == 2:  # how often an arm is pulled if its context came at every step
            table = self.horizon * table if table.ndim == 2 else table.sum(axis=0)
        return math.fsum((self.probabilities[:, None] * table * values).flat)

    def _table(self, pi: Any) -> NDArray[np.float64]:
        """π as a checked table, [C, A] or [H, C, A]."""
        table = np.asarray(pi(self.observations()) if callable(pi) else pi)
        self._check(table)
        return table.astype(np.float64)

    def _check(self, table: NDArray[Any]) -> None:
        shape = self.means.shape[-2:]
        if table.dtype.kind not in "fiub" or table.shape not in (shape, (self.horizon, *shape)):
            raise OracleError(
                f"a policy of this bandit has the shape {shape} (contexts, arms) or "
                f"{(self.horizon, *shape)} with the time in front; got {table.dtype} of shape "
                f"{table.shape}."
            )
        sums = table.sum(axis=-1, dtype=np.float64)
        # written so that NaN is refused as well
        if not (np.all(table >= 0) and np.all(np.abs(sums - 1.0) <= ROW_SUM_TOLERANCE)):
            raise OracleError(
                "the rows of a policy are probabilities, at least 0 and summing to 1; got entries "
                f"from {table.min():.6g} to {table.max():.6g} and sums from {sums.min():.6g} to "
                f"{sums.max():.6g}."
            )
        if self.available is not None and np.any(np.where(self.available, 0, table)):
            raise OracleError(
                "a policy pulls arms that are available alone, but this one gives others a "
                "probability above 0."
            )
