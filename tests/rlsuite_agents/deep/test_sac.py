"""SAC: the update against a twin, its settings and promises, masks, tasks with known answers."""

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
    DivergenceError,
    InvalidObservationError,
    SettingError,
    UnsupportedSpaceError,
)
from rlsuite_agents.deep.sac import SAC, SACConfig
from rlsuite_agents.parts.autograd_soft import autograd_critic_gradient, autograd_policy_gradient

SMALL = {"learning_starts": 20, "batch_size": 16, "net_arch": (16, 16), "buffer_size": 10_000}
CARTPOLE, PENDULUM, GRID = "CartPole-v1", "Pendulum-v1", "rlsuite/GridWorld-v0"
BOX = spaces.Box(np.array([0.0], np.float32), np.array([4.0], np.float32))
FORM = pytest.mark.parametrize("env_id", [PENDULUM, CARTPOLE], ids=["squashed", "softmax"])


def agent(env, seed=0, **settings):
    return SAC(env, SACConfig(**{**SMALL, **settings}), seed=seed)


def vectors(a):
    n = a.networks
    parts = (n.policy_parameters, n.critic_parameters, n.target_parameters, a.temperature)
    return [part.vector.copy() for part in parts]


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(vectors(a), vectors(b), strict=True))


class Endless(gym.Env):
    """One state, a reward that depends on the action alone, for ever; a mask in the info."""

    def __init__(self, action_space=BOX, reward=lambda action: 1.0, mask=None):
        self.observation_space = spaces.Box(-1, 1, (1,), np.float32)
        self.action_space, self.reward = action_space, reward
        self.info = {} if mask is None else {"action_mask": np.array(mask, np.int8)}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.ones(1, np.float32), dict(self.info)

    def step(self, action):
        assert self.action_space.contains(action)
        return np.ones(1, np.float32), self.reward(action), False, False, dict(self.info)


ONE = np.ones((1, 1), np.float32)
QUICK = {"learning_rate": 3e-3, "tau": 0.05, "batch_size": 32, "learning_starts": 50}

# --- the update ---------------------------------------------------------------------------------


