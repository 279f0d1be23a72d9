"""Small networks with gradients by hand: matrix products into buffers that are kept.

All parameters of an agent lie in one flat float32 vector, all gradients in another; names are views
into it, for NumPy and for torch. An optimiser is then one loop over two vectors.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rlsuite_agents.parts.compiled import kept
from rlsuite_agents.parts.networks import Layers

__all__ = ["ActivationName", "Network", "Parameters", "layer_shapes", "orthogonal", "quiet"]

ActivationName = Literal["tanh", "relu"]
Floats = NDArray[np.float32]
quiet = np.errstate(over="ignore", invalid="ignore")
"""For the arithmetic of networks: a training that diverges ends in a sentence, not in warnings."""
MOST_SIZES = 16
"""Batch sizes whose buffers are kept: where episodes leave gaps, the last minibatch varies."""


class Parameters:
    """Named arrays, side by side in one vector, and their gradients in a second one.

    Attributes:
        vector: all parameters, float32 [P].
        gradient: ∂L / ∂ vector, float32 [P].
        values: views of `vector` by name.
        gradients: views of `gradient` by name.
    """

    def __init__(self, shapes: Mapping[str, Sequence[int]]) -> None:
        """All zero.

        Args:
            shapes: by name, in the order in which they lie in the vector.
        """
        size = sum(math.prod(shape) for shape in shapes.values())
        self.vector, self.gradient = np.zeros(size, np.float32), np.zeros(size, np.float32)
        self.values: dict[str, Floats] = _views(self.vector, shapes)
        self.gradients: dict[str, Floats] = _views(self.gradient, shapes)

    def put(self, vector: Floats) -> None:
        """Takes over all parameters [P]."""
        self.vector[:] = vector

    def put_gradient(self, gradient: Floats) -> None:
        """Takes over a gradient [P] that was computed elsewhere."""
        self.gradient[:] = gradient

    def tensors(self) -> dict[str, Any]:
        """The parameters as torch tensors on the CPU, in the same memory."""
        import torch

        return {name: torch.from_numpy(view) for name, view in self.values.items()}


class Network:
    """Linear layers with tanh or ReLU in between, on views of `Parameters`.

    `forward` keeps what `backward` needs, in buffers of its own for each batch size: what they
    return is overwritten by the next call of the same size.
    """

    def __init__(
        self,
        parameters: Parameters,
        name: str,
        sizes: Sequence[int],
        activation: ActivationName = "tanh",
    ) -> None:
        """Takes the arrays of `layer_shapes(name, sizes)` from the parameters."""
        depth = len(sizes) - 1
        self.sizes, self.activation = tuple(sizes), activation
        self.layers: Layers = _pairs(parameters.values, name, depth)
        self._gradients = _pairs(parameters.gradients, name, depth)
        relu = activation == "relu"
        self._add_bias = kept(_add_bias_relu if relu else _add_bias)
        self._times_slope = kept(_times_relu_slope if relu else _times_tanh_slope)
        self._buffers: dict[int, _Buffers] = {}

    def initialise(self, rng: np.random.Generator, gains: Sequence[float]) -> None:
        """Orthogonal weights, layer by layer with these gains; biases 0."""
        for (weight, bias), gain in zip(self.layers, gains, strict=True):
            weight[:] = orthogonal(rng, weight.shape, gain)
            bias[:] = 0.0

    def initialise_uniformly(self, rng: np.random.Generator) -> None:
        """Weights and biases uniform in ±1 / √(inputs of the layer), as torch's linear layers."""
        for layer in self.layers:
            bound = 1.0 / len(layer[0]) ** 0.5
            for array in layer:
                array[:] = rng.uniform(-bound, bound, array.shape)

    @quiet
    def forward(self, x: Floats) -> Floats:
        """Outputs [B, outputs] for inputs [B, inputs]."""
        buffers = self._buffers_of(len(x))
        buffers.inputs[0] = x
        last = len(self.layers) - 1
        for k, (weight, bias) in enumerate(self.layers):
            out = buffers.inputs[k + 1]
            np.matmul(buffers.inputs[k], weight, out=out)
            if k == last:
                out += bias
                continue
            self._add_bias(out, bias)
            if self.activation == "tanh":
                np.tanh(out, out=out)
        return buffers.inputs[-1]

    @quiet
    def backward(
        self, d_out: Floats, *, parameters: bool = True, inputs: bool = False
    ) -> Floats | None:
        """Back through the latest `forward` of this batch size.

        Args:
            d_out: ∂L / ∂ outputs, [B, outputs].
            parameters: whether the gradients of the parameters are written (not added up).
            inputs: whether ∂L / ∂ inputs is wanted.

        Returns:
            ∂L / ∂ inputs, [B, inputs], or None.
        """
        buffers = self._buffers_of(len(d_out))
        d = d_out
        for k in range(len(self.layers) - 1, -1, -1):
            if parameters:
                d_weight, d_bias = self._gradients[k]
                np.matmul(buffers.inputs[k].T, d, out=d_weight)
                np.matmul(buffers.ones, d, out=d_bias)
            if k == 0 and not inputs:
                return None
            back = np.multiply if d.shape[1] == 1 else np.matmul
            d = back(d, self.layers[k][0].T, out=buffers.d_inputs[k])
            if k:
                self._times_slope(buffers.inputs[k], d)
        return d

    def last_hidden(self, size: int) -> Floats:
        """The last hidden layer [B, width] in the latest `forward` of this batch size."""
        return self._buffers_of(size).inputs[-2]

    def _buffers_of(self, size: int) -> _Buffers:
        if size not in self._buffers:
            if len(self._buffers) == MOST_SIZES:
                self._buffers.clear()
            self._buffers[size] = _Buffers(size, self.sizes)
        return self._buffers[size]


