"""Gradients of soft actor-critic by hand, against autograd; targets, rows, actions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces

from registry.errors import UnsupportedSpaceError
from rlsuite_agents.parts.autograd_soft import autograd_critic_gradient, autograd_policy_gradient
from rlsuite_agents.parts.heads import EVERYTHING
from rlsuite_agents.parts.replay import Batch
from rlsuite_agents.parts.soft_networks import soft_networks

B, D, A = 32, 5, 3
BOX = spaces.Box(np.array([-1, 0, 2], np.float32), np.array([1, 3, 8], np.float32))
KINDS = {"squashed": BOX, "softmax": spaces.Discrete(A)}
KIND = pytest.mark.parametrize("kind", KINDS)


def networks(kind, activation="relu", tau=0.25):
    rng = np.random.default_rng(0)
    made = soft_networks(D, KINDS[kind], (16, 8), activation, tau, rng, torch.device("cpu"))
    for parameters in (made.policy_parameters, made.target_parameters):
        parameters.vector += rng.normal(0, 0.2, len(parameters.vector)).astype(np.float32)
    return made


def batch(kind, masked=False):
    rng = np.random.default_rng(1)
    features, ahead = rng.normal(size=(2, B, D)).astype(np.float32)
    actions = rng.integers(A, size=B)
    if kind == "squashed":
        actions = rng.uniform(-1, 1, (B, A)).astype(np.float32)
    masks = rng.random((2, B, A)) < 0.5
    masks[:, :, 1] = True
    rewards = rng.normal(0, 2, B).astype(np.float32)
    discounts = rng.choice([0.0, 0.9], B).astype(np.float32)
    mask, here = masks if masked else (EVERYTHING, EVERYTHING)
    weights = np.ones(B, np.float32)
    return Batch(np.arange(B), features, actions, rewards, discounts, ahead, mask, weights, here)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize(
    ("kind", "masked"), [("squashed", False), ("softmax", False), ("softmax", True)]
)
@pytest.mark.parametrize("of", ["critic", "policy"])
def test_the_gradient_equals_autograd(of, kind, masked, activation):
    n, b, alpha = networks(kind, activation), batch(kind, masked), 0.37
    by_hand = n.critic_gradient if of == "critic" else n.policy_gradient
    twin = autograd_critic_gradient if of == "critic" else autograd_policy_gradient
    parameters = n.critic_parameters if of == "critic" else n.policy_parameters
    sums = by_hand(b, alpha, np.random.default_rng(7))
    found = parameters.gradient.copy()
    parameters.gradient[:] = 7.0
    noise = None
    if kind == "squashed":
        noise = np.random.default_rng(7).standard_normal((B, A), np.float32)
    twin_sums = twin(n, b, alpha, noise, "cpu")
    np.testing.assert_allclose(found, parameters.gradient, atol=1e-5)
    np.testing.assert_allclose(sums, twin_sums, atol=1e-5)
    assert np.abs(found).max() > 0.01


@KIND
def test_the_policys_loss_leaves_the_critics_gradient_alone(kind):
    n = networks(kind)
    n.critic_parameters.gradient[:] = 7.0
    n.policy_gradient(batch(kind), 0.1, np.random.default_rng(0))
    assert (n.critic_parameters.gradient == 7.0).all()


@KIND
def test_the_targets_follow(kind):
    n = networks(kind)
    before, theta = n.target_parameters.vector.copy(), n.critic_parameters.vector
    n.follow()
    expected = before + 0.25 * (theta - before)
    np.testing.assert_allclose(n.target_parameters.vector, expected, atol=1e-6)


@KIND
def test_a_row_has_the_same_bits_in_any_batch(kind):
    n, x = networks(kind), batch(kind).features
    wide = np.concatenate((x, np.zeros((B, A), np.float32)), axis=1) if kind == "squashed" else x
    for by_row, rows in ((n.outputs_by_row, x), (n.smaller_by_row, wide)):
        alone = np.concatenate([by_row(row[None]) for row in rows])
        np.testing.assert_array_equal(by_row(rows), alone)
    np.testing.assert_allclose(n.outputs_by_row(x), n.policy.forward(x), atol=1e-5)
    smaller = np.minimum(*(critic.forward(wide).copy() for critic in n.critics))
    np.testing.assert_allclose(n.smaller_by_row(wide), smaller, atol=1e-5)


def test_actions_are_stretched_to_their_bounds():
    n = networks("squashed")
    given = np.array([[-1, -1, -1], [0, 0, 0], [1, 1, 1]], np.float32)
    played = n.played(given)
    np.testing.assert_allclose(played, [[-1, 0, 2], [0, 1.5, 5], [1, 3, 8]])
    assert all(BOX.contains(action) for action in played)
    drawn = n.act_randomly(4_000, EVERYTHING, np.random.default_rng(0))
    np.testing.assert_allclose(drawn.mean(0), 0, atol=4 * (1 / 3 / 4_000) ** 0.5)
    np.testing.assert_allclose(drawn.var(0), 1 / 3, atol=0.03)


def test_a_space_of_any_shape_and_type_is_kept():
    space = spaces.Box(-2.0, 2.0, (2, 2), np.float64)
    n = soft_networks(D, space, (4,), "relu", 0.1, np.random.default_rng(0), torch.device("cpu"))
    played = n.played(n.act(np.zeros((3, D), np.float32), EVERYTHING, np.random.default_rng(0)))
    assert played.shape == (3, 2, 2)
    assert all(space.contains(action) for action in played)


def test_random_actions_are_even_over_what_is_allowed():
    n, mask = networks("softmax"), np.tile([True, False, True], (2_000, 1))
    drawn = n.act_randomly(2_000, mask, np.random.default_rng(0))
    assert set(drawn.tolist()) == {0, 2}
    assert np.mean(drawn == 0) == pytest.approx(0.5, abs=4 * 0.5 / 2_000**0.5)


def test_the_entropy_to_keep():
    assert networks("squashed").entropy_to_keep(batch("squashed")) == -3.0
    n = networks("softmax")
    assert n.entropy_to_keep(batch("softmax")) == pytest.approx(0.98 * np.log(3))
    b = batch("softmax", masked=True)
    expected = 0.98 * np.mean([np.log(row.sum()) for row in b.mask_here])
    assert n.entropy_to_keep(b) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        (spaces.Box(-np.inf, 1, (1,)), "they must be finite"),
        (spaces.Box(0, 5, (1,), np.int64), "of a floating-point type"),
        (spaces.Discrete(2, start=1), "must be Discrete, counted from 0, or a bounded Box"),
        (spaces.MultiDiscrete([2, 2]), "must be Discrete, counted from 0, or a bounded Box"),
    ],
)
def test_other_spaces_are_refused(space, sentence):
    with pytest.raises(UnsupportedSpaceError, match=sentence):
        soft_networks(D, space, (4,), "relu", 0.1, np.random.default_rng(0), torch.device("cpu"))
