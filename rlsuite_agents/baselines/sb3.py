"""Stable-Baselines3's PPO, A2C, DQN and SAC behind our contract (Raffin et al. 2021).

The algorithms are theirs, line for line. What this adapter adds around them:

* observations are flattened to rows, whole numbers one-hot; a `VectorEnv` becomes their `VecEnv`;
* `learn(n)` takes n steps and not the next multiple of a rollout; schedules refer to the settings,
  so a run does not depend on how it was split into calls;
* random numbers come from streams of the agent's own, though the algorithms draw from the global
  generators, which are left as they were found;
* `action_probabilities`, and checkpoints without pickle.
"""

from __future__ import annotations

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
from stable_baselines3.common.logger import Logger

from registry.contracts import Callback
from registry.errors import (
    CheckpointError,
    UnsupportedSpaceError,
)
from registry.seeding import Stream, check_seed, generator, integer_seed, sequence
from rlsuite_agents.baselines.sb3_settings import (
    A2CConfig,
    DQNConfig,
    PPOConfig,
    SACConfig,
)
from rlsuite_agents.baselines.sb3_training import (
    Budget,
    Rows,
    check_actions,
    members,
    notes,
    vector_env,
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
from rlsuite_agents.parts.images import check_rows
from rlsuite_agents.parts.networks import Activation, Layers, evaluate_rows, host_layer, relu
from rlsuite_agents.parts.predict import per_row, predict_actions
from rlsuite_agents.parts.schedules import linear_start
from rlsuite_agents.parts.spaces import (
    Detached,
    space_from_json,
    space_to_json,
)

__all__ = [
    "A2C",
    "DQN",
    "PPO",
    "SAC",
    "A2CConfig",
    "DQNConfig",
    "PPOConfig",
    "SACConfig",
    "StableBaselinesAgent",
]

OURS = (  # the other settings are keywords of their classes
    "num_envs",
    "total_timesteps",
    "net_arch",
    "activation",
    "normalize_observations",
    "normalize_rewards",
)
LOG_STD = (-20.0, 2.0)  # their bounds of SAC's log σ
SCHEDULES = ("learning_rate", "clip_range", "clip_range_vf")
ACTIVATIONS: dict[str, tuple[Any, Activation]] = {
    "tanh": (torch.nn.Tanh, np.tanh),
    "relu": (torch.nn.ReLU, relu),
}


class StableBaselinesAgent:
    """The adapter; `PPO`, `A2C`, `DQN` and `SAC` name what it adapts. Never created itself.

    Attributes:
        model: the object of Stable-Baselines3.
        unused_timesteps: steps of the last `learn` that taught nothing: those after the last
            update, and those too few for one more step of all environments.
        notes: the same as sentences.
    """

    agent_id: ClassVar[str]
    algorithm: ClassVar[Any]
    config_type: ClassVar[type]
    off_policy: ClassVar[bool] = False  # whether it learns from a replay memory

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
        self._build(members(env, getattr(self.config, "num_envs", 1)), device)

    def _build(self, envs: Sequence[gym.Env[Any, Any]], device: str) -> None:
        self.observation_space = envs[0].observation_space
        self.action_space = envs[0].action_space
        check_actions(self.action_space, self.config_type)
        check_rows(self.observation_space, self.agent_id)
        self._encoder = encoder = Encoder(self.observation_space)
        self.unused_timesteps, self.notes = 0, ()  # type: int, tuple[str, ...]
        self._horizon: int | None = self.config.total_timesteps
        self.model: Any = None
        where = resolve_device(device)
        self._streams = GlobalStreams(sequence(self._seed, Stream.AGENT, 0), where)
        self._prediction_rng = generator(self._seed, Stream.AGENT, 1)
        rows = [
            Rows(env, encoder, integer_seed(self._seed, Stream.ENVIRONMENT, k))
            for k, env in enumerate(envs)
        ]
        given = {f.name: getattr(self.config, f.name) for f in fields(self.config)}
        with self._streams.installed(), single_thread():
            self.model = self.algorithm(
                "MlpPolicy",
                vector_env(rows, self.config),
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
        budget_callback = Budget(self, callback, self.num_timesteps + taken)
        if taken:
            with self._streams.installed(), single_thread():
                self.model.learn(
                    taken, callback=budget_callback, log_interval=None, reset_num_timesteps=False
                )
        after_update = budget_callback.since_update if budget_callback.cut else 0
        self.unused_timesteps = budget - taken + after_update
        self.notes = notes(budget - taken, number, after_update)
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
        return self._probabilities(self._features(observations)[0], deterministic)

    def state_values(self, observations: Any) -> NDArray[np.float64]:
        """v̂(s) of a batch, shape [B].

        The critic's; DQN's largest Q-value; of SAC the smaller Q-value of the most probable action.
        """
        rows = self._features(observations)[0]
        if isinstance(self.config, DQNConfig):
            return self._outputs(rows).max(axis=1).astype(np.float64)
        policy = self.model.policy
        with torch.no_grad(), single_thread():
            tensor = torch.from_numpy(rows).to(self.model.device)
            if isinstance(self.config, SACConfig):
                twins = policy.critic(tensor, policy.actor(tensor, deterministic=True))
                values = torch.minimum(*twins)
            else:
                values = policy.predict_values(tensor)
            return values[:, 0].cpu().numpy().astype(np.float64)

    def save(self, path: str | PathLike[str]) -> None:
        """Writes the policy, its settings and its spaces to exactly this path.

        Raises:
            CheckpointError: it cannot be written there, or a weight is not finite.
        """
        weights = self.model.policy.state_dict()
        arrays = {name: tensor.detach().cpu().numpy() for name, tensor in weights.items()}
        if self._moments is not None:
            arrays |= {
                "observations.mean": self._moments.mean,
                "observations.var": self._moments.var,
            }
        save_checkpoint(
            path,
            agent=self.agent_id,
            config=self.config,
            arrays=arrays,
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
        if (moments := self._moments) is not None:
            moments.mean = found.array("observations.mean", moments.mean.shape)
            moments.var = found.array("observations.var", moments.var.shape)
        self.model.num_timesteps = found.value("num_timesteps", int)
        if isinstance(self.config, DQNConfig):
            self.model.exploration_rate = found.value("exploration_rate", float)
        restore_generator(self._prediction_rng, found.value("prediction_rng", dict))

    @property
    def _moments(self) -> Any:
        """Mean and variance by which observations are normalised; None where they are not."""
        normalizer = self.model.get_vec_normalize_env()
        return normalizer.obs_rms if normalizer is not None and normalizer.norm_obs else None

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

    def _features(self, observations: Any) -> tuple[NDArray[np.float32], bool]:
        """Rows [B, d] as the networks read them, and whether the observation was a single one."""
        rows, single = self._encoder.rows(observations)
        normalizer = self.model.get_vec_normalize_env()
        return (rows if normalizer is None else normalizer.normalize_obs(rows)), single

    def _outputs(self, rows: NDArray[np.float32], head: str = "mu") -> NDArray[np.float32]:
        """Logits, Q-values or means: the network at the fixed width of one row; `head` is SAC's."""
        return evaluate_rows(self._layers(head), rows, ACTIVATIONS[self.config.activation][1])

    def _layers(self, head: str) -> Layers:
        policy = self.model.policy
        if isinstance(self.config, DQNConfig):
            modules = list(policy.q_net.q_net)
        elif isinstance(self.config, SACConfig):
            modules = [*policy.actor.latent_pi, getattr(policy.actor, head)]
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
        """Actions of a Gaussian policy, one or a batch, clipped to the bounds or squashed."""
        space, squashed = self.action_space, isinstance(self.config, SACConfig)
        assert isinstance(space, spaces.Box)
        rows, single = self._features(observation)
        actions = self._outputs(rows)
        if not deterministic:
            if squashed:
                log_std = np.clip(self._outputs(rows, "log_std"), *LOG_STD)
            else:
                log_std = self.model.policy.log_std.detach().cpu().numpy()
            generators = per_row(rngs, self._prediction_rng, len(rows))
            actions = gaussian_actions(actions, log_std, generators)
        shaped = actions.reshape(len(rows), *space.shape)
        if squashed:
            shaped = space.low + (np.tanh(shaped) + 1.0) * 0.5 * (space.high - space.low)
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
    off_policy = True


class SAC(StableBaselinesAgent):
    """`stable_baselines3.SAC` (Haarnoja et al. 2018)."""

    agent_id = "sb3/SAC-v0"
    algorithm = stable_baselines3.SAC
    config_type = SACConfig
    off_policy = True


def _space(found: Checkpoint, name: str) -> gym.Space[Any]:
    space = space_from_json(found.value(name, dict))
    if space is None:
        raise CheckpointError(f"{found.path} lacks its {name}.")
    return space
