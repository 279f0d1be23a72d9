"""Stable-Baselines3 behind our contract: the same algorithm, with promises it does not make."""

# ruff: noqa: NPY002  (that the legacy generator is left alone is tested)

from __future__ import annotations

import random
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

import rlsuite  # noqa: F401  (registers the environments)
from registry.errors import (
    CheckpointError,
    InvalidObservationError,
    SettingError,
    UnsupportedSpaceError,
)
from registry.seeding import Stream, integer_seed, sequence
from rlsuite_agents.baselines.sb3 import A2C, DQN, PPO, A2CConfig, DQNConfig, PPOConfig
from rlsuite_agents.parts.global_streams import GlobalStreams

CARTPOLE = "CartPole-v1"
SMALL_PPO = PPOConfig(n_steps=16, batch_size=16, n_epochs=2, net_arch=(8,))
SMALL_A2C = A2CConfig(n_steps=4, net_arch=(8,))
SMALL_DQN = DQNConfig(buffer_size=1000, learning_starts=20, train_freq=4, net_arch=(8,))
AGENTS = [(PPO, SMALL_PPO, 16), (A2C, SMALL_A2C, 4), (DQN, SMALL_DQN, 4)]
each_agent = pytest.mark.parametrize(
    ("cls", "config", "rollout"), AGENTS, ids=[a[0].__name__ for a in AGENTS]
)
X = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)


def weights(agent):
    return {k: w.detach().numpy().copy() for k, w in agent.model.policy.state_dict().items()}


def same(a, b):
    one, other = weights(a), weights(b)
    return all(np.array_equal(one[k], other[k]) for k in one)


def outside():
    numpy_state = np.random.get_state()
    return (
        random.getstate(),
        (numpy_state[1].tolist(), numpy_state[2]),
        torch.get_rng_state().tolist(),
        torch.get_num_threads(),
    )


class Fixed(gym.Env):
    """Spaces to be given, rewards of 1, no end."""

    def __init__(self, observation_space, action_space=None):
        self.observation_space = observation_space
        self.action_space = spaces.Discrete(2) if action_space is None else action_space
        self.observation_space.seed(0)
        self.seeds, self.actions = [], []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seeds.append(seed)
        return self._observe(), {}

    def step(self, action):
        self.actions.append(action)
        return self._observe(), 1.0, False, len(self.actions) % 10 == 0, {}

    def _observe(self):
        self.last = self.observation_space.sample()
        return self.last


# --- the algorithm is theirs ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "theirs", "config", "keywords"),
    [
        (PPO, stable_baselines3.PPO, SMALL_PPO, {"n_steps": 16, "batch_size": 16, "n_epochs": 2}),
        (A2C, stable_baselines3.A2C, SMALL_A2C, {"n_steps": 4}),
        (DQN, stable_baselines3.DQN, SMALL_DQN, {"buffer_size": 1000, "learning_starts": 20}),
    ],
)
def test_it_is_stable_baselines_bit_for_bit(cls, theirs, config, keywords):
    """Their class on the same random numbers learns the same weights, schedules included."""
    config = replace(config, learning_rate="lin_0.01", total_timesteps=160)
    ours = cls(gym.make(CARTPOLE), config, seed=4).learn(160)
    env = gym.make(CARTPOLE)
    streams = GlobalStreams(sequence(4, Stream.AGENT, 0), torch.device("cpu"))
    with streams.installed():
        venv = DummyVecEnv([lambda: env])
        venv.seed(integer_seed(4, Stream.ENVIRONMENT))
        model = theirs(
            "MlpPolicy",
            venv,
            learning_rate=lambda remaining: 0.01 * remaining,
            policy_kwargs={"net_arch": [8]},
            device="cpu",
            **keywords,
        )
        model.action_space.seed(integer_seed(4, Stream.AGENT, 2))
        model.set_logger(Logger(folder=None, output_formats=[]))
        model.learn(160)
    for name, tensor in model.policy.state_dict().items():
        np.testing.assert_array_equal(weights(ours)[name], tensor.numpy(), err_msg=name)


