"""The tree of all texts: every prompt, every prefix, every finished text, as flat arrays.

Letters are all tokens but EOS, L = V - 1 of them, counted in their order. Those written after a
prompt are one number k, counted like a heap: the empty completion is 0, and appending letter a to k
gives L k + 1 + a. The completions of t letters are therefore the block
[(L^t - 1)/(L - 1), (L^(t+1) - 1)/(L - 1)). With at most T new tokens and P prompts:

* N, the number of completions of fewer than T letters: the policy has to decide there. Decision
  state s = p N + k; EOS ends the text, a letter leads on.
* M = L N + 1 finished texts per prompt: k < N was ended by EOS, k >= N by the limit.
"""

from __future__ import annotations

from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from rlsuite_envs.tokens.shapes import TextShape
from rlsuite_envs.tokens.tables import MAX_NEW_TOKENS

__all__ = ["PrefixTree", "n_grams", "prefix_tree", "tree_of"]

Ints = NDArray[np.int64]


class PrefixTree:
    """All texts of at most T new tokens after each of the prompts.

    Attributes:
        shape: What the texts look like.
        max_new_tokens: T.
        n_prompts: P.
        n_letters: L.
        n_tokens: V = L + 1.
        n_prefixes: N, the prefixes of one prompt that are decision states.
        n_texts: M, the finished texts of one prompt.
        width: Length of a row of tokens, prompt included.
        letters: The tokens that the letters are, rising, [L].
        ranks: Which letter a token is, [V]; L for EOS.
    """

    def __init__(self, shape: TextShape) -> None:
        self.shape = shape
        self.max_new_tokens = shape.max_new_tokens
        self.n_prompts = shape.n_prompts
        self.n_tokens = shape.size
        self.n_letters = shape.size - 1
        self.n_texts = shape.n_texts
        self.n_prefixes = (self.n_texts - 1) // self.n_letters
        self.width = shape.width
        self.letters: Ints = np.delete(np.arange(shape.size), shape.eos)
        self.ranks: Ints = np.full(shape.size, self.n_letters, np.int64)
        self.ranks[self.letters] = np.arange(self.n_letters)
        self._grams: dict[int, Ints] = {}

    @cached_property
    def depths(self) -> Ints:
        """Number of letters of the completions 0..M-1, shape [M]."""
        sizes = [self.n_letters**t for t in range(self.max_new_tokens + 1)]
        return np.repeat(np.arange(self.max_new_tokens + 1), sizes)

    @cached_property
    def completions(self) -> Ints:
        """The letters of the completions as tokens, right-padded with PAD, shape [M, T]."""
        rows = np.full((self.n_texts, self.max_new_tokens), self.n_tokens, np.int64)
        parents = (np.arange(1, self.n_texts) - 1) // self.n_letters
        for t in range(1, self.max_new_tokens + 1):
            k = np.arange(*self.level(t))
            rows[k, : t - 1] = rows[parents[k - 1], : t - 1]
            rows[k, t - 1] = self.letters[(k - 1) % self.n_letters]
        return rows

    def level(self, t: int) -> tuple[int, int]:
        """First and one past the last completion of t letters."""
        first = sum(self.n_letters**i for i in range(t))
        return first, self.n_letters * first + 1

    def prefixes(self) -> tuple[Ints, Ints]:
        """Tokens [P N, W] and lengths [P N] of the decision states, prompt by prompt."""
        n = self.n_prefixes
        return self.with_prompts(self.completions[:n], self.depths[:n])

    def texts(self) -> tuple[Ints, Ints]:
        """Tokens [P M, W] and lengths [P M] of the finished texts, prompt by prompt."""
        rows, depths = self.completions.copy(), self.depths.copy()
        ended = np.arange(self.n_prefixes)
        rows[ended, depths[ended]] = self.shape.eos
        depths[ended] += 1
        return self.with_prompts(rows, depths)

    def with_prompts(self, rows: Ints, depths: Ints) -> tuple[Ints, Ints]:
        """Completions [B, T] of `depths` [B] tokens after every prompt: [P B, W] and [P B]."""
        n, starts = len(rows), self.shape.prompt_lengths
        tokens = np.repeat(self.shape.prompt_rows(), n, axis=0)
        for p, start in enumerate(starts.tolist()):
            tokens[p * n : (p + 1) * n, start : start + self.max_new_tokens] = rows
        return tokens, np.tile(depths, self.n_prompts) + np.repeat(starts, n)

    def grams(self, n: int) -> Ints:
        """The n-grams of letters of every completion as numbers, each row sorted, [M, T - n + 1].

        -1 where a completion has fewer.
        """
        if n not in self._grams:
            found = n_grams(self.completions, n, self.n_tokens, self.shape.eos)
            self._grams[n] = np.sort(found, axis=1)
        return self._grams[n]

    def number_of(self, written: Ints) -> int:
        """The number k of the letters in a row of new tokens; EOS adds nothing."""
        k = 0
        for token in written:
            if token != self.shape.eos:
                k = self.n_letters * k + 1 + int(self.ranks[token])
        return k


@lru_cache(maxsize=16)
def tree_of(shape: TextShape) -> PrefixTree:
    """The tree, built once per process. Nobody writes to its arrays."""
    return PrefixTree(shape)


def prefix_tree(max_new_tokens: int = MAX_NEW_TOKENS) -> PrefixTree:
    """The tree of the built-in task."""
    return tree_of(TextShape(max_new_tokens=max_new_tokens))


def n_grams(completions: Ints, n: int, size: int, eos: int) -> Ints:
    """The n-grams of letters of each row of new tokens as numbers, [B, T - n + 1]; -1 for none.

    Args:
        completions: Right-padded with numbers of at least `size`, [B, T].
        n: At least 1.
        size: V.
        eos: It belongs to no n-gram.
    """
    letters = (completions < size) & (completions != eos)
    places = max(completions.shape[1] - n + 1, 0)
    grams = np.zeros((len(completions), places), np.int64)
    whole = np.ones_like(grams, dtype=bool)
    for i in range(n):
        grams = grams * size + completions[:, i : i + places]
        whole &= letters[:, i : i + places]
    return np.where(whole, grams, -1)
