"""REINFORCE leave-one-out, RLOO (Ahmadian et al. 2024, section 3.3; Kool et al. 2019).

For each prompt G texts are written, and each is compared with the mean of the others:

    R_i = r(x, y_i) - β Σ_t k_t        A_i = R_i - 1/(G - 1) Σ_{j≠i} R_j
    L = -1/N Σ_i min(ρ_i A_i, clip(ρ_i, 1 ± ε) A_i)

with k the estimate of KL(π ‖ ref), k_t = log(π/ref)(a_t) by default, and ρ_i = π / π_old of the
whole text. The baseline of a text does not depend on it, so that on-policy the expected gradient is
that of E[r] - β KL(π ‖ ref) exactly.

Differs from the paper in the clipped ratio, which allows several gradient steps on one batch. With
one step it is 1, and the loss is the paper's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from registry.texts import TextBatch
from rlsuite_agents.functional.preference import leave_one_out_advantages
from rlsuite_agents.functional.text_policy import policy_terms
from rlsuite_agents.parts.predict import predict
from rlsuite_agents.parts.settings import check_range
from rlsuite_agents.parts.text_agent import (
    Precision,
    action_probabilities,
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

__all__ = ["RLOO", "RLOOConfig"]

EXACT = {"group_size": 8, "kl_in": "reward", "kl_estimator": "k1", "ratio_level": "sequence"}
PRESETS = {
    "exact": EXACT,
    "paper": {**EXACT, "group_size": 4, "beta": 0.03},  # of its TL;DR task, k = 4
}
READERS = {"beta": ("kl_in", ("reward",)), "kl_estimator": ("kl_in", ("reward",))}
CHOICES = {
    "kl_in": ("reward", "none"),
    "kl_estimator": ("k1", "k2", "k3"),
    "ratio_level": ("sequence", "token"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class RLOOConfig:
    """Settings of `RLOO`. None stands for the preset's value."""

    preset: Literal["exact", "paper"] = "exact"
    beta: float | None = None  # β, at least 0; None: the task's own, or the preset's
    kl_in: Literal["reward", "none"] | None = None  # where the KL term stands
    kl_estimator: Literal["k1", "k2", "k3"] | None = None  # of it; None: k1
    ratio_level: Literal["sequence", "token"] | None = None  # of what is clipped
    group_size: int | None = None  # G, texts of a prompt, at least 2
    n_groups: int = 16  # prompts of an update
    n_epochs: int = 1  # passes over each batch
    minibatches: int = 1  # gradient steps of a pass
    microbatches: int = 1  # parts that a gradient is computed in
    clip_range: float = 0.2  # ε of the ratio, above 0
    learning_rate: float | str = 0.01  # of Adam, above 0, or "lin_x"
    total_timesteps: int | None = None  # horizon of a rate that falls
    max_grad_norm: float = 1.0  # above 0
    start: str = "reference"  # "reference", "random", or a folder with a model
    layers: int | None = None  # of a new transformer; None: 2
    width: int | None = None  # None: 32
    heads: int | None = None  # None: 2
    precision: Precision = "float32"  # of matrix products

    def __post_init__(self) -> None:
        if filled(self, PRESETS, READERS) is self:  # else that was checked when it was made
            check_shared(self, READERS, CHOICES)
            check_range(self, "clip_range", "(0, inf]")


class RLOO:
    """RLOO for token tasks.

    Attributes:
        settings: the configuration with its preset filled in.
        metrics: of the latest update, None before the first.
        on_update: called with the metrics of each update, where it is set.
    """

    id = "rlsuite/RLOO-v0"
    config_type = RLOOConfig
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
        self, env: Any, config: RLOOConfig = RLOOConfig(), *, seed: int, device: str = "cpu"
    ) -> None:
        self.settings = s = filled(config, PRESETS, READERS)
        set_up(self, env, config, seed, device)
        take_texts(self, seed, s.group_size * s.n_groups, s.group_size)

    def update(self, batch: TextBatch) -> None:
        """Gradient steps on a batch of groups."""
        s, texts = self.settings, Texts(self.policy, batch)
        returns = penalised(texts, self.beta, s.kl_estimator or "k1").sum(dim=1)
        advantages = leave_one_out_advantages(returns, s.group_size)

        def terms(outputs: TextOutputs, rows: NDArray[np.int64]) -> Tensor:
            return policy_terms(
                outputs.log_probs,
                texts.log_probs[rows],
                advantages[rows],
                texts.mask[rows],
                clip_range=s.clip_range,
                ratio=s.ratio_level,
            )

        # a term of a text stands at all its tokens and counts once; those of tokens add up
        aggregate = "sequence" if s.ratio_level == "sequence" else "constant"
        told = descend(
            self,
            texts,
            terms,
            aggregate=aggregate,
            level=s.ratio_level,
            clip_range=s.clip_range,
        )
        tell_texts(self, batch, advantages, told, s.group_size)
