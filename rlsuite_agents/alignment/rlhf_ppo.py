"""PPO for language models (Ziegler et al. 2019; Ouyang et al. 2022; Huang et al. 2024).

Each token is an action, and its reward is what the policy pays for leaving the reference; the last
one, EOS or the token at which the text is cut off, earns the text's score as well:

    r_t = -β k_t + [t is last] r(x, y)        k_t = log(π_old/ref)(a_t)
    A_t by generalised advantages with γ and λ, G_t = A_t + v_old(s_t)
    L = Σ_t w_t ( -min(ρ_t A_t, clip(ρ_t, 1 ± ε) A_t) + c ½ max((v - G)², (v_clip - G)²) )

w_t is 1 over the tokens of the minibatch. The value head stands on the policy's network and starts
at 0. With γ = 1 the return of a text is r - β log(π/ref), whose mean is the KL-regularised
objective.

Preset "paper" whitens the advantages over the batch and takes λ = 0.95, four passes and β = 0.05
(Huang et al. 2024). Preset "exact" keeps the advantages as they are, with λ = 1 and one step a
batch. An adaptive β (Ziegler et al. 2019, section 2.2) changes the objective while it is learned;
both presets keep it.

Differs from the papers: the score stands on EOS and not one token later; a text that is cut off is
the task's business, which may charge for it; policy and values share one network.
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
from rlsuite_agents.functional.text_policy import (
    adaptive_beta,
    policy_terms,
    text_advantages,
    value_terms,
    whitened,
)
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

__all__ = ["RLHFPPO", "RLHFPPOConfig", "RLHFPPOMetrics"]

EXACT = {
    "kl_estimator": "k1",
    "kl_control": "fixed",
    "kl_target": 6.0,
    "kl_horizon": 10_000.0,
    "kl_unit": "sequence",
    "lambda_": 1.0,
    "whiten": "none",
    "clip_range_vf": "none",
    "vf_coef": 0.1,
    "n_epochs": 1,
    "minibatches": 1,
}
PRESETS = {
    "exact": EXACT,
    "paper": {
        **EXACT,
        "beta": 0.05,
        "lambda_": 0.95,
        "whiten": "shift",
        "clip_range_vf": 0.2,
        "n_epochs": 4,
    },
}
READERS = {name: ("kl_control", ("adaptive",)) for name in ("kl_target", "kl_horizon", "kl_unit")}
CHOICES = {
    "kl_estimator": ("k1", "k2", "k3"),
    "kl_control": ("fixed", "adaptive"),
    "kl_unit": ("sequence", "token"),
    "whiten": ("none", "scale", "shift"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class RLHFPPOConfig:
    """Settings of `RLHFPPO`. None stands for the preset's value."""

    preset: Literal["exact", "paper"] = "exact"
    beta: float | None = None  # β, at least 0; None: the task's own, or the preset's
    kl_estimator: Literal["k1", "k2", "k3"] | None = None  # of the KL term in the reward
    kl_control: Literal["fixed", "adaptive"] | None = None  # whether β follows the divergence
    kl_target: float | None = None  # the divergence that an adaptive β is to hold, above 0
    kl_horizon: float | None = None  # texts in which it may change by a fifth, above 0
    kl_unit: Literal["sequence", "token"] | None = None  # of the target: a text, or its mean token
    gamma: float = 1.0  # γ, in (0, 1]; below 1 another objective
    lambda_: float | None = None  # λ, in [0, 1]
    whiten: Literal["none", "scale", "shift"] | None = None  # advantages over the batch
    clip_range: float = 0.2  # ε of the ratio, above 0
    clip_range_vf: float | Literal["none"] | None = None  # ε of the values, above 0
    vf_coef: float | None = None  # c, above 0
    n_texts: int = 128  # texts of an update
    n_epochs: int | None = None  # passes over each batch
    minibatches: int | None = None  # gradient steps of a pass
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
        for name in ("kl_target", "kl_horizon"):
            if getattr(self, name) is not None:
                check_range(self, name, "(0, inf]")
        if self.gamma == 0:
            raise SettingError(
                "RLHFPPOConfig.gamma must be above 0: at 0 no token but the last would ever see "
                "the score, and training looks calm all the same. The objective has gamma=1."
            )
        check_range(self, "gamma", "(0, 1]")
        check_range(self, "lambda_", "[0, 1]")
        check_range(self, "clip_range", "(0, inf]")
        check_range(self, "vf_coef", "(0, inf]")
        if self.clip_range_vf != "none":
            check_range(self, "clip_range_vf", "(0, inf]")


