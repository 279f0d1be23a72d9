"""The compiled generator gives NumPy's bits, and ends where NumPy's ends."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.utils import seeding
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import SettingError
from rlsuite_envs.vector.pcg64 import advance, bit_state, generator, seeded, uniform, words

words64 = st.integers(0, 2**64 - 1)
corners = st.sampled_from([0, 1, 2**32 - 1, 2**32, 2**63, 2**64 - 1])


@settings(max_examples=200, deadline=None)
@given(row=st.lists(words64 | corners, min_size=4, max_size=4))
def test_any_state_gives_numpys_uniforms(row):
    ours = np.array([row], np.uint64)
    theirs = generator(ours[0])
    for _ in range(5):
        assert uniform(ours, 0) == theirs.random()
    advance(ours, 0)
    theirs.random()
    assert bit_state(ours[0]) == theirs.bit_generator.state


@given(seed=st.integers(0, 2**80))
def test_seeds_are_gymnasiums(seed):
    row, entropy = seeded(seed)
    theirs, their_seed = seeding.np_random(seed)
    assert bit_state(row) == theirs.bit_generator.state
    assert entropy == their_seed


def test_rows_are_streams_of_their_own():
    rows = np.array([seeded(i)[0] for i in range(3)])
    before = rows.copy()
    drawn = [uniform(rows, 1) for _ in range(4)]
    assert drawn == np.random.default_rng(1).random(4).tolist()
    assert np.array_equal(rows[[0, 2]], before[[0, 2]])


def test_no_seed_is_a_new_one():
    assert seeded(None)[1] != seeded(None)[1]


def test_there_and_back():
    row = seeded(7)[0]
    assert np.array_equal(words(bit_state(row), "x"), row)
    half = np.random.default_rng(0)
    half.integers(5, dtype=np.uint32)
    with pytest.raises(SettingError, match="x: 'rng' holds back half of a 64-bit draw"):
        words(half.bit_generator.state, "x")
