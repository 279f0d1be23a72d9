"""The contextual bandit: what an arm pays depends on a context of plus and minus ones."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from registry.bandit_models import ContextualModel
from registry.errors import SettingError
from rlsuite_envs.bandits.base import Bandit
from rlsuite_envs.bandits.contexts import Contexts
from rlsuite_envs.checks import check_count, check_real
from rlsuite_envs.rendering.arms import Bounds

__all__ = [
    "ContextualBandit",
    "all_contexts",
    "draw_network",
    "draw_signs",
    "draw_theta",
    "linear_means",
]

LARGEST_TABLE = 2**22
"""Largest number of (context, arm) pairs, or of their features: the answer key enumerates them."""

NOISE, STEEPNESS, HIDDEN = 1.0, 2.0, 16

ABOVE_0 = "a number from 1e-12 to 1e12"

Payoff = Literal["linear", "logistic", "neural"]
Features = Literal["context", "arms"]


class ContextualBandit(Bandit):
    """See a context x, pull arm a, be paid by a function of x (Li et al. 2010, for the linear one).

    Context number i has x_j = +1 where bit j of i is set and -1 elsewhere; all 2^d contexts are
    equally likely, at every step, whatever the action. The observation is the context of the next
    decision. An episode has `horizon` steps and is then truncated; it never terminates.

    The expected reward of arm a is, with `payoff=`

    * `"linear"`: x . θ_a;
    * `"logistic"`: 1 / (1 + exp(-steepness x . θ_a)), and the reward is 1 with this probability,
      else 0;
    * `"neural"`: v_a . relu(W x), of one hidden layer that the arms share.

    With `features="arms"` one θ serves all arms, each of which shows features of its own: those of
    arm a are x_j z_aj, with signs z_a of its own, and stand in x's place above; the observation has
    a row for each arm (Chu et al. 2011).

    Draws: a reset takes one uniform u for the first context, number floor(2^d u). A step takes two:
    u for the reward, which is the expected one plus noise (2u - 1), or logistic: 1 where u is less
    than it; then one for the next context.

    The `info` of a step belongs to the context in which the arm was pulled, the one observed
    before: `regret` (the best mean minus that of the arm, a float), `expected_reward` (a float),
    `optimal_action` (an int). The `info` of a reset is empty.

    Args:
        d: Features of a context, at least 1.
        n_arms: Number of arms, at least 1; 2^d * n_arms, or with `features="arms"` d times that, is
            at most 2^22.
        horizon: Steps of an episode, at least 1.
        noise: Half the width of the uniform noise on the reward, at least 0; 1.0 unless given. Not
            with logistic payoffs.
        theta_seed: Seed of θ, see `draw_theta`, and of z, see `draw_signs`, or of W and v, see
            `draw_network`.
        payoff: `"linear"`, `"logistic"` or `"neural"`.
        features: `"context"`, or `"arms"`: a row for each arm; not with neural payoffs.
        nonzero: How many features of each θ_a matter, 1 to d; None: all. Not with neural payoffs.
        steepness: Of logistic payoffs, above 0; 2.0 unless given.
        hidden: Hidden units of neural payoffs, at least 1; 16 unless given.
        render_mode: None, `"human"`, `"rgb_array"` or `"ansi"`.

    Raises:
        SettingError: a keyword is outside its range, or does not go with the payoff.
    """

    def __init__(
        self,
        d: int = 10,
        n_arms: int = 5,
        *,
        horizon: int = 1000,
        noise: float | None = None,
        theta_seed: int = 0,
        payoff: Payoff = "linear",
        features: Features = "context",
        nonzero: int | None = None,
        steepness: float | None = None,
        hidden: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        d, n_arms = check_count("d", d), check_count("n_arms", n_arms)
        own = _check_features(features)
        _check_size(d, n_arms, d if own else 1)
        seed = check_count("theta_seed", theta_seed, low=0)
        given = {"noise": noise, "nonzero": nonzero, "steepness": steepness, "hidden": hidden}
        _check_payoff(payoff, features=features if own else None, **given)
        contexts = shown = all_contexts(d)
        if payoff == "neural":
            units = check_count("hidden", HIDDEN if hidden is None else hidden)
            means = neural_means(contexts, *draw_network(d, n_arms, units, seed))
        else:
            weights = draw_theta(d, 1 if own else n_arms, seed, _check_nonzero(nonzero, d))
            self.theta = weights
            if own:
                signs = draw_signs(d, n_arms, seed)
                shown, weights = contexts[:, None] * signs, weights * signs
            means = linear_means(contexts, weights)
        if payoff == "logistic":
            slope = STEEPNESS if steepness is None else steepness
            means = logistic(means, check_real("steepness", slope, ABOVE_0, 1e-12, 1e12))
        least = "a finite number of at least 0"
        self.noise = check_real("noise", NOISE if noise is None else noise, least, 0.0, math.inf)
        binary = payoff == "logistic"
        self._contexts = Contexts(
            shown,
            means,
            Box(-1.0, 1.0, shown.shape[1:], np.float32),
            payment="bernoulli" if binary else "uniform",
            noise=0.0 if binary else self.noise,
        )
        largest = math.ceil(2.0 * float(np.abs(means).max())) / 2.0
        bounds = Bounds(low=-largest, high=largest, binary=False)
        if binary:
            bounds = Bounds(low=0.0, high=1.0, binary=True)
        super().__init__(self._contexts, horizon=horizon, render_mode=render_mode, bounds=bounds)

    def contextual_model(self, rng: np.random.Generator) -> ContextualModel:
        """A run of `horizon` decisions; see `registry.bandit_models`."""
        return self._contexts.model(self.horizon, rng)


def draw_theta(d: int, n_arms: int, seed: int, nonzero: int | None = None) -> NDArray[np.float64]:
    """θ_a for each arm, shape [n_arms, d]: numbers 2u - 1 divided by their Euclidean length.

    One `random()` for each u from `np.random.default_rng(seed)`, arm by arm. With `nonzero` as many
    again follow, and of each arm the features with the smallest ones are kept, the rest are 0.
    """
    rng = np.random.default_rng(seed)
    theta = 2.0 * rng.random((n_arms, d)) - 1.0
    if nonzero is not None:
        ranks = rng.random((n_arms, d)).argsort(axis=1).argsort(axis=1)
        theta = np.where(ranks < nonzero, theta, 0.0)
    return theta / np.sqrt((theta * theta).sum(axis=1, keepdims=True))


def draw_signs(d: int, n_arms: int, seed: int) -> NDArray[np.float32]:
    """z_a for each arm, shape [n_arms, d]: -1 where a uniform is below ½, else +1.

    One `random()` for each from `np.random.default_rng([seed, 1])`, arm by arm.
    """
    uniforms = np.random.default_rng([seed, 1]).random((n_arms, d))
    return np.where(uniforms < 0.5, -1.0, 1.0).astype(np.float32)


def draw_network(
    d: int, n_arms: int, hidden: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """W, shape [hidden, d], and v, shape [n_arms, hidden], of a neural payoff.

    Rows of numbers 2u - 1 divided by their Euclidean length, from `np.random.default_rng(seed)`,
    first those of W, then those of v.
    """
    rng = np.random.default_rng(seed)
    w, v = (_unit_rows(rng, shape) for shape in ((hidden, d), (n_arms, hidden)))
    return w, v


def _unit_rows(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
    numbers = 2.0 * rng.random(shape) - 1.0
    return numbers / np.sqrt((numbers * numbers).sum(axis=1, keepdims=True))


def all_contexts(d: int) -> NDArray[np.float32]:
    """All 2^d contexts in the order of their numbers, shape [2^d, d]: bit j of i tells x_j."""
    bits = (np.arange(2**d)[:, None] >> np.arange(d)) & 1
    return (2 * bits - 1).astype(np.float32)


def linear_means(contexts: NDArray[np.floating], theta: NDArray[np.float64]) -> NDArray[np.float64]:
    """The payoffs x . θ_a for every context and arm in float64, shape [C, A].

    Summed feature by feature, never by a library's matrix product, whose last bits depend on the
    machine; the means of x and of -x are exact negatives of each other.
    """
    means = np.zeros((len(contexts), len(theta)))
    for j in range(theta.shape[1]):
        means += contexts[:, j, None].astype(np.float64) * theta[:, j]
    return means


def neural_means(
    contexts: NDArray[np.float32], w: NDArray[np.float64], v: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The payoffs v_a . relu(W x) for every context and arm, shape [C, A]."""
    return linear_means(np.maximum(linear_means(contexts, w), 0.0), v)


