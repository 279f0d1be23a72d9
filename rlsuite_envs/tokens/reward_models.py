"""Reward models: what scores a finished text.

The gold reward is a closed form; the learned one is a Bradley-Terry model of the same features,
fitted to preferences that were sampled from the gold reward; users bring a table, a function or an
object of their own. None of them knows the limit on new tokens: what a text costs that was cut off
there is the environment's keyword `no_eos`, added to every model's score.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.catalogue import registry
from registry.errors import SettingError
from registry.texts import RewardModel
from rlsuite_envs.tokens.preferences import fit_bradley_terry, n_features, sample_preferences
from rlsuite_envs.tokens.reference_models import as_array, markov_reference, tabulate
from rlsuite_envs.tokens.tables import (
    BIGRAM,
    EOS,
    LENGTH_COST,
    LETTERS,
    MAX_NEW_TOKENS,
    N_LETTERS,
    POSITION,
    PROMPT_LENGTH,
    PROMPTS,
)
from rlsuite_envs.tokens.tree import PrefixTree, check_tokens, prefix_tree, spell

__all__ = [
    "GOLD",
    "FeatureReward",
    "FunctionReward",
    "TableReward",
    "gold_reward",
    "learned_reward",
    "resolve_reward",
    "scores_in_blocks",
    "scores_of",
    "scores_of_all_texts",
]

N_PREFERENCES = 1000
"""Pairs that the learned reward is fitted to."""
PREFERENCE_SEED = 1
"""Seed of those pairs."""
RIDGE = 1.0
"""λ of the penalty (λ/2)|w|² in the fit. It also settles what the features leave open: the
one-hot positions, the one-hot bigrams and the length all count the letters."""
DECIMALS = 4
"""The fitted weights are rounded to this many decimals, so that every machine has the same."""


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

    def score(self, tokens: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.float64]:
        """Scores [B] of texts `tokens` [B, T], prompt and completion, of `lengths` [B].

        Raises:
            InvalidObservationError: a row is no text.
            SettingError: a row has more letters than `position` has rows.
        """
        tokens, lengths = check_tokens(tokens, lengths)
        rows = zip(tokens.tolist(), lengths.tolist(), strict=True)
        return np.array([self._score(row[:length]) for row, length in rows], np.float64)

    def _score(self, text: list[int]) -> float:
        terms: list[float] = []
        letters = text[PROMPT_LENGTH:-1] if text[-1] == EOS else text[PROMPT_LENGTH:]
        if len(letters) > len(self.position):
            raise SettingError(
                f"this reward scores texts of at most {len(self.position)} letters after the "
                f"prompt, got {len(letters)}: {spell(letters)!r}."
            )
        previous = text[PROMPT_LENGTH - 1]
        for t, letter in enumerate(letters):
            terms += (self.position[t][letter], self.bigram[previous][letter], self.length)
            previous = letter
        return math.fsum(terms)


GOLD = FeatureReward(POSITION, BIGRAM, -LENGTH_COST)
"""The true reward of the task."""


@dataclass(frozen=True, slots=True)
class FunctionReward:
    """A user's function `(tokens [B, T], lengths [B]) -> scores [B]` as a reward model."""

    function: Callable[[NDArray[np.int64], NDArray[np.int64]], Any]

    def score(self, tokens: NDArray[np.int64], lengths: NDArray[np.int64]) -> Any:
        """Whatever the function returns; `scores_of` checks it."""
        return self.function(tokens, lengths)


