"""Causal language models of Hugging Face, from local folders, as the network of a `TextPolicy`.

Needs `transformers` (`pip install 'rlsuite[llm]'`). Nothing is ever downloaded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from registry.errors import CheckpointError, SettingError

__all__ = ["CausalLM"]


class CausalLM:
    """A pretrained model, without its dropout: hidden states, logits, and a cache.

    Texts are padded on the right and every row counts its places from 0, in training as in
    sampling.

    Args:
        model: A `transformers` model for causal language modelling.
        source: The folder that it came from.
    """

    def __init__(self, model: Any, source: str | PathLike[str] | None = None) -> None:
        self.model, self.source = model.eval().requires_grad_(True), source
        text = model.config.get_text_config()
        self.vocabulary: int = text.vocab_size
        self.width: int = text.hidden_size
        self.context: int = text.max_position_embeddings

    @classmethod
    def load(cls, folder: str | PathLike[str], device: torch.device) -> CausalLM:
        """Reads a folder that `save_pretrained` wrote, weights in safetensors, as float32.

        Raises:
            CheckpointError: the files are missing or damaged, or are those of another model.
            SettingError: transformers is not installed.
        """
        path = Path(folder)
        transformers = _transformers()
        try:
            model = transformers.AutoModelForCausalLM.from_pretrained(
                path, local_files_only=True, use_safetensors=True, dtype=torch.float32
            )
        except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
            raise CheckpointError(
                f"{path} holds no causal language model that transformers can read: {error}"
            ) from error
        return cls(model.to(device), path)

    def save(self, folder: str | PathLike[str]) -> str:
        """Writes model, and tokenizer where it came with one; returns the SHA-256 of the weights.

        Raises:
            CheckpointError: the folder cannot be written.
        """
        path = Path(folder)
        try:
            self.model.save_pretrained(path, safe_serialization=True)
            if self.source is not None and (Path(self.source) / "tokenizer_config.json").is_file():
                tokenizer = _transformers().AutoTokenizer.from_pretrained(
                    self.source, local_files_only=True
                )
                tokenizer.save_pretrained(path)
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

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., width] to [..., V]."""
        logits: Tensor = self.model.get_output_embeddings()(hidden)
        return logits[..., : self.vocabulary]

    def cache(self, rows: int, capacity: int) -> _Cache:
        """An empty cache."""
        return _Cache(self.model.base_model)


class _Cache:
    """Keys and values as transformers keeps them; see `parts.transformer.Cache`."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.past: Any = None
        self.lengths = self.readable = torch.empty(0)

    def start(self, prompts: Tensor, lengths: Tensor) -> Tensor:
        width = prompts.shape[1]
        self.lengths = lengths
        self.readable = torch.arange(width, device=lengths.device) < lengths[:, None]
        outputs = self.model(input_ids=prompts, use_cache=True)
        self.past = outputs.past_key_values
        return outputs[0][torch.arange(len(lengths), device=lengths.device), lengths - 1]

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
