"""The gradient of PPO's loss by hand: autograd, finite differences, plain and compiled rules."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from rlsuite_agents.functional.actor_critic import (
    categorical_gradient,
    draw_categorical,
    gaussian_gradient,
    gaussian_log_prob,
    standardise,
    value_gradient,
)
from rlsuite_agents.parts.actor_critic import ActorCritic, Experience, LossSettings
from rlsuite_agents.parts.compiled import compiled
from rlsuite_agents.parts.heads import EVERYTHING, head_of

FREE = np.inf


def actor_critic(space, inputs=3, hidden=(6, 5), activation="tanh", seed=0):
    rng = np.random.default_rng(seed)
    made = ActorCritic(inputs, head_of(space, "A"), hidden, activation, rng)
    made.parameters.vector += 0.3 * rng.normal(size=len(made.parameters.vector))
    return made


def experience(networks, n, *, masked=False, seed=0):
    """Steps of an older policy than this one, so that ratios are on both sides of the clip."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, networks.policy.sizes[0])).astype(np.float32)
    mask = EVERYTHING
    if masked:
        mask = rng.random((n, networks.head.size)) < 0.6
        mask[np.arange(n), rng.integers(networks.head.size, size=n)] = True
    actions, log_prob = networks.act(features, mask, rng)
    values = networks.values_of(features)

    def noise(scale):
        return (scale * rng.normal(size=n)).astype(np.float32)

    return Experience(
        features=features,
        mask=mask,
        actions=actions,
        log_prob=log_prob + noise(0.3),
        values=values + noise(0.5),
        advantages=noise(2.0),
        returns=values + noise(1.0),
    )


SPACES = [spaces.Discrete(2), spaces.Discrete(5), spaces.Box(-1, 1, (2,)), spaces.Box(-9, 9, (1,))]


