"""The Bernoulli bandit: every arm pays 0 or 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from registry.bandit_models import BanditModel
from registry.errors import SettingError
from rlsuite_envs.bandits.arms import lai_robbins_constant
from rlsuite_envs.bandits.base import Bandit
from rlsuite_envs.bandits.worlds import Arms, Means, Redraw, check_means, check_redraw
from rlsuite_envs.checks import check_count, check_real
from rlsuite_envs.rendering.arms import Bounds

__all__ = ["BernoulliBandit"]

DEFAULT_MEANS = (0.1, 0.3, 0.5, 0.7, 0.9)
FLAT_PRIOR = (1.0, 1.0)

BOUNDS = Bounds(low=0.0, high=1.0, binary=True)


class BernoulliBandit(Bandit):
    """Pull one of A arms; arm a pays 1 with probability μ_a, else 0. Robbins (1952).

    The observation is always `[1.0]`, float32. An episode has `horizon` steps and is then
    truncated; it never terminates. Every step draws one uniform u, and the reward is 1 where
    u < μ_a. A reset draws nothing, except the arms (one Beta draw each, in order) where they come
    from a prior.

    The `info` of a step holds `regret` (μ* - μ_a, a float), `expected_reward` (μ_a, a float) and
    `optimal_action` (the best arm, the first of several, an int). The `info` of a reset is empty
    with fixed means; where arms are drawn it always holds `new_instance`, a bool: whether this
    reset drew them.

    Args:
        means: μ, a probability for each arm; the default is (0.1, 0.3, 0.5, 0.7, 0.9).
        n_arms: Number of arms to draw from the prior, instead of `means`.
        prior: (a, b) of the Beta prior, from 1e-6 to 1e6; (1, 1) unless given. Only with `n_arms`.
        redraw: `"seed"` draws the arms at the first reset and at every reset with a seed,
            `"episode"` at every reset. Only with `n_arms`.
        horizon: Steps of an episode, at least 1.
        render_mode: None, `"human"`, `"rgb_array"` or `"ansi"`.

    Raises:
        SettingError: a keyword is outside its range, or does not go with the others.
    """

    def __init__(
        self,
        means: Sequence[float] | None = None,
        *,
        n_arms: int | None = None,
        prior: tuple[float, float] | None = None,
        redraw: Redraw = "seed",
        horizon: int = 500,
        render_mode: str | None = None,
    ) -> None:
        self.horizon = check_count("horizon", horizon)
        _check_combination(means, n_arms, prior, check_redraw(redraw))
        given: Means | None = None
        self._prior = (
            None if n_arms is None else _check_prior(FLAT_PRIOR if prior is None else prior)
        )
        if n_arms is None:
            given = _check_probabilities("means", DEFAULT_MEANS if means is None else means)
            n_arms = len(given)
        self._arms = Arms(
            self._model,
            _check_probabilities,
            n_arms=check_count("n_arms", n_arms),
            means=given,
            draw=None if self._prior is None else self._draw,
            redraw=redraw,
        )
        super().__init__(self._arms, horizon=horizon, render_mode=render_mode, bounds=BOUNDS)

    def bandit_model(self, rng: np.random.Generator) -> BanditModel:
        """The arms, or where they come from a prior new ones; see `registry.bandit_models`."""
        return self._arms.model(rng)

    def _draw(self, rng: np.random.Generator) -> Means:
        assert self._prior is not None
        a, b = self._prior
        return tuple(rng.beta(a, b) for _ in range(self._arms.n_arms))

    def _model(self, means: Means) -> BanditModel:
        return BanditModel(
            kind="bernoulli",
            means=np.array([means]),
            sd=np.zeros(len(means)),
            horizon=self.horizon,
            lai_robbins=lai_robbins_constant(means),
        )


def _check_combination(means: object, n_arms: object, prior: object, redraw: object) -> None:
    if n_arms is None and (prior is not None or redraw != "seed"):
        name = "redraw='episode'" if prior is None else "prior"
        raise SettingError(
            f"{name} needs n_arms: without it the means are fixed, nothing is drawn."
        )
    if n_arms is not None and means is not None:
        raise SettingError(
            f"give means or n_arms, not both: means={means!r} fixes the arms, n_arms={n_arms!r} "
            "draws them from the prior."
        )


def _check_probabilities(setting: str, means: object) -> Means:
    return check_means(setting, means, "probability in [0, 1]", 0.0, 1.0)


def _check_prior(prior: object) -> tuple[float, float]:
    """(a, b) as floats; raises `SettingError` unless they are two numbers in [1e-6, 1e6]."""
    wanted = "two numbers from 1e-6 to 1e6, the a and b of a Beta distribution"
    if isinstance(prior, str) or not isinstance(prior, Sequence) or len(prior) != 2:
        raise SettingError(f"prior must be {wanted}, got {prior!r}.")
    a, b = (check_real("prior", value, wanted, 1e-6, 1e6) for value in prior)
    return a, b
