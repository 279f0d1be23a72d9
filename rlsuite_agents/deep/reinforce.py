"""REINFORCE, with or without a baseline (Williams 1992; Sutton & Barto, 2nd ed., 13.3 and 13.4).

    θ ← θ + α γ^t (G_t - b(S_t)) ∇ log π(A_t|S_t, θ)                              (eq. 13.11)
    w ← w + α (G_t - v̂(S_t, w)) ∇ v̂(S_t, w)

The baseline b is v̂, learned beside the policy, or the mean return of the other episodes of the
batch, or 0: the expected update is the same, its variance is not.

Differs from the boxes: one Adam step is taken on the mean over all time steps of a few episodes;
the factor γ^t is left out unless `discount_states` is set; at a time limit, which is not a terminal
state, the return goes on with v̂(S_T). Other baselines have no v̂ to go on with, the return ends
there: that of the task with its limit.

For texts, `kl_beta` takes β (log π(A_t|S_t) - log ref(A_t|S_t)) off each reward, so that the mean
return is the KL-regularised objective (Stiennon et al. 2020, eq. 2).
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
from rlsuite_agents.functional.actor_critic import ENTROPY, POLICY_LOSS, VALUE_LOSS
from rlsuite_agents.functional.returns import discounted_returns, mean_of_others
from rlsuite_agents.parts.actor_critic import ActorCritic, Experience, LossSettings
from rlsuite_agents.parts.actor_critic_agent import learn, load, save, set_up, step
from rlsuite_agents.parts.actor_critic_policy import action_probabilities, predict, state_values
from rlsuite_agents.parts.collector import Collector
from rlsuite_agents.parts.device import fetched
from rlsuite_agents.parts.episodes import Episodes, WholeEpisodes
from rlsuite_agents.parts.metrics import of_advantages, tell
from rlsuite_agents.parts.optimizers import adam, finite_norms
from rlsuite_agents.parts.rollout import EpisodeTotals
from rlsuite_agents.parts.schedules import check_horizon, check_rate, rate_at
from rlsuite_agents.parts.settings import (
    check_choice,
    check_count,
    check_flag,
    check_network,
    check_range,
)

__all__ = ["Reinforce", "ReinforceConfig", "ReinforceMetrics"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReinforceConfig:
    """Settings of `Reinforce`. A rate "lin_x" falls linearly from x to 0 over `total_timesteps`."""

    num_envs: int = 1  # N, environments stepped together
    total_timesteps: int | None = None  # horizon of a rate that falls
    episodes_per_update: int = 4  # in a batch
    learning_rate: float | str = 0.01  # α of Adam, above 0, or "lin_x"
    gamma: float = 0.99  # γ, in [0, 1]
    baseline: Literal["value", "mean", "none"] = "value"  # v̂, mean of other episodes, or 0
    reward_to_go: bool = True  # G_t of the rewards that follow A_t; else that of the whole episode
    discount_states: bool = False  # the factor γ^t
    normalize_advantage: bool = False  # per batch
    ent_coef: float = 0.0  # weight of the entropy, at least 0
    vf_coef: float = 0.5  # weight of the value loss, above 0
    kl_beta: float = 0.0  # β of the KL term in the return, at least 0
    max_grad_norm: float | None = None  # above 0; None clips nothing
    net_arch: tuple[int, ...] = (64,)  # hidden layers of each network; () is linear
    activation: Literal["tanh", "relu"] = "tanh"  # between them
    normalize_observations: bool = False  # by running mean and standard deviation
    normalize_rewards: bool = False  # by the running standard deviation of the return

    def __post_init__(self) -> None:
        for name in ("num_envs", "episodes_per_update"):
            check_count(self, name, 1)
        check_range(self, "gamma", "[0, 1]")
        for name in ("ent_coef", "kl_beta"):
            check_range(self, name, "[0, inf]")
        check_range(self, "vf_coef", "(0, inf]")
        if self.max_grad_norm is not None:
            check_range(self, "max_grad_norm", "(0, inf]")
        for name in ("reward_to_go", "discount_states", "normalize_advantage"):
            check_flag(self, name)
        for name in ("normalize_observations", "normalize_rewards"):
            check_flag(self, name)
        check_choice(self, "baseline", ("value", "mean", "none"))
        check_network(self)
        check_rate(self, "learning_rate")
        check_horizon(self, "learning_rate")
        if self.baseline == "mean" and self.episodes_per_update < 2:
            raise SettingError(
                "ReinforceConfig.baseline 'mean' is that of the other episodes of a batch: it "
                f"needs episodes_per_update of at least 2, got {self.episodes_per_update}."
            )
        if self.discount_states and not self.reward_to_go:
            raise SettingError(
                "ReinforceConfig.discount_states needs reward_to_go: the return of a whole episode "
                "has discounted the rewards already."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class ReinforceMetrics:
    """What one update did. See `docs/agents/reinforce.md`."""

    num_timesteps: int
    policy_loss: float
    value_loss: float
    entropy: float
    explained_variance: float
    gradient_norm: float
    advantage_mean: float
    advantage_std: float
    learning_rate: float
    batch_episodes: int
    batch_steps: int
    episodes: int
    episode_return: float
    episode_length: float
    steps_per_second: float


class Reinforce:
    """REINFORCE for `Discrete` actions with masks, and for `Box` actions.

    It starts from the uniform policy, or from means of 0, and from v̂ = 0. It acts and learns in
    NumPy, by gradients written by hand and compiled loops.

    Attributes:
        metrics: of the latest update, None before the first.
        on_update: called with the metrics of each update, where it is set.
    """

    id = "rlsuite/Reinforce-v0"
    config_type = ReinforceConfig
    learn = learn
    step = step
    predict = predict
    action_probabilities = action_probabilities
    state_values = state_values
    save = save
    load = classmethod(load)

    config: ReinforceConfig
    rng: np.random.Generator
    num_timesteps: int
    networks: ActorCritic
    collector: Collector
    rollout: Episodes
    episodes: EpisodeTotals
    metrics: ReinforceMetrics | None
    on_update: Callable[[ReinforceMetrics], Any] | None

    def __init__(
        self,
        env: Any,
        config: ReinforceConfig = ReinforceConfig(),
        *,
        seed: int,
        device: str = "cpu",
    ) -> None:
        make_rollout = partial(Episodes, config.episodes_per_update, config.num_envs)
        set_up(self, env, config, seed, device, make_rollout, gains=(0.0, 0.0))
        self.optimizer = adam(self.networks.parameters)

    def update(self) -> None:
        """One gradient step on all episodes of the batch."""
        c, n = self.config, self.networks
        batch = self.rollout.take()
        e = self.experience(batch)
        learning_rate = rate_at(c.learning_rate, self.num_timesteps - 1, c.total_timesteps)
        learns_value = c.baseline == "value"
        value_weight = c.vf_coef if learns_value else 0.0
        loss = LossSettings(math.inf, math.inf, c.ent_coef, value_weight, c.normalize_advantage)
        sums = n.gradient(e.placed(n.place), n.place(np.arange(len(e))), loss)
        norm = self.optimizer.step(learning_rate, c.max_grad_norm or math.inf)
        sums, norm = fetched([sums])[0], finite_norms(fetched([norm]))[0]
        tell(
            self,
            ReinforceMetrics,
            policy_loss=float(sums[POLICY_LOSS]),
            value_loss=float(sums[VALUE_LOSS]) if learns_value else math.nan,
            entropy=float(sums[ENTROPY]),
            gradient_norm=float(norm),
            learning_rate=learning_rate,
            batch_episodes=len(batch.lengths),
            batch_steps=len(e),
            **of_advantages(e),
        )

    def experience(self, batch: WholeEpisodes) -> Experience:
        """Returns, baselines and advantages of whole episodes.

        Where several environments run, an episode may have begun before the latest update: the
        gradient weighs its actions by π / π_then.
        """
        c = self.config
        value_of = self.networks.values_of if c.baseline == "value" else _zeros
        ends = np.cumsum(batch.lengths)
        rewards, discounts = batch.rewards.copy(), np.full(len(batch.rewards), c.gamma)
        discounts[ends - 1] = 0.0
        rewards[ends - 1] += c.gamma * batch.truncated * value_of(batch.last)
        returns = discounted_returns(rewards, discounts)
        firsts = np.repeat(ends - batch.lengths, batch.lengths)  # of the episode of each step
        values = value_of(batch.features)
        if c.baseline == "mean":
            values = mean_of_others(returns, batch.lengths).astype(np.float32)
        advantages = (returns if c.reward_to_go else returns[firsts]) - values
        if c.discount_states:
            advantages *= c.gamma ** (np.arange(len(firsts)) - firsts)
        return Experience(
            *(batch.features, batch.mask, batch.actions, batch.log_prob, values),
            *(advantages.astype(np.float32), returns.astype(np.float32)),
        )


def _zeros(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of rows [n, d]: [n]."""
    return np.zeros(len(features), np.float32)
