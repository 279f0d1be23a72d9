"""Policies over texts: a network, the reference that it starts from, and a temperature.

    π(a | text) = softmax((f(text) + log ref(a | text)) / temperature)

f are the network's logits, and the reference may be left out. A network whose logits start at 0
starts as the reference: KL(π ‖ ref) = 0 exactly. The temperature belongs to the policy: sampling,
training and the reference beside it all use it.

The same network samples and is trained, so that there is one π and nothing to correct.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from registry.errors import SettingError
from registry.texts import ReferenceModel, SampledTexts
from rlsuite_agents.parts.checkpoint import Checkpoint
from rlsuite_agents.parts.device import single_thread
from rlsuite_agents.parts.predict import mask_rows
from rlsuite_agents.parts.rows import check_room, readable
from rlsuite_agents.parts.sampler import sample_texts
from rlsuite_agents.parts.weights import restore_weights, weight_arrays

__all__ = [
    "TextOutputs",
    "TextPolicy",
    "completion_mask",
    "next_token_probabilities",
]

ROWS = 1024
"""Rows of a forward pass outside training: enough to be fast, few enough for the memory."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class TextOutputs:
    """What a policy says of B given texts, as tensors through which gradients flow.

    Columns are new tokens, the t-th in column t, 0 after the last. `log_probs`: log π of each,
    [B, N]. `entropies`: of π before each, [B, N], without gradient. `values`: v̂ before each,
    [B, N], or None.
    """

    log_probs: Tensor
    entropies: Tensor
    values: Tensor | None


