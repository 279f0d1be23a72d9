"""What all bandits share: the clock, the step, the display and saved states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Discrete
from numpy.typing import NDArray

from rlsuite_envs.bandits.arms import arm_index
from rlsuite_envs.bandits.oracle import BanditOracle
from rlsuite_envs.checks import check_count, check_state, generator_from
from rlsuite_envs.rendering.arms import Bounds
from rlsuite_envs.rendering.bandit import BanditDisplay, BanditScene, bandit_display
from rlsuite_envs.rendering.display import render, render_metadata
from rlsuite_envs.rendering.tabular import digit_keys

__all__ = ["Bandit", "World"]


class World(Protocol):
    """The problem behind a bandit: what is seen, what arms pay, what changes. It knows no clock."""

    n_arms: int
    observation_space: Any

    def begin(self, rng: np.random.Generator, seeded: bool) -> dict[str, Any]:
        """Draws what an episode begins with; returns the info of the reset."""
        ...

    def payoffs(self, t: int) -> tuple[Sequence[float] | NDArray[np.float64], int]:
        """Expected rewards [K] at step t, and the arm that regret is measured against.

        Raises:
            ResetNeeded: nothing has been drawn yet.
        """
        ...

    def reward(self, arm: int, mean: float, rng: np.random.Generator) -> float:
        """What the arm pays now; draws at most one uniform."""
        ...

    def move(self, rng: np.random.Generator) -> None:
        """Draws what the next decision is about."""
        ...

    def observation(self) -> NDArray[np.float32]:
        """What is seen before the next decision, a fresh array."""
        ...

    def features(self) -> Sequence[float] | None:
        """The context as the display shows it; None where there are no contexts."""
        ...

    def known(self) -> bool:
        """Whether `payoffs` has an answer."""
        ...

    def oracle(self, horizon: int) -> BanditOracle:
        """The answer key for so many decisions."""
        ...

    def state(self) -> dict[str, Any]:
        """What was drawn, as JSON can hold it; None for what was not drawn yet."""
        ...

    def checked(self, name: str, state: Any) -> Any:
        """What `restore` takes; raises `SettingError`, beginning with `name`, where it is wrong."""
        ...

    def restore(self, checked: Any) -> None:
        """Goes on from a state."""
        ...


class Bandit(gym.Env[NDArray[np.float32], np.int64]):
    """A bandit of a fixed horizon over a `World`: truncated at its end, never terminated.

    The `info` of a step belongs to what was seen before the arm was pulled: `regret` (the expected
    reward of the arm that it is measured against, less that of the arm pulled, a float),
    `expected_reward` (a float) and `optimal_action` (an int).

    Args:
        world: The problem.
        horizon: Steps of an episode, at least 1.
        render_mode: None, `"human"`, `"rgb_array"` or `"ansi"`.
        bounds: The axis of the display.

    Raises:
        SettingError: `horizon` or `render_mode` is not as said above.
    """

    metadata: dict[str, Any] = render_metadata(fps=10)

    def __init__(
        self, world: World, *, horizon: int, render_mode: str | None, bounds: Bounds
    ) -> None:
        self.horizon = check_count("horizon", horizon)
        self.n_arms = world.n_arms
        self.observation_space = world.observation_space
        self.action_space = Discrete(self.n_arms)
        self._world = world
        self._t = 0
        self.render_mode = render_mode
        self._display: BanditDisplay | None = bandit_display(self, render_mode, bounds)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Starts an episode. There are no options."""
        super().reset(seed=seed)
        self._t = 0
        info = self._world.begin(self.np_random, seed is not None)
        if self._display is not None:
            self._display.restart()
        return self._world.observation(), info

    def step(
        self, action: np.int64
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Pulls an arm.

        Raises:
            InvalidActionError: the action is not in the action space.
            ResetNeeded: nothing has been drawn yet.
        """
        arm = arm_index(action, self.n_arms)
        world, rng = self._world, self.np_random
        means, best = world.payoffs(self._t)
        mean = float(means[arm])
        info = {
            "regret": float(means[best]) - mean,
            "expected_reward": mean,
            "optimal_action": best,
        }
        reward = world.reward(arm, mean, rng)
        self._t += 1
        world.move(rng)
        if self._display is not None:
            self._display.saw(arm, reward)
        return world.observation(), reward, False, self._t >= self.horizon, info

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
        """The answer key.

        Args:
            horizon: A time limit around the environment, such as `env.spec.max_episode_steps`; the
                shorter of it and the environment's own horizon holds. None: the own horizon.

        Raises:
            OracleError: arms are drawn at the first reset, and there was none.
            SettingError: `horizon` is not a whole number of at least 1.
        """
        limit = self.horizon if horizon is None else check_count("horizon", horizon)
        return self._world.oracle(min(limit, self.horizon))

    def expected_rewards(self) -> NDArray[np.float64]:
        """What each arm pays on average at the coming decision, [K]; part of the answer key.

        Raises:
            ResetNeeded: nothing has been drawn yet.
        """
        return np.array(self._world.payoffs(self._t)[0], np.float64)

    @property
    def display(self) -> BanditDisplay | None:
        """What draws the bandit; None without a `render_mode`."""
        return self._display

    def get_state(self) -> dict[str, Any]:
        """Generator, clock and what was drawn, as JSON can hold them."""
        return {
            "rng": self.np_random.bit_generator.state,
            "t": self._t,
            **self._world.state(),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on from what `get_state` returned, in an environment with the same keywords.

        Raises:
            SettingError: it is no such state; nothing has changed then.
        """
        name = type(self).__name__
        check_state(name, state, ("rng", "t", *self._world.state()))
        checked = self._world.checked(f"{name}.set_state", state)
        t = check_count(f"{name}.set_state: 't'", state["t"], low=0)
        self.np_random = generator_from(name, state["rng"])
        self._t = t
        self._world.restore(checked)
        if self._display is not None:
            self._display.forget()

    def _scene(self) -> BanditScene:
        means = self._world.payoffs(self._t)[0] if self._world.known() else None
        return BanditScene(
            t=self._t,
            horizon=self.horizon,
            means=None if means is None else [float(mean) for mean in means],
            context=self._world.features(),
        )
