"""Checks of keywords and of saved states."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from registry.errors import SettingError
from rlsuite_envs.checks import check_count, check_real, check_state, generator_from


@pytest.mark.parametrize("value", [0, -3, 1.0, "2", None, True])
def test_check_count_refuses(value):
    with pytest.raises(
        SettingError, match=f"n must be a whole number of at least 1, got {value!r}"
    ):
        check_count("n", value)


def test_check_count_gives_a_python_int():
    assert type(check_count("n", np.int32(4))) is int


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, math.inf, "0.5", None, True])
def test_check_real_refuses(value):
    with pytest.raises(SettingError, match=r"x must be a probability, got"):
        check_real("x", value, "a probability", 0.0, 1.0)


@pytest.mark.parametrize("state", [None, [], {"a": 1}, {"a": 1, "b": 2, "c": 3}, {"a": 1, 2: 3}])
def test_check_state_refuses(state):
    with pytest.raises(SettingError, match=re.escape("a dictionary with the keys a, b; got")):
        check_state("Bandit", state, ("b", "a"))


@pytest.mark.parametrize(
    "state",
    [
        None,
        7,
        {},
        {"bit_generator": "PCG64"},
        np.random.MT19937(0).state,
        {**np.random.PCG64(0).state, "state": {"state": "x", "inc": 1}},
        {**np.random.PCG64(0).state, "state": {"state": -1, "inc": 2**200}},
    ],
)
def test_generator_from_refuses(state):
    with pytest.raises(SettingError, match="'rng' must be the state of a PCG64 generator, got"):
        generator_from("Bandit", state)


def test_generator_from_goes_on():
    rng = np.random.default_rng(3)
    rng.random(5)
    twin = generator_from("Bandit", rng.bit_generator.state)
    np.testing.assert_array_equal(twin.random(5), rng.random(5))
