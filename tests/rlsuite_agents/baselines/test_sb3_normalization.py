"""Observations and rewards normalised by Stable-Baselines3's `VecNormalize`."""

from __future__ import annotations

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3
import torch
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import rlsuite  # noqa: F401  (registers the environments)
from registry.seeding import Stream, integer_seed, sequence
from rlsuite_agents.baselines.sb3 import A2C, PPO, A2CConfig, PPOConfig
from rlsuite_agents.parts.global_streams import GlobalStreams

ACROBOT = "Acrobot-v1"
SMALL = PPOConfig(
    num_envs=2, n_steps=16, batch_size=16, n_epochs=2, net_arch=(8,), gamma=0.9,
    normalize_observations=True, normalize_rewards=True,
)  # fmt: skip
X = np.random.default_rng(0).normal(size=(9, 6)).astype(np.float32)


def weights(agent):
    return {k: w.detach().numpy().copy() for k, w in agent.model.policy.state_dict().items()}


def test_it_is_stable_baselines_bit_for_bit():
    """Their PPO in their VecNormalize, on the same random numbers: weights and statistics."""
    ours = PPO(gym.make(ACROBOT), SMALL, seed=4).learn(160)
    streams = GlobalStreams(sequence(4, Stream.AGENT, 0), torch.device("cpu"))
    with streams.installed():
        inner = DummyVecEnv([lambda: gym.make(ACROBOT)] * 2)
        inner._seeds = [integer_seed(4, Stream.ENVIRONMENT, k) for k in range(2)]
        model = stable_baselines3.PPO(
            "MlpPolicy",
            VecNormalize(inner, gamma=0.9),
            n_steps=16,
            batch_size=16,
            n_epochs=2,
            gamma=0.9,
            policy_kwargs={"net_arch": [8]},
            device="cpu",
        )
        model.set_logger(Logger(folder=None, output_formats=[]))
        model.learn(160)
    for name, tensor in model.policy.state_dict().items():
        np.testing.assert_array_equal(weights(ours)[name], tensor.numpy(), err_msg=name)
    assert ours.model.env.ret_rms.var == model.env.ret_rms.var


@pytest.mark.parametrize("observations", [True, False])
def test_what_it_answers_is_asked_of_normalised_observations(observations):
    config = replace(SMALL, normalize_observations=observations)
    agent = PPO(gym.make(ACROBOT), config, seed=0).learn(320)
    scaled = X
    if observations:
        m = agent.model.env.obs_rms
        scaled = np.clip((X - m.mean) / np.sqrt(m.var + 1e-8), -10, 10).astype(np.float32)
    with torch.no_grad():
        distribution = agent.model.policy.get_distribution(torch.from_numpy(scaled)).distribution
        values = agent.model.policy.predict_values(torch.from_numpy(scaled))[:, 0].numpy()
    pi = agent.action_probabilities(X, deterministic=False)
    np.testing.assert_allclose(pi, distribution.probs.numpy(), atol=1e-6)
    np.testing.assert_allclose(agent.state_values(X), values, atol=1e-6)


def test_box_actions_too():
    config = A2CConfig(n_steps=4, net_arch=(8,), normalize_observations=True)
    agent = A2C(gym.make("Pendulum-v1"), config, seed=0).learn(40)
    x = X[:, :3]
    theirs, _ = agent.model.predict(agent.model.env.normalize_obs(x), deterministic=True)
    np.testing.assert_allclose(agent.predict(x, deterministic=True)[0], theirs, atol=1e-5)


def test_predicting_counts_nothing():
    agent = PPO(gym.make(ACROBOT), SMALL, seed=0).learn(32)
    before = agent.model.env.obs_rms.count
    agent.predict(X)
    agent.state_values(X)
    assert agent.model.env.obs_rms.count == before


def test_a_checkpoint_keeps_the_statistics(tmp_path):
    agent = PPO(gym.make(ACROBOT), SMALL, seed=0).learn(320)
    agent.save(tmp_path / "a")
    np.testing.assert_array_equal(
        PPO.load(tmp_path / "a").action_probabilities(X, deterministic=False),
        agent.action_probabilities(X, deterministic=False),
    )
