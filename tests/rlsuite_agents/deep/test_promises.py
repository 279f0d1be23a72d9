"""What every deep agent promises: exact budgets, learning in parts, resuming bit for bit."""

from __future__ import annotations

import dataclasses

import gymnasium as gym
import numpy as np
import pytest

import rlsuite
from registry.catalogue import registry
from registry.errors import CheckpointError, SettingError
from rlsuite_agents.parts.checkpoint import load_checkpoint

CARTPOLE, PENDULUM, GRID = "CartPole-v1", "Pendulum-v1", "rlsuite/GridWorld-v0"
TOKENS = "rlsuite/TokenGeneration-v0"
OTHERS = (
    "rlsuite/CliffWalk-v0",
    "rlsuite/BernoulliBandit-v0",
    "rlsuite/ContextualBandit-v0",
    "FrozenLake-v1",
)
NORMALIZED = {"normalize_observations": True, "normalize_rewards": True}
TRACES = {"actor_lambda": 0.9, "critic_lambda": 0.8, "net_arch": (16, 16)}
ROLLOUT = {"n_steps": 16, "batch_size": 24, "n_epochs": 2, "num_envs": 3}
REPLAY = {"learning_starts": 20, "batch_size": 16, "net_arch": (16, 16)}
DQN = {**REPLAY, "exploration_steps": 100}
RAINBOW = {**DQN, "double": True, "dueling": True, "prioritized": True, "n_steps": 3}
SAC = {**REPLAY, "buffer_size": 10_000}
FALLING = {"learning_rate": "lin_1e-3", "total_timesteps": 900}

CASES = {
    **{
        f"Reinforce, {name}, {env_id}": ("Reinforce", env_id, settings)
        for name, settings in {
            "alone": {},
            "lanes": {"num_envs": 3, **NORMALIZED},
            "mean": {"baseline": "mean", "episodes_per_update": 7, "ent_coef": 0.01},
        }.items()
        for env_id in (CARTPOLE, PENDULUM, TOKENS, GRID, *OTHERS)
    },
    "ActorCritic, one step": ("ActorCritic", CARTPOLE, {"num_envs": 3, "net_arch": (16, 16)}),
    "ActorCritic, everything on": (
        "ActorCritic",
        PENDULUM,
        {
            **TRACES,
            **NORMALIZED,
            "num_envs": 3,
            "discount_states": True,
            "ent_coef": 0.01,
            "metrics_interval": 30,
        },
    ),
    "ActorCritic, tokens": ("ActorCritic", TOKENS, {**TRACES, "discount_states": True}),
    "A2C, CartPole": ("A2C", CARTPOLE, {"num_envs": 3, **NORMALIZED}),
    "A2C, Pendulum": ("A2C", PENDULUM, {"num_envs": 3, **NORMALIZED}),
    "PPO, CartPole": ("PPO", CARTPOLE, ROLLOUT),
    "PPO, Pendulum, normalised": ("PPO", PENDULUM, {**ROLLOUT, **NORMALIZED}),
    "PPO, GridWorld": ("PPO", GRID, {**ROLLOUT, **FALLING}),
    "PPO, tokens": ("PPO", TOKENS, ROLLOUT),
    "DQN, CartPole": ("DQN", CARTPOLE, {**DQN, "num_envs": 3}),
    "DQN, everything on": ("DQN", CARTPOLE, {**RAINBOW, "num_envs": 3, "buffer_size": 150}),
    "DQN, GridWorld": ("DQN", GRID, {**DQN, **FALLING, "tau": 0.5}),
    "DQN, tokens": ("DQN", TOKENS, {**DQN, "n_steps": 2, "num_envs": 2}),
    "SAC, Pendulum": ("SAC", PENDULUM, {**SAC, "num_envs": 3, "buffer_size": 150, "train_freq": 3}),
    "SAC, CartPole": (
        "SAC",
        CARTPOLE,
        {**SAC, "num_envs": 2, "gradient_steps": -1, "train_freq": 2},
    ),
    "SAC, GridWorld": ("SAC", GRID, {**SAC, **FALLING, "train_freq": 2}),
    "SAC, masks": ("SAC", "Taxi-v4", {**SAC, "ent_coef": 0.1, "train_freq": 4}),
}
every_case = pytest.mark.parametrize("case", CASES)


def agent_type(name):
    return registry.agent_spec(f"rlsuite/{name}-v0").load()


def agent(case, env=None, seed=0):
    name, env_id, settings = CASES[case]
    cls = agent_type(name)
    return cls(env or gym.make(env_id), cls.config_type(**settings), seed=seed)


def everything(a, path):
    """State and arrays of a checkpoint."""
    a.save(path)
    kept = load_checkpoint(path, agent=a.id, config_type=a.config_type)
    return kept.state, {name: array.tobytes() for name, array in kept.arrays.items()}


