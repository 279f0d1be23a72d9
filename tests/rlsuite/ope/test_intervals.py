"""Intervals against plain loops, by hand, and by how often they hold the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from registry.errors import SettingError
from registry.seeding import Stream, generator
from rlsuite.ope import (
    Terms,
    bernstein_interval,
    bootstrap_intervals,
    direct_method,
    ipw,
    replay,
    self_normalized_dr,
    snipw,
)
from rlsuite.ope import intervals as intervals_module


def some_terms(n=40, seed=0):
    rng = np.random.default_rng(seed)
    w, r, q, v = rng.exponential(size=n), rng.random(n), rng.random(n), rng.random(n)
    return [ipw(w, r), snipw(w, r), self_normalized_dr(w, r, q, v)]


def test_the_bootstrap_is_that_of_a_plain_loop():
    """Draws decisions, computes each estimate and its standard error anew, takes the quantile."""
    made = some_terms()
    rng = generator(3, Stream.BOOTSTRAP)
    drawn = [rng.integers(40, size=40, dtype=np.int32) for _ in range(200)]
    found = bootstrap_intervals(made, level=0.9, resamples=200, seed=3)
    for terms, interval in zip(made, found, strict=True):
        t = []
        for rows in drawn:
            d = None if terms.denominator is None else terms.denominator[rows]
            again = Terms(base=terms.base[rows], numerator=terms.numerator[rows], denominator=d)
            t.append(abs(again.value - terms.value) / again.standard_error)
        half = terms.standard_error * np.quantile(t, 0.9, method="higher")
        assert interval.low == pytest.approx(terms.value - half, rel=1e-9)
        assert interval.high == pytest.approx(terms.value + half, rel=1e-9)
        assert (interval.estimate, interval.n, interval.seed) == (terms.value, 40, 3)


def test_the_intervals_do_not_depend_on_how_many_counts_are_held(monkeypatch):
    whole = bootstrap_intervals(some_terms(), resamples=150)
    monkeypatch.setattr(intervals_module, "HELD", 400)
    for one, other in zip(whole, bootstrap_intervals(some_terms(), resamples=150), strict=True):
        assert one.low == pytest.approx(other.low, rel=1e-12)


def test_large_rewards_lose_no_digits():
    """Rewards around a million: as wide as around 0."""
    rng = np.random.default_rng(0)
    v, w, r = rng.random(100), rng.exponential(size=100), rng.random(100)
    for make in (lambda c: direct_method(v + c), lambda c: snipw(w, r + c)):
        near, far = (bootstrap_intervals([make(c)], resamples=200)[0] for c in (0.0, 1e6))
        assert far.high - far.low == pytest.approx(near.high - near.low, rel=1e-6)


def test_where_there_is_no_interval_a_note_says_why():
    (single,) = bootstrap_intervals([direct_method([1.0])])
    assert (single.low, single.note[:33]) == (None, "no interval: a single decision sa")
    (rare,) = bootstrap_intervals([replay([1, *[0] * 30], np.ones(31))], resamples=200)
    assert rare.low is None
    assert "too few decisions have a weight" in rare.note
    (equal,) = bootstrap_intervals([direct_method(np.full(9, 2.5))])
    assert (equal.low, equal.high) == (2.5, 2.5)
    assert "no width" in equal.note


@pytest.mark.parametrize(
    ("keywords", "sentence"),
    [({"level": 1.0}, "level must be in"), ({"resamples": 5}, "resamples must be a whole number")],
)
def test_settings_are_checked(keywords, sentence):
    with pytest.raises(SettingError, match=sentence):
        bootstrap_intervals(some_terms(), **keywords)


def test_bernstein_by_hand():
    """Four terms 0, 0, 1, 1: S = 1/3, and ln(4/δ) = ln 80 for 95 %."""
    terms = direct_method([0.0, 0.0, 1.0, 1.0])
    log = math.log(80.0)
    half = math.sqrt(2 * log / 3 / 4) + 7 * log / 9
    interval = bernstein_interval(terms, 0.0, 1.0)
    assert (interval.low, interval.high) == pytest.approx((0.5 - half, 0.5 + half))
    scaled = bernstein_interval(direct_method([0.0, 0.0, 10.0, 10.0]), 0.0, 10.0)
    assert scaled.high == pytest.approx(10 * interval.high)


def test_bernstein_of_replay_is_of_the_matches_alone():
    few = bernstein_interval(replay([1, 0, 1, 0], [0.0, 9.0, 1.0, 9.0]), 0.0, 1.0)
    own = bernstein_interval(direct_method([0.0, 1.0]), 0.0, 1.0)
    assert (few.low, few.high, few.n) == (own.low, own.high, 2)


def test_bernstein_is_for_means():
    _, ratio, _ = some_terms()
    interval = bernstein_interval(ratio, 0.0, 1.0)
    assert interval.low is None
    assert "self-normalised" in interval.note
    assert "fewer than two" in bernstein_interval(direct_method([1.0]), 0.0, 1.0).note
    assert "fewer than two" in bernstein_interval(replay([1, 0], [1.0, 1.0]), 0.0, 1.0).note
    with pytest.raises(SettingError, match="level must be in"):
        bernstein_interval(direct_method([0.0, 1.0]), 0.0, 1.0, level=0.0)