@settings(max_examples=50, deadline=None)
@given(
    space=st.sampled_from(SPACES),
    hidden=st.lists(st.integers(1, 8), max_size=3),
    activation=st.sampled_from(["tanh", "relu"]),
    n=st.integers(1, 30),
    masked=st.booleans(),
    clip_range=st.sampled_from([0.1, 0.3, FREE]),
    clip_range_vf=st.sampled_from([0.2, FREE]),
    normalize=st.booleans(),
    seed=st.integers(0, 10_000),
)
def test_gradient_by_hand_equals_autograd(
    on_device, space, hidden, activation, n, masked, clip_range, clip_range_vf, normalize, seed
):
    networks = actor_critic(space, 3, hidden, activation, seed)
    e = experience(networks, n, masked=masked and isinstance(space, spaces.Discrete), seed=seed)
    rows = np.random.default_rng(seed).permutation(n)[: max(1, n // 2)]
    loss = LossSettings(clip_range, clip_range_vf, 0.02, 0.5, normalize)
    twin = on_device(networks)
    expected = twin.gradient(e.placed(twin.place), twin.place(rows), loss).numpy()
    gradient = twin.parameters.gradient
    networks.parameters.gradient[:] = np.nan
    sums = networks.gradient(e, rows, loss)
    np.testing.assert_allclose(sums, expected, rtol=1e-4, atol=1e-5)
    apart = np.abs(networks.parameters.gradient - gradient).max()
    assert apart <= 1e-5 * max(1.0, np.abs(gradient).max())


@pytest.mark.parametrize("space", SPACES)
def test_gradient_by_hand_equals_finite_differences(space):
    """Of the loss in float64, away from the corners of the clip."""
    networks = actor_critic(space)
    e = experience(networks, 12, seed=3)
    rows = np.arange(12)
    loss = LossSettings(0.2, 0.3, 0.05, 0.5, False)
    networks.gradient(e, rows, loss)
    exact = networks.parameters.gradient.astype(np.float64)
    double = Doubled(networks.parameters.vector.astype(np.float64), networks)
    for i in np.random.default_rng(0).permutation(len(exact))[:40]:
        slope = (double.loss(e, loss, i, 1e-6) - double.loss(e, loss, i, -1e-6)) / 2e-6
        assert exact[i] == pytest.approx(slope, rel=2e-3, abs=2e-5)


@dataclasses.dataclass
class Doubled:
    """The same networks in float64, forward only, with one parameter moved."""

    vector: np.ndarray
    networks: ActorCritic

    def loss(self, e, s, i, by):
        theta, start = {}, 0
        moved = self.vector.copy()
        moved[i] += by
        for name, value in self.networks.parameters.values.items():
            theta[name] = moved[start : start + value.size].reshape(value.shape)
            start += value.size
        outputs, values = (self.forward(theta, n, e.features) for n in ("policy", "value"))
        if "log_std" in theta:
            x = (e.actions - outputs) / np.exp(theta["log_std"])
            log_prob = (-0.5 * x**2 - theta["log_std"] - 0.5 * np.log(2 * np.pi)).sum(1)
            h = (theta["log_std"] + 0.5 * np.log(2 * np.pi * np.e)).sum()
        else:
            log_pi = outputs - np.log(np.exp(outputs).sum(1, keepdims=True))
            log_prob = log_pi[np.arange(len(e)), e.actions]
            h = -(np.exp(log_pi) * log_pi).sum(1).mean()
        ratio = np.exp(log_prob - e.log_prob)
        held = np.clip(ratio, 1 - s.clip_range, 1 + s.clip_range)
        surrogate = np.minimum(ratio * e.advantages, held * e.advantages).mean()
        v = values[:, 0]
        near = e.values + np.clip(v - e.values, -s.clip_range_vf, s.clip_range_vf)
        value = np.maximum((v - e.returns) ** 2, (near - e.returns) ** 2).mean()
        return -surrogate - s.entropy_weight * h + s.value_weight * value

    def forward(self, theta, name, x):
        last = len(self.networks.policy.layers) - 1
        x = x.astype(np.float64)
        for k in range(last + 1):
            x = x @ theta[f"{name}.weight{k}"] + theta[f"{name}.bias{k}"]
            x = np.tanh(x) if k < last else x
        return x


def test_rules_compiled_and_plain_agree():
    rng = np.random.default_rng(0)
    n, size, rows = 9, 4, np.array([3, 1, 8, 8, 0])
    mask = rng.random((n, size)) < 0.7
    mask[:, 2] = True
    one = {"logits": rng.normal(size=(5, size)), "old": rng.normal(size=n)}
    advantages = rng.normal(size=5)
    for rule, mine in (
        (
            categorical_gradient,
            lambda f, out, sums: f(
                *(one["logits"], mask, np.full(n, 2), one["old"], advantages, rows),
                *(0.2, 0.1, out, sums),
            ),
        ),
        (
            gaussian_gradient,
            lambda f, out, sums: f(
                *(one["logits"], np.arange(4.0) / 9, np.ones((n, size)), one["old"], advantages),
                *(rows, 0.2, 0.1, out, np.zeros(size), sums),
            ),
        ),
        (
            value_gradient,
            lambda f, out, sums: f(
                one["logits"][:, :1], one["old"], np.ones(n), rows, 0.2, 0.5, out[:, :1], sums
            ),
        ),
        (draw_categorical, lambda f, out, sums: f(one["logits"], mask, sums, rows.copy(), sums)),
        (standardise, lambda f, out, sums: f(one["old"], rows, sums)),
        (
            gaussian_log_prob,
            lambda f, out, sums: f(one["logits"], np.zeros(size), np.ones((5, size)), sums),
        ),
    ):
        found = []
        for function in (rule, compiled(rule)):
            out, sums = np.zeros((5, size)), np.full(5, 0.5)
            mine(function, out, sums)
            found.append((out, sums))
        for plain, fast in zip(*found, strict=True):
            np.testing.assert_allclose(plain, fast, rtol=1e-10, atol=1e-12)


def test_masked_actions_are_never_drawn_and_get_no_gradient():
    networks = actor_critic(spaces.Discrete(5))
    e = experience(networks, 400, masked=True)
    assert e.mask[np.arange(400), e.actions].all()
    sums, d = np.zeros(5), np.empty((400, 5), np.float32)
    logits = networks.policy.forward(e.features)
    rest = (e.actions, e.log_prob, e.advantages, np.arange(400), 0.2, 0.1, d, sums)
    categorical_gradient(logits, e.mask, *rest)
    assert not d[~e.mask].any()
    assert d[e.mask].any()


def test_draws_follow_the_probabilities():
    """20,000 draws: each frequency within 5 standard errors."""
    logits = np.log(np.array([[0.1, 0.2, 0.7]], np.float32)).repeat(20_000, axis=0)
    actions, log_prob = np.empty(20_000, np.int64), np.empty(20_000)
    u = np.random.default_rng(0).random(20_000)
    compiled(draw_categorical)(logits, EVERYTHING, u, actions, log_prob)
    p = np.array([0.1, 0.2, 0.7])
    frequency = np.bincount(actions, minlength=3) / 20_000
    assert (np.abs(frequency - p) < 5 * np.sqrt(p * (1 - p) / 20_000)).all()
    np.testing.assert_allclose(log_prob, np.log(p)[actions], rtol=1e-5)


def test_the_clip_by_hand():
    """r = 1.5 and r = 0.5, ε = 0.2: the slope is there on the side that is not held."""
    slopes = {}
    for ratio in (1.5, 0.5):
        for advantage in (1.0, -1.0):
            d, sums = np.empty((1, 2)), np.zeros(5)
            log_pi = np.log([[0.5, 0.5]])
            categorical_gradient(
                *(log_pi, EVERYTHING, np.array([0]), log_pi[0, :1] - np.log(ratio)),
                *(np.array([advantage]), np.array([0]), 0.2, 0.0, d, sums),
            )
            slopes[ratio, advantage] = -d[0, 0] / 0.5  # ∂ log π / ∂ logit is 1 - ½
            held = np.clip(ratio, 0.8, 1.2)
            assert sums[0] == pytest.approx(-min(ratio * advantage, held * advantage))
            assert sums[2] == pytest.approx(ratio - 1 - np.log(ratio))
            assert sums[3] == 1.0
    assert slopes == {
        (1.5, 1.0): 0.0,
        (1.5, -1.0): pytest.approx(-1.5),
        (0.5, 1.0): pytest.approx(0.5),
        (0.5, -1.0): 0.0,
    }


def test_standardising_by_hand():
    """Of 1, 2, 3: mean 2, unbiased deviation 1. One alone is left as it is."""
    out = np.empty(3)
    standardise(np.array([9.0, 1.0, 2.0, 3.0]), np.array([1, 2, 3]), out)
    np.testing.assert_allclose(out, [-1.0, 0.0, 1.0], atol=1e-7)
    standardise(np.array([9.0, 1.0]), np.array([0]), out[:1])
    assert out[0] == 9.0


def test_the_first_policy_is_nearly_uniform_and_the_seed_decides_it():
    space = spaces.Discrete(3)
    a, b, c = (
        ActorCritic(4, head_of(space, "A"), (64, 64), "tanh", np.random.default_rng(s))
        for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(a.parameters.vector, b.parameters.vector)
    assert not np.array_equal(a.parameters.vector, c.parameters.vector)
    logits = a.policy.forward(np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32))
    assert np.abs(logits).max() < 0.05
