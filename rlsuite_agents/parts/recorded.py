"""A transformer's next tokens on a GPU: one step is recorded as a CUDA graph and replayed.

A small network's step is some hundred kernels of a few microseconds each, and launching them from
Python takes many times as long. A graph launches them at once. It reads and writes fixed addresses,
so places and slots are counted by tensors, and attention looks at all slots through a mask.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

__all__ = ["RecordedCache", "recorded"]

WARM_UP = 3
"""Steps before one is recorded: libraries choose their kernels and workspaces in them."""


class RecordedCache:
    """Keys and values of texts that are being written; see `parts.transformer.Cache`.

    Weights are read where they lie: what an optimiser changes in place, the recording knows.

    Args:
        model: A `Transformer`.
        rows: B.
        capacity: Slots; there are never more.
    """

    def __init__(self, model: Any, rows: int, capacity: int) -> None:
        c, device = model.config, model.tokens.device
        kind = device.type
        self.half = torch.is_autocast_enabled(kind)
        dtype = torch.get_autocast_dtype(kind) if self.half else model.tokens.dtype
        shape = (c.layers, rows, c.heads, capacity, c.width // c.heads)
        self.model, self.dtype, self.key = model, dtype, (rows, capacity, self.half)
        self.keys, self.values = (torch.zeros(shape, dtype=dtype, device=device) for _ in range(2))
        self.readable = torch.zeros(rows, 1, 1, capacity, dtype=torch.bool, device=device)
        self.tokens, self.lengths = (
            torch.zeros(rows, dtype=torch.long, device=device) for _ in range(2)
        )
        self.slot = torch.zeros(1, dtype=torch.long, device=device)
        self.graph: Any = None
        if kind == "cuda":
            self._record()

    def take(self, cache: Any) -> RecordedCache:
        """Goes on from what a `Cache` has read."""
        slots = cache.slots
        self.keys[:, :, :, :slots] = cache.keys[:, :, :, :slots]
        self.values[:, :, :, :slots] = cache.values[:, :, :, :slots]
        self.readable.zero_()
        self.readable[:, 0, 0, :slots] = True if cache.readable is None else cache.readable
        self.lengths.copy_(cache.lengths)
        self.slot.fill_(slots)
        return self

    def extend(self, tokens: Tensor) -> Tensor:
        """Reads one more token of each row, [B]; the hidden states [B, D], overwritten later."""
        self.tokens.copy_(tokens)
        if self.graph is None:
            self.hidden = self._step()
        else:
            self.graph.replay()
        return self.hidden

    def _step(self) -> Tensor:
        self.readable.index_fill_(3, self.slot, True)
        places = self.model.places[self.lengths][:, None]
        kind = self.tokens.device.type
        # a recording must not read casts of weights that the surrounding context made and frees
        with torch.autocast(kind, dtype=self.dtype, enabled=self.half, cache_enabled=False):
            hidden: Tensor = self.model.run(self.tokens[:, None], places, self._read_on)[:, 0]
        self.lengths += 1
        self.slot += 1
        return hidden

    def _read_on(self, block: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        keys, values = self.keys[block], self.values[block]
        keys.index_copy_(2, self.slot, k.to(keys.dtype))
        values.index_copy_(2, self.slot, v.to(values.dtype))
        return scaled_dot_product_attention(q.to(keys.dtype), keys, values, attn_mask=self.readable)

    def _record(self) -> None:
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                self.slot.zero_()
                self.lengths.zero_()
                self._step()
        torch.cuda.current_stream().wait_stream(aside)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.hidden = self._step()


def recorded(cache: Any, capacity: int) -> RecordedCache:
    """The latest recording of this network if it is of this shape, else a new one, going on there.

    Args:
        cache: A `Cache` that has read its prompts.
        capacity: Tokens that its texts can have.
    """
    model = cache.model
    found = getattr(model, "recording", None)
    half = torch.is_autocast_enabled(model.tokens.device.type)
    if found is None or found.key != (len(cache.lengths), capacity, half):
        model.recording = found = None  # its memory goes before the new one's comes
        model.recording = found = RecordedCache(model, len(cache.lengths), capacity)
    return found.take(cache)
