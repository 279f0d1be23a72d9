"""Linear beliefs about arms as an object: what LinUCB and its kin decide and learn with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlsuite_agents.functional.best_arm import best_probabilities
from rlsuite_agents.functional.exploration import random_argmax
from rlsuite_agents.functional.linear_bandits import (
    LinearBeliefs,
    linear_value,
    logistic_update,
    ridge_update,
    scaled_draws,
    scores_and_widths,
    shared_scores,
    thompson_scores,
    value_scores,
)
from rlsuite_agents.parts.checkpoint import Checkpoint
from rlsuite_agents.parts.compiled import kept

__all__ = [
    "LOGISTIC_THOMPSON",
    "THOMPSON",
    "LinearModel",
    "LinearRules",
    "SharedModel",
    "linear_beliefs",
    "no_draws",
    "pick_best",
]

PER_ARM = ("theta", "a_inv", "a", "moment", "rate", "pulls")
Row = NDArray[np.float64]


class LinearRules(NamedTuple):
    """A policy over `LinearBeliefs` b. All but the last also run compiled."""

    draw: Callable[[Any, Any], None]  # (b, rng): what is random about the scores
    score: Callable[[Any, Any], None]  # (b, x): writes b.values
    pick: Callable[[Any, Any, Any], int]  # (b, mask, rng) -> arm, by b.values
    update: Callable[[Any, Any, int, float], None]  # (b, x, arm, reward)
    probabilities: Callable[[Any, Any, Any], Row]  # (b, x, mask) -> chance of each arm, [K]


def no_draws(beliefs: Any, rng: Any) -> None:
    """The scores are not random."""


def pick_best(beliefs: Any, mask: Any, rng: Any) -> int:
    """The allowed arm of the largest score, drawn evenly among several."""
    return random_argmax(beliefs.values, mask, rng)


def thompson_probabilities(beliefs: Any, x: Any, mask: Any) -> Row:
    """P(arm has the largest draw): of normal numbers, or of Student's t with 2a degrees."""
    kept(scores_and_widths)(beliefs, x)
    scale, dof = beliefs.width * beliefs.widths, None
    if beliefs.shape > 0.0:
        shape = beliefs.shape + 0.5 * beliefs.pulls
        scale, dof = scale * np.sqrt(beliefs.rate / shape), 2.0 * shape
    return best_probabilities(beliefs.values, scale, dof, mask)


THOMPSON = LinearRules(
    scaled_draws, thompson_scores, pick_best, ridge_update, thompson_probabilities
)
LOGISTIC_THOMPSON = THOMPSON._replace(update=logistic_update)


def linear_beliefs(
    n_arms: int,
    d: int,
    *,
    ridge: float,
    width: float,
    shape: float = 0.0,
    rate: float = 0.0,
    power: float = 0.0,
) -> LinearBeliefs:
    """Beliefs before the first pull: θ = 0, A = λ I.

    Args:
        n_arms: K.
        d: features, the intercept counted.
        ridge: λ, above 0.
        width: what multiplies the exploration.
        shape: a₀ of the noise variance; 0 where it is not learned.
        rate: b₀.
        power: of the number of decisions, in SquareCB.
    """
    eye = np.tile(np.eye(d), (n_arms, 1, 1))
    return LinearBeliefs(
        theta=np.zeros((n_arms, d)),
        a_inv=eye / ridge,
        a=eye * ridge,
        moment=np.zeros((n_arms, d)),
        rate=np.full(n_arms, float(rate)),
        pulls=np.zeros(n_arms, np.int64),
        width=float(width),
        shape=float(shape),
        power=float(power),
        values=np.zeros(n_arms),
        widths=np.zeros(n_arms),
        draws=np.zeros(n_arms),
        ax=np.zeros(d),
        factor=np.zeros((d, d)),
    )


