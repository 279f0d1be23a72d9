"""Observations as rows of numbers: what a fully connected network reads.

`Discrete` and each cell of `MultiDiscrete` become one-hot, `MultiBinary` and `Box` are flattened,
`Dict` is the concatenation of its entries in the order of their keys. Images remain bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from registry.errors import InvalidObservationError, UnsupportedSpaceError
from rlsuite_agents.parts.images import image_of

__all__ = ["Encoder"]


@dataclass(frozen=True, slots=True)
class Leaf:
    """One space that holds no others.

    `path`: the keys that lead to it. `shape`: of one observation. `counts`, `starts`: how many
    values each cell takes and which is the first; None where the numbers are read as they are.
    """

    path: tuple[str, ...]
    shape: tuple[int, ...]
    counts: tuple[int, ...] | None = None
    starts: tuple[int, ...] | None = None

    @property
    def size(self) -> int:
        """Numbers in the row."""
        return int(np.prod(self.shape)) if self.counts is None else sum(self.counts)


class Encoder:
    """Turns observations of one space into float32 rows of length `size`.

    Attributes:
        image: the layout of the observations, where they are images and wanted as such: rows are
            uint8 then; else None.
        dtype: of the rows.
    """

    def __init__(self, space: gym.Space[Any], *, images: bool = False) -> None:
        """Reads the space.

        Args:
            space: of one observation.
            images: whether the network behind reads images; if not, they are rows as all others.

        Raises:
            UnsupportedSpaceError: it is or holds a space of another kind, has no numbers in it, or
                is an image of which `image_of` cannot tell the channels.
        """
        self.image = image_of(space) if images else None
        self.dtype: Any = np.float32 if self.image is None else np.uint8
        self.leaves = leaves = _leaves(space, ())
        self.size = sum(leaf.size for leaf in leaves)
        if not self.size:
            raise UnsupportedSpaceError(f"there are no numbers to learn from in {space}.")
        # One scatter for the one-hot cells of all leaves, one copy for each of the other leaves.
        self._plain: list[tuple[int, int, int]] = []  # leaf, first column, end
        self._hot: list[int] = []  # leaves
        first, counts, starts = [], [], []
        offset = 0
        for i, leaf in enumerate(leaves):
            if leaf.counts is None or leaf.starts is None:
                self._plain.append((i, offset, offset + leaf.size))
                offset += leaf.size
                continue
            self._hot.append(i)
            for count, start in zip(leaf.counts, leaf.starts, strict=True):
                first.append(offset)
                counts.append(count)
                starts.append(start)
                offset += count
        self._first = np.array(first, dtype=np.int64)
        self._counts = np.array(counts, dtype=np.int64)
        self._starts = np.array(starts, dtype=np.int64)

    def one(self, observation: Any) -> NDArray[Any]:
        """The row [size] of one observation.

        Raises:
            InvalidObservationError: a missing entry, a wrong shape, a value outside its range, or
                one that is not finite.
        """
        rows, single = self.rows(observation)
        if not single:
            raise InvalidObservationError("one observation was expected, got a batch of them.")
        return rows[0]

    def into(self, observation: Any, row: NDArray[Any]) -> None:
        """Writes `one(observation)` to `row` [size].

        Where all of the space is one `Box`, whoever collects rows checks them for NaN at once.

        Raises:
            InvalidObservationError: as `one`.
        """
        if len(self.leaves) > 1 or self._hot:
            row[:] = self.one(observation)
            return
        value = np.asarray(observation)
        fits = value.dtype == np.uint8 if self.image else value.dtype.kind in "iufb"
        if value.shape != self.leaves[0].shape or not fits:
            value = self.one(observation)  # says what is wrong
        row[:] = value if value.ndim == 1 else value.reshape(-1)

    def rows(self, observation: Any) -> tuple[NDArray[Any], bool]:
        """Rows [B, size] of one observation or a batch, and whether it was a single one.

        Raises:
            InvalidObservationError: as `one`, or entries of different batch sizes.
        """
        values = [_find(observation, leaf) for leaf in self.leaves]
        single = values[0].ndim == len(self.leaves[0].shape)
        n = 1 if single or not values[0].ndim else len(values[0])
        for leaf, value in zip(self.leaves, values, strict=True):
            if value.shape != (leaf.shape if single else (n, *leaf.shape)):
                raise InvalidObservationError(
                    f"{_name(leaf)} must have shape {leaf.shape}, with a leading axis where it is "
                    f"a batch; got shape {value.shape}."
                )
        if self.image is not None and values[0].dtype != np.uint8:
            raise InvalidObservationError(
                f"an image consists of bytes, uint8 from 0 to 255; got {values[0].dtype}."
            )
        rows = np.zeros((n, self.size), dtype=self.dtype)
        if self._hot:
            cells = [values[i].reshape(n, -1) for i in self._hot]
            joined = cells[0] if len(cells) == 1 else np.concatenate(cells, axis=1)
            cell = joined.astype(np.int64, copy=False) - self._starts
            if ((cell < 0) | (cell >= self._counts)).any():
                raise InvalidObservationError(
                    f"a value is outside its range in the observation {observation!r:.200}."
                )
            rows[np.arange(n)[:, None], cell + self._first] = 1.0
        for i, low, high in self._plain:
            rows[:, low:high] = values[i].reshape(n, -1)
        if self._plain and not np.isfinite(rows).all():
            raise InvalidObservationError(
                f"the observation holds NaN or infinity: {observation!r:.200}."
            )
        return rows, single


def _leaves(space: gym.Space[Any], path: tuple[str, ...]) -> tuple[Leaf, ...]:
    if isinstance(space, spaces.Dict) and len(space.spaces):
        parts = (_leaves(inner, (*path, str(key))) for key, inner in space.spaces.items())
        return tuple(leaf for part in parts for leaf in part)
    if isinstance(space, spaces.Discrete):
        return (Leaf(path, (), (int(space.n),), (int(space.start),)),)
    if isinstance(space, spaces.MultiDiscrete):
        counts, starts = space.nvec.ravel().tolist(), space.start.ravel().tolist()
        return (Leaf(path, tuple(space.nvec.shape), tuple(counts), tuple(starts)),)
    if isinstance(space, spaces.Box | spaces.MultiBinary):
        return (Leaf(path, tuple(space.shape)),)
    raise UnsupportedSpaceError(
        "networks read observations of Discrete, MultiDiscrete, MultiBinary, Box and Dict spaces, "
        f"got {space}; wrap the environment, for example in "
        "gymnasium.wrappers.FlattenObservation."
    )


def _find(observation: Any, leaf: Leaf) -> NDArray[Any]:
    if isinstance(observation, tuple):
        raise InvalidObservationError(
            "the observation is a tuple; did you pass the whole answer of env.reset(), which is "
            "(observation, info)?"
        )
    for key in leaf.path:
        if not isinstance(observation, Mapping) or key not in observation:
            raise InvalidObservationError(f"the observation has no entry {key!r}.")
        observation = observation[key]
    value = np.asarray(observation)
    if leaf.counts is not None and value.dtype.kind not in "iu":
        raise InvalidObservationError(
            f"{_name(leaf)} must be whole numbers, got {observation!r:.200}."
        )
    if value.dtype.kind not in "iufb":
        raise InvalidObservationError(f"{_name(leaf)} must be numbers, got {observation!r:.200}.")
    return value


def _name(leaf: Leaf) -> str:
    return f"the observation's entry {'/'.join(leaf.path)!r}" if leaf.path else "the observation"
