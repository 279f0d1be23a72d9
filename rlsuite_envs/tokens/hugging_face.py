"""Local models of Hugging Face's `transformers` as reference policies and reward models.

Only folders are read, nothing is ever downloaded, and no code that lies in a folder is run. Needs
the extra `llm`. Imported when such a folder is named.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.errors import CheckpointError, SettingError
from registry.texts import Vocabulary

__all__ = ["HuggingFaceReference", "HuggingFaceReward", "TokenizerVocabulary"]

Ints = NDArray[np.int64]

LOGITS = 1 << 24
"""Most logits of one forward pass: 64 MiB of float32."""


class TokenizerVocabulary:
    """The tokens of a tokenizer.

    Args:
        tokenizer: Of `transformers`.
        eos: The token that ends a text.
    """

    def __init__(self, tokenizer: Any, eos: int) -> None:
        self.tokenizer = tokenizer
        self.size = len(tokenizer)
        self.eos = eos

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, without special ones."""
        return [int(token) for token in self.tokenizer.encode(text, add_special_tokens=False)]

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens; EOS and PAD are left out."""
        shown = [int(token) for token in tokens if token < self.size and token != self.eos]
        return str(self.tokenizer.decode(shown, clean_up_tokenization_spaces=False))


class HuggingFaceReference:
    """A causal language model as reference policy.

    Rows are right-padded and masked, so padding changes nothing. It remembers prefixes
    (`ExtendsPrefixes`) by the model's own cache and scores texts in one pass (`ScoresTokens`).

    Args:
        folder: With `config.json`, weights and a tokenizer.

    Attributes:
        model: The module of torch, in evaluation mode; parameters take no gradient.
        folder: Where it came from.
        vocabulary: Its tokenizer's tokens.
        context: Most tokens that it reads; None where it does not say.

    Raises:
        SettingError: `transformers` is not installed.
        CheckpointError: the folder holds no causal model and tokenizer that belong together.
    """

    def __init__(self, folder: Path) -> None:
        transformers = _transformers(folder)
        self.folder = folder
        tokenizer = _loaded(folder, "tokenizer", transformers.AutoTokenizer)
        self.model = _loaded_model(folder, "causal language model", "AutoModelForCausalLM")
        config = self.model.config.get_text_config()
        eos = tokenizer.eos_token_id
        if eos is None:
            raise CheckpointError(
                f"the tokenizer in {str(folder)!r} names no end-of-text token (eos_token): without "
                "one no text ends."
            )
        self.vocabulary = TokenizerVocabulary(tokenizer, int(eos))
        self._vocab_size = _matching_size(folder, tokenizer, config)
        context = getattr(config, "max_position_embeddings", None)
        self.context = None if context is None else int(context)

    def log_probs(self, tokens: Ints, lengths: Ints) -> NDArray[np.float32]:
        """Next-token log-probabilities [B, V] after prefixes [B, W], right-padded."""
        width = int(lengths.max())
        found = [
            self._forward(tokens[rows, :width], lengths[rows], last=True)
            for rows in _blocks(len(tokens), width * self._vocab_size)
        ]
        return np.concatenate(found)

    def token_log_probs(
        self, tokens: Ints, lengths: Ints, prompt_lengths: Ints
    ) -> NDArray[np.float32]:
        """Log-probabilities of the new tokens of given texts, at their places, else 0: [B, W]."""
        width = int(lengths.max())
        result = np.zeros(tokens.shape, np.float32)
        places = np.arange(width)
        for rows in _blocks(len(tokens), width * self._vocab_size):
            some = tokens[rows, :width]
            logs = self._forward(some, lengths[rows], last=False)
            ids = np.minimum(some[:, 1:], self.vocabulary.size - 1)
            found = np.take_along_axis(logs[:, :-1], ids[..., None], axis=2)[..., 0]
            new = (places >= prompt_lengths[rows, None]) & (places < lengths[rows, None])
            result[rows, 1:width] = np.where(new[:, 1:], found, 0.0)
        return result

    def start(self, prompts: Ints, lengths: Ints) -> tuple[NDArray[np.float32], Any]:
        """Next-token log-probabilities after prefixes, and the model's cache of them."""
        import torch

        width = int(lengths.max())
        mask = torch.as_tensor(np.arange(width) < lengths[:, None])
        with _quiet(), torch.inference_mode():
            answer = self.model(
                input_ids=self._ids(prompts[:, :width]),
                attention_mask=mask.long(),
                position_ids=torch.arange(width).expand(len(prompts), -1),
                use_cache=True,
            )
        last = answer.logits[torch.arange(len(prompts)), torch.as_tensor(lengths - 1)]
        return self._log_softmax(last), (answer.past_key_values, mask, torch.tensor(lengths))

    def extend(self, state: Any, parents: Ints, tokens: Ints) -> tuple[NDArray[np.float32], Any]:
        """The same after one more token each; row j follows row `parents[j]` of the state."""
        import torch

        cache, mask, lengths = state
        rows = torch.as_tensor(parents)
        if len(rows) != len(mask) or bool((rows != torch.arange(len(mask))).any()):
            cache.reorder_cache(rows)
            mask, lengths = mask[rows], lengths[rows]
        mask = torch.cat([mask, torch.ones(len(rows), 1, dtype=torch.bool)], dim=1)
        with _quiet(), torch.inference_mode():
            answer = self.model(
                input_ids=self._ids(tokens[:, None]),
                attention_mask=mask.long(),
                position_ids=lengths[:, None],
                past_key_values=cache,
                use_cache=True,
            )
        return self._log_softmax(answer.logits[:, -1]), (cache, mask, lengths + 1)

    def _forward(self, tokens: Ints, lengths: Ints, *, last: bool) -> NDArray[np.float32]:
        import torch

        mask = torch.as_tensor(np.arange(tokens.shape[1]) < lengths[:, None])
        with _quiet(), torch.inference_mode():
            logits = self.model(
                input_ids=self._ids(tokens), attention_mask=mask.long(), use_cache=False
            ).logits
            if last:
                logits = logits[torch.arange(len(tokens)), torch.as_tensor(lengths - 1)]
            return self._log_softmax(logits)

    def _ids(self, tokens: Ints) -> Any:
        """Tokens for the embedding: PAD, which it does not know, stands where nobody looks."""
        import torch

        return torch.as_tensor(np.where(tokens < self.vocabulary.size, tokens, 0))

    def _log_softmax(self, logits: Any) -> NDArray[np.float32]:
        """Over the tokenizer's tokens; a model may have more rows than those, to fill up."""
        used = logits[..., : self.vocabulary.size].float()
        logs: NDArray[np.float32] = used.log_softmax(dim=-1).cpu().numpy()
        return logs


