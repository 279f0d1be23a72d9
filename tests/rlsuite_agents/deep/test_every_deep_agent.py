"""What every deep agent keeps to, whatever it learns by."""

# ruff: noqa: NPY002  (that the legacy generator is left alone is tested)

from __future__ import annotations

import random
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorWrapper
from gymnasium.wrappers import TimeLimit

from registry.errors import (
    DivergenceError,
    InvalidObservationError,
    SettingError,
    UnsupportedSpaceError,
)
from rlsuite_agents.deep.a2c import A2C, A2CConfig
from rlsuite_agents.deep.actor_critic import ActorCritic, ActorCriticConfig
from rlsuite_agents.deep.dqn import DQN, DQNConfig
from rlsuite_agents.deep.ppo import PPO, PPOConfig
from rlsuite_agents.deep.reinforce import Reinforce, ReinforceConfig
from rlsuite_agents.deep.sac import SAC, SACConfig

SMALL = {"net_arch": (8,)}
AGENTS = {
    "Reinforce": (Reinforce, ReinforceConfig, {}),
    "ActorCritic": (ActorCritic, ActorCriticConfig, {"actor_lambda": 0.5, "critic_lambda": 0.5}),
    "A2C": (A2C, A2CConfig, {}),
    "PPO": (PPO, PPOConfig, {"n_steps": 16, "batch_size": 16, "n_epochs": 2}),
    "DQN": (DQN, DQNConfig, {"learning_starts": 20}),
    "SAC": (SAC, SACConfig, {"learning_starts": 20, "batch_size": 16, "buffer_size": 1_000}),
}
CONTINUOUS = sorted(set(AGENTS) - {"DQN"})
every_agent = pytest.mark.parametrize("name", AGENTS)


def agent(name, env, seed=0, device="cpu", **settings):
    cls, config, own = AGENTS[name]
    return cls(env, config(**{**SMALL, **own, **settings}), seed=seed, device=device)


def weights(a):
    """Of the policy, or of all networks."""
    networks = a.networks
    parameters = networks.policy_parameters if isinstance(a, SAC) else networks.parameters
    return np.array(parameters.vector)


def fingerprint(a, tmp_path):
    """All arrays of a checkpoint."""
    from rlsuite_agents.parts.checkpoint import load_checkpoint

    a.save(tmp_path / "fingerprint")
    kept = load_checkpoint(tmp_path / "fingerprint", agent=a.id, config_type=a.config_type)
    return {name: array.tobytes() for name, array in kept.arrays.items()}, kept.state


class World(gym.Env):
    """Observations drawn anew in any space; reward 1 for ever."""

    def __init__(self, observation_space=None, action_space=None, reward=1.0, last=None):
        self.observation_space = observation_space or spaces.Box(-1, 1, (2,), np.float32)
        self.action_space = action_space or spaces.Discrete(2)
        self.reward, self.last = reward, last

    def seen(self):
        self.observation_space.seed(int(self.np_random.integers(2**31)))
        return self.observation_space.sample()

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.seen(), {}

    def step(self, action):
        assert self.action_space.contains(action)
        return self.seen() if self.last is None else self.last, self.reward, False, False, {}


class Constant(World):
    """One state."""

    def seen(self):
        return np.ones(2, np.float32)


class LimitIsEnd(gym.Wrapper):
    """The planted fault: a time limit is told as a terminal state."""

    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, terminated or truncated, False, info


# --- a time limit is no terminal state ----------------------------------------------------------

PROBES = {
    "Reinforce": (6_000, {}),
    "ActorCritic": (5_000, {"learning_rate": "lin_0.01", "total_timesteps": 5_000}),
    "A2C": (10_000, {"learning_rate": "lin_0.01", "total_timesteps": 10_000}),
    "PPO": (3_000, {"learning_rate": 0.01}),
    "DQN": (4_000, {"learning_rate": 3e-3, "target_update_interval": 50}),
    "SAC": (2_000, {"learning_rate": 3e-3, "tau": 0.05, "ent_coef": 0.0}),
}


@pytest.mark.parametrize("limit_is_end", [False, True], ids=["limit", "planted"])
@every_agent
def test_the_truncation_probe(name, limit_is_end):
    """Reward 1 for ever, episodes cut off after 5 steps, γ = 0.8: V = 1 / (1 - γ) = 5.

    Where the limit counts as an end, V is a mean of (1 - 0.8^k) / 0.2 over k = 1..5: 2.3, and for
    an agent that lets the values of states it cannot tell apart stand for each other, below 4.
    """
    steps, settings = PROBES[name]
    env = TimeLimit(Constant(), 5)
    a = agent(name, LimitIsEnd(env) if limit_is_end else env, gamma=0.8, **settings).learn(steps)
    v = a.state_values(np.ones((1, 2), np.float32))[0]
    if limit_is_end:
        assert v < 4.0
    else:
        assert v == pytest.approx(5.0, abs=0.15)


# --- own generators -----------------------------------------------------------------------------


def outside():
    """What belongs to the process."""
    numpy_state = np.random.get_state()
    generators = random.getstate(), numpy_state[1].tolist(), torch.get_rng_state().tolist()
    return *generators, numpy_state[2], torch.get_num_threads()


@every_agent
def test_global_generators_and_threads_stay_as_they_were(name, tmp_path):
    before = outside()
    a = agent(name, gym.make("CartPole-v1")).learn(100)
    a.predict(np.zeros(4, np.float32))
    a.save(tmp_path / "a")
    type(a).load(tmp_path / "a", env=gym.make("CartPole-v1")).learn(10)
    assert outside() == before