class TableReward:
    """Scores from a table of completions; what is not in it scores 0.

    Args:
        table: Completion to score, like `{"abc": 1.0, "": -1.0}`; the empty completion is EOS at
            once. `"bc:abc"` is the completion abc of the prompt bc alone, and goes before `"abc"`.

    Raises:
        SettingError: a key is no completion of this task, or a score no finite number.
    """

    def __init__(self, table: Mapping[str, float]) -> None:
        for key, score in table.items():
            _check_completion(key)
            if isinstance(score, bool) or not isinstance(score, int | float | np.number):
                score = math.nan
            if not math.isfinite(score):
                raise SettingError(
                    f"the reward table must give finite numbers, got {table[key]!r} for {key!r}."
                )
        self._table = {key: float(score) for key, score in table.items()}

    def score(self, tokens: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.float64]:
        """Scores [B] of texts `tokens` [B, T] of `lengths` [B].

        Raises:
            InvalidObservationError: a row is no text.
        """
        tokens, lengths = check_tokens(tokens, lengths)
        rows = zip(tokens.tolist(), lengths.tolist(), strict=True)
        return np.array([self._score(row[:length]) for row, length in rows], np.float64)

    def _score(self, text: list[int]) -> float:
        completion = spell([token for token in text[PROMPT_LENGTH:] if token != EOS])
        of_prompt = f"{spell(text[:PROMPT_LENGTH])}:{completion}"
        return self._table.get(of_prompt, self._table.get(completion, 0.0))


def gold_reward() -> FeatureReward:
    """The gold reward."""
    return GOLD


def learned_reward(
    reference: NDArray[np.float64] | None = None, max_new_tokens: int = MAX_NEW_TOKENS
) -> FeatureReward:
    """The Bradley-Terry model of the gold reward's features (Bradley & Terry 1952).

    Both answers of a pair are sampled from the reference policy for the same prompt; the first is
    preferred with probability σ(gold(first) - gold(second)). The fit is done once per process.

    Args:
        reference: log ref(a | s) in every decision state, [P, N, 7] as `tabulate` gives it; None
            is the task's own.
        max_new_tokens: At most this many new tokens in an answer.
    """
    if reference is None:
        reference = tabulate(markov_reference(), "'markov'", prefix_tree(max_new_tokens))
    return _fitted(reference.tobytes(), max_new_tokens)


@lru_cache(maxsize=8)
def _fitted(reference: bytes, max_new_tokens: int) -> FeatureReward:
    tree = prefix_tree(max_new_tokens)
    log_probs = np.frombuffer(reference).reshape(tree.n_prompts, tree.n_prefixes, -1)
    rng = np.random.default_rng(PREFERENCE_SEED)
    gold = scores_of_all_texts(GOLD, "'gold'", tree)
    pairs = sample_preferences(tree, log_probs, gold, N_PREFERENCES, rng)
    weights = np.round(fit_bradley_terry(pairs.feature_differences(tree), RIDGE), DECIMALS)
    positions = MAX_NEW_TOKENS * N_LETTERS
    return FeatureReward(
        tuple(map(tuple, weights[:positions].reshape(MAX_NEW_TOKENS, N_LETTERS).tolist())),
        tuple(map(tuple, weights[positions:-1].reshape(N_LETTERS, N_LETTERS).tolist())),
        float(weights[n_features() - 1]),
    )


def resolve_reward(
    reward: Any, reference: NDArray[np.float64], tree: PrefixTree
) -> tuple[RewardModel, str]:
    """What the keyword `reward` stands for, and its name in messages.

    Raises:
        SettingError: it stands for nothing.
        UnknownIdError: no reward model has this id.
    """
    if isinstance(reward, str):
        return _named_reward(reward, reference, tree), repr(reward)
    if hasattr(reward, "score") and not isinstance(reward, type):
        return reward, type(reward).__name__
    if isinstance(reward, Mapping):
        return TableReward(reward), "table"
    if callable(reward) and not isinstance(reward, type):
        return FunctionReward(reward), getattr(reward, "__name__", type(reward).__name__)
    raise SettingError(
        "reward must be 'gold', 'learned', the id of a registered reward model, a table of "
        "completions, a function (tokens, lengths) -> scores or an object with "
        f"score(tokens, lengths), got {reward!r}."
    )


def _named_reward(name: str, reference: NDArray[np.float64], tree: PrefixTree) -> RewardModel:
    if name == "gold":
        return GOLD
    if name == "learned":
        return learned_reward(reference, tree.max_new_tokens)
    if "/" not in name:
        raise SettingError(
            "reward must be 'gold', 'learned' or the id of a registered reward model "
            f"('namespace/Name-v0') where it is a string, got {name!r}."
        )
    model = registry.get("reward_model", name).load()()
    if isinstance(model, str):
        raise SettingError(
            f"the factory of the reward model {name!r} must return a model, a table or a function, "
            f"got the string {model!r}."
        )
    return resolve_reward(model, reference, tree)[0]


