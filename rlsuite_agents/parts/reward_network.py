"""A network that expects the reward of each arm in a context, and what it is trained on."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.errors import SettingError
from rlsuite_agents.parts.checkpoint import Checkpoint
from rlsuite_agents.parts.mlp_gradient import Network, Parameters, layer_shapes
from rlsuite_agents.parts.optimizers import Adam
from rlsuite_agents.parts.settings import check_count, check_range, check_widths

__all__ = ["Pulls", "RewardNetwork", "check_training"]

Floats = NDArray[np.float32]
ROOM = 1024


def check_training(config: Any) -> None:
    """Checks the settings that agents with a `RewardNetwork` share."""
    check_widths(config, "net_arch")
    if not config.net_arch:
        raise SettingError(
            f"{type(config).__name__}.net_arch must have a hidden layer at least, got ()."
        )
    check_range(config, "learning_rate", "(0, inf)")
    check_range(config, "max_grad_norm", "(0, inf)")
    for name in ("batch_size", "train_every", "train_steps", "memory"):
        check_count(config, name, 1)


class Pulls:
    """The latest pulls, in a ring that grows up to its limit.

    Attributes:
        total: Pulls that were ever added.
    """

    def __init__(self, n_inputs: int, limit: int) -> None:
        self.n_inputs, self.limit, self.total = n_inputs, limit, 0
        self._make(min(ROOM, limit))

    def _make(self, size: int) -> None:
        self.contexts = np.zeros((size, self.n_inputs), np.float32)
        self.arms, self.rewards = np.zeros(size, np.int64), np.zeros(size, np.float32)

    def __len__(self) -> int:
        return min(self.total, self.limit)

    def add(self, x: Any, arm: int, reward: float) -> None:
        """Adds a pull, in the place of the oldest if the ring is full."""
        if self.total == len(self.arms) < self.limit:
            old: tuple[NDArray[Any], ...] = self.contexts, self.arms, self.rewards
            self._make(min(2 * self.total, self.limit))
            grown: tuple[NDArray[Any], ...] = self.contexts, self.arms, self.rewards
            for new, values in zip(grown, old, strict=True):
                new[: self.total] = values
        place = self.total % self.limit
        self.contexts[place], self.arms[place], self.rewards[place] = x, arm, reward
        self.total += 1

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What is remembered, for a checkpoint."""
        n = len(self)
        return {
            "pulls.total": np.array(self.total, np.int64),
            "pulls.contexts": self.contexts[:n],
            "pulls.arms": self.arms[:n],
            "pulls.rewards": self.rewards[:n],
        }

    def restore(self, found: Checkpoint) -> None:
        """Goes on from `arrays`; raises `CheckpointError` where they do not fit."""
        self.total = int(found.array("pulls.total", (), np.int64))
        n = len(self)
        self._make(min(self.limit, max(n, ROOM)))
        self.contexts[:n] = found.array("pulls.contexts", (n, self.n_inputs), np.float32)
        self.arms[:n] = found.array("pulls.arms", (n,), np.int64)
        self.rewards[:n] = found.array("pulls.rewards", (n,), np.float32)


class RewardNetwork:
    """Q(x, ·), an output for each arm, trained by squared error on the arms that were pulled."""

    def __init__(self, n_inputs: int, n_arms: int, config: Any, rng: np.random.Generator) -> None:
        """Orthogonal weights drawn with `rng`, those of the last layer small.

        `config`: settings that pass `check_training`.
        """
        self.n_inputs, self.config = n_inputs, config
        self.pulls = Pulls(n_inputs, config.memory)
        self._make(n_arms)
        hidden = len(config.net_arch)
        self.network.initialise(rng, [*[math.sqrt(2.0)] * hidden, 0.01])

    def _make(self, n_arms: int) -> None:
        sizes = (self.n_inputs, *self.config.net_arch, n_arms)
        self.n_arms = n_arms
        self.parameters = Parameters(layer_shapes("q", sizes))
        self.network = Network(self.parameters, "q", sizes, "relu")
        self.optimizer = Adam(self.parameters)

    def values(self, x: Any) -> Floats:
        """Q [K] of one context, a fresh array."""
        return self.network.forward(np.asarray(x, np.float32)[None])[0].copy()

    def features(self, contexts: Any) -> NDArray[np.float64]:
        """The last hidden layer [B, width] of contexts [B, n_inputs]."""
        rows = np.asarray(contexts, np.float32)
        self.network.forward(rows)
        return self.network.last_hidden(len(rows)).astype(np.float64)

    def learn(self, x: Any, arm: int, reward: float, rng: np.random.Generator) -> bool:
        """Remembers a pull; returns whether it was time to train, and the network was trained."""
        self.pulls.add(x, arm, reward)
        if self.pulls.total % self.config.train_every:
            return False
        for _ in range(self.config.train_steps):
            self._step(rng.integers(len(self.pulls), size=self.config.batch_size))
        return True

    def _step(self, rows: NDArray[np.int64]) -> None:
        """One step of Adam down the gradient of the mean of ½ (Q(x, a) - r)²."""
        arms, each = self.pulls.arms[rows], np.arange(len(rows))
        q = self.network.forward(self.pulls.contexts[rows])
        d_q = np.zeros_like(q)
        d_q[each, arms] = (q[each, arms] - self.pulls.rewards[rows]) / len(rows)
        self.network.backward(d_q)
        self.optimizer.step(self.config.learning_rate, self.config.max_grad_norm)

    def grow(self) -> None:
        """An output more, which expects 0; the others keep their weights and Adam's moments."""
        old, before = self.parameters, self.optimizer
        self._make(self.n_arms + 1)
        self.optimizer.steps = before.steps
        vectors = before.first, before.second, old.vector.copy()
        targets = self.optimizer.first, self.optimizer.second, self.parameters.vector
        for vector, target in zip(vectors, targets, strict=True):
            old.put(vector)  # its names are views of what it holds
            self.parameters.put(np.zeros_like(target))
            for name, values in old.values.items():
                place = tuple(slice(size) for size in values.shape)
                self.parameters.values[name][place] = values
            target[:] = self.parameters.vector

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Weights, optimiser and pulls, for a checkpoint."""
        weights = {"network": self.parameters.vector}
        return {**weights, **self.optimizer.arrays(), **self.pulls.arrays()}

    def restore(self, found: Checkpoint) -> None:
        """Goes on from `arrays`; raises `CheckpointError` where they do not fit."""
        vector = self.parameters.vector
        vector[:] = found.array("network", vector.shape, np.float32)
        self.optimizer.restore(found)
        self.pulls.restore(found)
