"""Policies that are distributions over arms: on paper, and against NumPy and PyTorch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from rlsuite_agents.functional import bandit_weights as weights


def soft(values, scale=1.0, mask=None):
    out = [9.0] * len(values)
    weights.softmax(values, scale, mask, out)
    return out


def test_softmax_by_hand():
    assert soft([0.0, math.log(3)]) == pytest.approx([0.25, 0.75])
    assert soft([0.0, 2 * math.log(3)], 0.5) == pytest.approx([0.25, 0.75])
    assert soft([0.0, 5.0, math.log(3)], 1.0, [1, 0, 1]) == pytest.approx([0.25, 0.0, 0.75])
    assert soft([-1e4, 1e4, 1e4]) == [0.0, 0.5, 0.5]  # nothing overflows


@given(
    values=st.lists(st.floats(-800, 800), min_size=1, max_size=9),
    scale=st.floats(-2, 2).filter(lambda x: abs(x) > 1e-3),
)
def test_softmax_is_that_of_scipy(values, scale):
    np.testing.assert_allclose(
        soft(values, scale), special.softmax(scale * np.array(values)), rtol=1e-9, atol=1e-300
    )


def test_a_share_of_even_play_by_hand():
    pi = [0.5, 0.5, 0.0]
    weights.mixed_with_uniform(pi, 0.3, None)
    assert pi == pytest.approx([0.45, 0.45, 0.1])
    pi = [0.5, 0.0, 0.5]
    weights.mixed_with_uniform(pi, 0.3, [1, 0, 1])
    assert pi == pytest.approx([0.5, 0.0, 0.5])


def test_the_first_step_of_adam_is_the_step_size():
    """Bias-corrected, the first step is α g / (|g| + ε), whatever the size of g."""
    theta, m, v, clock = [1.0, 1.0], [0.0, 0.0], [0.0, 0.0], [1.0, 1.0]
    weights.adam_step(theta, [3.0, -0.01], m, v, clock, 0.05)
    assert theta == pytest.approx([0.95, 1.05], abs=1e-6)
    assert (m, v) == (pytest.approx([0.3, -0.001]), pytest.approx([0.009, 1e-7]))
    assert clock == [0.9, 0.999]


def test_steps_of_adam_are_those_of_torch():
    rng = np.random.default_rng(0)
    theta, m, v, clock = [0.5] * 4, [0.0] * 4, [0.0] * 4, [1.0, 1.0]
    twin = torch.full((4,), 0.5, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([twin], lr=0.05)
    for _ in range(50):
        gradient = rng.normal(size=4)
        twin.grad = torch.tensor(gradient)
        adam.step()
        weights.adam_step(theta, gradient.tolist(), m, v, clock, 0.05)
        np.testing.assert_allclose(theta, twin.detach().numpy(), rtol=1e-12, atol=1e-12)
