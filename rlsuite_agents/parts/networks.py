"""Small fully connected networks: torch learns them, NumPy evaluates them on the same memory.

One forward pass of a small network costs torch several times what it costs NumPy, so agents act in
NumPy and only learn in torch. On a CPU the NumPy arrays are views of the weights; from another
device they are copies, to be taken anew after each update.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = [
    "MLP",
    "Activation",
    "Layers",
    "evaluate_rows",
    "forward",
    "host_layer",
    "host_layers",
    "relu",
]

Layers = list[tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Weights [inputs, outputs] and biases [outputs], layer by layer."""

Activation = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Between the layers, elementwise."""


class MLP(torch.nn.Module):
    """Linear layers with tanh in between; the last one starts at zero, and so does the output.

    The other weights are uniform in ±sqrt(3 / inputs), variance 1 / inputs (LeCun et al. 1998,
    section 4.6); biases start at zero.
    """

    def __init__(
        self, sizes: Sequence[int], rng: np.random.Generator, device: torch.device | str = "cpu"
    ) -> None:
        """Builds the layers.

        Args:
            sizes: widths of the input, the hidden layers and the output.
            rng: draws the weights, in order; torch's own generators are left alone.
            device: where the weights live.
        """
        super().__init__()
        self.weights = torch.nn.ParameterList()
        self.biases = torch.nn.ParameterList()
        last = len(sizes) - 2
        for i, (n_in, n_out) in enumerate(itertools.pairwise(sizes)):
            bound = 0.0 if i == last else (3.0 / n_in) ** 0.5
            drawn = (bound * (2.0 * rng.random((n_out, n_in)) - 1.0)).astype(np.float32)
            self.weights.append(torch.nn.Parameter(torch.from_numpy(drawn).to(device)))
            self.biases.append(torch.nn.Parameter(torch.zeros(n_out, device=device)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs [B, outputs] for inputs [B, inputs]."""
        last = len(self.weights) - 1
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.nn.functional.linear(x, weight, bias)
            if i < last:
                x = torch.tanh(x)
        return x


def host_layers(network: MLP) -> Layers:
    """The weights as NumPy arrays: views on a CPU, copies from elsewhere."""
    return [
        host_layer(weight, bias)
        for weight, bias in zip(network.weights, network.biases, strict=True)
    ]


def host_layer(
    weight: torch.Tensor, bias: torch.Tensor
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """One linear layer, weight [outputs, inputs], as NumPy arrays."""
    return weight.detach().cpu().numpy().T, bias.detach().cpu().numpy()


def forward(
    layers: Layers, x: NDArray[np.float32], activation: Activation = np.tanh
) -> NDArray[np.float32]:
    """What `MLP.forward` computes, in NumPy: [..., inputs] to [..., outputs]."""
    for weight, bias in layers[:-1]:
        x = activation(x @ weight + bias)
    weight, bias = layers[-1]
    return x @ weight + bias


def evaluate_rows(
    layers: Layers, x: NDArray[np.float32], activation: Activation = np.tanh
) -> NDArray[np.float32]:
    """`forward` at the fixed width of one row: [B, inputs] to [B, outputs].

    The last bits of a matrix product depend on its shape, and of a row on its place in it; one
    product a row makes a row's result the same alone, in any company and at any place.
    """
    return forward(layers, x[:, None, :], activation)[:, 0]


def relu(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """max(x, 0)."""
    return np.maximum(x, np.float32(0.0))
