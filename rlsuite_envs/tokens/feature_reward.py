"""Rewards that are sums over the letters of a text: the gold reward, and models of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.errors import SettingError
from rlsuite_envs.tokens.shapes import DEFAULT_SHAPE, LETTER_TOKENS, TextShape, check_texts
from rlsuite_envs.tokens.tables import (
    BIGRAM,
    EOS,
    LENGTH_COST,
    MAX_NEW_TOKENS,
    POSITION,
    PROMPT_LENGTH,
)
from rlsuite_envs.tokens.tree import tree_of

__all__ = ["GOLD", "FeatureReward", "all_feature_scores", "gold_applies"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class FeatureReward:
    """r(text) = Σ_t position[t, a_t] + bigram[a_{t-1}, a_t] + length, over the letters a_t written.

    a_{-1} is the last letter of the prompt; EOS adds 0. The terms are summed with `math.fsum`, so
    the order of summation cannot matter.

    Attributes:
        position: Shape [5, 6], as tuples.
        bigram: Shape [6, 6], as tuples.
        length: What each letter adds.
    """

    position: tuple[tuple[float, ...], ...]
    bigram: tuple[tuple[float, ...], ...]
    length: float

    @property
    def any_width(self) -> bool:
        """True: the score of a text does not depend on those scored beside it."""
        return True

    def score(self, tokens: Ints, lengths: Ints) -> NDArray[np.float64]:
        """Scores [B] of texts `tokens` [B, W], a prompt of two letters first, of `lengths` [B].

        Raises:
            InvalidObservationError: a row is no text.
            SettingError: a row has more letters than `position` has rows.
        """
        return self.score_completions(tokens, lengths, PROMPT_LENGTH)

    def score_completions(
        self, tokens: Ints, lengths: Ints, prompt_lengths: Any
    ) -> NDArray[np.float64]:
        """As `score`, for prompts of other lengths, [B] or one for all."""
        tokens, lengths = check_texts(tokens, lengths, DEFAULT_SHAPE, prompt_lengths)
        starts = np.broadcast_to(prompt_lengths, lengths.shape).tolist()
        rows = zip(tokens.tolist(), lengths.tolist(), starts, strict=True)
        return np.array([self._score(row[:n], start) for row, n, start in rows], np.float64)

    def _score(self, text: list[int], start: int) -> float:
        terms: list[float] = []
        letters = text[start:-1] if text[-1] == EOS else text[start:]
        if len(letters) > len(self.position):
            raise SettingError(
                f"this reward scores texts of at most {len(self.position)} letters after the "
                f"prompt, got {len(letters)}: {LETTER_TOKENS.decode(letters)!r}."
            )
        previous = text[start - 1]
        for t, letter in enumerate(letters):
            terms += (self.position[t][letter], self.bigram[previous][letter], self.length)
            previous = letter
        return math.fsum(terms)


GOLD = FeatureReward(POSITION, BIGRAM, -LENGTH_COST)
"""The true reward of the default task."""


def gold_applies(shape: TextShape, letters: str) -> bool:
    """Whether the closed form scores all texts of a task: its letters, and at most 5 of them."""
    return letters == LETTER_TOKENS.letters and shape.max_new_tokens <= MAX_NEW_TOKENS


@lru_cache(maxsize=8)
def all_feature_scores(model: FeatureReward, shape: TextShape) -> NDArray[np.float64]:
    """Scores of every finished text, [P, M]; computed once per process, not to be written to."""
    tree = tree_of(shape)
    tokens, lengths = tree.texts()
    starts = np.repeat(shape.prompt_lengths, tree.n_texts)
    scores = model.score_completions(tokens, lengths, starts)
    scores.flags.writeable = False
    return scores.reshape(tree.n_prompts, tree.n_texts)
