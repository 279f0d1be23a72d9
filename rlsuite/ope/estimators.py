"""Estimators of a policy's value from another's log, as pure functions of arrays.

Notation: N decisions, K actions; w = π_e(a|x) / π_b(a|x) [N], the weights of the evaluated policy
π_e over the one that logged, π_b; r [N], rewards; q(x, ·) [N, K], predicted rewards;
q(x, π) = Σ_a π(a|x) q(x, a). Every estimator here has one form,

    V = mean(base) + Σ numerator / Σ denominator,

so that its standard error, and all replicates of its bootstrap, follow from sums alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from registry.errors import SettingError

__all__ = [
    "Terms",
    "direct_method",
    "doubly_robust",
    "dros",
    "ipw",
    "model_values",
    "replay",
    "self_normalized_dr",
    "snipw",
    "switch_dr",
    "weights",
]

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Terms:
    """What each decision adds to an estimate; `float(terms)` is the estimate.

    Attributes:
        base: [N], of which the mean is taken.
        numerator: [N], summed.
        denominator: [N], summed; None stands for ones: the estimate is then a plain mean.
    """

    base: Floats
    numerator: Floats
    denominator: Floats | None = None

    def __float__(self) -> float:
        return self.value

    @property
    def value(self) -> float:
        """The estimate; NaN where the denominators sum to 0, so that nothing is known."""
        total = len(self.base) if self.denominator is None else float(self.denominator.sum())
        return float(self.base.mean() + self.numerator.sum() / total) if total > 0 else float("nan")

    @property
    def influence(self) -> Floats:
        """ψ [N] with mean 0: to first order the estimate's error is their mean.

        ψ = base - mean(base) + (numerator - ρ denominator) / mean(denominator), where ρ is
        Σ numerator / Σ denominator.
        """
        d = np.ones_like(self.base) if self.denominator is None else self.denominator
        ratio = self.numerator.sum() / d.sum()
        return np.asarray(
            self.base - self.base.mean() + (self.numerator - ratio * d) / d.mean(), np.float64
        )

    @property
    def standard_error(self) -> float:
        """√(mean(ψ²) / N): exact for a mean, of first order for a ratio (the delta method)."""
        return float(np.sqrt(np.square(self.influence).mean() / len(self.base)))

    def less(self, reward: Floats) -> Terms:
        """The terms of the estimate minus the mean reward of the log: what the policy gains."""
        return Terms(
            base=self.base - reward, numerator=self.numerator, denominator=self.denominator
        )


def weights(target: ArrayLike, propensity: ArrayLike) -> Floats:
    """The weights, w = π_e(a|x) / π_b(a|x) [N].

    Args:
        target: π_e of the logged actions, in [0, 1], [N].
        propensity: π_b of the logged actions, in (0, 1], [N].
    """
    return np.asarray(target, np.float64) / np.asarray(propensity, np.float64)


def model_values(q: Floats, target: Floats) -> Floats:
    """q(x, π_e) [N] of predictions q [N, K] and probabilities π_e [N, K]."""
    return np.asarray((q * target).sum(axis=1), np.float64)


def replay(match: ArrayLike, reward: ArrayLike) -> Terms:
    """The mean reward of the decisions where π_e takes the logged action (Li et al. 2011).

    For a deterministic π_e and a uniform π_b; otherwise it is biased.

    Args:
        match: Whether π_e takes the logged action, [N].
        reward: r [N].
    """
    same, r = np.asarray(match, np.float64), np.asarray(reward, np.float64)
    return Terms(base=np.zeros_like(r), numerator=same * r, denominator=same)


def ipw(w: ArrayLike, reward: ArrayLike, clip: float = np.inf) -> Terms:
    """mean(min(w, λ) r): inverse propensity weighting (Horvitz and Thompson 1952), λ = `clip`.

    Unbiased with λ = ∞ where π_b supports π_e; clipping trades variance for bias.
    """
    clipped, r = np.minimum(w, _positive("clip", clip)), np.asarray(reward, np.float64)
    return Terms(base=np.zeros_like(r), numerator=clipped * r)


def snipw(w: ArrayLike, reward: ArrayLike) -> Terms:
    """Σ w r / Σ w: self-normalised (Swaminathan and Joachims 2015), in the range of the rewards."""
    r, weight = np.asarray(reward, np.float64), np.asarray(w, np.float64)
    return Terms(base=np.zeros_like(r), numerator=weight * r, denominator=weight)


def direct_method(values: ArrayLike) -> Terms:
    """mean(q(x, π_e)): the model's word for it, as biased as the model; `values` [N]."""
    v = np.asarray(values, np.float64)
    return Terms(base=v, numerator=np.zeros_like(v))


def doubly_robust(
    w: ArrayLike, reward: ArrayLike, predicted: ArrayLike, values: ArrayLike
) -> Terms:
    """mean(q(x, π_e) + w (r - q(x, a))) (Dudík, Langford and Li 2011, equation 1).

    Unbiased where either the propensities or the model are right.

    Args:
        w: [N].
        reward: r [N].
        predicted: q(x, a) of the logged actions, fitted on other data, [N].
        values: q(x, π_e) [N].
    """
    residual = np.asarray(reward, np.float64) - np.asarray(predicted, np.float64)
    return Terms(base=np.asarray(values, np.float64), numerator=np.asarray(w) * residual)


def self_normalized_dr(
    w: ArrayLike, reward: ArrayLike, predicted: ArrayLike, values: ArrayLike
) -> Terms:
    """mean(q(x, π_e)) + Σ w (r - q(x, a)) / Σ w; arguments as of `doubly_robust`."""
    plain = doubly_robust(w, reward, predicted, values)
    return Terms(base=plain.base, numerator=plain.numerator, denominator=np.asarray(w, np.float64))


def switch_dr(
    w: ArrayLike, reward: ArrayLike, predicted: ArrayLike, values: ArrayLike, threshold: float
) -> Terms:
    """Doubly robust where w ≤ λ, the model alone elsewhere (Wang, Agarwal and Dudík 2017).

    `threshold` is λ > 0; with λ = ∞ it is `doubly_robust`.
    """
    weight, limit = np.asarray(w, np.float64), _positive("threshold", threshold)
    return doubly_robust(np.where(weight <= limit, weight, 0.0), reward, predicted, values)


def dros(
    w: ArrayLike, reward: ArrayLike, predicted: ArrayLike, values: ArrayLike, shrinkage: float
) -> Terms:
    """Doubly robust with w replaced by λ w / (w² + λ) (optimistic shrinkage, Su et al. 2020).

    `shrinkage` is λ > 0; with λ = ∞ it is `doubly_robust`.
    """
    weight, limit = np.asarray(w, np.float64), _positive("shrinkage", shrinkage)
    shrunk = weight if np.isinf(limit) else limit * weight / (np.square(weight) + limit)
    return doubly_robust(shrunk, reward, predicted, values)


def _positive(name: str, value: float) -> float:
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not number or not value > 0:
        raise SettingError(f"{name} must be a number above 0, or infinity, got {value!r}.")
    return float(value)
