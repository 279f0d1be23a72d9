"""Spaces: batches told from single observations, and spaces kept as JSON."""

from __future__ import annotations

import json

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, Graph, MultiBinary, MultiDiscrete, Text, Tuple

from registry.errors import (
    CheckpointError,
    InvalidObservationError,
    SettingError,
    UnsupportedSpaceError,
)
from rlsuite_agents.parts.predict import as_batch, draw, rows_of
from rlsuite_agents.parts.settings import check_range
from rlsuite_agents.parts.spaces import (
    Detached,
    batch_size,
    box_size,
    discrete_size,
    finite,
    on_cpu,
    space_from_json,
    space_to_json,
)

SPACES = [
    Discrete(5),
    Discrete(3, start=-1),
    Box(-1, 1, (2, 3), np.float32),
    Box(np.array([-np.inf, 0.1]), np.array([np.inf, 7.3]), dtype=np.float64),
    Box(0, 255, (4, 4, 1), np.uint8),
    Box(-1, 1, (), np.float32),
    MultiBinary(4),
    MultiBinary((2, 2)),
    MultiDiscrete([3, 5], dtype=np.int32),
    Dict({"a": Discrete(2), "b": Box(0, 1, (2,), np.float32)}),
    Tuple([Discrete(2), Dict({"c": MultiBinary(3)})]),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_one_observation_and_a_batch(space):
    space.seed(0)
    one = space.sample()
    assert batch_size(space, one) is None
    batch = as_batch(one)
    assert batch_size(space, batch) == 1
    assert rows_of(batch) == 1


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_a_space_comes_back_from_json(space):
    assert space_from_json(json.loads(json.dumps(space_to_json(space)))) == space


def test_spaces_that_json_does_not_describe():
    assert space_to_json(Text(5)) is None
    assert space_to_json(Dict({"a": Discrete(2), "b": Text(5)})) is None
    assert space_to_json(Graph(Discrete(2), None)) is None
    assert space_from_json(None) is None


@pytest.mark.parametrize("value", [{}, {"kind": "Cube"}, {"kind": "Discrete", "n": 0}, 3])
def test_what_is_no_space(value):
    with pytest.raises(CheckpointError, match="this does not describe a space"):
        space_from_json(value)


@pytest.mark.parametrize(
    ("space", "observation"),
    [
        (Box(0, 1, (2,)), np.zeros(3)),
        (Box(0, 1, (2,)), np.zeros((1, 1, 2))),
        (Discrete(3), np.zeros((2, 2), int)),
        (Dict({"a": Discrete(2)}), {"a": np.zeros((2, 2), int)}),
    ],
)
def test_shapes_that_are_neither(space, observation):
    with pytest.raises(InvalidObservationError, match=r"has shape .* a batch has .* got"):
        batch_size(space, observation)


@pytest.mark.parametrize("observation", [{"a": 0}, {"a": 0, "b": 0, "c": 0}, 5, (0, {})])
def test_parts_that_are_missing(observation):
    space = Dict({"a": Discrete(2), "b": Discrete(2)})
    with pytest.raises(InvalidObservationError, match=r"has the parts \['a', 'b'\], got"):
        batch_size(space, observation)


def test_parts_of_different_batches():
    space = Dict({"a": Discrete(2), "b": Discrete(2)})
    with pytest.raises(InvalidObservationError, match="parts of the observation are batches of"):
        batch_size(space, {"a": np.zeros(2, int), "b": np.zeros(3, int)})


def test_the_pair_that_reset_returns():
    with pytest.raises(InvalidObservationError, match=r"the pair \(observation, info\)"):
        batch_size(Discrete(2), (0, {}))


@pytest.mark.parametrize(
    ("value", "answer"),
    [
        (1.0, True),
        (float("nan"), False),
        (np.float32(np.inf), False),
        (np.array([1.0, np.nan]), False),
        (np.array([1, 2]), True),
        ({"a": 1, "b": (0.5, np.array([np.inf]))}, False),
        ((1, {"x": np.zeros(2)}), True),
        ("text", True),
    ],
)
def test_finite(value, answer):
    assert finite(value) is answer


def test_sizes():
    assert discrete_size(Discrete(5), "it") == 5
    assert box_size(Box(0, 1, (2, 3)), "it") == 6
    with pytest.raises(
        UnsupportedSpaceError, match="its role must be Discrete and must count from 0"
    ):
        discrete_size(Discrete(5, start=1), "its role")
    with pytest.raises(UnsupportedSpaceError, match="its role must be a Box, got Discrete"):
        box_size(Discrete(5), "its role")


def test_devices():
    on_cpu("cpu", "Agent")
    on_cpu("auto", "Agent")
    with pytest.raises(SettingError, match=r"Agent runs on the CPU: device must be .* got .tpu."):
        on_cpu("tpu", "Agent")


def test_a_stand_in_has_spaces_and_no_steps():
    env = Detached(Discrete(2), Discrete(3))
    assert isinstance(env, gym.Env)
    with pytest.raises(SettingError, match=r"load it with load\(path, env=\.\.\.\)"):
        env.reset()


def test_a_checkpoint_from_spaces_that_json_does_not_describe(tmp_path):
    from rlsuite_agents.random import Random

    env = gym.Env()
    env.observation_space, env.action_space = Text(5), Discrete(2)
    env.reset, env.step = lambda **_: ("ab", {}), lambda action: ("ab", 0.0, False, False, {})
    agent = Random(env, seed=0)
    agent.save(tmp_path / "a.ckpt")
    assert Random.load(tmp_path / "a.ckpt", env=env).num_timesteps == 0
    with pytest.raises(CheckpointError, match="spaces that a checkpoint cannot describe"):
        Random.load(tmp_path / "a.ckpt")


class Fixed:
    def __init__(self, u):
        self.u = u

    def random(self):
        return self.u


@pytest.mark.parametrize(
    ("u", "action"), [(0.0, 1), (0.24, 1), (0.26, 3), (0.5, 3), (0.99, 3), (1 - 2**-53, 3)]
)
def test_draw_by_hand(u, action):
    """¼ and ¾ on actions 1 and 3; what has probability 0 is never drawn, rounding or not."""
    assert draw(np.array([0.0, 0.25, 0.0, 0.75, 0.0]), Fixed(u)) == action


class Config:
    def __init__(self, rate):
        self.rate = rate


@pytest.mark.parametrize(
    ("value", "interval", "fits"),
    [
        (0.0, "(0, 1]", False),
        (1.0, "(0, 1]", True),
        (1, "[1, 2)", True),
        (2, "[1, 2)", False),
        (5.0, "[0, inf)", True),
        (float("inf"), "[0, inf)", False),
        (-1e9, "(-inf, inf)", True),
        (True, "[0, 1]", False),
        ("1", "[0, 1]", False),
        (float("nan"), "[0, 1]", False),
    ],
)
def test_check_range(value, interval, fits):
    if fits:
        check_range(Config(value), "rate", interval)
        return
    with pytest.raises(SettingError, match=r"^Config\.rate must be a number in .*, got"):
        check_range(Config(value), "rate", interval)