@dataclass(frozen=True, kw_only=True, slots=True)
class RLHFPPOMetrics(TextMetrics):
    """What one update did, and how good the values were."""

    value_loss: float
    explained_variance: float


class RLHFPPO:
    """PPO for token tasks: a policy, its frozen reference, a reward model and a value head.

    Attributes:
        settings: the configuration with its preset filled in.
        beta: β now.
        metrics: of the latest update, None before the first.
        on_update: called with the metrics of each update, where it is set.
    """

    id = "rlsuite/RLHFPPO-v0"
    config_type = RLHFPPOConfig
    learn = learn
    predict = predict
    action_probabilities = action_probabilities
    save = save
    load = classmethod(load)

    beta: float
    policy: TextPolicy
    metrics: RLHFPPOMetrics | None
    on_update: Callable[[RLHFPPOMetrics], Any] | None

    def __init__(
        self, env: Any, config: RLHFPPOConfig = RLHFPPOConfig(), *, seed: int, device: str = "cpu"
    ) -> None:
        self.settings = filled(config, PRESETS, READERS)
        set_up(self, env, config, seed, device, value_head=True)
        if self.settings.kl_control == "adaptive" and self.beta == 0:
            raise SettingError(
                "RLHFPPO's kl_control 'adaptive' multiplies beta, and 0 stays 0: set beta above 0, "
                "or kl_control='fixed'."
            )
        take_texts(self, seed, config.n_texts)

    def update(self, batch: TextBatch) -> None:
        """Gradient steps on a batch of texts, and the next β."""
        s, texts = self.settings, Texts(self.policy, batch)
        old_values = self._values(texts)
        advantages, returns = self._advantages(texts, old_values)
        epsilon = math.inf if s.clip_range_vf == "none" else s.clip_range_vf
        losses: list[float] = []

        def terms(outputs: TextOutputs, rows: NDArray[np.int64]) -> Tensor:
            mask = texts.mask[rows]
            assert outputs.values is not None
            values = value_terms(
                outputs.values, old_values[rows], returns[rows], mask, clip_range=epsilon
            )
            losses.append(float(values.detach().sum() / mask.sum()))
            old = texts.log_probs[rows]
            found = policy_terms(
                outputs.log_probs, old, advantages[rows], mask, clip_range=s.clip_range
            )
            return found + s.vf_coef * values

        told = descend(self, texts, terms, aggregate="token", clip_range=s.clip_range)
        told["value_loss"] = float(np.mean(losses))
        told["explained_variance"] = _explained(old_values, returns, texts.mask)
        tell_texts(self, batch, advantages, told, 1, RLHFPPOMetrics)
        if s.kl_control == "adaptive":
            self._follow(texts)

    def _values(self, texts: Texts) -> Tensor:
        """v_old before each token, [n, T]."""
        s = self.settings
        with torch.no_grad():
            values = [
                texts.evaluate(rows).values
                for rows in np.array_split(np.arange(len(texts.mask)), s.microbatches)
            ]
        return torch.cat([v for v in values if v is not None])

    def _advantages(self, texts: Texts, old_values: Tensor) -> tuple[Tensor, Tensor]:
        """A and G of each token, [n, T]."""
        s = self.settings
        rewards = penalised(texts, self.beta, s.kl_estimator)
        r, v = (t.double().cpu().numpy() for t in (rewards, old_values))
        found = text_advantages(r, v, texts.batch.mask, gamma=s.gamma, lambda_=s.lambda_)
        advantages, returns = (torch.from_numpy(a).to(rewards) for a in found)
        if s.whiten != "none":
            advantages = whitened(advantages, texts.mask, shift=s.whiten == "shift")
        return advantages, returns

    def _follow(self, texts: Texts) -> None:
        """β follows the divergence of the batch."""
        s, n = self.settings, len(texts.mask)
        total = float((texts.log_probs - texts.reference).sum())
        kl = total / (n if s.kl_unit == "sequence" else int(texts.mask.sum()))
        self.beta = adaptive_beta(self.beta, kl, target=s.kl_target, horizon=s.kl_horizon, texts=n)


def _explained(values: Tensor, returns: Tensor, mask: Tensor) -> float:
    """1 - Var(G - v) / Var(G); NaN if G is a constant."""
    g, spread = returns[mask], float(returns[mask].var())
    return 1.0 - float((g - values[mask]).var()) / spread if spread else math.nan
