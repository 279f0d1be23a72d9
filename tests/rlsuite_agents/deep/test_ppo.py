"""PPO: the update against a twin, its promises, spaces, normalisation, tasks with known answers."""

from __future__ import annotations

import dataclasses
import math

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.wrappers import TimeLimit

import rlsuite
from registry.errors import (
    CheckpointError,
    InvalidObservationError,
    SettingError,
    UnsupportedSpaceError,
)
from rlsuite.testing.agent_checks import check_agent
from rlsuite.testing.agent_subject import agent_subject
from rlsuite_agents.deep.ppo import PPO, PPOConfig

SMALL = {"n_steps": 16, "batch_size": 24, "n_epochs": 2, "num_envs": 3}
GRID = "rlsuite/GridWorld-v0"


def agent(env, seed=0, **settings):
    return PPO(env, PPOConfig(**{**SMALL, **settings}), seed=seed)


def weights(a):
    return a.networks.parameters.vector.copy()


def same(a, b):
    return np.array_equal(weights(a), weights(b))


class Endless(gym.Env):
    """One state, reward 1 for ever."""

    def __init__(self, reward=1.0, action_space=None):
        self.observation_space = spaces.Box(-1, 1, (1,), np.float32)
        self.action_space = spaces.Discrete(2) if action_space is None else action_space
        self.reward = reward

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.ones(1, np.float32), {}

    def step(self, action):
        return np.ones(1, np.float32), self.reward, False, False, {}


class Aim(Endless):
    """One step: the reward is minus the squared distance of the action from (0.5, -0.25)."""

    def __init__(self):
        super().__init__(action_space=spaces.Box(-1, 1, (2,), np.float32))

    def step(self, action):
        assert self.action_space.contains(action)
        return np.ones(1, np.float32), -float(((action - [0.5, -0.25]) ** 2).sum()), True, False, {}


# --- the update ---------------------------------------------------------------------------------


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
@pytest.mark.parametrize("clip_range_vf", [None, 0.2])
def test_the_update_equals_autograd_and_torchs_adam(on_device, env_id, clip_range_vf):
    """A twin on the same rollout: torch's gradients, clipping and Adam, minibatch by minibatch."""
    a = agent(gym.make(env_id), clip_range_vf=clip_range_vf, ent_coef=0.01, learning_rate=0.01)
    found = []
    epochs = a._epochs

    def spy(e, learning_rate, loss):
        before, generator = weights(a), a.rng.bit_generator.state
        answer = epochs(e, learning_rate, loss)
        found.append((e, learning_rate, loss, before, weights(a), generator, a.rng))
        return answer

    a._epochs = spy
    a.learn(48)
    (e, learning_rate, loss, before, after, generator, rng), *_ = found
    twin = on_device(a.networks)
    twin.parameters.put(before)
    e = e.placed(twin.place)
    tensor = torch.tensor(before, requires_grad=True)
    optimizer = torch.optim.Adam([tensor], lr=learning_rate, eps=1e-5)
    rng.bit_generator.state = generator
    for _ in range(2):
        order = rng.permutation(48)
        for rows in (order[:24], order[24:]):
            twin.gradient(e, twin.place(rows), loss)
            tensor.grad = torch.from_numpy(twin.parameters.gradient.copy())
            torch.nn.utils.clip_grad_norm_([tensor], 0.5)
            optimizer.step()
            twin.parameters.put(tensor.detach().numpy())
    np.testing.assert_allclose(after, twin.parameters.vector, atol=1e-5)
    assert np.abs(after - before).max() > 1e-3


def test_the_metrics_say_what_was_done():
    a, told = agent(gym.make("CartPole-v1"), learning_rate="lin_0.01", total_timesteps=96), []
    a.on_update = told.append
    a.learn(96)
    first, second = told
    assert a.metrics is second
    assert (first.num_timesteps, second.num_timesteps) == (48, 96)
    assert (first.learning_rate, second.learning_rate) == (0.01, pytest.approx(0.005))
    assert first.gradient_steps == 4
    assert 0.5 < first.entropy <= math.log(2)
    assert first.clip_range == 0.2
    assert first.episodes > 0
    assert first.episode_return == first.episode_length  # reward 1 a step
    assert first.approx_kl >= 0
    assert 0 <= first.clip_fraction <= 1
    assert first.explained_variance <= 1
    assert all(np.isfinite(value) for value in dataclasses.astuple(second))


