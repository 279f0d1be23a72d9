"""Folders of Hugging Face's `transformers`, read alike by environments and by agents.

Only local files are read, nothing is ever downloaded, and no code that lies in a folder is run. The
package itself is handed in: this floor does not know it.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from registry.errors import CheckpointError

__all__ = [
    "CAUSAL",
    "CLASSIFIER",
    "TokenizerVocabulary",
    "check_prefixes",
    "load_model",
    "load_tokenizer",
    "load_vocabulary",
    "quiet",
]

CAUSAL, CLASSIFIER = "causal language model", "sequence classifier"
LOADERS = {CAUSAL: "AutoModelForCausalLM", CLASSIFIER: "AutoModelForSequenceClassification"}
TOKENIZER_FILES = ("tokenizer*", "vocab*", "*.model", "tekken.json")


class TokenizerVocabulary:
    """The tokens of a tokenizer. Equal to another one that has the same tokens and EOS.

    Args:
        tokenizer: Of `transformers`.
        eos: The token that ends a text.
    """

    def __init__(self, tokenizer: Any, eos: int) -> None:
        self.tokenizer = tokenizer
        self.size = len(tokenizer)
        self.eos = eos

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TokenizerVocabulary):
            return NotImplemented
        same: bool = self.tokenizer.get_vocab() == other.tokenizer.get_vocab()
        return same and self.eos == other.eos

    def __hash__(self) -> int:
        return hash((self.size, self.eos))

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, without special ones but those that it spells."""
        return [int(token) for token in self.tokenizer.encode(text, add_special_tokens=False)]

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens; EOS and PAD are left out."""
        shown = [int(token) for token in tokens if token < self.size and token != self.eos]
        return str(self.tokenizer.decode(shown, clean_up_tokenization_spaces=False))


def load_tokenizer(transformers: Any, folder: Path) -> Any:
    """The tokenizer in a folder; None where there are no files of one.

    Raises:
        CheckpointError: there are, and they cannot be read.
    """
    if not any(any(folder.glob(pattern)) for pattern in TOKENIZER_FILES):
        return None  # transformers would make up an empty one
    return _read(transformers, folder, "tokenizer", transformers.AutoTokenizer)


def load_vocabulary(transformers: Any, folder: Path) -> TokenizerVocabulary | None:
    """The tokens of the tokenizer in a folder; None where there are no files of one.

    Raises:
        CheckpointError: they cannot be read, or name no token that ends a text.
    """
    tokenizer = load_tokenizer(transformers, folder)
    if tokenizer is None:
        return None
    if tokenizer.eos_token_id is None:
        raise CheckpointError(
            f"the tokenizer in {str(folder)!r} names no end-of-text token (eos_token): without "
            "one no text ends."
        )
    return TokenizerVocabulary(tokenizer, int(tokenizer.eos_token_id))


def load_model(
    transformers: Any, folder: Path, what: str, tokenizer: Any = None, **keywords: Any
) -> Any:
    """The model in a folder, its weights in float32; it takes no gradient.

    Whatever the library draws for weights that are missing comes from torch's global generator.

    Args:
        transformers: The package.
        folder: Where it lies.
        what: `CAUSAL` or `CLASSIFIER`.
        tokenizer: Whose tokens the model must have rows for.
        keywords: For `from_pretrained`.

    Raises:
        CheckpointError: the folder holds no such model, its weights are not all there and finite,
            or the tokenizer has more tokens than the model.
    """
    loader = getattr(transformers, LOADERS[what])
    model, report = _read(
        transformers, folder, what, loader, output_loading_info=True, dtype="float32", **keywords
    )
    made_for = list(getattr(model.config, "architectures", None) or [])
    if what == CAUSAL and any("Classification" in name for name in made_for):
        raise CheckpointError(
            f"the folder {str(folder)!r} holds no {what}, but a {made_for[0]}: it was trained to "
            "say something else than the next token."
        )
    if what == CAUSAL and "past_key_values" not in inspect.signature(model.forward).parameters:
        raise CheckpointError(
            f"the {what} in {str(folder)!r} is a {type(model).__name__}, which keeps no keys and "
            "values of a text that is continued: it is of a kind that is not read here."
        )
    missing = sorted(report["missing_keys"]) + sorted(map(str, report["mismatched_keys"]))
    if missing:
        raise CheckpointError(
            f"the folder {str(folder)!r} holds no {what} that can be read: the weights "
            f"{', '.join(missing[:3])}{' and others' if len(missing) > 3 else ''} are missing or "
            "of another shape."
        )
    for name, weights in model.named_parameters():
        if not bool(weights.isfinite().all()):
            raise CheckpointError(
                f"the {what} in {str(folder)!r} is damaged: the weights {name} are not all finite."
            )
    size = model.config.get_text_config().vocab_size
    if tokenizer is not None and len(tokenizer) > size:
        raise CheckpointError(
            f"tokenizer and model in {str(folder)!r} do not belong together: the tokenizer has "
            f"{len(tokenizer)} tokens, the model knows {size}."
        )
    return model.eval().requires_grad_(False)


def check_prefixes(policy: Any, folder: Path) -> None:
    """Whether a model of a folder continues padded prefixes as it reads whole texts.

    Args:
        policy: It, with `log_probs` and what `registry.texts.ExtendsPrefixes` names.
        folder: Where it lies.

    Raises:
        CheckpointError: it does not, as where it counts its places by itself, padding included; or
            it cannot be asked so.
    """
    texts, lengths = np.array([[0, 1, 1], [1, 0, 0]]), np.array([3, 2])
    try:
        _, state = policy.start(texts[:, :2], lengths - 1)
        found, _ = policy.extend(state, np.arange(2), texts[np.arange(2), lengths - 1])
        wanted = policy.log_probs(texts, lengths)
    except Exception as error:  # of a library with hundreds of kinds of models: it may be any
        raise CheckpointError(
            f"the {CAUSAL} in {str(folder)!r} is of a kind that is not read here: {error}"
        ) from error
    if not np.allclose(found, wanted, atol=1e-3):
        raise CheckpointError(
            f"the {CAUSAL} in {str(folder)!r} is of a kind that is not read here: after a prompt "
            "that is padded it says something else than after the same prompt alone."
        )


@contextlib.contextmanager
def quiet(transformers: Any) -> Iterator[None]:
    """Without the library's progress bars and advice, which are left as they were."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _read(transformers: Any, folder: Path, what: str, kind: Any, **keywords: Any) -> Any:
    """A part of a folder, with the failures of a library that raises almost anything as one."""
    try:
        with quiet(transformers):
            return kind.from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=False, **keywords
            )
    except Exception as error:  # of a library that reads somebody's files: it may be any
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise CheckpointError(
            f"the folder {str(folder)!r} holds no {what} that can be read: {reason}"
        ) from error
