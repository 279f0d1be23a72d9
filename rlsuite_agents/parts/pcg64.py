"""NumPy's PCG64 inside compiled loops: the uniforms of `Generator.random`, and its end state.

A generator is `uint64 [4]`: high and low word of the state, high and low word of the increment. A
step is state ← state · M + increment on 128 bits; the output is the XSL-RR permutation of the new
state (O'Neill 2014, section 6.3), of which `random` takes the upper 53 bits. Many steps together
are such a product and sum too, with other numbers: what lies ahead is found without going there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["can_step", "one_of_next", "put_back", "random", "ways_ahead", "words"]

HIGH = np.uint64(2549297995355413924)  # M
LOW = np.uint64(4865540595714422341)
HALF = np.uint64(0xFFFFFFFF)
S11, S32, S58, S63 = np.uint64(11), np.uint64(32), np.uint64(58), np.uint64(63)
S64 = np.uint64(64)
CARRY = np.uint64(1)
UNIT = 1.0 / 9007199254740992.0


def random(rng: Any) -> Any:
    """`functional.chance.random` for a generator that is its words; compiled only."""
    high, low = product(rng[0], rng[1], HIGH, LOW)
    high, low = plus(high, low, rng[2], rng[3])
    rng[0], rng[1] = high, low
    return uniform_of(high, low)


def ways_ahead(rng: Any, out: Any) -> None:
    """Writes how to go j + 1 steps at once, state ← state · a + b, into row j; compiled only.

    Rows are the high and low words of a and of b: uint64 [n, 4].
    """
    a_high, a_low = HIGH, LOW
    b_high, b_low = rng[2], rng[3]
    for j in range(len(out)):
        out[j, 0], out[j, 1], out[j, 2], out[j, 3] = a_high, a_low, b_high, b_low
        a_high, a_low = product(a_high, a_low, HIGH, LOW)
        b_high, b_low = product(b_high, b_low, HIGH, LOW)
        b_high, b_low = plus(b_high, b_low, rng[2], rng[3])


def one_of_next(rng: Any, ways: Any, j: int) -> Any:
    """Uniform j of the next n, by the n `ways_ahead`; the generator ends behind them all.

    The others are not drawn. Compiled only.
    """
    high, low = product(rng[0], rng[1], ways[j, 0], ways[j, 1])
    high, low = plus(high, low, ways[j, 2], ways[j, 3])
    last = len(ways) - 1
    end_high, end_low = product(rng[0], rng[1], ways[last, 0], ways[last, 1])
    rng[0], rng[1] = plus(end_high, end_low, ways[last, 2], ways[last, 3])
    return uniform_of(high, low)


def product(high: Any, low: Any, by_high: Any, by_low: Any) -> Any:
    """High and low word of the product of two numbers of 128 bits, modulo 2¹²⁸."""
    # the upper word of low * by_low, from products of halves
    upper, lower = low >> S32, low & HALF
    by_upper, by_lower = by_low >> S32, by_low & HALF
    middle = upper * by_lower + ((lower * by_lower) >> S32)
    other = lower * by_upper + (middle & HALF)
    carried = upper * by_upper + (middle >> S32) + (other >> S32)
    return carried + high * by_low + low * by_high, low * by_low


def plus(high: Any, low: Any, other_high: Any, other_low: Any) -> Any:
    """High and low word of the sum of two numbers of 128 bits, modulo 2¹²⁸."""
    high, low = high + other_high, low + other_low
    if low < other_low:
        high = high + CARRY
    return high, low


def uniform_of(high: Any, low: Any) -> Any:
    """The number in [0, 1) that a state stands for."""
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