@every_agent
def test_two_at_once_are_two_alone_and_prediction_disturbs_nothing(name, tmp_path):
    alone = [agent(name, gym.make("CartPole-v1"), seed=s).learn(120) for s in (0, 1)]
    together = [agent(name, gym.make("CartPole-v1"), seed=s) for s in (0, 1)]
    for _ in range(12):
        for a in together:
            a.learn(10)
            a.predict(np.zeros(4, np.float32), deterministic=True)
    for one, other in zip(alone, together, strict=True):
        assert fingerprint(one, tmp_path) == fingerprint(other, tmp_path)
    assert not np.array_equal(*map(weights, alone))


# --- environments -------------------------------------------------------------------------------


@every_agent
@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_workers_of_gymnasium_are_taken_as_they_are(name, mode):
    """Two processes teach what the same vector in one process does."""
    make = partial(gym.make, "CartPole-v1")
    learned = []
    for vector in (AsyncVectorEnv, SyncVectorEnv):
        env = VectorWrapper(vector([make] * 2, autoreset_mode=mode))
        try:
            learned.append(weights(agent(name, env, num_envs=2).learn(160)))
        finally:
            env.close()
    np.testing.assert_array_equal(*learned)
    assert np.isfinite(learned[0]).all()


OBSERVATIONS = {
    "Discrete": spaces.Discrete(5, start=2),
    "MultiDiscrete": spaces.MultiDiscrete([3, 2]),
    "MultiBinary": spaces.MultiBinary(3),
    "Box": spaces.Box(-2, 2, (2, 3), np.float32),
    "Dict": spaces.Dict(
        {
            "position": spaces.Box(-1, 1, (2,), np.float32),
            "room": spaces.Discrete(4),
            "more": spaces.Dict({"keys": spaces.MultiBinary(2)}),
        }
    ),
}


@every_agent
@pytest.mark.parametrize("kind", OBSERVATIONS)
def test_observations_of_every_kind(name, kind):
    env = TimeLimit(World(OBSERVATIONS[kind]), 7)
    a = agent(name, env)
    before = weights(a)
    a.learn(64)
    assert np.isfinite(weights(a)).all()
    assert not np.array_equal(weights(a), before)
    seen, _ = env.reset(seed=0)
    assert env.action_space.contains(int(a.predict(seen)[0]))


@pytest.mark.parametrize("name", CONTINUOUS)
def test_box_actions_stay_in_their_bounds(name):
    """`World.step` asserts it; log σ is large enough to leave them otherwise."""
    box = spaces.Box(np.float32([-0.1, 2.0]), np.float32([0.1, 2.5]))
    a = agent(name, TimeLimit(World(action_space=box), 7)).learn(64)
    action, _ = a.predict(np.zeros(2, np.float32))
    assert action.shape == (2,)
    assert box.contains(action)


# --- bad input ----------------------------------------------------------------------------------

NAN, WIDE = np.full(2, np.nan, np.float32), np.zeros(3, np.float32)


@every_agent
@pytest.mark.parametrize(
    ("env", "sentence"),
    [
        (World(last=NAN), "step 1, .*not finite or not in its space"),
        (World(last=WIDE), r"the observation must have shape \(2,\).*; got shape \(3,\)"),
        (World(reward=np.nan), "step 1, .*the reward nan; one is not finite"),
        (World(reward=np.inf), "step 1, .*the reward inf; one is not finite"),
    ],
    ids=["NaN observation", "wrong shape", "NaN reward", "infinite reward"],
)
def test_what_an_environment_may_not_return(name, env, sentence):
    with pytest.raises(InvalidObservationError, match=sentence):
        agent(name, env).learn(10)


@every_agent
def test_what_a_vector_may_not_return(name):
    for broken, sentence in (
        (World(last=NAN), "NaN or infinity"),
        (World(reward=np.nan), "one is not finite"),
    ):
        vector = VectorWrapper(SyncVectorEnv([lambda env=broken: env]))
        with pytest.raises(InvalidObservationError, match=sentence):
            agent(name, vector).learn(10)


@every_agent
def test_spaces_that_it_cannot_handle(name):
    for action_space in (spaces.MultiBinary(2), spaces.Discrete(3, start=1)):
        with pytest.raises(UnsupportedSpaceError, match=f"{name}'s action space must be Discrete"):
            agent(name, World(action_space=action_space))
    with pytest.raises(UnsupportedSpaceError, match="Text"):
        agent(name, World(spaces.Text(5)))


@every_agent
def test_numbers_that_do_not_fit(name):
    vector = SyncVectorEnv([World] * 2)
    with pytest.raises(SettingError, match="num_envs is 3, but the environment brings 2"):
        agent(name, vector, num_envs=3)
    with pytest.raises(SettingError, match="total_timesteps must be a whole number"):
        agent(name, World()).learn(2.5)


@every_agent
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_that_is_not_there_is_refused(name):
    with pytest.raises(SettingError, match="torch finds no CUDA device here; use 'cpu'"):
        agent(name, World(), device="cuda")


@every_agent
def test_a_training_that_diverges_ends_in_one_sentence(name):
    """Warnings are errors here: NumPy gives none on the way."""
    a = agent(name, TimeLimit(World(), 7), learning_rate=1e38)
    with pytest.raises(DivergenceError, match=r"^step \d+: the (norm|loss|critics).* is (nan|inf)"):
        a.learn(400)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_actions_without_numbers_are_refused(name):
    with pytest.raises(UnsupportedSpaceError, match="there is nothing to choose in Box"):
        agent(name, World(action_space=spaces.Box(-1, 1, (0,))))
