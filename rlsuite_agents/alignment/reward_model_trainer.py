"""Reward models from preferences (Bradley & Terry 1952; Stiennon et al. 2020, section 3.4).

    L = mean of -log σ(r(x, y_w) - r(x, y_l) - margin) + center · (r(x, y_w) + r(x, y_l))²

over pairs of answers to one prompt, of which y_w is preferred. r is read off a transformer at the
last token of the text. Preferences say nothing about a constant added to r: the centring term
(Eisenstein et al. 2023) pins it while learning; `save_model` takes it off.

Preset "exact" has no term but the likelihood, and starts from scores of 0 everywhere. Preset
"paper" starts as Stiennon et al. (appendix B.1), from a head that is drawn from N(0, 1 / (d + 1)),
d the width. As Ouyang et al. (2022, appendix C.2) it takes batches of 64, and learns from each pair
once where `learn` is given as many as there are.

Differs from the paper: the margin (Touvron et al. 2023, eq. 2) and the centring term are additions,
off in both presets; a rate that falls, if it does, falls on a line.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from registry.catalogue import Transaction, registry
from registry.errors import SettingError
from registry.seeding import Stream, generator
from registry.specs import Provenance
from registry.texts import PreferencePairs
from rlsuite_agents.functional.preference import bradley_terry_loss
from rlsuite_agents.loops import Session
from rlsuite_agents.parts.checkpoint import Checkpoint, generator_state
from rlsuite_agents.parts.device import resolve_device
from rlsuite_agents.parts.epochs import Epochs, learn_examples
from rlsuite_agents.parts.predict import predict
from rlsuite_agents.parts.schedules import rate_at
from rlsuite_agents.parts.settings import check_count, check_range
from rlsuite_agents.parts.text_agent import SMALL, Finished, check_shared, filled, load, save
from rlsuite_agents.parts.text_data import digest, own, restore_data
from rlsuite_agents.parts.text_models import save_text_reward, starting_reward, text_task
from rlsuite_agents.parts.text_policy import next_token_probabilities
from rlsuite_agents.parts.text_reward import TextReward
from rlsuite_agents.parts.text_update import clipped_step

__all__ = [
    "RewardModelTrainer",
    "RewardModelTrainerConfig",
    "RewardModelTrainerMetrics",
    "RewardReport",
]

LOADER = "rlsuite_agents.parts.text_models:load_text_reward"
"""Who reads the folder of a reward model that is registered."""

EXACT = {"n_pairs": 4_096, "margin": 0.0, "center": 0.0, "batch_size": 64, "head": "zero"}
PRESETS = {"exact": EXACT, "paper": {**EXACT, "head": "normal"}}
READERS = {"n_pairs": ("preferences", ("gold", "reward"))}
CHOICES = {"head": ("zero", "normal")}

BINS = 10
"""Of confidences, in which they are compared with how often they were right."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RewardModelTrainerConfig:
    """Settings of `RewardModelTrainer`. None stands for the preset's value."""

    preset: Literal["exact", "paper"] = "exact"
    preferences: str = "gold"  # drawn by the gold reward, or the task's ("reward"), or a file
    n_pairs: int | None = None  # that are drawn
    held_out: float = 0.1  # share of the pairs that is not learned from, in [0, 1)
    margin: float | None = None  # by how much the preferred text should score more, at least 0
    center: float | None = None  # weight of the centring term, at least 0
    batch_size: int | None = None  # pairs of a gradient step
    learning_rate: float | str = 0.003  # of Adam, above 0, or "lin_x"
    total_timesteps: int | None = None  # horizon of a rate that falls, in pairs
    max_grad_norm: float = 1.0  # above 0
    start: str = "random"  # a new transformer, or a folder with a model
    head: Literal["zero", "normal"] | None = None  # what reads a score off the network, at first
    layers: int | None = None  # of a new transformer; None: 2
    width: int | None = None  # None: 32
    heads: int | None = None  # None: 2

    def __post_init__(self) -> None:
        if filled(self, PRESETS, READERS) is not self:
            return  # the filled ones were checked when they were made
        check_shared(self, READERS, CHOICES)
        for name in ("n_pairs", "batch_size"):
            if getattr(self, name) is not None:
                check_count(self, name, 1)
        check_range(self, "held_out", "[0, 1)")
        check_range(self, "margin", "[0, inf)")
        check_range(self, "center", "[0, inf)")
        if self.start == "reference":
            raise SettingError(
                "RewardModelTrainerConfig.start must be 'random' or a folder with a model, got "
                "'reference'."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class RewardModelTrainerMetrics:
    """What one gradient step did; see `docs/agents/reward_model_trainer.md`."""

    num_timesteps: int
    loss: float
    accuracy: float
    difference: float
    score_mean: float
    gradient_norm: float
    learning_rate: float
    epoch: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RewardReport:
    """How well a reward model predicts preferences between n pairs.

    `accuracy`: share of pairs whose preferred text scores more, ties counting half. `log_loss`:
    mean of -log σ(r_w - r_l), log 2 of a model that knows nothing. `calibration_error`: how far
    confidences are from the share of them that was right, the mean over ten bins weighted by their
    pairs (Naeini et al. 2015).
    """

    n: int
    accuracy: float
    log_loss: float
    calibration_error: float


class RewardModelTrainer:
    """A learned reward for token tasks. `learn(n)` sees n pairs; as an agent it is the reference.

    Attributes:
        settings: the configuration with its preset filled in.
        reward: what has learned; it scores texts, and is a `reward=` of a token task.
        pairs: what it learns from.
        held_out: pairs that it does not learn from.
        metrics: of the latest gradient step, None before the first.
        on_update: called with the metrics of each gradient step, where it is set.
    """

    id = "rlsuite/RewardModelTrainer-v0"
    config_type = RewardModelTrainerConfig
    learn = learn_examples
    predict = predict
    save = save
    own = own
    load = classmethod(load)

    def __init__(
        self,
        env: Any,
        config: RewardModelTrainerConfig = RewardModelTrainerConfig(),
        *,
        seed: int,
        device: str = "cpu",
    ) -> None:
        self.settings = s = filled(config, PRESETS, READERS)
        self.env, self.config, self.num_timesteps = env, config, 0
        self.rng = generator(seed, Stream.AGENT, 0)
        self.prediction_rng = generator(seed, Stream.AGENT, 1)
        self.task = text_task(env, "RewardModelTrainer")
        sizes = {name: getattr(s, name) or size for name, size in SMALL.items()}
        self.reward: TextReward = starting_reward(
            s.start,
            self.task,
            **sizes,
            rng=generator(seed, Stream.AGENT, 2),
            device=resolve_device(device),
        )
        if s.head == "normal":
            self._draw_head(generator(seed, Stream.AGENT, 3))
        self.policy = self.reward  # what is trained and saved
        self.beta, self.episodes = 0.0, Finished()
        self.optimizer = torch.optim.Adam(self.reward.parameters(), lr=1.0, fused=True)
        self.session = Session(env, seed)  # never begun: no step is taken
        self.metrics: RewardModelTrainerMetrics | None = None
        self.on_update: Callable[[RewardModelTrainerMetrics], Any] | None = None
        self.data_rng = generator(seed, Stream.DATA)
        self.gather()

    def update(self, rows: NDArray[np.int64]) -> None:
        """A gradient step on these pairs."""
        s, pairs = self.settings, _rows(self.pairs, rows)
        rate = rate_at(s.learning_rate, self.num_timesteps - len(rows), s.total_timesteps)
        self.optimizer.zero_grad()
        chosen = self.reward.evaluate(pairs.chosen, pairs.chosen_lengths)
        rejected = self.reward.evaluate(pairs.rejected, pairs.rejected_lengths)
        loss = bradley_terry_loss(chosen, rejected, s.margin, s.center)
        loss.backward()
        norm = clipped_step(self, rate, s.max_grad_norm)
        both = torch.stack([chosen, rejected]).detach().double()
        difference = (both[0] - both[1]).cpu().numpy()
        self.metrics = RewardModelTrainerMetrics(
            num_timesteps=self.num_timesteps,
            loss=float(loss.detach()),
            accuracy=_accuracy(difference),
            difference=float(difference.mean()),
            score_mean=float(both.mean()),
            gradient_norm=norm,
            learning_rate=rate,
            epoch=self.epochs.number,
        )
        if self.on_update is not None:
            self.on_update(self.metrics)

    def report(self, pairs: PreferencePairs | None = None) -> RewardReport:
        """Accuracy and calibration on pairs; None is those that were held out.

        Raises:
            SettingError: no pair was held out.
        """
        pairs = self.held_out if pairs is None else pairs
        if not len(pairs.prompt_lengths):
            raise SettingError("no pair was held out: set held_out above 0, or hand pairs over.")
        chosen = self.reward.score(pairs.chosen, pairs.chosen_lengths)
        difference = chosen - self.reward.score(pairs.rejected, pairs.rejected_lengths)
        return report_of(difference)

    def save_model(self, folder: str | PathLike[str], *, zero_mean: bool = True) -> str:
        """Writes the reward model as a folder, a `reward=` of a token task.

        Args:
            folder: made if it does not exist.
            zero_mean: whether it scores the texts that it learned from 0 on average.

        Returns:
            The SHA-256 of its weights.

        Raises:
            CheckpointError: the folder cannot be written.
        """
        saved = TextReward(self.reward.network)
        saved.head = self.reward.head
        if zero_mean:
            p = self.pairs
            scores = (
                saved.score(p.chosen, p.chosen_lengths),
                saved.score(p.rejected, p.rejected_lengths),
            )
            saved.shift = float(np.mean(scores))
        return save_text_reward(saved, folder, self.task.vocabulary)

    def register(self, id: str, folder: str | PathLike[str], *, zero_mean: bool = True) -> str:
        """Saves the reward model, and makes it known under an id: `reward=id` of a token task.

        The catalogue of this process names the folder, and so do the workers of a benchmark; what
        `save_model` writes there later is what the id stands for then.

        Args:
            id: As of all that plugs in, `namespace/Name-vN`.
            folder: As of `save_model`, as `zero_mean`.
            zero_mean: See there.

        Returns:
            The SHA-256 of its weights.

        Raises:
            PluginError: the id is malformed.
            TakenIdError: a reward model has this id.
            CheckpointError: the folder cannot be written.
        """
        entry = Transaction(registry, Provenance(distribution=type(self).__name__, version="v0"))
        where = str(Path(folder).absolute())
        entry.add_reward_model(id, LOADER, folder=where)
        sha = self.save_model(folder, zero_mean=zero_mean)
        entry.commit()
        return sha

    def action_probabilities(
        self, observations: Any, *, deterministic: bool, mask: Any = None
    ) -> NDArray[np.float64]:
        """Those of the task's reference policy, [B, A]: a reward model does not write."""
        return next_token_probabilities(
            self.task.reference_model, observations, deterministic, mask
        )

    def restore(self, found: Checkpoint) -> None:
        """Goes on from a checkpoint: the pairs are drawn or read again.

        Raises:
            CheckpointError: they are others now.
        """
        restore_data(self, found, "preferences")

    def _draw_head(self, rng: np.random.Generator) -> None:
        """The weights of the head from N(0, 1 / (d + 1)); its constant stays 0."""
        width = self.reward.network.width
        drawn = rng.standard_normal(width).astype(np.float32) / math.sqrt(width + 1)
        with torch.no_grad():
            self.reward.head[:-1] = torch.from_numpy(drawn)

    def gather(self) -> None:
        """Draws or reads the pairs, and holds some of them out."""
        s, self.data_state = self.settings, generator_state(self.data_rng)
        found = self.task.preferences(s.n_pairs or 1, rng=self.data_rng, source=s.preferences)
        n = len(found.prompt_lengths)
        order = self.data_rng.permutation(n)
        out = min(int(s.held_out * n), n - 1)
        self.held_out, self.pairs = _rows(found, order[:out]), _rows(found, order[out:])
        self.epochs = Epochs(n - out, s.batch_size, self.rng)

    def data_digest(self) -> str:
        """Of what it learns from."""
        p = self.pairs
        return digest(p.chosen, p.chosen_lengths, p.rejected, p.rejected_lengths)


def report_of(difference: NDArray[np.float64]) -> RewardReport:
    """The report of a model whose scores differ so, r_w - r_l, in each of n pairs."""
    confidence = 1.0 / (1.0 + np.exp(-np.abs(difference)))  # of the side that it takes, ½ to 1
    right = np.where(difference == 0, 0.5, difference > 0)
    bin_of = np.minimum((2 * BINS * (confidence - 0.5)).astype(int), BINS - 1)
    error = sum(
        abs(float(np.sum(confidence[bin_of == k] - right[bin_of == k]))) for k in range(BINS)
    )
    return RewardReport(
        n=len(difference),
        accuracy=_accuracy(difference),
        log_loss=float(np.mean(np.logaddexp(0.0, -difference))),
        calibration_error=error / len(difference),
    )


def _accuracy(difference: NDArray[np.float64]) -> float:
    return float(np.mean(np.where(difference == 0, 0.5, difference > 0)))


def _rows(pairs: PreferencePairs, rows: NDArray[np.int64]) -> PreferencePairs:
    """Some of the pairs."""
    return PreferencePairs(**{f.name: getattr(pairs, f.name)[rows] for f in fields(pairs)})