def test_a_large_change_stops_the_epochs():
    a = agent(gym.make("CartPole-v1"), learning_rate=0.1, n_epochs=50, target_kl=0.01)
    a.learn(48)
    assert 1 <= a.metrics.gradient_steps < 100


def test_advantages_that_are_all_alike_leave_no_trace_of_nan():
    a = agent(Endless(0.0), num_envs=1, batch_size=8)
    a.learn(64)
    assert np.isfinite(weights(a)).all()
    assert math.isnan(a.metrics.episode_return)


# --- settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"num_envs": 0}, "num_envs must be a whole number of at least 1, got 0"),
        ({"gamma": 1.1}, "gamma must be a number in"),
        ({"ent_coef": -1}, "ent_coef must be a number in"),
        ({"max_grad_norm": 0}, "max_grad_norm must be a number in"),
        ({"target_kl": 0.0}, "target_kl must be a number in"),
        ({"normalize_rewards": 1}, "normalize_rewards must be True or False"),
        ({"activation": "gelu"}, "activation must be one of 'tanh', 'relu', got 'gelu'"),
        ({"net_arch": (64, 0)}, "net_arch must be a tuple of whole numbers of at least 1"),
        ({"net_arch": 64}, "net_arch must be a tuple of whole numbers of at least 1"),
        ({"learning_rate": "lin_x"}, "learning_rate must be a number above 0"),
        ({"clip_range": "lin_0.2"}, "clip_range is 'lin_0.2', which falls to 0 over total_times"),
        ({"clip_range_vf": -1}, "clip_range_vf must be a number above 0.*or None"),
        ({"batch_size": 129}, "batch_size must be at most .* the 128 steps of a rollout, got 129"),
    ],
)
def test_wrong_settings_are_refused(setting, sentence):
    with pytest.raises(SettingError, match=sentence):
        PPOConfig(**setting)


