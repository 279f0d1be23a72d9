"""Replay: transitions in a ring of plain arrays, drawn evenly or in proportion to their error.

A transition spans up to n steps of one episode: R_1 + γ R_2 + ... and the state that follows the
last of them. Where the episode ends sooner it spans fewer. Its discount is γ to that number, and 0
only after a terminal state: at a time limit the target goes on with the last observation.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.errors import CheckpointError
from rlsuite_agents.functional.sum_tree import draw_leaves, empty_tree, set_leaves
from rlsuite_agents.functional.value_based import importance_weights
from rlsuite_agents.parts.checkpoint import Checkpoint
from rlsuite_agents.parts.compiled import kept
from rlsuite_agents.parts.heads import EVERYTHING
from rlsuite_agents.parts.lanes import Stepped

__all__ = ["Batch", "Replay"]

Floats = NDArray[np.float32]
LEAST = 1e-6
"""Added to every error, so that each transition may be drawn."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """B transitions."""

    rows: NDArray[np.int64]  # where they lie, [B]
    features: Floats  # of S, [B, d]
    actions: NDArray[np.int64]  # [B]
    rewards: Floats  # discounted sums, [B]
    discounts: Floats  # of what follows, [B]
    ahead: Floats  # features of the state that follows, [B, d]
    mask: NDArray[np.bool_]  # allowed there, [B, A], or [0, 0]
    weights: Floats  # of each in the loss, [B]


class Replay:
    """The latest `capacity` transitions, in the order in which they were completed.

    Attributes:
        added: transitions stored so far; those beyond `capacity` have replaced the oldest.
    """

    def __init__(
        self,
        capacity: int,
        width: int,
        n_actions: int,
        *,
        lanes: int = 1,
        n_steps: int = 1,
        gamma: float,
        alpha: float | None = None,
    ) -> None:
        """Empty.

        Args:
            capacity: at least 1.
            width: d, of a row of features.
            n_actions: A.
            lanes: episodes that run side by side.
            n_steps: n.
            gamma: γ.
            alpha: α of P ∝ (|δ| + 1e-6)^α (Schaul et al. 2016, eq. 1); None draws evenly.
        """
        self.capacity, self.n_steps, self.gamma, self.alpha = capacity, n_steps, gamma, alpha
        self.added = 0
        self.features, self.ahead = (np.zeros((capacity, width), np.float32) for _ in "xy")
        self.actions = np.zeros(capacity, np.int64)
        self.rewards, self.discounts = (np.zeros(capacity, np.float32) for _ in "xy")
        self.masks: NDArray[np.bool_] = EVERYTHING  # [capacity, A] from the first mask on
        self.tree = empty_tree(capacity if alpha is not None else 1)
        self.highest = 1.0  # weight of what is new: the largest so far (Schaul, algorithm 1)
        self._n_actions = n_actions
        # of each lane, oldest first: features, action, return so far, its discount
        self._open: list[deque[list[Any]]] = [deque() for _ in range(lanes)]

    def __len__(self) -> int:
        return min(self.added, self.capacity)

    def add(
        self,
        features: Floats,
        actions: NDArray[np.int64],
        stepped: Stepped,
        mask: NDArray[np.bool_],
        alive: NDArray[np.bool_],
    ) -> None:
        """One step of every lane that is alive.

        Args:
            features: of S, [N, d].
            actions: [N].
            stepped: what came of them.
            mask: allowed in S', [N, A], or [0, 0].
            alive: [N].
        """
        for k in np.flatnonzero(alive).tolist():
            running, reward, over = self._open[k], stepped.rewards[k], stepped.over[k]
            running.append([features[k].copy(), actions[k], 0.0, 1.0])
            for part in running:
                part[2] += part[3] * reward
                part[3] *= self.gamma
            while running and (over or len(running) == self.n_steps):
                seen, action, total, discount = running.popleft()
                i = self.added % self.capacity
                self.features[i], self.actions[i], self.rewards[i] = seen, action, total
                self.discounts[i] = 0.0 if stepped.terminated[k] else discount
                self.ahead[i] = stepped.features[k]
                self._put_mask(i, mask[k] if len(mask) else None)
                if self.alpha is not None:
                    kept(set_leaves)(self.tree, np.array([i]), np.array([self.highest]))
                self.added += 1

    def draw(self, size: int, rng: np.random.Generator, beta: float = 0.0) -> Batch:
        """`size` transitions, with replacement.

        Args:
            size: B.
            rng: draws them.
            beta: β of the weights that make up for uneven drawing; see `importance_weights`.
        """
        if self.alpha is None:
            rows, weights = rng.integers(len(self), size=size), np.ones(size, np.float32)
        else:
            rows = np.empty(size, np.int64)
            kept(draw_leaves)(self.tree, rng.random(size), rows)
            shares = self.tree[len(self.tree) // 2 + rows] / self.tree[1]
            weights = importance_weights(shares, len(self), beta)
        return Batch(
            rows,
            self.features.take(rows, axis=0),
            self.actions.take(rows),
            self.rewards.take(rows),
            self.discounts.take(rows),
            self.ahead.take(rows, axis=0),
            self.masks.take(rows, axis=0) if len(self.masks) else EVERYTHING,
            weights,
        )

    def learned(self, rows: NDArray[np.int64], errors: Floats) -> None:
        """Tells the errors |δ| [B] of the rows [B]; they decide how often each is drawn again."""
        if self.alpha is not None:
            weights = (errors.astype(np.float64) + LEAST) ** self.alpha
            self.highest = max(self.highest, float(weights.max()))
            kept(set_leaves)(self.tree, rows, weights)

    def _put_mask(self, i: int, mask: NDArray[np.bool_] | None) -> None:
        if mask is not None and not len(self.masks):
            self.masks = np.ones((self.capacity, self._n_actions), np.bool_)
        if len(self.masks):
            self.masks[i] = True if mask is None else mask

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What is stored and what is still open, for a checkpoint."""
        n = len(self)
        parts = [(k, *part) for k, running in enumerate(self._open) for part in running]
        lane, seen, actions, totals, discounts = zip(*parts, strict=True) if parts else [()] * 5
        half = len(self.tree) // 2
        found = {name: getattr(self, name)[:n] for name in COLUMNS}
        found |= {
            "added": np.array(self.added, np.int64),
            "masks": self.masks[:n],
            "weights": self.tree[half : half + (0 if self.alpha is None else n)],
            "highest": np.array(self.highest),
            "open.lanes": np.array(lane, np.int64),
            "open.features": np.array(seen, np.float32).reshape(-1, self.features.shape[1]),
            "open.actions": np.array(actions, np.int64),
            "open.returns": np.array([totals, discounts], np.float64),
        }
        return {f"replay.{name}": array for name, array in found.items()}

    def restore(self, found: Checkpoint) -> None:
        """Goes on from `arrays`; raises `CheckpointError` where they do not fit."""
        self.added = int(found.array("replay.added", (), np.int64))
        n, width = len(self), self.features.shape[1]
        for name in COLUMNS:
            column = getattr(self, name)
            column[:n] = found.array(f"replay.{name}", (n, *column.shape[1:]), column.dtype)
        self.actions[:n] = _indices(found, "actions", n, self._n_actions)
        if found.arrays["replay.masks"].size:
            self.masks = np.ones((self.capacity, self._n_actions), np.bool_)
            self.masks[:n] = found.array("replay.masks", (n, self._n_actions), np.bool_)
        if self.alpha is not None:
            self.highest = float(found.array("replay.highest", ()))
            kept(set_leaves)(self.tree, np.arange(n), found.array("replay.weights", (n,)))
        m = len(found.arrays["replay.open.lanes"])
        lanes = _indices(found, "open.lanes", m, len(self._open)).tolist()
        columns = (
            found.array("replay.open.features", (m, width), np.float32),
            _indices(found, "open.actions", m, self._n_actions),
            *found.array("replay.open.returns", (2, m)).tolist(),
        )
        for k, *part in zip(lanes, *columns, strict=True):
            self._open[k].append(part)


def _indices(found: Checkpoint, name: str, n: int, bound: int) -> NDArray[np.int64]:
    """Indices [n], checked: compiled loops do not."""
    indices = found.array(f"replay.{name}", (n,), np.int64)
    if ((indices < 0) | (indices >= bound)).any():
        raise CheckpointError(
            f"{found.path}: the array 'replay.{name}' should hold numbers in [0, {bound})."
        )
    return indices


COLUMNS = ("features", "actions", "rewards", "discounts", "ahead")
