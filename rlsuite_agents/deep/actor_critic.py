"""Actor-critic with eligibility traces (Sutton & Barto, 2nd ed., 13.5; one-step where λ is 0).

    δ = R + γ v̂(S', w) - v̂(S, w)
    z_w ← γ λ_w z_w + ∇ v̂(S, w),              w ← w + α δ z_w
    z_θ ← γ λ_θ z_θ + I ∇ log π(A|S, θ),      θ ← θ + α δ z_θ,      I ← γ I

It learns after every step, from that step alone; traces remember what came before. They are 0, and
I is 1, where an episode begins.

Differs from the boxes: the step along δ z is one of Adam, on the mean over `num_envs` environments;
I stays 1 unless `discount_states` is set; the entropy can be rewarded; a time limit is not a
terminal state, δ goes on there with v̂ of the last observation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rlsuite_agents.functional.actor_critic import ENTROPY
from rlsuite_agents.parts.actor_critic import ActorCritic as Networks
from rlsuite_agents.parts.actor_critic import Experience, LossSettings
from rlsuite_agents.parts.actor_critic_agent import learn, load, save, set_up, step
from rlsuite_agents.parts.actor_critic_policy import action_probabilities, predict, state_values
from rlsuite_agents.parts.checkpoint import Checkpoint
from rlsuite_agents.parts.collector import Collector
from rlsuite_agents.parts.device import fetched
from rlsuite_agents.parts.metrics import tell
from rlsuite_agents.parts.mlp_gradient import Parameters
from rlsuite_agents.parts.optimizers import adam, finite_norms
from rlsuite_agents.parts.rollout import EpisodeTotals, Rollout
from rlsuite_agents.parts.schedules import check_horizon, check_rate, rate_at
from rlsuite_agents.parts.settings import check_count, check_flag, check_network, check_range

__all__ = ["ActorCritic", "ActorCriticConfig", "ActorCriticMetrics"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ActorCriticConfig:
    """Settings of `ActorCritic`. A rate "lin_x" falls from x to 0 over `total_timesteps`."""

    num_envs: int = 1  # N, environments stepped together
    total_timesteps: int | None = None  # horizon of a rate that falls
    learning_rate: float | str = 3e-4  # α of Adam, above 0, or "lin_x"
    gamma: float = 0.99  # γ, in [0, 1]
    actor_lambda: float = 0.0  # λ_θ, in [0, 1]
    critic_lambda: float = 0.0  # λ_w, in [0, 1]
    discount_states: bool = False  # I = γ^t instead of 1
    ent_coef: float = 0.0  # weight of the entropy, at least 0
    max_grad_norm: float | None = None  # above 0; None clips nothing
    net_arch: tuple[int, ...] = (64, 64)  # hidden layers of each network
    activation: Literal["tanh", "relu"] = "tanh"  # between them
    normalize_observations: bool = False  # by running mean and standard deviation
    normalize_rewards: bool = False  # by the running standard deviation of the return
    metrics_interval: int = 1_000  # updates that the metrics are means over

    def __post_init__(self) -> None:
        for name in ("num_envs", "metrics_interval"):
            check_count(self, name, 1)
        for name in ("gamma", "actor_lambda", "critic_lambda"):
            check_range(self, name, "[0, 1]")
        check_range(self, "ent_coef", "[0, inf]")
        if self.max_grad_norm is not None:
            check_range(self, "max_grad_norm", "(0, inf]")
        for name in ("discount_states", "normalize_observations", "normalize_rewards"):
            check_flag(self, name)
        check_network(self)
        check_rate(self, "learning_rate")
        check_horizon(self, "learning_rate")


@dataclass(frozen=True, kw_only=True, slots=True)
class ActorCriticMetrics:
    """What the latest `metrics_interval` updates did. See `docs/agents/actor_critic.md`."""

    num_timesteps: int
    policy_loss: float
    value_loss: float
    entropy: float
    explained_variance: float
    gradient_norm: float
    advantage_mean: float
    advantage_std: float
    learning_rate: float
    episodes: int
    episode_return: float
    episode_length: float
    steps_per_second: float


class ActorCritic:
    """Actor-critic for `Discrete` actions with masks, and for `Box` actions.

    It acts and learns in NumPy, by gradients written by hand and compiled loops.

    Attributes:
        metrics: of the latest `metrics_interval` updates, None before.
        on_update: called with them, where it is set.
    """

    id = "rlsuite/ActorCritic-v0"
    config_type = ActorCriticConfig
    learn = learn
    step = step
    predict = predict
    action_probabilities = action_probabilities
    state_values = state_values
    save = save
    load = classmethod(load)

    config: ActorCriticConfig
    rng: np.random.Generator
    num_timesteps: int
    networks: Networks
    collector: Collector
    rollout: Rollout
    episodes: EpisodeTotals
    metrics: ActorCriticMetrics | None
    on_update: Callable[[ActorCriticMetrics], Any] | None

    def __init__(
        self,
        env: Any,
        config: ActorCriticConfig = ActorCriticConfig(),
        *,
        seed: int,
        device: str = "cpu",
    ) -> None:
        set_up(self, env, config, seed, device, partial(Rollout, 1, config.num_envs))
        self.optimizer = TracedAdam(self.networks.parameters, config)

    def update(self) -> None:
        """One step of Adam along δ z, from the latest step of each environment."""
        c, lanes = self.config, np.flatnonzero(self.rollout.alive[0])
        over = np.flatnonzero(self.rollout.terminated[0] | self.rollout.truncated[0])
        e = self.rollout.experience(self.networks.values_of, c.gamma, 0.0)  # A = δ
        learning_rate = rate_at(c.learning_rate, self.num_timesteps - 1, c.total_timesteps)
        entropy = self._gradient(e, lanes)
        norms = fetched([self.optimizer.step(learning_rate, c.max_grad_norm or math.inf)])
        self.optimizer.forget(lanes, over)
        self.optimizer.count(e, entropy, float(finite_norms(norms)[0]))
        if self.optimizer.updates == c.metrics_interval:
            tell(self, ActorCriticMetrics, learning_rate=learning_rate, **self.optimizer.told())

    def _gradient(self, e: Experience, lanes: NDArray[np.int64]) -> float:
        """Writes minus the mean of δ z, and of the entropy's gradient; returns the entropy."""
        traces, n = self.optimizer, self.networks
        # A = I and v̂ - G = -1 make the gradient of the loss that of -(I log π + v̂).
        eligible = replace(e, advantages=traces.discount[lanes], returns=e.values + 1)
        eligible, entropy = eligible.placed(n.place), 0.0
        total: NDArray[np.float32] = np.zeros(len(n.parameters.vector), np.float32)
        for row, lane in enumerate(lanes.tolist()):
            entropy += n.gradient(eligible, n.place(np.array([row])), ELIGIBILITY)[ENTROPY]
            total += e.advantages[row] * traces.add(lane, n.parameters.gradient)
        if self.config.ent_coef:
            calm = replace(e, advantages=np.zeros_like(e.advantages))
            loss = LossSettings(math.inf, math.inf, self.config.ent_coef, 0.0, False)
            n.gradient(calm.placed(n.place), n.place(np.arange(len(e))), loss)
            total += len(e) * n.parameters.gradient
        total /= len(e)
        n.parameters.put_gradient(total)
        return float(entropy) / len(e)


