"""Asks reward models for scores, and refuses what is no score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.errors import SettingError
from registry.texts import RewardModel, Vocabulary
from rlsuite_envs.tokens.feature_reward import FeatureReward, all_feature_scores
from rlsuite_envs.tokens.reference_models import as_array
from rlsuite_envs.tokens.shapes import LETTER_TOKENS
from rlsuite_envs.tokens.tables import PROMPT_LENGTH
from rlsuite_envs.tokens.tree import PrefixTree

__all__ = ["WIDTH", "Judge", "at_one_width", "scores_of"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

WIDTH = 16
"""Texts per call of a user's reward model while texts are being written."""

BLOCK = 4096
"""Most texts per call elsewhere: enough to be fast, few enough for a network."""


@dataclass(frozen=True, slots=True, eq=False)
class Judge:
    """One reward model of a task.

    Attributes:
        model: Scores texts; asked by `score_completions` where it has that, else by `score`.
        name: What messages call it.
        vocabulary: Of the texts, for messages.
        scale: Its scores are multiplied by this.
    """

    model: RewardModel
    name: str
    vocabulary: Vocabulary = LETTER_TOKENS
    scale: float = 1.0

    def scores(self, tokens: Ints, lengths: Ints, prompt_lengths: Ints) -> Floats:
        """Scores [B] of finished texts, whatever the number of texts asked for at once.

        A model that does not say `any_width = True` is always given `WIDTH` texts; see
        `at_one_width`.

        Args:
            tokens: Prompt and new tokens, [B, W].
            lengths: Of both together, [B].
            prompt_lengths: Of the prompts alone, [B].

        Raises:
            SettingError: the model returned something else than B finite numbers.
        """
        if getattr(self.model, "any_width", False):
            return self.ask(tokens, lengths, prompt_lengths)
        return at_one_width(
            lambda rows: self.ask(tokens[rows], lengths[rows], prompt_lengths[rows]), len(lengths)
        )

    def all_scores(self, tree: PrefixTree) -> Floats:
        """Scores of every finished text, [P, M]; sums over letters once per process.

        Raises:
            SettingError: as for `scores`.
        """
        if isinstance(self.model, FeatureReward):
            return self.scale * all_feature_scores(self.model, tree.shape)
        tokens, lengths = tree.texts()
        starts = np.repeat(tree.shape.prompt_lengths, tree.n_texts)
        return self.in_blocks(tokens, lengths, starts).reshape(tree.n_prompts, tree.n_texts)

    def in_blocks(self, tokens: Ints, lengths: Ints, prompt_lengths: Ints) -> Floats:
        """Scores [B] of many finished texts, as few calls as memory allows.

        Raises:
            SettingError: as for `scores`.
        """
        blocks = [slice(first, first + BLOCK) for first in range(0, len(tokens), BLOCK)]
        found = [self.ask(tokens[b], lengths[b], prompt_lengths[b]) for b in blocks]
        return np.concatenate(found)

    def ask(self, tokens: Ints, lengths: Ints, prompt_lengths: Ints) -> Floats:
        """The model's scores, in one call: float64 [B].

        Raises:
            SettingError: as for `scores`.
        """
        found = scores_of(self.model, self.name, tokens, lengths, prompt_lengths, self.vocabulary)
        return self.scale * found


def at_one_width(ask: Callable[[Ints], Floats], count: int) -> Floats:
    """What `ask(rows)` answers about rows 0 to `count` - 1, asked about `WIDTH` of them at a time.

    The first one of a block is repeated where there are fewer: the last bits of a network's output
    change with the number of rows it is given.
    """
    found = []
    for first in range(0, count, WIDTH):
        asked = min(WIDTH, count - first)
        rows = np.full(WIDTH, first)
        rows[:asked] = np.arange(first, first + asked)
        found.append(ask(rows)[:asked])
    return np.concatenate(found)


def scores_of(
    model: RewardModel,
    name: str,
    tokens: Ints,
    lengths: Ints,
    prompt_lengths: Any = PROMPT_LENGTH,
    vocabulary: Vocabulary = LETTER_TOKENS,
) -> Floats:
    """A model's scores of finished texts, checked: float64 [B].

    Raises:
        SettingError: the model returned something else than B finite numbers.
    """
    starts = np.broadcast_to(prompt_lengths, lengths.shape)
    by_completion = getattr(model, "score_completions", None)
    answer = model.score(tokens, lengths) if by_completion is None else None
    scores = as_array(answer if by_completion is None else by_completion(tokens, lengths, starts))
    if scores.dtype.kind not in "fiub" or scores.shape != lengths.shape:
        raise SettingError(
            f"the reward model {name} must return one number per text, shape {lengths.shape}; it "
            f"returned {scores.dtype} of shape {scores.shape}."
        )
    bad = ~np.isfinite(scores)
    if bad.any():
        row = int(np.argmax(bad))
        start, text = int(starts[row]), tokens[row, : lengths[row]].tolist()
        raise SettingError(
            f"the reward model {name} must return finite scores; it scored the completion "
            f"{vocabulary.decode(text[start:])!r} of the prompt "
            f"{vocabulary.decode(text[:start])!r} with {scores[row]}."
        )
    return scores.astype(np.float64)
