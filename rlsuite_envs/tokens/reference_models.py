"""Reference policies: next-token log-probabilities that the KL divergence is measured from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.catalogue import registry
from registry.errors import InvalidObservationError, SettingError
from registry.texts import ReferenceModel
from rlsuite_envs.tokens.tables import EOS, N_LETTERS, N_TOKENS, REFERENCE_WEIGHTS
from rlsuite_envs.tokens.tree import PrefixTree, check_tokens

__all__ = ["MarkovReference", "as_array", "markov_reference", "resolve_reference", "tabulate"]

SUM_TOLERANCE = 1e-4
"""How far the probabilities of a row may be from summing to 1: float32 models are let in."""


class MarkovReference:
    """ref(a | text) = W[l, a] / Σ_b W[l, b], with l the last letter of the text.

    Args:
        weights: W, at least 0 and with a positive sum in each row, shape [6, 7]: a row per last
            letter, a column per next token (EOS last).

    Raises:
        SettingError: they are something else.
    """

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

    def log_probs(
        self, tokens: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Next-token log-probabilities [B, 7] after prefixes `tokens` [B, T] of `lengths` [B].

        -inf for a token of probability 0.

        Raises:
            InvalidObservationError: a row is malformed, or has ended.
        """
        tokens, lengths = check_tokens(tokens, lengths)
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
    """
    if isinstance(reference, str):
        if reference == "markov":
            return markov_reference(), "'markov'"
        if "/" not in reference:
            raise SettingError(
                "reference must be 'markov', the id of a registered reference model "
                f"('namespace/Name-v0'), a table or an object with log_probs, got {reference!r}."
            )
        return registry.get("reference_model", reference).load()(), repr(reference)
    if hasattr(reference, "log_probs") and not isinstance(reference, type):
        return reference, type(reference).__name__
    if isinstance(reference, Sequence | np.ndarray):
        return MarkovReference(reference), "table"
    raise SettingError(
        "reference must be 'markov', the id of a registered reference model, a table of weights "
        f"of shape ({N_LETTERS}, {N_TOKENS}) or an object with log_probs(tokens, lengths), got "
        f"{reference!r}."
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


def tabulate(model: ReferenceModel, name: str, tree: PrefixTree) -> NDArray[np.float64]:
    """The table log ref(a | s) over all decision states, shape [P, N, 7]; rows renormalised.

    The model is asked once, for all prefixes as one batch.

    Raises:
        SettingError: the model does not answer with log-probabilities of shape [B, 7].
    """
    tokens, lengths = tree.prefixes()
    table = as_array(model.log_probs(tokens, lengths))
    wanted = (len(tokens), N_TOKENS)
    if table.dtype.kind != "f" or table.shape != wanted:
        raise SettingError(
            f"the reference model {name} must return log-probabilities of shape {wanted}; it "
            f"returned {table.dtype} of shape {table.shape}."
        )
    sums = np.exp(table.astype(np.float64)).sum(axis=1, keepdims=True)
    # written so that NaN is refused as well
    if not np.all(np.abs(sums - 1.0) <= SUM_TOLERANCE):
        raise SettingError(
            f"the reference model {name} must return log-probabilities: the exponentials of a row "
            f"sum to 1; they sum to values from {sums.min():.6g} to {sums.max():.6g}."
        )
    logs = table - np.log(sums)
    return logs.reshape(tree.n_prompts, tree.n_prefixes, N_TOKENS)
