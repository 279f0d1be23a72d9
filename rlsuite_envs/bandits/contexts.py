"""The world of bandits whose contexts can be listed: each is drawn anew at every step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box
from numpy.typing import NDArray

from registry.bandit_models import ContextualModel
from registry.errors import SettingError
from rlsuite_envs.bandits.oracle import BanditOracle
from rlsuite_envs.checks import check_count

__all__ = ["Contexts", "Payment"]

Payment = Literal["uniform", "bernoulli", "exact"]
"""How an arm pays: its mean with uniform noise, 1 with its mean as chance, exactly its mean."""


class Contexts:
    """C equally likely contexts, with a payoff for each of them and each of A arms.

    Args:
        contexts: What is seen, float32 [C, d], or [C, A, d] where arms have features of their own.
        means: Expected rewards, float64 [C, A].
        space: The observation space.
        payment: How an arm pays.
        noise: Half the width of the uniform noise; 0 unless the payment is `"uniform"`.
    """

    def __init__(
        self,
        contexts: NDArray[np.float32],
        means: NDArray[np.float64],
        space: Box,
        *,
        payment: Payment,
        noise: float = 0.0,
    ) -> None:
        self.contexts, self.means, self.best = contexts, means, means.argmax(axis=1)
        self.observation_space = space
        self.payment, self.noise = payment, noise
        self.n_arms = means.shape[1]
        self.now: int | None = None

    def begin(self, rng: np.random.Generator, seeded: bool) -> dict[str, Any]:
        """Draws the first context."""
        self.move(rng)
        return {}

    def payoffs(self, t: int) -> tuple[NDArray[np.float64], int]:
        """The means of the present context, and its best arm, the first of several."""
        if self.now is None:
            raise ResetNeeded("the first context is drawn at a reset: call reset() before step().")
        return self.means[self.now], self.best.item(self.now)

    def reward(self, arm: int, mean: float, rng: np.random.Generator) -> float:
        """The mean, with noise of one uniform unless it is paid exactly."""
        if self.payment == "exact":
            return mean
        if self.payment == "bernoulli":
            return 1.0 if rng.random() < mean else 0.0
        return mean + self.noise * (2.0 * rng.random() - 1.0)

    def move(self, rng: np.random.Generator) -> None:
        """Draws the context of the next decision: number floor(C u)."""
        self.now = int(len(self.contexts) * rng.random())

    def observation(self) -> NDArray[np.float32]:
        """The present context."""
        assert self.now is not None
        return self.contexts[self.now].copy()

    def features(self) -> Sequence[float]:
        """The present context; zeros before the first reset, to keep its place."""
        if self.now is None:
            return [0.0] * self.contexts[0].size
        features: list[float] = self.contexts[self.now].ravel().tolist()
        return features

    def known(self) -> bool:
        """Whether there is a context."""
        return self.now is not None

    def model(self, horizon: int, rng: np.random.Generator) -> ContextualModel:
        """A run drawn beforehand: a uniform for each context, then one for each reward."""
        drawn = (len(self.contexts) * rng.random(horizon)).astype(np.int64)
        means = self.means[drawn]
        rewards = means
        if self.payment == "bernoulli":
            rewards = (rng.random(means.shape) < means).astype(np.float64)
        elif self.payment == "uniform":
            rewards = means + self.noise * (2.0 * rng.random(means.shape) - 1.0)
        return ContextualModel(
            contexts=self.contexts[drawn].astype(np.float64), means=means, rewards=rewards
        )

    def oracle(self, horizon: int) -> BanditOracle:
        """Exact, by going through all contexts."""
        count = len(self.contexts)
        return BanditOracle(
            means=self.means.copy(),
            probabilities=np.full(count, 1.0 / count),
            contexts=self.contexts.copy(),
            horizon=horizon,
        )

    def state(self) -> dict[str, Any]:
        """The number of the present context."""
        return {"context": self.now}

    def checked(self, name: str, state: Any) -> int | None:
        """The number of a context that exists here, or None."""
        context = state["context"]
        if context is None:
            return None
        context = check_count(f"{name}: 'context'", context, low=0)
        if context >= len(self.contexts):
            raise SettingError(
                f"{name}: the state has context number {context}, this environment "
                f"has {len(self.contexts)} contexts."
            )
        return context

    def restore(self, checked: int | None) -> None:
        """This context from now on."""
        self.now = checked