class LinearModel:
    """A linear model for each arm, in one context x [n_inputs] for all.

    Attributes:
        beliefs: float64, with the intercept as the last feature if there is one.
    """

    def __init__(
        self, rules: LinearRules, n_inputs: int, n_arms: int, *, intercept: bool, **prior: float
    ) -> None:
        """`prior`: the keywords of `linear_beliefs`."""
        self.rules, self.prior = rules, prior
        self._x = np.ones(n_inputs + intercept)
        self._inputs = self._x[:n_inputs]
        self.beliefs = linear_beliefs(n_arms, len(self._x), **prior)

    def choose(self, x: Row, mask: Any, rng: np.random.Generator) -> int:
        """An arm."""
        self._inputs[:] = x
        self.rules.draw(self.beliefs, rng)
        kept(self.rules.score)(self.beliefs, self._x)
        return int(self.rules.pick(self.beliefs, mask, rng))

    def update(self, x: Row, arm: int, reward: float) -> None:
        """Learns from one pull."""
        self._inputs[:] = x
        kept(self.rules.update)(self.beliefs, self._x, arm, float(reward))

    def row(self, x: Row, mask: Any) -> Row:
        """The chance of each arm in `choose`, [K]."""
        self._inputs[:] = x
        return self.rules.probabilities(self.beliefs, self._x, mask)

    def values(self, x: Row) -> Row:
        """What each arm is expected to pay, [K]."""
        self._inputs[:] = x
        kept(value_scores)(self.beliefs, self._x)
        return self.beliefs.values

    def grow(self) -> int:
        """One arm more, of which nothing is known; returns by how much contexts grow."""
        old = self.beliefs
        n_arms, d = old.theta.shape
        self.beliefs = linear_beliefs(n_arms + 1, d, **self.prior)
        for name in PER_ARM:
            getattr(self.beliefs, name)[:n_arms] = getattr(old, name)
        return 0

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What has been learned."""
        return {name: getattr(self.beliefs, name) for name in PER_ARM}

    def restore(self, found: Checkpoint) -> None:
        """Fills in what `arrays` gave; raises `CheckpointError` where it does not fit."""
        for name, array in self.arrays().items():
            array[:] = found.array(name, array.shape, array.dtype)


class SharedModel(LinearModel):
    """One linear model for all arms; a context has a row for each, [K, features], flattened."""

    def __init__(
        self, rules: LinearRules, features: int, n_arms: int, *, intercept: bool, **prior: float
    ) -> None:
        super().__init__(rules, features, 1, intercept=intercept, **prior)
        self._see(n_arms)

    def _see(self, n_arms: int) -> None:
        self._x = np.ones((n_arms, len(self.beliefs.ax)))
        self._inputs = self._x[:, : self._inputs.shape[-1]]
        self.beliefs = self.beliefs._replace(values=np.zeros(n_arms))

    def choose(self, x: Row, mask: Any, rng: np.random.Generator) -> int:
        """An arm."""
        return int(self.rules.pick(self._scored(x), mask, rng))

    def update(self, x: Row, arm: int, reward: float) -> None:
        """Learns from one pull."""
        self._inputs[:] = x.reshape(self._inputs.shape)
        kept(ridge_update)(self.beliefs, self._x[arm], 0, float(reward))

    def row(self, x: Row, mask: Any) -> Row:
        """The chance of each arm in `choose`, [K]."""
        return self.rules.probabilities(self._scored(x), None, mask)

    def values(self, x: Row) -> Row:
        """What each arm is expected to pay, [K]."""
        self._inputs[:] = x.reshape(self._inputs.shape)
        return np.array([linear_value(self.beliefs.theta[0], row) for row in self._x])

    def grow(self) -> int:
        """One arm more: a row more in each context; returns its length."""
        self._see(len(self._x) + 1)
        return int(self._inputs.shape[1])

    def _scored(self, x: Row) -> LinearBeliefs:
        self._inputs[:] = x.reshape(self._inputs.shape)
        kept(shared_scores)(self.beliefs, self._x)
        return self.beliefs
