"""NumPy's PCG64 inside compiled loops: the uniforms of `Generator.random`, and its end state.

A generator is `uint64 [4]`: high and low word of the state, high and low word of the increment. A
step is state ← state · M + increment on 128 bits; the output is the XSL-RR permutation of the new
state (O'Neill 2014, section 6.3), of which `random` takes the upper 53 bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["can_step", "put_back", "random", "words"]

# M, its low word once more in halves of 32 bits
HIGH = np.uint64(2549297995355413924)
LOW = np.uint64(4865540595714422341)
LOW_UPPER = np.uint64(4865540595714422341 >> 32)
LOW_LOWER = np.uint64(4865540595714422341 & 0xFFFFFFFF)
HALF = np.uint64(0xFFFFFFFF)
S11, S32, S58, S63 = np.uint64(11), np.uint64(32), np.uint64(58), np.uint64(63)
S64 = np.uint64(64)
CARRY = np.uint64(1)
UNIT = 1.0 / 9007199254740992.0


def random(rng: Any) -> Any:
    """`functional.chance.random` for a generator that is its words; compiled only."""
    high, low = rng[0], rng[1]
    # the upper word of low * LOW, from products of halves
    upper, lower = low >> S32, low & HALF
    middle = upper * LOW_LOWER + ((lower * LOW_LOWER) >> S32)
    other = lower * LOW_UPPER + (middle & HALF)
    carried = upper * LOW_UPPER + (middle >> S32) + (other >> S32)
    high = carried + high * LOW + low * HIGH + rng[2]
    low = low * LOW + rng[3]
    if low < rng[3]:
        high = high + CARRY
    rng[0], rng[1] = high, low
    mixed, turn = high ^ low, high >> S58
    mixed = (mixed >> turn) | (mixed << ((S64 - turn) & S63))
    return np.float64(mixed >> S11) * UNIT


def can_step(generator: Any) -> bool:
    """Whether this is a PCG64 that does not hold back half of a draw."""
    if not isinstance(generator, np.random.Generator):
        return False
    state = generator.bit_generator.state
    return state["bit_generator"] == "PCG64" and not state["has_uint32"]


def words(generator: np.random.Generator) -> NDArray[np.uint64]:
    """The state of a generator: uint64 [4]."""
    numbers: Any = generator.bit_generator.state["state"]
    halves = [half for x in (numbers["state"], numbers["inc"]) for half in divmod(int(x), 2**64)]
    return np.array(halves, np.uint64)


def put_back(generator: np.random.Generator, words: NDArray[np.uint64]) -> None:
    """Lets the generator go on where the words are."""
    high, low, increment_high, increment_low = (int(x) for x in words)
    state: Any = {**generator.bit_generator.state}
    state["state"] = {"state": high << 64 | low, "inc": increment_high << 64 | increment_low}
    generator.bit_generator.state = state