ELIGIBILITY = LossSettings(math.inf, math.inf, 0.0, 0.5, False)


class TracedAdam:
    """Adam, the traces z and I of every environment, and what is told of the latest updates.

    Attributes:
        discount: I, [N].
        updates: since the metrics were told.
    """

    def __init__(self, parameters: Parameters, config: ActorCriticConfig) -> None:
        """Traces of 0, and I = 1."""
        c, n = config, config.num_envs
        self.adam = adam(parameters, eps=1e-5)
        self.step = self.adam.step
        self.discount = np.ones(n, np.float32)
        self.updates = 0
        self._z = np.zeros((n, len(parameters.vector)), np.float32)
        self._fall = np.float32(c.gamma if c.discount_states else 1.0)  # of I
        lambdas = [
            np.full(value.size, c.critic_lambda if name.startswith("value") else c.actor_lambda)
            for name, value in parameters.values.items()
        ]
        self._decay = (c.gamma * np.concatenate(lambdas)).astype(np.float32)  # [P]
        self._sums = np.zeros(7)

    def add(self, lane: int, gradient: NDArray[np.float32]) -> NDArray[np.float32]:
        """Z of one environment, [P], after z ← γ λ z + gradient."""
        z: NDArray[np.float32] = self._z[lane]
        z *= self._decay
        z += gradient
        return z

    def forget(self, lanes: NDArray[np.int64], over: NDArray[np.int64]) -> None:
        """I ← γ I where a step was taken; where episodes are over, z ← 0 and I ← 1."""
        self.discount[lanes] *= self._fall
        self._z[over], self.discount[over] = 0.0, 1.0

    def count(self, e: Experience, entropy: float, norm: float) -> None:
        """Adds an update to the metrics."""
        self.updates += 1
        delta, g = e.advantages.astype(np.float64), e.returns.astype(np.float64)
        powers = (delta.sum(), delta @ delta, g.sum(), g @ g)
        self._sums += np.array([len(e), *powers, entropy, norm])

    def told(self) -> dict[str, float]:
        """The metrics since they were told; they begin anew."""
        n, delta, squares, g, g_squares, entropy, norm = self._sums.tolist()
        spread, error = g_squares / n - (g / n) ** 2, squares / n - (delta / n) ** 2
        found = {
            "policy_loss": -delta / n,
            "value_loss": squares / n,
            "entropy": entropy / self.updates,
            "explained_variance": 1.0 - error / spread if spread > 0 else math.nan,
            "gradient_norm": norm / self.updates,
            "advantage_mean": delta / n,
            "advantage_std": math.sqrt(max(error, 0.0)),
        }
        self.updates = 0
        self._sums[:] = 0.0
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        """For a checkpoint."""
        return {
            **self.adam.arrays(),
            "traces.z": self._z,
            "traces.discount": self.discount,
            "traces.sums": self._sums,
            "traces.updates": np.array(self.updates, np.int64),
        }

    def restore(self, found: Checkpoint) -> None:
        """Goes on from `arrays`; raises `CheckpointError` where they do not fit."""
        self.adam.restore(found)
        self._z = found.array("traces.z", self._z.shape, np.float32)
        self.discount = found.array("traces.discount", self.discount.shape, np.float32)
        self._sums = found.array("traces.sums", self._sums.shape)
        self.updates = int(found.array("traces.updates", (), np.int64))
