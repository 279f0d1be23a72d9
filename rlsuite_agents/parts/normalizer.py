"""Observations and rewards brought to a scale that networks like, by what has been met so far.

As in Stable-Baselines3's `VecNormalize` (Huang et al. 2022, continuous 6 to 9): observations are
centred and divided by their standard deviation, rewards only divided, by the standard deviation of
the discounted return; both are clipped.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlsuite_agents.parts.checkpoint import Checkpoint

__all__ = ["Moments", "ObservationNormalizer", "RewardNormalizer"]

EPS = 1e-8
CLIP = 10.0


class Moments:
    """Mean and variance of all rows so far (Chan, Golub & LeVeque 1979, eq. 2.1)."""

    def __init__(self, size: int) -> None:
        self.count = 0.0
        self.mean, self.variance = np.zeros(size), np.ones(size)

    def update(self, rows: NDArray[Any]) -> None:
        """Counts rows [B, size]; none change nothing."""
        n = len(rows)
        if n == 0:
            return
        mean, variance, total = rows.mean(axis=0), rows.var(axis=0), self.count + n
        apart = mean - self.mean
        before = self.variance * self.count if self.count else 0.0
        squares = before + variance * n + apart**2 * (self.count * n / total)
        self.mean = self.mean + apart * (n / total)
        self.variance, self.count = squares / total, total

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """For a checkpoint."""
        return {
            f"{name}.mean": self.mean,
            f"{name}.variance": self.variance,
            f"{name}.count": np.array(self.count),
        }

    def restore(self, found: Checkpoint, name: str) -> None:
        """Goes on from `arrays`; raises `CheckpointError` where they do not fit."""
        self.mean = found.array(f"{name}.mean", self.mean.shape)
        self.variance = found.array(f"{name}.variance", self.variance.shape)
        self.count = float(found.array(f"{name}.count", ()))


class ObservationNormalizer:
    """(x - mean) / std, clipped to ±10."""

    def __init__(self, size: int) -> None:
        self.moments = Moments(size)

    def update(self, rows: NDArray[np.float32]) -> None:
        """Counts rows of features [B, size]."""
        self.moments.update(rows.astype(np.float64))

    def __call__(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Normalised rows [..., size], by what has been counted; a new array."""
        m = self.moments
        scaled = (rows - m.mean) / np.sqrt(m.variance + EPS)
        return np.clip(scaled, -CLIP, CLIP).astype(np.float32)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """For a checkpoint."""
        return self.moments.arrays("observations")

    def restore(self, found: Checkpoint) -> None:
        """Goes on from `arrays`; raises `CheckpointError` where they do not fit."""
        self.moments.restore(found, "observations")


class RewardNormalizer:
    """r / std(G), clipped to ±10, where G = γ G + r runs along each of N lanes."""

    def __init__(self, lanes: int, gamma: float) -> None:
        self.gamma, self.moments = gamma, Moments(1)
        self.running = np.zeros(lanes)

    def __call__(
        self,
        rewards: NDArray[np.float64],
        over: NDArray[np.bool_],
        alive: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """Counts rewards [N] of the lanes that are alive, and scales them all."""
        self.running = np.where(alive, self.gamma * self.running + rewards, self.running)
        self.moments.update(self.running[alive, None])
        self.running[over] = 0.0
        return np.clip(rewards / np.sqrt(self.moments.variance[0] + EPS), -CLIP, CLIP)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """For a checkpoint."""
        return {**self.moments.arrays("rewards"), "rewards.running": self.running}

    def restore(self, found: Checkpoint) -> None:
        """Goes on from `arrays`; raises `CheckpointError` where they do not fit."""
        self.moments.restore(found, "rewards")
        self.running = found.array("rewards.running", self.running.shape)
