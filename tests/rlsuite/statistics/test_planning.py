"""Power: known numbers of runs, simulation, and what the planner says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import SettingError
from rlsuite.statistics import iqm, mean, plan_runs, power, power_table, runs_needed


def test_textbook_numbers_of_runs():
    """Cohen 1988, table 2.4.1: half a deviation takes 64 per group, 0.8 takes 26, one takes 17."""
    assert [runs_needed(d) for d in (0.5, 0.8, 1.0)] == [64, 26, 17]
    assert runs_needed(0.5, power=0.9) == 86
    assert runs_needed(-0.5) == 64


def test_power_agrees_with_simulated_t_tests():
    """A share of 20,000 has standard deviation 0.0035 at most."""
    from scipy.stats import ttest_ind

    rng = np.random.default_rng(0)
    x, y = rng.normal(1.2, 1, size=(6, 20_000)), rng.normal(size=(6, 20_000))
    seen = (ttest_ind(x, y).pvalue < 0.05).mean()
    assert power(1.2, 6) == pytest.approx(seen, abs=4 * 0.0035)


def test_no_effect_is_seen_as_often_as_false_alarms_happen():
    assert power(0.0, 10) == pytest.approx(0.05)
    assert power(0.0, 10, level=0.9) == pytest.approx(0.1)


@pytest.mark.parametrize(("effect", "runs"), [(0.1, 2), (0.5, 64), (1.0, 3), (2.5, 5), (0.3, 400)])
@pytest.mark.parametrize("level", [0.8, 0.95, 0.999])
def test_power_agrees_with_scipys_noncentral_t(effect, runs, level):
    from scipy.stats import nct, t

    degrees, shift = 2 * (runs - 1), effect * (runs / 2) ** 0.5
    quantile = t.ppf(0.5 + level / 2, degrees)
    expected = nct.sf(quantile, degrees, shift) + nct.cdf(-quantile, degrees, shift)
    assert power(effect, runs, level) == pytest.approx(expected, abs=1e-9)


def test_large_effects_are_next_to_certain():
    """Where scipy's noncentral t gives NaN."""
    assert power(2.0, 64) == pytest.approx(1.0, abs=1e-12)
    assert power(40.0, 50) == pytest.approx(1.0, abs=1e-12)
    assert power(3.0, 100_000) == pytest.approx(1.0, abs=1e-9)


@given(st.floats(0.1, 3.0), st.floats(0.1, 0.99))
@settings(max_examples=30)
def test_the_number_needed_is_the_smallest_that_is_enough(effect, wanted):
    runs = runs_needed(effect, power=wanted)
    assert power(effect, runs) >= wanted
    assert runs == 2 or power(effect, runs - 1) < wanted


def test_the_table_has_a_row_for_each_effect():
    table = power_table([0.5, 1.0], [5, 10, 64])
    assert table.shape == (2, 3)
    assert table[0, 2] == power(0.5, 64)
    assert (np.diff(table, axis=0) > 0).all()
    assert (np.diff(table, axis=1) > 0).all()


def test_a_plan_by_hand():
    """Two agents, s = 1 each, 1 apart: one standard deviation takes 17 runs, so 14 more."""
    x = np.array([0.0, 1.0, 2.0])
    plan = plan_runs(x, x + 1.0, mean)
    assert (plan.runs, plan.needed, plan.more) == (3, 17, 14)
    assert plan.error == pytest.approx((2 / 3) ** 0.5)
    assert plan.power == pytest.approx(power(1.0, 3))
    assert plan.sentence.startswith("14 more seeds needed: 17 runs see the observed difference")
    assert plan_runs(x, x + 0.2, mean, smallest=1.0).needed == 17
    assert plan_runs(x, x + 0.2, mean, smallest=1.0).sentence.count("a difference of 1") == 1


def test_a_plan_for_several_tasks_extrapolates_the_bootstraps_error():
    """For the mean the error is known: √(Σ_m (s²_x + s²_y) / n) / M; four errors of it allowed."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(4, 9)), rng.normal(0.3, 1, size=(6, 9))
    plan = plan_runs(x, y, mean, resamples=20_000)
    variance = (x.var(axis=0, ddof=1).sum() / 4 + y.var(axis=0, ddof=1).sum() / 6) / 81
    assert plan.error == pytest.approx(variance**0.5, rel=4 / 40_000**0.5)
    assert plan.runs == 4
    quadrupled = plan_runs(np.tile(x, (4, 1)), np.tile(y, (4, 1)), mean)
    assert quadrupled.needed == pytest.approx(plan.needed, rel=0.25)


def test_the_sentences():
    x = np.array([0.0, 1.0, 2.0])
    enough = plan_runs(x, x + 10.0, mean)
    assert enough.more == 0
    assert enough.sentence.startswith("3 runs are enough to see the observed difference of -10")
    hopeless = plan_runs(x, x, mean)
    assert (hopeless.needed, hopeless.more) == (None, None)
    assert "more than 100,000 runs" in hopeless.sentence
    single = plan_runs([1.0], x, mean)
    assert (single.error, single.needed, single.power) == (None, None, None)
    assert "nothing is known" in single.sentence
    still = plan_runs([1.0, 1.0], [2.0, 2.0], mean)
    assert (still.error, still.needed) == (0.0, 2)
    assert "do not differ at all" in still.sentence
    one = plan_runs(np.tile(x, 16)[:16], np.tile(x, 16)[:16], mean, smallest=0.85)
    assert one.more == 1
    assert one.sentence.startswith("1 more seed needed")


def test_what_is_refused():
    with pytest.raises(SettingError, match="an effect is a finite number"):
        power(float("nan"), 5)
    with pytest.raises(SettingError, match="runs must be a whole number of at least 2"):
        power(1.0, 1)
    with pytest.raises(SettingError, match="power is a probability"):
        runs_needed(1.0, power=1.0)
    with pytest.raises(SettingError, match=r"takes more than 100,000 runs"):
        runs_needed(0.0)
    with pytest.raises(SettingError, match="level must be in"):
        power(1.0, 5, level=1.0)
    with pytest.raises(SettingError, match="the IQM is for two or more tasks"):
        plan_runs([1.0, 2.0], [1.0, 3.0], iqm)
