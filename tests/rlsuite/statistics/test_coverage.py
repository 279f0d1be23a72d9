"""What a 95% interval says is right in about 95% of data sets: claims, so tests.

Tolerances are four standard errors of a share, so that a right claim fails once in 16,000.
"""

from __future__ import annotations

import numpy as np
import pytest

from registry.errors import SettingError
from rlsuite.statistics import simulation
from rlsuite.statistics.simulation import (
    coverage,
    pairwise_error_rate,
    profile_coverage,
    sequential_error_rate,
    student_t_coverage,
    success_coverage,
    tolerance_coverage,
)

SETS = 600  # of each shape


def four_errors(share, count):
    return 4 * np.sqrt(share * (1 - share) / count)


def average(measure, *arguments):
    """Over a normal and a lognormal case, and the error of that average.

    Data sets of one population share its centres and spreads; their misses go together a little,
    which a factor of 1.3 allows for.
    """
    shares = [measure(*arguments, shape, sets=SETS) for shape in ("normal", "lognormal")]
    return np.mean(shares), 1.3 * four_errors(0.95, 2 * SETS)


@pytest.mark.slow
@pytest.mark.parametrize("runs", [3, 5, 10])
@pytest.mark.parametrize("tasks", [20, 26, 50])
@pytest.mark.parametrize("quantity", ["iqm", "mean", "gap", "difference of iqm"])
def test_from_20_tasks_on_intervals_cover_93_to_97_percent(quantity, tasks, runs):
    share, error = average(coverage, quantity, tasks, runs)
    assert 0.93 - error <= share <= 0.97 + error, share


@pytest.mark.slow
@pytest.mark.parametrize("runs", [3, 5, 10])
@pytest.mark.parametrize("tasks", [5, 8, 19])
@pytest.mark.parametrize("quantity", ["iqm", "mean", "gap", "median", "difference of iqm"])
def test_from_5_tasks_on_intervals_cover_91_percent(quantity, tasks, runs):
    share, error = average(coverage, quantity, tasks, runs)
    assert share >= 0.91 - error, share


@pytest.mark.slow
@pytest.mark.parametrize("runs", [3, 5, 10])
@pytest.mark.parametrize("tasks", [2, 4])
@pytest.mark.parametrize("quantity", ["iqm", "difference of iqm", "difference of mean"])
def test_two_to_four_tasks_are_covered_by_the_studentised_interval(quantity, tasks, runs):
    share, error = average(coverage, quantity, tasks, runs)
    assert share >= 0.93 - error, share


@pytest.mark.slow
@pytest.mark.parametrize("runs", [3, 5, 10])
@pytest.mark.parametrize("tasks", [1, 4, 26])
def test_the_probability_of_improvement_is_covered(tasks, runs):
    share, error = average(coverage, "improvement", tasks, runs)
    assert 0.93 - error <= share, share


@pytest.mark.slow
def test_the_plain_percentile_interval_does_not_cover():
    """Why it is not the default."""
    share, error = average(coverage, "iqm, percentile", 26, 3)
    assert share < 0.93 - error


@pytest.mark.slow
@pytest.mark.parametrize("runs", [3, 5, 10])
def test_students_t_covers_normal_runs_exactly_and_skewed_ones_less(runs):
    share = student_t_coverage(runs, "normal")
    assert abs(share - 0.95) < four_errors(0.95, 10_000)
    assert 0.80 < student_t_coverage(runs, "lognormal") < share


@pytest.mark.slow
@pytest.mark.parametrize(("tasks", "runs"), [(1, 5), (4, 3), (26, 3), (26, 10)])
def test_points_of_profiles_are_covered(tasks, runs):
    share, error = average(profile_coverage, tasks, runs)
    assert share >= 0.93 - error, share


@pytest.mark.slow
@pytest.mark.parametrize("alike", [0.0, 0.05, 0.3])
@pytest.mark.parametrize("runs", [3, 5, 10])
def test_success_rates_are_covered(runs, alike):
    assert success_coverage(runs, 0.5, alike) >= 0.95 - four_errors(0.95, 5000)


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["normal", "lognormal", "failing"])
def test_tolerance_intervals_of_46_runs_hold_for_any_distribution(shape):
    assert tolerance_coverage(46, shape) >= 0.95 - four_errors(0.95, 2000)


@pytest.mark.slow
@pytest.mark.parametrize(("tasks", "runs"), [(1, 5), (4, 5), (26, 3)])
@pytest.mark.parametrize("shape", ["normal", "lognormal"])
def test_equal_agents_are_called_different_at_most_once_in_twenty(tasks, runs, shape):
    rate = pairwise_error_rate(4, tasks, runs, shape, sets=SETS)
    assert rate <= 0.05 + 1.3 * four_errors(0.05, SETS)


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["normal", "lognormal", "failing"])
@pytest.mark.parametrize("groups", [(2,), (3,), (4,), (5,), (2, 2), (3, 2), (4, 1)])
def test_the_sequential_test_errs_at_most_once_in_twenty(groups, shape):
    """Two to five equal agents, and groups of equals that are far apart: all looks, all pairs.

    The test is exact, so that two standard errors are left to the simulation.
    """
    sets = 2000
    rate = sequential_error_rate(groups, shape, sets=sets)
    assert 0.005 < rate <= 0.05 + four_errors(0.05, sets) / 2, rate


@pytest.mark.slow
def test_looking_again_and_again_at_an_ordinary_test_errs_far_more_often():
    """Why it takes a sequential test: Student's t at 5, 10, 15, 20 and 25 runs."""
    from scipy.stats import ttest_ind

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 4000, 25))
    p_values = [ttest_ind(x[:, :n], y[:, :n], axis=1).pvalue for n in (5, 10, 15, 20, 25)]
    assert (np.min(p_values, axis=0) < 0.05).mean() > 0.1


def test_a_small_simulation_runs_by_default():
    """100 data sets each: 80% or more, which 95% misses once in a million."""
    for quantity in ("iqm", "difference of iqm", "improvement"):
        assert coverage(quantity, 26, 5, "normal", sets=100) > 0.8
    assert profile_coverage(26, 5, "normal", sets=100) > 0.8


def test_the_tables_are_made_by_a_command(capsys, monkeypatch):
    monkeypatch.setattr(
        "sys.argv", ["simulation", "--sets", "20", "--only", "student-t", "success"]
    )
    simulation.main()
    lines = capsys.readouterr().out.splitlines()
    assert "student-t" in lines
    assert "| tasks | N = 3 | N = 5 | N = 10 |" in lines
    assert sum(line.startswith("| 3 | 0.") for line in lines) == 3


def test_every_table_has_a_name_of_a_quantity_or_a_function():
    assert set(simulation.QUANTITIES) <= set(simulation.TABLES)


def test_what_is_refused():
    with pytest.raises(SettingError, match="quantity must be one of"):
        coverage("magic", 2, 3, "normal")
    with pytest.raises(SettingError, match="shape one of"):
        coverage("iqm", 2, 3, "magic")
    with pytest.raises(SettingError, match="sets must be a multiple of 5"):
        coverage("iqm", 2, 3, "normal", sets=7)
