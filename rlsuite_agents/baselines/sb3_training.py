"""What Stable-Baselines3 trains in, its `VecEnv` around ours, and what stops it at a budget."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize

from registry.contracts import Callback
from registry.errors import InvalidObservationError, SettingError, UnsupportedSpaceError
from rlsuite_agents.baselines.sb3_settings import DQNConfig, SACConfig
from rlsuite_agents.parts.features import Encoder
from rlsuite_agents.parts.lanes import members_of
from rlsuite_agents.parts.spaces import discrete_size

__all__ = ["Budget", "Rows", "check_actions", "members", "notes", "vector_env"]


class Rows(gym.Wrapper[Any, Any, Any, Any]):
    """An environment as their networks read it: rows of numbers, and seeded once."""

    def __init__(self, env: gym.Env[Any, Any], encoder: Encoder, seed: int) -> None:
        super().__init__(env)
        self._encoder = encoder
        self._first_seed: int | None = seed
        self.observation_space = spaces.Box(-np.inf, np.inf, (encoder.size,), np.float32)
        # A copy: theirs is seeded and drawn from, the environment's is not ours to disturb.
        self.action_space = copy.deepcopy(env.action_space)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """With the agent's seed at first, and none after that."""
        seed, self._first_seed = (self._first_seed if seed is None else seed), None
        observation, info = self.env.reset(seed=seed, options=options)
        return self._encoder.one(observation), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Raises `InvalidObservationError` where the reward is not finite."""
        if isinstance(self.action_space, spaces.Discrete):
            action = int(action)
        observation, reward, terminated, truncated, info = self.env.step(action)
        if not math.isfinite(reward):
            raise InvalidObservationError(
                f"the environment returned the reward {reward!r} for the action {action!r}."
            )
        return self._encoder.one(observation), float(reward), terminated, truncated, dict(info)


def vector_env(rows: Sequence[Rows], config: Any) -> VecEnv:
    """Their `VecEnv` of environments, with their normalisation where the settings ask for it."""
    venv = DummyVecEnv([lambda env=env: env for env in rows])  # type: ignore[misc]
    observations = getattr(config, "normalize_observations", False)
    rewards = getattr(config, "normalize_rewards", False)
    if not (observations or rewards):
        return venv
    return VecNormalize(venv, norm_obs=observations, norm_reward=rewards, gamma=config.gamma)


class Budget(BaseCallback):
    """Stops their loop at the exact step, and lets a rollout that ends just there be learned."""

    def __init__(self, agent: Any, callback: Callback | None, end: int) -> None:
        super().__init__()
        self._agent, self._callback, self._end = agent, callback, end
        period = agent.config.train_freq if agent.off_policy else agent.config.n_steps
        self._rollout = period * agent.model.n_envs
        self.since_update = 0
        self.cut = False

    def _on_rollout_start(self) -> None:
        self.since_update = 0

    def _on_step(self) -> bool:
        model: Any = self.model
        self.since_update += model.n_envs
        stop = self._callback is not None and self._callback(self._agent) is False
        at_end = model.num_timesteps >= self._end
        if stop or (at_end and self.since_update < self._rollout):
            # Their loop leaves before it notes these; a later call must start from here.
            model._last_obs = self.locals["new_obs"]
            model._last_episode_starts = self.locals["dones"]
            self.cut = True
        return not self.cut


def members(env: Any, number: int) -> list[gym.Env[Any, Any]]:
    """The single environments to train in, `number` of them."""
    if isinstance(env, gym.vector.VectorEnv) and not isinstance(env, gym.vector.SyncVectorEnv):
        raise SettingError(
            f"of vector environments, SyncVectorEnv can be adapted, got {type(env).__name__}; "
            "give one of those, or a single environment and num_envs."
        )
    return members_of(env, number)


def check_actions(space: gym.Space[Any], config_type: type) -> None:
    """Raises `UnsupportedSpaceError` where the algorithm cannot choose such actions."""
    if isinstance(space, spaces.Box) and config_type is not DQNConfig:
        if not space.is_bounded():
            raise UnsupportedSpaceError(f"Box actions need finite bounds, got {space}.")
    elif config_type is SACConfig:
        raise UnsupportedSpaceError(
            f"Stable-Baselines3's SAC chooses Box actions, got {space}; for Discrete ones there is "
            "rlsuite/SAC-v0, or DQN."
        )
    else:
        discrete_size(space, "the actions of this agent of Stable-Baselines3")


def notes(rounded: int, number: int, after_update: int) -> tuple[str, ...]:
    """What became of the steps of a call that taught nothing, as sentences."""
    notes = []
    if rounded:
        notes.append(f"{rounded} steps were not taken: {number} environments step together.")
    if after_update:
        notes.append(f"{after_update} steps came after the last update and taught nothing.")
    return tuple(notes)
