"""Small networks: the NumPy twin, the shared memory, the fixed width."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rlsuite_agents.parts.networks import MLP, evaluate_rows, forward, host_layers, relu


def network(sizes=(5, 16, 7), seed=0, last=True):
    made = MLP(sizes, np.random.default_rng(seed))
    if last:
        with torch.no_grad():
            weight = np.random.default_rng(9).normal(size=made.weights[-1].shape)
            made.weights[-1].copy_(torch.from_numpy(weight.astype(np.float32)))
    return made


def test_forward_by_hand():
    """tanh(2·1 + 0·(-1)) · 3 + 0.5."""
    made = network((2, 1, 1))
    with torch.no_grad():
        made.weights[0].copy_(torch.tensor([[1.0, -1.0]]))
        made.weights[1].fill_(3.0)
        made.biases[1].fill_(0.5)
    x = np.array([2.0, 0.0], np.float32)
    assert forward(host_layers(made), x)[0] == pytest.approx(3 * np.tanh(2.0) + 0.5)
    assert made(torch.from_numpy(x)).item() == pytest.approx(3 * np.tanh(2.0) + 0.5)
    assert forward(host_layers(made), -x, relu)[0] == pytest.approx(0.5)


def test_it_starts_at_zero_with_hidden_weights_of_variance_one_over_inputs():
    made = network((400, 50, 3), last=False)
    assert not made(torch.ones(2, 400)).any()
    weights = made.weights[0].detach().numpy()
    assert np.abs(weights).max() <= (3 / 400) ** 0.5
    assert weights.var() == pytest.approx(1 / 400, rel=0.05)  # 20,000 draws: 5 standard errors


def test_torch_and_numpy_agree_and_share_memory():
    made = network((5, 16, 16, 7))
    layers = host_layers(made)
    x = np.random.default_rng(1).normal(size=(20, 5)).astype(np.float32)
    np.testing.assert_allclose(
        forward(layers, x), made(torch.from_numpy(x)).detach().numpy(), atol=1e-5
    )
    with torch.no_grad():
        made.biases[-1].add_(1.0)
    np.testing.assert_allclose(
        forward(layers, x), made(torch.from_numpy(x)).detach().numpy(), atol=1e-5
    )


@pytest.mark.parametrize("sizes", [(4, 64, 64, 2), (71, 64, 7), (25, 4), (3, 33, 5)])
def test_a_row_is_the_same_alone_in_company_and_at_any_place(sizes):
    layers = host_layers(network(sizes))
    x = np.random.default_rng(1).normal(size=(37, sizes[0])).astype(np.float32)
    together = evaluate_rows(layers, x)
    np.testing.assert_array_equal(np.vstack([evaluate_rows(layers, r[None]) for r in x]), together)
    np.testing.assert_array_equal(evaluate_rows(layers, x[::-1].copy())[::-1], together)
    np.testing.assert_array_equal(evaluate_rows(layers, x[5:18]), together[5:18])


def test_no_global_generator_is_touched():
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    network()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002


def test_the_seed_decides_the_weights():
    a, b, c = (network(seed=s, last=False).weights[0] for s in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
