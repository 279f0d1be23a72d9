"""Deep Q-learning, DQN (Mnih et al. 2015, algorithm 1).

    L(θ) = E_(S, A, R, S')~replay[ h( Q(S, A; θ) - y ) ],   y = R + γ max_a Q(S', a; θ⁻)

h is the Huber loss, θ⁻ the weights of a target network that follows θ. It acts ε-greedily; each
step goes into a replay memory, and every `train_freq` steps `gradient_steps` minibatches of it are
learned from. Settings turn on what was found later: double Q-learning (van Hasselt et al. 2016),
the dueling form of the network (Wang et al. 2016), prioritised replay (Schaul et al. 2016), and
targets over several steps.

Differs from the paper: Adam instead of RMSProp, no clipped rewards, frames as they come, and a time
limit is not a terminal state, the target goes on there with the value of the last observation.
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
from registry.errors import DivergenceError
from registry.seeding import Stream, generator
from rlsuite_agents.functional.exploration import epsilon_greedy, epsilon_greedy_probabilities
from rlsuite_agents.functional.value_based import LARGEST_Q, LOSS, MEAN_ERROR, MEAN_Q
from rlsuite_agents.parts.agent_checkpoint import load_agent_checkpoint, save_agent_checkpoint
from rlsuite_agents.parts.collector import learn_in_lanes
from rlsuite_agents.parts.convolution import body_of
from rlsuite_agents.parts.device import fetched, resolve_device
from rlsuite_agents.parts.device_networks import DeviceQNetwork
from rlsuite_agents.parts.features import Encoder
from rlsuite_agents.parts.lanes import lanes_of
from rlsuite_agents.parts.metrics import start_clock, tell
from rlsuite_agents.parts.optimizers import adam, finite_norms
from rlsuite_agents.parts.predict import mask_rows, predict
from rlsuite_agents.parts.q_network import QNetwork
from rlsuite_agents.parts.replay import Replay
from rlsuite_agents.parts.rollout import EpisodeTotals
from rlsuite_agents.parts.schedules import check_horizon, check_rate, rate_at
from rlsuite_agents.parts.settings import (
    check_count,
    check_flag,
    check_network,
    check_range,
    check_replay,
    check_unread,
    hidden_layers,
)
from rlsuite_agents.parts.spaces import discrete_size, single_spaces

__all__ = ["DQN", "DQNConfig", "DQNMetrics"]

PRIORITY = ("priority_alpha", "priority_beta", "priority_beta_steps")


@dataclass(frozen=True, kw_only=True, slots=True)
class DQNConfig:
    """Settings of `DQN`. All steps are counted over all environments."""

    num_envs: int = 1  # N, environments stepped together
    total_timesteps: int | None = None  # horizon of a learning rate that falls
    learning_rate: float | str = 1e-3  # α of Adam, above 0, or "lin_x"
    buffer_size: int = 100_000  # transitions kept
    learning_starts: int = 100  # steps played at random before the first update
    batch_size: int = 32  # of a minibatch
    tau: float = 1.0  # τ, share of θ that enters θ⁻, in (0, 1]
    gamma: float = 0.99  # γ, in [0, 1]
    train_freq: int = 4  # steps between updates
    gradient_steps: int = 1  # minibatches of an update; -1: one for each step since the last
    n_steps: int = 1  # n, steps that a target spans
    target_update_interval: int = 500  # steps between updates of θ⁻
    exploration_initial_eps: float = 1.0  # ε at first, in [0, 1]
    exploration_final_eps: float = 0.05  # ε in the end, in [0, 1]
    exploration_steps: int = 10_000  # in which ε goes from the one to the other, linearly
    double: bool = False  # θ selects the action that θ⁻ values
    dueling: bool = False  # Q is a value plus advantages
    prioritized: bool = False  # what was learned badly is drawn more often
    priority_alpha: float = 0.6  # α of priorities, in [0, 1]; 0 draws evenly
    priority_beta: float = 0.4  # β of the weights at first, in [0, 1]
    priority_beta_steps: int = 100_000  # in which β rises to 1, linearly
    max_grad_norm: float = 10.0  # above 0
    net_arch: tuple[int, ...] | None = None  # hidden layers; None: (64, 64), of images ()
    activation: Literal["tanh", "relu"] = "relu"  # between them

    def __post_init__(self) -> None:
        check_replay(self)
        for name in ("n_steps", "target_update_interval", "exploration_steps", *PRIORITY[2:]):
            check_count(self, name, 1)
        for name in ("exploration_initial_eps", "exploration_final_eps", *PRIORITY[:2]):
            check_range(self, name, "[0, 1]")
        check_range(self, "max_grad_norm", "(0, inf]")
        for name in ("double", "dueling", "prioritized"):
            check_flag(self, name)
        check_network(self, none=True)
        check_rate(self, "learning_rate")
        check_horizon(self, "learning_rate")
        check_unread(self, PRIORITY, "prioritized is True", unless=self.prioritized)


@dataclass(frozen=True, kw_only=True, slots=True)
class DQNMetrics:
    """What one update did; means over all its minibatches. See `docs/agents/dqn.md`."""

    num_timesteps: int
    loss: float
    td_error: float
    q_mean: float
    q_max: float
    gradient_norm: float
    learning_rate: float
    epsilon: float
    gradient_steps: int
    buffer_fill: int
    episodes: int
    episode_return: float
    episode_length: float
    steps_per_second: float


class DQN:
    """DQN for `Discrete` actions, with masks.

    On a CPU it acts and learns in NumPy, by gradients written by hand and compiled loops; on CUDA,
    and from images, in torch.

    Attributes:
        metrics: of the latest update, None before the first.
        on_update: called with the metrics of each update, where it is set.
    """

    id = "rlsuite/DQN-v0"
    config_type = DQNConfig
    predict = predict

    def __init__(
        self, env: Any, config: DQNConfig = DQNConfig(), *, seed: int, device: str = "cpu"
    ) -> None:
        self.env, self.config, self.num_timesteps, self.unspent = env, config, 0, 0
        self.rng = generator(seed, Stream.AGENT, 0)
        self.prediction_rng = generator(seed, Stream.AGENT, 1)
        observation_space, action_space = single_spaces(env)
        self.encoder = Encoder(observation_space, images=True)
        self.device = resolve_device(device, images=self.encoder.image is not None)
        n_actions = discrete_size(action_space, "DQN's action space")
        self.networks = self._networks(n_actions, generator(seed, Stream.AGENT, 2))
        self.optimizer = adam(self.networks.parameters)
        self.replay = Replay(
            config.buffer_size,
            self.encoder.size,
            n_actions,
            dtype=self.encoder.dtype,
            lanes=config.num_envs,
            n_steps=config.n_steps,
            gamma=config.gamma,
            alpha=config.priority_alpha if config.prioritized else None,
        )
        self.session = lanes_of(env, config.num_envs, self.encoder, seed)
        self.episodes = EpisodeTotals(config.num_envs)
        self.metrics: DQNMetrics | None = None
        self.on_update: Callable[[DQNMetrics], Any] | None = None
        start_clock(self)

    def _networks(self, n_actions: int, rng: np.random.Generator) -> QNetwork | DeviceQNetwork:
        """By hand on a CPU; on a device, and behind convolutions, by autograd."""
        c, width, image = self.config, self.encoder.size, self.encoder.image
        rest = (n_actions, hidden_layers(c.net_arch, image), c.activation)
        settings: Any = {"tau": c.tau, "double": c.double, "dueling": c.dueling, "rng": rng}
        if image is None and self.device.type == "cpu":
            return QNetwork(width, *rest, **settings)
        return DeviceQNetwork(body_of(width, image), *rest, **settings, device=self.device)

    def learn(self, total_timesteps: int, callback: Callback | None = None) -> DQN:
        """Takes `total_timesteps` further steps, all environments together; may be called again.

        Steps too few for one of every environment are kept for the next call.

        Args:
            total_timesteps: at least 0.
            callback: called with the agent after each step of all environments; False stops.

        Raises:
            SettingError: the number is not whole or is negative.
            InvalidObservationError: an environment returned NaN.
            DivergenceError: the loss or its gradient is not finite any more.
        """
        start_clock(self)
        with self.networks.learning():
            return learn_in_lanes(self, total_timesteps, callback)

    @property
    def epsilon(self) -> float:
        """ε now: 1 before `learning_starts`."""
        c = self.config
        if self.num_timesteps < c.learning_starts:
            return 1.0
        way = c.exploration_initial_eps - c.exploration_final_eps
        falling = rate_at(f"lin_{way}", self.num_timesteps, c.exploration_steps)
        return c.exploration_final_eps + falling

    def step(self) -> int:
        """One step of every environment, and an update where one is due; how many steps."""
        c, lanes, before = self.config, self.session, self.num_timesteps
        seen, mask = lanes.observe()
        features, alive = seen.copy(), lanes.alive  # `seen` is overwritten by the step
        actions = self._explore(features, mask)
        stepped = lanes.step(actions, before)
        self.episodes.add(stepped, alive)
        self.replay.add(features, actions, stepped, lanes.reached_mask(), alive)
        taken = int(alive.sum())
        self.num_timesteps = now = before + taken
        if now // c.target_update_interval > before // c.target_update_interval:
            self.networks.follow()
        due = now // c.train_freq - before // c.train_freq
        if due and now >= c.learning_starts and len(self.replay):
            self._update(due * (c.train_freq if c.gradient_steps == -1 else c.gradient_steps))
        return taken

    def _explore(self, features: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[np.int64]:
        """An ε-greedy action for each row [N, d], each with a coin of its own."""
        q, epsilon = self.networks.values(features).tolist(), self.epsilon
        rows = mask.tolist() if len(mask) else [None] * len(q)
        chosen = [
            epsilon_greedy(row, epsilon, allowed, self.rng)
            for row, allowed in zip(q, rows, strict=True)
        ]
        return np.array(chosen, np.int64)

    def _update(self, minibatches: int) -> None:
        """So many steps of Adam, each on a minibatch drawn from the replay memory."""
        c = self.config
        learning_rate = rate_at(c.learning_rate, self.num_timesteps - 1, c.total_timesteps)
        left = rate_at(f"lin_{1.0 - c.priority_beta}", self.num_timesteps, c.priority_beta_steps)
        sums, norms = np.empty((minibatches, 4)), []
        for k in range(minibatches):
            batch = self.replay.draw(c.batch_size, self.rng, 1.0 - left)
            sums[k], errors = self.networks.gradient(batch)
            if not math.isfinite(sums[k, LOSS]):
                raise DivergenceError(
                    f"step {self.num_timesteps}: the loss is {sums[k, LOSS]}: the Q values have no "
                    "bounds. Lower learning_rate, raise target_update_interval, or scale rewards."
                )
            norms.append(self.optimizer.step(learning_rate, c.max_grad_norm))
            self.replay.learned(batch.rows, errors)
        self._tell(sums, float(finite_norms(fetched(norms)).mean()), learning_rate)

    def _tell(self, sums: NDArray[np.float64], norm: float, learning_rate: float) -> None:
        """The metrics of an update from what its minibatches [M, 4] gave."""
        mean = sums.mean(axis=0)
        tell(
            self,
            DQNMetrics,
            loss=float(mean[LOSS]),
            td_error=float(mean[MEAN_ERROR]),
            q_mean=float(mean[MEAN_Q]),
            q_max=float(sums[:, LARGEST_Q].max()),
            gradient_norm=norm,
            learning_rate=learning_rate,
            epsilon=self.epsilon,
            gradient_steps=len(sums),
            buffer_fill=len(self.replay),
        )

    def action_probabilities(
        self, observations: Any, *, deterministic: bool, mask: Any = None
    ) -> NDArray[np.float64]:
        """π(a|s), [B, A], ε-greedy at the present ε; each row is computed as if it were alone.

        Args:
            observations: a batch of B.
            deterministic: all probability on the best action, the lowest index among equals.
            mask: allowed actions, [B, A]; None is the observations' own `action_mask`, or all.

        Raises:
            InvalidObservationError: an observation is not one of the space.
        """
        q = self.action_values(observations)
        allowed = mask_rows(observations, mask)
        return epsilon_greedy_probabilities(q, self.epsilon, allowed, deterministic)

    def action_values(self, observations: Any) -> NDArray[np.float64]:
        """Q(s, ·) of a batch, [B, A]."""
        rows, _ = self.encoder.rows(observations)
        return self.networks.values_by_row(rows).astype(np.float64)

    def state_values(self, observations: Any) -> NDArray[np.float64]:
        """max_a Q(s, a) of a batch, [B], over the actions that the observations allow."""
        allowed = mask_rows(observations, None)
        q = self.action_values(observations)
        return (q if allowed is None else np.where(allowed, q, -np.inf)).max(axis=1)

    def save(self, path: str | PathLike[str]) -> None:
        """Writes all that is needed to go on bit for bit; see `parts.agent_checkpoint`."""
        arrays = {
            "parameters": self.networks.parameters.vector,
            "target": self.networks.target.vector,
            **self.optimizer.arrays(),
            **self.replay.arrays(),
            **self.episodes.arrays(),
        }
        save_agent_checkpoint(self, path, arrays, {"unspent": self.unspent})

    @classmethod
    def load(cls, path: str | PathLike[str], env: Any = None, device: str = "cpu") -> DQN:
        """Reads a checkpoint; without `env` the agent can predict, but not learn.

        Raises:
            CheckpointError: the file cannot be used, or belongs to another environment.
        """
        agent, found = load_agent_checkpoint(cls, path, env, device)
        networks = agent.networks
        for name, parameters in (("parameters", networks.parameters), ("target", networks.target)):
            parameters.put(found.array(name, parameters.vector.shape, np.float32))
        for part in (agent.optimizer, agent.replay, agent.episodes):
            part.restore(found)
        agent.unspent = int(found.value("own", dict)["unspent"])
        return agent
