"""TD errors: on paper, rows against batches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlsuite_agents.functional import td

Q = np.array([1.0, 5.0, 2.0])
Q_NEXT = np.array([3.0, 8.0, 4.0])
TRAP = np.full(3, 99.0)  # values of a terminal state: they must not count


def test_td_error_by_hand():
    assert td.td_error(v=5.0, r=2.0, discount=0.5, v_next=8.0) == 2 + 4 - 5
    assert td.td_error(v=5.0, r=2.0, discount=0.0, v_next=99.0) == 2 - 5
    got = td.td_error(np.array([5.0, 5.0]), 2.0, np.array([0.5, 0.0]), np.array([8.0, 99.0]))
    np.testing.assert_array_equal(got, [1.0, -3.0])


def test_sarsa_error_by_hand():
    assert td.sarsa_error(Q, 1, 2.0, 0.5, Q_NEXT, 2) == 2 + 0.5 * 4 - 5
    assert td.sarsa_error(Q, 1, 2.0, 0.0, TRAP, 2) == 2 - 5


def test_expected_sarsa_error_by_hand():
    pi = np.array([0.25, 0.25, 0.5])  # ¼ · 3 + ¼ · 8 + ½ · 4 = 4.75
    assert td.expected_sarsa_error(Q, 1, 2.0, 0.5, Q_NEXT, pi) == 2 + 0.5 * 4.75 - 5
    assert td.expected_sarsa_error(Q, 1, 2.0, 0.0, TRAP, pi) == 2 - 5


def test_q_learning_error_by_hand():
    assert td.q_learning_error(Q, 1, 2.0, 0.5, Q_NEXT) == 2 + 0.5 * 8 - 5
    assert td.q_learning_error(Q, 1, 2.0, 0.0, TRAP) == 2 - 5


def test_double_q_learning_error_by_hand():
    """The selector likes action 2, which the other table values 4; ties go to the lowest index."""
    assert td.double_q_learning_error(Q, 1, 2.0, 0.5, Q_NEXT, np.array([0, 1, 7])) == 2 + 2 - 5
    assert td.double_q_learning_error(Q, 1, 2.0, 0.5, Q_NEXT, np.array([7, 1, 7])) == 2 + 1.5 - 5
    assert td.double_q_learning_error(Q, 1, 2.0, 0.0, TRAP, TRAP) == 2 - 5


def test_discount_of():
    assert td.discount_of(0.9, terminated=False) == 0.9
    assert td.discount_of(0.9, terminated=True) == 0.0


def batch(seed, b=6, n=4):
    rng = np.random.default_rng(seed)
    tables = [np.round(rng.normal(size=(b, n)), 1) for _ in range(3)]  # rounded: ties happen
    a, a_next = rng.integers(n, size=(2, b))
    return tables, a, a_next, rng.normal(size=b), np.where(rng.random(b) < 0.3, 0.0, 0.9)


@given(seed=st.integers(0, 2**32 - 1))
def test_batches_are_rows_one_by_one(seed):
    (q, q2, q3), a, a_next, r, d = batch(seed)
    pi = np.abs(q3) / np.maximum(np.abs(q3).sum(axis=1, keepdims=True), 1e-9)
    for together, row, arguments in (
        (td.sarsa_error, td.sarsa_error_row, (q2, a_next)),
        (td.expected_sarsa_error, td.expected_sarsa_error_row, (q2, pi)),
        (td.q_learning_error, td.q_learning_error_row, (q2,)),
        (td.double_q_learning_error, td.double_q_learning_error_row, (q2, q3)),
    ):
        got = together(q, a, r, d, *arguments)
        rows = [row(q[i], a[i], r[i], d[i], *(x[i] for x in arguments)) for i in range(len(q))]
        np.testing.assert_array_equal(got, rows)
        one = together(q[0], a[0], r[0], d[0], *(x[0] for x in arguments))
        assert one == rows[0]


@given(seed=st.integers(0, 2**32 - 1))
def test_the_errors_agree_where_their_policies_do(seed):
    """Under the greedy policy, Sarsa, expected Sarsa, Q-learning and double Q are one."""
    (q, q2, _), a, _, r, d = batch(seed)
    best = q2.argmax(axis=1)
    expected = td.q_learning_error(q, a, r, d, q2)
    np.testing.assert_array_equal(td.sarsa_error(q, a, r, d, q2, best), expected)
    np.testing.assert_array_equal(td.double_q_learning_error(q, a, r, d, q2, q2), expected)
    greedy = np.eye(4)[best]
    np.testing.assert_allclose(td.expected_sarsa_error(q, a, r, d, q2, greedy), expected)


@pytest.mark.parametrize("as_list", [True, False])
def test_one_number_serves_a_whole_batch(as_list):
    q, q_next = np.ones((2, 3)), np.full((2, 3), 4.0)
    if as_list:
        q, q_next = q.tolist(), q_next.tolist()
    got = td.q_learning_error(q, [0, 1], 1.0, 0.5, q_next)
    np.testing.assert_array_equal(got, [2.0, 2.0])
