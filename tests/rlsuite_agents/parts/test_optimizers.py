"""Optimisers on a flat vector: the same steps as torch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from registry.errors import DivergenceError
from rlsuite_agents.functional.optimizers import adam_step, clip_scale
from rlsuite_agents.parts.mlp_gradient import Parameters
from rlsuite_agents.parts.optimizers import Adam, RMSProp


def both(ours, theirs, max_norm, steps=20):
    """Twenty steps of ours and of torch's on the same gradients; the norms before clipping."""
    rng = np.random.default_rng(0)
    parameters = Parameters({"a": (3, 4), "b": (5,)})
    parameters.vector[:] = rng.normal(size=17)
    weights = torch.tensor(parameters.vector.copy(), requires_grad=True)
    optimizer, twin = ours(parameters), theirs([weights])
    for k in range(steps):
        gradient = (rng.normal(size=17) * 10.0 ** (k % 5 - 3)).astype(np.float32)
        parameters.gradient[:] = gradient
        weights.grad = torch.from_numpy(gradient.copy())
        expected = torch.nn.utils.clip_grad_norm_([weights], max_norm).item()
        assert optimizer.step(0.01, max_norm) == pytest.approx(expected, rel=1e-5)
        twin.step()
        np.testing.assert_allclose(parameters.vector, weights.detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("max_norm", [0.5, float("inf")])
def test_adam_is_torchs(max_norm):
    both(lambda p: Adam(p, eps=1e-5), lambda w: torch.optim.Adam(w, lr=0.01, eps=1e-5), max_norm)


@pytest.mark.parametrize("max_norm", [0.5, float("inf")])
def test_rmsprop_is_torchs(max_norm):
    both(RMSProp, lambda w: torch.optim.RMSprop(w, lr=0.01, alpha=0.99, eps=1e-5), max_norm)


def test_the_rule_by_hand():
    """First step: m = 0.1 g, v = 0.001 g², corrected both to g and g²: θ falls by α g / |g|."""
    theta, g, m, v = (np.array([x]) for x in (1.0, -4.0, 0.0, 0.0))
    adam_step(theta, g, m, v, 0.5, 0.9, 0.999, 0.1, 0.001, 0.25 / 0.1, 1 / 0.001**0.5, 0.0)
    assert (m[0], v[0]) == (pytest.approx(-0.2), pytest.approx(0.004))
    assert theta[0] == pytest.approx(1.25)


def test_a_gradient_is_scaled_down_but_never_up():
    assert clip_scale(10.0, 0.5) == pytest.approx(0.05)
    assert clip_scale(0.1, 0.5) == 1.0
    assert clip_scale(10.0, float("inf")) == 1.0


@pytest.mark.parametrize("kind", [Adam, RMSProp])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_stops_before_the_weights(kind, bad):
    parameters = Parameters({"a": (2,)})
    parameters.gradient[0] = bad
    optimizer = kind(parameters)
    with pytest.raises(DivergenceError, match="the training has diverged"):
        optimizer.step(0.1)
    assert not parameters.vector.any()
    assert not optimizer.second.any()
