"""Random streams that never meet: one root seed, one stream per purpose, one number per member.

`SeedSequence(root, spawn_key=(stream, k))` is used instead of `spawn()`, which counts and would
make results depend on the order of the calls.
"""

from __future__ import annotations

import enum

import numpy as np

from registry.errors import SettingError

__all__ = ["Stream", "check_seed", "generator", "integer_seed", "sequence"]


class Stream(enum.IntEnum):
    """What a stream is for. The numbers are part of every stored result: never renumber."""

    AGENT = 0  # exploration, initial weights
    ENVIRONMENT = 1  # the environment that an agent trains in
    EVALUATION = 2  # episode k of an evaluation
    POLICY = 3  # a sampled policy's own draws in episode k of an evaluation
    BOOTSTRAP = 4  # intervals
    DATA = 5  # the episodes of logged data
    INSTANCE = 6  # the problem of run k of a study, where it is drawn


def check_seed(seed: object) -> int:
    """The seed as a Python int.

    Raises:
        SettingError: it is not a whole number of at least 0.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise SettingError(f"a seed is a whole number of at least 0, got {seed!r}.")
    return int(seed)


def sequence(root: int, stream: Stream, member: int = 0) -> np.random.SeedSequence:
    """The seed sequence of one member of a stream."""
    return np.random.SeedSequence(check_seed(root), spawn_key=(int(stream), member))


def generator(root: int, stream: Stream, member: int = 0) -> np.random.Generator:
    """A PCG64 generator of its own for one member of a stream."""
    return np.random.Generator(np.random.PCG64(sequence(root, stream, member)))


def integer_seed(root: int, stream: Stream, member: int = 0) -> int:
    """A 32-bit seed for what only takes integers, such as `env.reset(seed=...)` and torch."""
    return int(sequence(root, stream, member).generate_state(1)[0])
