"""Replay: transitions in a ring of plain arrays, drawn evenly or in proportion to their error.

A transition spans up to n steps of one episode: R_1 + γ R_2 + ... and the state that follows the
last of them. Where the episode ends sooner it spans fewer. Its discount is γ to that number, and 0
only after a terminal state: at a time limit the target goes on with the last observation.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.errors import CheckpointError, SettingError
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
    """B transitions; arrays, or tensors that lie where they are needed."""

    rows: NDArray[np.int64]  # where they lie, [B]
    features: Any  # of S, float32 or, of images, uint8 [B, d]
    actions: NDArray[Any]  # int64 [B], or float32 [B, D]
    rewards: Floats  # discounted sums, [B]
    discounts: Floats  # of what follows, [B]
    ahead: Any  # features of the state that follows, [B, d]
    mask: NDArray[np.bool_]  # allowed there, [B, A], or [0, 0]
    weights: Floats  # of each in the loss, [B]
    mask_here: NDArray[np.bool_] = field(default_factory=lambda: EVERYTHING)  # allowed in S, alike

    def placed(self, place: Callable[[Any], Any]) -> Batch:
        """The same with each column put elsewhere, but for `rows`."""
        return Batch(self.rows, *(place(getattr(self, name)) for name in self.__slots__[1:]))


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
        continuous: bool = False,
        dtype: Any = np.float32,
        lanes: int = 1,
        n_steps: int = 1,
        gamma: float,
        alpha: float | None = None,
    ) -> None:
        """Empty.

        Args:
            capacity: at least 1.
            width: d, of a row of features.
            n_actions: A, or D of continuous actions.
            continuous: whether actions are D numbers instead of one of A.
            dtype: of features.
            lanes: episodes that run side by side.
            n_steps: n.
            gamma: γ.
            alpha: α of P ∝ (|δ| + 1e-6)^α (Schaul et al. 2016, eq. 1); None draws evenly.

        Raises:
            SettingError: there is not so much memory.
        """
        self.capacity, self.n_steps, self.gamma, self.alpha = capacity, n_steps, gamma, alpha
        self.added = 0
        try:
            self.features, self.ahead = (np.zeros((capacity, width), dtype) for _ in "xy")
            self.actions: NDArray[Any] = np.zeros(capacity, np.int64)
            if continuous:
                self.actions = np.zeros((capacity, n_actions), np.float32)
            self.rewards, self.discounts = (np.zeros(capacity, np.float32) for _ in "xy")
            self.tree = empty_tree(capacity if alpha is not None else 1)
        except (MemoryError, ValueError) as error:  # ValueError: NumPy cannot count so far
            gigabytes = 2e-9 * capacity * width * np.dtype(dtype).itemsize
            raise SettingError(
                f"buffer_size is {capacity}: so many observations of {width} numbers, and those "
                f"that follow them, take {gigabytes:,.0f} GB, and there is not so much memory. "
                "Lower buffer_size."
            ) from error
        # allowed in S' and in S: [capacity, A] from the first mask on
        self.masks: NDArray[np.bool_] = EVERYTHING
        self.masks_here: NDArray[np.bool_] = EVERYTHING
        self.highest = 1.0  # weight of what is new: the largest so far (Schaul, algorithm 1)
        self._n_actions = n_actions
        # of each lane, oldest first: features, action, mask or True, return so far, its discount
        self._open: list[deque[list[Any]]] = [deque() for _ in range(lanes)]

    def __len__(self) -> int:
        return min(self.added, self.capacity)

    def add(
        self,
        features: Floats,
        actions: NDArray[Any],
        stepped: Stepped,
        mask: NDArray[np.bool_],
        alive: NDArray[np.bool_],
        mask_here: NDArray[np.bool_] = EVERYTHING,
    ) -> None:
        """One step of every lane that is alive.

        Args:
            features: of S, [N, d].
            actions: [N], or [N, D].
            stepped: what came of them.
            mask: allowed in S', [N, A], or [0, 0].
            alive: [N].
            mask_here: allowed in S, [N, A], or [0, 0]: needed only by who asks for it of a batch.
        """
        self.masks = self._masks(self.masks, mask)
        self.masks_here = self._masks(self.masks_here, mask_here)
        for k in np.flatnonzero(alive).tolist():
            running, reward, over = self._open[k], stepped.rewards[k], stepped.over[k]
            here = mask_here[k].copy() if len(mask_here) else True
            running.append([features[k].copy(), actions[k], here, 0.0, 1.0])
            for part in running:
                part[3] += part[4] * reward
                part[4] *= self.gamma
            while running and (over or len(running) == self.n_steps):
                seen, action, here, total, discount = running.popleft()
                i = self.added % self.capacity
                self.features[i], self.actions[i], self.rewards[i] = seen, action, total
                self.discounts[i] = 0.0 if stepped.terminated[k] else discount
                self.ahead[i] = stepped.features[k]
                if len(self.masks):
                    self.masks[i] = mask[k] if len(mask) else True
                if len(self.masks_here):
                    self.masks_here[i] = here
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
            self.actions.take(rows, axis=0),
            self.rewards.take(rows),
            self.discounts.take(rows),
            self.ahead.take(rows, axis=0),
            self.masks.take(rows, axis=0) if len(self.masks) else EVERYTHING,
            weights,
            self.masks_here.take(rows, axis=0) if len(self.masks_here) else EVERYTHING,
        )

    def learned(self, rows: NDArray[np.int64], errors: Floats) -> None:
        """Tells the errors |δ| [B] of the rows [B]; they decide how often each is drawn again."""
        if self.alpha is not None:
            weights = (errors.astype(np.float64) + LEAST) ** self.alpha
            self.highest = max(self.highest, float(weights.max()))
            kept(set_leaves)(self.tree, rows, weights)

    def _masks(self, masks: NDArray[np.bool_], mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """`masks`, made when the first mask comes."""
        if len(mask) and not len(masks):
            return np.ones((self.capacity, self._n_actions), np.bool_)
        return masks

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What is stored and what is still open, for a checkpoint."""
        n = len(self)
        parts = [(k, *part) for k, running in enumerate(self._open) for part in running]
        lane, seen, actions, here, *returns = zip(*parts, strict=True) if parts else [()] * 6
        half, like, free = len(self.tree) // 2, self.actions, np.ones(self._n_actions, np.bool_)
        found = {name: getattr(self, name)[:n] for name in COLUMNS}
        found |= {
            "added": np.array(self.added, np.int64),
            "masks": self.masks[:n],
            "masks_here": self.masks_here[:n],
            "weights": self.tree[half : half + (0 if self.alpha is None else n)],
            "highest": np.array(self.highest),
            "open.lanes": np.array(lane, np.int64),
            "open.features": np.array(seen, self.features.dtype).reshape(
                -1, self.features.shape[1]
            ),
            "open.actions": np.array(actions, like.dtype).reshape(-1, *like.shape[1:]),
            "open.masks": np.array([free & row for row in here], np.bool_).reshape(-1, len(free)),
            "open.returns": np.array(returns, np.float64),
        }
        return {f"replay.{name}": array for name, array in found.items()}

    def restore(self, found: Checkpoint) -> None:
        """Goes on from `arrays`; raises `CheckpointError` where they do not fit."""
        self.added = int(found.array("replay.added", (), np.int64))
        n, width, a = len(self), self.features.shape[1], self._n_actions
        for name in ("features", "rewards", "discounts", "ahead"):
            column = getattr(self, name)
            column[:n] = found.array(f"replay.{name}", (n, *column.shape[1:]), column.dtype)
        self.actions[:n] = self._found_actions(found, "actions", n)
        for name in ("masks", "masks_here"):
            if found.arrays[f"replay.{name}"].size:
                masks = found.array(f"replay.{name}", (n, a), np.bool_)
                setattr(self, name, self._masks(EVERYTHING, masks))
                getattr(self, name)[:n] = masks
        if self.alpha is not None:
            self.highest = float(found.array("replay.highest", ()))
            kept(set_leaves)(self.tree, np.arange(n), found.array("replay.weights", (n,)))
        m = len(found.arrays["replay.open.lanes"])
        lanes = _indices(found, "open.lanes", m, len(self._open)).tolist()
        columns = (
            found.array("replay.open.features", (m, width), self.features.dtype),
            self._found_actions(found, "open.actions", m),
            found.array("replay.open.masks", (m, a), np.bool_),
            *found.array("replay.open.returns", (2, m)).tolist(),
        )
        for k, *part in zip(lanes, *columns, strict=True):
            self._open[k].append(part)

    def _found_actions(self, found: Checkpoint, name: str, n: int) -> NDArray[Any]:
        """Actions [n] or [n, D]."""
        if self.actions.ndim == 1:
            return _indices(found, name, n, self._n_actions)
        return found.array(f"replay.{name}", (n, self._n_actions), np.float32)


def _indices(found: Checkpoint, name: str, n: int, bound: int) -> NDArray[np.int64]:
    """Indices [n], checked: compiled loops do not."""
    indices = found.array(f"replay.{name}", (n,), np.int64)
    if ((indices < 0) | (indices >= bound)).any():
        raise CheckpointError(
            f"{found.path}: the array 'replay.{name}' should hold numbers in [0, {bound})."
        )
    return indices


COLUMNS = ("features", "actions", "rewards", "discounts", "ahead")
