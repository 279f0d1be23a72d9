"""DQN: the update against a twin, its schedules and promises, masks, tasks with known answers."""

from __future__ import annotations

import dataclasses
import math

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.wrappers import TimeLimit

from registry.errors import (
    DivergenceError,
    InvalidObservationError,
    SettingError,
    UnsupportedSpaceError,
)
from rlsuite_agents.deep.dqn import DQN, DQNConfig

SMALL = {"learning_starts": 20, "batch_size": 16, "net_arch": (16, 16), "exploration_steps": 100}
ALL = {"double": True, "dueling": True, "prioritized": True, "n_steps": 3}
CARTPOLE, GRID = "CartPole-v1", "rlsuite/GridWorld-v0"


def agent(env, seed=0, **settings):
    return DQN(env, DQNConfig(**{**SMALL, **settings}), seed=seed)


def weights(a):
    return a.networks.parameters.vector.copy()


def same(a, b):
    return np.array_equal(weights(a), weights(b))


class Endless(gym.Env):
    """One state, reward 1 for ever; a mask, if there is one, in the info."""

    def __init__(self, reward=1.0, action_space=None, mask=None):
        self.observation_space = spaces.Box(-1, 1, (1,), np.float32)
        self.action_space = spaces.Discrete(2) if action_space is None else action_space
        self.reward = reward
        self.info = {} if mask is None else {"action_mask": np.array(mask, np.int8)}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.ones(1, np.float32), dict(self.info)

    def step(self, action):
        return np.ones(1, np.float32), self.reward, False, False, dict(self.info)


class Trap(Endless):
    """Action 1 would pay 100 but is forbidden; whoever takes it breaks the rules."""

    def __init__(self):
        super().__init__(mask=[1, 0])

    def step(self, action):
        assert action == 0
        return np.ones(1, np.float32), 1.0, False, False, dict(self.info)


# --- the update ---------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, ALL], ids=["plain", "all"])
def test_the_update_equals_autograd_and_torchs_adam(on_device, settings):
    """A twin on the same minibatches: torch's gradients, clipping and Adam."""
    a = agent(gym.make(CARTPOLE), gradient_steps=5, max_grad_norm=0.5, **settings).learn(23)
    twin, before, batches = on_device(a.networks), weights(a), []
    draw = a.replay.draw
    a.replay.draw = lambda *given: batches.append(draw(*given)) or batches[-1]
    tensor = torch.tensor(before, requires_grad=True)
    optimizer = torch.optim.Adam([tensor], lr=1e-3)
    optimizer_steps = a.optimizer.steps
    assert optimizer_steps == 5
    moments = {"step": torch.tensor(5.0), "exp_avg": a.optimizer.first.copy()}
    moments["exp_avg_sq"] = a.optimizer.second.copy()
    optimizer.state[tensor] = {k: torch.as_tensor(v) for k, v in moments.items()}
    a.learn(1)
    assert len(batches) == 5
    for batch in batches:
        twin.gradient(batch)
        tensor.grad = torch.from_numpy(twin.parameters.gradient.copy())
        torch.nn.utils.clip_grad_norm_([tensor], 0.5)
        optimizer.step()
        twin.parameters.put(tensor.detach().numpy())
    np.testing.assert_allclose(weights(a), twin.parameters.vector, atol=1e-5)
    assert np.abs(weights(a) - before).max() > 1e-3


def test_the_metrics_say_what_was_done():
    a, told = agent(gym.make(CARTPOLE), exploration_final_eps=0.2, gradient_steps=2), []
    a.on_update = told.append
    a.learn(120)
    assert [m.num_timesteps for m in told] == list(range(20, 121, 4))
    assert a.metrics is told[-1]
    assert {m.gradient_steps for m in told} == {2}
    assert [m.buffer_fill for m in told] == [m.num_timesteps for m in told]
    assert told[0].epsilon == pytest.approx(0.2 + 0.8 * 0.8)
    assert told[-1].epsilon == 0.2
    assert told[-1].episodes > 0
    assert told[-1].episode_return == told[-1].episode_length  # reward 1 a step
    assert all(m.q_max >= m.q_mean for m in told)
    assert all(np.isfinite(value) for value in dataclasses.astuple(told[-1]))


