"""NumPy's PCG64 inside compiled code: the same uniforms, bit for bit, and the same end state.

A generator is one row of `uint64 [n, 4]`: high and low word of the state, high and low word of the
increment. One step of the 128-bit generator is state <- state * M + increment; the output is the
XSL-RR permutation of the new state (O'Neill 2014, §6.3), and `random()` its upper 53 bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.errors import SettingError
from rlsuite_envs.compiled import compiled

__all__ = ["advance", "bit_state", "generator", "seeded", "uniform", "words"]

Words = NDArray[np.uint64]

# M of the 128-bit generator, its low word once more in halves of 32 bits
HIGH = np.uint64(2549297995355413924)
LOW = np.uint64(4865540595714422341)
LOW_UPPER = np.uint64(4865540595714422341 >> 32)
LOW_LOWER = np.uint64(4865540595714422341 & 0xFFFFFFFF)
HALF = np.uint64(0xFFFFFFFF)
S11, S32, S58, S63 = np.uint64(11), np.uint64(32), np.uint64(58), np.uint64(63)
S64 = np.uint64(64)
UNIT = 1.0 / 9007199254740992.0


@compiled
def advance(rng, i):  # type: ignore[no-untyped-def]  # numba infers the types
    """Steps generator i without looking at its output."""
    high, low = rng[i, 0], rng[i, 1]
    # the upper word of low * LOW, from products of halves
    upper, lower = low >> S32, low & HALF
    middle = upper * LOW_LOWER + ((lower * LOW_LOWER) >> S32)
    other = lower * LOW_UPPER + (middle & HALF)
    carried = upper * LOW_UPPER + (middle >> S32) + (other >> S32)
    high = carried + high * LOW + low * HIGH
    low = low * LOW
    total = low + rng[i, 3]
    if total < low:
        high = high + np.uint64(1)
    rng[i, 0] = high + rng[i, 2]
    rng[i, 1] = total


@compiled
def uniform(rng, i):  # type: ignore[no-untyped-def]  # numba infers the types
    """The next `random()` of generator i."""
    advance(rng, i)
    high, low = rng[i, 0], rng[i, 1]
    mixed = high ^ low
    turn = high >> S58
    mixed = (mixed >> turn) | (mixed << ((S64 - turn) & S63))
    return np.float64(mixed >> S11) * UNIT


def seeded(seed: int | None) -> tuple[Words, int]:
    """The generator that `gymnasium.utils.seeding.np_random(seed)` makes, and its seed.

    None draws the seed from the operating system.
    """
    sequence = np.random.SeedSequence(seed)
    entropy = sequence.entropy
    assert isinstance(entropy, int)
    return words(np.random.PCG64(sequence).state, "seed"), entropy


def words(state: Any, name: str) -> Words:
    """The state of a PCG64 bit generator as a row, uint64 [4].

    Raises:
        SettingError: the generator holds back half of a draw, as after drawing 32-bit numbers;
            uniforms alone never leave one. `name` begins the message.
    """
    if state["has_uint32"]:
        raise SettingError(
            f"{name}: 'rng' holds back half of a 64-bit draw (has_uint32=1), which an environment "
            "that draws uniforms never leaves; draw nothing else from its np_random."
        )
    numbers = (state["state"]["state"], state["state"]["inc"])
    return np.array([half for x in numbers for half in divmod(int(x), 2**64)], np.uint64)


def bit_state(row: Words) -> dict[str, Any]:
    """A row as the state of a PCG64 bit generator, the inverse of `words`."""
    high, low, increment_high, increment_low = (int(x) for x in row)
    return {
        "bit_generator": "PCG64",
        "state": {"state": high << 64 | low, "inc": increment_high << 64 | increment_low},
        "has_uint32": 0,
        "uinteger": 0,
    }


def generator(row: Words) -> np.random.Generator:
    """A NumPy generator that goes on from a row. It is a copy: the row does not move with it."""
    bits: Any = np.random.PCG64()
    bits.state = bit_state(row)
    return np.random.Generator(bits)