class TextPolicy:
    """A policy over texts. It answers all of `registry.texts`, and `evaluate` for training.

    Args:
        network: f, a `Transformer` or a `CausalLM`: `network(tokens)` gives hidden states
            [B, T, width] and `before(texts, starts, n)` those before new tokens, `logits` reads
            them, and `cache(rows, capacity)` remembers texts, by `start(prompts, lengths)`,
            `extend(tokens)` and `select(rows)`.
        reference: Whose log-probabilities are added to the logits, or None.
        temperature: Above 0.
        value_head: Whether it also says v̂(text), 0 at first.
        precision: Of matrix products: "float32", or "bfloat16" for large networks on a GPU.
    """

    def __init__(
        self,
        network: Any,
        *,
        reference: ReferenceModel | None = None,
        temperature: float = 1.0,
        value_head: bool = False,
        precision: str = "float32",
    ) -> None:
        if not 0 < temperature < float("inf"):
            raise SettingError(f"a temperature is a finite number above 0, got {temperature!r}.")
        if precision not in ("float32", "bfloat16"):
            raise SettingError(f"precision is 'float32' or 'bfloat16', got {precision!r}.")
        self.network, self.reference = network, reference
        self.temperature, self.precision = temperature, precision
        device = next(network.parameters()).device
        self.value = nn.Parameter(torch.zeros(network.width + 1, device=device))
        self.value_head = value_head
        self.vocabulary: Any = None  # known of models that come from a folder
        self.digest = ""

    @property
    def vocab_size(self) -> int:
        """V."""
        return int(self.network.vocabulary)

    @property
    def context(self) -> int:
        """Most tokens of prompt and text."""
        return int(self.network.context)

    def arrays(self, name: str = "policy") -> dict[str, NDArray[Any]]:
        """All weights by name, for a checkpoint."""
        value = self.value.detach().cpu().numpy()
        return {**weight_arrays(self.network, f"{name}.network"), f"{name}.value": value}

    def restore(self, found: Checkpoint, name: str = "policy") -> None:
        """Takes the weights of `arrays`; raises `CheckpointError` where they do not fit."""
        restore_weights(self.network, found, f"{name}.network")
        value = found.array(f"{name}.value", tuple(self.value.shape), np.float32)
        with torch.no_grad():
            self.value.copy_(torch.from_numpy(value))

    def action_probabilities(
        self, observations: Any, *, deterministic: bool, mask: Any = None
    ) -> NDArray[np.float64]:
        """π(a|s) of a batch of a token task's observations, [B, V].

        Args:
            observations: `tokens` [B, T] and `length` [B], perhaps `action_mask` [B, V].
            deterministic: all probability on the likeliest token, the lowest among equals.
            mask: tokens allowed, [B, V]; None is the observations' own, or all.
        """
        return next_token_probabilities(self, observations, deterministic, mask)

    def parameters(self) -> list[nn.Parameter]:
        """What is trained: the network's weights, and the value head where there is one."""
        return [*self.network.parameters(), *([self.value] if self.value_head else [])]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.value.device

    def evaluate(
        self,
        tokens: Ints,
        lengths: Ints,
        prompt_lengths: Ints,
        n_new: int,
        *,
        base: Tensor | None = None,
    ) -> TextOutputs:
        """Log-probabilities, entropies and values of given texts, for training.

        Args:
            tokens: Prompt and new tokens, right-padded, [B, T].
            lengths: Of both together, [B].
            prompt_lengths: [B], at least 1.
            n_new: N, the columns of the answer.
            base: What `base_of` gave for the same arguments, so that it is not asked again.

        Raises:
            InvalidObservationError: a token is outside the vocabulary, or a text is longer than the
                network's context.
        """
        if base is None:
            base = self.base_of(tokens, lengths, prompt_lengths, n_new)
        longest = min(n_new, max(int((lengths - prompt_lengths).max(initial=0)), 1))
        padded = partial(nn.functional.pad, pad=(0, n_new - longest))
        base = None if base is None else base[:, :longest]
        mask = torch.from_numpy(completion_mask(lengths, prompt_lengths, longest)).to(self.device)
        texts = self.readable(tokens, lengths)
        places = np.minimum(prompt_lengths[:, None] + np.arange(longest), texts.shape[1] - 1)
        chosen = texts.gather(1, self.tensor(places))
        with self._precise():
            hidden = self.network.before(texts, prompt_lengths, longest)
            logits = self.network.logits(hidden)
        values = self.values(hidden.float()) if self.value_head else None
        log_pi = self._normalised(logits.float(), base)
        picked = log_pi.gather(2, chosen[..., None])[..., 0]
        return TextOutputs(
            log_probs=padded(picked.masked_fill(~mask, 0.0)),
            entropies=padded(_entropy(log_pi.detach()).masked_fill(~mask, 0.0)),
            values=None if values is None else padded(values.masked_fill(~mask, 0.0)),
        )

    def base_of(
        self, tokens: Ints, lengths: Ints, prompt_lengths: Ints, n_new: int
    ) -> Tensor | None:
        """Log ref before each new token, [B, N, V], 0 after the end; None without a reference."""
        if self.reference is None:
            return None
        mask = completion_mask(lengths, prompt_lengths, n_new)
        rows, columns = np.nonzero(mask)
        base = np.zeros((*mask.shape, self.network.vocabulary), np.float32)
        if len(rows):
            base[mask] = self.reference.log_probs(tokens[rows], prompt_lengths[rows] + columns)
        return torch.from_numpy(base).to(self.device)

    def sample(
        self, prompts: Ints, lengths: Ints, uniforms: NDArray[np.float64], *, eos: int, pad: int
    ) -> SampledTexts:
        """Completes prompts; see `registry.texts.SamplesTexts`.

        Raises:
            InvalidObservationError: as for `evaluate`.
        """
        with self._acting():
            return sample_texts(self, prompts, lengths, uniforms, eos=eos, pad=pad)

    def log_probs(self, tokens: Ints, lengths: Ints) -> NDArray[np.float32]:
        """Next-token log-probabilities [B, V] after the prefixes `tokens` [B, T], right-padded.

        Raises:
            InvalidObservationError: as for `evaluate`.
        """
        tokens, lengths = np.asarray(tokens), np.asarray(lengths)
        found = np.empty((len(tokens), self.network.vocabulary), np.float32)
        with self._acting():
            for first in range(0, len(tokens), ROWS):
                some = slice(first, first + ROWS)
                read = self.network(self.readable(tokens[some], lengths[some]))
                at = self.tensor(lengths[some] - 1)
                hidden = read[torch.arange(len(at), device=self.device), at]
                base = self.base(tokens[some], lengths[some])
                found[some] = self.log_pi(hidden, base).cpu().numpy()
        return found

    def token_log_probs(
        self, tokens: Ints, lengths: Ints, prompt_lengths: Ints
    ) -> NDArray[np.float32]:
        """Log π(token t | those before it) of texts [B, T]; 0 in prompts and padding: [B, T].

        Raises:
            InvalidObservationError: as for `evaluate`.
        """
        tokens, lengths = np.asarray(tokens), np.asarray(lengths)
        prompt_lengths = np.asarray(prompt_lengths)
        found = np.zeros(tokens.shape, np.float32)
        with self._acting():
            for first in range(0, len(tokens), ROWS):
                some = slice(first, first + ROWS)
                n_new = int((lengths[some] - prompt_lengths[some]).max(initial=0))
                rows = (tokens[some], lengths[some], prompt_lengths[some])
                outputs = self.evaluate(*rows, n_new)
                row, column = np.nonzero(completion_mask(*rows[1:], n_new))
                log_probs = outputs.log_probs.cpu().numpy()[row, column]
                found[some][row, prompt_lengths[some][row] + column] = log_probs
        return found

    def start(self, prompts: Ints, lengths: Ints) -> tuple[NDArray[np.float32], Any]:
        """Next-token log-probabilities [B, V] after prefixes, and a cache of them."""
        prompts, lengths = np.asarray(prompts), np.asarray(lengths)
        with self._acting():
            cache = self.network.cache(len(prompts), prompts.shape[1] + 1)
            hidden = cache.start(self.readable(prompts, lengths), self.tensor(lengths))
            log_pi = self.log_pi(hidden, self.base(prompts, lengths))
        return log_pi.cpu().numpy(), _Prefixes(cache, prompts, lengths)

    def extend(self, state: Any, parents: Ints, tokens: Ints) -> tuple[NDArray[np.float32], Any]:
        """The same after one more token: row j is row `parents[j]` of `state` and `tokens[j]`."""
        parents, tokens = np.asarray(parents), np.asarray(tokens)
        lengths, n = state.lengths[parents], len(parents)
        texts = np.zeros((n, int(lengths.max(initial=0)) + 1), np.int64)
        texts[:, : state.tokens.shape[1]] = state.tokens[parents][:, : texts.shape[1]]
        texts[np.arange(n), lengths] = tokens
        longer = lengths + 1
        with self._acting():
            self.readable(tokens[:, None], np.ones_like(tokens))
            check_room(self.network, longer)
            cache = state.cache.select(self.tensor(parents))
            log_pi = self.log_pi(cache.extend(self.tensor(tokens)), self.base(texts, longer))
        return log_pi.cpu().numpy(), _Prefixes(cache, texts, longer)

    def log_pi(self, hidden: Tensor, base: Tensor | None) -> Tensor:
        """Log π [..., V] from hidden states, in float32."""
        return self._normalised(self.network.logits(hidden).float(), base)

    def _normalised(self, logits: Tensor, base: Tensor | None) -> Tensor:
        logits = logits if base is None else logits + base
        if self.temperature != 1.0:
            logits = logits / self.temperature
        return torch.log_softmax(logits, dim=-1)

    def values(self, hidden: Tensor) -> Tensor:
        """v̂ [...] from hidden states [..., width]."""
        return hidden @ self.value[:-1] + self.value[-1]

    def base(self, tokens: Ints, lengths: Ints) -> Tensor | None:
        """Log ref [B, V] after prefixes, or None without a reference."""
        if self.reference is None:
            return None
        log_probs = np.asarray(self.reference.log_probs(tokens, lengths), np.float32)
        return torch.from_numpy(log_probs).to(self.device)

    def readable(self, tokens: Ints, lengths: Ints) -> Tensor:
        """Tokens that the network can look up, see `parts.rows`."""
        return readable(self.network, tokens, lengths).to(self.device)

    def tensor(self, array: Ints) -> Tensor:
        """Whole numbers as a tensor where the weights are."""
        return torch.from_numpy(np.ascontiguousarray(array, np.int64)).to(self.device)

    @contextmanager
    def _acting(self) -> Iterator[None]:
        with single_thread(), torch.inference_mode(), self._precise():
            yield

    def _precise(self) -> Any:
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Prefixes:
    """What `start` and `extend` remember."""

    cache: Any
    tokens: Ints
    lengths: Ints


