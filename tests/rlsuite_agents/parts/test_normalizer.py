"""Running moments and what is scaled by them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlsuite_agents.parts.normalizer import Moments, ObservationNormalizer, RewardNormalizer


@given(st.lists(st.integers(0, 6), min_size=1, max_size=8), st.integers(0, 1000))
def test_moments_equal_those_of_all_rows_at_once(sizes, seed):
    rng = np.random.default_rng(seed)
    blocks = [100.0 + rng.normal(size=(n, 3)) for n in sizes]
    moments = Moments(3)
    for block in blocks:
        moments.update(block)
    rows = np.concatenate(blocks)
    assert moments.count == len(rows)
    if len(rows):
        np.testing.assert_allclose(moments.mean, rows.mean(axis=0))
        np.testing.assert_allclose(moments.variance, rows.var(axis=0), rtol=1e-6, atol=1e-9)


def test_observations_by_hand():
    """Of 0 and 4: mean 2, deviation 2. 4 becomes 1, 2,000 becomes 10."""
    normalizer = ObservationNormalizer(1)
    normalizer.update(np.array([[0.0], [4.0]], np.float32))
    scaled = normalizer(np.array([[4.0], [2000.0], [-2000.0]], np.float32))
    np.testing.assert_allclose(scaled[:, 0], [1.0, 10.0, -10.0])
    assert scaled.dtype == np.float32


def test_rewards_by_hand():
    """γ = ½: G runs 2, 1 + 4 = 5 and starts anew after the end: its deviation of 2 and 5 is 1.5."""
    normalizer, alive = RewardNormalizer(1, 0.5), np.ones(1, bool)
    normalizer(np.array([2.0]), ~alive, alive)
    scaled = normalizer(np.array([4.0]), alive, alive)
    assert scaled[0] == pytest.approx(4.0 / 1.5)
    assert normalizer.running[0] == 0.0
    normalizer(np.array([7.0]), ~alive, ~alive)  # a step that only resets is not counted
    assert (normalizer.moments.count, normalizer.running[0]) == (2, 0.0)
