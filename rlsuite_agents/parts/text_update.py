"""One update of a policy that writes texts: gradient steps on a batch, and what they did."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from registry.errors import DivergenceError, SettingError
from registry.texts import TextBatch
from rlsuite_agents.functional.text_policy import log_ratio, shaped_rewards, token_weights
from rlsuite_agents.parts.metrics import tell
from rlsuite_agents.parts.schedules import rate_at
from rlsuite_agents.parts.text_policy import TextOutputs

__all__ = [
    "TextMetrics",
    "Texts",
    "clipped_step",
    "descend",
    "penalised",
    "tell_texts",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class TextMetrics:
    """What one update of an agent that writes texts did; its page in `docs/agents` tells more."""

    num_timesteps: int
    reward: float
    reward_std: float
    gold: float
    kl: float
    kl_max: float
    length: float
    eos_rate: float
    entropy: float
    dead_groups: float
    advantage_std: float
    loss: float
    clip_fraction: float
    ratio_max: float
    gradient_norm: float
    gradient_steps: int
    learning_rate: float
    beta: float
    episodes: int
    episode_return: float
    episode_length: float
    steps_per_second: float


class Texts:
    """A batch as tensors where the policy's weights are, float32 [n, T]; 0 in the padding.

    Attributes:
        batch: as it was written.
        mask: the new tokens, EOS included.
        log_probs: of the policy that wrote.
        reference: of the reference; asked for where the KL divergence is wanted.
        rewards: of the texts [n].
    """

    def __init__(self, policy: Any, batch: TextBatch) -> None:
        self.policy, self.batch = policy, batch
        self.mask = torch.from_numpy(batch.mask).to(policy.device)
        self.log_probs, self._reference, self.rewards = (
            torch.from_numpy(np.asarray(values, np.float32)).to(policy.device)
            for values in (batch.log_probs, batch.ref_log_probs, batch.rewards)
        )
        b = batch
        self._rows = b.tokens, b.lengths, b.prompt_lengths
        self._base = policy.base_of(*self._rows, b.mask.shape[1])

    @property
    def reference(self) -> Tensor:
        """Log-probabilities of the reference.

        Raises:
            SettingError: it never writes one of the texts: the divergence from it is infinite.
        """
        if np.isneginf(self.batch.ref_log_probs).any():
            raise SettingError(
                "the policy has written a token that the task masks, since its reference policy "
                "never writes it: KL(π ‖ ref) is infinite. Take start='reference', which cannot "
                "write it, or a reference without weights of 0."
            )
        return self._reference

    def evaluate(self, rows: NDArray[np.int64]) -> TextOutputs:
        """What the policy says now of some of them, with gradient."""
        base = None if self._base is None else self._base[rows]
        some = (array[rows] for array in self._rows)
        outputs: TextOutputs = self.policy.evaluate(*some, self.mask.shape[1], base=base)
        return outputs


def penalised(texts: Texts, beta: float, kind: Any) -> Tensor:
    """The rewards of all tokens with the KL term in them, [n, T]; see `shaped_rewards`."""
    reference = texts.reference if beta else texts.log_probs  # at 0 nothing is paid for it
    return shaped_rewards(texts.rewards, texts.log_probs, reference, texts.mask, beta=beta, kl=kind)


@dataclass(slots=True)
class _Sums:
    """Sums over the parts of an update, weighted by their tokens."""

    tokens: int = 0
    entropy: float = 0.0
    clipped: float = 0.0
    loss: float = 0.0
    ratio_max: float = 0.0


def descend(
    agent: Any,
    texts: Texts,
    terms: Callable[[TextOutputs, NDArray[np.int64]], Tensor],
    *,
    aggregate: Any,
    level: str = "token",
    clip_range: float | tuple[float, float] = math.inf,
    kept: NDArray[np.int64] | None = None,
) -> dict[str, float]:
    """`n_epochs` passes over a batch: in each `minibatches` gradient steps, in `microbatches` each.

    A gradient does not depend on `microbatches`: each token weighs what it weighs in its minibatch.

    Args:
        agent: offers `policy`, `optimizer`, `rng`, `settings` and `num_timesteps`.
        texts: the batch.
        terms: of what the policy says of rows, and of these rows: the loss of each token [b, T].
        aggregate: how tokens become one number; see `token_policy_loss`.
        level: of the ratio whose clipping is told.
        clip_range: ε of it.
        kept: rows that are learned from; None is all.

    Returns:
        Metrics of the update, by name; NaN where no row was kept.

    Raises:
        DivergenceError: a gradient is not finite.
    """
    s, n_tokens = agent.settings, int(texts.batch.mask.sum())
    rate = rate_at(s.learning_rate, agent.num_timesteps - n_tokens, s.total_timesteps)
    rows = np.arange(len(texts.mask)) if kept is None else kept
    length = texts.mask.shape[1] if aggregate == "constant" else None
    sums, norms = _Sums(), []
    for _ in range(s.n_epochs if len(rows) else 0):
        order = agent.rng.permutation(rows) if s.minibatches > 1 else rows
        for chosen in np.array_split(order, min(s.minibatches, len(rows))):
            weights = token_weights(texts.mask[chosen], aggregate, length, like=texts.log_probs)
            agent.optimizer.zero_grad()
            for part in np.array_split(np.arange(len(chosen)), min(s.microbatches, len(chosen))):
                outputs = texts.evaluate(chosen[part])
                loss = (weights[part] * terms(outputs, chosen[part])).sum()
                loss.backward()
                _note(sums, texts, outputs, chosen[part], float(loss.detach()), level, clip_range)
            norms.append(clipped_step(agent, rate, s.max_grad_norm))
    counted, steps = sums.tokens or math.nan, len(norms) or math.nan
    return {
        "entropy": sums.entropy / counted,
        "clip_fraction": sums.clipped / counted,
        "ratio_max": sums.ratio_max,
        "loss": sums.loss / steps,
        "gradient_norm": sum(norms) / steps,
        "gradient_steps": len(norms),
        "learning_rate": rate,
    }


def _note(
    sums: _Sums,
    texts: Texts,
    outputs: TextOutputs,
    rows: NDArray[np.int64],
    loss: float,
    level: str,
    clip_range: float | tuple[float, float],
) -> None:
    """Adds what a part of a minibatch looked like."""
    mask = texts.mask[rows]
    ratio = log_ratio(outputs.log_probs.detach(), texts.log_probs[rows], mask, level).exp()
    low, high = clip_range if isinstance(clip_range, tuple) else (clip_range, clip_range)
    beyond = ((ratio < 1 - low) | (ratio > 1 + high)).expand(mask.shape) & mask
    sums.tokens += int(mask.sum())
    sums.entropy += float(outputs.entropies.detach().sum())
    sums.clipped += float(beyond.sum())
    sums.loss += loss
    sums.ratio_max = max(sums.ratio_max, float(ratio.max()))


def clipped_step(agent: Any, rate: float, max_norm: float) -> float:
    """One step of the optimiser down the gradient; its norm before it was clipped.

    Raises:
        DivergenceError: the norm is not finite.
    """
    for group in agent.optimizer.param_groups:
        group["lr"] = rate
    norm = float(torch.nn.utils.clip_grad_norm_(agent.policy.parameters(), max_norm))
    if not math.isfinite(norm):
        raise DivergenceError(
            f"the norm of the gradient is {norm}: the training has diverged, and stops before the "
            "weights do. Lower the learning rate, or raise beta."
        )
    agent.optimizer.step()
    return norm


def tell_texts(
    agent: Any,
    batch: TextBatch,
    advantages: Tensor,
    told: dict[str, float],
    group_size: int,
    metrics_type: type = TextMetrics,
) -> None:
    """Sets `agent.metrics` after an update, and hands them to `agent.on_update`.

    Args:
        agent: whose update it was.
        batch: what it learned from.
        advantages: of its texts [n], or of their tokens [n, T], 0 in the padding.
        told: by `descend`, and what else its metrics have.
        group_size: texts of a prompt.
        metrics_type: a frozen dataclass with the fields of `TextMetrics`.
    """
    ratios = np.where(batch.mask, batch.log_probs - batch.ref_log_probs, 0.0).sum(axis=1)
    groups = np.asarray(batch.rewards).reshape(-1, group_size)
    if advantages.ndim == 2:
        advantages = advantages[torch.from_numpy(batch.mask).to(advantages.device)]
    tell(
        agent,
        metrics_type,
        reward=float(np.mean(batch.rewards)),
        reward_std=float(np.std(batch.rewards)),
        gold=math.nan if batch.gold is None else float(np.mean(batch.gold)),
        kl=float(ratios.mean()),
        kl_max=float(ratios.max()),
        length=float(batch.mask.sum(axis=1).mean()),
        eos_rate=float(1.0 - np.mean(batch.no_eos)),
        dead_groups=float(np.mean(np.ptp(groups, axis=1) == 0)) if group_size > 1 else math.nan,
        advantage_std=float(advantages.std(correction=0)),
        beta=agent.beta,
        **told,
    )
