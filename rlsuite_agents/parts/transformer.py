"""A small causal transformer, the GPT-2 form of it (Radford et al. 2019), and its cache.

Token and position embeddings, then blocks of attention and of a layer four times as wide, each on
a normalised input and added to it, then a last normalisation:

    x ← x + Attention(LN(x)),    x ← x + W₂ gelu(W₁ LN(x))

Causal attention reads only the left, so what stands in the padding on the right changes nothing.
Weights are stored as [inputs, outputs], as GPT-2 does.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import gelu, layer_norm, scaled_dot_product_attention

from registry.errors import CheckpointError, SettingError
from rlsuite_agents.parts.decoding import HostCache
from rlsuite_agents.parts.rows import before_new, shared_prompts
from rlsuite_agents.parts.settings import check_count, check_flag

__all__ = ["Cache", "Transformer", "TransformerConfig", "from_gpt2"]

NORM_EPS = 1e-5
EMBEDDING = 0.5
"""Standard deviation of initial embeddings; where logits are read off them, of these logits."""

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""`(block, queries, keys, values)`, each [B, heads, n, d], to what is read, of the same shape."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TransformerConfig:
    """The shape of a `Transformer`."""

    vocabulary: int  # V, tokens that it reads and writes
    context: int  # places, at least 1
    layers: int = 2  # blocks, at least 1
    width: int = 32  # of the residual stream, a multiple of `heads`
    heads: int = 2  # of attention
    tied: bool = True  # the output weights are the token embeddings

    def __post_init__(self) -> None:
        for name in ("vocabulary", "context", "layers", "width", "heads"):
            check_count(self, name, 1)
        check_flag(self, "tied")
        if self.width % self.heads:
            raise SettingError(
                f"TransformerConfig.width must be a multiple of heads, got a width of {self.width} "
                f"and {self.heads} heads."
            )


class Transformer(nn.Module):
    """The network: tokens to hidden states, hidden states to logits.

    Args:
        config: Its shape.
        rng: Draws the initial weights: those of n inputs with variance 1/n, and what the blocks
            add with 1/(2 n layers), so that the sum keeps its size. Where `tied` is off the output
            weights start at 0, and all logits are 0 at first.
    """

    def __init__(self, config: TransformerConfig, rng: np.random.Generator) -> None:
        super().__init__()
        c, self.config = config, config
        spread = EMBEDDING / math.sqrt(c.width) if c.tied else EMBEDDING
        self.tokens = _drawn(rng, (c.vocabulary, c.width), spread)
        self.places = _drawn(rng, (c.context, c.width), spread)
        self.blocks = nn.ModuleList(_Block(k, c, rng) for k in range(c.layers))
        self.norm_gain, self.norm_bias = _norm(c.width)
        self.output = None if c.tied else nn.Parameter(torch.zeros(c.vocabulary, c.width))
        self.recording: Any = None  # of a step on a GPU, see `parts.recorded`

    @property
    def vocabulary(self) -> int:
        """V."""
        return self.config.vocabulary

    @property
    def context(self) -> int:
        """Most tokens of a text."""
        return self.config.context

    @property
    def width(self) -> int:
        """Length of a hidden state."""
        return self.config.width

    def forward(self, tokens: Tensor) -> Tensor:
        """Hidden states [B, T, width] of texts [B, T]: that of a place has read up to there."""
        return self.read(tokens, lambda *_: None)

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., width] to [..., V]."""
        return hidden @ (self.tokens if self.output is None else self.output).t()

    def cache(self, rows: int, capacity: int) -> Cache | HostCache:
        """An empty cache for texts of at most `capacity` tokens."""
        host = self.tokens.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
        return HostCache(self, rows, capacity) if host else Cache(self, rows, capacity)

    def read(self, prompts: Tensor, remember: Callable[[int, Tensor, Tensor], None]) -> Tensor:
        """`forward`, with a look at the keys and values [B, heads, T, d] of each block."""

        def attend(block: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            remember(block, k, v)
            return scaled_dot_product_attention(q, k, v, is_causal=True)

        return self.run(prompts, self.places[: prompts.shape[1]], attend)

    def before(self, texts: Tensor, starts: NDArray[np.int64], n: int) -> Tensor:
        """Hidden states [B, n, width] before each of n new tokens, anything after the last of them.

        They are what `forward` gives at these places, up to rounding; a prompt that texts share is
        read once.

        Args:
            texts: Prompts and new tokens, [B, T], right-padded.
            starts: Lengths of the prompts, [B].
            n: At least 1.
        """
        first, numbers = shared_prompts(texts.cpu().numpy(), starts)
        if len(first) == len(texts):
            return before_new(self, texts, starts, n)
        of, lengths = (torch.from_numpy(a).to(texts.device) for a in (numbers, starts))
        kept: list[tuple[Tensor, Tensor]] = []
        hidden = self.read(texts[first, : starts.max()], lambda _, k, v: kept.append((k, v)))
        last = hidden[of, lengths - 1][:, None]
        own = torch.arange(n - 1, device=of.device)
        places = (lengths[:, None] + own).clamp_(max=texts.shape[1] - 1)
        inside = torch.arange(hidden.shape[1], device=of.device) < lengths[:, None]
        inside, earlier = inside[:, None].expand(-1, n - 1, -1), own <= own[:, None]
        mask = torch.cat([inside, earlier.expand(len(of), -1, -1)], dim=2)[:, None]

        def attend(block: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            keys = torch.cat([kept[block][0][of], k], dim=2)
            values = torch.cat([kept[block][1][of], v], dim=2)
            return scaled_dot_product_attention(q, keys, values, attn_mask=mask)

        new = self.run(texts.gather(1, places), self.places[places], attend)
        return torch.cat([last, new], dim=1)

    def run(self, tokens: Tensor, places: Tensor, attend: Attend) -> Tensor:
        """Hidden states [B, n, width] of tokens [B, n] at places [B, n, width] or broadcast."""
        x = self.tokens[tokens] + places
        shape = x.shape
        x = x.reshape(-1, self.width)
        for block in self.blocks:
            x = block(x, shape[0], attend)
        x = layer_norm(x, (self.width,), self.norm_gain, self.norm_bias, NORM_EPS)
        return x.view(shape)


class _Block(nn.Module):
    """Attention and a wider layer, on rows [B n, width]."""

    def __init__(self, number: int, c: TransformerConfig, rng: np.random.Generator) -> None:
        super().__init__()
        self.number, self.heads, self.width = number, c.heads, c.width
        added = 1.0 / math.sqrt(2 * c.layers)
        self.gain1, self.bias1 = _norm(c.width)
        self.qkv, self.qkv_bias = _linear(rng, c.width, 3 * c.width, 1.0)
        self.mix, self.mix_bias = _linear(rng, c.width, c.width, added)
        self.gain2, self.bias2 = _norm(c.width)
        self.up, self.up_bias = _linear(rng, c.width, 4 * c.width, 1.0)
        self.down, self.down_bias = _linear(rng, 4 * c.width, c.width, added)

    def forward(self, x: Tensor, rows: int, attend: Attend) -> Tensor:
        """[B n, width] to the same."""
        h = layer_norm(x, (self.width,), self.gain1, self.bias1, NORM_EPS)
        h = torch.addmm(self.qkv_bias, h, self.qkv)
        parts = h.view(rows, -1, 3, self.heads, self.width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        read = attend(self.number, q, k, v).transpose(1, 2).reshape(-1, self.width)
        x = x + torch.addmm(self.mix_bias, read, self.mix)
        h = layer_norm(x, (self.width,), self.gain2, self.bias2, NORM_EPS)
        h = gelu(torch.addmm(self.up_bias, h, self.up), approximate="tanh")
        return x + torch.addmm(self.down_bias, h, self.down)

    def weights(self) -> tuple[Tensor, ...]:
        """All of them, in the order of use."""
        return tuple(self.parameters())


class Cache:
    """Keys and values of texts that are being written: one more token costs one more token.

    Rows stand side by side in slots, whatever their lengths: what a shorter prompt leaves empty is
    masked, and each row counts its own places.

    Args:
        model: The network.
        rows: B.
        capacity: Slots.
    """

    def __init__(self, model: Transformer, rows: int, capacity: int) -> None:
        c, like = model.config, model.tokens
        shape = (c.layers, rows, c.heads, capacity, c.width // c.heads)
        self.model, self.slots = model, 0
        self.keys, self.values = like.new_empty(shape), like.new_empty(shape)
        self.lengths = torch.zeros(rows, dtype=torch.long, device=like.device)
        self.readable: Tensor | None = None  # [B, slots], where rows have holes

    def start(self, prompts: Tensor, lengths: Tensor) -> Tensor:
        """Reads prompts [B, P] of `lengths` [B]; the hidden states of their last tokens [B, D]."""
        width = prompts.shape[1]
        hidden = self.model.read(prompts, self._remember)
        self.slots, self.lengths = width, lengths
        if bool((lengths < width).any()):
            self.readable = torch.arange(width, device=lengths.device) < lengths[:, None]
        return hidden[torch.arange(len(lengths), device=lengths.device), lengths - 1]

    def extend(self, tokens: Tensor) -> Tensor:
        """Reads one more token of each row, [B]; the hidden states [B, D]."""
        self._reserve()
        if self.readable is None:  # all rows are at the same place
            places = self.model.places[self.slots]
        else:
            places = self.model.places[self.lengths][:, None]
            self.readable = torch.nn.functional.pad(self.readable, (0, 1), value=True)
        hidden = self.model.run(tokens[:, None], places, self._read_on)
        self.slots += 1
        self.lengths = self.lengths + 1
        return hidden[:, 0]

    def select(self, rows: Tensor) -> Cache:
        """The cache of these rows, [C], each of which may stand there several times."""
        chosen = copy.copy(self)
        chosen.keys, chosen.values = self.keys[:, rows], self.values[:, rows]
        chosen.lengths = self.lengths[rows]
        chosen.readable = None if self.readable is None else self.readable[rows]
        return chosen

    def _remember(self, block: int, k: Tensor, v: Tensor) -> None:
        self.keys[block, :, :, : k.shape[2]] = k
        self.values[block, :, :, : v.shape[2]] = v

    def _read_on(self, block: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        slot, end = self.slots, self.slots + 1
        self.keys[block, :, :, slot] = k[:, :, 0]
        self.values[block, :, :, slot] = v[:, :, 0]
        mask = None if self.readable is None else self.readable[:, None, None]
        keys, values = self.keys[block, :, :, :end], self.values[block, :, :, :end]
        return scaled_dot_product_attention(q, keys, values, attn_mask=mask)

    def _reserve(self) -> None:
        """Twice the slots where all are taken."""
        if self.slots == self.keys.shape[3]:
            self.keys = torch.cat([self.keys, torch.empty_like(self.keys)], dim=3)
            self.values = torch.cat([self.values, torch.empty_like(self.values)], dim=3)


def _drawn(rng: np.random.Generator, shape: tuple[int, int], spread: float) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(rng.normal(0.0, spread, shape).astype(np.float32)))


def _linear(
    rng: np.random.Generator, inputs: int, outputs: int, gain: float
) -> tuple[nn.Parameter, nn.Parameter]:
    weights = _drawn(rng, (inputs, outputs), gain / math.sqrt(inputs))
    return weights, nn.Parameter(torch.zeros(outputs))


def _norm(width: int) -> tuple[nn.Parameter, nn.Parameter]:
    return nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))


def from_gpt2(model: Any) -> Transformer:
    """Our transformer with copies of the weights of a Hugging Face GPT-2, which it equals.

    Raises:
        CheckpointError: it is a variant that is computed otherwise.
    """
    c = model.config
    for name, value in GPT2.items():
        if getattr(c, name) not in value:
            raise CheckpointError(
                f"this GPT-2 has {name} {getattr(c, name)!r}, which ours does not know: it is "
                f"{' or '.join(map(repr, value))} there."
            )
    config = TransformerConfig(
        vocabulary=c.vocab_size, context=c.n_positions, layers=c.n_layer, width=c.n_embd,
        heads=c.n_head,
    )  # fmt: skip
    made = Transformer(config, np.random.default_rng(0))
    theirs = model.transformer.state_dict()
    ours = {"tokens": "wte.weight", "places": "wpe.weight"}
    ours |= {"norm_gain": "ln_f.weight", "norm_bias": "ln_f.bias"}
    for k in range(c.n_layer):
        ours |= {f"blocks.{k}.{name}": f"h.{k}.{other}" for name, other in BLOCK.items()}
    made.load_state_dict({name: theirs[other] for name, other in ours.items()})
    return made


GPT2: dict[str, tuple[Any, ...]] = {
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
    "n_inner": (None,),
    "layer_norm_epsilon": (NORM_EPS,),
    "tie_word_embeddings": (True,),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
}
"""What our transformer computes, in the settings of GPT-2."""

BLOCK = {
    "gain1": "ln_1.weight",
    "bias1": "ln_1.bias",
    "qkv": "attn.c_attn.weight",
    "qkv_bias": "attn.c_attn.bias",
    "mix": "attn.c_proj.weight",
    "mix_bias": "attn.c_proj.bias",
    "gain2": "ln_2.weight",
    "bias2": "ln_2.bias",
    "up": "mlp.c_fc.weight",
    "up_bias": "mlp.c_fc.bias",
    "down": "mlp.c_proj.weight",
    "down_bias": "mlp.c_proj.bias",
}
"""Names of a block's weights in GPT-2."""
