"""Group relative policy optimisation, GRPO (Shao et al. 2024, DeepSeekMath, section 4.1).

For each prompt G texts are written, and each is compared with its group:

    A_i = (R_i - mean_g R) / (std_g R + ε)
    ℓ_t = -min(ρ A_i, clip(ρ, 1 - ε_low, 1 + ε_high) A_i) + β k_t                       (eq. 3)

with ρ = π / π_old and k an estimate of KL(π ‖ ref), or with the KL term in the reward R instead.
What differs among the relatives of the paper is a setting here, and each of them is a preset:

    "paper"     standardised in the group, mean over texts of the mean over tokens, k3 in the loss
    "dr_grpo"   centred only, tokens summed and divided by a constant, no KL (Liu et al. 2025)
    "dapo"      mean over tokens, clipped higher above than below, groups without a
                difference left out, no KL (Yu et al. 2025)
    "gspo"      the ratio of whole texts to the power 1 / length (Zheng et al. 2025, eq. 7)
    "exact"     leave-one-out, tokens summed, k1 in the reward: on-policy the expected
                gradient is that of E[r] - β KL(π ‖ ref), up to a constant

Of these only the last has the KL-regularised optimum as its fixed point: a standard deviation in
the denominator is a KL weight that differs from prompt to prompt, and k3 in the loss is another
divergence's gradient.

Differs from the papers: DAPO goes on sampling until a batch is full of groups with a difference;
here such groups are left out of the batch. Its reward for long texts is the task's business.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from registry.errors import SettingError
from registry.texts import TextBatch
from rlsuite_agents.functional.preference import (
    group_relative_advantages,
    leave_one_out_advantages,
)
from rlsuite_agents.functional.text_policy import kl_terms, policy_terms
from rlsuite_agents.parts.predict import predict
from rlsuite_agents.parts.settings import check_flag, check_range
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

__all__ = ["GRPO", "GRPOConfig"]

EXACT = {
    "group_size": 8,
    "baseline": "leave_one_out",
    "scale_advantage": "none",
    "std": "unbiased",
    "std_eps": 1e-4,
    "ratio_level": "token",
    "clip_range": 0.2,
    "aggregate": "constant",
    "kl_in": "reward",
    "kl_estimator": "k1",
    "kl_level": "token",
    "kl_corrected": False,
    "drop_dead_groups": False,
}
PAPER = {
    **EXACT,
    "baseline": "mean",
    "scale_advantage": "group",
    "aggregate": "sequence",
    "kl_in": "loss",
    "kl_estimator": "k3",
    "beta": 0.04,
}
FREE = {**PAPER, "kl_in": "none"}
PRESETS = {
    "exact": EXACT,
    "paper": PAPER,
    "dr_grpo": {**FREE, "scale_advantage": "none", "aggregate": "constant"},
    "dapo": {**FREE, "aggregate": "token", "clip_range": (0.2, 0.28), "drop_dead_groups": True},
    "gspo": {**FREE, "ratio_level": "sequence_mean", "clip_range": (3e-4, 4e-4)},
}
READERS = {
    "beta": ("kl_in", ("reward", "loss")),
    "kl_estimator": ("kl_in", ("reward", "loss")),
    "kl_level": ("kl_in", ("loss",)),
    "kl_corrected": ("kl_in", ("loss",)),
    "std": ("scale_advantage", ("group", "batch")),
    "std_eps": ("scale_advantage", ("group", "batch")),
}
CHOICES = {
    "baseline": ("mean", "leave_one_out"),
    "scale_advantage": ("none", "group", "batch"),
    "std": ("unbiased", "biased"),
    "ratio_level": ("token", "sequence_mean", "sequence"),
    "aggregate": ("token", "sequence", "constant"),
    "kl_in": ("reward", "loss", "none"),
    "kl_estimator": ("k1", "k2", "k3"),
    "kl_level": ("token", "sequence"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class GRPOConfig:
    """Settings of `GRPO`. None stands for the preset's value."""

    preset: Literal["exact", "paper", "dr_grpo", "dapo", "gspo"] = "exact"
    beta: float | None = None  # β, at least 0; None: the task's own, or the preset's
    group_size: int | None = None  # G, texts of a prompt, at least 2
    baseline: Literal["mean", "leave_one_out"] | None = None  # of the group
    scale_advantage: Literal["none", "group", "batch"] | None = None  # whose std divides
    std: Literal["unbiased", "biased"] | None = None  # with G - 1, or with G
    std_eps: float | None = None  # ε added to it, at least 0
    ratio_level: Literal["token", "sequence_mean", "sequence"] | None = None  # of ρ
    clip_range: float | tuple[float, float] | None = None  # ε, or (ε_low, ε_high), above 0
    aggregate: Literal["token", "sequence", "constant"] | None = None  # tokens to one number
    kl_in: Literal["reward", "loss", "none"] | None = None  # where the KL term stands
    kl_estimator: Literal["k1", "k2", "k3"] | None = None  # of it
    kl_level: Literal["token", "sequence"] | None = None  # of a term in the loss
    kl_corrected: bool | None = None  # whether a term in the loss is times the ratio
    drop_dead_groups: bool | None = None  # whether groups of equal rewards are left out
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
        check_flag(self, "drop_dead_groups")
        if self.std_eps is not None:
            check_range(self, "std_eps", "[0, inf]")
        if self.kl_corrected is not None:
            check_flag(self, "kl_corrected")
        if self.kl_in == "loss" and self.kl_estimator == "k1" and not self.kl_corrected:
            raise SettingError(
                "GRPOConfig.kl_estimator 'k1' in the loss has an expected gradient of 0: it is "
                "noise. Set kl_in='reward', or kl_corrected=True, or kl_estimator='k2' or 'k3'."
            )
        if self.baseline == "leave_one_out" and self.scale_advantage != "none":
            raise SettingError(
                "GRPOConfig.baseline 'leave_one_out' is G / (G - 1) times the centred reward, "
                "which a standard deviation would take away again: set baseline='mean' or "
                f"scale_advantage='none', got scale_advantage={self.scale_advantage!r}."
            )


