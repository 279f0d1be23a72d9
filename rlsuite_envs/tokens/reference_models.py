"""Reference policies: next-token log-probabilities that the KL divergence is measured from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.errors import InvalidObservationError, SettingError
from registry.texts import ReferenceModel
from rlsuite_envs.tokens.folders import is_path, load_folder, load_registered
from rlsuite_envs.tokens.shapes import check_texts
from rlsuite_envs.tokens.tables import EOS, N_LETTERS, N_TOKENS, REFERENCE_WEIGHTS

__all__ = ["MarkovReference", "as_array", "checked_rows", "markov_reference", "resolve_reference"]

SUM_TOLERANCE = 1e-4
"""How far the probabilities of a row may be from summing to 1: float32 models are let in."""

Ints = NDArray[np.int64]


class MarkovReference:
    """ref(a | text) = W[l, a] / Σ_b W[l, b], with l the last letter of the text.

    Args:
        weights: W, at least 0 and with a positive sum in each row, shape [6, 7]: a row per last
            letter, a column per next token (EOS last).

    Raises:
        SettingError: they are something else.
    """

    any_width = True

    def __init__(self, weights: Any = REFERENCE_WEIGHTS) -> None:
        table = as_array(weights)
        wanted = f"a table of weights of shape ({N_LETTERS}, {N_TOKENS})"
        if table.dtype.kind not in "fiu" or table.shape != (N_LETTERS, N_TOKENS):
            raise SettingError(
                f"reference must be {wanted}, a row per last letter and a column per next token, "
                f"got {weights!r}."
            )
        sums = table.sum(axis=1, keepdims=True, dtype=np.float64)
        # written so that NaN is refused as well
        if not (np.all(table >= 0) and np.all(sums > 0) and np.all(np.isfinite(sums))):
            raise SettingError(
                f"reference must be {wanted}, finite, at least 0 and with a positive sum in each "
                f"row, got {weights!r}."
            )
        with np.errstate(divide="ignore"):
            self._log_probs: NDArray[np.float64] = np.log(table / sums)

    def log_probs(self, tokens: Ints, lengths: Ints) -> NDArray[np.float64]:
        """Next-token log-probabilities [B, 7] after prefixes `tokens` [B, T] of `lengths` [B].

        -inf for a token of probability 0.

        Raises:
            InvalidObservationError: a row is malformed, or has ended.
        """
        tokens, lengths = check_texts(tokens, lengths, prompt_lengths=1)
        last = tokens[np.arange(len(tokens)), lengths - 1]
        if np.any(last == EOS):
            row = int(np.argmax(last == EOS))
            raise InvalidObservationError(f"row {row} ended with EOS: no token follows it.")
        return self._log_probs[last]


def markov_reference() -> MarkovReference:
    """The reference policy of the task: the table `REFERENCE_WEIGHTS`."""
    return MarkovReference()


def resolve_reference(reference: Any) -> tuple[ReferenceModel, str]:
    """What the keyword `reference` stands for, and its name in messages.

    Raises:
        SettingError: it stands for nothing.
        UnknownIdError: no reference model has this id.
        CheckpointError: it names a folder that holds no readable model.
    """
    if isinstance(reference, str):
        if reference == "markov":
            return markov_reference(), "'markov'"
        if is_path(reference):
            return load_folder("reference_model", reference), repr(reference)
        if "/" not in reference:
            raise SettingError(
                "reference must be 'markov', the id of a registered reference model "
                "('namespace/Name-v0'), the path of a folder ('./folder'), a table or an object "
                f"with log_probs, got {reference!r}."
            )
        return load_registered("reference_model", reference), repr(reference)
    if hasattr(reference, "log_probs") and not isinstance(reference, type):
        return reference, type(reference).__name__
    if isinstance(reference, Sequence | np.ndarray):
        return MarkovReference(reference), "table"
    raise SettingError(
        "reference must be 'markov', the id of a registered reference model, the path of a folder, "
        f"a table of weights of shape ({N_LETTERS}, {N_TOKENS}) or an object with "
        f"log_probs(tokens, lengths), got {reference!r}."
    )


def as_array(answer: Any) -> NDArray[Any]:
    """What a model returned as an array; torch tensors may live on any device.

    An array of dtype object where it is no array of numbers; the callers refuse that.
    """
    if hasattr(answer, "detach"):
        answer = answer.detach().double().cpu()
    try:
        return np.asarray(answer)
    except ValueError:  # rows of unequal length
        return np.empty(0, object)


def checked_rows(answer: Any, shape: tuple[int, int], name: str) -> NDArray[np.float64]:
    """A model's next-token log-probabilities as float64 rows whose exponentials sum to 1.

    Args:
        answer: What the model returned.
        shape: The right shape, (B, V).
        name: What messages call the model.

    Raises:
        SettingError: the answer is something else.
    """
    table = as_array(answer)
    if table.dtype.kind != "f" or table.shape != shape:
        raise SettingError(
            f"{name} must return log-probabilities of shape {shape}; it "
            f"returned {table.dtype} of shape {table.shape}."
        )
    table = table.astype(np.float64)
    sums = np.exp(table).sum(axis=1, keepdims=True)
    # written so that NaN is refused as well
    if not np.all(np.abs(sums - 1.0) <= SUM_TOLERANCE):
        raise SettingError(
            f"{name} must return log-probabilities: the exponentials of a row "
            f"sum to 1; they sum to values from {sums.min():.6g} to {sums.max():.6g}."
        )
    return table - np.log(sums)
