"""Small fully connected networks in NumPy: one forward pass costs torch several times as much.

Weights that torch learns are read where they lie: on a CPU the NumPy arrays are views of them; from
another device they are copies, to be taken anew after each update.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = [
    "Activation",
    "Layers",
    "evaluate_rows",
    "forward",
    "host_layer",
    "relu",
]

Layers = list[tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Weights [inputs, outputs] and biases [outputs], layer by layer."""

Activation = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Between the layers, elementwise."""


def host_layer(
    weight: torch.Tensor, bias: torch.Tensor
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """One linear layer, weight [outputs, inputs], as NumPy arrays."""
    return weight.detach().cpu().numpy().T, bias.detach().cpu().numpy()


def forward(
    layers: Layers, x: NDArray[np.float32], activation: Activation = np.tanh
) -> NDArray[np.float32]:
    """Linear layers with an activation in between: [..., inputs] to [..., outputs]."""
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