@each_agent
def test_its_probabilities_are_their_networks(cls, config, rollout):
    agent = cls(gym.make(CARTPOLE), config, seed=0).learn(5 * rollout)
    pi = agent.action_probabilities(X, deterministic=False)
    np.testing.assert_allclose(pi.sum(1), 1.0)
    with torch.no_grad():
        if cls is DQN:
            q = agent.model.q_net(torch.from_numpy(X)).numpy()
            epsilon = agent.model.exploration_rate
            expected = (1 - epsilon) * np.eye(2)[q.argmax(1)] + epsilon / 2
        else:
            distribution = agent.model.policy.get_distribution(torch.from_numpy(X)).distribution
            expected = distribution.probs.numpy()
    np.testing.assert_allclose(pi, expected, atol=1e-6)
    greedy = agent.action_probabilities(X, deterministic=True)
    np.testing.assert_array_equal(greedy, np.eye(2)[greedy.argmax(1)])
    theirs, _ = agent.model.predict(X, deterministic=True)
    np.testing.assert_array_equal(agent.predict(X, deterministic=True)[0], theirs)


# --- the exact budget ----------------------------------------------------------------------------


@each_agent
def test_the_budget_is_exact_and_what_taught_nothing_is_reported(cls, config, rollout):
    agent = cls(gym.make(CARTPOLE), config, seed=0)
    agent.learn(5 * rollout)
    assert (agent.num_timesteps, agent.unused_timesteps, agent.notes) == (5 * rollout, 0, ())
    agent.learn(rollout + 3)
    assert agent.num_timesteps == 6 * rollout + 3
    assert agent.unused_timesteps == 3
    assert agent.notes == ("3 steps came after the last update and taught nothing.",)
    agent.learn(0)
    assert (agent.num_timesteps, agent.unused_timesteps) == (6 * rollout + 3, 0)


def test_a_budget_that_the_environments_do_not_divide_is_rounded_down_and_reported():
    agent = A2C(gym.make(CARTPOLE), A2CConfig(num_envs=4, n_steps=5, net_arch=(8,)), seed=0)
    agent.learn(23)  # 5 steps of 4 and one update, 3 steps left
    assert agent.num_timesteps == 20
    assert agent.unused_timesteps == 3
    assert agent.notes == ("3 steps were not taken: 4 environments step together.",)


@each_agent
def test_whole_rollouts_may_be_split_over_calls_schedules_included(cls, config, rollout):
    config = replace(config, learning_rate="lin_0.01", total_timesteps=8 * rollout)
    whole, parts = (cls(gym.make(CARTPOLE), config, seed=0) for _ in range(2))
    whole.learn(8 * rollout)
    parts.learn(3 * rollout).learn(5 * rollout)
    assert same(whole, parts)


def test_after_a_cut_the_next_call_goes_on_from_the_latest_observation():
    """Their loop forgets the observation of a step at which a callback stops it."""
    env = Fixed(spaces.Box(-1, 1, (3,)))
    agent = A2C(env, SMALL_A2C, seed=0).learn(5)
    last = env.last
    agent.learn(4)
    np.testing.assert_array_equal(agent.model.rollout_buffer.observations[0], last)
    assert env.seeds[1:] == []  # and there was no new reset


@each_agent
def test_the_callback_sees_every_step_and_can_stop(cls, config, rollout):
    seen = []

    def callback(agent):
        seen.append(agent.num_timesteps)
        return len(seen) < 7

    cls(gym.make(CARTPOLE), config, seed=0).learn(100, callback)
    assert seen == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("steps", [-1, 1.5, True])
def test_a_wrong_budget_is_refused(steps):
    with pytest.raises(SettingError, match="total_timesteps must be a whole number"):
        A2C(gym.make(CARTPOLE), SMALL_A2C, seed=0).learn(steps)


# --- schedules -----------------------------------------------------------------------------------


def test_linear_rates_fall_to_zero_over_the_horizon_and_stay_there():
    config = replace(SMALL_PPO, learning_rate="lin_0.01", clip_range="lin_0.2", total_timesteps=64)
    agent = PPO(gym.make(CARTPOLE), config, seed=0)
    seen = [agent.model.lr_schedule(1.0)]
    for _ in range(5):
        agent.learn(16)
        seen.append(agent.model.lr_schedule(1.0))
    assert seen == pytest.approx([0.01, 0.0075, 0.005, 0.0025, 0.0, 0.0])
    assert agent.model.clip_range(1.0) == 0.0


def test_without_a_horizon_it_is_the_first_calls():
    config = replace(SMALL_A2C, learning_rate="lin_0.01")
    agent = A2C(gym.make(CARTPOLE), config, seed=0)
    agent.learn(8, callback=lambda a: a.num_timesteps < 4)
    assert agent.model.lr_schedule(1.0) == pytest.approx(0.005)


