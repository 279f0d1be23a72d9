"""Bandit problems as plain arrays: what environments draw and compiled runs of policies read.

Notation: K arms, T decisions, d features. A reward is a function of one uniform number, its inverse
cumulative distribution, so that a table of uniforms U [T, K] is a table of potential outcomes:
policies that are handed the same table meet the same luck, whatever they pull.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from registry.errors import SettingError

__all__ = [
    "BanditKind",
    "BanditModel",
    "ContextualModel",
    "HasBanditModel",
    "HasContextualModel",
    "arm_reward",
    "normal_quantile",
]

BanditKind = Literal["bernoulli", "gaussian", "table"]
"""How an arm pays: 0 or 1, a normal number around its mean, or exactly its mean."""

Floats = NDArray[np.float64]

SMALLEST = 2.0**-54
"""Stands for a uniform of exactly 0, whose quantile is minus infinity."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BanditModel:
    """One instance of a bandit without contexts: all that its rewards and regrets depend on.

    Attributes:
        kind: How an arm pays.
        means: Expected rewards, float64 [P, K]: P = 1 where they stay as they are, else P = horizon
            and row t holds for decision t, counted from 0.
        sd: Standard deviation of the normal noise of each arm, [K]; zeros unless gaussian.
        horizon: T, at least 1.
        best: The arm that regret is measured against, int64 [P]; by default the best of its row. In
            an adversarial table it is one arm for all rows, and single regrets may be negative.
        lai_robbins: The slope of the regret in ln T in the limit, never a floor at a finite T; None
            where the arms change.

    Raises:
        SettingError: a shape, a number or the kind is not as said above.
    """

    kind: BanditKind
    means: Floats
    sd: Floats
    horizon: int
    best: NDArray[np.int64] | None = None
    lai_robbins: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("bernoulli", "gaussian", "table"):
            raise SettingError(
                f"BanditModel.kind must be 'bernoulli', 'gaussian' or 'table', got {self.kind!r}."
            )
        shape = self.means.shape
        if len(shape) != 2 or shape[0] not in (1, self.horizon) or self.sd.shape != shape[1:]:
            raise SettingError(
                f"BanditModel.means must have one row or {self.horizon} (the horizon) and sd a "
                f"number for each column; got the shapes {shape} and {self.sd.shape}."
            )
        if not (np.isfinite(self.means).all() and np.isfinite(self.sd).all()):
            raise SettingError("BanditModel.means and sd must be finite.")
        if self.kind == "bernoulli" and not ((self.means >= 0) & (self.means <= 1)).all():
            raise SettingError(
                "the means of arms that pay 0 or 1 are probabilities in [0, 1], got numbers from "
                f"{self.means.min():.6g} to {self.means.max():.6g}."
            )
        noisy = self.sd.any()
        if (self.sd < 0).any() or (noisy and self.kind != "gaussian"):
            raise SettingError(
                "BanditModel.sd must be at least 0, and 0 for every arm unless the kind is "
                f"'gaussian'; got {self.sd.tolist()} for {self.kind!r}."
            )
        if self.best is None:
            object.__setattr__(self, "best", self.means.argmax(axis=1))
        elif self.best.shape != shape[:1]:
            raise SettingError(
                f"BanditModel.best must name one of {shape[1]} arms for each of the {shape[0]} "
                f"rows of means, got the shape {self.best.shape}."
            )

    @property
    def n_arms(self) -> int:
        """K."""
        return self.means.shape[1]

    @property
    def binary(self) -> bool:
        """Whether rewards are 0 or 1: the first argument of `arm_reward`."""
        return self.kind == "bernoulli"

    @property
    def stationary(self) -> bool:
        """Whether the same means hold for all decisions."""
        return len(self.means) == 1

    @property
    def gaps(self) -> Floats:
        """The regret of pulling each arm, [P, K]."""
        assert self.best is not None
        return np.take_along_axis(self.means, self.best[:, None], axis=1) - self.means


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ContextualModel:
    """One run of a contextual bandit, drawn beforehand: nothing is left to chance but the policy.

    Attributes:
        contexts: What is seen before each decision, float64 [T, d], or [T, K, d] where arms have
            features of their own; C-contiguous, equal to the float32 observation of the
            environment.
        means: Expected reward of each arm given the context, [T, K].
        rewards: What each arm would pay, [T, K]: potential outcomes, of which one is ever shown.

    Raises:
        SettingError: the shapes do not fit together, or a number is not finite.
    """

    contexts: Floats
    means: Floats
    rewards: Floats

    def __post_init__(self) -> None:
        shapes = self.contexts.shape, self.means.shape, self.rewards.shape
        if len(shapes[1]) != 2 or shapes[0][:-1] not in (shapes[1][:1], shapes[1]):
            raise SettingError(
                "contexts [T, d] or [T, K, d], means [T, K] and rewards [T, K] must have the same "
                f"T and K; got the shapes {shapes[0]}, {shapes[1]} and {shapes[2]}."
            )
        if shapes[1] != shapes[2]:
            raise SettingError(f"means {shapes[1]} and rewards {shapes[2]} must have one shape.")
        if not all(np.isfinite(a).all() for a in (self.contexts, self.means, self.rewards)):
            raise SettingError("contexts, means and rewards of a ContextualModel must be finite.")

    @property
    def horizon(self) -> int:
        """T."""
        return len(self.contexts)

    @property
    def n_arms(self) -> int:
        """K."""
        return self.means.shape[1]


