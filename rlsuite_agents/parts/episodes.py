"""Whole episodes of N lanes, for what learns from returns.

An episode enters one batch, the next after its end, so that short ones are not preferred. One that
runs on while the policy is changed holds the probabilities with which its actions were chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.errors import CheckpointError
from rlsuite_agents.parts.checkpoint import Checkpoint
from rlsuite_agents.parts.heads import EVERYTHING, Head
from rlsuite_agents.parts.lanes import Stepped

__all__ = ["Episodes", "WholeEpisodes"]

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class WholeEpisodes:
    """n steps of E episodes, one episode after the other."""

    features: Floats  # [n, d]
    mask: NDArray[np.bool_]  # allowed actions [n, A], or [0, 0]
    actions: NDArray[Any]  # int64 [n], or float32 [n, D]
    log_prob: Floats  # of the policies that acted, [n]
    rewards: NDArray[np.float64]  # [n]
    lengths: NDArray[np.int64]  # [E]
    truncated: NDArray[np.bool_]  # [E]
    last: Floats  # features of S_T, [E, d]; those of terminal states are 0


class Episodes:
    """Keeps steps until their episodes are over, and those until there are enough."""

    def __init__(
        self, wanted: int, lanes: int, width: int, head: Head, dtype: Any = np.float32
    ) -> None:
        """Empty.

        Args:
            wanted: episodes of a batch; those that end in the same step come on top.
            lanes: N.
            width: d, of a row of features.
            head: says what actions look like.
            dtype: of features.
        """
        self.wanted, self._n_actions = wanted, head.size
        self._width, self._dtype = width, dtype
        self._columns: dict[str, tuple[tuple[int, ...], type]] = {  # of one lane
            "features": ((width,), dtype),
            "actions": (head.action_shape, head.action_dtype),
            "log_prob": ((), np.float32),
            "rewards": ((), np.float64),
        }
        self._rows: dict[str, list[NDArray[Any]]] = {name: [] for name in self._columns}  # [N] each
        self._masks: list[NDArray[np.bool_]] = []  # [N, A] each, or [0, 0]
        self._begun = np.zeros(lanes, np.int64)  # the step with which each running episode began
        self._spans: list[tuple[int, int, int, bool]] = []  # lane, first, end, truncated: whole
        self._last: list[Floats] = []  # S_T of each

    @property
    def filled(self) -> int:
        """Steps of all lanes that are kept."""
        return len(self._masks)

    @property
    def full(self) -> bool:
        """Whether it is time to learn."""
        return len(self._spans) >= self.wanted

    def add(
        self,
        features: Floats,
        mask: NDArray[np.bool_],
        actions: NDArray[Any],
        log_prob: Floats,
        alive: NDArray[np.bool_],
    ) -> None:
        """The first half of a step: what was seen and done, in each lane."""
        self._begun[~alive] = self.filled + 1
        self._rows["features"].append(features.copy())
        self._rows["actions"].append(actions)
        self._rows["log_prob"].append(log_prob)
        self._masks.append(mask)

    def finish(self, stepped: Stepped, rewards: NDArray[np.float64], ahead: Floats) -> None:
        """The second half: what came of it. `ahead`: features of S', [N, d]."""
        self._rows["rewards"].append(rewards)
        for k in np.flatnonzero(stepped.over).tolist():
            cut = bool(stepped.truncated[k])
            self._spans.append((k, int(self._begun[k]), self.filled, cut))
            self._last.append(ahead[k].copy() if cut else np.zeros(self._width, self._dtype))
            self._begun[k] = self.filled

    def take(self) -> WholeEpisodes:
        """All whole episodes, in the order in which they ended; they are forgotten here."""
        lanes, firsts, ends, truncated = zip(*self._spans, strict=True)
        spans = list(zip(firsts, ends, lanes, strict=True))

        def joined(column: NDArray[Any]) -> NDArray[Any]:
            return np.concatenate([column[first:end, k] for first, end, k in spans])

        columns = {name: joined(np.stack(rows)) for name, rows in self._rows.items()}
        masks = self._all_masks()
        batch = WholeEpisodes(
            mask=joined(masks) if len(masks) else EVERYTHING,
            lengths=np.subtract(ends, firsts),
            truncated=np.array(truncated),
            last=np.stack(self._last),
            **columns,
        )
        self._forget()
        return batch

    def _all_masks(self) -> NDArray[np.bool_]:
        """[T, N, A], or [0, 0, 0] where no step had a mask."""
        if not any(len(mask) for mask in self._masks):
            return np.zeros((0, 0, 0), np.bool_)
        free = np.ones((len(self._begun), self._n_actions), np.bool_)
        return np.stack([mask if len(mask) else free for mask in self._masks])

    def _forget(self) -> None:
        """Keeps what running episodes need, no more."""
        first = int(self._begun.min())
        for rows in (*self._rows.values(), self._masks):
            del rows[:first]
        self._begun -= first
        self._spans, self._last = [], []

    def arrays(self) -> dict[str, NDArray[Any]]:
        """For a checkpoint."""
        steps = (self.filled, len(self._begun))
        found: dict[str, NDArray[Any]] = {
            name: np.array(self._rows[name], dtype).reshape(*steps, *shape)
            for name, (shape, dtype) in self._columns.items()
        }
        found["masks"], found["begun"] = self._all_masks(), self._begun
        found["spans"] = np.array(self._spans, np.int64).reshape(-1, 4)
        found["last"] = np.array(self._last, self._dtype).reshape(-1, self._width)
        return {f"kept.{name}": array for name, array in found.items()}

    def restore(self, found: Checkpoint, filled: int) -> None:
        """Goes on from `arrays` with so many steps; raises `CheckpointError` where they misfit."""
        lanes = len(self._begun)
        for name, (shape, dtype) in self._columns.items():
            self._rows[name] = list(found.array(f"kept.{name}", (filled, lanes, *shape), dtype))
        masks = found.arrays["kept.masks"]
        self._masks = list(masks) if len(masks) else [EVERYTHING] * filled
        self._begun = found.array("kept.begun", (lanes,), np.int64)
        spans = found.arrays["kept.spans"]
        self._last = list(found.array("kept.last", (len(spans), self._width), self._dtype))
        if not (0 <= spans).all() or (spans >= (lanes, filled, filled + 1, 2)).any():
            raise CheckpointError(f"{found.path}: its episodes lie outside of its steps.")
        self._spans = [(k, first, end, bool(cut)) for k, first, end, cut in spans.tolist()]
