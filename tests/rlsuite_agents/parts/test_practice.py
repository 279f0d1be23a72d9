"""Schedules, exploration and step sizes: texts, their ranges, and what they mean."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest

from registry.errors import SettingError
from rlsuite_agents.functional.practice import explore, policy, scheduled, step_size, visit
from rlsuite_agents.parts.practice import (
    UCB,
    Boltzmann,
    CountBonus,
    Exponential,
    Inverse,
    Linear,
    Power,
    check_practice,
    practice_of,
)


@dataclass(frozen=True, kw_only=True)
class Config:
    step_size: object = 0.5
    epsilon: object = 0.1
    gamma: float = 1.0
    exploration: object = "greedy"
    initial_value: float = 0.0

    def __post_init__(self):
        check_practice(self)


def practice(n_states=2, n_actions=3, **settings):
    return practice_of(Config(**settings), n_states, n_actions)


@pytest.mark.parametrize(
    ("epsilon", "values"),
    [
        (0.25, {0: 0.25, 100: 0.25}),
        ("linear(1, 0.2, 10)", {0: 1.0, 5: 0.6, 10: 0.2, 99: 0.2}),
        ("linear(0, 1, 4)", {0: 0.0, 1: 0.25, 4: 1.0, 5: 1.0}),
        ("exponential(0.8, 0.1, 10)", {0: 0.8, 10: 0.8 / math.e, 99: 0.1}),
        ("inverse(1, 0.01, 10)", {0: 1.0, 10: 0.5, 30: 0.25, 10**6: 0.01}),
    ],
)
def test_schedules_by_hand(epsilon, values):
    x = practice(epsilon=epsilon)
    for t, value in values.items():
        assert scheduled(x.epsilon, t) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize(
    ("name", "given", "text"),
    [
        ("epsilon", Linear(1, 0.05, 10_000), "linear(1, 0.05, 10000)"),
        ("epsilon", Exponential(1.0, 0.0, 500), "exponential(1.0, 0.0, 500)"),
        ("epsilon", Inverse(1, 0, 100), "inverse(1, 0, 100)"),
        ("step_size", Power(0.7), "power(0.7, 1.0)"),
        ("exploration", Boltzmann(0.5), "boltzmann(0.5)"),
        ("exploration", UCB(Linear(2, 0.1, 50)), "ucb(linear(2, 0.1, 50))"),
        ("exploration", CountBonus(0.5), "count_bonus(0.5)"),
    ],
)
def test_a_dataclass_becomes_its_text_and_means_the_same(name, given, text):
    config = Config(**{name: given})
    assert getattr(config, name) == text
    for one, other in zip(practice_of(config, 2, 3), practice(**{name: text}), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("name", "bad", "sentence"),
    [
        ("epsilon", "lots", r"Config\.epsilon must be a number in \[0, 1\], got 'lots'"),
        ("epsilon", "linear(2, 0, 10)", r"epsilon must be a number in \[0, 1\]"),
        ("epsilon", "linear(1, 0, 0)", r"epsilon must be a number in \[0, 1\]"),
        ("epsilon", "linear(1, 0)", r"epsilon must be a number in \[0, 1\]"),
        ("epsilon", "power(0.5)", r"epsilon must be a number in \[0, 1\]"),
        ("epsilon", float("nan"), r"epsilon must be a number in \[0, 1\]"),
        ("epsilon", True, r"epsilon must be a number in \[0, 1\]"),
        ("epsilon", "__import__('os')", r"epsilon must be a number in \[0, 1\]"),
        ("step_size", 0.0, r"Config\.step_size must be a number in \(0, 1\], got 0\.0"),
        ("step_size", "power(0)", r"Or 'power\(p\)', which is n"),
        ("step_size", "linear(1, 0.1, 10)", r"step_size must be a number in \(0, 1\]"),
        ("exploration", "best", r"Config\.exploration must be 'greedy', 'boltzmann\(temp"),
        ("exploration", 0.1, r"Config\.exploration must be 'greedy'"),
        ("exploration", "boltzmann(0)", "temperature must be a number above 0"),
        ("exploration", "boltzmann(linear(1, 0, 5))", "temperature must be a number above 0"),
        ("exploration", "ucb(-1)", "width must be a number of at least 0"),
        ("exploration", "count_bonus('x')", "weight must be a number of at least 0"),
        ("gamma", 1.1, r"Config\.gamma must be a number in \[0, 1\]"),
        ("initial_value", math.inf, r"Config\.initial_value must be a number in"),
    ],
)
def test_settings_out_of_range(name, bad, sentence):
    with pytest.raises(SettingError, match=sentence):
        Config(**{name: bad})


def test_visits_are_counted_only_where_something_needs_them():
    x = practice(exploration="count_bonus(2)")
    assert [visit(x, 1, 2) for _ in range(4)] == [2.0, 2 / math.sqrt(2), 2 / math.sqrt(3), 1.0]
    assert (x.counts[1, 2], x.counts.sum(), x.clock[0]) == (4, 4, 4)
    x = practice()
    assert [visit(x, 1, 2) for _ in range(2)] == [0.0, 0.0]
    assert (x.counts.size, x.clock[0]) == (0, 2)


def test_step_sizes_by_hand():
    assert step_size(practice(step_size=0.3), 0, 0) == 0.3
    x = practice(step_size="power(0.5, 0.8)")
    for _ in range(4):
        visit(x, 0, 1)
    assert step_size(x, 0, 1) == pytest.approx(0.4)


Q = np.array([1.0, 2.0, 2.0])


@pytest.mark.parametrize("mask", [None, np.array([1, 0, 1])])
@pytest.mark.parametrize(
    "settings",
    [
        {"epsilon": 0.4},
        {"epsilon": 0.1, "exploration": "boltzmann(0.7)"},
        {"epsilon": 0.2, "exploration": "ucb(3)"},
        {"epsilon": 0.2, "exploration": "count_bonus(3)"},
        {"epsilon": "linear(1, 0, 8)"},
    ],
)
def test_policy_is_what_explore_draws_from(settings, mask):
    """4,000 draws: each frequency within 4.5 standard errors."""
    x, p, rng = practice(**settings), np.zeros(3), np.random.default_rng(0)
    for a in (0, 1, 1, 2, 2, 2):
        visit(x, 1, a)
    policy(x, Q, 1, mask, p)
    assert p.sum() == pytest.approx(1.0)
    draws = [explore(x, Q, 1, mask, rng) for _ in range(4_000)]
    frequency = np.bincount(draws, minlength=3) / 4_000
    assert np.all(np.abs(frequency - p) <= 4.5 * np.sqrt(p * (1 - p) / 4_000) + 1e-12)


def test_upper_bounds_by_hand():
    """What was never tried comes first; then n = (1, 1, 3) and c = 1 decide."""
    x, p = practice(epsilon=0.0, exploration="ucb(1)"), np.zeros(3)
    for a in (0, 1):
        visit(x, 0, a)
    policy(x, Q, 0, None, p)
    assert p.tolist() == [0.0, 0.0, 1.0]  # never tried
    for _ in range(3):
        visit(x, 0, 2)
    policy(x, Q, 0, None, p)
    assert p.tolist() == [0.0, 1.0, 0.0]  # 2 + √ln 5 against 1 + √ln 5 and 2 + √(ln 5 / 3)
    assert explore(x, Q, 0, None, np.random.default_rng(0)) == 1
