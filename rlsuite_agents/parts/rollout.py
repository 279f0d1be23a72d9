"""T steps of N lanes, collected by one policy, and what is to be learned from them.

A terminal state has no value; a time limit is no terminal state, so the target goes on there with
the value of the last observation, and λ is 0, so that nothing of the next episode leaks in.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlsuite_agents.functional.returns import generalized_advantages
from rlsuite_agents.parts.actor_critic import Experience
from rlsuite_agents.parts.checkpoint import Checkpoint
from rlsuite_agents.parts.heads import EVERYTHING, Head
from rlsuite_agents.parts.lanes import Stepped

__all__ = ["EpisodeTotals", "Rollout"]

Floats = NDArray[np.float32]
RECENT = 100
"""Episodes of which means are told."""


class Rollout:
    """Arrays [T, N, ...] that fill up step by step."""

    def __init__(
        self, steps: int, lanes: int, width: int, head: Head, dtype: Any = np.float32
    ) -> None:
        """Empty.

        Args:
            steps: T.
            lanes: N.
            width: d, of a row of features.
            head: says what actions look like.
            dtype: of features.
        """
        shape = (steps, lanes)
        self.filled, self.shape = 0, shape
        self.features: NDArray[Any] = np.zeros((*shape, width), dtype)
        self.ahead: NDArray[Any] = np.zeros((lanes, width), dtype)  # S' of the latest step
        self.actions: NDArray[Any] = np.zeros((*shape, *head.action_shape), head.action_dtype)
        self.log_prob = np.zeros(shape, np.float32)
        self.rewards = np.zeros(shape)
        self.terminated, self.truncated, self.alive = (np.zeros(shape, np.bool_) for _ in "xyz")
        self.masks: NDArray[np.bool_] = EVERYTHING  # [T, N, A] from the first mask on
        self.last: dict[tuple[int, int], Floats] = {}  # (t, lane): S' where an episode was cut off
        self._n_actions = head.size

    @property
    def full(self) -> bool:
        """Whether it is time to learn."""
        return self.filled == self.shape[0]

    def add(
        self,
        features: Floats,
        mask: NDArray[np.bool_],
        actions: NDArray[Any],
        log_prob: Floats,
        alive: NDArray[np.bool_],
    ) -> None:
        """The first half of a step: what was seen and done, in each lane."""
        t = self.filled
        self.features[t], self.actions[t], self.log_prob[t] = features, actions, log_prob
        self.alive[t] = alive
        if len(mask) and not len(self.masks):
            self.masks = np.ones((*self.shape, self._n_actions), np.bool_)
        if len(self.masks):
            self.masks[t] = mask if len(mask) else True

    def finish(self, stepped: Stepped, rewards: NDArray[np.float64], ahead: Floats) -> None:
        """The second half: what came of it. `ahead`: features of S', [N, d]."""
        t = self.filled
        self.rewards[t] = rewards
        self.terminated[t], self.truncated[t] = stepped.terminated, stepped.truncated
        for k in np.flatnonzero(stepped.truncated).tolist():
            self.last[t, k] = ahead[k].copy()
        self.ahead[:] = ahead
        self.filled = t + 1

    def experience(
        self,
        values_of: Callable[[Any], Floats],
        gamma: float,
        gae_lambda: float,
        place: Callable[[Any], Any] = lambda array: array,
    ) -> Experience:
        """Advantages and returns of a full rollout; afterwards it is empty again.

        Args:
            values_of: v̂ of rows of features, [..., d] to [...].
            gamma: γ.
            gae_lambda: λ of the generalised advantages.
            place: puts the features where `values_of` and the gradients want them.
        """
        features = place(self.features)
        values = values_of(features)
        v_next = np.concatenate([values[1:], values_of(self.ahead)[None]])
        if self.last:
            found = values_of(np.stack(list(self.last.values())))
            for (t, k), value in zip(self.last, found, strict=True):
                v_next[t, k] = value
        advantages = generalized_advantages(
            self.rewards,
            gamma * ~self.terminated,
            values,
            v_next,
            gae_lambda * ~(self.terminated | self.truncated),
        )
        self.filled, self.last = 0, {}
        keep = self.alive.reshape(-1)
        e = Experience(
            features.reshape(-1, features.shape[-1]),
            self.masks.reshape(-1, self.masks.shape[-1]) if len(self.masks) else EVERYTHING,
            self.actions.reshape(-1, *self.actions.shape[2:]),
            self.log_prob.reshape(-1),
            values.reshape(-1),
            advantages.reshape(-1).astype(np.float32),
            (advantages + values).reshape(-1).astype(np.float32),
        )
        return e if keep.all() else e.rows(keep)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The part that is filled, for a checkpoint."""
        n = self.filled
        keys = np.array(list(self.last), np.int64).reshape(-1, 2)
        width = self.features.shape[-1]
        finals = np.array(list(self.last.values()), self.ahead.dtype).reshape(len(keys), width)
        found = {name: getattr(self, name)[:n] for name in COLUMNS}
        found["masks"] = self.masks[:n] if len(self.masks) else np.zeros((0, 0, 0), np.bool_)
        found |= {"ahead": self.ahead, "last.keys": keys, "last.features": finals}
        return {f"rollout.{name}": array for name, array in found.items()}

    def restore(self, found: Checkpoint, filled: int) -> None:
        """Goes on from `arrays` with so many steps; raises `CheckpointError` where they misfit."""
        self.filled = filled
        for name in COLUMNS:
            column = getattr(self, name)
            shape = (filled, *column.shape[1:])
            column[:filled] = found.array(f"rollout.{name}", shape, column.dtype)
        self.ahead[:] = found.array("rollout.ahead", self.ahead.shape, self.ahead.dtype)
        masks = found.arrays["rollout.masks"]
        if masks.shape[-1]:
            self.masks = np.ones((*self.shape, self._n_actions), np.bool_)
            self.masks[:filled] = masks
        keys = found.arrays["rollout.last.keys"].tolist()
        width = self.features.shape[-1]
        finals = found.array("rollout.last.features", (len(keys), width), self.ahead.dtype)
        self.last = {(t, k): row for (t, k), row in zip(keys, finals, strict=True)}


COLUMNS = (
    *("features", "actions", "log_prob", "rewards"),
    *("terminated", "truncated", "alive"),
)


class EpisodeTotals:
    """Undiscounted returns and lengths of episodes, as the environment pays them.

    Attributes:
        count: episodes that have ended.
        recent: (return, length) of the latest 100 of them.
    """

    def __init__(self, lanes: int) -> None:
        self.returns, self.lengths = np.zeros(lanes), np.zeros(lanes, np.int64)  # of the running
        self.count, self.recent = 0, deque[tuple[float, int]](maxlen=RECENT)

    def add(self, stepped: Stepped, alive: NDArray[np.bool_]) -> None:
        """One step of every lane that is alive."""
        self.returns += stepped.rewards * alive
        self.lengths += alive
        for k in np.flatnonzero(stepped.over).tolist():
            self.recent.append((float(self.returns[k]), int(self.lengths[k])))
            self.returns[k], self.lengths[k] = 0.0, 0
            self.count += 1

    def means(self) -> tuple[float, float]:
        """Mean return and mean length of the recent episodes; NaN where there is none."""
        if not self.recent:
            return math.nan, math.nan
        returns, lengths = zip(*self.recent, strict=True)
        return statistics.fmean(returns), statistics.fmean(lengths)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """For a checkpoint."""
        return {
            "episodes.returns": self.returns,
            "episodes.lengths": self.lengths,
            "episodes.count": np.array(self.count, np.int64),
            "episodes.recent": np.array(self.recent, np.float64).reshape(-1, 2),
        }

    def restore(self, found: Checkpoint) -> None:
        """Goes on from `arrays`; raises `CheckpointError` where they do not fit."""
        self.returns = found.array("episodes.returns", self.returns.shape)
        self.lengths = found.array("episodes.lengths", self.lengths.shape, np.int64)
        self.count = int(found.array("episodes.count", (), np.int64))
        rows = found.array("episodes.recent", (min(self.count, RECENT), 2)).tolist()
        self.recent.extend((total, int(length)) for total, length in rows)
