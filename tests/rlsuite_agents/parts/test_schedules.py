"""Rates that fall."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from registry.errors import SettingError
from rlsuite_agents.parts.schedules import check_horizon, check_rate, linear_start, rate_at


def test_rates_by_hand():
    assert rate_at(0.3, 70, None) == 0.3
    assert rate_at("lin_0.4", 0, 100) == 0.4
    assert rate_at("lin_0.4", 75, 100) == pytest.approx(0.1)
    assert rate_at("lin_0.4", 100, 100) == rate_at("lin_0.4", 300, 100) == 0.0
    assert linear_start("lin_1e-3") == 0.001
    assert math.isnan(linear_start("exp_1"))
    assert math.isnan(linear_start("lin_x"))
    with pytest.raises(SettingError, match="falls to 0 over a number of steps, got None"):
        rate_at("lin_0.4", 0, None)


@pytest.mark.parametrize("rate", [0.0, -1, True, math.inf, "lin_0", "lin_x", "lin_inf", "x", None])
def test_wrong_rates_are_refused(rate):
    with pytest.raises(
        SettingError, match=r'SimpleNamespace.a must be a number above 0, or "lin_x"'
    ):
        check_rate(SimpleNamespace(a=rate), "a")


def test_right_rates_pass():
    for rate in (1, 0.5, "lin_0.5"):
        check_rate(SimpleNamespace(a=rate), "a")
    check_rate(SimpleNamespace(a=None), "a", none=True)


def test_what_falls_needs_a_horizon():
    check_horizon(SimpleNamespace(a=0.1, total_timesteps=None), "a")
    check_horizon(SimpleNamespace(a="lin_1", total_timesteps=5), "a")
    with pytest.raises(
        SettingError, match="set total_timesteps to the steps of the whole training"
    ):
        check_horizon(SimpleNamespace(a="lin_1", total_timesteps=None), "a")
    with pytest.raises(SettingError, match=r'where a rate falls: .* write a as "lin_x", got 5'):
        check_horizon(SimpleNamespace(a=0.1, total_timesteps=5), "a")
    with pytest.raises(SettingError, match="total_timesteps must be a whole number of at least 1"):
        check_horizon(SimpleNamespace(a=0.1, total_timesteps=0), "a")