def next_token_probabilities(
    model: Any, observations: Any, deterministic: bool, mask: Any
) -> NDArray[np.float64]:
    """π(a|s), [B, V], of what has `log_probs`; see `TextPolicy.action_probabilities`."""
    tokens, lengths = np.asarray(observations["tokens"]), np.asarray(observations["length"])
    log_pi = np.asarray(model.log_probs(tokens, lengths), np.float64)
    if (allowed := mask_rows(observations, mask)) is not None:
        log_pi = np.where(allowed, log_pi, -np.inf)
    if deterministic:
        return np.eye(log_pi.shape[1])[log_pi.argmax(axis=1)]
    pi = np.exp(log_pi - log_pi.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float64] = pi / pi.sum(axis=1, keepdims=True)
    return probabilities


def completion_mask(lengths: Ints, prompt_lengths: Ints, n_new: int) -> NDArray[np.bool_]:
    """Which of N columns hold a new token of texts of these lengths [B]: [B, N]."""
    return np.arange(n_new) < (lengths - prompt_lengths)[:, None]


def _entropy(log_pi: Tensor) -> Tensor:
    possible = log_pi.masked_fill(log_pi == -torch.inf, 0.0)  # p log p is 0 where p is
    return -(log_pi.exp() * possible).sum(dim=-1)
