"""A transformer's next tokens on a CPU: NumPy's matrix products, and compiled loops in between.

What `parts.transformer.Cache` computes with torch, without the cost of launching some sixty small
operations a token.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlsuite_agents.parts.compiled import kept_relaxed

__all__ = ["HostCache"]

Floats = NDArray[np.float32]
NORM_EPS = 1e-5
NEVER = np.float32(-1e30)
"""Score of a slot that holds nothing: its weight is exp of it, 0."""


class HostCache:
    """Keys and values of texts that are being written; see `parts.transformer.Cache`.

    Args:
        model: A `Transformer` in float32 on the CPU.
        rows: B.
        capacity: Slots.
    """

    def __init__(self, model: Any, rows: int, capacity: int) -> None:
        c = model.config
        self.model, self.slots, self.width = model, 0, 0
        shape = (c.layers, rows, c.heads, capacity, c.width // c.heads)
        self.keys, self.values = np.empty(shape, np.float32), np.empty(shape, np.float32)
        self.lengths = self.prompt_lengths = np.zeros(rows, np.int64)
        self._work: _Work | None = None

    def start(self, prompts: Tensor, lengths: Tensor) -> Tensor:
        """Reads prompts [B, P] of `lengths` [B]; the hidden states of their last tokens [B, D]."""
        self.slots = self.width = width = prompts.shape[1]
        self.lengths = self.prompt_lengths = lengths.numpy()

        def remember(block: int, k: Tensor, v: Tensor) -> None:
            self.keys[block, :, :, :width] = k.numpy()
            self.values[block, :, :, :width] = v.numpy()

        hidden = self.model.read(prompts, remember)
        return hidden[torch.arange(len(lengths)), lengths - 1]

    def extend(self, tokens: Tensor) -> Tensor:
        """Reads one more token of each row, [B]; the hidden states [B, D], overwritten next time.

        The hidden states share memory with the cache.
        """
        self._reserve()
        if self._work is None:
            self._work = _Work(self.model, len(self.lengths))
        w = self._work
        np.take(w.tokens, tokens.numpy(), axis=0, out=w.x)
        w.x += w.places[self.lengths]
        for block, weights in enumerate(w.blocks):
            self._block(w, weights, self.keys[block], self.values[block])
        kept_relaxed(_normalise)(w.x, *w.norm, w.out)
        self.slots += 1
        self.lengths = self.lengths + 1
        return torch.from_numpy(w.out)

    def select(self, rows: Tensor) -> HostCache:
        """The cache of these rows, [C], each of which may stand there several times."""
        chosen, at = copy.copy(self), rows.numpy()
        chosen.keys, chosen.values = self.keys.take(at, axis=1), self.values.take(at, axis=1)
        chosen.lengths, chosen.prompt_lengths = self.lengths[at], self.prompt_lengths[at]
        chosen._work = None
        return chosen

    def _block(self, w: _Work, weights: tuple[Floats, ...], keys: Floats, values: Floats) -> None:
        gain1, bias1, qkv, qkv_bias, mix, mix_bias, gain2, bias2, up, up_bias, down, down_bias = (
            weights
        )
        slots, heads = self.slots, keys.shape[1]
        kept_relaxed(_normalise)(w.x, gain1, bias1, w.h)
        np.matmul(w.h, qkv, out=w.qkv)
        scores = w.scores(heads, slots + 1)
        kept_relaxed(_score)(w.qkv, qkv_bias, keys, values, self.prompt_lengths, self.width, scores)
        np.exp(scores, out=scores)
        kept_relaxed(_read)(scores, values, w.h)
        np.matmul(w.h, mix, out=w.out)
        kept_relaxed(_add)(w.x, w.out, mix_bias)
        kept_relaxed(_normalise)(w.x, gain2, bias2, w.h)
        np.matmul(w.h, up, out=w.up)
        kept_relaxed(_bend)(w.up, up_bias, w.bent)
        np.tanh(w.bent, out=w.bent)
        kept_relaxed(_gate)(w.up, w.bent)
        np.matmul(w.up, down, out=w.out)
        kept_relaxed(_add)(w.x, w.out, down_bias)

    def _reserve(self) -> None:
        """Twice the slots where all are taken."""
        if self.slots == self.values.shape[3]:
            self.keys = np.concatenate([self.keys, np.empty_like(self.keys)], axis=3)
            self.values = np.concatenate([self.values, np.empty_like(self.values)], axis=3)


class _Work:
    """Weights as arrays, in the memory of the tensors, and buffers for one number of rows."""

    def __init__(self, model: Any, rows: int) -> None:
        width = model.width
        self.tokens, self.places = _arrays(model.tokens, model.places)
        self.norm = _arrays(model.norm_gain, model.norm_bias)
        self.blocks = [_arrays(*block.weights()) for block in model.blocks]
        self.x, self.h, self.out = (np.empty((rows, width), np.float32) for _ in range(3))
        self.qkv = np.empty((rows, 3 * width), np.float32)
        self.up, self.bent = (np.empty((rows, 4 * width), np.float32) for _ in range(2))
        self._scores = np.empty(0, np.float32)

    def scores(self, heads: int, slots: int) -> Floats:
        """A buffer [rows, heads, slots]."""
        size = len(self.x) * heads * slots
        if len(self._scores) < size:
            self._scores = np.empty(2 * size, np.float32)
        return self._scores[:size].reshape(len(self.x), heads, slots)


def _arrays(*tensors: Tensor) -> tuple[Floats, ...]:
    return tuple(tensor.detach().numpy() for tensor in tensors)


def _normalise(x: Any, gain: Any, bias: Any, out: Any) -> None:
    """Layer normalisation of the rows of x [B, D] (Ba et al. 2016)."""
    width = np.float32(x.shape[1])
    for i in range(x.shape[0]):
        mean = np.float32(0.0)
        for j in range(x.shape[1]):
            mean += x[i, j]
        mean /= width
        variance = np.float32(0.0)
        for j in range(x.shape[1]):
            variance += (x[i, j] - mean) * (x[i, j] - mean)
        scale = np.float32(1.0 / math.sqrt(variance / width + NORM_EPS))
        for j in range(x.shape[1]):
            out[i, j] = (x[i, j] - mean) * scale * gain[j] + bias[j]


def _score(qkv: Any, bias: Any, keys: Any, values: Any, ends: Any, width: Any, scores: Any) -> None:
    """Writes keys and values of the last slot; scores q · k / √d of all, less the largest.

    qkv [B, 3 D], to which its bias is added; keys and values [B, H, slots, d]; row b has no token
    in the slots from ends[b] to width; scores [B, H, slots].
    """
    heads, depth, slots = keys.shape[1], keys.shape[3], scores.shape[2]
    last, n = slots - 1, heads * depth
    scale = np.float32(1.0 / math.sqrt(depth))
    for b in range(scores.shape[0]):
        for j in range(3 * n):
            qkv[b, j] += bias[j]
        for h in range(heads):
            q, row = qkv[b, h * depth : (h + 1) * depth], scores[b, h]
            for j in range(depth):
                keys[b, h, last, j] = qkv[b, n + h * depth + j]
                values[b, h, last, j] = qkv[b, 2 * n + h * depth + j]
            for s in range(slots):
                product = np.float32(0.0)
                for j in range(depth):
                    product += q[j] * keys[b, h, s, j]
                row[s] = product * scale
            for s in range(ends[b], width):
                row[s] = NEVER
            largest = row[last]
            for s in range(slots):
                largest = max(largest, row[s])
            for s in range(slots):
                row[s] -= largest


def _read(weights: Any, values: Any, out: Any) -> None:
    """What is read: Σ_s w[s] v[s] / Σ_s w[s]; weights [B, H, slots], out [B, H d]."""
    depth = values.shape[3]
    for b in range(weights.shape[0]):
        for h in range(weights.shape[1]):
            row = weights[b, h]
            total = np.float32(0.0)
            for s in range(row.shape[0]):
                total += row[s]
            read = out[b, h * depth : (h + 1) * depth]
            read[:] = np.float32(0.0)
            for s in range(row.shape[0]):
                share = row[s] / total
                for j in range(depth):
                    read[j] += share * values[b, h, s, j]


def _add(x: Any, more: Any, bias: Any) -> None:
    """X ← x + more + bias, [B, D]."""
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            x[i, j] += more[i, j] + bias[j]


def _bend(up: Any, bias: Any, bent: Any) -> None:
    """Up ← up + bias, and what the tanh in GELU's approximation is taken of."""
    a, b = np.float32(math.sqrt(2.0 / math.pi)), np.float32(0.044715)
    for i in range(up.shape[0]):
        for j in range(up.shape[1]):
            z = up[i, j] + bias[j]
            up[i, j] = z
            bent[i, j] = a * (z + b * z * z * z)


def _gate(up: Any, bent: Any) -> None:
    """GELU (Hendrycks & Gimpel 2016): up ← up (1 + tanh) / 2."""
    for i in range(up.shape[0]):
        for j in range(up.shape[1]):
            up[i, j] *= np.float32(0.5) * (np.float32(1.0) + bent[i, j])
