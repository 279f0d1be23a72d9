"""Best of n: of several texts the one with the highest reward, and a policy that imitates it.

For each prompt n texts are written and scored, and the policy is fitted to the best of them by
maximum likelihood:

    L = -mean over prompts of log π(y*),    y* = argmax_i r(x, y_i)

Preset "exact" always samples from the reference. What is fitted is then the distribution of the
best of n answers (Stiennon et al. 2020; Gao et al. 2023), whose KL from the reference is at most
log n - (n - 1) / n, and which `oracle().best_of_n(n)` knows exactly. Preset "paper" samples from
the policy that is being fitted, so that each round improves on the last one: rejection sampling
fine-tuning (Touvron et al. 2023, section 3.2.3; RAFT, Dong et al. 2023). No KL term holds it back.

The best one of equals is drawn by lot, as it would be among sampled answers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from registry.texts import TextBatch
from rlsuite_agents.parts.predict import predict
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
from rlsuite_agents.parts.text_update import TextMetrics, Texts, descend, tell_texts

__all__ = ["BestOfN", "BestOfNConfig", "BestOfNMetrics"]

PRESETS = {
    "exact": {"sample_from": "reference", "group_size": 8, "n_epochs": 1},
    "paper": {"sample_from": "policy", "group_size": 32, "n_epochs": 1},
}
CHOICES = {"sample_from": ("reference", "policy")}


@dataclass(frozen=True, kw_only=True, slots=True)
class BestOfNConfig:
    """Settings of `BestOfN`. None stands for the preset's value."""

    preset: Literal["exact", "paper"] = "exact"
    sample_from: Literal["reference", "policy"] | None = None  # who writes the n texts
    group_size: int | None = None  # n, texts of a prompt, at least 2
    n_groups: int = 64  # prompts of an update
    n_epochs: int | None = None  # passes over each batch
    minibatches: int = 1  # gradient steps of a pass
    microbatches: int = 1  # parts that a gradient is computed in
    learning_rate: float | str = 0.003  # of Adam, above 0, or "lin_x"
    total_timesteps: int | None = None  # horizon of a rate that falls
    max_grad_norm: float = 1.0  # above 0
    start: str = "reference"  # "reference", "random", or a folder with a model
    layers: int | None = None  # of a new transformer; None: 2
    width: int | None = None  # None: 32
    heads: int | None = None  # None: 2
    precision: Precision = "float32"  # of matrix products

    def __post_init__(self) -> None:
        if filled(self, PRESETS, {}) is self:  # else that was checked when it was made
            check_shared(self, {}, CHOICES)


@dataclass(frozen=True, kw_only=True, slots=True)
class BestOfNMetrics(TextMetrics):
    """What one update did; `best_reward` is the mean reward of the texts that are imitated."""

    best_reward: float


class BestOfN:
    """Best of n for token tasks, as a policy.

    Attributes:
        settings: the configuration with its preset filled in.
        metrics: of the latest update, None before the first.
        on_update: called with the metrics of each update, where it is set.
    """

    id = "rlsuite/BestOfN-v0"
    config_type = BestOfNConfig
    learn = learn
    predict = predict
    action_probabilities = action_probabilities
    save = save
    load = classmethod(load)

    policy: TextPolicy
    rng: np.random.Generator
    task: Any
    metrics: BestOfNMetrics | None
    on_update: Callable[[BestOfNMetrics], Any] | None

    def __init__(
        self, env: Any, config: BestOfNConfig = BestOfNConfig(), *, seed: int, device: str = "cpu"
    ) -> None:
        self.settings = s = filled(config, PRESETS, {})
        set_up(self, env, config, seed, device)
        if s.sample_from == "reference":
            self.writer = self.task.reference_model
        take_texts(self, seed, s.group_size * s.n_groups, s.group_size)

    def update(self, batch: TextBatch) -> None:
        """Gradient steps towards the best text of each group."""
        s, texts = self.settings, Texts(self.policy, batch)
        best = self._best(batch)

        def terms(outputs: TextOutputs, rows: NDArray[np.int64]) -> Tensor:
            return -outputs.log_probs

        told = descend(self, texts, terms, aggregate="constant", kept=best)
        told["best_reward"] = float(np.mean(batch.rewards[best]))
        chosen = torch.zeros(len(batch.rewards))
        chosen[torch.from_numpy(best)] = 1.0
        tell_texts(self, batch, chosen, told, s.group_size, BestOfNMetrics)

    def _best(self, batch: TextBatch) -> NDArray[np.int64]:
        """The row of the best text of each group, by lot among equals."""
        groups = np.asarray(batch.rewards).reshape(-1, self.settings.group_size)
        lots = self.rng.random(groups.shape) * (groups == groups.max(axis=1, keepdims=True))
        rows: NDArray[np.int64] = lots.argmax(axis=1) + np.arange(len(groups)) * groups.shape[1]
        return rows
