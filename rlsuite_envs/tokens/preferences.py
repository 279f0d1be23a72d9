"""Preferences between texts, and the Bradley-Terry model of them (Bradley & Terry 1952).

    P(first preferred to second) = σ(r(first) - r(second)),    r(text) = w · φ(text)

φ counts what the gold reward is made of: the letter at each position, each pair of neighbours, and
the letters. Everything is float64 NumPy, small enough to be fitted whenever it is wanted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlsuite_envs.tokens.tables import MAX_NEW_TOKENS, N_LETTERS, PROMPT_LENGTH
from rlsuite_envs.tokens.tree import PrefixTree

__all__ = [
    "Preferences",
    "fit_bradley_terry",
    "n_features",
    "sample_completions",
    "sample_preferences",
    "text_features",
]

NEWTON_STEPS = 50
TOLERANCE = 1e-12


def n_features() -> int:
    """Length of φ: 5 x 6 positions, 6 x 6 bigrams, 1 length."""
    return MAX_NEW_TOKENS * N_LETTERS + N_LETTERS * N_LETTERS + 1


def text_features(tokens: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    """φ of texts `tokens` [B, T] of `lengths` [B]: shape [B, 67]; EOS counts for nothing."""
    features = np.zeros((len(tokens), n_features()))
    bigrams = MAX_NEW_TOKENS * N_LETTERS
    for t in range(tokens.shape[1] - PROMPT_LENGTH):
        place = PROMPT_LENGTH + t
        rows = np.flatnonzero((place < lengths) & (tokens[:, place] < N_LETTERS))
        letter, previous = tokens[rows, place], tokens[rows, place - 1]
        features[rows, t * N_LETTERS + letter] += 1
        features[rows, bigrams + previous * N_LETTERS + letter] += 1
        features[rows, -1] += 1
    return features


def sample_completions(
    tree: PrefixTree,
    log_probs: NDArray[np.float64],
    prompts: NDArray[np.int64],
    uniforms: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Finished texts sampled by inverse CDF, as their numbers k in the tree: shape [B].

    Args:
        tree: The texts.
        log_probs: log π(a | s) in every decision state, [P, N, 7].
        prompts: Which prompt, [B].
        uniforms: One per token, [B, T]; those after the end of a text are not looked at.
    """
    cumulative = np.cumsum(np.exp(log_probs), axis=-1)
    cumulative /= cumulative[..., -1:]  # the last token of positive probability ends at 1 exactly
    k = np.zeros(len(prompts), np.int64)
    writing = np.arange(len(prompts))
    for t in range(tree.max_new_tokens):
        reached = cumulative[prompts[writing], k[writing]]
        token = (reached <= uniforms[writing, t, None]).sum(axis=1)
        letters = token < N_LETTERS
        writing = writing[letters]
        k[writing] = N_LETTERS * k[writing] + 1 + token[letters]
    return k


@dataclass(frozen=True, slots=True, eq=False)
class Preferences:
    """Pairs of texts that answer the same prompt.

    Attributes:
        prompts: Which prompt, [n].
        preferred: The number k of the preferred text in the tree, [n].
        rejected: That of the other one, [n].
    """

    prompts: NDArray[np.int64]
    preferred: NDArray[np.int64]
    rejected: NDArray[np.int64]

    def feature_differences(self, tree: PrefixTree) -> NDArray[np.float64]:
        """φ(preferred) - φ(rejected), shape [n, 67]."""
        tokens, lengths = tree.texts()
        first = self.prompts * tree.n_texts
        better, worse = first + self.preferred, first + self.rejected
        return text_features(tokens[better], lengths[better]) - text_features(
            tokens[worse], lengths[worse]
        )

    def accuracy(self, scores: NDArray[np.float64]) -> float:
        """Share of pairs whose preferred text has the higher score [P, M]; a tie counts half."""
        difference = scores[self.prompts, self.preferred] - scores[self.prompts, self.rejected]
        return float(np.mean(np.where(difference == 0, 0.5, difference > 0)))


def sample_preferences(
    tree: PrefixTree,
    log_probs: NDArray[np.float64],
    scores: NDArray[np.float64],
    n_pairs: int,
    rng: np.random.Generator,
) -> Preferences:
    """Pairs of answers sampled from a policy, and which of the two is preferred.

    Draws 2T + 2 uniforms per pair, pair by pair: the prompt, the tokens of the first answer, those
    of the second, and the preference.

    Args:
        tree: The texts.
        log_probs: log π(a | s) of the policy that answers, [P, N, 7].
        scores: r of every finished text, [P, M]; the first is preferred with probability
            σ(r(first) - r(second)).
        n_pairs: How many.
        rng: Where the uniforms come from.
    """
    limit = tree.max_new_tokens
    uniforms = rng.random((n_pairs, 2 * limit + 2))
    prompts = (uniforms[:, 0] * tree.n_prompts).astype(np.int64)
    first = sample_completions(tree, log_probs, prompts, uniforms[:, 1 : limit + 1])
    second = sample_completions(tree, log_probs, prompts, uniforms[:, limit + 1 : -1])
    difference = scores[prompts, first] - scores[prompts, second]
    won = uniforms[:, -1] < _sigmoid(difference)
    return Preferences(prompts, np.where(won, first, second), np.where(won, second, first))


def fit_bradley_terry(differences: NDArray[np.float64], ridge: float) -> NDArray[np.float64]:
    """The weights w that minimise Σ_i -log σ(w · x_i) + (ridge / 2) |w|², by Newton's method.

    The sum is strictly convex for ridge > 0, so the answer is unique.

    Args:
        differences: x_i = φ(preferred) - φ(rejected), shape [n, d].
        ridge: λ > 0.

    Returns:
        w, shape [d].
    """
    weights = np.zeros(differences.shape[1])
    for _ in range(NEWTON_STEPS):
        wrong = _sigmoid(-differences @ weights)  # 1 - σ(w · x), how surprising each pair is
        gradient = ridge * weights - differences.T @ wrong
        curvature = (differences.T * (wrong * (1.0 - wrong))) @ differences
        step = np.linalg.solve(curvature + ridge * np.eye(len(weights)), gradient)
        weights = weights - step
        if np.abs(step).max() < TOLERANCE:
            break
    return weights


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 0.5 * (1.0 + np.tanh(0.5 * x))