def scores_of(
    model: RewardModel, name: str, tokens: NDArray[np.int64], lengths: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The model's scores of finished texts, checked: float64 [B].

    Raises:
        SettingError: the model returned something else than B finite numbers.
    """
    scores = as_array(model.score(tokens, lengths))
    if scores.dtype.kind not in "fiu" or scores.shape != lengths.shape:
        raise SettingError(
            f"the reward model {name} must return one number per text, shape {lengths.shape}; it "
            f"returned {scores.dtype} of shape {scores.shape}."
        )
    bad = ~np.isfinite(scores)
    if bad.any():
        row = int(np.argmax(bad))
        text = tokens[row, PROMPT_LENGTH : lengths[row]]
        raise SettingError(
            f"the reward model {name} must return finite scores; it scored the completion "
            f"{spell(text[text != EOS])!r} of the prompt {spell(tokens[row, :PROMPT_LENGTH])!r} "
            f"with {scores[row]}."
        )
    return scores.astype(np.float64)


def scores_in_blocks(
    model: RewardModel, name: str, tokens: NDArray[np.int64], lengths: NDArray[np.int64]
) -> NDArray[np.float64]:
    """As `scores_of`, whatever the number of texts asked for at once.

    The last bits of a network's output change with the number of rows it is given. A model that is
    not one of ours is therefore always given `WIDTH` texts, the first one repeated where there are
    fewer.

    Raises:
        SettingError: as for `scores_of`.
    """
    if isinstance(model, FeatureReward | TableReward):
        return scores_of(model, name, tokens, lengths)
    scores = np.empty(len(lengths))
    for first in range(0, len(lengths), WIDTH):
        rows = np.full(WIDTH, first)
        count = min(WIDTH, len(lengths) - first)
        rows[:count] = np.arange(first, first + count)
        answers = scores_of(model, name, tokens[rows], lengths[rows])
        scores[first : first + count] = answers[:count]
    return scores


WIDTH = 16
"""Texts per call of a user's reward model while texts are being written."""


def scores_of_all_texts(model: RewardModel, name: str, tree: PrefixTree) -> NDArray[np.float64]:
    """The model's scores of every finished text, [P, M]; built-in ones once per process.

    Raises:
        SettingError: as for `scores_of`.
    """
    if isinstance(model, FeatureReward):
        return _feature_scores(model, tree.max_new_tokens)
    tokens, lengths = tree.texts()
    blocks = [slice(first, first + BLOCK) for first in range(0, len(tokens), BLOCK)]
    scores = [scores_of(model, name, tokens[block], lengths[block]) for block in blocks]
    return np.concatenate(scores).reshape(tree.n_prompts, tree.n_texts)


BLOCK = 4096
"""Texts per call where all of them are scored: enough to be fast, few enough for a network."""


@lru_cache(maxsize=8)
def _feature_scores(model: FeatureReward, max_new_tokens: int) -> NDArray[np.float64]:
    tree = prefix_tree(max_new_tokens)
    scores = model.score(*tree.texts()).reshape(tree.n_prompts, tree.n_texts)
    scores.flags.writeable = False
    return scores


def _check_completion(key: object) -> None:
    """Raises `SettingError` unless `key` reads `abc` or `bc:abc`."""
    prompts = [spell(prompt) for prompt in PROMPTS]
    prompt, colon, completion = key.rpartition(":") if isinstance(key, str) else ("?", ":", "?")
    known_prompt = not colon or prompt in prompts
    if not known_prompt or len(completion) > MAX_NEW_TOKENS or set(completion) - set(LETTERS):
        raise SettingError(
            f"the keys of a reward table are completions of at most {MAX_NEW_TOKENS} of the "
            f"letters {LETTERS}, alone or after a prompt ({', '.join(prompts)}) and a colon, like "
            f"'abc' or 'bc:abc'; got {key!r}."
        )
