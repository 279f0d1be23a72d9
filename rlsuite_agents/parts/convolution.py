"""What reads an observation before the fully connected layers: nothing, or convolutions.

Torch functions of named parameters, which may lie on any device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import conv2d, linear

from registry.errors import UnsupportedSpaceError
from rlsuite_agents.parts.images import Image
from rlsuite_agents.parts.mlp_gradient import orthogonal

__all__ = ["Body", "NatureCNN", "Rows", "body_of", "orthogonally", "uniformly"]

LAYERS = ((32, 8, 4), (64, 4, 2), (64, 3, 1))
"""Filters, their side, stride."""

FEATURES = 512
SMALLEST = 36
"""Pixels of a side, from which on every layer has something to read."""


class Rows:
    """Hands on rows of features as they are."""

    chunk = 65_536  # rows evaluated at once, where nothing is learned

    def __init__(self, width: int) -> None:
        self.outputs = width

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Parameters of its own: none."""
        return {}

    def initialise(self, values: Mapping[str, NDArray[np.float32]], draw: Draw) -> None:
        """Nothing to draw."""

    def __call__(self, theta: Mapping[str, Tensor], rows: Tensor) -> Tensor:
        """The rows [B, d]."""
        return rows


class NatureCNN:
    """The convolutions of Mnih et al. (2015, methods), and their layer of 512 units, with ReLU.

    32 filters of 8 x 8 with stride 4, 64 of 4 x 4 with stride 2, 64 of 3 x 3 with stride 1. Bytes
    become numbers from 0 to 1 only here, so that what stores them needs a quarter of the memory.
    """

    outputs = FEATURES
    chunk = 256

    def __init__(self, image: Image) -> None:
        """Works out the sizes.

        Raises:
            UnsupportedSpaceError: the image is too small.
        """
        if min(image.height, image.width) < SMALLEST:
            raise UnsupportedSpaceError(
                f"the convolutions read images of at least {SMALLEST} x {SMALLEST} pixels, got "
                f"{image.height} x {image.width}. Enlarge them with ResizeObservation, or have "
                "them read as rows of numbers with FlattenObservation, both of gymnasium.wrappers."
            )
        self.image = image

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """`conv0.weight` [filters, channels, side, side], ..., `features.weight` [n, 512]."""
        shapes: dict[str, tuple[int, ...]] = {}
        height, width, channels = self.image.height, self.image.width, self.image.channels
        for k, (filters, side, stride) in enumerate(LAYERS):
            shapes[f"conv{k}.weight"] = (filters, channels, side, side)
            shapes[f"conv{k}.bias"] = (filters,)
            height, width = ((n - side) // stride + 1 for n in (height, width))
            channels = filters
        shapes["features.weight"] = (FEATURES, height * width * channels)
        shapes["features.bias"] = (FEATURES,)
        return shapes

    def initialise(self, values: Mapping[str, NDArray[np.float32]], draw: Draw) -> None:
        """Draws each layer: `draw(weight [outputs, inputs], bias [outputs])` writes to both."""
        for name in ("conv0", "conv1", "conv2", "features"):
            weight = values[f"{name}.weight"]
            draw(weight.reshape(len(weight), -1), values[f"{name}.bias"])

    def __call__(self, theta: Mapping[str, Tensor], rows: Tensor) -> Tensor:
        """Features [B, 512] of flattened images [B, H W C], uint8."""
        x = self.image.planes(rows)
        for k, (_, _, stride) in enumerate(LAYERS):
            x = torch.relu(conv2d(x, theta[f"conv{k}.weight"], theta[f"conv{k}.bias"], stride))
        x = linear(x.flatten(1), theta["features.weight"], theta["features.bias"])
        return torch.relu(x)


Body = Rows | NatureCNN
Draw = Callable[[NDArray[np.float32], NDArray[np.float32]], None]


def orthogonally(rng: np.random.Generator) -> Draw:
    """Orthogonal weights with gain √2, biases 0 (Huang et al. 2022, 2)."""

    def draw(weight: Any, bias: Any) -> None:
        weight[:] = orthogonal(rng, weight.shape, math.sqrt(2.0))
        bias[:] = 0.0

    return draw


def uniformly(rng: np.random.Generator) -> Draw:
    """Weights and biases uniform in ±1 / √(inputs of the layer), as torch's layers."""

    def draw(weight: Any, bias: Any) -> None:
        bound = 1.0 / weight.shape[1] ** 0.5
        for array in (weight, bias):
            array[:] = rng.uniform(-bound, bound, array.shape)

    return draw


def body_of(width: int, image: Image | None) -> Body:
    """What reads rows of this width, or flattened images; raises `UnsupportedSpaceError`."""
    return Rows(width) if image is None else NatureCNN(image)
