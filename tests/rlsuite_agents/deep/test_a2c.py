"""A2C: the update against a twin, its promises, tasks with known answers."""

from __future__ import annotations

import dataclasses

import gymnasium as gym
import numpy as np
import pytest
import torch

from registry.errors import SettingError
from rlsuite_agents.deep.a2c import A2C, A2CConfig


def agent(env, seed=0, **settings):
    return A2C(env, A2CConfig(**{"num_envs": 3, **settings}), seed=seed)


def weights(a):
    return a.networks.parameters.vector.copy()


def test_the_update_is_the_policy_gradient_and_torchs_rmsprop():
    """A twin with -A log π and torch's RMSprop; no ratio, no clip."""
    a = agent(gym.make("CartPole-v1"), ent_coef=0.01)
    found = []
    gradient = a.networks.gradient

    def spy(e, rows, loss):
        found.append((e, weights(a)))
        return gradient(e, rows, loss)

    a.networks.gradient = spy
    a.learn(15)
    (e, before), *_ = found
    theta = torch.tensor(before, requires_grad=True)
    views, start = {}, 0
    for name, value in a.networks.parameters.values.items():
        views[name] = theta[start : start + value.size].reshape(value.shape)
        start += value.size

    def forward(name):
        x = torch.from_numpy(e.features)
        for k in range(3):
            x = x @ views[f"{name}.weight{k}"] + views[f"{name}.bias{k}"]
            x = torch.tanh(x) if k < 2 else x
        return x

    pi, v = torch.distributions.Categorical(logits=forward("policy")), forward("value")[:, 0]
    returns = torch.from_numpy(e.returns)
    loss = -(pi.log_prob(torch.from_numpy(e.actions)) * torch.from_numpy(e.advantages)).mean()
    loss = loss + 0.5 * ((v - returns) ** 2).mean() - 0.01 * pi.entropy().mean()
    loss.backward()
    torch.nn.utils.clip_grad_norm_([theta], 0.5)
    torch.optim.RMSprop([theta], lr=7e-4, alpha=0.99, eps=1e-5).step()
    np.testing.assert_allclose(weights(a), theta.detach().numpy(), atol=2e-5)
    assert np.abs(weights(a) - before).max() > 1e-3


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"num_envs": 0}, "num_envs must be a whole number of at least 1, got 0"),
        ({"rms_prop_eps": 0}, "rms_prop_eps must be a number in"),
        ({"gae_lambda": 2}, "gae_lambda must be a number in"),
        ({"vf_coef": -1}, "vf_coef must be a number in"),
        ({"learning_rate": "lin_1e-3"}, "learning_rate is 'lin_1e-3', which falls to 0"),
        ({"n_steps": 1, "normalize_advantage": True}, "needs a rollout of at least 2 steps"),
    ],
)
def test_wrong_settings_are_refused(setting, sentence):
    with pytest.raises(SettingError, match=sentence):
        A2CConfig(**setting)


def test_the_metrics_say_what_was_done():
    a, told = agent(gym.make("CartPole-v1")), []
    a.on_update = told.append
    a.learn(300)
    assert [m.num_timesteps for m in told] == list(range(15, 301, 15))
    assert a.metrics is told[-1]
    assert all(np.isfinite(value) for value in dataclasses.astuple(told[-1]))
    assert told[-1].policy_loss == pytest.approx(-told[-1].advantage_mean, abs=1e-4)