@FORM
def test_the_update_equals_autograd_and_torchs_adam(env_id):
    """A twin on the same minibatches and noise: torch's gradients and torch's Adam, five times."""
    a = agent(gym.make(env_id)).learn(24)
    twin = agent(gym.make(env_id))
    for mine, given in zip(
        (twin.networks.policy_parameters, twin.networks.critic_parameters), vectors(a), strict=False
    ):
        mine.vector[:] = given
    twin.networks.target_parameters.vector[:] = vectors(a)[2]
    theta = [torch.tensor(v, requires_grad=True) for k, v in enumerate(vectors(a)) if k != 2]
    adams = (a.policy_optimizer, a.critic_optimizer, a.temperature_optimizer)
    optimizers = [torch.optim.Adam([t], lr=3e-4) for t in theta]
    for optimizer, t, adam in zip(optimizers, theta, adams, strict=True):
        assert adam.steps == 5
        moments = {"exp_avg": torch.tensor(adam.first), "exp_avg_sq": torch.tensor(adam.second)}
        optimizer.state[t] = {"step": torch.tensor(5.0), **moments}
    batches, noises = [], []
    draw = a.replay.draw
    a.replay.draw = lambda *given: batches.append(draw(*given)) or batches[-1]
    if env_id == PENDULUM:
        squash = a.networks.squash
        a.networks.squash = lambda o, e: noises.append(e.copy()) or squash(o, e)
    before = vectors(a)
    a.learn(5)
    noises = [e for e in noises if len(e) == 16] or [None] * 10  # without those of the steps
    parts = (twin.networks.policy_parameters, twin.networks.critic_parameters)
    for k, batch in enumerate(batches):
        alpha = math.exp(theta[2].item())
        autograd_critic_gradient(twin.networks, batch, alpha, noises[2 * k], "cpu")
        step(optimizers[1], theta[1], parts[1])
        _, entropy = autograd_policy_gradient(twin.networks, batch, alpha, noises[2 * k + 1], "cpu")
        step(optimizers[0], theta[0], parts[0])
        theta[2].grad = torch.tensor([entropy - twin.networks.entropy_to_keep(batch)]).float()
        optimizers[2].step()
        target = twin.networks.target_parameters.vector
        target += np.float32(0.005) * (parts[1].vector - target)
    twin.temperature.vector[:] = theta[2].detach().numpy()
    assert len(batches) == 5
    for found, expected, start in zip(vectors(a), vectors(twin), before, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert not np.array_equal(found, start)


def step(optimizer, tensor, parameters):
    tensor.grad = torch.from_numpy(parameters.gradient.copy())
    optimizer.step()
    parameters.vector[:] = tensor.detach().numpy()


@FORM
def test_the_metrics_say_what_was_done(env_id):
    a, told = agent(gym.make(env_id), gradient_steps=2, train_freq=4), []
    a.on_update = told.append
    a.learn(240)
    assert [m.num_timesteps for m in told] == list(range(20, 241, 4))
    assert a.metrics is told[-1]
    assert {m.gradient_steps for m in told} == {2}
    assert [m.buffer_fill for m in told] == [m.num_timesteps for m in told]
    assert told[0].alpha == pytest.approx(1.0, abs=1e-3)
    assert told[-1].alpha != told[0].alpha
    assert told[-1].learning_rate == 3e-4
    assert told[-1].episodes > 0
    assert all(m.q_max >= m.q_mean for m in told)
    assert all(np.isfinite(value) for value in dataclasses.astuple(told[-1]))


def test_updates_come_when_they_are_due():
    a = agent(gym.make(PENDULUM), train_freq=10, gradient_steps=-1)
    start, updates = vectors(a), []
    a.on_update = lambda m: updates.append((m.num_timesteps, m.gradient_steps))
    a.learn(19)
    np.testing.assert_array_equal(vectors(a)[0], start[0])  # played at random so far
    a.learn(31)
    assert updates == [(20, 10), (30, 10), (40, 10), (50, 10)]


def test_a_loss_without_bounds_ends_the_training():
    a = agent(gym.make(PENDULUM)).learn(30)
    a.networks.target_parameters.values["q_1.bias2"][:] = np.nan
    before = vectors(a)
    with pytest.raises(DivergenceError, match=r"step 31: the critics' loss is nan: the Q values"):
        a.learn(1)
    np.testing.assert_array_equal(vectors(a)[1], before[1])


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
        ({"ent_coef": -0.1}, "ent_coef must be a number in"),
        ({"ent_coef": "automatic"}, "ent_coef must be 'auto' or a number in"),
        (
            {"ent_coef": "auto_0.1"},
            "got 'auto_0.1'; the α that 'auto' begins with is ent_coef_init",
        ),
        ({"batch_size": 33, "buffer_size": 32}, "batch_size must be at most buffer_size, 32, got"),
        ({"ent_coef_init": 0}, "ent_coef_init must be a number in"),
        ({"target_entropy": "auto"}, "target_entropy must be a number in"),
        ({"ent_coef": 0.1, "target_entropy": -1.0}, "target_entropy is read where ent_coef is"),
        ({"ent_coef": 0.1, "ent_coef_init": 0.5}, "ent_coef_init is read where ent_coef is"),
        ({"activation": "gelu"}, "activation must be one of 'tanh', 'relu', got 'gelu'"),
        ({"net_arch": 64}, "net_arch must be a tuple of whole numbers of at least 1"),
        ({"learning_rate": "lin_1"}, "learning_rate is 'lin_1', which falls to 0 over total_ti"),
    ],
)
def test_wrong_settings_are_refused(setting, sentence):
    with pytest.raises(SettingError, match=sentence):
        SACConfig(**setting)


