"""What token tasks, sequence models and reward models promise each other.

Texts are rows of tokens, prompt first, right-padded. PAD is the number of tokens, so it is neither
an action nor EOS, and nobody looks at what stands at or beyond a row's length. Notation: B rows of
T places, V tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from registry.errors import SettingError

__all__ = [
    "ExtendsPrefixes",
    "LetterVocabulary",
    "PreferencePairs",
    "ReferenceModel",
    "RewardModel",
    "SampledTexts",
    "SamplesTexts",
    "ScoresTokens",
    "SequencePolicy",
    "TextBatch",
    "TokenTask",
    "Vocabulary",
    "first_difference",
]


class SequencePolicy(Protocol):
    """A policy over token sequences. PAD is the number of tokens, and nobody looks at padding."""

    def log_probs(
        self, tokens: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> NDArray[np.floating]:
        """Next-token log-probabilities [B, V] after the prefixes `tokens` [B, T], right-padded.

        What stands at or beyond a row's length is not looked at. -inf: never written there.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class SampledTexts:
    """B finished texts. N is the limit on new tokens.

    `tokens`: prompt and new tokens, right-padded, int64 [B, P + N]. `lengths`: of both together
    [B]. `log_probs`: log π of each new token, EOS included, 0 after the end; [B, N]. `values`: what
    the writer thinks of the text before each new token, [B, N], or None.
    """

    tokens: NDArray[np.int64]
    lengths: NDArray[np.int64]
    log_probs: NDArray[np.floating]
    values: NDArray[np.floating] | None = None


@runtime_checkable
class SamplesTexts(Protocol):
    """A sequence policy that writes whole texts by itself, faster than asked token by token."""

    def sample(
        self,
        prompts: NDArray[np.int64],
        lengths: NDArray[np.int64],
        uniforms: NDArray[np.float64],
        *,
        eos: int,
        pad: int,
    ) -> SampledTexts:
        """Completes B prompts [B, P], right-padded, by inverse CDF; draws nothing.

        The t-th new token of row i is the first one whose cumulative probability, relative to their
        sum, is above `uniforms[i, t]`; the last possible one takes what rounding leaves. A row ends
        with EOS or with its N-th new token, N the columns of `uniforms`.
        """
        ...


