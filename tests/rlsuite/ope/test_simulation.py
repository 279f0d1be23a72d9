"""The simulations of the page: small here, as printed there in the slow test."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rlsuite.ope import effective_sample_size
from rlsuite.ope.simulation import SETTINGS, Problem, clipping, coverage, direct_errors, picture


def test_the_share_that_counts_is_that_of_a_long_log():
    problem = Problem.of(2, 4)
    x, a, r = problem.draw(200_000, np.random.default_rng(0))
    share = effective_sample_size(problem.w[x, a]) / len(x)
    assert share == pytest.approx(problem.ess_share, rel=0.02)
    # 5 standard errors of a mean of 0s and 1s
    assert r.mean() == pytest.approx((problem.logging * problem.q).sum(axis=1).mean(), abs=0.006)


def test_clipping_hard_ruins_ipw_where_the_log_is_against_the_rewards():
    problem = Problem.of(3, 4)
    bias, noise = clipping(problem, math.inf, 2000)
    assert bias == pytest.approx(0.0, abs=1e-12)
    hard_bias, hard_noise = clipping(problem, 1.0, 2000)
    assert hard_noise < noise / 2
    assert hard_bias < -0.3  # of a value of about 0.8
    assert problem.value == pytest.approx(0.8, abs=0.1)


def test_the_direct_method_stays_wrong_with_more_decisions():
    problem = Problem.of(3, 4)
    few, many = (direct_errors(problem, n, sets=20) for n in (400, 12_800))
    assert many["DM"] > 0.7 * few["DM"]
    assert many["DR"] < 0.4 * few["DR"]  # √32 = 5.7 times as good, but for noise
    assert many["IPW"] < 0.4 * few["IPW"]
    assert many["DM"] > 3 * many["DR"]


def test_the_picture_can_be_drawn(tmp_path):
    found = [coverage(Problem.of(b, e), 200, sets=5, resamples=100) for b, e in SETTINGS[:2]]
    picture(tmp_path / "ope.png", found, sets=3)
    assert (tmp_path / "ope.png").stat().st_size > 20_000


@pytest.mark.slow
@pytest.mark.parametrize(("beta", "eta"), [s for s in SETTINGS if Problem.of(*s).ess_share >= 0.1])
def test_intervals_hold_the_truth_as_often_as_they_say(beta, eta):
    """Between 92 % and 97 %, and Bernstein's at least 95 %; 2,000 sets have an error of 0.5 %."""
    found = coverage(Problem.of(beta, eta), 1000, sets=2000, seed=1)
    for name, share in found.bootstrap.items():
        assert 0.92 <= share <= 0.97, name
    assert all(share >= 0.95 for share in found.bernstein.values())


@pytest.mark.slow
def test_intervals_are_too_narrow_where_few_decisions_count():
    found = coverage(Problem.of(8, 8), 1000, sets=200)
    assert found.ess_share < 0.05
    assert max(found.bootstrap.values()) < 0.9