def test_what_it_cannot_do_is_said():
    for space in (spaces.Box(-1, np.inf, (1,)), spaces.Discrete(2, start=1)):
        with pytest.raises(UnsupportedSpaceError, match="SAC"):
            agent(Endless(space))
    for reward in (math.nan, math.inf):
        with pytest.raises(InvalidObservationError, match="not finite"):
            agent(Endless(reward=lambda action, r=reward: r)).learn(1)
    with pytest.raises(SettingError, match="total_timesteps"):
        agent(gym.make(PENDULUM)).learn(-1)
    a = agent(gym.make(PENDULUM))
    with pytest.raises(UnsupportedSpaceError, match="only Discrete actions have action prob"):
        a.action_probabilities(np.zeros((1, 3)), deterministic=False)
    with pytest.raises(UnsupportedSpaceError, match="only Discrete actions have a value for each"):
        a.action_values(np.zeros((1, 3)))


def test_an_observation_that_is_nan_ends_the_training():
    class Broken(Endless):
        def step(self, action):
            return np.full(1, np.nan, np.float32), 0.0, False, False, {}

    with pytest.raises(InvalidObservationError, match="not finite"):
        agent(Broken()).learn(1)
    vector = gym.vector.VectorWrapper(gym.vector.SyncVectorEnv([Broken] * 3))
    with pytest.raises(InvalidObservationError, match="NaN or infinity"):
        agent(vector, num_envs=3).learn(3)


@FORM
@pytest.mark.parametrize(
    "setting",
    [
        {"learning_rate": 1e-2},
        {"learning_rate": "lin_3e-4", "total_timesteps": 500},
        {"buffer_size": 50},
        {"learning_starts": 30},
        {"batch_size": 8},
        {"tau": 0.5},
        {"gamma": 0.5},
        {"train_freq": 2},
        {"gradient_steps": 2},
        {"ent_coef": 0.1},
        {"ent_coef_init": 0.1},
        {"target_entropy": -3.0},
        {"net_arch": (8,)},
        {"activation": "tanh"},
    ],
    ids=str,
)
def test_every_setting_changes_what_is_learned(setting, env_id):
    env = gym.make(env_id)
    x = np.random.default_rng(0).uniform(-1, 1, (6, *env.observation_space.shape))
    plain, changed = (
        agent(gym.make(env_id), **given).learn(90).state_values(x.astype(np.float32))
        for given in ({}, setting)
    )
    assert not np.array_equal(plain, changed)


# --- known answers ------------------------------------------------------------------------------


def lanes(make, vector):
    if vector is None:
        return make(), 1
    inner = gym.vector.SyncVectorEnv([make] * 3, autoreset_mode=vector)
    return gym.vector.VectorWrapper(inner), 3


@pytest.mark.parametrize("space", [BOX, spaces.Discrete(2)], ids=["squashed", "softmax"])
@pytest.mark.parametrize("vector", [None, "NextStep", "SameStep"])
def test_the_truncation_probe(vector, space):
    """Reward 1 for ever, episodes cut off after 5 steps, γ = 0.8, α = 0: V = 1 / (1 - γ) = 5.

    Were the limit an end, V would be a mean of (1 - 0.8^k) / 0.2 over k = 1..5: 2.3.
    """
    env, width = lanes(lambda: TimeLimit(Endless(space), 5), vector)
    a = agent(env, num_envs=width, gamma=0.8, ent_coef=0.0, **QUICK)
    a.learn(2_001)
    assert a.state_values(ONE)[0] == pytest.approx(5.0, abs=0.1)


def test_the_soft_value_of_a_fair_coin():
    """Two equal actions and α = 1: V = (1 + log 2) / (1 - γ), π = (½, ½)."""
    a = agent(Endless(spaces.Discrete(2)), gamma=0.5, ent_coef=1.0, **QUICK).learn(1_500)
    assert a.state_values(ONE)[0] == pytest.approx(2 * (1 + math.log(2)), abs=0.05)
    pi = a.action_probabilities(ONE, deterministic=False)[0]
    np.testing.assert_allclose(pi, 0.5, atol=0.05)