def logistic(values: NDArray[np.float64], steepness: float) -> NDArray[np.float64]:
    """1 / (1 + exp(-steepness z)) of each z in `values`, in their shape."""
    # math.exp: the last bits of NumPy's depend on the machine; 700: beyond it exp overflows
    shares = [1.0 / (1.0 + math.exp(min(-steepness * z, 700.0))) for z in values.flat]
    return np.array(shares).reshape(values.shape)


def _check_size(d: int, n_arms: int, numbers: int) -> None:
    if d > LARGEST_TABLE.bit_length() or 2**d * n_arms * numbers > LARGEST_TABLE:
        entries = "2**d * n_arms" if numbers == 1 else "2**d * n_arms * d"
        raise SettingError(
            f"{entries} must be at most {LARGEST_TABLE}, because the answer key "
            f"enumerates every context and arm; got d={d} and n_arms={n_arms}."
        )


def _check_features(features: object) -> bool:
    """Whether arms have features of their own; raises `SettingError` where it is neither."""
    if features not in ("context", "arms"):
        raise SettingError(f"features must be 'context' or 'arms', got {features!r}.")
    return features == "arms"


def _check_payoff(payoff: object, **settings: object) -> None:
    """Raises `SettingError` where the payoff is unknown, or would ignore a setting."""
    ignored = {
        "linear": ("steepness", "hidden"),
        "logistic": ("noise", "hidden"),
        "neural": ("features", "nonzero", "steepness"),
    }
    if not isinstance(payoff, str) or payoff not in ignored:
        raise SettingError(f"payoff must be 'linear', 'logistic' or 'neural', got {payoff!r}.")
    for name in ignored[payoff]:
        if settings[name] is not None:
            raise SettingError(
                f"{name}={settings[name]!r} has no meaning with payoff={payoff!r}: leave it out."
            )


def _check_nonzero(nonzero: int | None, d: int) -> int | None:
    if nonzero is None:
        return None
    if check_count("nonzero", nonzero) > d:
        raise SettingError(f"nonzero must be from 1 to d={d}, got {nonzero!r}.")
    return nonzero
