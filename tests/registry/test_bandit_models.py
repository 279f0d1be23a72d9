"""Bandits as arrays: rewards as functions of one uniform, and what models refuse."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtri

from registry.bandit_models import (
    BanditModel,
    ContextualModel,
    arm_reward,
    normal_quantile,
)
from registry.errors import SettingError
from rlsuite_agents.parts.compiled import kept
from rlsuite_envs.compiled import Compiled

uniforms = st.integers(0, 2**53 - 1).map(lambda k: k / 2**53)
TAILS = [10.0**-k for k in range(1, 17)] + [1 - 10.0**-k for k in range(1, 16)]


@pytest.mark.parametrize("u", [*TAILS, 0.5, 0.075, 0.925, 1 - 2**-53, 2**-53])
def test_quantiles_in_the_tails_agree_with_scipy(u):
    assert normal_quantile(u) == pytest.approx(ndtri(u), rel=4e-15, abs=1e-15)


@given(uniforms)
def test_quantiles_agree_with_scipy(u):
    assert normal_quantile(u) == pytest.approx(ndtri(max(u, 2**-54)), rel=4e-15, abs=1e-15)


def test_a_uniform_of_0_is_no_infinity():
    assert normal_quantile(0.0) == normal_quantile(2**-54) < -8


def test_compiled_rewards_have_the_same_bits():
    u = [*TAILS, 0.0, *np.random.default_rng(0).random(2000).tolist()]
    for machine in (kept(arm_reward), Compiled(arm_reward)):
        for binary in (True, False):
            plain = [arm_reward(binary, 0.3, 2.0, x) for x in u]
            assert [machine(binary, 0.3, 2.0, x) for x in u] == plain


def test_rewards_by_hand():
    assert arm_reward(True, 0.3, 0.0, 0.3) == 0.0  # u < mean does not hold
    assert arm_reward(True, 0.3, 0.0, 0.2999) == 1.0
    assert arm_reward(False, 7.0, 2.0, 0.5) == 7.0
    assert arm_reward(False, 7.0, 0.0, 0.0) == 7.0  # no noise at all
    assert arm_reward(False, 7.0, 2.0, 0.8413447460685429) == pytest.approx(9.0, abs=1e-12)


def model(**changes):
    settings = {
        "kind": "bernoulli",
        "means": np.array([[0.1, 0.9], [0.7, 0.2], [0.3, 0.3]]),
        "sd": np.zeros(2),
        "horizon": 3,
    }
    return BanditModel(**{**settings, **changes})


def test_gaps_are_measured_against_the_best_of_each_row_or_one_arm():
    changing = model()
    assert changing.best.tolist() == [1, 0, 0]
    np.testing.assert_allclose(changing.gaps, [[0.8, 0.0], [0.0, 0.5], [0.0, 0.0]])
    against_1 = replace(changing, best=np.array([1, 1, 1]))
    np.testing.assert_allclose(against_1.gaps, [[0.8, 0.0], [-0.5, 0.0], [0.0, 0.0]])
    assert (changing.n_arms, changing.binary, changing.stationary) == (2, True, False)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"kind": "beta"}, "must be 'bernoulli', 'gaussian' or 'table', got 'beta'"),
        ({"horizon": 4}, "must have one row or 4 (the horizon)"),
        ({"means": np.ones(2)}, "must have one row or 3 (the horizon)"),
        ({"sd": np.zeros(3)}, "got the shapes (3, 2) and (3,)"),
        ({"means": np.full((1, 2), math.nan)}, "must be finite"),
        ({"means": np.full((1, 2), 1.5)}, "probabilities in [0, 1], got numbers from 1.5 to 1.5"),
        ({"sd": np.ones(2)}, "0 for every arm unless the kind is 'gaussian'"),
        ({"kind": "gaussian", "sd": np.array([1.0, -1.0])}, "sd must be at least 0"),
        ({"best": np.zeros(2, np.int64)}, "for each of the 3 rows of means, got the shape (2,)"),
    ],
)
def test_what_a_model_refuses(changes, sentence):
    with pytest.raises(SettingError, match=re.escape(sentence)):
        model(**changes)


@pytest.mark.parametrize(
    ("shapes", "sentence"),
    [
        (((4, 2), (3, 5), (3, 5)), "must have the same T"),
        (((4, 2), (4, 5), (4, 3)), "must have one shape"),
        (((4,), (4, 5), (4, 5)), "must have the same T"),
        (((4, 3, 2), (4, 5), (4, 5)), "must have the same T and K"),
        (((4, 5, 2), (4, 5), (3, 5)), "must have one shape"),
    ],
)
def test_what_a_contextual_model_refuses(shapes, sentence):
    contexts, means, rewards = map(np.zeros, shapes)
    with pytest.raises(SettingError, match=sentence):
        ContextualModel(contexts=contexts, means=means, rewards=rewards)
    with pytest.raises(SettingError, match="must be finite"):
        ContextualModel(
            contexts=np.full((1, 1), np.nan), means=np.ones((1, 1)), rewards=np.ones((1, 1))
        )
