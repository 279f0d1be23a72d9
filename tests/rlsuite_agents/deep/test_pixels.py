"""Agents that learn from images: what they promise, what they refuse, what they reach."""

from __future__ import annotations

import dataclasses

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.wrappers import FlattenObservation

import rlsuite
from registry.errors import InvalidObservationError, SettingError, UnsupportedSpaceError
from rlsuite.testing.agent_checks import check_agent
from rlsuite_agents.deep.a2c import A2C, A2CConfig
from rlsuite_agents.deep.actor_critic import ActorCritic, ActorCriticConfig
from rlsuite_agents.deep.dqn import DQN, DQNConfig
from rlsuite_agents.deep.ppo import PPO, PPOConfig
from rlsuite_agents.deep.reinforce import Reinforce, ReinforceConfig
from rlsuite_agents.deep.sac import SAC, SACConfig
from rlsuite_agents.parts.checkpoint import load_checkpoint
from rlsuite_agents.parts.optimizers import adam, rmsprop

GRID = "rlsuite/GridWorld-v0"
ON_POLICY = {"num_envs": 2, "n_steps": 8}
REPLAYING = {"num_envs": 2, "learning_starts": 8, "batch_size": 8, "buffer_size": 50, "n_steps": 2}
AGENTS = {
    "PPO": (PPO, PPOConfig(**ON_POLICY, batch_size=8, n_epochs=2)),
    "A2C": (A2C, A2CConfig(**ON_POLICY, net_arch=(8,))),
    "ActorCritic": (ActorCritic, ActorCriticConfig(num_envs=2, net_arch=(), metrics_interval=5)),
    "Reinforce": (Reinforce, ReinforceConfig(num_envs=2)),
    "DQN": (DQN, DQNConfig(**REPLAYING)),
    "DQN with all": (
        DQN,
        DQNConfig(**REPLAYING, prioritized=True, double=True, dueling=True, net_arch=(8,)),
    ),
}


class Bright(gym.Env):
    """Three pictures, one after the other; 1 for naming the half that is bright: left or right."""

    def __init__(self, shape=(36, 36), dtype=np.uint8):
        self.observation_space = spaces.Box(0, 255, shape, dtype)
        self.action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 3
        return self.picture(), {}

    def picture(self):
        self.side = int(self.np_random.random() < 0.5)
        drawn = self.np_random.random(self.observation_space.shape) * 60
        drawn[:, 18 * self.side : 18 * self.side + 18] += 150
        return drawn.astype(self.observation_space.dtype)

    def step(self, action):
        reward, self.left = float(action == self.side), self.left - 1
        return self.picture(), reward, self.left == 0, False, {}


def bright(**keywords):
    """As `gym.make` would make it, so that copies can be made."""
    return gym.make(gym.spec("test/Bright-v0"), **keywords)


@pytest.fixture(autouse=True)
def registered():
    gym.register("test/Bright-v0", Bright)
    yield
    del gym.registry["test/Bright-v0"]


def made(name, env, seed=0):
    agent_type, config = AGENTS[name]
    return agent_type(env, config, seed=seed)


def same(a, b):
    return np.array_equal(a.networks.parameters.vector, b.networks.parameters.vector)


@pytest.mark.parametrize("name", AGENTS)
def test_a_run_may_be_split_saved_and_resumed_to_the_bit(name, tmp_path):
    whole, split = made(name, bright()).learn(90), made(name, bright()).learn(36)
    assert not same(split, made(name, bright(), seed=1).learn(36))
    split.save(tmp_path / "agent")
    resumed = type(split).load(tmp_path / "agent", bright())
    assert same(split, resumed)
    for agent in (split, resumed):
        agent.learn(54)
        assert same(whole, agent)
    values = [dataclasses.astuple(agent.metrics)[:-1] for agent in (whole, split)]
    np.testing.assert_array_equal(*values)  # all but the steps per second
    pictures = np.stack([bright().reset(seed=k)[0] for k in range(4)])
    alone = type(split).load(tmp_path / "agent")
    assert alone.predict(pictures, deterministic=True)[0].shape == (4,)


@pytest.mark.parametrize("name", AGENTS)
def test_pictures_are_kept_as_bytes(name, tmp_path):
    agent = made(name, bright()).learn(30)
    agent.save(tmp_path / "agent")
    arrays = load_checkpoint(
        tmp_path / "agent", agent=agent.id, config_type=agent.config_type
    ).arrays
    kept = {k: v for k, v in arrays.items() if v.shape[-1:] == (36 * 36,)}
    assert len(kept) >= 2
    assert {array.dtype for array in kept.values()} == {np.dtype(np.uint8)}


def test_hidden_layers_are_for_rows_unless_they_are_asked_for():
    def shapes(agent, name):
        return [v.shape for k, v in agent.networks.parameters.values.items() if k.startswith(name)]

    assert shapes(made("PPO", bright()), "policy") == [(512, 2), (2,)]
    assert shapes(made("A2C", bright()), "value") == [(512, 8), (8,), (8, 1), (1,)]
    assert shapes(made("DQN", bright()), "q") == [(512, 2), (2,)]
    assert shapes(made("DQN", gym.make("CartPole-v1")), "q.weight") == [(4, 64), (64, 64), (64, 2)]