@runtime_checkable
class ExtendsPrefixes(Protocol):
    """A sequence policy that remembers prefixes, so that one more token costs one more token."""

    def start(
        self, prompts: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> tuple[NDArray[np.floating], Any]:
        """Next-token log-probabilities [B, V] after B prefixes, and what is remembered of them."""
        ...

    def extend(
        self, state: Any, parents: NDArray[np.int64], tokens: NDArray[np.int64]
    ) -> tuple[NDArray[np.floating], Any]:
        """The same after C longer prefixes: row j is row `parents[j]` of `state` and `tokens[j]`.

        Rows of `state` may be taken several times or not at all. `state` may be overwritten.
        """
        ...


@runtime_checkable
class ScoresTokens(Protocol):
    """A sequence policy that gives the log-probabilities of given texts in one pass."""

    def token_log_probs(
        self,
        tokens: NDArray[np.int64],
        lengths: NDArray[np.int64],
        prompt_lengths: NDArray[np.int64],
    ) -> NDArray[np.floating]:
        """Log π(token t | those before it) of texts [B, T]; 0 in prompts and padding: [B, T]."""
        ...


class Vocabulary(Protocol):
    """The tokens of a task: 0 to size - 1, the end of a text among them. PAD is `size`."""

    @property
    def size(self) -> int:
        """V, the number of tokens, EOS included."""
        ...

    @property
    def eos(self) -> int:
        """The token that ends a text."""
        ...

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, without EOS."""
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens; EOS and PAD are left out."""
        ...


@dataclass(frozen=True, slots=True)
class LetterVocabulary:
    """Single characters as tokens: their places, and EOS after the last of them."""

    letters: str

    @property
    def size(self) -> int:
        """Number of tokens: the letters and EOS."""
        return len(self.letters) + 1

    @property
    def eos(self) -> int:
        """The token that ends a text."""
        return len(self.letters)

    def encode(self, text: str) -> list[int]:
        """The places of the letters.

        Raises:
            SettingError: a character is no letter of this vocabulary.
        """
        unknown = sorted(set(text) - set(self.letters))
        if unknown:
            raise SettingError(
                f"the letters of this task are {self.letters!r}; got {unknown} in {text!r}."
            )
        return [self.letters.index(letter) for letter in text]

    def decode(self, tokens: Sequence[int]) -> str:
        """The letters; EOS and PAD are left out."""
        return "".join(self.letters[token] for token in tokens if token < len(self.letters))


@dataclass(frozen=True, slots=True, eq=False)
class TextBatch:
    """n finished texts of a task, with all that is known of them. T: the limit on new tokens.

    `prompts`: numbers of the prompts [n]. `tokens` [n, W], right-padded, `lengths` [n] with and
    `prompt_lengths` [n] without the new tokens. `mask` [n, T]: which of the T places hold a new
    token, EOS included; `log_probs` and `ref_log_probs` [n, T]: theirs under the policy that wrote
    and under the reference, 0 elsewhere. `scores` [n, K]: what each of K reward models said;
    `rewards` [n]: their sum, with what a cut text costs; `no_eos` [n]: which were cut. `gold` [n]:
    the true reward where `rewards` may be a proxy of it, None where nobody knows one. `values`
    [n, T]: what the policy's value head said, 0 after the end; None where it has none.
    """

    prompts: NDArray[np.int64]
    prompt_lengths: NDArray[np.int64]
    tokens: NDArray[np.int64]
    lengths: NDArray[np.int64]
    mask: NDArray[np.bool_]
    log_probs: NDArray[np.float64]
    ref_log_probs: NDArray[np.float64]
    scores: NDArray[np.float64]
    rewards: NDArray[np.float64]
    no_eos: NDArray[np.bool_]
    gold: NDArray[np.float64] | None
    values: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class PreferencePairs:
    """n pairs of finished texts that answer the same prompt, and which of the two is preferred.

    `chosen` and `rejected` [n, W]: prompt and answer with EOS, right-padded; `chosen_lengths`,
    `rejected_lengths` [n] with and `prompt_lengths` [n] without the answer.
    """

    prompt_lengths: NDArray[np.int64]
    chosen: NDArray[np.int64]
    chosen_lengths: NDArray[np.int64]
    rejected: NDArray[np.int64]
    rejected_lengths: NDArray[np.int64]


@runtime_checkable
class TokenTask(Protocol):
    """An environment that writes texts, and can have whole batches of them written."""

    @property
    def vocabulary(self) -> Vocabulary:
        """The tokens; PAD is its `size`."""
        ...

    @property
    def prompts(self) -> tuple[tuple[int, ...], ...]:
        """The prompts, equally likely."""
        ...

    @property
    def max_new_tokens(self) -> int:
        """T."""
        ...

    @property
    def beta(self) -> float:
        """β of the objective."""
        ...

    @property
    def reference_model(self) -> ReferenceModel:
        """π_ref."""
        ...

    @property
    def n_rewards(self) -> int:
        """K, the number of reward models."""
        ...

    def rollout(
        self,
        policy: Any,
        n: int,
        *,
        rng: np.random.Generator,
        prompts: Sequence[int] | NDArray[np.int64] | None = None,
        group_size: int = 1,
    ) -> TextBatch:
        """Has n texts written by a `SequencePolicy`, or by a function like its `log_probs`.

        Draws one uniform per group for its prompt, unless `prompts` names one per group, then
        [n, T] for the tokens. Rows of a group, `group_size` neighbours, share their prompt.
        """
        ...

    def score(
        self,
        tokens: NDArray[np.int64],
        lengths: NDArray[np.int64],
        prompt_lengths: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float64]:
        """Rewards [B] of finished texts; `prompt_lengths` are needed where they are unlike."""
        ...

    def score_parts(
        self,
        tokens: NDArray[np.int64],
        lengths: NDArray[np.int64],
        prompt_lengths: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float64]:
        """What each of the K reward models says about finished texts, [B, K]."""
        ...

    def sampled_metrics(
        self, policy: SequencePolicy, n: int, *, rng: np.random.Generator
    ) -> Mapping[str, float]:
        """What an oracle would say about a policy, estimated from n texts."""
        ...

    def preferences(
        self, n: int, *, rng: np.random.Generator, source: str = "gold"
    ) -> PreferencePairs:
        """N pairs of answers sampled from the reference policy, or read from the file `source`."""
        ...


class RewardModel(Protocol):
    """Scores finished texts."""

    def score(self, tokens: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.float64]:
        """One score per row of `tokens` [B, T], prompt and completion, right-padded."""
        ...


class ReferenceModel(Protocol):
    """π_ref: next-token log-probabilities."""

    def log_probs(
        self, tokens: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Next-token log-probabilities [B, V] after prefixes `tokens` [B, T] of `lengths` [B]."""
        ...


def first_difference(one: Vocabulary, other: Vocabulary) -> int | None:
    """The first token that two vocabularies of one size spell differently, or end texts with."""
    if one == other:
        return None
    if one.eos != other.eos:
        return min(one.eos, other.eos)
    spelt = ((token, one.decode([token]), other.decode([token])) for token in range(one.size))
    return next((token for token, mine, yours in spelt if mine != yours), None)
