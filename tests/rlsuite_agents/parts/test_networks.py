"""Small networks: the NumPy twin, the shared memory, the fixed width."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from rlsuite_agents.parts.networks import evaluate_rows, forward, host_layer, relu


def drawn(sizes):
    """Weights [inputs, outputs] and biases, as agents have them."""
    rng = np.random.default_rng(0)
    return [
        tuple(rng.normal(size=shape).astype(np.float32) for shape in ((n_in, n_out), n_out))
        for n_in, n_out in itertools.pairwise(sizes)
    ]


def test_forward_by_hand():
    """tanh(2·1 + 0·(-1)) · 3 + 0.5."""
    first = np.float32([[1.0], [-1.0]]), np.zeros(1, np.float32)
    layers = [first, (np.float32([[3.0]]), np.float32([0.5]))]
    x = np.array([2.0, 0.0], np.float32)
    assert forward(layers, x)[0] == pytest.approx(3 * np.tanh(2.0) + 0.5)
    assert forward(layers, -x, relu)[0] == pytest.approx(0.5)


def test_a_layer_of_torch_shares_its_memory():
    linear = torch.nn.Linear(5, 7, device="meta").to_empty(device="cpu")  # draws nothing
    x = np.random.default_rng(1).normal(size=(20, 5)).astype(np.float32)
    layers = [host_layer(linear.weight, linear.bias)]
    for value in (1.0, 2.0):
        with torch.no_grad():
            linear.weight.fill_(value)
            linear.bias.fill_(-value)
        theirs = linear(torch.from_numpy(x)).detach().numpy()
        np.testing.assert_allclose(forward(layers, x), theirs, atol=1e-5)


@pytest.mark.parametrize("sizes", [(4, 64, 64, 2), (71, 64, 7), (25, 4), (3, 33, 5)])
def test_a_row_is_the_same_alone_in_company_and_at_any_place(sizes):
    layers = drawn(sizes)
    x = np.random.default_rng(1).normal(size=(37, sizes[0])).astype(np.float32)
    together = evaluate_rows(layers, x)
    np.testing.assert_allclose(together, forward(layers, x), rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(np.vstack([evaluate_rows(layers, r[None]) for r in x]), together)
    np.testing.assert_array_equal(evaluate_rows(layers, x[::-1].copy())[::-1], together)
    np.testing.assert_array_equal(evaluate_rows(layers, x[5:18]), together[5:18])
