"""Stable-Baselines3's SAC behind our contract: the same algorithm, squashed to the bounds."""

from __future__ import annotations

import random

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3
import torch
from gymnasium import spaces
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv

import rlsuite  # noqa: F401  (registers the environments)
from registry.errors import CheckpointError, UnsupportedSpaceError
from registry.seeding import Stream, integer_seed, sequence
from rlsuite_agents.baselines.sb3 import SAC, SACConfig
from rlsuite_agents.parts.global_streams import GlobalStreams

PENDULUM = "Pendulum-v1"
SMALL = SACConfig(buffer_size=1000, learning_starts=20, batch_size=16, net_arch=(8, 8))
X = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)


def trained(steps=40, seed=0, config=SMALL):
    return SAC(gym.make(PENDULUM), config, seed=seed).learn(steps)


def weights(agent):
    return {k: w.detach().numpy().copy() for k, w in agent.model.policy.state_dict().items()}


def same(a, b):
    one, other = weights(a), weights(b)
    return all(np.array_equal(one[k], other[k]) for k in one)


def test_it_is_stable_baselines_bit_for_bit():
    """Their class on the same random numbers learns the same weights and temperature."""
    config = SACConfig(
        buffer_size=1000, learning_starts=20, batch_size=16, learning_rate="lin_0.01",
        total_timesteps=60, ent_coef="auto_0.1", net_arch=(8,),
    )  # fmt: skip
    ours = trained(60, 4, config)
    streams = GlobalStreams(sequence(4, Stream.AGENT, 0), torch.device("cpu"))
    with streams.installed():
        venv = DummyVecEnv([lambda: gym.make(PENDULUM)])
        venv.seed(integer_seed(4, Stream.ENVIRONMENT))
        model = stable_baselines3.SAC(
            "MlpPolicy",
            venv,
            learning_rate=lambda remaining: 0.01 * remaining,
            buffer_size=1000,
            learning_starts=20,
            batch_size=16,
            ent_coef="auto_0.1",
            policy_kwargs={"net_arch": [8]},
            device="cpu",
        )
        model.action_space.seed(integer_seed(4, Stream.AGENT, 2))
        model.set_logger(Logger(folder=None, output_formats=[]))
        model.learn(60)
    for name, tensor in model.policy.state_dict().items():
        np.testing.assert_array_equal(weights(ours)[name], tensor.numpy(), err_msg=name)
    assert ours.model.log_ent_coef.item() == model.log_ent_coef.item()


def test_the_greedy_action_is_theirs_squashed_to_the_bounds():
    agent = trained()
    theirs, _ = agent.model.predict(X, deterministic=True)
    np.testing.assert_allclose(agent.predict(X, deterministic=True)[0], theirs, atol=1e-6)


def test_actions_are_drawn_from_its_squashed_gaussian():
    """atanh of the drawn actions has the mean and σ of the networks, within 4 standard errors."""
    agent = trained()
    draws, _ = agent.predict(np.repeat(X[:1], 4000, axis=0))
    before = np.arctanh(draws[:, 0].astype(np.float64) / 2.0)
    with torch.no_grad():
        mean, log_std, _ = agent.model.actor.get_action_dist_params(torch.from_numpy(X[:1]))
    sigma = float(log_std.exp())
    assert before.mean() == pytest.approx(float(mean), abs=4 * sigma / 4000**0.5)
    assert before.std() == pytest.approx(sigma, rel=4 / 8000**0.5)


def test_a_row_is_answered_alike_alone_and_in_company():
    agent = trained()
    batch, _ = agent.predict(X, rngs=[np.random.default_rng(k) for k in range(9)])
    assert (batch.shape, batch.dtype) == ((9, 1), np.float32)
    for k, x in enumerate(X):
        one, state = agent.predict(x, "kept", rngs=[np.random.default_rng(k)])
        np.testing.assert_array_equal(one, batch[k])
        assert state == "kept"


def test_its_value_is_the_smaller_q_of_the_greedy_action():
    agent = trained()
    action = torch.from_numpy(agent.predict(X, deterministic=True)[0] / 2.0)
    with torch.no_grad():
        twins = [q[:, 0].numpy() for q in agent.model.critic(torch.from_numpy(X), action)]
    np.testing.assert_allclose(agent.state_values(X), np.minimum(*twins), atol=1e-5)


def test_budget_seeds_and_global_generators():
    before = random.getstate(), torch.get_rng_state().tolist()
    whole, parts, other = trained(40), trained(15).learn(25), trained(40, seed=1)
    assert whole.num_timesteps == parts.num_timesteps == 40
    assert (whole.unused_timesteps, whole.notes) == (0, ())
    assert same(whole, parts)
    assert not same(whole, other)
    assert (random.getstate(), torch.get_rng_state().tolist()) == before


def test_a_checkpoint_predicts_alike_but_does_not_learn_on(tmp_path):
    agent = trained()
    agent.save(tmp_path / "a")
    loaded = SAC.load(tmp_path / "a")
    assert (loaded.num_timesteps, loaded.config) == (40, SMALL)
    np.testing.assert_array_equal(loaded.predict(X)[0], agent.predict(X)[0])
    with pytest.raises(CheckpointError, match="cannot go on exactly where it stopped"):
        loaded.learn(1)


def test_bounds_of_each_coordinate_are_kept():
    class Wide(gym.Env):
        observation_space = spaces.Box(-1, 1, (2,), np.float32)
        action_space = spaces.Box(np.float32([[0, -4]]), np.float32([[1, 8]]))

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return np.zeros(2, np.float32), {}

        def step(self, action):
            assert action in self.action_space
            return np.zeros(2, np.float32), 0.0, False, False, {}

    agent = SAC(Wide(), SMALL, seed=0).learn(30)
    x = np.zeros((500, 2), np.float32)
    drawn, _ = agent.predict(x)
    assert all(action in agent.action_space for action in drawn)
    assert np.ptp(drawn[:, 0, 1]) > 6  # σ starts near 1: half of [-4, 8] is within one of them
    theirs, _ = agent.model.predict(x[:1], deterministic=True)
    np.testing.assert_allclose(agent.predict(x[:1], deterministic=True)[0], theirs, atol=1e-5)


def test_discrete_actions_are_refused():
    with pytest.raises(UnsupportedSpaceError, match="SAC chooses Box actions, got Discrete"):
        SAC(gym.make("CartPole-v1"), SMALL, seed=0)
    with pytest.raises(UnsupportedSpaceError, match="only Discrete actions"):
        trained(5).action_probabilities(X, deterministic=False)


@pytest.mark.slow
def test_it_swings_the_pendulum_up():
    """rl-baselines3-zoo: -157 after 20,000 steps; here 10,000 must pass -250 (random: -1,200)."""
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.monitor import Monitor

    agent = SAC(gym.make(PENDULUM), SACConfig(learning_rate=1e-3), seed=0).learn(10_000)
    env = Monitor(gym.make(PENDULUM))
    env.reset(seed=1)
    mean, _ = evaluate_policy(agent, env, n_eval_episodes=20)
    assert mean >= -250