def test_epsilon_falls_over_its_fraction_of_the_horizon():
    """Horizon 100, fraction ½, from 1 to 0.2: 0.6 after 25 steps, 0.2 from 50 on."""
    config = replace(
        SMALL_DQN, total_timesteps=100, exploration_fraction=0.5, exploration_final_eps=0.2
    )
    agent = DQN(gym.make(CARTPOLE), config, seed=0)
    seen = {}
    agent.learn(80, callback=lambda a: seen.__setitem__(a.num_timesteps, a.model.exploration_rate))
    assert seen[26] == pytest.approx(0.6)  # the callback comes before the rate is renewed
    assert seen[51] == pytest.approx(0.2)
    assert seen[80] == pytest.approx(0.2)


# --- randomness ----------------------------------------------------------------------------------


@each_agent
def test_global_generators_and_threads_stay_as_they_were(cls, config, rollout, tmp_path):
    before = outside()
    agent = cls(gym.make(CARTPOLE), config, seed=0).learn(3 * rollout + 1)
    agent.predict(X)
    agent.save(tmp_path / "a")
    cls.load(tmp_path / "a").predict(X)
    assert outside() == before


@each_agent
def test_seeds_repeat_and_differ_and_agents_do_not_meet(cls, config, rollout):
    alone = [cls(gym.make(CARTPOLE), config, seed=s).learn(12 * rollout) for s in (0, 1)]
    together = [cls(gym.make(CARTPOLE), config, seed=s) for s in (0, 1)]
    for _ in range(12):
        for agent in together:
            agent.learn(rollout)
            random.random()
            np.random.random()
    assert same(alone[0], together[0])
    assert same(alone[1], together[1])
    assert not same(*alone)


@each_agent
def test_evaluating_inside_a_training_step_disturbs_nothing(cls, config, rollout):
    class Curious(gym.Wrapper):
        agent = None

        def step(self, action):
            if self.agent is not None:
                self.agent.predict(X)
                self.agent.action_probabilities(X, deterministic=False)
            return super().step(action)

    plain = cls(gym.make(CARTPOLE), config, seed=0).learn(10 * rollout)
    env = Curious(gym.make(CARTPOLE))
    curious = env.agent = cls(env, config, seed=0)
    assert same(plain, curious.learn(10 * rollout))


@each_agent
def test_a_row_is_answered_alike_alone_and_in_company(cls, config, rollout):
    agent = cls(gym.make(CARTPOLE), config, seed=0).learn(8 * rollout)
    batch, _ = agent.predict(X, rngs=[np.random.default_rng(k) for k in range(9)])
    assert batch.shape == (9,)
    assert batch.dtype == np.int64
    for k, x in enumerate(X):
        one, state = agent.predict(x, "kept", rngs=[np.random.default_rng(k)])
        assert (one.ndim, int(one), state) == (0, batch[k], "kept")
        np.testing.assert_array_equal(
            agent.action_probabilities(x[None], deterministic=False),
            agent.action_probabilities(X, deterministic=False)[k : k + 1],
        )


# --- environments --------------------------------------------------------------------------------


@each_agent
@pytest.mark.parametrize(
    "env_id", ["FrozenLake-v1", "rlsuite/TokenGeneration-v0", "rlsuite/ContextualBandit-v0"]
)
def test_any_discrete_task(cls, config, rollout, env_id):
    env = gym.make(env_id)
    agent = cls(env, config, seed=0).learn(2 * rollout)
    observations = env.unwrapped.oracle().observations() if "rlsuite" in env_id else np.arange(16)
    pi = agent.action_probabilities(observations, deterministic=False)
    assert pi.shape[1] == env.action_space.n
    np.testing.assert_allclose(pi.sum(1), 1.0)
    with pytest.raises(InvalidObservationError, match=r"env\.reset|has the parts"):
        agent.predict(env.reset(seed=0))


