"""Supervised fine-tuning, SFT: the likelihood of given texts (Ouyang et al. 2022, section 3.5).

    L = - Σ_i Σ_t log π(y_{i,t} | x_i, y_{i,<t}) / Z

over the new tokens of a minibatch, EOS included; prompts are read and not learned. The texts are
drawn from the task's reference policy, each the best of `best_of` by the task's reward, or read
from a file. What comes out is saved as a folder, from which other agents start and which the
environment takes as its reference.

Preset "exact" has Z = b T, b texts of at most T tokens: each text weighs the same in whatever
minibatch it stands, and the gradient is that of the likelihood of all texts in the mean. Preset
"paper" takes 32 texts a step (Ouyang et al. 2022, appendix C.1) and Z = Σ_i |y_i|, the mean over
the tokens of the minibatch (Huang et al. 2024): a text weighs less beside long ones.

Differs from the papers: no dropout, no warm-up, and a rate that falls, if it does, on a line.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from registry.errors import SettingError
from registry.seeding import Stream, generator
from rlsuite_agents.loops import Session
from rlsuite_agents.parts.checkpoint import Checkpoint, generator_state
from rlsuite_agents.parts.device import single_thread
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
from rlsuite_agents.parts.text_data import (
    TextData,
    digest,
    drawn_texts,
    own,
    read_texts,
    restore_data,
)
from rlsuite_agents.parts.text_models import save_text_model
from rlsuite_agents.parts.text_policy import TextPolicy
from rlsuite_agents.parts.text_update import clipped_step

__all__ = ["SFT", "SFTConfig", "SFTMetrics"]

EXACT = {"aggregate": "constant", "n_texts": 4_096, "best_of": 1, "batch_size": 64}
PRESETS = {"exact": EXACT, "paper": {**EXACT, "aggregate": "token", "batch_size": 32}}
READERS = {name: ("texts", ("reference",)) for name in ("n_texts", "best_of")}
CHOICES = {"aggregate": ("constant", "token")}

ROWS = 1024
"""Texts of a pass in which nothing is learned."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SFTConfig:
    """Settings of `SFT`. None stands for the preset's value."""

    preset: Literal["exact", "paper"] = "exact"
    texts: str = "reference"  # drawn from the reference policy, or a file of JSON lines
    n_texts: int | None = None  # that are drawn
    best_of: int | None = None  # texts of which the best rewarded one is kept, when they are drawn
    held_out: float = 0.1  # share of the texts that is not learned from, in [0, 1)
    aggregate: Literal["constant", "token"] | None = None  # Z of the loss
    batch_size: int | None = None  # texts of a gradient step
    learning_rate: float | str = 0.003  # of Adam, above 0, or "lin_x"
    total_timesteps: int | None = None  # horizon of a rate that falls, in texts
    max_grad_norm: float = 1.0  # above 0
    start: str = "random"  # a new transformer, or a folder with a model
    layers: int | None = None  # of a new transformer; None: 2
    width: int | None = None  # None: 32
    heads: int | None = None  # None: 2
    precision: Precision = "float32"  # of matrix products

    def __post_init__(self) -> None:
        if filled(self, PRESETS, READERS) is not self:
            return  # the filled ones were checked when they were made
        check_shared(self, READERS, CHOICES)
        for name in ("best_of", "batch_size"):
            if getattr(self, name) is not None:
                check_count(self, name, 1)
        check_range(self, "held_out", "[0, 1)")
        if self.start == "reference":
            raise SettingError(
                "SFTConfig.start must be 'random' or a folder with a model: what is added to a "
                "reference is no model alone, got 'reference'."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class SFTMetrics:
    """What one gradient step did; see `docs/agents/sft.md`."""

    num_timesteps: int
    loss: float
    perplexity: float
    entropy: float
    tokens: int
    gradient_norm: float
    learning_rate: float
    epoch: int


class SFT:
    """Supervised fine-tuning for token tasks. `learn(n)` sees n texts.

    Attributes:
        settings: the configuration with its preset filled in.
        policy: what has learned.
        texts: what it learns from.
        held_out: texts that it does not learn from.
        metrics: of the latest gradient step, None before the first.
        on_update: called with the metrics of each gradient step, where it is set.
    """

    id = "rlsuite/SFT-v0"
    config_type = SFTConfig
    learn = learn_examples
    predict = predict
    action_probabilities = action_probabilities
    save = save
    own = own
    load = classmethod(load)

    num_timesteps: int
    optimizer: torch.optim.Optimizer
    policy: TextPolicy
    rng: np.random.Generator
    task: Any
    metrics: SFTMetrics | None
    on_update: Callable[[SFTMetrics], Any] | None

    def __init__(
        self, env: Any, config: SFTConfig = SFTConfig(), *, seed: int, device: str = "cpu"
    ) -> None:
        self.settings = filled(config, PRESETS, READERS)
        set_up(self, env, config, seed, device)
        self.session = Session(env, seed)  # never begun: no step is taken
        self.data_rng = generator(seed, Stream.DATA)
        self.gather()

    def update(self, rows: NDArray[np.int64]) -> None:
        """A gradient step on these texts."""
        s, texts = self.settings, self.texts
        rate = rate_at(s.learning_rate, self.num_timesteps - len(rows), s.total_timesteps)
        self.optimizer.zero_grad()
        total, entropy, count = self._likelihood(texts, rows)
        z = count if s.aggregate == "token" else len(rows) * self.task.max_new_tokens
        (-total / z).backward()
        norm = clipped_step(self, rate, s.max_grad_norm)
        mean = -float(total.detach()) / count
        self.metrics = SFTMetrics(
            num_timesteps=self.num_timesteps,
            loss=mean,
            perplexity=math.exp(min(mean, 700.0)),
            entropy=float(entropy.detach()) / count,
            tokens=count,
            gradient_norm=norm,
            learning_rate=rate,
            epoch=self.epochs.number,
        )
        if self.on_update is not None:
            self.on_update(self.metrics)

    def perplexity(self, texts: TextData | None = None) -> float:
        """The exponential of the mean negative log-likelihood per new token, EOS included.

        Args:
            texts: None is those that were held out.

        Raises:
            SettingError: no text was held out.
        """
        texts = self.held_out if texts is None else texts
        if not len(texts):
            raise SettingError("no text was held out: set held_out above 0, or hand texts over.")
        total = count = 0.0
        with single_thread(), torch.inference_mode():
            for first in range(0, len(texts), ROWS):
                rows = np.arange(first, min(first + ROWS, len(texts)))
                log_likelihood, _, tokens = self._likelihood(texts, rows)
                total, count = total + float(log_likelihood), count + tokens
        return math.exp(min(-total / count, 700.0))

    def save_model(self, folder: str | PathLike[str]) -> str:
        """Writes the policy as a folder: a start for other agents, a reference for the environment.

        Returns:
            The SHA-256 of its weights.

        Raises:
            CheckpointError: the folder cannot be written.
        """
        return save_text_model(self.policy, folder, self.task.vocabulary)

    def restore(self, found: Checkpoint) -> None:
        """Goes on from a checkpoint: the texts are drawn or read again.

        Raises:
            CheckpointError: they are others now.
        """
        restore_data(self, found, "texts")

    def gather(self) -> None:
        """Draws or reads the texts, and holds some of them out."""
        s, self.data_state = self.settings, generator_state(self.data_rng)
        if s.texts == "reference":
            found = drawn_texts(self.task, s.n_texts, self.data_rng, s.best_of)
        else:
            found = read_texts(s.texts, self.task)
        order = self.data_rng.permutation(len(found))
        out = min(int(s.held_out * len(found)), len(found) - 1)
        self.held_out, self.texts = found.rows(order[:out]), found.rows(order[out:])
        self.epochs = Epochs(len(self.texts), s.batch_size, self.rng)

    def data_digest(self) -> str:
        """Of what it learns from."""
        texts = self.texts
        return digest(texts.tokens, texts.lengths, texts.prompt_lengths)

    def _likelihood(self, texts: TextData, rows: NDArray[np.int64]) -> tuple[Any, Any, int]:
        """Sums over the new tokens of these texts: log π, entropies; and how many there are."""
        some = texts.rows(rows)
        n_new = int((some.lengths - some.prompt_lengths).max())
        outputs = self.policy.evaluate(some.tokens, some.lengths, some.prompt_lengths, n_new)
        count = int((some.lengths - some.prompt_lengths).sum())
        return outputs.log_probs.sum(), outputs.entropies.sum(), count
