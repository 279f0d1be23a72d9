"""The wheel bandit: how much exploration it takes to find what pays rarely and well."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box
from numpy.typing import NDArray

from registry.bandit_models import ContextualModel, normal_quantile
from registry.errors import SettingError
from rlsuite_envs.bandits.base import Bandit
from rlsuite_envs.bandits.oracle import BanditOracle
from rlsuite_envs.checks import check_real
from rlsuite_envs.compiled import compiled
from rlsuite_envs.rendering.arms import Bounds

__all__ = ["Disc", "WheelBandit", "region"]

N_ARMS, SAFE = 5, 4
BASE, SAFE_MEAN, TREASURE = 1.0, 1.2, 50.0
SD, TREASURE_SD = 0.05, 0.01
TURN = 2.0 * math.pi


class WheelBandit(Bandit):
    """A point of the unit disc, five arms; far out one of four pays 50 (Riquelme et al. 2018).

    The context x is uniform in the unit disc. Arms 0 to 3 pay 1.0 on average, the safe arm 4 pays
    1.2, with normal noise of standard deviation 0.05. But where |x| >= delta, the arm of the
    quadrant pays 50, with standard deviation 0.01: arm 0 where x_1 > 0 and x_2 > 0, arm 1 where
    x_1 > 0 and x_2 <= 0, arm 2 where x_1 <= 0 and x_2 > 0, arm 3 elsewhere.

    Draws: a context takes two uniforms u and v, x = √u (cos 2πv, sin 2πv). A reset takes the two of
    the first context. A step takes one for the noise, mean + sd Φ⁻¹(u), then two for the next
    context.

    An episode has `horizon` steps and is then truncated; it never terminates. The `info` of a step
    belongs to the context in which the arm was pulled: `regret`, `expected_reward` (floats) and
    `optimal_action` (an int). The `info` of a reset is empty.

    Args:
        delta: Radius of the hub, strictly between 0 and 1; the nearer to 1, the rarer the treasure.
        horizon: Steps of an episode, at least 1.
        render_mode: None, `"human"`, `"rgb_array"` or `"ansi"`.

    Raises:
        SettingError: a keyword is outside its range.
    """

    def __init__(
        self, delta: float = 0.95, *, horizon: int = 1000, render_mode: str | None = None
    ) -> None:
        wanted = "a number strictly between 0 and 1, the radius of the hub"
        self.delta = check_real("delta", delta, wanted, 0.0, 1.0)
        if self.delta in (0.0, 1.0):
            raise SettingError(f"delta must be {wanted}, got {delta!r}.")
        self._disc = Disc(self.delta)
        bounds = Bounds(low=0.0, high=TREASURE, binary=False)
        super().__init__(self._disc, horizon=horizon, render_mode=render_mode, bounds=bounds)

    def contextual_model(self, rng: np.random.Generator) -> ContextualModel:
        """A run of `horizon` decisions; see `registry.bandit_models`."""
        u, v = rng.random((2, self.horizon))
        noise = rng.random((self.horizon, N_ARMS))
        contexts, rewards = np.empty((self.horizon, 2)), np.empty(noise.shape)
        means = np.empty(noise.shape)
        fill_run(self.delta, u, v, noise, self._disc.means, contexts, means, rewards)
        return ContextualModel(contexts=contexts, means=means, rewards=rewards)


class Disc:
    """The world of the wheel.

    Args:
        delta: Radius of the hub.
    """

    n_arms = N_ARMS
    observation_space = Box(-1.0, 1.0, (2,), np.float32)

    def __init__(self, delta: float) -> None:
        self.delta = delta
        self.means = np.full((5, N_ARMS), BASE)  # a row for each region
        self.means[:, SAFE] = SAFE_MEAN
        self.means[np.arange(1, 5), np.arange(4)] = TREASURE
        self.best = self.means.argmax(axis=1)
        self.point: tuple[float, float] | None = None

    def begin(self, rng: np.random.Generator, seeded: bool) -> dict[str, Any]:
        """Draws the first context."""
        self.move(rng)
        return {}

    def payoffs(self, t: int) -> tuple[NDArray[np.float64], int]:
        """The means of the region, and its best arm."""
        if self.point is None:
            raise ResetNeeded("the first context is drawn at a reset: call reset() before step().")
        where = region(*self.point, self.delta)
        return self.means[where], self.best.item(where)

    def reward(self, arm: int, mean: float, rng: np.random.Generator) -> float:
        """Normal, by one uniform."""
        return mean + (TREASURE_SD if mean == TREASURE else SD) * normal_quantile(rng.random())

    def move(self, rng: np.random.Generator) -> None:
        """Draws the next context."""
        radius = math.sqrt(rng.random())
        angle = TURN * rng.random()
        self.point = radius * math.cos(angle), radius * math.sin(angle)

    def observation(self) -> NDArray[np.float32]:
        """The present context, rounded."""
        return np.array(self.point, np.float32)

    def features(self) -> Sequence[float]:
        """The present context; zeros before the first reset."""
        return (0.0, 0.0) if self.point is None else self.point

    def known(self) -> bool:
        """Whether there is a context."""
        return self.point is not None

    def oracle(self, horizon: int) -> BanditOracle:
        """Exact; its contexts are the five regions, the hub and the quadrants of arms 0 to 3."""
        outside = (1.0 - self.delta * self.delta) / 4.0
        return BanditOracle(
            means=self.means.copy(),
            probabilities=np.array([self.delta * self.delta, *[outside] * 4]),
            contexts=None,
            horizon=horizon,
        )

    def state(self) -> dict[str, Any]:
        """The present context."""
        return {"context": None if self.point is None else list(self.point)}

    def checked(self, name: str, state: Any) -> tuple[float, float] | None:
        """A point of the unit disc, or None."""
        point = state["context"]
        if point is None:
            return None
        wanted = "two numbers, a point of the unit disc"
        if not isinstance(point, Sequence) or isinstance(point, str) or len(point) != 2:
            raise SettingError(f"{name}: 'context' must be {wanted}, got {point!r}.")
        x, y = (check_real(f"{name}: 'context'", value, wanted, -1.0, 1.0) for value in point)
        return x, y

    def restore(self, checked: tuple[float, float] | None) -> None:
        """This context from now on."""
        self.point = checked


def region(x: float, y: float, delta: float) -> int:
    """0 in the hub, else 1 + the arm that pays in the quadrant of (x, y)."""
    if x * x + y * y < delta * delta:
        return 0
    if x > 0.0:
        return 1 if y > 0.0 else 2
    return 3 if y > 0.0 else 4


region_of = compiled(region)


@compiled
def fill_run(  # type: ignore[no-untyped-def]  # numba infers the types
    delta, u, v, noise, table, contexts, means, rewards
):
    """Contexts, means and rewards of a run from its uniforms."""
    for t in range(len(u)):
        radius, angle = math.sqrt(u[t]), TURN * v[t]
        x, y = radius * math.cos(angle), radius * math.sin(angle)
        where = region_of(x, y, delta)
        # as it is observed
        contexts[t, 0], contexts[t, 1] = np.float32(x), np.float32(y)
        for a in range(N_ARMS):
            mean = table[where, a]
            sd = TREASURE_SD if mean == TREASURE else SD
            means[t, a] = mean
            rewards[t, a] = mean + sd * normal_quantile(noise[t, a])