class GRPO:
    """GRPO and its relatives for token tasks.

    Attributes:
        settings: the configuration with its preset filled in.
        metrics: of the latest update, None before the first.
        on_update: called with the metrics of each update, where it is set.
    """

    id = "rlsuite/GRPO-v0"
    config_type = GRPOConfig
    learn = learn
    predict = predict
    action_probabilities = action_probabilities
    save = save
    load = classmethod(load)

    beta: float
    policy: TextPolicy
    metrics: TextMetrics | None
    on_update: Callable[[TextMetrics], Any] | None

    def __init__(
        self, env: Any, config: GRPOConfig = GRPOConfig(), *, seed: int, device: str = "cpu"
    ) -> None:
        self.settings = s = filled(config, PRESETS, READERS)
        set_up(self, env, config, seed, device)
        take_texts(self, seed, s.group_size * s.n_groups, s.group_size)

    def update(self, batch: TextBatch) -> None:
        """Gradient steps on a batch of groups."""
        s, texts = self.settings, Texts(self.policy, batch)
        advantages = self.advantages(texts)

        def terms(outputs: TextOutputs, rows: NDArray[np.int64]) -> Tensor:
            old, mask = texts.log_probs[rows], texts.mask[rows]
            options = {"clip_range": s.clip_range, "ratio": s.ratio_level}
            found = policy_terms(outputs.log_probs, old, advantages[rows], mask, **options)
            if s.kl_in != "loss":
                return found
            divergence = kl_terms(
                outputs.log_probs,
                old,
                texts.reference[rows],
                mask,
                kind=s.kl_estimator,
                level=s.kl_level,
                corrected=s.kl_corrected,
            )
            return found + self.beta * divergence

        told = descend(
            self,
            texts,
            terms,
            aggregate=s.aggregate,
            level=s.ratio_level,
            clip_range=s.clip_range,
            kept=self._kept(batch) if s.drop_dead_groups else None,
        )
        tell_texts(self, batch, advantages, told, s.group_size)

    def advantages(self, texts: Texts) -> Tensor:
        """A of each text, [n]."""
        s = self.settings
        rewards = texts.rewards
        if s.kl_in == "reward":
            rewards = penalised(texts, self.beta, s.kl_estimator).sum(dim=1)
        if s.baseline == "leave_one_out":
            return leave_one_out_advantages(rewards, s.group_size)
        if s.scale_advantage == "none":
            return group_relative_advantages(rewards, s.group_size, std="none")
        return group_relative_advantages(
            rewards, s.group_size, std=s.std, eps=s.std_eps, over=s.scale_advantage
        )

    def _kept(self, batch: TextBatch) -> NDArray[np.int64]:
        """Rows of the groups whose rewards differ."""
        groups = np.asarray(batch.rewards).reshape(-1, self.settings.group_size)
        return np.flatnonzero(np.repeat(np.ptp(groups, axis=1) > 0, self.settings.group_size))