@pytest.mark.parametrize("name", ["PPO", "DQN"])
def test_what_is_bright_is_learned(name):
    """Three pictures of an episode named rightly: 3. By chance it would be 1.5."""
    agent_type, settings = {
        "PPO": (PPO, PPOConfig(num_envs=4, n_steps=16, n_epochs=4, batch_size=32)),
        "DQN": (DQN, DQNConfig(learning_starts=50, exploration_steps=300, gamma=0.5)),
    }[name]
    agent = agent_type(bright(), settings, seed=0).learn(640)
    assert rlsuite.evaluate(agent, bright(), episodes=20).mean_return == 3.0


@pytest.mark.parametrize("shape", [(36, 36, 1), (1, 36, 36), (3, 40, 36)])
def test_axes_and_vectors_are_as_they_come(shape):
    one = PPO(Bright(shape), PPOConfig(n_steps=8, batch_size=8, n_epochs=1), seed=0)
    one.learn(16)
    vector = gym.vector.VectorWrapper(gym.vector.SyncVectorEnv([lambda: Bright(shape)] * 2))
    many = made("PPO", vector).learn(32)
    for agent in (one, many):
        picture = Bright(shape).reset(seed=0)[0]
        pi = agent.action_probabilities(np.stack([picture, picture]), deterministic=False)
        np.testing.assert_array_equal(pi[0], pi[1])


def test_frames_of_a_grid_are_scored_exactly():
    env = gym.make(GRID, observation="pixels")
    for agent in (PPO(env, seed=0), DQN(env, seed=0)):
        found = rlsuite.evaluate(agent, env)
        assert found.method == "exact"
        assert found.score <= 1


def test_what_images_do_not_go_with_is_said():
    with pytest.raises(SettingError, match="normalize_observations is for rows of numbers"):
        PPO(bright(), PPOConfig(normalize_observations=True), seed=0)
    for agent_type in (PPO, DQN):
        with pytest.raises(UnsupportedSpaceError, match="at least 36 x 36 pixels, got 35 x 36"):
            agent_type(Bright((35, 36)), seed=0)
    for shape in ((36, 36), (8, 8, 3)):
        with pytest.raises(
            UnsupportedSpaceError, match=r"SAC reads no images, .*rlsuite/DQN-v0 do"
        ):
            SAC(Bright(shape), seed=0)
    agent = DQN(bright(), seed=0)
    with pytest.raises(InvalidObservationError, match="bytes, uint8 from 0 to 255; got float64"):
        agent.predict(np.zeros((36, 36)))
    rows = PPO(FlattenObservation(Bright((35, 36))), PPOConfig(n_steps=8, batch_size=8), seed=0)
    rows.learn(8)
    assert rows.encoder.image is None
    SAC(FlattenObservation(Bright((8, 8))), SACConfig(buffer_size=9, batch_size=4), seed=0).learn(8)


# --- devices --------------------------------------------------------------------------------------


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
@pytest.mark.parametrize("name", ["PPO", "A2C", "DQN"])
def test_the_way_of_a_device_learns_what_gradients_by_hand_learn(on_device, name, env_id, tmp_path):
    """Few steps, before rounding makes the runs part."""
    if name == "DQN" and env_id == "Pendulum-v1":
        env_id = "Acrobot-v1"
    hand, device = (made(name, gym.make(env_id)) for _ in "ab")
    device.networks = on_device(device.networks)
    make, eps = (rmsprop, 1e-5) if name == "A2C" else (adam, device.optimizer.eps)
    device.optimizer = make(device.networks.parameters, eps)
    for agent in (hand, device):
        agent.learn(48)
    np.testing.assert_allclose(
        hand.networks.parameters.vector, device.networks.parameters.vector, atol=2e-4
    )
    told = [dataclasses.astuple(agent.metrics)[:-1] for agent in (hand, device)]
    np.testing.assert_allclose(*told, rtol=2e-3, atol=2e-3)
    device.save(tmp_path / "agent")  # a checkpoint knows no device
    here = type(hand).load(tmp_path / "agent", gym.make(env_id))
    device.learn(16)
    here.learn(16)
    np.testing.assert_allclose(
        here.networks.parameters.vector, device.networks.parameters.vector, atol=2e-4
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("env_id", ["CartPole-v1", "test/Bright-v0"])
@pytest.mark.parametrize("name", AGENTS)
def test_evaluation_on_cuda_equals_that_on_a_cpu(name, env_id, tmp_path):
    agent_type, config = AGENTS[name]
    agent = agent_type(gym.make(env_id), config, seed=0, device="cuda").learn(90)
    assert agent.networks.parameters.flat.device.type == "cuda"
    agent.save(tmp_path / "agent")
    env = gym.make(env_id)
    seen = np.stack([env.reset(seed=k)[0] for k in range(10)])
    here, there = (
        agent_type.load(tmp_path / "agent", gym.make(env_id), device=device)
        for device in ("cpu", "cuda")
    )
    for of in ("state_values", "action_probabilities"):
        keywords = {"deterministic": False} if of == "action_probabilities" else {}
        mine, theirs = (getattr(one, of)(seen, **keywords) for one in (here, there))
        np.testing.assert_allclose(mine, theirs, atol=1e-4)
    there.learn(30)


# --- results --------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("agent_type", [PPO, DQN])
def test_the_whole_kit(agent_type):
    settings = {"n_steps": 16, "batch_size": 16, "n_epochs": 1}
    if agent_type is DQN:
        settings = {"learning_starts": 16, "batch_size": 8, "buffer_size": 500}
    report = check_agent(agent_type.id, env="test/Bright-v0", settings=settings)
    assert report.ok, str(report)
