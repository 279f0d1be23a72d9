"""The Bernoulli bandit: every arm pays 0 or 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from registry.errors import OracleError, SettingError
from rlsuite_envs.bandits.arms import arm_index, lai_robbins_constant
from rlsuite_envs.bandits.oracle import BanditOracle
from rlsuite_envs.checks import check_count, check_real, check_state, generator_from
from rlsuite_envs.rendering.arms import Bounds
from rlsuite_envs.rendering.bandit import BanditDisplay, BanditScene, bandit_display
from rlsuite_envs.rendering.display import render, render_metadata
from rlsuite_envs.rendering.tabular import digit_keys

__all__ = ["BernoulliBandit"]

DEFAULT_MEANS = (0.1, 0.3, 0.5, 0.7, 0.9)
FLAT_PRIOR = (1.0, 1.0)

BOUNDS = Bounds(low=0.0, high=1.0, binary=True)

Redraw = Literal["seed", "episode"]


class BernoulliBandit(gym.Env[NDArray[np.float32], np.int64]):
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

    metadata: dict[str, Any] = render_metadata(fps=10)

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
        _check_combination(means, n_arms, prior, redraw)
        self._prior = (
            None if n_arms is None else _check_prior(FLAT_PRIOR if prior is None else prior)
        )
        self.redraw = redraw
        self._means: tuple[float, ...] | None = None
        if n_arms is None:
            self._means = _check_means("means", DEFAULT_MEANS if means is None else means)
            n_arms = len(self._means)
        self.n_arms = check_count("n_arms", n_arms)
        self.observation_space = Box(0.0, 1.0, (1,), np.float32)
        self.action_space = Discrete(self.n_arms)
        self._t = 0
        self.render_mode = render_mode
        self._display: BanditDisplay | None = bandit_display(self, render_mode, BOUNDS)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Starts an episode. There are no options."""
        super().reset(seed=seed)
        self._t = 0
        if self._prior is None:
            self._restart_display()
            return _observation(), {}
        fresh = self._means is None or seed is not None or self.redraw == "episode"
        if fresh:
            a, b = self._prior
            self._means = tuple(self.np_random.beta(a, b) for _ in range(self.n_arms))
        self._restart_display()
        return _observation(), {"new_instance": fresh}

    def step(
        self, action: np.int64
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Pulls an arm.

        Raises:
            InvalidActionError: the action is not in the action space.
            ResetNeeded: the arms have not been drawn yet.
        """
        arm = arm_index(action, self.n_arms)
        means = self._means
        if means is None:
            raise ResetNeeded("the arms are drawn at the first reset: call reset() before step().")
        reward = 1.0 if self.np_random.random() < means[arm] else 0.0
        self._t += 1
        if self._display is not None:
            self._display.saw(arm, reward)
        best = max(means)
        info = {
            "regret": best - means[arm],
            "expected_reward": means[arm],
            "optimal_action": means.index(best),
        }
        return _observation(), reward, False, self._t >= self.horizon, info

    def render(self) -> Any:
        """What was seen of the arms: pixels uint8 [height, width, 3], a text, or a window."""
        return render(self._display)

    def close(self) -> None:
        """Closes the window, if there is one."""
        if self._display is not None:
            self._display.close()

    def overlay(self, *, truth: bool = False) -> None:
        """Whether the true means are drawn too, as diamonds; without a render mode no matter."""
        if self._display is not None:
            self._display.truth = truth

    def get_keys_to_action(self) -> dict[tuple[str | int, ...], int]:
        """Keys for a person who plays: the digit of an arm, for the first ten."""
        return digit_keys(self.n_arms)

    def oracle(self, horizon: int | None = None) -> BanditOracle:
        """The answer key of the present arms.

        Args:
            horizon: A time limit around the environment, such as `env.spec.max_episode_steps`; the
                shorter of it and the environment's own horizon holds. None: the own horizon.

        Raises:
            OracleError: the arms have not been drawn yet.
            SettingError: `horizon` is not a whole number of at least 1.
        """
        if self._means is None:
            raise OracleError(
                "the arms are drawn at the first reset, so there is no answer key before it: call "
                "reset(seed=...) first."
            )
        limit = self.horizon if horizon is None else check_count("horizon", horizon)
        return BanditOracle(
            means=np.array([self._means]),
            probabilities=np.ones(1),
            contexts=_observation()[None],
            horizon=min(limit, self.horizon),
            lai_robbins=lai_robbins_constant(self._means),
            scope="task" if self._prior is None else "instance",
        )

    @property
    def display(self) -> BanditDisplay | None:
        """What draws the bandit; None without a `render_mode`."""
        return self._display

    def get_state(self) -> dict[str, Any]:
        """Generator, clock and arms, as JSON can hold them."""
        return {
            "rng": self.np_random.bit_generator.state,
            "t": self._t,
            "means": None if self._means is None else list(self._means),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on from what `get_state` returned, in an environment with the same keywords.

        Raises:
            SettingError: it is not such a state, or it has another number of arms.
        """
        name = type(self).__name__
        check_state(name, state, ("rng", "t", "means"))
        means = state["means"]
        if means is not None:
            means = _check_means(f"{name}.set_state: 'means'", means)
            if len(means) != self.n_arms:
                raise SettingError(
                    f"{name}.set_state: the state has {len(means)} arms, this environment has "
                    f"{self.n_arms}."
                )
        t = check_count(f"{name}.set_state: 't'", state["t"], low=0)
        self.np_random = generator_from(name, state["rng"])
        self._t, self._means = t, means
        if self._display is not None:
            self._display.forget()

    def _restart_display(self) -> None:
        if self._display is not None:
            self._display.restart()

    def _scene(self) -> BanditScene:
        return BanditScene(t=self._t, horizon=self.horizon, means=self._means)


def _observation() -> NDArray[np.float32]:
    return np.ones(1, np.float32)


def _check_combination(means: object, n_arms: object, prior: object, redraw: object) -> None:
    if redraw not in ("seed", "episode"):
        raise SettingError(f"redraw must be 'seed' or 'episode', got {redraw!r}.")
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


def _check_means(setting: str, means: object) -> tuple[float, ...]:
    """The means as floats; raises `SettingError` unless they are probabilities, at least one."""
    wanted = "a sequence of at least one probability in [0, 1]"
    if isinstance(means, str) or not isinstance(means, Sequence | np.ndarray) or len(means) == 0:
        raise SettingError(f"{setting} must be {wanted}, got {means!r}.")
    return tuple(check_real(setting, mean, wanted, 0.0, 1.0) for mean in means)


def _check_prior(prior: object) -> tuple[float, float]:
    """(a, b) as floats; raises `SettingError` unless they are two numbers in [1e-6, 1e6]."""
    wanted = "two numbers from 1e-6 to 1e6, the a and b of a Beta distribution"
    if isinstance(prior, str) or not isinstance(prior, Sequence) or len(prior) != 2:
        raise SettingError(f"prior must be {wanted}, got {prior!r}.")
    a, b = (check_real("prior", value, wanted, 1e-6, 1e6) for value in prior)
    return a, b
