"""Targets and losses of soft actor-critic: by hand, against torch, by finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform

from rlsuite_agents.functional.soft_actor_critic import (
    CRITIC_LOSS,
    LARGEST_Q,
    LOG_STD_MAX,
    LOG_STD_MIN,
    MEAN_ERROR,
    MEAN_Q,
    critic_gradient,
    move,
    smaller_gradient,
    soft_targets,
    softmax_gradient,
    softmax_values,
    squashed_gradient,
    squashed_sample,
)
from rlsuite_agents.parts.compiled import kept

ALL = np.zeros((0, 0), bool)
FORMS = pytest.mark.parametrize("form", [lambda f: f, kept], ids=["plain", "compiled"])
STEP = 1e-6


def numerically(loss, x):
    """∂ loss / ∂ x by central differences; `loss` reads x."""
    gradient = np.empty_like(x)
    for at in np.ndindex(x.shape):
        middle, ends = x[at], []
        for shift in (STEP, -STEP):
            x[at] = middle + shift
            ends.append(loss())
        x[at] = middle
        gradient[at] = (ends[0] - ends[1]) / (2 * STEP)
    return gradient


@FORMS
def test_targets_by_hand(form):
    rewards, discounts = np.array([1.0, 2.0]), np.array([0.5, 0.0])
    targets = np.empty(2)
    form(soft_targets)(rewards, discounts, np.array([4.0, np.nan]), targets)
    np.testing.assert_array_equal(targets, [3.0, 2.0])  # nothing of a terminal state enters


@FORMS
def test_the_targets_come_closer(form):
    target, theta = np.array([0.0, 4.0], np.float32), np.array([8.0, 4.0], np.float32)
    form(move)(target, theta, np.float32(0.25))
    np.testing.assert_array_equal(target, [2.0, 4.0])


# --- critics ------------------------------------------------------------------------------------


@FORMS
def test_errors_of_critics_by_hand(form):
    q_1, q_2 = np.array([[1.0, 7.0], [2.0, 5.0]]), np.array([[3.0, 9.0], [0.0, 4.0]])
    d_1, d_2, sums = np.full((2, 2), 9.0), np.full((2, 2), 9.0), np.empty(4)
    form(critic_gradient)(q_1, q_2, np.array([0, 1]), np.array([2.0, 2.0]), d_1, d_2, sums)
    np.testing.assert_array_equal(d_1, [[-0.5, 0.0], [0.0, 1.5]])
    np.testing.assert_array_equal(d_2, [[0.5, 0.0], [0.0, 1.0]])
    assert sums[CRITIC_LOSS] == 0.25 * (1 + 9) + 0.25 * (1 + 4)
    assert sums[MEAN_ERROR] == (1 + 3 + 1 + 2) / 4
    assert sums[MEAN_Q] == (1 + 5 + 3 + 4) / 4
    assert sums[LARGEST_Q] == 5.0


@FORMS
def test_the_smaller_value_gets_the_gradient(form):
    values, d_1, d_2 = np.empty(2), np.empty((2, 1)), np.empty((2, 1))
    q_1, q_2 = np.array([[1.0], [5.0]]), np.array([[2.0], [3.0]])
    form(smaller_gradient)(q_1, q_2, values, d_1, d_2)
    np.testing.assert_array_equal(values, [1.0, 3.0])
    np.testing.assert_array_equal(d_1[:, 0], [-0.5, 0.0])
    np.testing.assert_array_equal(d_2[:, 0], [0.0, -0.5])


# --- a squashed Gaussian policy -----------------------------------------------------------------


def sample(form, outputs, noise):
    actions, log_prob = np.empty_like(noise), np.empty(len(noise))
    form(squashed_sample)(outputs, noise, actions, log_prob)
    return actions, log_prob


@FORMS
def test_samples_and_densities_equal_torchs(form):
    rng = np.random.default_rng(0)
    outputs, noise = rng.uniform(-2, 2, (50, 6)), rng.normal(size=(50, 3))
    actions, log_prob = sample(form, outputs, noise)
    means, log_std = torch.from_numpy(outputs).chunk(2, dim=1)
    base = Independent(Normal(means, log_std.exp()), 1)
    squashed = TransformedDistribution(base, [TanhTransform(cache_size=1)])
    u = means + log_std.exp() * torch.from_numpy(noise)
    a = squashed.transforms[0](u)
    np.testing.assert_allclose(actions, a.numpy(), atol=1e-12)
    np.testing.assert_allclose(log_prob, squashed.log_prob(a).numpy(), atol=1e-9)


def test_the_density_sums_to_one():
    """By the midpoint rule over the actions of one coordinate."""
    mean, log_std, n = 0.4, -0.3, 20_000
    a = (np.arange(n) + 0.5) / n * 2 - 1
    noise = ((np.arctanh(a) - mean) / math.exp(log_std))[:, None]
    actions, log_prob = sample(kept, np.tile([mean, log_std], (n, 1)), noise)
    np.testing.assert_allclose(actions[:, 0], a, atol=1e-12)
    assert np.exp(log_prob).sum() * 2 / n == pytest.approx(1.0, abs=1e-4)


@FORMS
def test_the_density_is_exact_where_tanh_rounds_to_one(form):
    """log(1 - tanh²(u)) → log 4 - 2 |u|; by the plain formula it is log 0."""
    outputs, noise = np.array([[40.0, 0.0], [-40.0, 0.0]]), np.zeros((2, 1))
    actions, log_prob = sample(form, outputs, noise)
    np.testing.assert_array_equal(np.abs(actions), 1.0)
    expected = -0.5 * math.log(2 * math.pi) - (math.log(4.0) - 80.0)
    np.testing.assert_allclose(log_prob, expected, rtol=1e-12)


@FORMS
@pytest.mark.parametrize("bound", [LOG_STD_MIN, LOG_STD_MAX])
def test_the_spread_is_held_within_its_bounds(form, bound):
    noise, beyond = np.array([[1.0]]), 1.5 * bound
    held = sample(form, np.array([[0.0, bound]]), noise)
    for found, expected in zip(sample(form, np.array([[0.0, beyond]]), noise), held, strict=True):
        np.testing.assert_array_equal(found, expected)
    d_outputs = np.empty((1, 2))
    action, slope = held[0], np.ones((1, 1))
    for log_std, stops in ((bound, False), (beyond, True)):
        given = np.array([[0.0, log_std]])
        form(squashed_gradient)(given, noise, action, slope, 0.5, d_outputs)
        assert (d_outputs[0, 1] == 0.0) == stops


@FORMS
def test_the_gradient_of_a_squashed_policy_by_finite_differences(form):
    """With Q(a) = Σ (a - 0.3)³, whose slope is 3 (a - 0.3)²."""
    rng, alpha = np.random.default_rng(1), 0.7
    outputs, noise = rng.normal(size=(5, 4)), rng.normal(size=(5, 2))

    def loss():
        actions, log_prob = sample(lambda f: f, outputs, noise)
        return (alpha * log_prob - ((actions - 0.3) ** 3).sum(1)).mean()

    actions, _ = sample(form, outputs, noise)
    d_actions = -3 * (actions - 0.3) ** 2 / 5
    d_outputs = np.empty_like(outputs)
    form(squashed_gradient)(outputs, noise, actions, d_actions, alpha, d_outputs)
    np.testing.assert_allclose(d_outputs, numerically(loss, outputs), atol=1e-8)


# --- a softmax policy ---------------------------------------------------------------------------


@FORMS
def test_soft_values_by_hand(form):
    """π = (¼, ¾): V = ¼ · 1 + ¾ · 2 + α H; under the mask the first action alone is left."""
    logits = np.log(np.array([[0.25, 0.75], [0.25, 0.75]]))
    q_1, q_2 = np.array([[1.0, 5.0], [1.0, 5.0]]), np.array([[3.0, 2.0], [3.0, 2.0]])
    values, h = np.empty(2), -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    form(softmax_values)(logits, ALL, q_1, q_2, 0.5, values)
    np.testing.assert_allclose(values, 1.75 + 0.5 * h)
    form(softmax_values)(logits, np.array([[1, 0], [1, 1]], bool), q_1, q_2, 0.5, values)
    np.testing.assert_allclose(values, [1.0, 1.75 + 0.5 * h])


@FORMS
@pytest.mark.parametrize("masked", [False, True])
def test_the_gradient_of_a_softmax_policy_by_finite_differences(form, masked):
    rng, alpha = np.random.default_rng(2), 0.3
    logits, q_1, q_2 = rng.normal(size=(3, 6, 4))
    mask = ALL
    if masked:
        mask = rng.random((6, 4)) < 0.5
        mask[:, 1] = True
    d_logits, sums, ignored = np.empty_like(logits), np.empty(2), np.empty(2)
    form(softmax_gradient)(logits, mask, q_1, q_2, alpha, d_logits, sums)
    scrap = np.empty_like(logits)

    def loss():
        softmax_gradient(logits, mask, q_1, q_2, alpha, scrap, ignored)
        return ignored[0]

    np.testing.assert_allclose(d_logits, numerically(loss, logits), atol=1e-8)
    values = np.empty(6)
    form(softmax_values)(logits, mask, q_1, q_2, alpha, values)
    assert sums[0] == pytest.approx(-values.mean())  # the loss is minus the mean soft value
    form(softmax_values)(logits, mask, 0 * q_1, 0 * q_1, 1.0, values)
    assert sums[1] == pytest.approx(values.mean())
    if masked:
        assert (d_logits[~mask] == 0.0).all()
