"""Whose checkpoint is this?"""

from __future__ import annotations

import json

import pytest

import rlsuite
from registry.errors import CheckpointError
from rlsuite.checkpoint_owner import agent_of


@pytest.mark.parametrize(
    "agent",
    [
        "rlsuite/QLearning-v0",
        "rlsuite/Sarsa-v0",
        pytest.param("sb3/A2C-v0", marks=pytest.mark.slow),  # imports torch
    ],
)
def test_a_checkpoint_names_its_agent(tmp_path, agent):
    path = tmp_path / "a.safetensors"
    rlsuite.make_agent(agent, "rlsuite/GridWorld-v0", seed=0).save(path)
    assert agent_of(path) == agent


def safetensors(metadata: dict) -> bytes:
    header = json.dumps({"__metadata__": metadata}).encode()
    return len(header).to_bytes(8, "little") + header


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no checkpoint of rlsuite"),
        (b"GIF89a" * 20, "no checkpoint of rlsuite"),
        (b"\xff" * 8, "no checkpoint of rlsuite"),
        (safetensors({}), "no checkpoint of rlsuite"),
        (safetensors({"rlsuite": "no json"}), "no checkpoint of rlsuite"),
        (safetensors({"rlsuite": "0 []"}), "no checkpoint of rlsuite"),
        (safetensors({"rlsuite": '0 {"agent": 3}'}), "does not name its agent"),
    ],
)
def test_another_file_is_refused(tmp_path, content, said):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=said):
        agent_of(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be read: No such file"):
        agent_of(tmp_path / "a.safetensors")
