"""Stable-Baselines3's PPO, A2C and DQN behind our contract (Raffin et al. 2021).

The algorithms are theirs, line for line. What this adapter adds around them:

* observations are flattened to rows, whole numbers one-hot; a `VectorEnv` becomes their `VecEnv`;
* `learn(n)` takes n steps and not the next multiple of a rollout; schedules refer to the settings,
  so a run does not depend on how it was split into calls;
* random numbers come from streams of the agent's own, though the algorithms draw from the global
  generators, which are left as they were found;
* `action_probabilities`, and checkpoints without pickle.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import fields
from os import PathLike
from types import SimpleNamespace
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import stable_baselines3
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv

from registry.contracts import Callback
from registry.errors import (
    CheckpointError,
    InvalidObservationError,
    SettingError,
    UnsupportedSpaceError,
)
from registry.seeding import Stream, check_seed, generator, integer_seed, sequence
from rlsuite_agents.baselines.sb3_settings import (
    A2CConfig,
    DQNConfig,
    PPOConfig,
)
from rlsuite_agents.loops import check_steps
from rlsuite_agents.parts.actor_critic_policy import gaussian_actions
from rlsuite_agents.parts.checkpoint import (
    Checkpoint,
    generator_state,
    load_checkpoint,
    restore_generator,
    save_checkpoint,
)
from rlsuite_agents.parts.device import resolve_device, single_thread
from rlsuite_agents.parts.features import Encoder
from rlsuite_agents.parts.global_streams import GlobalStreams
from rlsuite_agents.parts.lanes import members_of
from rlsuite_agents.parts.networks import Activation, Layers, evaluate_rows, host_layer, relu
from rlsuite_agents.parts.predict import per_row, predict_actions
from rlsuite_agents.parts.schedules import linear_start
from rlsuite_agents.parts.spaces import (
    Detached,
    discrete_size,
    space_from_json,
    space_to_json,
)

__all__ = ["A2C", "DQN", "PPO", "A2CConfig", "DQNConfig", "PPOConfig", "StableBaselinesAgent"]

OURS = ("num_envs", "total_timesteps", "net_arch", "activation")  # the other settings are SB3's
SCHEDULES = ("learning_rate", "clip_range", "clip_range_vf")
ACTIVATIONS: dict[str, tuple[Any, Activation]] = {
    "tanh": (torch.nn.Tanh, np.tanh),
    "relu": (torch.nn.ReLU, relu),
}


class StableBaselinesAgent:
    """The adapter; `PPO`, `A2C` and `DQN` name what it adapts. Never created itself.

    Attributes:
        model: the object of Stable-Baselines3.
        unused_timesteps: steps of the last `learn` that taught nothing: those after the last
            update, and those too few for one more step of all environments.
        notes: the same as sentences.
    """

    agent_id: ClassVar[str]
    algorithm: ClassVar[Any]
    config_type: ClassVar[type]

    def __init__(self, env: Any, config: Any = None, *, seed: int, device: str = "cpu") -> None:
        """Builds their model around `env`.

        Args:
            env: an environment, or a `SyncVectorEnv` whose sub-environments are used.
            config: the settings.
            seed: of all the agent's randomness.
            device: "cpu", "cuda" or "auto" (the CPU: the networks are small).

        Raises:
            SettingError: settings, seed or device are wrong, or do not fit the environment.
            UnsupportedSpaceError: the spaces cannot be handled.
        """
        self.config = self.config_type() if config is None else config
        self.env = env
        self._seed = check_seed(seed)
        self._loaded_from: str | None = None
        members = _members(env, getattr(self.config, "num_envs", 1))
        self._build(members, device)

    def _build(self, members: Sequence[gym.Env[Any, Any]], device: str) -> None:
        self.observation_space = members[0].observation_space
        self.action_space = members[0].action_space
        _check_actions(self.action_space, self.config_type)
        self._encoder = encoder = Encoder(self.observation_space)
        self.unused_timesteps, self.notes = 0, ()  # type: int, tuple[str, ...]
        self._horizon: int | None = self.config.total_timesteps
        self.model: Any = None
        where = resolve_device(device)
        self._streams = GlobalStreams(sequence(self._seed, Stream.AGENT, 0), where)
        self._prediction_rng = generator(self._seed, Stream.AGENT, 1)
        rows = [
            _Rows(member, encoder, integer_seed(self._seed, Stream.ENVIRONMENT, k))
            for k, member in enumerate(members)
        ]
        given = {f.name: getattr(self.config, f.name) for f in fields(self.config)}
        with self._streams.installed(), single_thread():
            self.model = self.algorithm(
                "MlpPolicy",
                DummyVecEnv([lambda env=env: env for env in rows]),  # type: ignore[misc]
                policy_kwargs={
                    "net_arch": list(self.config.net_arch),
                    "activation_fn": ACTIVATIONS[self.config.activation][0],
                },
                device=where,
                seed=None,  # a seed would reseed the global generators
                **{
                    name: self._schedule(value) if name in SCHEDULES else value
                    for name, value in given.items()
                    if name not in OURS
                },
            )
        self.model.action_space.seed(integer_seed(self._seed, Stream.AGENT, 2))
        self.model.set_logger(Logger(folder=None, output_formats=[]))
        if isinstance(self.config, DQNConfig):
            self.model.exploration_schedule = self._exploration

    @property
    def num_timesteps(self) -> int:
        """Environment steps taken, over all environments."""
        return 0 if self.model is None else int(self.model.num_timesteps)

    def learn(self, total_timesteps: int, callback: Callback | None = None) -> StableBaselinesAgent:
        """Takes `total_timesteps` further steps, in whole steps of all environments.

        A rollout that the budget cuts short is not learned from: see `unused_timesteps`.

        Args:
            total_timesteps: at least 0.
            callback: called after each step of all environments; False stops.

        Returns:
            The agent.

        Raises:
            SettingError: the number of steps is not a whole number of at least 0.
            CheckpointError: the agent comes from a checkpoint, which holds the policy alone.
        """
        budget = check_steps(total_timesteps)
        if self._loaded_from is not None:
            raise CheckpointError(
                f"this {type(self).__name__} comes from {self._loaded_from}, which holds its "
                "policy only: Stable-Baselines3 cannot go on exactly where it stopped. Train anew."
            )
        self._horizon = self._horizon or budget or None
        number = self.model.n_envs
        taken = budget - budget % number
        budget_callback = _Budget(self, callback, self.num_timesteps + taken)
        if taken:
            with self._streams.installed(), single_thread():
                self.model.learn(
                    taken, callback=budget_callback, log_interval=None, reset_num_timesteps=False
                )
        after_update = budget_callback.since_update if budget_callback.cut else 0
        self.unused_timesteps = budget - taken + after_update
        self.notes = _notes(budget - taken, number, after_update)
        return self

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
        *,
        rngs: Sequence[np.random.Generator] | None = None,
    ) -> tuple[Any, Any]:
        """Actions for one observation or a batch, in kind.

        Args:
            observation: one, or a batch.
            state: handed back as it came; the policies have no memory.
            episode_start: not needed, the policies having no memory.
            deterministic: the most probable action instead of a sampled one.
            rngs: one generator a row; otherwise the agent's own prediction generator is used.

        Raises:
            InvalidObservationError: the observation is not one of the space.
        """
        if isinstance(self.action_space, spaces.Box):
            return self._gaussian(observation, deterministic, rngs), state
        policy = SimpleNamespace(
            env=Detached(self.observation_space, self.action_space),
            action_probabilities=self.action_probabilities,
            prediction_rng=self._prediction_rng,
        )
        actions = predict_actions(
            policy, observation, deterministic=deterministic, mask=None, rngs=rngs
        )
        return actions, state

    def action_probabilities(
        self, observations: Any, *, deterministic: bool, mask: Any = None
    ) -> NDArray[np.float64]:
        """π(a|s), shape [B, A]; each row is computed as if it were alone.

        DQN's policy is ε-greedy with the exploration rate that the training has reached.

        Args:
            observations: a batch of B.
            deterministic: all probability on the best action, the lowest index among equals.
            mask: part of the contract, but these policies know no masks; it is not read.

        Raises:
            UnsupportedSpaceError: the actions are not `Discrete`.
            InvalidObservationError: an observation is not one of the space.
        """
        if not isinstance(self.action_space, spaces.Discrete):
            raise UnsupportedSpaceError(
                f"only Discrete actions have action probabilities, these are {self.action_space}."
            )
        return self._probabilities(self._encoder.rows(observations)[0], deterministic)

    def state_values(self, observations: Any) -> NDArray[np.float64]:
        """v̂(s) of a batch, shape [B]: the critic's, or the largest Q-value."""
        rows, _ = self._encoder.rows(observations)
        if isinstance(self.config, DQNConfig):
            return self._outputs(rows).max(axis=1).astype(np.float64)
        with torch.no_grad(), single_thread():
            tensor = torch.from_numpy(rows).to(self.model.device)
            return self.model.policy.predict_values(tensor)[:, 0].cpu().numpy().astype(np.float64)

    def save(self, path: str | PathLike[str]) -> None:
        """Writes the policy, its settings and its spaces to exactly this path.

        Raises:
            CheckpointError: it cannot be written there, or a weight is not finite.
        """
        weights = self.model.policy.state_dict()
        save_checkpoint(
            path,
            agent=self.agent_id,
            config=self.config,
            arrays={name: tensor.detach().cpu().numpy() for name, tensor in weights.items()},
            state={
                "seed": self._seed,
                "num_timesteps": self.num_timesteps,
                "exploration_rate": float(getattr(self.model, "exploration_rate", 0.0)),
                "prediction_rng": generator_state(self._prediction_rng),
                "observation_space": space_to_json(self.observation_space),
                "action_space": space_to_json(self.action_space),
            },
        )

    @classmethod
    def load(
        cls, path: str | PathLike[str], env: Any = None, device: str = "cpu"
    ) -> StableBaselinesAgent:
        """Reads a checkpoint; the agent predicts, with or without `env`, but does not learn on.

        Raises:
            CheckpointError: the file cannot be used.
            SettingError: the device is not there.
        """
        found = load_checkpoint(path, agent=cls.agent_id, config_type=cls.config_type)
        agent = object.__new__(cls)
        agent.config, agent.env = found.config, env
        agent._seed = check_seed(found.value("seed", int))
        agent._loaded_from = str(found.path)
        spaces_ = [_space(found, f"{what}_space") for what in ("observation", "action")]
        number = getattr(found.config, "num_envs", 1)
        agent._build([Detached(*spaces_) for _ in range(number)], device)
        agent._restore(found)
        return agent

    def _restore(self, found: Checkpoint) -> None:
        weights = self.model.policy.state_dict()
        read = {name: found.array(name, tuple(w.shape), np.float32) for name, w in weights.items()}
        self.model.policy.load_state_dict({k: torch.from_numpy(v) for k, v in read.items()})
        self.model.num_timesteps = found.value("num_timesteps", int)
        if isinstance(self.config, DQNConfig):
            self.model.exploration_rate = found.value("exploration_rate", float)
        restore_generator(self._prediction_rng, found.value("prediction_rng", dict))

    def _schedule(self, value: Any) -> Any:
        """A number as it is; "lin_x" as x falling linearly to 0 over the horizon."""
        if not isinstance(value, str):
            return value
        start = linear_start(value)
        return lambda _: start * self._remaining()

    def _remaining(self) -> float:
        """What is left of the schedules: from 1 to 0 over the horizon, 0 beyond."""
        return 1.0 if self._horizon is None else max(0.0, 1.0 - self.num_timesteps / self._horizon)

    def _exploration(self, _: float) -> float:
        c = self.config
        progress = min(1.0, (1.0 - self._remaining()) / c.exploration_fraction)
        return float(
            c.exploration_initial_eps
            + progress * (c.exploration_final_eps - c.exploration_initial_eps)
        )

    def _outputs(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits, Q-values or means: the network at the fixed width of one row."""
        return evaluate_rows(self._layers(), rows, ACTIVATIONS[self.config.activation][1])

    def _layers(self) -> Layers:
        policy = self.model.policy
        if isinstance(self.config, DQNConfig):
            modules = list(policy.q_net.q_net)
        else:
            modules = [*policy.mlp_extractor.policy_net, policy.action_net]
        linear = [m for m in modules if isinstance(m, torch.nn.Linear)]
        return [host_layer(module.weight, module.bias) for module in linear]

    def _probabilities(self, rows: NDArray[np.float32], deterministic: bool) -> NDArray[np.float64]:
        outputs = self._outputs(rows).astype(np.float64)
        greedy = np.eye(outputs.shape[1])[outputs.argmax(axis=1)]
        if deterministic:
            return greedy
        if isinstance(self.config, DQNConfig):
            epsilon = float(self.model.exploration_rate)
            return (1 - epsilon) * greedy + epsilon / outputs.shape[1]
        pi = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        return pi / pi.sum(axis=1, keepdims=True)

    def _gaussian(self, observation: Any, deterministic: bool, rngs: Any) -> NDArray[Any]:
        """Actions of a Gaussian policy, one or a batch, clipped to the bounds."""
        space = self.action_space
        assert isinstance(space, spaces.Box)
        rows, single = self._encoder.rows(observation)
        actions = self._outputs(rows)
        if not deterministic:
            log_std = self.model.policy.log_std.detach().cpu().numpy()
            generators = per_row(rngs, self._prediction_rng, len(rows))
            actions = gaussian_actions(actions, log_std, generators)
        shaped = actions.reshape(len(rows), *space.shape)
        clipped = np.clip(shaped, space.low, space.high).astype(space.dtype)
        return clipped[0] if single else clipped


class PPO(StableBaselinesAgent):
    """`stable_baselines3.PPO` (Schulman et al. 2017)."""

    agent_id = "sb3/PPO-v0"
    algorithm = stable_baselines3.PPO
    config_type = PPOConfig


class A2C(StableBaselinesAgent):
    """`stable_baselines3.A2C` (Mnih et al. 2016)."""

    agent_id = "sb3/A2C-v0"
    algorithm = stable_baselines3.A2C
    config_type = A2CConfig


class DQN(StableBaselinesAgent):
    """`stable_baselines3.DQN` (Mnih et al. 2015)."""

    agent_id = "sb3/DQN-v0"
    algorithm = stable_baselines3.DQN
    config_type = DQNConfig


class _Rows(gym.Wrapper[Any, Any, Any, Any]):
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
        seed, self._first_seed = (self._first_seed if seed is None else seed), None
        observation, info = self.env.reset(seed=seed, options=options)
        return self._encoder.one(observation), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        if isinstance(self.action_space, spaces.Discrete):
            action = int(action)
        observation, reward, terminated, truncated, info = self.env.step(action)
        if not math.isfinite(reward):
            raise InvalidObservationError(
                f"the environment returned the reward {reward!r} for the action {action!r}."
            )
        return self._encoder.one(observation), float(reward), terminated, truncated, dict(info)


class _Budget(BaseCallback):
    """Stops their loop at the exact step, and lets a rollout that ends just there be learned."""

    def __init__(self, agent: StableBaselinesAgent, callback: Callback | None, end: int) -> None:
        super().__init__()
        self._agent, self._callback, self._end = agent, callback, end
        model, config = agent.model, agent.config
        period = config.train_freq if isinstance(config, DQNConfig) else config.n_steps
        self._rollout = period * model.n_envs
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


def _members(env: Any, number: int) -> list[gym.Env[Any, Any]]:
    """The single environments to train in, `number` of them."""
    if isinstance(env, gym.vector.VectorEnv) and not isinstance(env, gym.vector.SyncVectorEnv):
        raise SettingError(
            f"of vector environments, SyncVectorEnv can be adapted, got {type(env).__name__}; "
            "give one of those, or a single environment and num_envs."
        )
    return members_of(env, number)


def _check_actions(space: gym.Space[Any], config_type: type) -> None:
    if not isinstance(space, spaces.Box) or config_type is DQNConfig:
        discrete_size(space, "the actions of this agent of Stable-Baselines3")
    elif not space.is_bounded():
        raise UnsupportedSpaceError(f"Box actions need finite bounds, got {space}.")


def _space(found: Checkpoint, name: str) -> gym.Space[Any]:
    space = space_from_json(found.value(name, dict))
    if space is None:
        raise CheckpointError(f"{found.path} lacks its {name}.")
    return space


def _notes(rounded: int, number: int, after_update: int) -> tuple[str, ...]:
    notes = []
    if rounded:
        notes.append(f"{rounded} steps were not taken: {number} environments step together.")
    if after_update:
        notes.append(f"{after_update} steps came after the last update and taught nothing.")
    return tuple(notes)