def test_what_it_cannot_do_is_said():
    both = gym.make("CartPole-v1", disable_env_checker=True)
    with pytest.raises(UnsupportedSpaceError, match="PPO's action space must be Discrete"):
        agent(Endless(action_space=spaces.MultiDiscrete([2, 2])), num_envs=1, batch_size=8)
    with pytest.raises(UnsupportedSpaceError, match="must be of a floating-point type"):
        agent(Endless(action_space=spaces.Box(0, 9, (2,), np.int64)), num_envs=1, batch_size=8)
    with pytest.raises(UnsupportedSpaceError, match="only Discrete actions have action prob"):
        agent(gym.make("Pendulum-v1")).action_probabilities(np.zeros((1, 3)), deterministic=True)
    with pytest.raises(SettingError, match="total_timesteps"):
        agent(both).learn(-1)
    for reward in (math.nan, math.inf):
        with pytest.raises(InvalidObservationError, match="not finite"):
            agent(Endless(reward), num_envs=1, batch_size=8).learn(1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_that_is_not_there_is_refused():
    with pytest.raises(SettingError, match="torch finds no CUDA device here; use 'cpu'"):
        PPO(gym.make("CartPole-v1"), seed=0, device="cuda")


def test_an_observation_that_is_nan_ends_the_training():
    class Broken(Endless):
        def step(self, action):
            return np.full(1, np.nan, np.float32), 0.0, False, False, {}

    with pytest.raises(InvalidObservationError, match="not finite"):
        agent(Broken(), num_envs=1, batch_size=8).learn(1)
    vector = gym.vector.SyncVectorEnv([Broken] * 3)
    wrapped = gym.vector.VectorWrapper(vector)
    with pytest.raises(InvalidObservationError, match="NaN or infinity"):
        agent(wrapped).learn(3)


@pytest.mark.parametrize(
    "setting",
    [
        {"learning_rate": 1e-2},
        {"gamma": 0.5},
        {"gae_lambda": 0.5},
        {"clip_range": 0.001},
        {"clip_range_vf": 0.001},
        {"normalize_advantage": False},
        {"ent_coef": 0.1},
        {"vf_coef": 0.1},
        {"max_grad_norm": 0.01},
        {"target_kl": 1e-9},
        {"net_arch": (8,)},
        {"activation": "relu"},
        {"normalize_observations": True},
        {"normalize_rewards": True},
        {"n_epochs": 3},
        {"batch_size": 48},
        {"n_steps": 8},
        {"learning_rate": "lin_3e-4", "total_timesteps": 200},
    ],
)
def test_every_setting_changes_what_is_learned(setting):
    x = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    plain, changed = (
        agent(gym.make("CartPole-v1"), **given).learn(144).state_values(x)
        for given in ({}, setting)
    )
    assert not np.array_equal(plain, changed)


# --- promises -----------------------------------------------------------------------------------


def test_a_vector_that_cannot_tell_its_state_is_not_resumed(tmp_path):
    def make():
        return gym.make_vec("CartPole-v1", 3, vectorization_mode="vector_entry_point")

    a = agent(make()).learn(60)
    a.save(tmp_path / "a")
    with pytest.raises(CheckpointError, match="it offers no get_state"):
        PPO.load(tmp_path / "a", env=make())
    loaded = PPO.load(tmp_path / "a")
    loaded.save(tmp_path / "b")
    assert same(PPO.load(tmp_path / "b"), a)


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_every_autoreset_mode_teaches_the_same(mode):
    """Of a `SyncVectorEnv` the members are taken, so the bits are those of single environments."""
    env = rlsuite.make_vec("CartPole-v1", 3, autoreset_mode=mode)
    assert same(agent(env).learn(200), agent(gym.make("CartPole-v1")).learn(200))


def test_a_stopped_budget_is_not_made_up_for():
    a = agent(gym.make("CartPole-v1"))
    a.learn(31, callback=lambda learner: False)
    assert (a.num_timesteps, a.unspent) == (3, 0)


# --- known answers ------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", [None, "NextStep", "SameStep"])
def test_the_truncation_probe(vector):
    """Reward 1 for ever, episodes cut off after 5 steps, γ = 0.8: V = 1 / (1 - γ) = 5.

    Were the limit an end, V would be the mean of (1 - 0.8^k) / 0.2 over k = 1..5: 2.3.
    """

    def make():
        return TimeLimit(Endless(), 5)

    width = 3 if vector else 1
    env = make()
    if vector:
        inner = gym.vector.SyncVectorEnv([make] * 3, autoreset_mode=vector)
        env = gym.vector.VectorWrapper(inner)
    a = agent(env, num_envs=width, batch_size=16, gamma=0.8, learning_rate=0.01, n_epochs=4)
    a.learn(3_000 * width)
    assert a.state_values(np.ones((1, 1)))[0] == pytest.approx(5.0, abs=0.1)


def test_box_actions_find_their_aim():
    a = agent(Aim(), num_envs=1, batch_size=16, n_epochs=4, learning_rate=0.01)
    a.learn(6_000)
    action, _ = a.predict(np.ones(1, np.float32), deterministic=True)
    np.testing.assert_allclose(action, [0.5, -0.25], atol=0.1)
    assert a.networks.parameters.values["log_std"].max() < -0.5


def test_cart_pole_is_learned():
    """The settings of rl-baselines3-zoo; 475 came after 23,000 and 32,000 steps on two seeds."""
    settings = {
        "num_envs": 8,
        "n_steps": 32,
        "batch_size": 256,
        "n_epochs": 20,
        "gae_lambda": 0.8,
        "gamma": 0.98,
        "learning_rate": "lin_1e-3",
        "clip_range": "lin_0.2",
        "total_timesteps": 100_000,
    }
    a = agent(gym.make("CartPole-v1"), **settings).learn(10_000)
    assert max(total for total, _ in a.collector.episodes.recent) > 150  # a random policy: 22


def test_the_kit_reads_behaviour_off_box_actions():
    """They have no probabilities to state, so checkpoints and greedy actions are compared."""
    subject = agent_subject(PPO.id, env="Pendulum-v1")
    trained, _ = subject.trained(40)
    assert subject.statement(trained) is None
    assert subject.behaviour(trained).shape == (8, 1)
    assert agent_subject(PPO.id).statement(trained) is not None


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"env": "Pendulum-v1"}, {"settings": {"num_envs": 3}}])
def test_the_whole_kit(settings):
    report = check_agent(PPO.id, **settings)
    assert report.ok, str(report)