class _Buffers:
    """Of one batch size: the input of each layer and, last, the output; gradients of the inputs."""

    def __init__(self, size: int, widths: Sequence[int]) -> None:
        self.inputs = [np.empty((size, width), np.float32) for width in widths]
        self.d_inputs = [np.empty((size, width), np.float32) for width in widths[:-1]]
        self.ones = np.ones(size, np.float32)


def layer_shapes(name: str, sizes: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a network's arrays: `name.weight0` [inputs, outputs], `name.bias0`."""
    shapes: dict[str, tuple[int, ...]] = {}
    for k, (n_in, n_out) in enumerate(itertools.pairwise(sizes)):
        shapes[f"{name}.weight{k}"] = (n_in, n_out)
        shapes[f"{name}.bias{k}"] = (n_out,)
    return shapes


def orthogonal(rng: np.random.Generator, shape: Sequence[int], gain: float) -> Floats:
    """A matrix with orthonormal rows or columns, whichever are fewer, times the gain.

    Saxe et al. 2014: the Q of a QR decomposition of Gaussian draws, signs made unique.
    """
    rows, columns = shape
    drawn = rng.standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(drawn)
    q *= np.sign(np.diag(r))
    return (gain * (q if rows >= columns else q.T)).astype(np.float32)


def _views(vector: Floats, shapes: Mapping[str, Sequence[int]]) -> dict[str, Floats]:
    views, start = {}, 0
    for name, shape in shapes.items():
        end = start + math.prod(shape)
        views[name] = vector[start:end].reshape(tuple(shape))
        start = end
    return views


def _pairs(arrays: Mapping[str, Floats], name: str, depth: int) -> Layers:
    return [(arrays[f"{name}.weight{k}"], arrays[f"{name}.bias{k}"]) for k in range(depth)]


def _add_bias(x: Any, bias: Any) -> None:
    """X ← x + b: [B, n] and [n]."""
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            x[i, j] += bias[j]


def _add_bias_relu(x: Any, bias: Any) -> None:
    """X ← max(x + b, 0); NaN stays NaN."""
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            h = x[i, j] + bias[j]
            x[i, j] = 0 if h <= 0 else h


def _times_tanh_slope(h: Any, d: Any) -> None:
    """D ← d (1 - h²), h = tanh(x), [B, n]."""
    for i in range(h.shape[0]):
        for j in range(h.shape[1]):
            d[i, j] *= 1 - h[i, j] * h[i, j]


def _times_relu_slope(h: Any, d: Any) -> None:
    """D ← d 1{h > 0}, h = max(x, 0), [B, n]."""
    for i in range(h.shape[0]):
        for j in range(h.shape[1]):
            if h[i, j] <= 0:
                d[i, j] = 0
