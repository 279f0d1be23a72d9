"""What all bandits share: the arm that an action names, and the constant of Lai and Robbins."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import InvalidActionError
from rlsuite_envs.bandits.arms import arm_index, bernoulli_kl, lai_robbins_constant

probabilities = st.floats(0.0, 1.0)


def test_bernoulli_kl_by_hand():
    # kl(1/2, 1/4) = 1/2 ln 2 + 1/2 ln (2/3)
    assert bernoulli_kl(0.5, 0.25) == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3))
    assert bernoulli_kl(0.0, 0.5) == pytest.approx(math.log(2))  # 0 ln 0 = 0
    assert bernoulli_kl(1.0, 1.0) == bernoulli_kl(0.0, 0.0) == 0.0
    assert bernoulli_kl(0.5, 1.0) == bernoulli_kl(0.5, 0.0) == math.inf


@given(probabilities, probabilities)
def test_kl_is_at_least_pinskers_bound(p, q):
    """kl(p, q) >= 2 (p - q)^2, and never NaN."""
    assert bernoulli_kl(p, q) >= 2 * (p - q) ** 2 - 1e-12


def test_lai_robbins_constant_by_hand():
    # μ* = 0.9:  0.8 / (0.8 ln 9) + 0.6 / (0.7 ln 7 - 0.3 ln 3)
    #            + 0.4 / (0.5 ln 5 - 0.5 ln 1.8) + 0.2 / (0.7 ln (7/9) + 0.3 ln 3)
    by_hand = (
        0.8 / (0.8 * math.log(9))
        + 0.6 / (0.7 * math.log(7) - 0.3 * math.log(3))
        + 0.4 / (0.5 * math.log(5) - 0.5 * math.log(1.8))
        + 0.2 / (0.7 * math.log(7 / 9) + 0.3 * math.log(3))
    )
    assert lai_robbins_constant((0.1, 0.3, 0.5, 0.7, 0.9)) == pytest.approx(by_hand, abs=1e-12)


def test_lai_robbins_constant_at_the_edges():
    assert lai_robbins_constant((0.4, 0.4)) == 0.0
    assert lai_robbins_constant((0.2, 1.0)) == 0.0  # kl is infinite: the best arm never fails
    assert lai_robbins_constant((0.0, 0.5)) == pytest.approx(0.5 / math.log(2))


@pytest.mark.parametrize("action", [2, np.int64(2), np.int8(2), np.uint16(2), np.array(2)])
def test_arm_index_takes_every_whole_number_of_the_space(action):
    arm = arm_index(action, 3)
    assert arm == 2
    assert type(arm) is int


@pytest.mark.parametrize(
    "action", [3, -1, np.int64(3), np.array(-1), 1.0, np.float64(1), "1", None, [1], np.array([1])]
)
def test_arm_index_refuses_the_rest(action):
    with pytest.raises(InvalidActionError, match="must be a whole number from 0 to 2"):
        arm_index(action, 3)
