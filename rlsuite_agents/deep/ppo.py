"""Proximal policy optimisation, PPO (Schulman et al. 2017, algorithm 1, the clipped surrogate).

    L(θ) = -E_t[ min(r_t A_t, clip(r_t, 1 - ε, 1 + ε) A_t) + c₂ H(π_θ(·|S_t)) ]
           + c₁ E_t[ (v_θ(S_t) - G_t)² ],      r_t = π_θ(A_t|S_t) / π_old(A_t|S_t)   (eq. 7 and 9)

with generalised advantages A_t (Schulman et al. 2016) and G_t = A_t + v_old(S_t). After `n_steps`
steps of each of `num_envs` environments, `n_epochs` passes of Adam are made over the rollout.

Differs from the paper in what Huang et al. (2022, "The 37 implementation details of PPO") found in
the code of its authors: orthogonal weights, two separate networks, advantages normalised in each
minibatch, the gradient clipped by its norm. Differs from that code: a time limit is not a terminal
state, the target goes on there with the value of the last observation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from registry.errors import SettingError
from rlsuite_agents.functional.actor_critic import CLIPPED, ENTROPY, KL, POLICY_LOSS, VALUE_LOSS
from rlsuite_agents.parts.actor_critic import ActorCritic, Experience, LossSettings
from rlsuite_agents.parts.actor_critic_agent import learn, load, save, set_up, step
from rlsuite_agents.parts.actor_critic_policy import action_probabilities, predict, state_values
from rlsuite_agents.parts.collector import Collector
from rlsuite_agents.parts.device import fetched
from rlsuite_agents.parts.metrics import of_advantages, tell
from rlsuite_agents.parts.optimizers import adam, finite_norms
from rlsuite_agents.parts.rollout import EpisodeTotals, Rollout
from rlsuite_agents.parts.schedules import check_horizon, check_rate, rate_at
from rlsuite_agents.parts.settings import check_count, check_flag, check_network, check_range

__all__ = ["PPO", "PPOConfig", "PPOMetrics"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PPOConfig:
    """Settings of `PPO`. A rate "lin_x" falls linearly from x to 0 over `total_timesteps`."""

    num_envs: int = 1  # N, environments stepped together
    total_timesteps: int | None = None  # horizon of the rates that fall
    n_steps: int = 128  # T, steps of each environment in a rollout
    batch_size: int = 64  # of a minibatch, at most N T
    n_epochs: int = 10  # passes over each rollout
    learning_rate: float | str = 3e-4  # α of Adam, above 0, or "lin_x"
    gamma: float = 0.99  # γ, in [0, 1]
    gae_lambda: float = 0.95  # λ, in [0, 1]
    clip_range: float | str = 0.2  # ε of the ratio, above 0, or "lin_x"
    clip_range_vf: float | str | None = None  # the same of the values; None clips nothing
    normalize_advantage: bool = True  # per minibatch
    ent_coef: float = 0.0  # c₂, at least 0
    vf_coef: float = 0.5  # c₁, at least 0
    max_grad_norm: float = 0.5  # above 0
    target_kl: float | None = None  # the epochs stop beyond 1.5 times this; None: never
    net_arch: tuple[int, ...] | None = None  # hidden layers; None: (64, 64), of images ()
    activation: Literal["tanh", "relu"] = "tanh"  # between them
    normalize_observations: bool = False  # by running mean and standard deviation
    normalize_rewards: bool = False  # by the running standard deviation of the return

    def __post_init__(self) -> None:
        for name in ("num_envs", "n_steps", "batch_size", "n_epochs"):
            check_count(self, name, 1)
        for name in ("gamma", "gae_lambda"):
            check_range(self, name, "[0, 1]")
        for name in ("ent_coef", "vf_coef"):
            check_range(self, name, "[0, inf]")
        check_range(self, "max_grad_norm", "(0, inf]")
        if self.target_kl is not None:
            check_range(self, "target_kl", "(0, inf]")
        for name in ("normalize_advantage", "normalize_observations", "normalize_rewards"):
            check_flag(self, name)
        check_network(self, none=True)
        check_rate(self, "learning_rate")
        check_rate(self, "clip_range")
        check_rate(self, "clip_range_vf", none=True)
        check_horizon(self, "learning_rate", "clip_range", "clip_range_vf")
        if self.batch_size > self.num_envs * self.n_steps:
            raise SettingError(
                f"PPOConfig.batch_size must be at most num_envs * n_steps, the "
                f"{self.num_envs * self.n_steps} steps of a rollout, got {self.batch_size}."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class PPOMetrics:
    """What one update did; losses are means over all its minibatches. See `docs/agents/ppo.md`."""

    num_timesteps: int
    policy_loss: float
    value_loss: float
    entropy: float
    approx_kl: float
    clip_fraction: float
    explained_variance: float
    gradient_norm: float
    advantage_mean: float
    advantage_std: float
    learning_rate: float
    clip_range: float
    gradient_steps: int
    episodes: int
    episode_return: float
    episode_length: float
    steps_per_second: float


class PPO:
    """PPO for `Discrete` actions with masks, and for `Box` actions.

    On a CPU it acts and learns in NumPy, by gradients written by hand and compiled loops; on CUDA,
    and from images, in torch.

    Attributes:
        metrics: of the latest update, None before the first.
        on_update: called with the metrics of each update, where it is set.
    """

    id = "rlsuite/PPO-v0"
    config_type = PPOConfig
    learn = learn
    step = step
    predict = predict
    action_probabilities = action_probabilities
    state_values = state_values
    save = save
    load = classmethod(load)

    config: PPOConfig
    rng: np.random.Generator
    num_timesteps: int
    networks: ActorCritic
    collector: Collector
    rollout: Rollout
    episodes: EpisodeTotals
    metrics: PPOMetrics | None
    on_update: Callable[[PPOMetrics], Any] | None

    def __init__(
        self, env: Any, config: PPOConfig = PPOConfig(), *, seed: int, device: str = "cpu"
    ) -> None:
        make_rollout = partial(Rollout, config.n_steps, config.num_envs)
        set_up(self, env, config, seed, device, make_rollout)
        self.optimizer = adam(self.networks.parameters, eps=1e-5)

    def update(self) -> None:
        """`n_epochs` passes over the rollout in minibatches."""
        c, n = self.config, self.networks
        e = self.rollout.experience(n.values_of, c.gamma, c.gae_lambda, n.place)
        learning_rate, loss = self._rates(self.num_timesteps - len(e))
        sums, norms = self._epochs(e, learning_rate, loss)
        mean = sums.mean(axis=0)
        tell(
            self,
            PPOMetrics,
            policy_loss=float(mean[POLICY_LOSS]),
            value_loss=float(mean[VALUE_LOSS]),
            entropy=float(mean[ENTROPY]),
            approx_kl=float(mean[KL]),
            clip_fraction=float(mean[CLIPPED]),
            gradient_norm=float(norms.mean()) if len(norms) else math.nan,
            learning_rate=learning_rate,
            clip_range=loss.clip_range,
            gradient_steps=len(norms),
            **of_advantages(e),
        )

    def _rates(self, step: int) -> tuple[float, LossSettings]:
        """α and the numbers in the loss, of a rollout that began after this step."""
        c = self.config
        clip_range, clip_range_vf = (
            math.inf if rate is None else rate_at(rate, step, c.total_timesteps)
            for rate in (c.clip_range, c.clip_range_vf)
        )
        loss = LossSettings(clip_range, clip_range_vf, c.ent_coef, c.vf_coef, c.normalize_advantage)
        return rate_at(c.learning_rate, step, c.total_timesteps), loss

    def _epochs(
        self, e: Experience, learning_rate: float, loss: LossSettings
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The gradient steps: means of each minibatch [M, 5], norm of each gradient taken."""
        c, n = self.config, self.networks
        e = e.placed(n.place)
        sums: list[Any] = []
        norms: list[Any] = []
        for _ in range(c.n_epochs):
            order = n.place(self.rng.permutation(len(e)))
            for start in range(0, len(e), c.batch_size):
                sums.append(n.gradient(e, order[start : start + c.batch_size], loss))
                if c.target_kl is not None and sums[-1][KL] > 1.5 * c.target_kl:
                    return fetched(sums), finite_norms(fetched(norms))
                norms.append(self.optimizer.step(learning_rate, c.max_grad_norm))
        return fetched(sums), finite_norms(fetched(norms))
