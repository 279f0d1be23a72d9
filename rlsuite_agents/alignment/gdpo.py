"""Group reward-decoupled normalisation policy optimisation, GDPO (Liu et al. 2026).

Of several rewards each is normalised in its group before they are summed, so that a loud one does
not drown the others:

    z_k = (r_k - mean_g r_k) / (std_g r_k + ε)        A = Σ_k w_k z_k                (eq. 4 and 5)
    A'  = (A - mean A) / (std A + ε)                  over the texts of the batch          (eq. 6)

and A' stands where GRPO has its advantage. What a text costs that the limit cut off is shared by
all rewards alike.

Preset "paper" is that. Preset "exact" only centres, A = Σ_k w_k (r_k - mean_g r_k), with the KL
term in the reward: on-policy its expected gradient is that of E[Σ_k w_k r_k] - β KL(π ‖ ref), up to
a constant, which normalising gives up for the sake of the quiet rewards.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from registry.errors import SettingError
from registry.texts import TextBatch
from rlsuite_agents.functional.preference import decoupled_group_advantages
from rlsuite_agents.functional.text_policy import kl_terms, policy_terms
from rlsuite_agents.parts.predict import predict
from rlsuite_agents.parts.settings import check_range
from rlsuite_agents.parts.text_agent import (
    Precision,
    action_probabilities,
    check_clip,
    check_shared,
    filled,
    learn,
    load,
    save,
    set_up,
    take_texts,
)
from rlsuite_agents.parts.text_policy import TextOutputs, TextPolicy
from rlsuite_agents.parts.text_update import TextMetrics, Texts, descend, penalised, tell_texts

__all__ = ["GDPO", "GDPOConfig", "GDPOMetrics"]

EXACT = {
    "group_size": 8,
    "std": "none",
    "std_eps": 1e-4,
    "whiten_over": "none",
    "clip_range": 0.2,
    "aggregate": "constant",
    "kl_in": "reward",
    "kl_estimator": "k1",
}
PRESETS = {
    "exact": EXACT,
    "paper": {
        **EXACT,
        "std": "unbiased",
        "whiten_over": "sequence",
        "aggregate": "sequence",
        "kl_in": "loss",
        "kl_estimator": "k3",
        "beta": 0.04,
    },
}
READERS = {
    "beta": ("kl_in", ("reward", "loss")),
    "kl_estimator": ("kl_in", ("reward", "loss")),
    "std_eps": ("std", ("unbiased", "biased")),
}
CHOICES = {
    "std": ("none", "unbiased", "biased"),
    "whiten_over": ("none", "sequence", "token"),
    "aggregate": ("token", "sequence", "constant"),
    "kl_in": ("reward", "loss", "none"),
    "kl_estimator": ("k1", "k2", "k3"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class GDPOConfig:
    """Settings of `GDPO`. None stands for the preset's value."""

    preset: Literal["exact", "paper"] = "exact"
    weights: tuple[float, ...] | None = None  # w_k of each reward; None: 1 each
    beta: float | None = None  # β, at least 0; None: the task's own, or the preset's
    group_size: int | None = None  # G, texts of a prompt, at least 2
    std: Literal["none", "unbiased", "biased"] | None = None  # of both lines, none: only centred
    std_eps: float | None = None  # ε added to it, at least 0
    whiten_over: Literal["none", "sequence", "token"] | None = None  # the last line
    clip_range: float | tuple[float, float] | None = None  # ε of the ratio of tokens, above 0
    aggregate: Literal["token", "sequence", "constant"] | None = None  # tokens to one number
    kl_in: Literal["reward", "loss", "none"] | None = None  # where the KL term stands
    kl_estimator: Literal["k1", "k2", "k3"] | None = None  # of it
    n_groups: int = 16  # prompts of an update
    n_epochs: int = 1  # passes over each batch
    minibatches: int = 1  # gradient steps of a pass
    microbatches: int = 1  # parts that a gradient is computed in
    learning_rate: float | str = 0.01  # of Adam, above 0, or "lin_x"
    total_timesteps: int | None = None  # horizon of a rate that falls
    max_grad_norm: float = 1.0  # above 0
    start: str = "reference"  # "reference", "random", or a folder with a model
    layers: int | None = None  # of a new transformer; None: 2
    width: int | None = None  # None: 32
    heads: int | None = None  # None: 2
    precision: Precision = "float32"  # of matrix products

    def __post_init__(self) -> None:
        if filled(self, PRESETS, READERS) is not self:
            return  # the filled ones were checked when they were made
        check_shared(self, READERS, CHOICES)
        check_clip(self)
        if self.std_eps is not None:
            check_range(self, "std_eps", "[0, inf]")
        if self.std == "none" and self.whiten_over != "none":
            raise SettingError(
                "GDPOConfig.whiten_over divides by a standard deviation, and std is 'none': set "
                f"whiten_over='none' or std='unbiased', got whiten_over={self.whiten_over!r}."
            )
        if self.kl_in == "loss" and self.kl_estimator == "k1":
            raise SettingError(
                "GDPOConfig.kl_estimator 'k1' in the loss has an expected gradient of 0: it is "
                "noise. Set kl_in='reward', or kl_estimator='k2' or 'k3'."
            )
        if self.whiten_over != "none" and self.n_groups < 2:
            raise SettingError(
                "GDPOConfig.n_groups must be at least 2 where whiten_over is "
                f"{self.whiten_over!r}: with one group the last line takes away what the first "
                "ones kept apart."
            )
        _check_weights(self)


