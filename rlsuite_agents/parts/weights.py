"""The weights of a torch network as arrays, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rlsuite_agents.parts.checkpoint import Checkpoint

__all__ = ["restore_weights", "weight_arrays"]


def weight_arrays(network: Any, name: str) -> dict[str, NDArray[Any]]:
    """All weights, as `name.weight`, for a checkpoint."""
    return {f"{name}.{k}": w.detach().cpu().numpy() for k, w in network.state_dict().items()}


def restore_weights(network: Any, found: Checkpoint, name: str) -> None:
    """Takes what `weight_arrays` gave; raises `CheckpointError` where it does not fit."""
    shapes = {k: tuple(w.shape) for k, w in network.state_dict().items()}
    read = {k: found.array(f"{name}.{k}", shape, np.float32) for k, shape in shapes.items()}
    network.load_state_dict({k: torch.from_numpy(w) for k, w in read.items()})
