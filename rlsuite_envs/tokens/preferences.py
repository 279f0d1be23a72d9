"""Preferences between texts: sampled, or read from a file; and models of them.

P(first preferred to second) = σ(r(first) - r(second))                (Bradley & Terry 1952)
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from registry.errors import DataError, SettingError
from registry.texts import PreferencePairs, Vocabulary
from rlsuite_envs.tokens.sampling import pick
from rlsuite_envs.tokens.shapes import TextShape, check_prompts
from rlsuite_envs.tokens.tree import PrefixTree

__all__ = [
    "Preferences",
    "read_preferences",
    "sample_completions",
    "sample_preferences",
    "sigmoid",
]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

KEYS = ("prompt", "chosen", "rejected")


def sample_completions(
    tree: PrefixTree, log_probs: Floats, prompts: Ints, uniforms: Floats
) -> Ints:
    """Finished texts sampled by inverse CDF, as their numbers k in the tree: shape [B].

    Args:
        tree: The texts.
        log_probs: log π(a | s) in every decision state, [P, N, V].
        prompts: Which prompt, [B].
        uniforms: One per token, [B, T]; those after the end of a text are not looked at.
    """
    k = np.zeros(len(prompts), np.int64)
    writing = np.arange(len(prompts))
    for t in range(tree.max_new_tokens):
        token = pick(log_probs[prompts[writing], k[writing]], uniforms[writing, t])
        letters = token != tree.shape.eos
        writing = writing[letters]
        k[writing] = tree.n_letters * k[writing] + 1 + tree.ranks[token[letters]]
    return k


@dataclass(frozen=True, slots=True, eq=False)
class Preferences:
    """Pairs of texts of a tree that answer the same prompt.

    Attributes:
        prompts: Which prompt, [n].
        preferred: The number k of the preferred text in the tree, [n].
        rejected: That of the other one, [n].
    """

    prompts: Ints
    preferred: Ints
    rejected: Ints

    def pairs(self, tree: PrefixTree) -> PreferencePairs:
        """The texts themselves."""
        tokens, lengths = tree.texts()
        first = self.prompts * tree.n_texts
        better, worse = first + self.preferred, first + self.rejected
        return PreferencePairs(
            prompt_lengths=tree.shape.prompt_lengths[self.prompts],
            chosen=tokens[better],
            chosen_lengths=lengths[better],
            rejected=tokens[worse],
            rejected_lengths=lengths[worse],
        )

    def accuracy(self, scores: Floats) -> float:
        """Share of pairs whose preferred text has the higher score [P, M]; a tie counts half."""
        difference = scores[self.prompts, self.preferred] - scores[self.prompts, self.rejected]
        return float(np.mean(np.where(difference == 0, 0.5, difference > 0)))


def sample_preferences(
    tree: PrefixTree, log_probs: Floats, scores: Floats, n_pairs: int, rng: np.random.Generator
) -> Preferences:
    """Pairs of answers sampled from a policy, and which of the two is preferred.

    Draws 2T + 2 uniforms per pair, pair by pair: the prompt, the tokens of the first answer, those
    of the second, and the preference.

    Args:
        tree: The texts.
        log_probs: log π(a | s) of the policy that answers, [P, N, V].
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
    won = uniforms[:, -1] < sigmoid(difference)
    return Preferences(prompts, np.where(won, first, second), np.where(won, second, first))


def read_preferences(path: str | Path, vocabulary: Vocabulary, shape: TextShape) -> PreferencePairs:
    """Preferences from a file of JSON lines, `{"prompt": ..., "chosen": ..., "rejected": ...}`.

    EOS is added to each answer, unless it has as many tokens as the limit allows: then it was cut
    off there. Further keys of a line are not looked at.

    Args:
        path: Of the file.
        vocabulary: Encodes the texts.
        shape: How long prompts and answers can be.

    Raises:
        DataError: the file cannot be read, has no lines, or a line is no such object; the message
            names the line.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")  # no other sign ends a line
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the preferences {str(path)!r} cannot be read: {error}.") from error
    found = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                found.append(_pair(line, vocabulary, shape))
            except SettingError as error:
                raise DataError(f"line {number} of {str(path)!r}: {error}") from error
    if not found:
        raise DataError(f"the file {str(path)!r} holds no preferences.")
    starts, better, worse = zip(*found, strict=True)
    width = max(map(len, (*better, *worse)))
    return PreferencePairs(
        prompt_lengths=np.array(starts, np.int64),
        chosen=_rows(better, width, shape.size),
        chosen_lengths=np.array([len(row) for row in better], np.int64),
        rejected=_rows(worse, width, shape.size),
        rejected_lengths=np.array([len(row) for row in worse], np.int64),
    )


def _pair(line: str, vocabulary: Vocabulary, shape: TextShape) -> tuple[int, list[int], list[int]]:
    """Length of the prompt, and both texts."""
    try:
        entry = json.loads(line)
    except ValueError as error:
        raise SettingError(f"this is no JSON ({error}).") from error
    if not isinstance(entry, dict) or not set(KEYS) <= set(entry):
        given = sorted(entry) if isinstance(entry, dict) else type(entry).__name__
        raise SettingError(f"a preference is an object with the keys {list(KEYS)}, got {given}.")
    wrong = [key for key in KEYS if not isinstance(entry[key], str)]
    if wrong:
        raise SettingError(f"{wrong[0]!r} must be a text, got {entry[wrong[0]]!r}.")
    prompt = check_prompts([entry["prompt"]], vocabulary, shape.prompt_width)[0]
    answers = []
    for key in ("chosen", "rejected"):
        answer = vocabulary.encode(entry[key])
        if len(answer) > shape.max_new_tokens:
            raise SettingError(
                f"{key!r} has {len(answer)} tokens, this task allows {shape.max_new_tokens} after "
                "the prompt."
            )
        end = [shape.eos] if len(answer) < shape.max_new_tokens else []
        answers.append([*prompt, *answer, *end])
    if answers[0] == answers[1]:
        raise SettingError(
            f"a preference is between two answers, and 'chosen' and 'rejected' are both "
            f"{entry['chosen']!r}."
        )
    return len(prompt), answers[0], answers[1]


def _rows(texts: tuple[list[int], ...], width: int, pad: int) -> Ints:
    return np.array([[*text, *[pad] * (width - len(text))] for text in texts], np.int64)


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + exp(-x)) without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * x))