def told(a):
    """The latest metrics without the one that belongs to the clock."""
    if a.metrics is None:
        return None
    metrics = dataclasses.asdict(a.metrics)
    assert metrics.pop("steps_per_second") > 0
    return repr(metrics)  # NaN equals itself here


@every_case
def test_learn_is_exact_and_may_be_split(case, tmp_path):
    whole, parts = agent(case), agent(case)
    whole.learn(301)
    for n in (1, 0, 100, 200):
        parts.learn(n)
    width = whole.config.num_envs
    assert whole.num_timesteps == parts.num_timesteps == 301 // width * width
    assert whole.unspent == parts.unspent == 301 % width
    assert everything(whole, tmp_path / "whole") == everything(parts, tmp_path / "parts")


@every_case
@pytest.mark.parametrize("steps", [0, 65, 200])
def test_save_load_learn_goes_on_bit_for_bit(tmp_path, case, steps):
    """In the middle of an episode, of a rollout, of traces; a thousand further steps."""
    a = agent(case, seed=3).learn(steps)
    a.save(tmp_path / "a")
    b = type(a).load(tmp_path / "a", env=gym.make(CASES[case][1]))
    assert b.config == a.config
    a.learn(1_000)
    b.learn(1_000)
    assert a.num_timesteps == b.num_timesteps
    assert everything(a, tmp_path / "a") == everything(b, tmp_path / "b")
    assert told(a) == told(b)


VECTORS = {
    "Reinforce": (TOKENS, {"kl_beta": 0.4, "episodes_per_update": 5}),
    "ActorCritic": (GRID, TRACES),
    "A2C": (GRID, {}),
    "PPO": (GRID, ROLLOUT),
    "DQN": (GRID, RAINBOW),
    "SAC": (GRID, SAC),
    "SAC, continuous": ("rlsuite/LQR-v0", SAC),
}


@pytest.mark.parametrize("case", VECTORS)
@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_native_vectors_resume_bit_for_bit(tmp_path, case, mode):
    task, settings = VECTORS[case]
    world = {"slip": 0.2, "max_episode_steps": 15} if task == GRID else {}

    def make():
        return rlsuite.make_vec(task, 3, autoreset_mode=mode, **world)

    cls = agent_type(case.partition(",")[0])
    a = cls(make(), cls.config_type(**{**settings, "num_envs": 3}), seed=1).learn(200)
    a.save(tmp_path / "a")
    b = cls.load(tmp_path / "a", env=make())
    a.learn(400)
    b.learn(400)
    assert 598 <= a.num_timesteps == b.num_timesteps <= 600
    assert everything(a, tmp_path / "a") == everything(b, tmp_path / "b")


@every_case
def test_an_agent_without_its_environment_predicts_and_keeps_all(tmp_path, case):
    env_id = CASES[case][1]
    a = agent(case).learn(90)
    a.save(tmp_path / "a")
    alone = type(a).load(tmp_path / "a")
    seen, _ = gym.make(env_id).reset(seed=0)
    chosen = [one.predict(seen, deterministic=True)[0] for one in (a, alone)]
    np.testing.assert_array_equal(*chosen)
    with pytest.raises(SettingError, match="loaded without an environment"):
        alone.learn(3)
    alone.save(tmp_path / "b")
    b = type(a).load(tmp_path / "b", env=gym.make(env_id))
    a.learn(90)
    b.learn(90)
    assert everything(a, tmp_path / "a") == everything(b, tmp_path / "b")
    with pytest.raises(CheckpointError, match="observation_space"):
        type(a).load(tmp_path / "a", env=gym.make("Acrobot-v1"))


@pytest.mark.parametrize(
    "case", [name for name, case in CASES.items() if case[1] in (CARTPOLE, PENDULUM)]
)
def test_it_says_the_same_alone_and_in_a_batch(case):
    a = agent(case).learn(150)
    space = a.env.action_space
    x = np.random.default_rng(0).normal(size=(7, a.encoder.size)).astype(np.float32)
    together, state = a.predict(x, state="kept", deterministic=True)
    alone = np.array([a.predict(row, deterministic=True)[0] for row in x])
    np.testing.assert_array_equal(together, alone)
    assert state == "kept"
    drawn, _ = a.predict(x, rngs=[np.random.default_rng(k) for k in range(7)])
    one, _ = a.predict(x[4], rngs=np.random.default_rng(4))
    np.testing.assert_array_equal(drawn[4], one)
    assert all(space.contains(action) for action in (*together, *drawn))
    values = a.state_values(x)
    assert (values.shape, values.dtype) == ((7,), np.float64)
    np.testing.assert_array_equal(values, np.concatenate([a.state_values(row[None]) for row in x]))
