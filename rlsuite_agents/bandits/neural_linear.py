"""NeuralLinear: Bayesian linear regression on learned features (Riquelme, Tucker & Snoek 2018).

    z = the last hidden layer of a network that expects the reward of each arm
    σ² ~ IG(a₀ + n / 2, b), θ̃_a ~ N(θ_a, v² σ² A_a⁻¹),    the arm of the largest zᵀθ̃_a

The network is trained now and then; between trainings the regression of the pulled arm is updated
(Sherman & Morrison), after each it is computed anew from all pulls that are remembered.

Differs from the source: Adam with a constant rate; all pulls enter every fit, the newest too; a
regression that cannot be solved raises instead of falling back on the prior.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.errors import DivergenceError
from rlsuite_agents.functional.linear_bandits import inverse_by_cholesky
from rlsuite_agents.parts.bandit import BanditPolicy
from rlsuite_agents.parts.checkpoint import Checkpoint
from rlsuite_agents.parts.compiled import kept
from rlsuite_agents.parts.contextual import Contextual
from rlsuite_agents.parts.linear_model import THOMPSON, LinearModel
from rlsuite_agents.parts.reward_network import RewardNetwork, check_training
from rlsuite_agents.parts.settings import check_count, check_range

__all__ = ["NeuralLinear", "NeuralLinearConfig"]

Floats = NDArray[np.float64]
CHUNK = 1024
"""Contexts that go through the network at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NeuralLinearConfig:
    """Settings of `NeuralLinear`."""

    net_arch: tuple[int, ...] = (50,)  # widths of the hidden layers, at least one
    learning_rate: float = 0.01  # of Adam, above 0
    batch_size: int = 512  # pulls in a minibatch
    train_every: int = 50  # pulls between trainings
    train_steps: int = 100  # minibatches of a training
    max_grad_norm: float = 5.0  # gradients are clipped to this norm, above 0
    memory: int = 100_000  # pulls that are remembered
    v: float = 1.0  # multiplies the standard deviation (not the variance), above 0
    lambda_: float = 0.25  # λ of the regressions, above 0
    prior_shape: float = 6.0  # a₀ of σ², above 0
    prior_rate: float = 6.0  # b₀ of σ², above 0
    initial_pulls: int = 2  # pulls of each arm before its belief counts

    def __post_init__(self) -> None:
        check_training(self)
        for name in ("v", "lambda_", "prior_shape", "prior_rate"):
            check_range(self, name, "(0, inf)")
        check_count(self, "initial_pulls", 0)


class Model:
    """The network, and a linear belief about each arm over its last hidden layer."""

    def __init__(
        self, network: RewardNetwork, config: NeuralLinearConfig, rng: np.random.Generator
    ) -> None:
        self.network, self.config, self.rng = network, config, rng
        self.linear = LinearModel(
            THOMPSON,
            config.net_arch[-1],
            network.n_arms,
            intercept=False,
            ridge=config.lambda_,
            width=config.v,
            shape=config.prior_shape,
            rate=config.prior_rate,
        )

    def choose(self, x: Floats, mask: Any, rng: np.random.Generator) -> int:
        """An arm."""
        arm = self._waiting(mask)
        return arm if arm >= 0 else self.linear.choose(self._features(x), mask, rng)

    def update(self, x: Floats, arm: int, reward: float) -> None:
        """Learns from one pull."""
        if self.network.learn(x, arm, reward, self.rng):
            self._fit()
        else:
            self.linear.update(self._features(x), arm, reward)

    def row(self, x: Floats, mask: Any) -> Floats:
        """The chance of each arm in `choose`, [K]."""
        arm = self._waiting(mask)
        if arm >= 0:
            return np.eye(self.network.n_arms)[arm]
        return self.linear.row(self._features(x), mask)

    def values(self, x: Floats) -> Floats:
        """What each arm is expected to pay, [K]."""
        return self.linear.values(self._features(x))

    def grow(self) -> int:
        """One arm more; returns by how much contexts grow."""
        self.network.grow()
        return self.linear.grow()

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What has been learned."""
        return {**self.network.arrays(), **self.linear.arrays()}

    def restore(self, found: Checkpoint) -> None:
        """Fills in what `arrays` gave."""
        self.network.restore(found)
        self.linear.restore(found)

    def _features(self, x: Floats) -> Floats:
        return self.network.features(x[None])[0]

    def _waiting(self, mask: Any) -> int:
        """The first allowed arm that was pulled too rarely for its belief to count, or -1."""
        for arm, n in enumerate(self.linear.beliefs.pulls.tolist()):
            if n < self.config.initial_pulls and (mask is None or mask[arm]):
                return arm
        return -1

    def _fit(self) -> None:
        """The regressions anew, on the features as they are now, of all pulls remembered."""
        pulls, n, c = self.network.pulls, len(self.network.pulls), self.config
        chunks = [pulls.contexts[k : min(k + CHUNK, n)] for k in range(0, n, CHUNK)]
        z = np.concatenate([self.network.features(chunk) for chunk in chunks])
        rewards, b = pulls.rewards[:n].astype(np.float64), self.linear.beliefs
        for arm in range(self.network.n_arms):
            mine = pulls.arms[:n] == arm
            rows, r = z[mine], rewards[mine]
            b.a[arm] = c.lambda_ * np.eye(z.shape[1]) + rows.T @ rows
            b.moment[arm] = r @ rows
            if not kept(inverse_by_cholesky)(b.a[arm], b.factor, b.a_inv[arm]):
                raise DivergenceError(
                    f"the features of arm {arm} have become so large that its regression cannot "
                    "be solved; lower the learning rate, or scale contexts and rewards."
                )
            theta = b.a_inv[arm] @ b.moment[arm]
            error = r - rows @ theta
            b.theta[arm] = theta
            b.rate[arm] = c.prior_rate + 0.5 * (error @ error + c.lambda_ * (theta @ theta))
            b.pulls[arm] = len(r)


class NeuralLinear(Contextual, BanditPolicy):
    """Thompson sampling by Bayesian linear regression on features that a network learns."""

    id = "rlsuite/NeuralLinear-v0"
    config_type = NeuralLinearConfig
    linear = False

    def build(self) -> Model:
        """A network with fresh weights, and the prior."""
        network = RewardNetwork(self.n_inputs, self.n_arms, self.config, self.rng)
        return Model(network, self.config, self.rng)

    @property
    def theta(self) -> Floats:
        """θ, [A, width of the last hidden layer]."""
        return self.model.linear.beliefs.theta