def test_epsilon_by_hand():
    a = agent(gym.make(CARTPOLE), exploration_initial_eps=0.5, exploration_final_eps=0.1)
    found = []
    for step in (0, 19, 20, 50, 100, 1_000):
        a.num_timesteps = step
        found.append(a.epsilon)
    np.testing.assert_allclose(found, [1, 1, 0.42, 0.3, 0.1, 0.1])
    a.num_timesteps = 50
    q = np.array([[0.0, 1.0], [2.0, 1.0]])
    a.action_values = lambda observations: q
    wanted = [[0.15, 0.85], [0.85, 0.15]]
    found = a.action_probabilities(np.zeros((2, 4)), deterministic=False)
    np.testing.assert_allclose(found, wanted)
    greedy = a.action_probabilities(np.zeros((2, 4)), deterministic=True)
    np.testing.assert_array_equal(greedy, [[0, 1], [1, 0]])


def test_updates_and_copies_come_when_they_are_due():
    a = agent(gym.make(CARTPOLE), train_freq=10, gradient_steps=-1, target_update_interval=25)
    start, copies, updates = weights(a), [], []
    follow = a.networks.follow
    a.networks.follow = lambda: (copies.append(a.num_timesteps), follow())
    a.on_update = lambda m: updates.append((m.num_timesteps, m.gradient_steps))
    a.learn(19)
    np.testing.assert_array_equal(weights(a), start)  # played at random so far
    a.learn(41)
    assert updates == [(20, 10), (30, 10), (40, 10), (50, 10), (60, 10)]
    assert copies == [25, 50]
    assert not np.array_equal(a.networks.target.vector, weights(a))


def test_a_loss_without_bounds_ends_the_training():
    a = agent(gym.make(CARTPOLE)).learn(30)
    a.networks.target.values["q.bias2"][:] = np.inf
    with pytest.raises(DivergenceError, match=r"step 32: the loss is (inf|nan): the Q values"):
        a.learn(4)
    assert np.isfinite(weights(a)).all()


# --- settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"num_envs": 0}, "num_envs must be a whole number of at least 1, got 0"),
        ({"learning_starts": -1}, "learning_starts must be a whole number of at least 0"),
        ({"gradient_steps": 0}, "gradient_steps must be at least 1, or -1, got 0"),
        ({"gradient_steps": -2}, "gradient_steps must be a whole number of at least -1"),
        ({"tau": 0.0}, "tau must be a number in"),
        ({"gamma": 1.1}, "gamma must be a number in"),
        ({"exploration_final_eps": 2}, "exploration_final_eps must be a number in"),
        ({"exploration_steps": 0}, "exploration_steps must be a whole number of at least 1"),
        ({"priority_alpha": -1}, "priority_alpha must be a number in"),
        ({"priority_alpha": 0.7}, "priority_alpha is read where prioritized is True: set that, or"),
        ({"priority_beta_steps": 9}, "priority_beta_steps is read where prioritized is True"),
        ({"batch_size": 33, "buffer_size": 32}, "batch_size must be at most buffer_size, 32, got"),
        ({"double": 1}, "double must be True or False"),
        ({"max_grad_norm": 0}, "max_grad_norm must be a number in"),
        ({"activation": "gelu"}, "activation must be one of 'tanh', 'relu', got 'gelu'"),
        ({"net_arch": 64}, "net_arch must be a tuple of whole numbers of at least 1"),
        ({"net_arch": "64,64"}, r"such as \(64, 64\), on the command line \[64,64\]; got '64,64'"),
        ({"learning_rate": "lin_1"}, "learning_rate is 'lin_1', which falls to 0 over total_ti"),
    ],
)
def test_wrong_settings_are_refused(setting, sentence):
    with pytest.raises(SettingError, match=sentence):
        DQNConfig(**setting)


def test_what_it_cannot_do_is_said():
    for space in (spaces.Box(-1, 1, (1,)), spaces.Discrete(2, start=1)):
        with pytest.raises(UnsupportedSpaceError, match="DQN's action space must be Discrete"):
            agent(Endless(action_space=space))
    for reward in (math.nan, math.inf):
        with pytest.raises(InvalidObservationError, match="not finite"):
            agent(Endless(reward)).learn(1)
    with pytest.raises(SettingError, match="total_timesteps"):
        agent(gym.make(CARTPOLE)).learn(-1)


def test_an_observation_that_is_nan_ends_the_training():
    class Broken(Endless):
        def step(self, action):
            return np.full(1, np.nan, np.float32), 0.0, False, False, {}

    class BrokenAtLast(Broken):
        def step(self, action):
            return np.full(1, np.nan, np.float32), 0.0, True, False, {}

    with pytest.raises(InvalidObservationError, match="not finite"):
        agent(Broken()).learn(1)
    for broken in (Broken, BrokenAtLast):
        inner = gym.vector.SyncVectorEnv([broken] * 3, autoreset_mode="SameStep")
        vector = gym.vector.VectorWrapper(inner)
        with pytest.raises(InvalidObservationError, match="NaN or infinity"):
            agent(vector, num_envs=3).learn(3)


