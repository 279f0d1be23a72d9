"""Advantage actor-critic, A2C (Mnih et al. 2016, algorithm S3, in lockstep).

    L(θ) = -E_t[ A_t log π_θ(A_t|S_t) + c₂ H(π_θ(·|S_t)) ] + c₁ E_t[ (v_θ(S_t) - G_t)² ]

with G_t the return of the next `n_steps` rewards, closed by v_θ, and A_t = G_t - v_θ(S_t); with
`gae_lambda` below 1 A_t are generalised advantages. After `n_steps` steps of each of `num_envs`
environments one step of RMSprop is made.

Differs from the paper: the environments wait for each other, so that there is one gradient instead
of many stale ones (A2C instead of A3C); two separate networks; the gradient is clipped by its norm;
a time limit is not a terminal state. It is computed as PPO's with nothing clipped, in one pass over
the whole rollout, where the ratio is 1 (Huang et al. 2022, "A2C is a special case of PPO").
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from registry.errors import SettingError
from rlsuite_agents.functional.actor_critic import ENTROPY, POLICY_LOSS, VALUE_LOSS
from rlsuite_agents.parts.actor_critic import ActorCritic, LossSettings
from rlsuite_agents.parts.actor_critic_agent import learn, load, save, set_up, step
from rlsuite_agents.parts.actor_critic_policy import action_probabilities, predict, state_values
from rlsuite_agents.parts.collector import Collector
from rlsuite_agents.parts.device import fetched
from rlsuite_agents.parts.metrics import of_advantages, tell
from rlsuite_agents.parts.optimizers import finite_norms, rmsprop
from rlsuite_agents.parts.rollout import EpisodeTotals, Rollout
from rlsuite_agents.parts.schedules import check_horizon, check_rate, rate_at
from rlsuite_agents.parts.settings import check_count, check_flag, check_network, check_range

__all__ = ["A2C", "A2CConfig", "A2CMetrics"]


@dataclass(frozen=True, kw_only=True, slots=True)
class A2CConfig:
    """Settings of `A2C`. A rate "lin_x" falls linearly from x to 0 over `total_timesteps`."""

    num_envs: int = 1  # N, environments stepped together
    total_timesteps: int | None = None  # horizon of a rate that falls
    n_steps: int = 5  # T, steps of each environment in a rollout
    learning_rate: float | str = 7e-4  # α of RMSprop, above 0, or "lin_x"
    gamma: float = 0.99  # γ, in [0, 1]
    gae_lambda: float = 1.0  # λ, in [0, 1]
    normalize_advantage: bool = False  # per rollout
    ent_coef: float = 0.0  # c₂, at least 0
    vf_coef: float = 0.5  # c₁, at least 0
    max_grad_norm: float = 0.5  # above 0
    rms_prop_eps: float = 1e-5  # ε of RMSprop, above 0
    net_arch: tuple[int, ...] | None = None  # hidden layers; None: (64, 64), of images ()
    activation: Literal["tanh", "relu"] = "tanh"  # between them
    normalize_observations: bool = False  # by running mean and standard deviation
    normalize_rewards: bool = False  # by the running standard deviation of the return

    def __post_init__(self) -> None:
        for name in ("num_envs", "n_steps"):
            check_count(self, name, 1)
        for name in ("gamma", "gae_lambda"):
            check_range(self, name, "[0, 1]")
        for name in ("ent_coef", "vf_coef"):
            check_range(self, name, "[0, inf]")
        for name in ("max_grad_norm", "rms_prop_eps"):
            check_range(self, name, "(0, inf]")
        for name in ("normalize_advantage", "normalize_observations", "normalize_rewards"):
            check_flag(self, name)
        check_network(self, none=True)
        check_rate(self, "learning_rate")
        check_horizon(self, "learning_rate")
        if self.normalize_advantage and self.num_envs * self.n_steps < 2:
            raise SettingError(
                "A2CConfig.normalize_advantage needs a rollout of at least 2 steps, got "
                f"num_envs {self.num_envs} and n_steps {self.n_steps}."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class A2CMetrics:
    """What one update did. See `docs/agents/a2c.md`."""

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


class A2C:
    """A2C for `Discrete` actions with masks, and for `Box` actions.

    On a CPU it acts and learns in NumPy, by gradients written by hand and compiled loops; on CUDA,
    and from images, in torch.

    Attributes:
        metrics: of the latest update, None before the first.
        on_update: called with the metrics of each update, where it is set.
    """

    id = "rlsuite/A2C-v0"
    config_type = A2CConfig
    learn = learn
    step = step
    predict = predict
    action_probabilities = action_probabilities
    state_values = state_values
    save = save
    load = classmethod(load)

    config: A2CConfig
    rng: np.random.Generator
    num_timesteps: int
    networks: ActorCritic
    collector: Collector
    rollout: Rollout
    episodes: EpisodeTotals
    metrics: A2CMetrics | None
    on_update: Callable[[A2CMetrics], Any] | None

    def __init__(
        self, env: Any, config: A2CConfig = A2CConfig(), *, seed: int, device: str = "cpu"
    ) -> None:
        make_rollout = partial(Rollout, config.n_steps, config.num_envs)
        set_up(self, env, config, seed, device, make_rollout)
        self.optimizer = rmsprop(self.networks.parameters, config.rms_prop_eps)

    def update(self) -> None:
        """One gradient step on the whole rollout."""
        c, n = self.config, self.networks
        e = self.rollout.experience(n.values_of, c.gamma, c.gae_lambda, n.place)
        learning_rate = rate_at(c.learning_rate, self.num_timesteps - len(e), c.total_timesteps)
        loss = LossSettings(math.inf, math.inf, c.ent_coef, c.vf_coef, c.normalize_advantage)
        sums = n.gradient(e.placed(n.place), n.place(np.arange(len(e))), loss)
        norm = self.optimizer.step(learning_rate, c.max_grad_norm)
        sums, norm = fetched([sums])[0], finite_norms(fetched([norm]))[0]
        tell(
            self,
            A2CMetrics,
            policy_loss=float(sums[POLICY_LOSS]),
            value_loss=float(sums[VALUE_LOSS]),
            entropy=float(sums[ENTROPY]),
            gradient_norm=float(norm),
            learning_rate=learning_rate,
            **of_advantages(e),
        )
