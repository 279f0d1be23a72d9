"""Networks by hand: the same outputs and gradients as torch, on one vector."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlsuite_agents.parts.mlp_gradient import Network, Parameters, layer_shapes, orthogonal


def network(sizes, activation="tanh", seed=0):
    parameters = Parameters(layer_shapes("net", sizes))
    made = Network(parameters, "net", sizes, activation)
    rng = np.random.default_rng(seed)
    parameters.vector[:] = rng.normal(size=len(parameters.vector)).astype(np.float32) * 0.5
    return parameters, made


def test_forward_and_backward_by_hand():
    """tanh(2x)·3 + 1 at x = 0.5, which is the loss too: dL/dw₂ = tanh(1), dL/dx = 6 (1 - tanh²)."""
    parameters, net = network((1, 1, 1))
    parameters.vector[:] = [2.0, 0.0, 3.0, 1.0]  # weight, bias, weight, bias
    out = net.forward(np.array([[0.5]], np.float32))
    slope = 1 - np.tanh(1.0) ** 2
    assert out[0, 0] == pytest.approx(3 * np.tanh(1.0) + 1)
    d_x = net.backward(np.ones((1, 1), np.float32), inputs=True)
    assert d_x[0, 0] == pytest.approx(6 * slope, rel=1e-5)
    np.testing.assert_allclose(
        parameters.gradient, [3 * slope * 0.5, 3 * slope, np.tanh(1.0), 1.0], rtol=1e-5
    )


@settings(max_examples=40, deadline=None)
@given(
    widths=st.lists(st.integers(1, 9), min_size=2, max_size=4),
    batch=st.integers(1, 12),
    activation=st.sampled_from(["tanh", "relu"]),
    seed=st.integers(0, 10_000),
)
def test_gradients_equal_autograd(widths, batch, activation, seed):
    parameters, net = network(widths, activation, seed)
    rng = np.random.default_rng(seed + 1)
    x = rng.normal(size=(batch, widths[0])).astype(np.float32)
    d_out = rng.normal(size=(batch, widths[-1])).astype(np.float32)
    theta = {k: v.clone().requires_grad_() for k, v in parameters.tensors().items()}
    tensor = torch.tensor(x, requires_grad=True)
    h = tensor
    for k in range(len(widths) - 1):
        h = h @ theta[f"net.weight{k}"] + theta[f"net.bias{k}"]
        if k < len(widths) - 2:
            h = torch.tanh(h) if activation == "tanh" else torch.relu(h)
    (h * torch.from_numpy(d_out)).sum().backward()
    np.testing.assert_allclose(net.forward(x), h.detach().numpy(), rtol=1e-5, atol=1e-5)
    d_x = net.backward(d_out, inputs=True)
    np.testing.assert_allclose(d_x, tensor.grad.numpy(), rtol=1e-5, atol=1e-5)
    for name, gradient in parameters.gradients.items():
        np.testing.assert_allclose(
            gradient, theta[name].grad.numpy(), rtol=1e-5, atol=1e-5, err_msg=name
        )


def test_gradients_equal_finite_differences():
    parameters, net = network((3, 5, 4, 2))
    x = np.random.default_rng(1).normal(size=(6, 3)).astype(np.float32)
    net.backward(2.0 * net.forward(x).copy())  # of the loss Σ out²

    def loss():
        h = x.astype(np.float64)
        for k in range(len(net.layers)):
            h = h @ theta[f"net.weight{k}"] + theta[f"net.bias{k}"]
            h = np.tanh(h) if k < 2 else h
        return (h**2).sum()

    theta = {name: value.astype(np.float64) for name, value in parameters.values.items()}
    for name, gradient in parameters.gradients.items():
        for place in np.ndindex(gradient.shape):
            kept = theta[name][place]
            theta[name][place] = kept + 1e-6
            above = loss()
            theta[name][place] = kept - 1e-6
            slope = (above - loss()) / 2e-6
            theta[name][place] = kept
            assert gradient[place] == pytest.approx(slope, rel=1e-4, abs=1e-4)


def test_only_what_is_asked_for_is_written():
    parameters, net = network((2, 3, 1))
    net.forward(np.ones((4, 2), np.float32))
    assert net.backward(np.ones((4, 1), np.float32), parameters=False) is None
    assert not parameters.gradient.any()
    assert net.backward(np.ones((4, 1), np.float32)) is None
    assert parameters.gradient.any()


def test_one_vector_is_seen_by_names_and_by_torch():
    parameters, net = network((2, 3, 1))
    assert len(parameters.vector) == 2 * 3 + 3 + 3 + 1
    with torch.no_grad():
        parameters.tensors()["net.bias1"].fill_(7.0)
    assert parameters.vector[-1] == 7.0
    assert net.layers[1][1][0] == 7.0


def test_batch_sizes_come_and_go():
    _, net = network((2, 3, 1))
    x = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    first = net.forward(x[:1]).copy()
    for n in range(2, 40):
        net.forward(x[:n])
    assert len(net._buffers) <= 16
    np.testing.assert_array_equal(net.forward(x[:1]), first)


@pytest.mark.parametrize("shape", [(7, 3), (3, 7), (5, 5), (4, 1)])
def test_orthogonal_rows_or_columns(shape):
    drawn = orthogonal(np.random.default_rng(0), shape, 2.0).astype(np.float64) / 2.0
    small = drawn.T @ drawn if shape[0] >= shape[1] else drawn @ drawn.T
    np.testing.assert_allclose(small, np.eye(min(shape)), atol=1e-6)
    assert not np.array_equal(drawn, orthogonal(np.random.default_rng(1), shape, 1.0))
