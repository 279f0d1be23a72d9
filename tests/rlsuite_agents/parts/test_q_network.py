"""The gradient of the Q-network by hand, against autograd; the target network; rows."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from rlsuite_agents.parts.heads import EVERYTHING
from rlsuite_agents.parts.q_network import QNetwork
from rlsuite_agents.parts.replay import Batch

B, D, A = 32, 5, 4


def network(**more):
    settings = {"tau": 1.0, "double": False, "dueling": False, "activation": "relu", **more}
    hidden, rng = (16, 8), np.random.default_rng(0)
    made = QNetwork(D, A, hidden, rng=rng, **settings)
    made.target.vector += rng.normal(0, 0.1, len(made.target.vector)).astype(np.float32)
    return made


def batch(masked):
    rng = np.random.default_rng(1)
    mask = rng.random((B, A)) < 0.5
    mask[:, 1] = True
    floats = [rng.normal(size=shape).astype(np.float32) for shape in ((B, D), (B,), (B, D))]
    return Batch(
        np.arange(B),
        floats[0],
        rng.integers(A, size=B),
        floats[1] * 2,
        rng.choice([0.0, 0.9], B).astype(np.float32),
        floats[2],
        mask if masked else EVERYTHING,
        rng.random(B, dtype=np.float32),
    )


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize(
    ("double", "dueling", "masked"), list(itertools.product((False, True), repeat=3))
)
def test_the_gradient_equals_autograd(on_device, activation, double, dueling, masked):
    q, b = network(activation=activation, double=double, dueling=dueling), batch(masked)
    sums, errors = q.gradient(b)
    by_hand, twin = q.parameters.gradient, on_device(q)
    twin_sums, twin_errors = twin.gradient(b)
    np.testing.assert_allclose(by_hand, twin.parameters.gradient, atol=1e-5)
    np.testing.assert_allclose(sums, twin_sums, atol=1e-5)
    np.testing.assert_allclose(errors, twin_errors, atol=1e-5)
    assert np.abs(by_hand).max() > 0.01


def test_the_target_network_follows():
    q = network()
    q.follow()
    before = q.target.vector.copy()
    np.testing.assert_array_equal(before, q.parameters.vector)
    q.parameters.vector += 1.0
    np.testing.assert_array_equal(q.target.vector, before)
    q.tau = 0.25
    q.follow()
    np.testing.assert_allclose(q.target.vector, before + 0.25, atol=1e-6)


@pytest.mark.parametrize("dueling", [False, True])
def test_a_row_has_the_same_bits_in_any_batch(dueling):
    q, x = network(dueling=dueling), batch(False).features
    together = q.values_by_row(x)
    alone = np.concatenate([q.values_by_row(row[None]) for row in x])
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_allclose(together, q.values(x), atol=1e-5)
    assert together.shape == (B, A)