@pytest.mark.parametrize(("cls", "config"), [(PPO, SMALL_PPO), (A2C, SMALL_A2C)])
def test_box_actions(cls, config, tmp_path):
    agent = cls(gym.make("Pendulum-v1"), config, seed=0).learn(32)
    x = X[:, :3]
    theirs, _ = agent.model.predict(x, deterministic=True)
    np.testing.assert_allclose(agent.predict(x, deterministic=True)[0], theirs, atol=1e-5)
    sampled, _ = agent.predict(np.repeat(x[:1], 4000, axis=0))
    assert sampled.shape == (4000, 1)
    assert np.abs(sampled).max() <= 2.0
    # 68.3 % lie within σ of the mean, ±4 standard errors; the bounds are 2 σ away.
    mean = agent.predict(x[0], deterministic=True)[0]
    std = float(agent.model.policy.log_std.detach().exp())
    assert np.mean(np.abs(sampled - mean) < std) == pytest.approx(0.683, abs=0.03)
    one, _ = agent.predict(x[0], rngs=[np.random.default_rng(0)])
    assert one.shape == (1,)
    with pytest.raises(SettingError, match="one generator per row: 9, got 1"):
        agent.predict(x, rngs=[np.random.default_rng(0)])
    with pytest.raises(UnsupportedSpaceError, match="only Discrete actions"):
        agent.action_probabilities(x, deterministic=False)
    agent.save(tmp_path / "a")
    loaded = cls.load(tmp_path / "a")
    np.testing.assert_array_equal(
        loaded.predict(x, deterministic=True)[0], agent.predict(x, deterministic=True)[0]
    )


@pytest.mark.parametrize(
    ("cls", "space", "sentence"),
    [
        (DQN, spaces.Box(-1, 1, (1,)), "must be Discrete"),
        (PPO, spaces.MultiBinary(3), "must be Discrete"),
        (PPO, spaces.Discrete(2, start=1), "must count from 0"),
        (PPO, spaces.Box(-np.inf, np.inf, (1,)), "Box actions need finite bounds"),
    ],
)
def test_actions_it_cannot_choose_are_refused(cls, space, sentence):
    with pytest.raises(UnsupportedSpaceError, match=sentence):
        cls(Fixed(spaces.Discrete(2), space), seed=0)


def test_images_are_refused():
    with pytest.raises(UnsupportedSpaceError, match=r"sb3/PPO-v0 reads no images, .*DQN-v0 do"):
        PPO(Fixed(spaces.Box(0, 255, (40, 40, 3), np.uint8), spaces.Discrete(2)), seed=0)


def test_several_environments_are_copies_with_seeds_of_their_own():
    agent = PPO(gym.make(CARTPOLE), replace(SMALL_PPO, num_envs=3), seed=0).learn(96)
    assert agent.num_timesteps == 96
    first = agent.model.env.reset()
    assert len({row.tobytes() for row in first}) == 3


def test_a_sync_vector_environment_lends_its_members():
    """Three copies made by us, or three brought along: the same training."""
    venv = SyncVectorEnv([lambda: gym.make(CARTPOLE)] * 3, autoreset_mode=AutoresetMode.SAME_STEP)
    config = replace(SMALL_PPO, num_envs=3)
    assert same(
        PPO(venv, config, seed=0).learn(96), PPO(gym.make(CARTPOLE), config, seed=0).learn(96)
    )


def test_environments_are_seeded_once():
    env = Fixed(spaces.Discrete(3))
    A2C(env, SMALL_A2C, seed=5).learn(40)
    assert env.seeds[0] == integer_seed(5, Stream.ENVIRONMENT)
    assert set(env.seeds[1:]) == {None}
    assert all(isinstance(action, int) for action in env.actions)


def test_environments_that_do_not_fit_num_envs_are_refused():
    venv = SyncVectorEnv([lambda: gym.make(CARTPOLE)] * 2)
    with pytest.raises(SettingError, match="num_envs is 1, but the environment brings 2"):
        PPO(venv, SMALL_PPO, seed=0)
    with pytest.raises(SettingError, match="has no spec to make copies from"):
        PPO(Fixed(spaces.Discrete(2)), replace(SMALL_PPO, num_envs=2), seed=0)
    other = gym.vector.VectorEnv()
    with pytest.raises(SettingError, match="SyncVectorEnv can be adapted, got VectorEnv"):
        PPO(other, SMALL_PPO, seed=0)


