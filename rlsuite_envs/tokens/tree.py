"""The tree of all texts: every prompt, every prefix, every finished text, as flat arrays.

The letters written after a prompt are one number k, counted like a heap: the empty completion is
0, and appending letter a to k gives 6k + 1 + a. The completions of t letters are therefore the
block [(6^t - 1)/5, (6^(t+1) - 1)/5). With at most T new tokens and P prompts:

* N = (6^T - 1)/5 prefixes of fewer than T letters: the policy has to decide there. Decision state
  s = p N + k; EOS ends the text, a letter leads on.
* M = (6^(T+1) - 1)/5 finished texts per prompt: k < N was ended by EOS, k >= N by the limit.
"""

from __future__ import annotations

from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from registry.errors import InvalidObservationError
from rlsuite_envs.tokens.tables import EOS, LETTERS, N_LETTERS, PAD, PROMPT_LENGTH, PROMPTS

__all__ = ["PrefixTree", "check_tokens", "prefix_tree", "spell"]


def spell(letters: NDArray[np.int64] | tuple[int, ...] | list[int]) -> str:
    """Letter ids as text: `(0, 1)` is `"ab"`."""
    return "".join(LETTERS[letter] for letter in letters)


class PrefixTree:
    """All texts of at most `max_new_tokens` new tokens after each of the prompts.

    Attributes:
        max_new_tokens: T.
        n_prompts: P.
        n_prefixes: N, the prefixes of one prompt that are decision states.
        n_texts: M, the finished texts of one prompt.
        width: Length of a row of tokens, prompt included: 2 + T.
    """

    def __init__(self, max_new_tokens: int) -> None:
        self.max_new_tokens = max_new_tokens
        self.n_prompts = len(PROMPTS)
        self.n_prefixes = (N_LETTERS**max_new_tokens - 1) // (N_LETTERS - 1)
        self.n_texts = N_LETTERS * self.n_prefixes + 1
        self.width = PROMPT_LENGTH + max_new_tokens

    @cached_property
    def depths(self) -> NDArray[np.int64]:
        """Number of letters of the completions 0..M-1, shape [M]."""
        sizes = [N_LETTERS**t for t in range(self.max_new_tokens + 1)]
        return np.repeat(np.arange(self.max_new_tokens + 1), sizes)

    @cached_property
    def completions(self) -> NDArray[np.int64]:
        """The letters of the completions, right-padded with PAD, shape [M, T]."""
        rows = np.full((self.n_texts, self.max_new_tokens), PAD, np.int64)
        parents = (np.arange(1, self.n_texts) - 1) // N_LETTERS
        for t in range(1, self.max_new_tokens + 1):
            k = np.arange(*self.level(t))
            rows[k, : t - 1] = rows[parents[k - 1], : t - 1]
            rows[k, t - 1] = (k - 1) % N_LETTERS
        return rows

    def level(self, t: int) -> tuple[int, int]:
        """First and one past the last completion of t letters."""
        first = (N_LETTERS**t - 1) // (N_LETTERS - 1)
        return first, N_LETTERS * first + 1

    def prefixes(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Tokens [P N, 2 + T] and lengths [P N] of the decision states, prompt by prompt."""
        return self._with_prompts(self.completions[: self.n_prefixes], self.depths)

    def texts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Tokens [P M, 2 + T] and lengths [P M] of the finished texts, prompt by prompt."""
        rows, depths = self.completions.copy(), self.depths.copy()
        ended = np.arange(self.n_prefixes)
        rows[ended, depths[ended]] = EOS
        depths[ended] += 1
        return self._with_prompts(rows, depths)

    def _with_prompts(
        self, rows: NDArray[np.int64], depths: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        prompts = np.repeat(np.array(PROMPTS), len(rows), axis=0)
        tokens = np.hstack([prompts, np.tile(rows, (self.n_prompts, 1))])
        return tokens, np.tile(depths[: len(rows)], self.n_prompts) + PROMPT_LENGTH


@cache
def prefix_tree(max_new_tokens: int) -> PrefixTree:
    """The tree, built once per process. Nobody writes to its arrays."""
    return PrefixTree(max_new_tokens)


def check_tokens(
    tokens: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Tokens [B, T] and lengths [B] as int64 arrays, right-padded texts or prefixes of texts.

    What stands beyond a row's length is not looked at.

    Raises:
        InvalidObservationError: they are no whole numbers of these shapes, a length leaves no
            prompt or exceeds the row, a token is no letter, or EOS stands before the end of a row.
    """
    tokens, lengths = np.asarray(tokens), np.asarray(lengths)
    whole = tokens.dtype.kind in "iu" and lengths.dtype.kind in "iu"
    if not whole or tokens.ndim != 2 or lengths.shape != tokens.shape[:1]:
        raise InvalidObservationError(
            "texts are whole numbers: tokens of shape (B, T) and lengths of shape (B,); got "
            f"{tokens.dtype} of shape {tokens.shape} and {lengths.dtype} of shape {lengths.shape}."
        )
    width = tokens.shape[1]
    if not np.all((lengths >= PROMPT_LENGTH) & (lengths <= width)):
        raise InvalidObservationError(
            f"a length counts the prompt's {PROMPT_LENGTH} tokens and at most the {width} of the "
            f"row; got lengths from {lengths.min()} to {lengths.max()}."
        )
    places = np.arange(width)
    may_end = (places == lengths[:, None] - 1) & (places >= PROMPT_LENGTH)
    allowed = ((tokens >= 0) & (tokens < N_LETTERS)) | ((tokens == EOS) & may_end)
    wrong = ~allowed & (places < lengths[:, None])
    if wrong.any():
        row, place = np.argwhere(wrong)[0]
        raise InvalidObservationError(
            f"token {tokens[row, place]} at place {place} of row {row}: a text is letters, 0 to "
            f"{N_LETTERS - 1}, and {EOS} (EOS) as its last token after the prompt."
        )
    return tokens.astype(np.int64), lengths.astype(np.int64)
