"""The backup: by hand, its bounds, and the same bits compiled and plain."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlsuite_agents.functional.planning import (
    action_values,
    backup_rows,
    boltzmann,
    soft_value,
    sweep,
)
from rlsuite_agents.parts.compiled import compiled

HALF = np.array([0.5, 0.5])
ANY_ROW = np.ones((1, 2))

R = np.array([[1.0, 0.0], [2.0, 4.0]])
P = np.array([[[1.0], [1.0]], [[1.0], [0.0]]])  # action 1 in state 1 ends
S_NEXT = np.array([[[0], [1]], [[0], [1]]], np.uint32)


def table(seed, states=6, actions=3, outcomes=2):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(outcomes + 1), size=(states, actions))[:, :, 1:]
    s_next = rng.integers(states, size=p.shape).astype(np.uint32)
    r, v = rng.normal(size=(states, actions)), rng.normal(size=states)
    return v, r, p, s_next, rng.dirichlet(np.ones(actions), size=states)


def test_a_soft_value_by_hand():
    """½ e^0 + ½ e^(log 3) = 2."""
    assert soft_value(np.array([0.0, math.log(3)]), HALF, 1.0) == pytest.approx(math.log(2))
    assert soft_value(np.array([0.0, 3.0]), HALF, 0.0) == 3.0
    assert soft_value(np.array([0.0, 3.0]), HALF, math.inf) == 1.5


@pytest.mark.parametrize("temperature", [0.0, 0.5, math.inf])
def test_actions_that_are_never_taken_are_not_read(temperature):
    q = np.array([np.nan, 2.0])
    assert soft_value(q, np.array([0.0, 1.0]), temperature) == 2.0


def test_digits_are_kept_at_both_ends():
    """τ log mean exp(q / τ) = mean + var / (2 τ) + ...; and the maximum + τ log ½."""
    q = np.array([0.0, 1.0])
    assert soft_value(q, HALF, 1e9) == pytest.approx(0.5 + 0.125e-9, abs=1e-16)
    assert soft_value(q, HALF, 1e-9) == pytest.approx(1.0 + 1e-9 * math.log(0.5), abs=1e-16)
    assert soft_value(1e6 * q, HALF, 1.0) == pytest.approx(1e6 + math.log(0.5))


@given(
    st.lists(st.floats(-50, 50), min_size=1, max_size=6),
    st.floats(1e-3, 1e3),
    st.floats(1.01, 100.0),
)
def test_it_lies_between_mean_and_maximum_and_falls_with_the_temperature(values, t, times):
    q = np.array(values)
    pi = np.full(len(q), 1 / len(q))
    cold, warm = soft_value(q, pi, t), soft_value(q, pi, t * times)
    assert q.max() + 1e-9 >= cold >= warm - 1e-9
    assert warm >= q.mean() - 1e-9


def test_action_values_by_hand():
    """γ = ½, v = (2, 6): q = [[1 + 1, 0 + 3], [2 + 1, 4]]; nothing is added after the end."""
    q = action_values(np.array([2.0, 6.0]), R, P, S_NEXT, 0.5)
    assert q.tolist() == [[2, 3], [3, 4]]


def test_a_sweep_in_place_sees_the_new_values():
    """From v = (2, 6), γ = ½. Forwards: v(0) = 3, v(1) = max(2 + 1.5, 4). Backwards: 4, then 2."""
    forwards, backwards = np.array([2.0, 6.0]), np.array([2.0, 6.0])
    assert sweep(forwards, forwards, R, P, S_NEXT, 0.5, ANY_ROW, 0.0, False) == 2.0
    assert forwards.tolist() == [3, 4]
    assert sweep(backwards, backwards, R, P, S_NEXT, 0.5, ANY_ROW, 0.0, True) == 2.0
    assert backwards.tolist() == [2, 4]


def test_a_sweep_into_another_array_sees_the_old_values():
    v, out = np.array([2.0, 6.0]), np.zeros(2)
    assert sweep(out, v, R, P, S_NEXT, 0.5, HALF[None], math.inf, False) == 2.5
    assert (out.tolist(), v.tolist()) == ([2.5, 3.5], [2, 6])


@pytest.mark.parametrize("seed", range(5))
def test_a_sweep_contracts(seed):
    """Two starts come nearer by γ at least, in place and backwards too, at any temperature."""
    v, r, p, s_next, pi = table(seed)
    for temperature, backwards in ((0.0, False), (0.8, True), (math.inf, True)):
        one, other = v.copy(), v + np.linspace(-1, 1, len(v))
        apart = np.abs(one - other).max()
        for u in (one, other):
            sweep(u, u, r, p, s_next, 0.9, pi, temperature, backwards)
        assert np.abs(one - other).max() <= 0.9 * apart + 1e-12


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("temperature", [0.0, 0.01, 1.0, math.inf])
def test_compiled_is_plain_bit_for_bit(seed, temperature):
    v, r, p, s_next, pi = table(seed)
    for backwards in (False, True):
        plain, fast = v.copy(), v.copy()
        how = (r, p, s_next, 0.9, pi, temperature, backwards)
        changes = sweep(plain, plain, *how), compiled(sweep)(fast, fast, *how)
        assert changes[0] == changes[1]
        np.testing.assert_array_equal(plain, fast)
    q = action_values(v, r, p, s_next, 0.9)
    np.testing.assert_array_equal(compiled(action_values)(v, r, p, s_next, 0.9), q)
    fast = compiled(backup_rows)(q, pi, temperature)
    np.testing.assert_array_equal(fast, backup_rows(q, pi, temperature))


@pytest.mark.parametrize("temperature", [1e-9, 0.3, 1e9])
def test_the_boltzmann_policy_has_the_soft_value(temperature):
    """Σ π (q - τ log(π / π_ref)) = V, the identity behind soft policy iteration."""
    _, q, _, _, reference = table(3)
    pi = boltzmann(q, reference, temperature)
    np.testing.assert_allclose(pi.sum(axis=1), 1.0)
    kl = np.sum(np.where(pi > 0, pi * np.log(np.maximum(pi, 1e-300) / reference), 0.0), axis=1)
    value = np.sum(pi * q, axis=1) - temperature * kl
    wanted = backup_rows(q, reference, temperature)
    # the identity loses τ times the rounding of the logarithm
    np.testing.assert_allclose(value, wanted, atol=1e-12 + 1e-14 * temperature)


def test_the_boltzmann_policy_leaves_out_what_the_reference_does():
    pi = boltzmann(np.array([[1000.0, 1.0, 1.0]]), np.array([[0.0, 0.5, 0.5]]), 1e-3)
    assert pi.tolist() == [[0.0, 0.5, 0.5]]
