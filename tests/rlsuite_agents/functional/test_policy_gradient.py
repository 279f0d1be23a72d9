"""Policy-gradient losses: by hand, against finite differences, and at the extremes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from registry.errors import SettingError
from rlsuite_agents.functional.policy_gradient import (
    clipped_surrogate_loss,
    entropy,
    policy_gradient_loss,
)


def tensor(values, grad=False):
    return torch.tensor(values, dtype=torch.float64, requires_grad=grad)


def test_policy_gradient_loss_by_hand():
    """-(1·2 + (-3)·1 + ... )/n: -( -1·2 + -3·1 + -2·(-1) ) / 3 = (2 + 3 - 2) / 3 = 1."""
    log_prob, advantages = tensor([-1.0, -3.0, -2.0], True), tensor([2.0, 1.0, -1.0], True)
    loss = policy_gradient_loss(log_prob, advantages)
    assert loss.item() == pytest.approx(1.0)
    loss.backward()
    np.testing.assert_allclose(log_prob.grad, [-2 / 3, -1 / 3, 1 / 3])
    assert advantages.grad is None  # a constant, though it was not detached


def test_its_gradient_is_the_policy_gradient_of_a_bandit():
    """π = (¾, ¼), rewards (1, 5), no sampling: dJ/dθ_a = π_a (r_a - J), J = 2."""
    logits = tensor([math.log(3.0), 0.0], True)
    pi = torch.softmax(logits.detach(), 0)
    rewards = tensor([1.0, 5.0])
    # The mean over samples in proportion to π, as a weighted mean over both actions.
    policy_gradient_loss(torch.log_softmax(logits, 0), 2 * pi * rewards).backward()
    np.testing.assert_allclose(logits.grad, [-0.75 * (1 - 2), -0.25 * (5 - 2)])


def test_unlike_shapes_are_refused():
    with pytest.raises(SettingError, match=r"one shape, got log_prob \(3,\), advantages \(1,\)"):
        policy_gradient_loss(torch.zeros(3), torch.zeros(1))
    with pytest.raises(SettingError, match="old_log_prob"):
        clipped_surrogate_loss(torch.zeros(3), torch.zeros(3, 1), torch.zeros(3), 0.2)


def test_clipped_surrogate_by_hand():
    """ε = ½, ratios 2, 2, ¼, ¼, 1 with advantages 1, -1, 2, -2, 4.

    min(2, 1.5) = 1.5; min(-2, -1.5) = -2; min(½, 1) = ½; min(-½, -1) = -1; 4. Sum 3, mean 0.6.
    """
    ratio = tensor([2.0, 2.0, 0.25, 0.25, 1.0])
    old = tensor([-1.0, -2.0, -3.0, -4.0, -5.0])
    log_prob = (old + ratio.log()).requires_grad_()
    advantages = tensor([1.0, -1.0, 2.0, -2.0, 4.0])
    loss = clipped_surrogate_loss(log_prob, old, advantages, 0.5)
    assert loss.item() == pytest.approx(-0.6)
    loss.backward()
    # d(r A)/d log π = r A where the free term is the smaller one, else 0.
    np.testing.assert_allclose(log_prob.grad, [0.0, 2 / 5, -0.5 / 5, 0.0, -4 / 5], atol=1e-12)


def test_on_policy_the_clip_is_inactive_and_the_gradient_whole():
    """At r = 1 the surrogate has REINFORCE's gradient: no half of it is lost to a tie."""
    log_prob, advantages = tensor([-1.0, -0.5], True), tensor([3.0, -2.0])
    clipped_surrogate_loss(log_prob, log_prob.detach().clone(), advantages, 0.2).backward()
    np.testing.assert_allclose(log_prob.grad, [-3 / 2, 1.0])


@pytest.mark.parametrize("clip_range", [0.0, -0.1, math.nan])
def test_a_clip_range_that_is_not_positive_is_refused(clip_range):
    with pytest.raises(SettingError, match="clip_range is ε > 0"):
        clipped_surrogate_loss(torch.zeros(1), torch.zeros(1), torch.zeros(1), clip_range)


@pytest.mark.parametrize("difference", [1e4, -1e4, 90.0])
@pytest.mark.parametrize("advantage", [1.0, -1.0, 0.0])
def test_a_ratio_far_out_stays_finite(difference, advantage):
    log_prob = torch.tensor([difference], requires_grad=True)
    loss = clipped_surrogate_loss(log_prob, torch.zeros(1), torch.tensor([advantage]), 0.2)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(log_prob.grad).all()
    if difference > 0 and advantage < 0:
        assert log_prob.grad.item() > 0  # the loss still pushes the runaway probability down


def test_entropy_by_hand():
    """Uniform over 4: log 4. (½, ¼, ¼): 1.5 log 2. Certain: 0."""
    rows = tensor([[0.0] * 4, [math.log(2), 0.0, 0.0, -math.inf], [900.0, 0.0, 0.0, 0.0]], True)
    got = entropy(rows)
    np.testing.assert_allclose(got.detach(), [math.log(4), 1.5 * math.log(2), 0.0], atol=1e-12)
    got.sum().backward()
    assert torch.isfinite(rows.grad).all()
    # dH/dx_a = -π_a (log π_a + H): for (½, ¼, ¼), -½ (-log 2 + 1.5 log 2) = -¼ log 2.
    quarter = 0.25 * math.log(2)
    np.testing.assert_allclose(rows.grad[1], [-quarter, quarter / 2, quarter / 2, 0], atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_gradients_equal_finite_differences(seed):
    rng = np.random.default_rng(seed)
    old, advantages = tensor(rng.normal(size=5)), tensor(rng.normal(size=5))
    inputs = tensor(old.numpy() + rng.normal(size=5) * 0.3, True)
    assert torch.autograd.gradcheck(lambda x: policy_gradient_loss(x, advantages), inputs)
    assert torch.autograd.gradcheck(
        lambda x: clipped_surrogate_loss(x, old, advantages, 0.2), inputs
    )
    assert torch.autograd.gradcheck(entropy, inputs)
