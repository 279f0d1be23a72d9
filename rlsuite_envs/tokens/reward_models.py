"""Reward models: what scores a finished text.

The gold reward is a closed form; learned ones are fitted to preferences that were sampled from it
or read from a file; users bring a table, a function, an object, a folder, or several of these. None
of them knows the limit on new tokens: what a text costs that was cut off there is the environment's
keyword `no_eos`, added to every score.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.errors import SettingError
from registry.texts import LetterVocabulary, RewardModel, Vocabulary
from rlsuite_envs.tokens.feature_reward import GOLD, FeatureReward
from rlsuite_envs.tokens.folders import is_path, load_folder, load_registered
from rlsuite_envs.tokens.scoring import Judge
from rlsuite_envs.tokens.shapes import LETTER_TOKENS, TextShape

__all__ = [
    "FunctionReward",
    "TableReward",
    "TextReward",
    "gold_reward",
    "resolve_reward",
    "resolve_rewards",
]

Ints = NDArray[np.int64]
Learner = Callable[[str], RewardModel]
"""Fits the learned reward of this name to the preferences of a task."""

LEARNED = ("learned", "linear", "mlp", "tabular")
"""Names of learned rewards; `"learned"` is a model of the gold reward's own features."""


@dataclass(frozen=True, slots=True)
class FunctionReward:
    """A user's function `(tokens [B, W], lengths [B]) -> scores [B]` as a reward model."""

    function: Callable[[Ints, Ints], Any]

    def score(self, tokens: Ints, lengths: Ints) -> Any:
        """Whatever the function returns; `scores_of` checks it."""
        return self.function(tokens, lengths)


@dataclass(frozen=True, slots=True)
class TextReward:
    """A verifier: a function of the decoded prompt and completion, `(str, str) -> number`.

    Attributes:
        function: Called once per text.
        vocabulary: Decodes.
    """

    function: Callable[[str, str], Any]
    vocabulary: Vocabulary = LETTER_TOKENS

    @property
    def any_width(self) -> bool:
        """True: texts are scored one by one."""
        return True

    def score(self, tokens: Ints, lengths: Ints) -> Any:
        """As `score_completions` after prompts of two tokens."""
        return self.score_completions(tokens, lengths, np.full(len(tokens), 2))

    def score_completions(self, tokens: Ints, lengths: Ints, prompt_lengths: Ints) -> Any:
        """Scores [B] of texts `tokens` [B, W]; EOS does not show in what is decoded."""
        decode = self.vocabulary.decode
        rows = zip(tokens.tolist(), lengths.tolist(), prompt_lengths.tolist(), strict=True)
        return [self.function(decode(row[:p]), decode(row[p:n])) for row, n, p in rows]


class TableReward:
    """Scores from a table of completions; what is not in it scores 0.

    Args:
        table: Completion to score, like `{"abc": 1.0, "": -1.0}`; the empty completion is EOS at
            once. `"bc:abc"` is the completion abc of the prompt bc alone, and goes before `"abc"`.
        letters: What completions are made of.
        shape: The prompts, and how long completions can be.

    Raises:
        SettingError: a key is no completion of this task, or a score no finite number.
    """

    any_width = True

    def __init__(
        self,
        table: Mapping[str, float],
        letters: LetterVocabulary = LETTER_TOKENS,
        shape: TextShape | None = None,
    ) -> None:
        self._letters = letters
        for key, score in table.items():
            _check_completion(key, letters, shape or TextShape())
            if isinstance(score, bool) or not isinstance(score, int | float | np.number):
                score = math.nan
            if not math.isfinite(score):
                raise SettingError(
                    f"the reward table must give finite numbers, got {table[key]!r} for {key!r}."
                )
        self._table = {key: float(score) for key, score in table.items()}

    def score(self, tokens: Ints, lengths: Ints) -> NDArray[np.float64]:
        """As `score_completions` after prompts of two letters."""
        return self.score_completions(tokens, lengths, np.full(len(tokens), 2))

    def score_completions(
        self, tokens: Ints, lengths: Ints, prompt_lengths: Ints
    ) -> NDArray[np.float64]:
        """Scores [B] of texts `tokens` [B, W] of `lengths` [B]."""
        reader = TextReward(self._look_up, self._letters)
        return np.array(reader.score_completions(tokens, lengths, prompt_lengths), np.float64)

    def _look_up(self, prompt: str, completion: str) -> float:
        return self._table.get(f"{prompt}:{completion}", self._table.get(completion, 0.0))


def gold_reward() -> FeatureReward:
    """The gold reward."""
    return GOLD


