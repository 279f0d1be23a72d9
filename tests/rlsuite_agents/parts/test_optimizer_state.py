"""The state of an optimiser goes to a checkpoint and comes back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from registry.errors import CheckpointError
from rlsuite_agents.parts.checkpoint import load_checkpoint, save_checkpoint
from rlsuite_agents.parts.optimizer_state import optimizer_arrays, restore_optimizer


@dataclass(frozen=True)
class NoSettings:
    """None."""


def trainer(width=4):
    made = torch.nn.Sequential(
        *(torch.nn.Linear(3, width), torch.nn.Tanh(), torch.nn.Linear(width, 2))
    )
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for p in made.parameters():
            p.copy_(torch.from_numpy(rng.normal(size=p.shape)))
    return made, torch.optim.Adam(made.parameters(), lr=0.1, fused=True)


def step(made, optimizer):
    optimizer.zero_grad()
    (made(torch.ones(1, 3)) - 1).square().sum().backward()
    optimizer.step()


def stored(tmp_path, optimizer):
    path = tmp_path / "o.safetensors"
    arrays = optimizer_arrays(optimizer)
    save_checkpoint(path, agent="a", config=NoSettings(), arrays=arrays, state={})
    return load_checkpoint(path, agent="a", config_type=NoSettings)


@pytest.mark.parametrize("steps", [0, 3])
def test_it_goes_on_as_if_it_had_never_stopped(tmp_path, steps):
    made, optimizer = trainer()
    for _ in range(steps):
        step(made, optimizer)
    other, fresh = trainer()
    other.load_state_dict(made.state_dict())
    restore_optimizer(fresh, stored(tmp_path, optimizer))
    for _ in range(2):
        step(made, optimizer)
        step(other, fresh)
    for a, b in zip(made.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_another_network_is_refused(tmp_path):
    made, optimizer = trainer()
    step(made, optimizer)
    with pytest.raises(CheckpointError, match="should be float32 of shape"):
        restore_optimizer(trainer(width=5)[1], stored(tmp_path, optimizer))
