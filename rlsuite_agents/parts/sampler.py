"""Whole texts from a policy: one pass over the prompts, then one token of every row at a time.

Inverse CDF: the t-th new token of a row is the first whose cumulative probability is above the
row's t-th uniform, so a text depends on its own prompt and uniforms alone, whatever is sampled
beside it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from registry.errors import DivergenceError
from registry.texts import SampledTexts
from rlsuite_agents.parts.recorded import recorded
from rlsuite_agents.parts.rows import check_room, shared_prompts
from rlsuite_agents.parts.transformer import Cache

__all__ = ["inverse_cdf", "sample_texts"]


def sample_texts(
    policy: Any,
    prompts: NDArray[np.int64],
    lengths: NDArray[np.int64],
    uniforms: NDArray[np.float64],
    *,
    eos: int,
    pad: int,
) -> SampledTexts:
    """Completes B prompts [B, P] of `lengths` [B]; see `registry.texts.SamplesTexts`.

    Args:
        policy: a `TextPolicy`.
        prompts: right-padded.
        lengths: at least 1 each.
        uniforms: one in [0, 1) per new token, [B, N].
        eos: ends a row.
        pad: stands after the end.

    Raises:
        InvalidObservationError: a prompt is malformed, or too long with N new tokens.
        DivergenceError: the policy's probabilities are not finite.
    """
    prompts, lengths = np.asarray(prompts), np.asarray(lengths)
    n_rows, n_new = uniforms.shape
    check_room(policy.network, lengths, n_new)
    first, of = shared_prompts(prompts, lengths)
    cache = policy.network.cache(len(first), prompts.shape[1] + n_new)
    hidden = cache.start(
        policy.readable(prompts[first], lengths[first]), policy.tensor(lengths[first])
    )
    if len(first) < n_rows:
        rows = policy.tensor(of)
        cache, hidden = cache.select(rows), hidden[rows]
    if policy.device.type == "cuda" and isinstance(cache, Cache):
        cache = recorded(cache, prompts.shape[1] + n_new)
    base = _Reference(policy, prompts, lengths, n_new)
    draws = torch.from_numpy(uniforms).to(policy.device)
    written = torch.full((n_rows, n_new), pad, dtype=torch.long, device=policy.device)
    log_probs = torch.zeros((n_rows, n_new), device=policy.device)
    values = torch.zeros_like(log_probs) if policy.value_head else None
    alive = torch.ones(n_rows, dtype=torch.bool, device=policy.device)
    for t in range(n_new):
        log_pi = policy.log_pi(hidden, base.log_probs(written, alive, t))
        token = inverse_cdf(log_pi, draws[:, t])
        written[:, t] = torch.where(alive, token, pad)
        log_probs[:, t] = log_pi.gather(1, token[:, None])[:, 0].masked_fill(~alive, 0.0)
        if values is not None:
            values[:, t] = policy.values(hidden).masked_fill(~alive, 0.0)
        alive = alive & (token != eos)
        if t + 1 == n_new or not bool(alive.any()):
            break
        hidden = cache.extend(token)
    if not bool(torch.isfinite(log_probs).all()):
        raise DivergenceError(
            "the policy's probabilities are not finite any more: its training has diverged. Lower "
            "the learning rate, and go back to an earlier checkpoint."
        )
    tokens, ends = _joined(prompts, lengths, written.cpu().numpy(), pad)
    return SampledTexts(
        tokens=tokens,
        lengths=ends,
        log_probs=log_probs.cpu().numpy(),
        values=None if values is None else values.cpu().numpy(),
    )


def inverse_cdf(log_pi: Tensor, uniforms: Tensor) -> Tensor:
    """For each row of log π [B, V] the first token whose cumulative probability is above u [B].

    Relative to the row's sum; a token of probability 0 is never taken, and the last possible one
    takes what rounding leaves.
    """
    cumulative = log_pi.exp().cumsum(dim=-1, dtype=torch.float64)
    total = cumulative[:, -1:].contiguous()
    token = torch.searchsorted(cumulative, uniforms[:, None] * total, right=True)
    last = torch.searchsorted(cumulative, total)
    return torch.minimum(token, last)[:, 0].clamp_(max=log_pi.shape[1] - 1)  # the rows may be NaN


class _Reference:
    """Log-probabilities of the policy's reference while texts grow; None where it has none."""

    def __init__(
        self, policy: Any, prompts: NDArray[np.int64], lengths: NDArray[np.int64], n_new: int
    ) -> None:
        self.policy, self.lengths = policy, lengths
        if policy.reference is not None:
            self.texts, _ = _joined(prompts, lengths, np.zeros((len(prompts), n_new), np.int64), 0)

    def log_probs(self, written: Tensor, alive: Tensor, t: int) -> Tensor | None:
        """[B, V] before the t-th new token, 0 for rows that have ended."""
        if self.policy.reference is None:
            return None
        rows = np.flatnonzero(alive.cpu().numpy())
        lengths = self.lengths[rows] + t
        if t:
            self.texts[rows, lengths - 1] = written[:, t - 1].cpu().numpy()[rows]
        asked = self.policy.base(self.texts[rows], lengths)
        if len(rows) == len(alive):
            return asked
        base = torch.zeros(len(alive), asked.shape[1], device=asked.device)
        base[torch.from_numpy(rows).to(base.device)] = asked
        return base


def _joined(
    prompts: NDArray[np.int64], lengths: NDArray[np.int64], written: NDArray[np.int64], pad: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """New tokens [B, N] directly after the prompts: tokens [B, P + N] and lengths of both [B]."""
    width, n_new = prompts.shape[1], written.shape[1]
    inside = np.arange(width) < lengths[:, None]
    tokens = np.full((len(prompts), width + n_new), pad, np.int64)
    tokens[:, :width] = np.where(inside, prompts, pad)
    np.put_along_axis(tokens, lengths[:, None] + np.arange(n_new), written, axis=1)
    return tokens, lengths + (written != pad).sum(axis=1)