class HuggingFaceReward:
    """A sequence classifier with one label as reward model.

    It reads what the task's tokens spell, prompt and completion, with its own tokenizer; the end
    of a text that was ended is its own end-of-text token, where it has one.

    Args:
        folder: With `config.json`, weights and a tokenizer.
        vocabulary: That of the task, which decodes.

    Raises:
        SettingError: `transformers` is not installed.
        CheckpointError: the folder holds no classifier with one label and a tokenizer that belong
            together, or the tokenizer pads with nothing or with its end-of-text token.
    """

    def __init__(self, folder: Path, vocabulary: Vocabulary) -> None:
        transformers = _transformers(folder)
        self.folder, self._vocabulary = folder, vocabulary
        self._tokenizer = tokenizer = _loaded(folder, "tokenizer", transformers.AutoTokenizer)
        name = "AutoModelForSequenceClassification"
        self.model = _loaded_model(folder, "sequence classifier", name)
        config = self.model.config
        if config.num_labels != 1:
            raise CheckpointError(
                f"the classifier in {str(folder)!r} has {config.num_labels} labels; a reward model "
                "has one, the reward."
            )
        _matching_size(folder, tokenizer, config.get_text_config())
        pad = tokenizer.pad_token_id
        if pad is None or pad == tokenizer.eos_token_id:
            raise CheckpointError(
                f"the tokenizer in {str(folder)!r} must pad with a token of its own (pad_token), "
                "not with nothing or with the end-of-text token: the end of a text would be taken "
                "for padding and not be scored."
            )
        self.model.config.pad_token_id = pad

    def score(self, tokens: Ints, lengths: Ints) -> NDArray[np.float64]:
        """Rewards [B] of finished texts `tokens` [B, W], right-padded, of `lengths` [B]."""
        import torch

        texts = [row[:length] for row, length in zip(tokens, lengths.tolist(), strict=True)]
        spelt = [self._ids_of(text.tolist()) for text in texts]
        scores = np.empty(len(spelt))
        width = max(map(len, spelt))
        pad = self._tokenizer.pad_token_id
        for rows in _blocks(len(spelt), width * 4096):
            ids = np.array([[*text, *[pad] * (width - len(text))] for text in spelt[rows]])
            mask = np.array([[1] * len(t) + [0] * (width - len(t)) for t in spelt[rows]])
            with _quiet(), torch.inference_mode():
                answer = self.model(
                    input_ids=torch.as_tensor(ids), attention_mask=torch.as_tensor(mask)
                )
            scores[rows] = answer.logits[:, 0].double().cpu().numpy()
        return scores

    def _ids_of(self, text: list[int]) -> list[int]:
        ids = list(self._tokenizer.encode(self._vocabulary.decode(text), add_special_tokens=False))
        end = self._tokenizer.eos_token_id
        ended = text[-1] == self._vocabulary.eos and end is not None
        return [*ids, end] if ended else ids


