"""Programs that check a text: the two rewards of `rlsuite/TwoVerifiers-v0`.

One is easy and small, the other hard and of another scale: what GDPO was made for (Liu et al.,
arXiv:2601.05242, where a format reward of 0 or 1 meets a correctness reward from -3 to 3).
"""

from __future__ import annotations

from rlsuite_envs.tokens.reward_models import TextReward
from rlsuite_envs.tokens.tables import LETTERS

__all__ = ["continuation", "continuation_verifier", "format_verifier", "three_letters"]

RIGHT_LENGTH = 3
"""Letters of a well-formed answer."""


def three_letters(prompt: str, completion: str) -> float:
    """1 for an answer of three letters, else 0."""
    return float(len(completion) == RIGHT_LENGTH)


def continuation(prompt: str, completion: str) -> float:
    """-3 plus 2 for each of the first three letters that goes on with the alphabet.

    After the prompt ab the right answer is cde; after f comes a again. From -3 to 3.
    """
    first = LETTERS.index(prompt[-1]) + 1
    wanted = [LETTERS[(first + t) % len(LETTERS)] for t in range(RIGHT_LENGTH)]
    right = sum(a == b for a, b in zip(completion, wanted, strict=False))
    return 2.0 * right - RIGHT_LENGTH


def format_verifier() -> TextReward:
    """The easy one: are there three letters?"""
    return TextReward(three_letters)


def continuation_verifier() -> TextReward:
    """The hard one: do they go on with the alphabet?"""
    return TextReward(continuation)