def resolve_rewards(
    reward: Any, scales: Any, vocabulary: Vocabulary, shape: TextShape, learn: Learner
) -> tuple[Judge, ...]:
    """What the keywords `reward` and `reward_scales` stand for: a judge, or several.

    Args:
        reward: What `resolve_reward` takes, or a list of these.
        scales: What each score is multiplied by; None: nothing.
        vocabulary: Of the task.
        shape: Of its texts.
        learn: Fits learned rewards.

    Raises:
        SettingError: it stands for nothing, or the scales are no finite numbers, one per reward.
        UnknownIdError: no reward model has this id.
    """
    several = list(reward) if isinstance(reward, list | tuple) else [reward]
    if not several:
        raise SettingError("reward must name at least one reward model, got an empty list.")
    factors = [1.0] * len(several) if scales is None else scales
    if not _are_numbers(factors, len(several)):
        raise SettingError(
            f"reward_scales must be {len(several)} finite numbers, one per reward, got {scales!r}."
        )
    judges = []
    for one, factor in zip(several, factors, strict=True):
        model, name = resolve_reward(one, vocabulary, shape, learn)
        judges.append(Judge(model, name, vocabulary, float(factor)))
    return tuple(judges)


def resolve_reward(
    reward: Any, vocabulary: Vocabulary, shape: TextShape, learn: Learner
) -> tuple[RewardModel, str]:
    """What one reward stands for, and its name in messages; see `resolve_rewards`."""
    if isinstance(reward, str):
        return _named_reward(reward, vocabulary, shape, learn), repr(reward)
    if (hasattr(reward, "score") or hasattr(reward, "score_completions")) and not isinstance(
        reward, type
    ):
        _check_reader(reward, type(reward).__name__, vocabulary, shape)
        return reward, type(reward).__name__
    if isinstance(reward, Mapping):
        if not isinstance(vocabulary, LetterVocabulary):
            raise SettingError(
                "a reward table spells completions in letters, but the tokens of this task are "
                "those of a tokenizer: use a function or a TextReward instead."
            )
        return TableReward(reward, vocabulary, shape), "table"
    if callable(reward) and not isinstance(reward, type):
        return FunctionReward(reward), getattr(reward, "__name__", type(reward).__name__)
    raise SettingError(
        "reward must be 'gold', 'learned', 'linear', 'mlp', 'tabular', the id of a registered "
        "reward model, the path of a model's folder, a table of completions, a function "
        "(tokens, lengths) -> scores, an object with score(tokens, lengths), or a list of these; "
        f"got {reward!r}."
    )


def _named_reward(
    name: str, vocabulary: Vocabulary, shape: TextShape, learn: Learner
) -> RewardModel:
    if name == "gold":
        return GOLD
    if name in LEARNED:
        return learn(name)
    if is_path(name):
        found: RewardModel = load_folder("reward_model", name, vocabulary)
        _check_reader(found, repr(name), vocabulary, shape)
        return found
    if "/" not in name:
        raise SettingError(
            f"reward must be 'gold', {', '.join(map(repr, LEARNED))}, the id of a registered "
            "reward model ('namespace/Name-v0') or the path of a folder ('./folder') where it is a "
            f"string, got {name!r}."
        )
    model = load_registered("reward_model", name)
    if isinstance(model, str):
        raise SettingError(
            f"the factory of the reward model {name!r} must return a model, a table or a function, "
            f"got the string {model!r}."
        )
    return resolve_reward(model, vocabulary, shape, learn)[0]


def _check_reader(model: Any, name: str, vocabulary: Vocabulary, shape: TextShape) -> None:
    """Raises `SettingError` where a model says that it reads other tokens, or shorter texts."""
    size = getattr(model, "vocab_size", None)
    if size is None:
        return
    own = getattr(model, "vocabulary", None)
    other = isinstance(own, LetterVocabulary) and own != vocabulary
    if size != vocabulary.size or other:
        raise SettingError(
            f"the reward model {name} reads {_spelt(own, size)}, and this task writes "
            f"{_spelt(vocabulary, vocabulary.size)}: it has learned on another task."
        )
    context = getattr(model, "context", shape.width)
    if context < shape.width:
        raise SettingError(
            f"the reward model {name} reads texts of at most {context} tokens, and those of this "
            f"task have up to {shape.width}: lower max_new_tokens, or take another model."
        )


def _spelt(vocabulary: Any, size: int) -> str:
    letters = getattr(vocabulary, "letters", None)
    return f"{size} tokens" if letters is None else f"{size} tokens (the letters {letters!r}, EOS)"


def _are_numbers(values: Any, count: int) -> bool:
    return (
        isinstance(values, Sequence | np.ndarray)
        and not isinstance(values, str)
        and len(values) == count
        and all(
            isinstance(v, int | float | np.number) and not isinstance(v, bool) and math.isfinite(v)
            for v in values
        )
    )


def _check_completion(key: object, letters: LetterVocabulary, shape: TextShape) -> None:
    """Raises `SettingError` unless `key` reads `abc` or `bc:abc`."""
    prompts = [letters.decode(prompt) for prompt in shape.prompts]
    prompt, colon, completion = key.rpartition(":") if isinstance(key, str) else ("?", ":", "?")
    known_prompt = not colon or prompt in prompts
    limit = shape.max_new_tokens
    if not known_prompt or len(completion) > limit or set(completion) - set(letters.letters):
        raise SettingError(
            f"the keys of a reward table are completions of at most {limit} of the "
            f"letters {letters.letters}, alone or after a prompt ({', '.join(prompts)}) and a "
            f"colon, like 'abc' or 'bc:abc'; got {key!r}."
        )