@runtime_checkable
class HasBanditModel(Protocol):
    """A bandit without contexts that can be read as arrays.

    Ask the environment itself or a wrapper that offers it, never what lies below an unknown
    wrapper.
    """

    def bandit_model(self, rng: np.random.Generator) -> BanditModel:
        """An instance, drawn with `rng` just as a seeded reset draws it; no state is changed.

        A bandit whose arms are fixed draws nothing, and always returns the same numbers.
        """
        ...


@runtime_checkable
class HasContextualModel(Protocol):
    """A bandit with contexts whose runs can be drawn beforehand."""

    def contextual_model(self, rng: np.random.Generator) -> ContextualModel:
        """A run of `horizon` decisions, drawn with `rng`: first contexts, then rewards.

        The distribution is that of the environment, the order of the draws is not. No state is
        changed.
        """
        ...


def arm_reward(binary: bool, mean: float, sd: float, u: float) -> float:
    """What an arm pays for a uniform number u in [0, 1): the inverse of its distribution at u.

    Binary: 1 where u < mean, else 0. Otherwise mean + sd Φ⁻¹(u). Runs compiled with the same bits.
    """
    if binary:
        return 1.0 if u < mean else 0.0
    return mean if sd == 0.0 else mean + sd * normal_quantile(u)


def normal_quantile(u: float) -> float:
    """Φ⁻¹(u) for u in [0, 1), to about 1e-15 relative (Wichura 1988, algorithm AS 241, PPND16).

    An exact 0 counts as 2⁻⁵⁴. Runs compiled with the same bits.
    """
    q = u - 0.5
    if abs(q) <= 0.425:
        r = 0.180625 - q * q
        return q * _middle(r)
    r = math.sqrt(-math.log(max(u, SMALLEST) if q < 0.0 else 1.0 - u))
    tail = _shoulder(r - 1.6) if r <= 5.0 else _tail(r - 5.0)
    return -tail if q < 0.0 else tail


def _middle(r: float) -> float:
    """The rational function of AS 241 for |u - ½| at most 0.425."""
    num = 2.5090809287301226727e3
    num = num * r + 3.3430575583588128105e4
    num = num * r + 6.7265770927008700853e4
    num = num * r + 4.5921953931549871457e4
    num = num * r + 1.3731693765509461125e4
    num = num * r + 1.9715909503065514427e3
    num = num * r + 1.3314166789178437745e2
    num = num * r + 3.3871328727963666080e0
    den = 5.2264952788528545610e3
    den = den * r + 2.8729085735721942674e4
    den = den * r + 3.9307895800092710610e4
    den = den * r + 2.1213794301586595867e4
    den = den * r + 5.3941960214247511077e3
    den = den * r + 6.8718700749205790830e2
    den = den * r + 4.2313330701600911252e1
    return num / (den * r + 1.0)


def _shoulder(r: float) -> float:
    """The rational function of AS 241 for √(-ln u) up to 5, less 1.6."""
    num = 7.74545014278341407640e-4
    num = num * r + 2.27238449892691845833e-2
    num = num * r + 2.41780725177450611770e-1
    num = num * r + 1.27045825245236838258e0
    num = num * r + 3.64784832476320460504e0
    num = num * r + 5.76949722146069140550e0
    num = num * r + 4.63033784615654529590e0
    num = num * r + 1.42343711074968357734e0
    den = 1.05075007164441684324e-9
    den = den * r + 5.47593808499534494600e-4
    den = den * r + 1.51986665636164571966e-2
    den = den * r + 1.48103976427480074590e-1
    den = den * r + 6.89767334985100004550e-1
    den = den * r + 1.67638483018380384940e0
    den = den * r + 2.05319162663775882187e0
    return num / (den * r + 1.0)


def _tail(r: float) -> float:
    """The rational function of AS 241 for √(-ln u) above 5, less 5."""
    num = 2.01033439929228813265e-7
    num = num * r + 2.71155556874348757815e-5
    num = num * r + 1.24266094738807843860e-3
    num = num * r + 2.65321895265761230930e-2
    num = num * r + 2.96560571828504891230e-1
    num = num * r + 1.78482653991729133580e0
    num = num * r + 5.46378491116411436990e0
    num = num * r + 6.65790464350110377720e0
    den = 2.04426310338993978564e-15
    den = den * r + 1.42151175831644588870e-7
    den = den * r + 1.84631831751005468180e-5
    den = den * r + 7.86869131145613259100e-4
    den = den * r + 1.48753612908506148525e-2
    den = den * r + 1.36929880922735805310e-1
    den = den * r + 5.99832206555887937690e-1
    return num / (den * r + 1.0)