def test_what_is_not_finite_is_refused():
    class Broken(Fixed):
        def step(self, action):
            observation, _, *rest = super().step(action)
            return observation, float("nan"), *rest

    with pytest.raises(InvalidObservationError, match="returned the reward nan for the action"):
        A2C(Broken(spaces.Discrete(2)), SMALL_A2C, seed=0).learn(1)

    class Fog(Fixed):
        def _observe(self):
            return np.array([np.nan], np.float32)

    with pytest.raises(InvalidObservationError, match="holds NaN or infinity"):
        A2C(Fog(spaces.Box(-1, 1, (1,))), SMALL_A2C, seed=0).learn(1)


def test_a_time_limit_bootstraps():
    """Reward 1 for ever, episodes of 10 by a limit, γ = 0.9: V = 10, and 4.1 if limits ended."""
    env = Fixed(spaces.Discrete(1))
    config = A2CConfig(gamma=0.9, learning_rate=0.01, n_steps=10, net_arch=(16,))
    agent = A2C(env, config, seed=0).learn(8_000)
    with torch.no_grad():
        value = agent.model.policy.predict_values(torch.ones(1, 1)).item()
    assert value == pytest.approx(10.0, abs=0.5)


def test_stable_baselines_can_evaluate_it():
    agent = PPO(gym.make(CARTPOLE), SMALL_PPO, seed=0)
    returns, _ = evaluate_policy(
        agent, Monitor(gym.make(CARTPOLE)), n_eval_episodes=3, return_episode_rewards=True
    )
    assert len(returns) == 3


# --- checkpoints ---------------------------------------------------------------------------------


@each_agent
def test_a_checkpoint_predicts_alike_but_does_not_learn_on(cls, config, rollout, tmp_path):
    config = replace(config, num_envs=2) if cls is not DQN else config
    agent = cls(gym.make(CARTPOLE), config, seed=0).learn(6 * rollout)
    agent.save(tmp_path / "a")
    loaded = cls.load(tmp_path / "a", env=gym.make(CARTPOLE))
    assert (loaded.num_timesteps, loaded.config) == (6 * rollout, config)
    np.testing.assert_array_equal(
        agent.action_probabilities(X, deterministic=False),
        loaded.action_probabilities(X, deterministic=False),
    )
    np.testing.assert_array_equal(agent.predict(X)[0], loaded.predict(X)[0])
    with pytest.raises(CheckpointError, match="cannot go on exactly where it stopped"):
        loaded.learn(10)


def test_a_checkpoint_of_another_agent_is_refused(tmp_path):
    A2C(gym.make(CARTPOLE), SMALL_A2C, seed=0).save(tmp_path / "a")
    with pytest.raises(CheckpointError, match="'sb3/A2C-v0', not of 'sb3/PPO-v0'"):
        PPO.load(tmp_path / "a")


def test_spaces_that_a_checkpoint_lacks_are_named(tmp_path):
    from rlsuite_agents.parts.checkpoint import save_checkpoint

    state = {"seed": 0, "observation_space": None}
    save_checkpoint(tmp_path / "a", agent="sb3/A2C-v0", config=SMALL_A2C, arrays={}, state=state)
    with pytest.raises(CheckpointError, match="'observation_space' should be of type dict"):
        A2C.load(tmp_path / "a")


# --- learning ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_ppo_at_the_zoos_settings_solves_cart_pole():
    """rl-baselines3-zoo, CartPole-v1: 500 after 100,000 steps; here 30,000 must reach 400."""
    config = PPOConfig(
        num_envs=8,
        n_steps=32,
        batch_size=256,
        n_epochs=20,
        gae_lambda=0.8,
        gamma=0.98,
        learning_rate="lin_1e-3",
        clip_range="lin_0.2",
        total_timesteps=30_000,
    )
    agent = PPO(gym.make(CARTPOLE), config, seed=0).learn(30_000)
    mean, _ = evaluate_policy(agent, Monitor(gym.make(CARTPOLE)), n_eval_episodes=20)
    assert mean >= 400


@each_agent
def test_state_values_are_their_networks(cls, config, rollout):
    agent = cls(gym.make(CARTPOLE), config, seed=0).learn(5 * rollout)
    values = agent.state_values(X)
    with torch.no_grad():
        if cls is DQN:
            expected = agent.model.q_net(torch.from_numpy(X)).max(dim=1).values
        else:
            expected = agent.model.policy.predict_values(torch.from_numpy(X))[:, 0]
    assert (values.shape, values.dtype) == ((len(X),), np.float64)
    np.testing.assert_allclose(values, expected.numpy(), atol=1e-6)