PER = {"prioritized": True}


@pytest.mark.parametrize(
    ("setting", "base"),
    [
        ({"learning_rate": 1e-2}, {}),
        ({"learning_rate": "lin_1e-3", "total_timesteps": 500}, {}),
        ({"buffer_size": 50}, {}),
        ({"learning_starts": 50}, {}),
        ({"batch_size": 8}, {}),
        ({"tau": 0.5}, {}),
        ({"gamma": 0.5}, {}),
        ({"train_freq": 2}, {}),
        ({"gradient_steps": 2}, {}),
        ({"n_steps": 2}, {}),
        ({"target_update_interval": 10}, {}),
        ({"exploration_initial_eps": 0.5}, {}),
        ({"exploration_final_eps": 0.5}, {}),
        ({"exploration_steps": 1_000}, {}),
        ({"double": True}, {"learning_rate": 0.03}),
        ({"dueling": True}, {}),
        ({"prioritized": True}, {}),
        ({"priority_alpha": 0.1}, PER),
        ({"priority_beta": 1.0}, PER),
        ({"priority_beta_steps": 10}, PER),
        ({"max_grad_norm": 0.01}, {}),
        ({"net_arch": (8,)}, {}),
        ({"activation": "tanh"}, {}),
    ],
)
def test_every_setting_changes_what_is_learned(setting, base):
    x = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    base = {"target_update_interval": 60, **base}
    plain, changed = (
        agent(gym.make(CARTPOLE), **{**base, **given}).learn(200).action_values(x)
        for given in ({}, setting)
    )
    assert not np.array_equal(plain, changed)


# --- known answers ------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, ALL], ids=["plain", "all"])
@pytest.mark.parametrize("vector", [None, "NextStep", "SameStep"])
def test_the_truncation_probe(vector, settings):
    """Reward 1 for ever, episodes cut off after 5 steps, γ = 0.8: Q = 1 / (1 - γ) = 5.

    Were the limit an end, Q would be a mean of (1 - 0.8^k) / 0.2 over k = 1..5: 2.3.
    """

    def make():
        return TimeLimit(Endless(), 5)

    width, env = 3 if vector else 1, make()
    if vector:
        inner = gym.vector.SyncVectorEnv([make] * 3, autoreset_mode=vector)
        env = gym.vector.VectorWrapper(inner)
    given = {"num_envs": width, "gamma": 0.8, "learning_rate": 3e-3, "target_update_interval": 50}
    a = agent(env, **given, **settings)
    a.learn(4_000)
    assert a.state_values(np.ones((1, 1)))[0] == pytest.approx(5.0, abs=0.1)


@pytest.mark.parametrize("vector", [None, "NextStep", "SameStep"])
def test_forbidden_actions_are_neither_taken_nor_valued(vector):
    """Q of the forbidden action is never learned; V = 5 comes of the allowed one alone."""

    def make():
        return TimeLimit(Trap(), 5)

    env = make()
    if vector:
        inner = gym.vector.SyncVectorEnv([make] * 3, autoreset_mode=vector)
        env = gym.vector.VectorWrapper(inner)
    width = 3 if vector else 1
    a = agent(env, num_envs=width, gamma=0.8, learning_rate=3e-3, target_update_interval=50)
    a.networks.parameters.values["q.bias2"][1] = 100.0  # far above what the allowed one is worth
    a.networks.follow()
    a.learn(4_000)
    q = a.action_values(np.ones((1, 1)))[0]
    assert q[0] == pytest.approx(5.0, abs=0.1)
    assert q[1] > 50
    assert a.state_values(np.ones((1, 1))) == q.max()  # no mask came with it
    chosen, _ = a.predict(np.ones(1, np.float32), deterministic=True, mask=np.array([1, 0]))
    assert chosen == 0


def test_a_state_is_worth_its_best_action():
    a = agent(gym.make(CARTPOLE), **ALL).learn(200)
    x = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)
    np.testing.assert_array_equal(a.state_values(x), a.action_values(x).max(axis=1))


@pytest.mark.slow
def test_cart_pole_is_learned():
    """The settings of rl-baselines3-zoo, half the budget; a random policy: 22."""
    settings = {
        "learning_rate": 2.3e-3,
        "batch_size": 64,
        "learning_starts": 1_000,
        "target_update_interval": 10,
        "train_freq": 256,
        "gradient_steps": 128,
        "exploration_steps": 8_000,
        "exploration_final_eps": 0.04,
        "net_arch": (256, 256),
    }
    a = agent(gym.make(CARTPOLE), **settings).learn(25_000)
    assert max(total for total, _ in a.episodes.recent) > 150
