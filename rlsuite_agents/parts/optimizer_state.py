"""The state of a torch optimiser as arrays, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rlsuite_agents.parts.checkpoint import Checkpoint

__all__ = ["optimizer_arrays", "restore_optimizer"]


def optimizer_arrays(
    optimizer: torch.optim.Optimizer, name: str = "optimizer"
) -> dict[str, NDArray[Any]]:
    """What it has accumulated, as `name.k.key` for parameter k; empty before its first step."""
    return {
        f"{name}.{k}.{key}": tensor.detach().cpu().numpy()
        for k, entries in optimizer.state_dict()["state"].items()
        for key, tensor in entries.items()
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer, found: Checkpoint, name: str = "optimizer"
) -> None:
    """Puts the optimiser where `optimizer_arrays` found it; its settings are left alone.

    Raises:
        CheckpointError: an array has the shape of none of its parameters.
    """
    shapes = [tuple(p.shape) for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, torch.Tensor]] = {}
    for full in found.arrays:
        prefix, _, rest = full.partition(".")
        number, _, key = rest.partition(".")
        if prefix == name and number.isdecimal() and int(number) < len(shapes):
            shape = () if key == "step" else shapes[int(number)]
            array = found.array(full, shape, np.float32)
            state.setdefault(int(number), {})[key] = torch.from_numpy(np.asarray(array))
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
