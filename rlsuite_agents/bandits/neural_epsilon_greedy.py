"""ε-greedy on a network's expected rewards Q(x, a), one output for each arm.

    minimise ½ (Q(x, A) - R)² over the pulls remembered, a few minibatches at a time

The baseline of neural contextual bandits (Riquelme, Tucker & Snoek 2018, section 3). Differs from
theirs: ε is constant, Adam instead of RMSProp. Ties are drawn evenly; masked arms are never played.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlsuite_agents.functional.exploration import epsilon_greedy, epsilon_greedy_probabilities
from rlsuite_agents.parts.bandit import BanditPolicy
from rlsuite_agents.parts.checkpoint import Checkpoint
from rlsuite_agents.parts.contextual import Contextual
from rlsuite_agents.parts.reward_network import RewardNetwork, check_training
from rlsuite_agents.parts.settings import check_range

__all__ = ["NeuralEpsilonGreedy", "NeuralEpsilonGreedyConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class NeuralEpsilonGreedyConfig:
    """Settings of `NeuralEpsilonGreedy`."""

    epsilon: float = 0.1  # ε, the share of random pulls, in [0, 1]
    net_arch: tuple[int, ...] = (64, 64)  # widths of the hidden layers, at least one
    learning_rate: float = 3e-3  # of Adam, above 0
    batch_size: int = 128  # pulls in a minibatch
    train_every: int = 20  # pulls between trainings
    train_steps: int = 20  # minibatches of a training
    max_grad_norm: float = 5.0  # gradients are clipped to this norm, above 0
    memory: int = 100_000  # pulls that are remembered

    def __post_init__(self) -> None:
        check_range(self, "epsilon", "[0, 1]")
        check_training(self)


class Model:
    """The network, and ε over it."""

    def __init__(self, network: RewardNetwork, epsilon: float, rng: np.random.Generator) -> None:
        self.network, self.epsilon, self.rng = network, epsilon, rng

    def choose(self, x: Any, mask: Any, rng: np.random.Generator) -> int:
        """An arm."""
        return epsilon_greedy(self.values(x), self.epsilon, mask, rng)

    def update(self, x: Any, arm: int, reward: float) -> None:
        """Learns from one pull."""
        self.network.learn(x, arm, reward, self.rng)

    def row(self, x: Any, mask: Any) -> NDArray[np.float64]:
        """The chance of each arm in `choose`, [K]."""
        allowed = None if mask is None else np.asarray(mask, bool)[None]
        return epsilon_greedy_probabilities(self.values(x)[None], self.epsilon, allowed, False)[0]

    def values(self, x: Any) -> Any:
        """What each arm is expected to pay, [K]."""
        return self.network.values(x)

    def grow(self) -> int:
        """One arm more; returns by how much contexts grow."""
        self.network.grow()
        return 0

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What has been learned."""
        return self.network.arrays()

    def restore(self, found: Checkpoint) -> None:
        """Fills in what `arrays` gave."""
        self.network.restore(found)


class NeuralEpsilonGreedy(Contextual, BanditPolicy):
    """Plays the arm that a network expects most of, with probability ε any arm."""

    id = "rlsuite/NeuralEpsilonGreedy-v0"
    config_type = NeuralEpsilonGreedyConfig
    linear = False

    def build(self) -> Model:
        """A network with fresh weights."""
        network = RewardNetwork(self.n_inputs, self.n_arms, self.config, self.rng)
        return Model(network, self.config.epsilon, self.rng)
