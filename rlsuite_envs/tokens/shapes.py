"""What the texts of a task look like: tokens, prompts, limit; and whether a row is a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.errors import InvalidObservationError, SettingError
from registry.texts import LetterVocabulary, Vocabulary
from rlsuite_envs.tokens.tables import EOS, LETTERS, MAX_NEW_TOKENS, N_TOKENS, PROMPTS

__all__ = [
    "DEFAULT_SHAPE",
    "LETTER_TOKENS",
    "TextShape",
    "check_prompts",
    "check_texts",
    "check_vocabulary",
]

LETTER_TOKENS = LetterVocabulary(LETTERS)
"""The vocabulary of the built-in tasks."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TextShape:
    """Prompts, and at most so many new tokens after them.

    Attributes:
        size: V, the number of tokens, EOS included. PAD is V.
        eos: The token that ends a text.
        prompts: At least one token each.
        max_new_tokens: T, EOS counted.
    """

    size: int = N_TOKENS
    eos: int = EOS
    prompts: tuple[tuple[int, ...], ...] = PROMPTS
    max_new_tokens: int = MAX_NEW_TOKENS

    @property
    def n_prompts(self) -> int:
        """P."""
        return len(self.prompts)

    @property
    def prompt_width(self) -> int:
        """Tokens of the longest prompt."""
        return max(map(len, self.prompts))

    @property
    def width(self) -> int:
        """Places of a row: the longest prompt and T."""
        return self.prompt_width + self.max_new_tokens

    @property
    def n_texts(self) -> int:
        """M, the finished texts of one prompt: Σ (V - 1)^t for t = 0..T."""
        return sum((self.size - 1) ** t for t in range(self.max_new_tokens + 1))

    @property
    def prompt_lengths(self) -> Ints:
        """Tokens of each prompt, [P]."""
        return np.array([len(prompt) for prompt in self.prompts], np.int64)

    def prompt_rows(self) -> Ints:
        """The prompts as rows, right-padded with PAD to the width of a text, [P, W]."""
        rows = np.full((self.n_prompts, self.width), self.size, np.int64)
        for row, prompt in zip(rows, self.prompts, strict=True):
            row[: len(prompt)] = prompt
        return rows


DEFAULT_SHAPE = TextShape()
"""The shape of the default task."""


def check_vocabulary(vocabulary: Any, called: str) -> None:
    """Raises `SettingError` unless the vocabulary of a model has an EOS among several tokens."""
    size, eos = vocabulary.size, vocabulary.eos
    whole = all(isinstance(n, int | np.integer) and not isinstance(n, bool) for n in (size, eos))
    if not whole or size < 2:
        raise SettingError(
            f"the vocabulary of {called} needs whole numbers: size, the count of its tokens, at "
            f"least 2, and eos, the one that ends a text; got size={size!r}, eos={eos!r}."
        )
    if not 0 <= eos < size:
        raise SettingError(
            f"EOS is one of the tokens of {called}, 0 to {size - 1}, and never PAD, which is "
            f"{size}; its vocabulary has eos={eos}."
        )


def check_prompts(
    prompts: Any, vocabulary: Vocabulary, limit: int | None = None
) -> tuple[tuple[int, ...], ...]:
    """Prompts as tuples of tokens: strings are encoded, sequences of tokens taken as they are.

    Args:
        prompts: At least one, all different.
        vocabulary: Encodes strings.
        limit: At most so many tokens each; None: any number.

    Raises:
        SettingError: they are something else.
    """
    if isinstance(prompts, str) or not isinstance(prompts, Sequence | np.ndarray):
        raise SettingError(f"prompts must be a list of texts or of token lists, got {prompts!r}.")
    found = tuple(_prompt(prompt, vocabulary, limit) for prompt in prompts)
    if not found or len(set(found)) < len(found):
        raise SettingError(
            f"prompts must be at least one, and all of them different, got {list(prompts)!r}."
        )
    return found


def _prompt(prompt: Any, vocabulary: Vocabulary, limit: int | None) -> tuple[int, ...]:
    tokens = vocabulary.encode(prompt) if isinstance(prompt, str) else prompt
    array = np.asarray(tokens)
    if array.ndim != 1 or len(array) == 0 or array.dtype.kind not in "iu":
        raise SettingError(
            f"a prompt is a text or a list of token numbers, at least one; got {prompt!r}."
        )
    if array.min() < 0 or array.max() >= vocabulary.size:
        raise SettingError(
            f"the tokens of a prompt are whole numbers from 0 to {vocabulary.size - 1}, those of "
            f"the vocabulary; got {prompt!r}."
        )
    if limit is not None and len(array) > limit:
        raise SettingError(
            f"a prompt of this task has at most {limit} tokens; got {len(array)}: {prompt!r}."
        )
    return tuple(array.tolist())


def check_texts(
    tokens: Any,
    lengths: Any,
    shape: TextShape = DEFAULT_SHAPE,
    prompt_lengths: Any = 2,
    *,
    other_prompts: bool = False,
) -> tuple[Ints, Ints]:
    """Tokens [B, W] and lengths [B] as int64 arrays, right-padded texts or prefixes of texts.

    What stands beyond a row's length is not looked at.

    Args:
        tokens: Prompt and new tokens.
        lengths: Of both together.
        shape: The tokens that there are.
        prompt_lengths: Of the prompts alone, [B] or one for all.
        other_prompts: Whether a reset may name prompts besides the shape's; EOS may be in them.

    Raises:
        InvalidObservationError: they are no whole numbers of these shapes, a length leaves no
            prompt or exceeds the row, a token is none of the vocabulary, or EOS stands before the
            end of a row.
    """
    tokens, lengths = np.asarray(tokens), np.asarray(lengths)
    whole = tokens.dtype.kind in "iu" and lengths.dtype.kind in "iu"
    if not whole or tokens.ndim != 2 or lengths.shape != tokens.shape[:1]:
        raise InvalidObservationError(
            "texts are whole numbers: tokens of shape (B, T) and lengths of shape (B,); got "
            f"{tokens.dtype} of shape {tokens.shape} and {lengths.dtype} of shape {lengths.shape}."
        )
    width = tokens.shape[1]
    starts = np.broadcast_to(np.asarray(prompt_lengths), lengths.shape)
    if not np.all((lengths >= starts) & (lengths <= width)):
        raise InvalidObservationError(
            f"a length counts the prompt's {_span(starts)} tokens and at most the {width} of the "
            f"row; got lengths from {lengths.min()} to {lengths.max()}."
        )
    places, starts, ends = np.arange(width), starts[:, None], lengths[:, None]
    may_be_eos = (places == ends - 1) & (places >= starts)
    if other_prompts or any(shape.eos in prompt for prompt in shape.prompts):
        may_be_eos |= places < starts
    known = (tokens >= 0) & (tokens < shape.size)
    wrong = (places < ends) & ~(known & ((tokens != shape.eos) | may_be_eos))
    if wrong.any():
        row, place = np.argwhere(wrong)[0]
        last = shape.size - 2 if shape.eos == shape.size - 1 else shape.size - 1
        raise InvalidObservationError(
            f"token {tokens[row, place]} at place {place} of row {row}: a text is tokens from 0 to "
            f"{last}, and {shape.eos} (EOS) as its last token after the prompt."
        )
    return tokens.astype(np.int64), lengths.astype(np.int64)


def _span(numbers: Ints) -> str:
    low, high = (int(numbers.min()), int(numbers.max())) if len(numbers) else (0, 0)
    return str(low) if low == high else f"{low} to {high}"