def _blocks(count: int, row_size: int) -> Iterator[slice]:
    """Slices of at most so many rows that memory holds their logits."""
    step = max(1, LOGITS // row_size)
    return (slice(first, first + step) for first in range(0, count, step))


def _transformers(folder: Path) -> Any:
    try:
        import transformers
    except ImportError as error:
        raise SettingError(
            f"the folder {str(folder)!r} holds a model of Hugging Face, which needs transformers: "
            "pip install 'rlsuite[llm]'."
        ) from error
    return transformers


def _loaded(folder: Path, what: str, kind: Any, **keywords: Any) -> Any:
    """A part of a folder, with the failures of a library that raises almost anything as one."""
    import torch

    try:
        with _quiet(), torch.random.fork_rng(devices=[]):
            return kind.from_pretrained(str(folder), local_files_only=True, **keywords)
    except Exception as error:  # of a library that reads somebody's files: it may be any
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise CheckpointError(
            f"the folder {str(folder)!r} holds no {what} that can be read: {reason}"
        ) from error


def _loaded_model(folder: Path, what: str, auto: str) -> Any:
    kind = getattr(_transformers(folder), auto)
    model, report = _loaded(folder, what, kind, output_loading_info=True)
    missing = sorted(report["missing_keys"]) + sorted(map(str, report["mismatched_keys"]))
    if missing:
        raise CheckpointError(
            f"the folder {str(folder)!r} holds no {what} that can be read: the weights "
            f"{', '.join(missing[:3])}{' and others' if len(missing) > 3 else ''} are missing or "
            "of another shape."
        )
    return model.eval().requires_grad_(False)


def _matching_size(folder: Path, tokenizer: Any, config: Any) -> int:
    """Rows of the embedding.

    Raises:
        CheckpointError: they are fewer than the tokenizer's tokens.
    """
    size = int(config.vocab_size)
    if len(tokenizer) > size:
        raise CheckpointError(
            f"tokenizer and model in {str(folder)!r} do not belong together: the tokenizer has "
            f"{len(tokenizer)} tokens, the model knows {size}."
        )
    return size


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's progress bars and advice, which are left as they were."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
