"""Causal language models of Hugging Face, from local folders, as the network of a `TextPolicy`.

Needs `transformers` (`pip install 'rlsuite[llm]'`). Nothing is ever downloaded.
"""

from __future__ import annotations

import copy
import hashlib
import sys
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from registry.errors import CheckpointError, SettingError
from registry.hugging_face import (
    CAUSAL,
    TokenizerVocabulary,
    load_model,
    load_vocabulary,
    quiet,
)
from rlsuite_agents.parts.rows import before_new

__all__ = ["CausalLM"]


class CausalLM:
    """A pretrained model, without its dropout: hidden states, logits, and a cache.

    Every row counts its places from 0, wherever its padding stands.

    Args:
        model: A `transformers` model for causal language modelling.
        tokenizer: What its first tokens are; further ones fill up and are left out. None: nobody
            knows, and all are taken.

    Raises:
        CheckpointError: its logits are not read off its last hidden states.
    """

    def __init__(self, model: Any, tokenizer: TokenizerVocabulary | None = None) -> None:
        self.model, self.tokenizer = model.eval().requires_grad_(True), tokenizer
        text = model.config.get_text_config()
        self.vocabulary: int = text.vocab_size if tokenizer is None else tokenizer.size
        self.context: int = getattr(text, "max_position_embeddings", None) or sys.maxsize
        self._head, self.width = self._without_body()

    @classmethod
    def load(cls, folder: str | PathLike[str], device: torch.device) -> CausalLM:
        """Reads a folder that `save_pretrained` wrote, weights in safetensors, as float32.

        Raises:
            CheckpointError: the files are missing or damaged, are those of another model, or model
                and tokenizer do not belong together.
            SettingError: transformers is not installed.
        """
        path = Path(folder)
        transformers = _transformers()
        found = load_vocabulary(transformers, path)
        tokenizer = None if found is None else found.tokenizer
        with torch.random.fork_rng(devices=[]):
            model = load_model(transformers, path, CAUSAL, tokenizer, use_safetensors=True)
        return cls(model.to(device), found)

    def save(self, folder: str | PathLike[str]) -> str:
        """Writes model, and tokenizer where it came with one; returns the SHA-256 of the weights.

        Raises:
            CheckpointError: the folder cannot be written.
        """
        path = Path(folder)
        try:
            with quiet(_transformers()):
                self.model.save_pretrained(path, safe_serialization=True)
                if self.tokenizer is not None:
                    self.tokenizer.tokenizer.save_pretrained(path)
        except OSError as error:
            raise CheckpointError(f"{path} was not written: {error}.") from error
        found = hashlib.sha256()
        for file in sorted(path.glob("*.safetensors")):
            found.update(file.read_bytes())
        return found.hexdigest()

    def parameters(self) -> Iterator[nn.Parameter]:
        """What is trained."""
        return iter(self.model.parameters())

    def state_dict(self) -> dict[str, Tensor]:
        """Weights by name, each once even where two names share it."""
        return {name: weight.detach() for name, weight in self.model.named_parameters()}

    def load_state_dict(self, weights: dict[str, Tensor]) -> None:
        """Takes what `state_dict` gave."""
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(weights[name])

    def __call__(self, tokens: Tensor) -> Tensor:
        """Hidden states [B, T, width] of texts [B, T]."""
        hidden: Tensor = self.model.base_model(input_ids=tokens, use_cache=False)[0]
        return hidden

    def before(self, texts: Tensor, starts: NDArray[np.int64], n: int) -> Tensor:
        """Hidden states [B, n, width] before each of n new tokens; see `Transformer.before`."""
        return before_new(self, texts, starts, n)

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., width] to [..., V], by all that the model does to them: head, scale and cap."""
        rows = hidden.reshape(1, -1, hidden.shape[-1])
        logits: Tensor = self._head(inputs_embeds=rows, use_cache=False).logits
        return logits.reshape(*hidden.shape[:-1], -1)[..., : self.vocabulary]

    def cache(self, rows: int, capacity: int) -> _Cache:
        """An empty cache."""
        return _Cache(self.model.base_model)

    def _without_body(self) -> tuple[Any, int]:
        """The model, its weights shared, whose hidden states are its inputs; and their width."""
        probe = torch.arange(2, device=self.model.device)[None]
        with torch.no_grad():
            answer = self.model.base_model(input_ids=probe, use_cache=False)
            head = copy.copy(self.model)
            body = _Given(type(answer))
            head._modules = {**self.model._modules, self.model.base_model_prefix: body}
            whole = self.model(input_ids=probe, use_cache=False).logits
            halves = head(inputs_embeds=answer[0], use_cache=False).logits
        if not torch.allclose(whole, halves, rtol=1e-5, atol=1e-5):
            raise CheckpointError(
                f"models of the kind {type(self.model).__name__} cannot be trained here: their "
                "logits are no function of their last hidden states."
            )
        return head, answer[0].shape[-1]


class _Given(nn.Module):
    """In the place of a model's body: its hidden states are those that it is given."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    @property
    def decoder(self) -> _Given:
        """Where some models keep their body."""
        return self

    def forward(self, *_: Any, inputs_embeds: Tensor, **__: Any) -> Any:
        return self.answer(last_hidden_state=inputs_embeds)


class _Cache:
    """Keys and values as transformers keeps them; see `parts.transformer.Cache`.

    Prompts are padded on the left: on the right, padding would take places of a window over the
    latest tokens (Mistral and others).
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.past: Any = None
        self.lengths = self.readable = torch.empty(0)

    def start(self, prompts: Tensor, lengths: Tensor) -> Tensor:
        width = prompts.shape[1]
        places = torch.arange(width, device=lengths.device) - (width - lengths[:, None])
        self.lengths, self.readable = lengths, places >= 0
        places = places.clamp(min=0)
        outputs = self.model(
            input_ids=prompts.gather(1, places),
            position_ids=places,
            attention_mask=self.readable.long(),
            use_cache=True,
        )
        self.past = outputs.past_key_values
        last: Tensor = outputs[0][:, -1]
        return last

    def extend(self, tokens: Tensor) -> Tensor:
        self.readable = nn.functional.pad(self.readable, (0, 1), value=True)
        outputs = self.model(
            input_ids=tokens[:, None],
            position_ids=self.lengths[:, None],
            attention_mask=self.readable.long(),
            past_key_values=self.past,
            use_cache=True,
        )
        self.past, self.lengths = outputs.past_key_values, self.lengths + 1
        return outputs[0][:, 0]

    def select(self, rows: Tensor) -> _Cache:
        chosen = _Cache(self.model)
        self.past.batch_select_indices(rows)
        chosen.past, chosen.lengths = self.past, self.lengths[rows]
        chosen.readable = self.readable[rows]
        return chosen


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise SettingError(
            "models of Hugging Face need the package transformers: pip install 'rlsuite[llm]'."
        ) from error
    return transformers
