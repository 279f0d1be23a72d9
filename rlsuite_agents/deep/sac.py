"""Soft actor-critic, SAC (Haarnoja et al. 2018b, algorithm 1), and its discrete form.

    L(θ_k) = E[ ½ (Q_k(S, A) - y)² ],   y = R + γ ( min_k Q⁻_k(S', A') - α log π(A'|S') )   (5, 6)
    L(φ) = E[ α log π(A|S) - min_k Q_k(S, A) ],   A ~ π_φ(·|S)                              (7, 9)
    L(α) = E[ -log α (log π(A|S) + H̄) ]                                                     (18)

Return and entropy are maximised together. Two critics are learned from a replay memory, and their
smaller value counts; each is followed by a target, Q⁻. A policy for `Box` actions is a Gaussian
squashed by tanh, and its gradient goes through the critic and the action. For `Discrete` actions it
is a softmax, and means over the action are exact (Christodoulou 2019).

Differs from the paper: the loss of α is that of the authors' code, with log α before the bracket;
a time limit is not a terminal state, the target goes on there with the value of the last
observation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from registry.contracts import Callback
from registry.errors import DivergenceError, SettingError
from registry.seeding import Stream, generator
from rlsuite_agents.functional.soft_actor_critic import CRITIC_LOSS, LARGEST_Q, MEAN_ERROR, MEAN_Q
from rlsuite_agents.parts.agent_checkpoint import load_agent_checkpoint, save_agent_checkpoint
from rlsuite_agents.parts.collector import learn_in_lanes
from rlsuite_agents.parts.device import resolve_device, single_thread
from rlsuite_agents.parts.features import Encoder
from rlsuite_agents.parts.images import check_rows
from rlsuite_agents.parts.lanes import lanes_of
from rlsuite_agents.parts.metrics import start_clock, tell
from rlsuite_agents.parts.mlp_gradient import Parameters
from rlsuite_agents.parts.optimizers import Adam
from rlsuite_agents.parts.replay import Replay
from rlsuite_agents.parts.rollout import EpisodeTotals
from rlsuite_agents.parts.schedules import check_horizon, check_rate, rate_at
from rlsuite_agents.parts.settings import check_network, check_range, check_replay, check_unread
from rlsuite_agents.parts.soft_networks import SquashedNetworks, soft_networks
from rlsuite_agents.parts.soft_policy import (
    action_probabilities,
    action_values,
    predict,
    state_values,
)
from rlsuite_agents.parts.spaces import single_spaces

__all__ = ["SAC", "SACConfig", "SACMetrics"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SACConfig:
    """Settings of `SAC`. All steps are counted over all environments."""

    num_envs: int = 1  # N, environments stepped together
    total_timesteps: int | None = None  # horizon of a learning rate that falls
    learning_rate: float | str = 3e-4  # of Adam for all three losses, above 0, or "lin_x"
    buffer_size: int = 1_000_000  # transitions kept
    learning_starts: int = 100  # steps played at random before the first update
    batch_size: int = 256  # of a minibatch
    tau: float = 0.005  # τ, share of a critic that enters its target, in (0, 1]
    gamma: float = 0.99  # γ, in [0, 1]
    train_freq: int = 1  # steps between updates
    gradient_steps: int = 1  # minibatches of an update; -1: one for each step since the last
    ent_coef: float | Literal["auto"] = "auto"  # α: learned, or fixed, at least 0
    ent_coef_init: float = 1.0  # α at first where it is learned, above 0
    target_entropy: float | None = None  # H̄; None: -dim A, or 0.98 of the largest if Discrete
    net_arch: tuple[int, ...] = (256, 256)  # hidden layers of each network
    activation: Literal["tanh", "relu"] = "relu"  # between them

    def __post_init__(self) -> None:
        check_replay(self)
        self._check_entropy()
        check_network(self)
        check_rate(self, "learning_rate")
        check_horizon(self, "learning_rate")

    def _check_entropy(self) -> None:
        check_range(self, "ent_coef_init", "(0, inf]")
        if self.target_entropy is not None:
            check_range(self, "target_entropy", "[-inf, inf]")
        if self.ent_coef == "auto":
            return
        if isinstance(self.ent_coef, str):
            raise SettingError(
                f"SACConfig.ent_coef must be 'auto' or a number in [0, inf], got "
                f"{self.ent_coef!r}; the α that 'auto' begins with is ent_coef_init."
            )
        check_range(self, "ent_coef", "[0, inf]")
        check_unread(self, ("target_entropy", "ent_coef_init"), "ent_coef is 'auto'")


@dataclass(frozen=True, kw_only=True, slots=True)
class SACMetrics:
    """What one update did; means over all its minibatches. See `docs/agents/sac.md`."""

    num_timesteps: int
    critic_loss: float
    policy_loss: float
    td_error: float
    q_mean: float
    q_max: float
    entropy: float
    alpha: float
    gradient_norm: float
    policy_gradient_norm: float
    learning_rate: float
    gradient_steps: int
    buffer_fill: int
    episodes: int
    episode_return: float
    episode_length: float
    steps_per_second: float


class SAC:
    """SAC for `Box` actions with finite bounds, and for `Discrete` actions with masks.

    It acts and learns in NumPy, by gradients written by hand and compiled loops.

    Attributes:
        metrics: of the latest update, None before the first.
        on_update: called with the metrics of each update, where it is set.
    """

    id = "rlsuite/SAC-v0"
    config_type = SACConfig
    predict = predict
    action_probabilities = action_probabilities
    action_values = action_values
    state_values = state_values

    def __init__(
        self, env: Any, config: SACConfig = SACConfig(), *, seed: int, device: str = "cpu"
    ) -> None:
        self.env, self.config, self.num_timesteps, self.unspent = env, config, 0, 0
        self.device = resolve_device(device)
        self.rng = generator(seed, Stream.AGENT, 0)
        self.prediction_rng = generator(seed, Stream.AGENT, 1)
        observation_space, action_space = single_spaces(env)
        check_rows(observation_space, "SAC")
        self.encoder = Encoder(observation_space)
        self.networks = soft_networks(
            self.encoder.size,
            action_space,
            config.net_arch,
            config.activation,
            config.tau,
            generator(seed, Stream.AGENT, 2),
            self.device,
        )
        self.continuous = isinstance(self.networks, SquashedNetworks)
        self.policy_optimizer = Adam(self.networks.policy_parameters)
        self.critic_optimizer = Adam(self.networks.critic_parameters)
        self.temperature = Parameters({"log_alpha": ()})
        self.temperature.vector[0] = math.log(config.ent_coef_init)
        self.temperature_optimizer = Adam(self.temperature)
        self.replay = Replay(
            config.buffer_size,
            self.encoder.size,
            self.networks.size,
            continuous=self.continuous,
            lanes=config.num_envs,
            gamma=config.gamma,
        )
        self.session = lanes_of(env, config.num_envs, self.encoder, seed)
        self.episodes = EpisodeTotals(config.num_envs)
        self.metrics: SACMetrics | None = None
        self.on_update: Callable[[SACMetrics], Any] | None = None
        start_clock(self)

    def learn(self, total_timesteps: int, callback: Callback | None = None) -> SAC:
        """Takes `total_timesteps` further steps, all environments together; may be called again.

        Steps too few for one of every environment are kept for the next call.

        Args:
            total_timesteps: at least 0.
            callback: called with the agent after each step of all environments; False stops.

        Raises:
            SettingError: the number is not whole or is negative.
            InvalidObservationError: an environment returned NaN.
            DivergenceError: a loss or its gradient is not finite any more.
        """
        start_clock(self)
        with single_thread():
            return learn_in_lanes(self, total_timesteps, callback)

    @property
    def alpha(self) -> float:
        """α now."""
        given = self.config.ent_coef
        return math.exp(self.temperature.vector[0]) if given == "auto" else float(given)

    def step(self) -> int:
        """One step of every environment, and an update where one is due; how many steps."""
        c, lanes, before = self.config, self.session, self.num_timesteps
        seen, mask = lanes.observe()
        features, alive = seen.copy(), lanes.alive  # `seen` is overwritten by the step
        if before < c.learning_starts:
            actions = self.networks.act_randomly(len(features), mask, self.rng)
        else:
            actions = self.networks.act(features, mask, self.rng)
        stepped = lanes.step(self.networks.played(actions), before)
        self.episodes.add(stepped, alive)
        self.replay.add(features, actions, stepped, lanes.reached_mask(), alive, mask)
        taken = int(alive.sum())
        self.num_timesteps = now = before + taken
        due = now // c.train_freq - before // c.train_freq
        if due and now >= c.learning_starts and len(self.replay):
            self._update(due * (c.train_freq if c.gradient_steps == -1 else c.gradient_steps))
        return taken

    def _update(self, minibatches: int) -> None:
        """So many steps of Adam for critics, policy and α, each on a minibatch drawn afresh."""
        c, networks, rng = self.config, self.networks, self.rng
        learning_rate = rate_at(c.learning_rate, self.num_timesteps - 1, c.total_timesteps)
        told = np.empty((minibatches, 9))
        for k in range(minibatches):
            batch, alpha = self.replay.draw(c.batch_size, rng), self.alpha
            critic = networks.critic_gradient(batch, alpha, rng)
            if not math.isfinite(critic[CRITIC_LOSS]):
                raise DivergenceError(
                    f"step {self.num_timesteps}: the critics' loss is {critic[CRITIC_LOSS]}: the Q "
                    "values have no bounds. Lower learning_rate or tau, or scale rewards."
                )
            critic_norm = self.critic_optimizer.step(learning_rate)
            policy_loss, entropy = networks.policy_gradient(batch, alpha, rng)
            policy_norm = self.policy_optimizer.step(learning_rate)
            if c.ent_coef == "auto":
                self._learn_alpha(entropy, batch, learning_rate)
            networks.follow()
            told[k] = *critic, policy_loss, entropy, alpha, critic_norm, policy_norm
        self._tell(told, learning_rate)

    def _learn_alpha(self, entropy: float, batch: Any, learning_rate: float) -> None:
        """A step down ∂L / ∂ log α = H - H̄: α falls while the entropy is above H̄."""
        keep = self.config.target_entropy
        self.temperature.gradient[0] = entropy - (
            self.networks.entropy_to_keep(batch) if keep is None else keep
        )
        self.temperature_optimizer.step(learning_rate)

    def _tell(self, told: NDArray[np.float64], learning_rate: float) -> None:
        """The metrics of an update from what its minibatches [M, 9] gave."""
        mean = told.mean(axis=0).tolist()
        tell(
            self,
            SACMetrics,
            critic_loss=mean[CRITIC_LOSS],
            policy_loss=mean[4],
            td_error=mean[MEAN_ERROR],
            q_mean=mean[MEAN_Q],
            q_max=float(told[:, LARGEST_Q].max()),
            entropy=mean[5],
            alpha=mean[6],
            gradient_norm=mean[7],
            policy_gradient_norm=mean[8],
            learning_rate=learning_rate,
            gradient_steps=len(told),
            buffer_fill=len(self.replay),
        )

    def save(self, path: str | PathLike[str]) -> None:
        """Writes all that is needed to go on bit for bit; see `parts.agent_checkpoint`."""
        arrays = {name: parameters.vector for name, parameters in self._vectors()}
        for name, optimizer in self._optimizers():
            arrays |= optimizer.arrays(name)
        arrays |= {**self.replay.arrays(), **self.episodes.arrays()}
        save_agent_checkpoint(self, path, arrays, {"unspent": self.unspent})

    @classmethod
    def load(cls, path: str | PathLike[str], env: Any = None, device: str = "cpu") -> SAC:
        """Reads a checkpoint; without `env` the agent can predict, but not learn.

        Raises:
            CheckpointError: the file cannot be used, or belongs to another environment.
        """
        agent, found = load_agent_checkpoint(cls, path, env, device)
        for name, parameters in agent._vectors():
            parameters.vector[:] = found.array(name, parameters.vector.shape, np.float32)
        for name, optimizer in agent._optimizers():
            optimizer.restore(found, name)
        for part in (agent.replay, agent.episodes):
            part.restore(found)
        agent.unspent = int(found.value("own", dict)["unspent"])
        return agent

    def _vectors(self) -> tuple[tuple[str, Parameters], ...]:
        return (
            ("policy", self.networks.policy_parameters),
            ("critics", self.networks.critic_parameters),
            ("targets", self.networks.target_parameters),
            ("temperature", self.temperature),
        )

    def _optimizers(self) -> tuple[tuple[str, Adam], ...]:
        return (
            ("policy_optimizer", self.policy_optimizer),
            ("critic_optimizer", self.critic_optimizer),
            ("temperature_optimizer", self.temperature_optimizer),
        )
