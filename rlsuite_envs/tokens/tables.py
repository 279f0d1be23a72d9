"""The numbers of the token task, as literals, so that they are the same on every machine.

They were drawn from `np.random.default_rng(0)`, one uniform u = `random()` per number, row by row,
in this order: `REFERENCE_WEIGHTS` = 1 + floor(8u), then `POSITION` and `BIGRAM`, both
(floor(5u) - 2) / 4. A test draws them again.
"""

from __future__ import annotations

__all__ = [
    "BIGRAM",
    "EOS",
    "LENGTH_COST",
    "LETTERS",
    "MAX_NEW_TOKENS",
    "N_LETTERS",
    "N_TOKENS",
    "PAD",
    "POSITION",
    "PROMPTS",
    "PROMPT_LENGTH",
    "REFERENCE_WEIGHTS",
]

LETTERS = "abcdef"
"""The letters; their token ids are their places, 0 to 5."""

N_LETTERS = 6
EOS = 6
"""Ends a text. It is an action like any letter."""
PAD = 7
"""Fills an observation up on the right. It is never an action."""
N_TOKENS = 7
"""Number of actions: the letters and EOS."""

PROMPT_LENGTH = 2
PROMPTS = ((0, 1), (1, 2), (2, 3), (3, 4))
"""The prompts ab, bc, cd and de, equally likely."""

MAX_NEW_TOKENS = 5
"""At most this many tokens after the prompt, EOS counted: the rows of `POSITION`."""

LENGTH_COST = 0.05
"""What every letter costs."""

REFERENCE_WEIGHTS = (
    (6, 3, 1, 1, 7, 8, 5),
    (6, 5, 8, 7, 1, 7, 1),
    (6, 2, 7, 5, 3, 4, 1),
    (1, 6, 6, 5, 4, 8, 8),
    (6, 6, 6, 4, 2, 6, 5),
    (3, 4, 8, 8, 3, 5, 3),
)
"""W: the reference policy writes token a after the letter l with probability W[l, a] / Σ W[l]."""

POSITION = (
    (0.0, -0.25, -0.25, 0.5, -0.25, 0.25),
    (-0.5, 0.5, 0.25, -0.25, 0.5, -0.5),
    (-0.25, -0.5, 0.0, 0.25, -0.25, -0.5),
    (0.0, -0.5, -0.5, 0.0, -0.25, 0.25),
    (-0.5, 0.5, -0.25, -0.5, 0.25, 0.5),
)
"""What letter a earns as the t-th new token, t = 0..4."""

BIGRAM = (
    (0.0, 0.5, 0.0, 0.0, 0.25, 0.5),
    (0.5, 0.0, 0.25, 0.0, 0.0, 0.25),
    (0.0, 0.25, 0.25, 0.5, -0.5, 0.25),
    (0.5, 0.5, -0.5, 0.5, 0.5, 0.5),
    (-0.5, 0.5, 0.5, 0.5, 0.0, -0.25),
    (0.5, 0.5, -0.25, 0.0, 0.0, 0.5),
)
"""What letter a earns after letter b: row b, column a."""