def _check_weights(config: GDPOConfig) -> None:
    weights = config.weights
    if weights is None:
        return
    good = isinstance(weights, tuple | list) and len(weights) > 0
    if not good or not all(isinstance(w, int | float) and math.isfinite(w) for w in weights):
        raise SettingError(
            f"GDPOConfig.weights is a tuple of finite numbers, one per reward, got {weights!r}."
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class GDPOMetrics(TextMetrics):
    """What one update did, and how the rewards stand to each other within the groups."""

    reward_std_least: float
    reward_std_most: float
    correlation_least: float
    cancelled: float


class GDPO:
    """GDPO for token tasks of several rewards.

    Attributes:
        settings: the configuration with its preset filled in.
        metrics: of the latest update, None before the first.
        on_update: called with the metrics of each update, where it is set.
    """

    id = "rlsuite/GDPO-v0"
    config_type = GDPOConfig
    learn = learn
    predict = predict
    action_probabilities = action_probabilities
    save = save
    load = classmethod(load)

    beta: float
    device: torch.device
    policy: TextPolicy
    task: Any
    metrics: GDPOMetrics | None
    on_update: Callable[[GDPOMetrics], Any] | None

    def __init__(
        self, env: Any, config: GDPOConfig = GDPOConfig(), *, seed: int, device: str = "cpu"
    ) -> None:
        self.settings = s = filled(config, PRESETS, READERS)
        set_up(self, env, config, seed, device)
        take_texts(self, seed, s.group_size * s.n_groups, s.group_size)
        n = self.task.n_rewards
        if config.weights is not None and len(config.weights) != n:
            raise SettingError(
                f"GDPOConfig.weights must be one per reward, {n} of them, got {config.weights!r}."
            )
        self.weights = torch.tensor(config.weights or (1.0,) * n, device=self.device)

    def update(self, batch: TextBatch) -> None:
        """Gradient steps on a batch of groups."""
        s, texts = self.settings, Texts(self.policy, batch)
        rewards = self.rewards(batch)
        advantages = self.advantages(texts, rewards)

        def terms(outputs: TextOutputs, rows: NDArray[np.int64]) -> Tensor:
            old, mask = texts.log_probs[rows], texts.mask[rows]
            found = policy_terms(
                outputs.log_probs, old, advantages[rows], mask, clip_range=s.clip_range
            )
            if s.kl_in != "loss":
                return found
            reference = texts.reference[rows]
            return found + self.beta * kl_terms(
                outputs.log_probs, old, reference, mask, kind=s.kl_estimator
            )

        told = descend(self, texts, terms, aggregate=s.aggregate, clip_range=s.clip_range)
        told |= _apart(rewards, self.weights, s.group_size)
        tell_texts(self, batch, advantages, told, s.group_size, GDPOMetrics)

    def rewards(self, batch: TextBatch) -> Tensor:
        """The rewards [n, K]; what a text costs that was cut off is shared evenly."""
        shared = (batch.rewards - batch.scores.sum(axis=1)) / batch.scores.shape[1]
        columns = batch.scores + shared[:, None]
        return torch.from_numpy(columns.astype(np.float32)).to(self.device)

    def advantages(self, texts: Texts, rewards: Tensor) -> Tensor:
        """A' of each text, [n]; with the KL term in the reward, that as well, centred."""
        s = self.settings
        found = decoupled_group_advantages(
            rewards,
            s.group_size,
            weights=self.weights,
            eps=s.std_eps or 0.0,
            std=s.std,
            whiten=s.whiten_over,
            lengths=texts.mask.sum(dim=1) if s.whiten_over == "token" else None,
        )
        if s.kl_in != "reward":
            return found
        kl = penalised(texts, self.beta, s.kl_estimator).sum(dim=1) - texts.rewards
        kl = kl.reshape(-1, s.group_size)
        return found + (kl - kl.mean(dim=1, keepdim=True)).reshape(-1)


def _apart(rewards: Tensor, weights: Tensor, group_size: int) -> dict[str, float]:
    """Standard deviations and correlation of the rewards within groups, and what cancels."""
    groups = rewards.reshape(-1, group_size, rewards.shape[1])
    centred = (groups - groups.mean(dim=1, keepdim=True)).double()
    spread = centred.pow(2).mean(dim=(0, 1)).sqrt()
    flat = centred.reshape(-1, rewards.shape[1]) / spread.clamp(min=1e-12)
    correlation = flat.t() @ flat / len(flat)
    z = centred / centred.std(dim=1, keepdim=True).clamp(min=1e-12)
    alive = (centred.abs().amax(dim=(1, 2)) > 0).double()
    nothing = ((z @ weights.double()).abs().amax(dim=1) < 1e-6).double()
    return {
        "reward_std_least": float(spread.min()),
        "reward_std_most": float(spread.max()),
        "correlation_least": float(correlation.min()) if len(spread) > 1 else math.nan,
        "cancelled": float((alive * nothing).sum() / alive.sum().clamp(min=1)),
    }
