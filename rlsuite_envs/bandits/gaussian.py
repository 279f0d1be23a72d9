"""The Gaussian bandit: the 10-armed testbed of Sutton & Barto."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from registry.bandit_models import BanditModel, normal_quantile
from registry.errors import SettingError
from rlsuite_envs.bandits.arms import gaussian_lai_robbins_constant
from rlsuite_envs.bandits.base import Bandit
from rlsuite_envs.bandits.worlds import Arms, Means, Redraw, check_means, check_redraw
from rlsuite_envs.checks import check_count, check_real
from rlsuite_envs.rendering.arms import Bounds

__all__ = ["GaussianBandit"]

TESTBED_ARMS = 10
TESTBED_PRIOR = (0.0, 1.0)


class GaussianBandit(Bandit):
    """Pull one of A arms; arm a pays a normal number around q*(a) (S&B, 2nd ed., section 2.3).

    By default the 10-armed testbed: q*(a) is drawn from N(0, 1), and rewards from N(q*(a), 1).

    The observation is always `[1.0]`, float32. An episode has `horizon` steps and is then
    truncated; it never terminates. Every step draws one uniform u, and the reward is
    q*(a) + sd Φ⁻¹(u). A reset draws nothing, except the arms where they come from a prior: one
    uniform each, in order, mean + sd Φ⁻¹(u) of the prior.

    The `info` of a step holds `regret` (the best q* minus that of the arm, a float),
    `expected_reward` (q*(a), a float) and `optimal_action` (the best arm, the first of several, an
    int). The `info` of a reset is empty with fixed means; where arms are drawn it always holds
    `new_instance`, a bool: whether this reset drew them.

    Args:
        means: q*, a number for each arm; None draws them from the prior.
        n_arms: Number of arms to draw; 10 unless given. Not together with `means`.
        prior: Mean and standard deviation of the normal prior; (0, 1) unless given. Not together
            with `means`.
        sd: Standard deviation of the rewards, at least 0.
        redraw: `"seed"` draws the arms at the first reset and at every reset with a seed,
            `"episode"` at every reset. Not together with `means`.
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
        sd: float = 1.0,
        redraw: Redraw = "seed",
        horizon: int = 1000,
        render_mode: str | None = None,
    ) -> None:
        self.horizon = check_count("horizon", horizon)
        least = "a finite number of at least 0"
        self.sd = check_real("sd", sd, least, 0.0, math.inf)
        given: Means | None = None
        if means is None:
            self._prior = _check_prior(TESTBED_PRIOR if prior is None else prior)
            n_arms = check_count("n_arms", TESTBED_ARMS if n_arms is None else n_arms)
            spread = 3.0 * (self._prior[1] + self.sd)
            low, high = self._prior[0] - spread, self._prior[0] + spread
        else:
            _check_fixed(n_arms=n_arms, prior=prior, redraw=None if redraw == "seed" else redraw)
            given = _check_values("means", means)
            n_arms = len(given)
            low, high = min(given) - 3.0 * self.sd, max(given) + 3.0 * self.sd
        self._arms = Arms(
            self._model,
            _check_values,
            n_arms=n_arms,
            means=given,
            draw=self._draw if given is None else None,
            redraw=check_redraw(redraw),
        )
        bounds = Bounds(
            low=math.floor(low), high=max(math.ceil(high), math.floor(low) + 1), binary=False
        )
        super().__init__(self._arms, horizon=horizon, render_mode=render_mode, bounds=bounds)

    def bandit_model(self, rng: np.random.Generator) -> BanditModel:
        """The arms, or where they come from the prior new ones; see `registry.bandit_models`."""
        return self._arms.model(rng)

    def _draw(self, rng: np.random.Generator) -> Means:
        mean, sd = self._prior
        return tuple(mean + sd * normal_quantile(rng.random()) for _ in range(self._arms.n_arms))

    def _model(self, means: Means) -> BanditModel:
        return BanditModel(
            kind="gaussian",
            means=np.array([means]),
            sd=np.full(len(means), self.sd),
            horizon=self.horizon,
            lai_robbins=gaussian_lai_robbins_constant(means, self.sd),
        )


def _check_fixed(**settings: object) -> None:
    for name, value in settings.items():
        if value is not None:
            raise SettingError(
                f"{name}={value!r} is for arms that are drawn: it does not go with means, which "
                "fixes them."
            )


def _check_values(setting: str, means: object) -> Means:
    return check_means(setting, means, "finite number", -math.inf, math.inf)


def _check_prior(prior: object) -> tuple[float, float]:
    """Mean and sd as floats; raises `SettingError` unless they are two numbers, sd at least 0."""
    wanted = "two finite numbers, mean and standard deviation of a normal distribution"
    if isinstance(prior, str) or not isinstance(prior, Sequence) or len(prior) != 2:
        raise SettingError(f"prior must be {wanted}, got {prior!r}.")
    mean = check_real("prior", prior[0], wanted, -math.inf, math.inf)
    return mean, check_real("prior", prior[1], f"{wanted} of at least 0", 0.0, math.inf)
