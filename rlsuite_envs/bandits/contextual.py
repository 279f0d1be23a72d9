"""The contextual bandit: the payoff of an arm is linear in a context of plus and minus ones."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from registry.errors import SettingError
from rlsuite_envs.bandits.arms import arm_index
from rlsuite_envs.bandits.oracle import BanditOracle
from rlsuite_envs.checks import check_count, check_real, check_state, generator_from
from rlsuite_envs.rendering.arms import Bounds
from rlsuite_envs.rendering.bandit import BanditDisplay, BanditScene, bandit_display
from rlsuite_envs.rendering.display import render, render_metadata
from rlsuite_envs.rendering.tabular import digit_keys

__all__ = ["ContextualBandit", "all_contexts", "draw_theta", "linear_means"]

LARGEST_TABLE = 2**22
"""Largest number of (context, arm) pairs: the answer key enumerates them."""


class ContextualBandit(gym.Env[NDArray[np.float32], np.int64]):
    """See a context x, pull arm a, receive x . θ_a plus noise (the linear model of Li et al. 2010).

    Context number i has x_j = +1 where bit j of i is set and -1 elsewhere; all 2^d contexts are
    equally likely, at every step, whatever the action. The observation is the context of the next
    decision. An episode has `horizon` steps and is then truncated; it never terminates.

    Draws: a reset takes one uniform u for the first context, number floor(2^d u). A step takes two:
    u for the noise, reward = x . θ_a + noise (2u - 1), then one for the next context.

    The `info` of a step belongs to the context in which the arm was pulled, the one observed
    before: `regret` (the best mean minus that of the arm, a float), `expected_reward` (x . θ_a, a
    float), `optimal_action` (an int). The `info` of a reset is empty.

    Args:
        d: Features of a context, at least 1.
        n_arms: Number of arms, at least 1; 2^d * n_arms is at most 2^22.
        horizon: Steps of an episode, at least 1.
        noise: Half the width of the uniform noise on the reward, at least 0.
        theta_seed: Seed of θ, see `draw_theta`.
        render_mode: None, `"human"`, `"rgb_array"` or `"ansi"`.

    Raises:
        SettingError: a keyword is outside its range.
    """

    metadata: dict[str, Any] = render_metadata(fps=10)

    def __init__(
        self,
        d: int = 10,
        n_arms: int = 5,
        *,
        horizon: int = 1000,
        noise: float = 1.0,
        theta_seed: int = 0,
        render_mode: str | None = None,
    ) -> None:
        d, self.n_arms = check_count("d", d), check_count("n_arms", n_arms)
        _check_size(d, self.n_arms)
        self.horizon = check_count("horizon", horizon)
        self.noise = check_real("noise", noise, "a finite number of at least 0", 0.0, math.inf)
        self.theta = draw_theta(d, self.n_arms, check_count("theta_seed", theta_seed, low=0))
        self.observation_space = Box(-1.0, 1.0, (d,), np.float32)
        self.action_space = Discrete(self.n_arms)
        self._contexts = all_contexts(d)
        self._means = linear_means(self._contexts, self.theta)
        self._best_arm = self._means.argmax(axis=1)
        self._context: int | None = None
        self._t = 0
        self.render_mode = render_mode
        largest = math.ceil(2.0 * float(np.abs(self._means).max())) / 2.0
        bounds = Bounds(low=-largest, high=largest, binary=False)
        self._display: BanditDisplay | None = bandit_display(self, render_mode, bounds)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Starts an episode and draws its first context. There are no options."""
        super().reset(seed=seed)
        self._t = 0
        observation = self._next_context()
        if self._display is not None:
            self._display.restart()
        return observation, {}

    def step(
        self, action: np.int64
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Pulls an arm in the present context.

        Raises:
            InvalidActionError: the action is not in the action space.
            ResetNeeded: there is no context yet.
        """
        arm = arm_index(action, self.n_arms)
        if self._context is None:
            raise ResetNeeded("the first context is drawn at a reset: call reset() before step().")
        expected = self._means.item(self._context, arm)
        best_arm = self._best_arm.item(self._context)
        info = {
            "regret": self._means.item(self._context, best_arm) - expected,
            "expected_reward": expected,
            "optimal_action": best_arm,
        }
        reward = expected + self.noise * (2.0 * self.np_random.random() - 1.0)
        self._t += 1
        observation = self._next_context()
        if self._display is not None:
            self._display.saw(arm, reward)
        return observation, reward, False, self._t >= self.horizon, info

    def render(self) -> Any:
        """Context and arms: pixels uint8 [height, width, 3], a text, or None after showing it."""
        return render(self._display)

    def close(self) -> None:
        """Closes the window, if there is one."""
        if self._display is not None:
            self._display.close()

    def overlay(self, *, truth: bool = False) -> None:
        """Whether the arms' means in the present context are drawn, as diamonds.

        Without a render mode it does not matter.
        """
        if self._display is not None:
            self._display.truth = truth

    def get_keys_to_action(self) -> dict[tuple[str | int, ...], int]:
        """Keys for a person who plays: the digit of an arm, for the first ten."""
        return digit_keys(self.n_arms)

    def oracle(self, horizon: int | None = None) -> BanditOracle:
        """The answer key, over all 2^d contexts.

        Args:
            horizon: A time limit around the environment, such as `env.spec.max_episode_steps`; the
                shorter of it and the environment's own horizon holds. None: the own horizon.

        Raises:
            SettingError: `horizon` is not a whole number of at least 1.
        """
        limit = self.horizon if horizon is None else check_count("horizon", horizon)
        count = len(self._contexts)
        return BanditOracle(
            means=self._means.copy(),
            probabilities=np.full(count, 1.0 / count),
            contexts=self._contexts.copy(),
            horizon=min(limit, self.horizon),
        )

    @property
    def display(self) -> BanditDisplay | None:
        """What draws the bandit; None without a `render_mode`."""
        return self._display

    def get_state(self) -> dict[str, Any]:
        """Generator, clock and number of the present context, as JSON can hold them."""
        return {
            "rng": self.np_random.bit_generator.state,
            "t": self._t,
            "context": self._context,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on from what `get_state` returned, in an environment with the same keywords.

        Raises:
            SettingError: it is not such a state, or its context does not exist here.
        """
        name = type(self).__name__
        check_state(name, state, ("rng", "t", "context"))
        t = check_count(f"{name}.set_state: 't'", state["t"], low=0)
        context = state["context"]
        if context is not None:
            context = check_count(f"{name}.set_state: 'context'", context, low=0)
            if context >= len(self._contexts):
                raise SettingError(
                    f"{name}.set_state: the state has context number {context}, this environment "
                    f"has {len(self._contexts)} contexts."
                )
        self.np_random = generator_from(name, state["rng"])
        self._t, self._context = t, context
        if self._display is not None:
            self._display.forget()

    def _scene(self) -> BanditScene:
        context = self._context
        return BanditScene(
            t=self._t,
            horizon=self.horizon,
            means=None if context is None else self._means[context].tolist(),
            # nothing is known of the context before the first reset, but its place is kept
            context=[0.0] * self.theta.shape[1]
            if context is None
            else self._contexts[context].tolist(),
        )

    def _next_context(self) -> NDArray[np.float32]:
        """Draws the context of the next decision; returns its observation, a fresh array."""
        self._context = int(len(self._contexts) * self.np_random.random())
        return self._contexts[self._context].copy()


def draw_theta(d: int, n_arms: int, seed: int) -> NDArray[np.float64]:
    """θ_a for each arm, shape [n_arms, d]: numbers 2u - 1 divided by their Euclidean length.

    One `random()` for each u from `np.random.default_rng(seed)`, arm by arm.
    """
    theta = 2.0 * np.random.default_rng(seed).random((n_arms, d)) - 1.0
    return theta / np.sqrt((theta * theta).sum(axis=1, keepdims=True))


def all_contexts(d: int) -> NDArray[np.float32]:
    """All 2^d contexts in the order of their numbers, shape [2^d, d]: bit j of i tells x_j."""
    bits = (np.arange(2**d)[:, None] >> np.arange(d)) & 1
    return (2 * bits - 1).astype(np.float32)


def linear_means(contexts: NDArray[np.float32], theta: NDArray[np.float64]) -> NDArray[np.float64]:
    """The payoffs x . θ_a for every context and arm in float64, shape [C, A].

    Summed feature by feature, never by a library's matrix product, whose last bits depend on the
    machine; the means of x and of -x are exact negatives of each other.
    """
    means = np.zeros((len(contexts), len(theta)))
    for j in range(theta.shape[1]):
        means += contexts[:, j, None].astype(np.float64) * theta[:, j]
    return means


def _check_size(d: int, n_arms: int) -> None:
    if d > LARGEST_TABLE.bit_length() or 2**d * n_arms > LARGEST_TABLE:
        raise SettingError(
            f"2**d * n_arms must be at most {LARGEST_TABLE}, because the answer key "
            f"enumerates every context and arm; got d={d} and n_arms={n_arms}."
        )