def test_the_soft_optimum_of_a_bandit():
    """γ = 0: π ∝ exp(r / α), over what is allowed."""
    rewards, alpha = np.array([0.0, 1.0, 5.0, 0.5]), 0.7
    env = Endless(spaces.Discrete(4), lambda action: float(rewards[action]), mask=[1, 1, 0, 1])
    a = agent(env, gamma=0.0, ent_coef=alpha, **QUICK).learn(2_000)
    mask = np.array([[1, 1, 0, 1]], bool)
    expected = np.exp(rewards / alpha) * mask[0]
    found = a.action_probabilities(ONE, deterministic=False, mask=mask)[0]
    np.testing.assert_allclose(found, expected / expected.sum(), atol=0.04)
    np.testing.assert_allclose(a.action_values(ONE)[0][mask[0]], rewards[mask[0]], atol=0.1)
    assert a.predict(ONE[0], deterministic=True, mask=mask[0])[0] == 1


class Trap(Endless):
    """Action 1 would pay 100 but is forbidden; whoever takes it breaks the rules."""

    def __init__(self):
        super().__init__(spaces.Discrete(2), mask=[1, 0])

    def step(self, action):
        assert action == 0
        return super().step(action)


@pytest.mark.parametrize("vector", [None, "NextStep", "SameStep"])
def test_forbidden_actions_are_neither_taken_nor_valued(vector):
    """However much the critics make of it; V = 5 comes of the allowed one alone."""
    env, width = lanes(lambda: TimeLimit(Trap(), 5), vector)
    a = agent(env, num_envs=width, gamma=0.8, ent_coef=0.1, **QUICK)
    for name in ("q_1.bias2", "q_2.bias2"):
        a.networks.critic_parameters.values[name][1] = 100.0
        a.networks.target_parameters.values[name][1] = 100.0
    a.learn(2_001)
    q = a.action_values(ONE)[0]
    assert q[0] == pytest.approx(5.0, abs=0.1)
    assert q[1] > 50


def test_the_best_of_a_range_of_actions():
    """r = -(a - 3)², a in [0, 4], γ = 0, α = 0.2: π ∝ exp(r / α) has σ² = α / 2 around 3."""
    env = Endless(reward=lambda action: -float((action[0] - 3.0) ** 2))
    a = agent(env, gamma=0.0, ent_coef=0.2, **QUICK).learn(3_000)
    assert a.predict(ONE[0], deterministic=True)[0][0] == pytest.approx(3.0, abs=0.15)
    drawn, _ = a.predict(np.ones((2_000, 1), np.float32))
    assert drawn.mean() == pytest.approx(3.0, abs=0.15)
    assert drawn.std() == pytest.approx(math.sqrt(0.1), abs=0.1)


@pytest.mark.parametrize(
    ("space", "keep"), [(BOX, 0.2), (spaces.Discrete(3), 0.8)], ids=["squashed", "softmax"]
)
def test_the_entropy_settles_where_it_should(space, keep):
    """The first action, or the largest, is best; α rises until the entropy is what was asked."""
    best = 0 if isinstance(space, spaces.Discrete) else 4.0
    env = Endless(space, lambda action: -float(np.abs(action - best).sum()))
    a, told = agent(env, gamma=0.0, target_entropy=keep, ent_coef_init=0.1, **QUICK), []
    a.on_update = lambda metrics: told.append(metrics.entropy)
    a.learn(4_000)
    assert np.mean(told[-500:]) == pytest.approx(keep, abs=0.1)
    assert 0.1 < a.alpha < 10


@pytest.mark.slow
def test_pendulum_is_learned():
    """A quarter of the usual budget; a random policy: -1,200."""
    a = SAC(gym.make(PENDULUM), SACConfig(learning_rate=1e-3), seed=0).learn(5_000)
    assert rlsuite.evaluate(a, PENDULUM, episodes=20).mean_return > -250
