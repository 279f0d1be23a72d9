"""The answer key of a bandit with a fixed horizon, whose contexts are drawn anew at every step."""

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
    done before, so J(π) = Σ_t Σ_c p(c) Σ_a π_t(a|c) μ(c, a). A bandit without contexts has C = 1.

    Attributes:
        means: μ(c, a), the expected reward of an arm, shape [C, A].
        probabilities: p(c), shape [C], summing to 1.
        contexts: The observation of each context, shape [C, ...].
        horizon: Number of decisions of an episode.
        lai_robbins: The asymptotic slope of the regret in ln T, for arms that pay 0 or 1
            (`arms.lai_robbins_constant`); None for the others. Never a floor at a finite horizon.
        scope: `"task"`, or `"instance"` where the arms are drawn at a reset and the answers hold
            for those alone.
        provenance: Always `"exact"`.
    """

    means: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    contexts: NDArray[np.float32]
    horizon: int
    lai_robbins: float | None = None
    scope: Literal["task", "instance"] = "task"
    provenance: OracleProvenance = "exact"

    @property
    def optimal_return(self) -> float:
        """J*: the best arm of the context at every decision."""
        return self.policy_return(self.optimal_policy)

    @property
    def baseline_return(self) -> float:
        """J of the uniform random policy."""
        return self.policy_return(self._uniform())

    @property
    def best_stationary_return(self) -> None:
        """None: the best arm of a context does not depend on the time, so J* needs no clock."""
        return None

    @property
    def gaps(self) -> NDArray[np.float64]:
        """μ*(c) - μ(c, a), the regret of pulling arm a in context c: shape [C, A]."""
        return self.means.max(axis=1, keepdims=True) - self.means

    @property
    def optimal_policy(self) -> NDArray[np.float64]:
        """π*(a|c), shape [C, A]: probability 1 for the best arm, the first of several."""
        return np.eye(self.means.shape[1])[self.means.argmax(axis=1)]

    def observations(self) -> NDArray[np.float32]:
        """The C contexts as one batch of observations, shape [C, ...]."""
        return self.contexts.copy()

    def policy_return(self, pi: Any) -> float:
        """J(π), exactly.

        Args:
            pi: Probabilities [C, A], or [H, C, A] for a policy that depends on the time, or a
                function from `observations()` to [C, A].

        Raises:
            OracleError: the shape is another one, or a row is no probability distribution.
        """
        return self._expected(self.means, self._pulls(pi))

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
        pulls = self._pulls(self._uniform() if pi is None else pi)
        return self._expected(self.gaps, pulls) / self.horizon

    def _uniform(self) -> NDArray[np.float64]:
        return np.full(self.means.shape, 1.0 / self.means.shape[1])

    def _expected(self, values: NDArray[np.float64], pulls: NDArray[np.float64]) -> float:
        """Σ_c p(c) Σ_a pulls(c, a) values(c, a), summed without rounding on the way."""
        return math.fsum((self.probabilities[:, None] * pulls * values).flat)

    def _pulls(self, pi: Any) -> NDArray[np.float64]:
        """Σ_t π_t(a|c): how often an arm is pulled if its context came at every step. [C, A]."""
        table = np.asarray(pi(self.observations()) if callable(pi) else pi)
        self._check(table)
        return (
            self.horizon * table.astype(np.float64)
            if table.ndim == 2
            else table.sum(axis=0, dtype=np.float64)
        )

    def _check(self, table: NDArray[Any]) -> None:
        shape = self.means.shape
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
