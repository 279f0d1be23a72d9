"""Targets and losses of deep Q-learning: by hand, against slow twins, by finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from rlsuite_agents.functional.value_based import (
    LARGEST_Q,
    LOSS,
    MEAN_ERROR,
    MEAN_Q,
    dueling_gradient,
    dueling_values,
    huber_gradient,
    importance_weights,
    q_targets,
)
from rlsuite_agents.parts.compiled import kept

ALL = np.zeros((0, 0), bool)
FORMS = pytest.mark.parametrize("form", [lambda f: f, kept], ids=["plain", "compiled"])


def targets_of(form, rewards, discounts, q_next, q_select=None, mask=ALL):
    q_next = np.array(q_next, np.float32)
    q_select = q_next if q_select is None else np.array(q_select, np.float32)
    out = np.empty(len(q_next), np.float32)
    rewards, discounts = (np.array(x, np.float32) for x in (rewards, discounts))
    form(q_targets)(rewards, discounts, q_next, q_select, np.array(mask, bool), out)
    return out


@FORMS
def test_targets_by_hand(form):
    q = [[1.0, 4.0], [1.0, 4.0], [8.0, 2.0]]
    np.testing.assert_array_equal(targets_of(form, [1, 1, 0], [0.5, 0, 0.5], q), [3, 1, 4])


@FORMS
def test_double_q_learning_selects_by_one_network_and_values_by_the_other(form):
    found = targets_of(form, [1.0], [0.5], [[10.0, 4.0]], [[0.0, 1.0]])
    np.testing.assert_array_equal(found, [3.0])


@FORMS
def test_forbidden_actions_do_not_enter_the_maximum(form):
    mask = [[True, False], [False, True]]
    found = targets_of(form, [0, 0], [1, 1], [[1, 9], [9, -3]], mask=mask)
    np.testing.assert_array_equal(found, [1, -3])


@FORMS
def test_nothing_of_a_terminal_state_enters_not_even_infinity(form):
    assert targets_of(form, [1.0], [0.0], [[np.inf, np.nan]])[0] == 1.0


@FORMS
def test_targets_equal_a_slow_twin(form):
    rng = np.random.default_rng(0)
    rewards, discounts = rng.normal(size=40), rng.choice([0.0, 0.9, 0.81], 40)
    q_next, q_select = rng.normal(size=(2, 40, 5))
    mask = rng.random((40, 5)) < 0.5
    mask[:, 2] = True
    best = np.where(mask, q_select, -np.inf).argmax(1)
    twin = rewards + discounts * q_next[np.arange(40), best]
    found = targets_of(form, rewards, discounts, q_next, q_select, mask)
    np.testing.assert_allclose(found, twin, rtol=1e-5, atol=1e-6)


def huber(form, q, actions, targets, weights):
    q = np.array(q, np.float32)
    columns = [np.array(x, np.float32) for x in (targets, weights)]
    d_q, errors, sums = np.full_like(q, 7.0), np.empty(len(q), np.float32), np.full(4, 7.0)
    form(huber_gradient)(q, np.array(actions), *columns, d_q, errors, sums)
    return d_q, errors, sums


@FORMS
def test_the_huber_loss_by_hand(form):
    """δ = 0.5, weight 1, and δ = -3, weight 2: ½ · 0.25 + 2 · 2.5 over 2."""
    d_q, errors, sums = huber(form, [[1.5, 9.0], [0.0, -2.0]], [0, 1], [1.0, 1.0], [1.0, 2.0])
    np.testing.assert_array_equal(d_q, [[0.25, 0.0], [0.0, -1.0]])
    np.testing.assert_array_equal(errors, [0.5, 3.0])
    assert sums[LOSS] == 2.5625
    assert sums[MEAN_ERROR] == 1.75
    assert sums[MEAN_Q] == -0.25
    assert sums[LARGEST_Q] == 9.0


def test_the_gradient_is_that_of_finite_differences():
    rng = np.random.default_rng(1)
    q, targets, weights = rng.normal(size=(6, 3)) * 2, rng.normal(size=6), rng.random(6)
    actions, h = rng.integers(3, size=6), 1e-6

    def run(values):
        d_q, sums = np.empty_like(values), np.empty(4)
        huber_gradient(values, actions, targets, weights, d_q, np.empty(6), sums)
        return sums[LOSS], d_q

    slope = np.empty_like(q)
    for i, a in np.ndindex(*q.shape):
        step = np.zeros_like(q)
        step[i, a] = h
        slope[i, a] = (run(q + step)[0] - run(q - step)[0]) / (2 * h)
    np.testing.assert_allclose(run(q)[1], slope, atol=1e-8)


@FORMS
def test_dueling_values_by_hand_and_their_gradient(form):
    outputs = np.array([[1.0, 3.0, 10.0]], np.float32)
    q, d_outputs = np.empty((1, 2), np.float32), np.empty((1, 3), np.float32)
    form(dueling_values)(outputs, q)
    np.testing.assert_array_equal(q, [[9.0, 11.0]])
    form(dueling_gradient)(np.array([[1.0, 0.0]], np.float32), d_outputs)
    np.testing.assert_array_equal(d_outputs, [[0.5, -0.5, 1.0]])


def test_importance_weights_by_hand():
    shares = np.array([0.25, 0.5, 0.125])
    np.testing.assert_allclose(importance_weights(shares, 4, 1.0), [0.5, 0.25, 1.0])
    np.testing.assert_allclose(importance_weights(shares, 4, 0.5), [0.5**0.5, 0.5, 1.0])
    np.testing.assert_array_equal(importance_weights(shares, 4, 0.0), 1.0)
