"""Local models of Hugging Face's `transformers` as reference policies and reward models.

Only folders are read, nothing is ever downloaded, and no code that lies in a folder is run. Needs
the extra `llm`. Imported when such a folder is named.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.errors import CheckpointError, SettingError
from registry.hugging_face import (
    CAUSAL,
    CLASSIFIER,
    check_prefixes,
    load_model,
    load_tokenizer,
    load_vocabulary,
    quiet,
)
from registry.texts import Vocabulary

__all__ = ["HuggingFaceReference", "HuggingFaceReward"]

Ints = NDArray[np.int64]

LOGITS = 1 << 24
"""Most logits of one forward pass: 64 MiB of float32."""


class HuggingFaceReference:
    """A causal language model as reference policy.

    Padding is masked, so it changes nothing. It remembers prefixes (`ExtendsPrefixes`) by the
    model's own cache and scores texts in one pass (`ScoresTokens`).

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
        self._transformers = transformers = _transformers(folder)
        self.folder = folder
        vocabulary = load_vocabulary(transformers, folder)
        if vocabulary is None:
            raise _no_tokenizer(folder)
        self.vocabulary = vocabulary
        self.model = _loaded(transformers, folder, CAUSAL, vocabulary.tokenizer)
        config = self.model.config.get_text_config()
        self._vocab_size = int(config.vocab_size)
        context = getattr(config, "max_position_embeddings", None)
        self.context = None if context is None else int(context)
        check_prefixes(self, folder)

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
        # padded on the left: on the right it would take places of a window over the last tokens
        places = np.arange(width) - (width - lengths[:, None])
        mask, inside = torch.as_tensor(places >= 0), np.maximum(places, 0)
        with quiet(self._transformers), torch.inference_mode():
            answer = self.model(
                input_ids=self._ids(np.take_along_axis(prompts, inside, axis=1)),
                attention_mask=mask.long(),
                position_ids=torch.as_tensor(inside),
                use_cache=True,
            )
        state = answer.past_key_values, mask, torch.tensor(lengths)
        return self._log_softmax(answer.logits[:, -1]), state

    def extend(self, state: Any, parents: Ints, tokens: Ints) -> tuple[NDArray[np.float32], Any]:
        """The same after one more token each; row j follows row `parents[j]` of the state."""
        import torch

        cache, mask, lengths = state
        rows = torch.as_tensor(parents)
        if len(rows) != len(mask) or bool((rows != torch.arange(len(mask))).any()):
            cache.reorder_cache(rows)
            mask, lengths = mask[rows], lengths[rows]
        mask = torch.cat([mask, torch.ones(len(rows), 1, dtype=torch.bool)], dim=1)
        with quiet(self._transformers), torch.inference_mode():
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
        with quiet(self._transformers), torch.inference_mode():
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

    It reads what the task's tokens spell, prompt and completion, with its own tokenizer and the
    special tokens that this puts around a text. A text that was ended ends with its end-of-text
    token, where it has one.

    Args:
        folder: With `config.json`, weights and a tokenizer.
        vocabulary: That of the task, which decodes.

    Raises:
        SettingError: `transformers` is not installed.
        CheckpointError: the folder holds no classifier with one label and a tokenizer that belong
            together, or the tokenizer pads with nothing or with its end-of-text token.
    """

    def __init__(self, folder: Path, vocabulary: Vocabulary) -> None:
        self._transformers = transformers = _transformers(folder)
        self.folder, self._vocabulary = folder, vocabulary
        self._tokenizer = tokenizer = load_tokenizer(transformers, folder)
        if tokenizer is None:
            raise _no_tokenizer(folder)
        self.model = _loaded(transformers, folder, CLASSIFIER, tokenizer)
        config = self.model.config
        if config.num_labels != 1:
            raise CheckpointError(
                f"the classifier in {str(folder)!r} has {config.num_labels} labels; a reward model "
                "has one, the reward."
            )
        places = getattr(config.get_text_config(), "max_position_embeddings", None)
        self._longest = min(places or tokenizer.model_max_length, tokenizer.model_max_length)
        pad = tokenizer.pad_token_id
        if pad is None or pad == tokenizer.eos_token_id:
            raise CheckpointError(
                f"the tokenizer in {str(folder)!r} must pad with a token of its own (pad_token), "
                "not with nothing or with the end-of-text token: the end of a text would be taken "
                "for padding and not be scored."
            )
        self.model.config.pad_token_id = pad

    def score(self, tokens: Ints, lengths: Ints) -> NDArray[np.float64]:
        """Rewards [B] of finished texts `tokens` [B, W], right-padded, of `lengths` [B].

        Raises:
            SettingError: the classifier does not read texts so long.
        """
        import torch

        texts = [row[:length] for row, length in zip(tokens, lengths.tolist(), strict=True)]
        spelt = [self._ids_of(text.tolist()) for text in texts]
        scores = np.empty(len(spelt))
        width = max(map(len, spelt))
        if width > self._longest:
            raise SettingError(
                f"the classifier in {str(self.folder)!r} reads at most {self._longest} tokens, and "
                f"a text of this task has {width} of them: lower max_new_tokens, or take shorter "
                "prompts or another classifier."
            )
        pad = self._tokenizer.pad_token_id
        for rows in _blocks(len(spelt), width * 4096):
            ids = np.array([[*text, *[pad] * (width - len(text))] for text in spelt[rows]])
            mask = np.array([[1] * len(t) + [0] * (width - len(t)) for t in spelt[rows]])
            with quiet(self._transformers), torch.inference_mode():
                answer = self.model(
                    input_ids=torch.as_tensor(ids), attention_mask=torch.as_tensor(mask)
                )
            scores[rows] = answer.logits[:, 0].double().cpu().numpy()
        return scores

    def _ids_of(self, text: list[int]) -> list[int]:
        ids = list(self._tokenizer.encode(self._vocabulary.decode(text)))
        end = self._tokenizer.eos_token_id
        ended = text[-1] == self._vocabulary.eos and end is not None
        return [*ids, end] if ended and ids[-1:] != [end] else ids


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


def _loaded(transformers: Any, folder: Path, what: str, tokenizer: Any) -> Any:
    """The model in a folder; torch's global generator ends as it was found."""
    import torch

    with torch.random.fork_rng(devices=[]):
        return load_model(transformers, folder, what, tokenizer)


def _no_tokenizer(folder: Path) -> CheckpointError:
    return CheckpointError(
        f"the folder {str(folder)!r} holds a model and no tokenizer: save that into it as well."
    )
