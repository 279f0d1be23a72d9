"""Rows of tokens as a network can look them up."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from registry.errors import InvalidObservationError

__all__ = ["before_new", "check_room", "readable", "shared_prompts"]


def readable(network: Any, tokens: NDArray[np.int64], lengths: NDArray[np.int64]) -> Tensor:
    """Texts [B, T] as indices into the embeddings, int64 [B, longest]: 0 in the padding.

    Raises:
        InvalidObservationError: a token is outside the vocabulary, or a text is longer than its
            row or the network's context.
    """
    tokens, lengths = np.asarray(tokens), np.asarray(lengths)
    check_room(network, lengths)
    if lengths.max(initial=1) > tokens.shape[1]:
        raise InvalidObservationError(
            f"a row has {tokens.shape[1]} places, and no text of {lengths.max()} tokens."
        )
    inside = np.arange(tokens.shape[1]) < lengths[:, None]
    known = (tokens >= 0) & (tokens < network.vocabulary)
    if not np.all(known | ~inside):
        row, place = np.argwhere(inside & ~known)[0]
        raise InvalidObservationError(
            f"token {tokens[row, place]} at place {place} of row {row} is outside the vocabulary "
            f"of {network.vocabulary} tokens, 0 to {network.vocabulary - 1}."
        )
    width = int(lengths.max(initial=1))
    return torch.from_numpy(np.where(inside, tokens, 0)[:, :width].astype(np.int64))


def check_room(network: Any, lengths: NDArray[np.int64], n_new: int = 0) -> None:
    """Raises `InvalidObservationError` unless texts with N new tokens fit the network's context."""
    longest, shortest = int(lengths.max(initial=1)) + n_new, int(lengths.min(initial=1))
    if longest > network.context or shortest < 1:
        raise InvalidObservationError(
            f"a text has 1 to {network.context} tokens, the places of this network; got lengths "
            f"from {shortest} to {longest}, {n_new} new tokens counted."
        )


def before_new(network: Any, texts: Tensor, starts: NDArray[np.int64], n: int) -> Tensor:
    """Hidden states before n new tokens [B, n, width], read off whole texts [B, T].

    See `parts.transformer.Transformer.before`.
    """
    hidden: Tensor = network(texts[:, : max(texts.shape[1] - 1, 1)])
    places = np.minimum(starts[:, None] - 1 + np.arange(n), hidden.shape[1] - 1)
    before = torch.from_numpy(places).to(hidden.device)[..., None]
    return hidden.gather(1, before.expand(-1, -1, hidden.shape[-1]))


def shared_prompts(
    tokens: NDArray[np.int64], prompt_lengths: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which of B texts [B, T] have one prompt.

    Returns:
        The first row of each of G unlike prompts [G], upwards, and the number of each row's [B].
    """
    inside = np.arange(int(prompt_lengths.max(initial=0))) < prompt_lengths[:, None]
    prompts = np.where(inside, tokens[:, : inside.shape[1]], -1)
    _, first, of = np.unique(prompts, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return first[order], np.argsort(order)[of.reshape(-1)]
