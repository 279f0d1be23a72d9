"""Whether a policy can still do what its reference could: how varied its texts are.

distinct-n is the number of different n-grams in a body of texts over the number of all of them
(Li et al., A diversity-promoting objective function, NAACL 2016). It falls as the body grows, so
the body here is always one of `TEXTS` texts.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from rlsuite_envs.tokens.tree import PrefixTree, n_grams

__all__ = ["TEXTS", "distinct", "expected_distinct", "perplexity"]

TEXTS = 100
"""The number of texts that distinct-n is told of."""

LARGEST_EXPONENT = 700.0
"""exp of more is no number."""

Ints = NDArray[np.int64]


def perplexity(log_prob: float, tokens: float) -> float:
    """exp(-log_prob / tokens): of texts of so many tokens with this summed log-probability.

    inf where a policy cannot write them, or nearly so.
    """
    surprise = -float(log_prob) / float(tokens)
    return math.exp(surprise) if surprise <= LARGEST_EXPONENT else math.inf


def distinct(completions: Ints, n: int, size: int, eos: int) -> float | None:
    """Distinct-n of texts, in bodies of `TEXTS` of them (the last may be smaller), averaged.

    Args:
        completions: New tokens, right-padded with numbers outside the vocabulary, [B, T].
        n: Length of the n-grams, at least 1.
        size: V.
        eos: It ends texts and belongs to no n-gram.

    Returns:
        From 0 to 1; None where no text has n letters.
    """
    grams = n_grams(completions, n, size, eos)
    shares = []
    for first in range(0, len(grams), TEXTS):
        body = grams[first : first + TEXTS]
        body = body[body >= 0]
        if len(body):
            shares.append(len(np.unique(body)) / len(body))
    return float(np.mean(shares)) if shares else None


def expected_distinct(tree: PrefixTree, probabilities: NDArray[np.float64], n: int) -> float | None:
    """E[different n-grams] / E[n-grams] in `TEXTS` texts, exactly.

    An n-gram that a text holds with probability q is met with probability 1 - (1 - q)^TEXTS.

    Args:
        tree: All texts.
        probabilities: Of each given its prompt, [P, M]; prompts are equally likely.
        n: Length of the n-grams, at least 1.

    Returns:
        From 0 to 1; None where no text has n letters.
    """
    grams, weights = tree.grams(n), probabilities.mean(axis=0)
    counts = weights @ (grams >= 0).sum(axis=1)
    first = grams >= 0
    first[:, 1:] &= grams[:, 1:] != grams[:, :-1]  # each n-gram once per text
    rows, _ = np.nonzero(first)
    held = np.bincount(grams[first], weights=weights[rows])
    different = np.sum(-np.expm1(TEXTS * np.log1p(-np.minimum(held, 1 - 1e-16))))
    return float(different / (TEXTS * counts)) if counts > 0 else None
