"""Direct preference optimisation, DPO (Rafailov et al. 2023), and its relatives.

From pairs of answers y_w, y_l to the same prompt, of which the first is preferred:

    h = log(π/ref)(y_w) - log(π/ref)(y_l)        L = -mean log σ(β h)                    (eq. 7)

with the log-probabilities summed over the answer, EOS included. The optimum over all pairs is that
of E[r] - β KL(π ‖ ref) for the reward r that the preferences were drawn from (eq. 4 and 5). Nothing
is sampled, and no reward model is learned. See `functional.preference.dpo_loss` for the variants.

Preset "exact" takes the task's β and sums. Preset "paper" takes β = 0.1 and 64 pairs a step.

Differs from the paper: Adam instead of RMSprop, and no warm-up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from registry.errors import DataError, SettingError
from registry.seeding import Stream, generator
from registry.texts import PreferencePairs
from rlsuite_agents.functional.preference import dpo_loss
from rlsuite_agents.loops import Session
from rlsuite_agents.parts.checkpoint import Checkpoint, generator_state
from rlsuite_agents.parts.epochs import Epochs, learn_examples
from rlsuite_agents.parts.predict import predict
from rlsuite_agents.parts.schedules import rate_at
from rlsuite_agents.parts.settings import check_count, check_range
from rlsuite_agents.parts.text_agent import (
    Precision,
    action_probabilities,
    check_shared,
    filled,
    load,
    save,
    set_up,
)
from rlsuite_agents.parts.text_data import digest, own, restore_data
from rlsuite_agents.parts.text_policy import TextPolicy
from rlsuite_agents.parts.text_update import clipped_step

__all__ = ["DPO", "DPOConfig", "DPOMetrics"]

EXACT = {
    "variant": "sigmoid",
    "label_smoothing": 0.0,
    "logp_reduce": "sum",
    "n_pairs": 10_000,
    "batch_size": 256,
}
PRESETS = {"exact": EXACT, "paper": {**EXACT, "batch_size": 64, "beta": 0.1}}
SAMPLED = ("gold", "reward")
READERS = {
    "label_smoothing": ("variant", ("sigmoid", "robust")),
    "n_pairs": ("preferences", SAMPLED),
}
CHOICES = {
    "variant": ("sigmoid", "robust", "hinge", "ipo"),
    "logp_reduce": ("sum", "mean"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class DPOConfig:
    """Settings of `DPO`. None stands for the preset's value."""

    preset: Literal["exact", "paper"] = "exact"
    beta: float | None = None  # β, above 0; None: the task's own, or the preset's
    variant: Literal["sigmoid", "robust", "hinge", "ipo"] | None = None  # of the loss
    label_smoothing: float | None = None  # e in [0, ½): how often a label is wrong
    logp_reduce: Literal["sum", "mean"] | None = None  # log-probabilities of tokens to a text's
    preferences: str = "gold"  # drawn from "gold" or the task's "reward", or a file of pairs
    n_pairs: int | None = None  # that are drawn
    batch_size: int | None = None  # pairs of a gradient step
    microbatches: int = 1  # parts that a gradient is computed in
    learning_rate: float | str = 0.003  # of Adam, above 0, or "lin_x"
    total_timesteps: int | None = None  # horizon of a rate that falls, in pairs
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
        for name in ("n_pairs", "batch_size", "microbatches"):
            if getattr(self, name) is not None:
                check_count(self, name, 1)
        if self.beta == 0:
            raise SettingError("DPOConfig.beta must be above 0: it scales the margin, got 0.")
        if self.label_smoothing is not None:
            check_range(self, "label_smoothing", "[0, 0.5)")
        if self.batch_size is not None and self.microbatches > self.batch_size:
            raise SettingError(
                f"DPOConfig.microbatches must be at most the {self.batch_size} pairs of a "
                f"gradient step, got {self.microbatches}."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class DPOMetrics:
    """What one gradient step did; see `docs/agents/dpo.md`."""

    num_timesteps: int
    loss: float
    accuracy: float
    margin: float
    chosen: float
    rejected: float
    gradient_norm: float
    learning_rate: float
    beta: float
    epoch: int


class DPO:
    """DPO for token tasks that have preferences, drawn or from a file. `learn(n)` sees n pairs.

    Attributes:
        settings: the configuration with its preset filled in.
        pairs: what it learns from.
        metrics: of the latest gradient step, None before the first.
        on_update: called with the metrics of each gradient step, where it is set.
    """

    id = "rlsuite/DPO-v0"
    config_type = DPOConfig
    learn = learn_examples
    predict = predict
    action_probabilities = action_probabilities
    save = save
    own = own
    load = classmethod(load)

    epochs: Epochs
    beta: float
    device: torch.device
    num_timesteps: int
    optimizer: torch.optim.Optimizer
    pairs: PreferencePairs
    policy: TextPolicy
    rng: np.random.Generator
    task: Any
    metrics: DPOMetrics | None
    on_update: Callable[[DPOMetrics], Any] | None

    def __init__(
        self, env: Any, config: DPOConfig = DPOConfig(), *, seed: int, device: str = "cpu"
    ) -> None:
        self.settings = filled(config, PRESETS, READERS)
        set_up(self, env, config, seed, device)
        if self.beta == 0:
            raise SettingError(
                "DPO's beta must be above 0, since it scales the margin, and the task's own is 0: "
                "set beta."
            )
        self.session = Session(env, seed)  # never begun: no step is taken
        self.data_rng = generator(seed, Stream.DATA)
        self.gather()

    def update(self, rows: NDArray[np.int64]) -> None:
        """A gradient step on these pairs."""
        s = self.settings
        rate = rate_at(s.learning_rate, self.num_timesteps - len(rows), s.total_timesteps)
        losses, margins = [], []
        self.optimizer.zero_grad()
        for part in np.array_split(rows, min(s.microbatches, len(rows))):
            policy = self._log_probs(part)
            reference = self._reference[:, torch.from_numpy(part).to(self.device)]
            loss = self.loss(policy, reference) * (len(part) / len(rows))
            loss.backward()
            losses.append(float(loss.detach()))
            margins.append(policy.detach() - reference)
        norm = clipped_step(self, rate, s.max_grad_norm)
        chosen, rejected = (float(m) for m in torch.cat(margins, dim=1).mean(dim=1))
        h = torch.cat([m[0] - m[1] for m in margins])
        self.metrics = DPOMetrics(
            num_timesteps=self.num_timesteps,
            loss=sum(losses),
            accuracy=float((h > 0).float().mean() + 0.5 * (h == 0).float().mean()),
            margin=float(h.mean()),
            chosen=chosen,
            rejected=rejected,
            gradient_norm=norm,
            learning_rate=rate,
            beta=self.beta,
            epoch=self.epochs.number,
        )
        if self.on_update is not None:
            self.on_update(self.metrics)

    def loss(self, policy: Tensor, reference: Tensor) -> Tensor:
        """The mean loss of pairs, from log-probabilities [2, b] of chosen and rejected texts."""
        s = self.settings
        return dpo_loss(
            *policy,
            *reference,
            beta=self.beta,
            variant=s.variant,
            label_smoothing=s.label_smoothing or 0.0,
        )

    def restore(self, found: Checkpoint) -> None:
        """Goes on from a checkpoint: the pairs are drawn or read again.

        Raises:
            CheckpointError: they are others now.
        """
        restore_data(self, found, "preferences")

    def data_digest(self) -> str:
        """Of what it learns from."""
        return digest(*(array for answers in self._answers for array in answers))

    def gather(self) -> None:
        """Draws or reads the pairs, and asks the reference about them."""
        self.data_state = generator_state(self.data_rng)
        s, n = self.settings, self.settings.n_pairs
        self.pairs = p = self.task.preferences(n or 1, rng=self.data_rng, source=s.preferences)
        answers = ((p.chosen, p.chosen_lengths), (p.rejected, p.rejected_lengths))
        self._answers = [(*answer, p.prompt_lengths) for answer in answers]
        self._n_new = max(int((a[1] - a[2]).max()) for a in self._answers)
        found = [self._reduced(_of_reference(self.task, *a), a[1] - a[2]) for a in self._answers]
        self._reference = torch.stack(found).to(self.device)  # [2, n]
        self._refuse_impossible()
        self.epochs = Epochs(len(p.chosen), s.batch_size, self.rng)

    def _refuse_impossible(self) -> None:
        """Raises `DataError` where the reference never writes an answer: log ref is -inf."""
        never = torch.isinf(self._reference).cpu().numpy()
        if never.any():
            pair = int(never.any(axis=0).argmax())
            answer = "chosen" if never[0, pair] else "rejected"
            raise DataError(
                f"preference {pair + 1} of {self.settings.preferences!r} (blank lines not "
                f"counted): the task's reference policy never writes what was {answer}, so that "
                "the margin would be infinite. Leave the line out, or take another reference."
            )

    def _log_probs(self, rows: NDArray[np.int64]) -> Tensor:
        """Log π of the chosen and the rejected answers, [2, b]."""
        tokens, lengths, prompt_lengths = (
            np.concatenate([a[rows], b[rows]]) for a, b in zip(*self._answers, strict=True)
        )
        outputs = self.policy.evaluate(tokens, lengths, prompt_lengths, self._n_new)
        sums = outputs.log_probs.sum(dim=1)
        return self._reduced(sums, lengths - prompt_lengths).reshape(2, -1)

    def _reduced(self, sums: Tensor, counts: NDArray[np.int64]) -> Tensor:
        """Sums [b] over the tokens of answers, or their means."""
        if self.settings.logp_reduce == "sum":
            return sums
        return sums / torch.from_numpy(counts).to(sums)


def _of_reference(
    task: Any,
    tokens: NDArray[np.int64],
    lengths: NDArray[np.int64],
    prompt_lengths: NDArray[np.int64],
) -> Tensor:
    """Log ref of whole answers, [n], in float32."""
    model, sums = task.reference_model, np.zeros(len(tokens))
    for t in range(int(lengths.max())):
        rows = np.flatnonzero((t >= prompt_lengths) & (t < lengths))
        if len(rows):
            log_probs = np.asarray(model.log_probs(tokens[rows, :t], np.full(len(rows), t)))
            sums[rows] += log_probs[np.arange(len(rows)), tokens[rows, t]]
    return torch.from_numpy(sums.astype(np.float32))
