"""A text that is being written, as the page that is drawn of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from registry.texts import Vocabulary
from rlsuite_envs.rendering import letters
from rlsuite_envs.rendering.grid import number

__all__ = ["describe"]

PLACES = 7
"""Tokens that a picture has room for: of a longer text the last ones, of the next the likeliest."""


def describe(
    vocabulary: Vocabulary,
    prompt: Sequence[int],
    written: Sequence[int],
    *,
    limit: int,
    log_probs: Sequence[float],
    next_log_probs: Sequence[float],
    score: float | None,
    no_eos: float,
) -> tuple[letters.Page, str]:
    """The page and its caption.

    Args:
        vocabulary: Of the task.
        prompt: Its tokens; empty before the first reset.
        written: The tokens after it.
        limit: At most so many.
        log_probs: Of each of them under the reference policy.
        next_log_probs: Of every token under the reference policy now; empty at the end of a text.
        score: Of the finished text; None while it is being written.
        no_eos: What a text costs that the limit cut off.
    """
    rewards, caption = [0.0] * len(written), f"{len(written)} of {limit} tokens"
    if score is not None and written:
        cut = written[-1] != vocabulary.eos
        rewards[-1] = score + (no_eos if cut else 0.0)
        caption = f"finished   reward {number(rewards[-1])}"
        if cut:
            caption += f" = score {number(score)}, cut off {number(no_eos)}"
    first = max(0, len(written) - PLACES + 2)
    shown = _likeliest(vocabulary, next_log_probs)
    page = letters.Page(
        prompt=vocabulary.decode(prompt)[-2:] if len(prompt) else "  ",
        written=[_name(vocabulary, token) for token in written[first:]],
        limit=min(limit - first, PLACES - 2),
        rewards=rewards[first:],
        log_probs=list(log_probs)[first:],
        tokens=[_name(vocabulary, token) for token in shown],
        next_probs=[math.exp(next_log_probs[token]) for token in shown] if next_log_probs else [],
    )
    return page, caption


def _likeliest(vocabulary: Vocabulary, next_log_probs: Sequence[float]) -> list[int]:
    tokens = list(range(vocabulary.size))
    if len(tokens) <= PLACES or not next_log_probs:
        return tokens[:PLACES]
    return sorted(tokens, key=lambda token: -next_log_probs[token])[:PLACES]


def _name(vocabulary: Vocabulary, token: int) -> str:
    if token == vocabulary.eos:
        return letters.END
    text = vocabulary.decode([token]).strip()
    return text[:4] if text and text.isascii() and text.isprintable() else f"{token}"
