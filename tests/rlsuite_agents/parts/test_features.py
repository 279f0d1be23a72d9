"""Observations as rows of numbers."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.spaces.utils import flatten
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import InvalidObservationError, UnsupportedSpaceError
from rlsuite_agents.parts.features import Encoder

DICT = spaces.Dict(
    {
        "b": spaces.MultiDiscrete([2, 3], start=[0, 5]),
        "a": spaces.Discrete(3, start=-1),
        "c": spaces.Dict({"x": spaces.Box(-2, 2, (2, 1)), "y": spaces.MultiBinary(2)}),
    }
)
OBSERVATION = {
    "a": 0,
    "b": np.array([1, 5]),
    "c": {"x": np.array([[0.5], [-2.0]]), "y": np.array([1, 0])},
}
ROW = [0, 1, 0, 0, 1, 1, 0, 0, 0.5, -2, 1, 0]


def test_a_dictionary_by_hand():
    rows, single = Encoder(DICT).rows(OBSERVATION)
    assert single
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, [ROW])
    assert Encoder(DICT).size == 12


def test_a_batch_by_hand():
    encoder = Encoder(spaces.Discrete(3))
    np.testing.assert_array_equal(encoder.rows(np.array([2, 0]))[0], [[0, 0, 1], [1, 0, 0]])
    np.testing.assert_array_equal(encoder.one(np.int64(1)), [0, 1, 0])
    assert encoder.rows(np.array([2]))[1] is False


SPACES = st.sampled_from(
    [
        spaces.Discrete(5, start=2),
        spaces.MultiDiscrete([[2, 3], [4, 2]]),
        spaces.MultiBinary((2, 2)),
        spaces.Box(-1, 1, (3, 2)),
        spaces.Box(0, 255, (2,), np.uint8),
        DICT,
    ]
)


@given(SPACES, st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_a_batch_is_its_observations_and_equals_gymnasiums_flatten(space, seed):
    space.seed(seed)
    samples = [space.sample() for _ in range(3)]
    encoder = Encoder(space)
    rows, single = encoder.rows(_stack(samples))
    assert not single
    for row, sample in zip(rows, samples, strict=True):
        np.testing.assert_array_equal(row, encoder.one(sample))
        np.testing.assert_array_equal(row, flatten(space, sample).astype(np.float32))


def _stack(samples):
    if isinstance(samples[0], dict):
        return {key: _stack([sample[key] for sample in samples]) for key in samples[0]}
    return np.stack([np.asarray(sample) for sample in samples])


@pytest.mark.parametrize(
    ("space", "observation", "sentence"),
    [
        (spaces.Discrete(3), 3, "outside its range"),
        (spaces.Discrete(3), -1, "outside its range"),
        (spaces.Discrete(3), 1.0, "must be whole numbers, got 1.0"),
        (spaces.Box(-1, 1, (2,)), np.zeros(3), r"must have shape \(2,\).*got shape \(3,\)"),
        (spaces.Box(-1, 1, (2,)), np.array([np.nan, 0]), "holds NaN or infinity"),
        (spaces.Box(-1, 1, (2,)), np.array([np.inf, 0]), "holds NaN or infinity"),
        (spaces.Box(-1, 1, (2,)), np.array(["a", "b"]), "must be numbers"),
        (spaces.Box(-1, 1, (2,)), (np.zeros(2), {}), "whole answer of env.reset"),
        (spaces.Box(-1, 1, (2,)), 0.0, r"must have shape \(2,\), .* got shape \(\)"),
        (DICT, {"a": 0}, "no entry 'b'"),
        (DICT, 4, "no entry 'a'"),
        (DICT, {**OBSERVATION, "b": np.zeros((2, 2), int)}, "entry 'b' must have shape"),
    ],
)
def test_what_is_no_observation_is_refused(space, observation, sentence):
    with pytest.raises(InvalidObservationError, match=sentence):
        Encoder(space).rows(observation)


def test_one_refuses_a_batch():
    with pytest.raises(InvalidObservationError, match="one observation was expected"):
        Encoder(spaces.Discrete(3)).one(np.array([0, 1]))


@pytest.mark.parametrize(
    "space", [spaces.Text(3), spaces.Dict({}), spaces.Tuple([spaces.Discrete(2)])]
)
def test_other_spaces_are_refused(space):
    with pytest.raises(UnsupportedSpaceError, match="networks read observations of Discrete"):
        Encoder(space)


@pytest.mark.parametrize("space", [spaces.Box(0, 1, (0,)), spaces.Dict(a=spaces.Box(0, 1, (2, 0)))])
def test_spaces_without_numbers_are_refused(space):
    with pytest.raises(UnsupportedSpaceError, match="there are no numbers to learn from in"):
        Encoder(space)
