"""Gradients of actor-critic losses at the outputs of the networks, written by hand.

The losses are those of `functional.policy_gradient`, means over a minibatch, to be minimised; here
they come with their derivatives with respect to logits, means and values. Explicit loops over rows
and actions that numba compiles as they stand. A minibatch is a selection `rows` [B] of a rollout of
n rows: what the networks put out has B rows, what the rollout holds has n.

`sums` [5] receives means over the minibatch: the clipped surrogate loss, the entropy, the estimate
(r - 1) - log r of the KL divergence from the old policy (Schulman 2020, k3), the share of ratios
outside 1 ± ε, and the value loss.
"""

from __future__ import annotations

import math
from typing import Any

__all__ = [
    "CLIPPED",
    "ENTROPY",
    "KL",
    "POLICY_LOSS",
    "VALUE_LOSS",
    "allowed",
    "categorical_gradient",
    "draw_categorical",
    "gaussian_gradient",
    "gaussian_log_prob",
    "log_partition",
    "standardise",
    "value_gradient",
]

POLICY_LOSS, ENTROPY, KL, CLIPPED, VALUE_LOSS = range(5)
LOG_RATIO_MAX = 80.0  # as in `policy_gradient`: what exp can take and leave room to multiply
HALF_LOG_TAU = 0.5 * math.log(2.0 * math.pi)


def draw_categorical(logits: Any, mask: Any, u: Any, actions: Any, log_prob: Any) -> None:
    """An action a row by inverse CDF, and its log-probability.

    Args:
        logits: [N, A].
        mask: allowed actions, bool [N, A], at least one a row; or [0, 0] where all are.
        u: uniform draws in [0, 1), [N].
        actions: receives them, int64 [N].
        log_prob: receives log π(A|S), [N].
    """
    for i in range(len(logits)):
        z = log_partition(logits[i], mask, i)
        left, last = float(u[i]), 0
        for a in range(logits.shape[1]):
            if allowed(mask, i, a):
                last = a
                left -= math.exp(logits[i, a] - z)
                if left < 0.0:
                    break
        actions[i] = last
        log_prob[i] = logits[i, last] - z


def categorical_gradient(
    logits: Any,
    mask: Any,
    actions: Any,
    old_log_prob: Any,
    advantages: Any,
    rows: Any,
    clip_range: float,
    entropy_weight: float,
    d_logits: Any,
    sums: Any,
) -> None:
    """PPO's clipped surrogate minus the weighted entropy (Schulman et al. 2017, eq. 7 and 9).

        L = -mean [ min(r A, clip(r, 1 - ε, 1 + ε) A) + c H(π) ],   π = softmax(logits)
        ∂ log π(a) / ∂ logit_b = 1{a = b} - π(b),   ∂H / ∂ logit_b = -π(b) (log π(b) + H)

    Args:
        logits: [B, A].
        mask: allowed actions, bool [n, A], or [0, 0] where all are.
        actions: int64 [n].
        old_log_prob: log π_old(A|S), [n].
        advantages: [B].
        rows: int64 [B].
        clip_range: ε > 0; infinity clips nothing.
        entropy_weight: c, at least 0.
        d_logits: receives ∂L / ∂ logits, [B, A].
        sums: receives the first four means; see the module.
    """
    n = len(rows)
    sums[:4] = 0.0
    for k in range(n):
        i = rows[k]
        z = log_partition(logits[k], mask, i)
        h = z
        for b in range(logits.shape[1]):
            if allowed(mask, i, b):
                h -= math.exp(logits[k, b] - z) * logits[k, b]
        log_ratio = logits[k, actions[i]] - z - old_log_prob[i]
        slope = _surrogate(log_ratio, advantages[k], clip_range, sums)
        sums[ENTROPY] += h
        for b in range(logits.shape[1]):
            d_logits[k, b] = 0.0
            if allowed(mask, i, b):
                log_p = logits[k, b] - z
                p = math.exp(log_p)
                chosen = 1.0 if b == actions[i] else 0.0
                ascent = slope * (chosen - p) - entropy_weight * p * (log_p + h)
                d_logits[k, b] = -ascent / n
    for j in range(4):
        sums[j] /= n


def gaussian_log_prob(means: Any, log_std: Any, actions: Any, log_prob: Any) -> None:
    """Log N(a; μ, σ) of independent coordinates: means, actions [N, D], log_std [D] to [N]."""
    for i in range(len(means)):
        log_prob[i] = _gaussian_log_prob(means[i], log_std, actions[i])


def gaussian_gradient(
    means: Any,
    log_std: Any,
    actions: Any,
    old_log_prob: Any,
    advantages: Any,
    rows: Any,
    clip_range: float,
    entropy_weight: float,
    d_means: Any,
    d_log_std: Any,
    sums: Any,
) -> None:
    """`categorical_gradient` for a Gaussian policy with one log σ for all states.

        ∂ log π / ∂μ = (a - μ) / σ²,   ∂ log π / ∂ log σ = ((a - μ) / σ)² - 1,   ∂H / ∂ log σ = 1

    Args:
        means: μ, [B, D].
        log_std: log σ, [D].
        actions: before any clipping to bounds, [n, D].
        old_log_prob: [n].
        advantages: [B].
        rows: int64 [B].
        clip_range: ε > 0; infinity clips nothing.
        entropy_weight: c, at least 0.
        d_means: receives ∂L / ∂μ, [B, D].
        d_log_std: receives ∂L / ∂ log σ, [D].
        sums: receives the first four means; see the module.
    """
    n, size = len(rows), len(log_std)
    sums[:4] = 0.0
    h = 0.0
    for j in range(size):
        h += 0.5 + HALF_LOG_TAU + log_std[j]
        d_log_std[j] = -entropy_weight
    for k in range(n):
        i = rows[k]
        log_ratio = _gaussian_log_prob(means[k], log_std, actions[i]) - old_log_prob[i]
        slope = _surrogate(log_ratio, advantages[k], clip_range, sums)
        for j in range(size):
            inverse = math.exp(-log_std[j])
            x = (actions[i, j] - means[k, j]) * inverse
            d_means[k, j] = -slope * x * inverse / n
            d_log_std[j] -= slope * (x * x - 1.0) / n
    for j in range(4):
        sums[j] /= n
    sums[ENTROPY] = h


def value_gradient(
    values: Any,
    old_values: Any,
    returns: Any,
    rows: Any,
    clip_range: float,
    weight: float,
    d_values: Any,
    sums: Any,
) -> None:
    """The value loss, its change clipped as in the code of Schulman et al. (Huang et al. 2022, 9).

        L = mean max( (v - G)², (v_old + clip(v - v_old, -ε, ε) - G)² )

    Args:
        values: v, [B, 1].
        old_values: v_old of the network that acted, [n].
        returns: G, [n].
        rows: int64 [B].
        clip_range: ε > 0; infinity gives the plain squared error.
        weight: of L in the whole loss, which the gradient is of.
        d_values: receives weight · ∂L / ∂v, [B, 1].
        sums: receives L in its last place.
    """
    n, total = len(rows), 0.0
    for k in range(n):
        i = rows[k]
        error = values[k, 0] - returns[i]
        change = min(max(values[k, 0] - old_values[i], -clip_range), clip_range)
        held = old_values[i] + change - returns[i]
        free = error * error >= held * held or abs(values[k, 0] - old_values[i]) <= clip_range
        total += error * error if free else held * held
        d_values[k, 0] = 2.0 * weight * error / n if free else 0.0
    sums[VALUE_LOSS] = total / n


def standardise(advantages: Any, rows: Any, out: Any) -> None:
    """(A - mean) / (std + 1e-8) over the minibatch: advantages [n], rows [B] to out [B].

    The standard deviation is the unbiased one; a minibatch of one row is left as it is.
    """
    n, total, squares = len(rows), 0.0, 0.0
    for k in range(n):
        total += advantages[rows[k]]
    mean = total / n
    for k in range(n):
        squares += (advantages[rows[k]] - mean) * (advantages[rows[k]] - mean)
    spread = math.sqrt(squares / (n - 1)) + 1e-8 if n > 1 else 1.0
    mean = mean if n > 1 else 0.0
    for k in range(n):
        out[k] = (advantages[rows[k]] - mean) / spread


def allowed(mask: Any, i: int, a: int) -> bool:
    """Whether row i of a mask [n, A] allows action a; a mask [0, 0] allows all."""
    return len(mask) == 0 or mask[i, a]


def log_partition(logits: Any, mask: Any, i: int) -> float:
    """Log Σ exp(logits) over what row i of a mask [n, A] allows; logits [A]."""
    top = -math.inf
    for a in range(len(logits)):
        if allowed(mask, i, a):
            top = max(top, logits[a])
    total = 0.0
    for a in range(len(logits)):
        if allowed(mask, i, a):
            total += math.exp(logits[a] - top)
    return top + math.log(total)


def _surrogate(log_ratio: float, advantage: float, clip_range: float, sums: Any) -> float:
    """Adds a row to `sums`; returns ∂ min(r A, clip(r) A) / ∂ log π, 0 where the clip decides."""
    ratio = math.exp(min(log_ratio, LOG_RATIO_MAX))
    held = min(max(ratio, 1.0 - clip_range), 1.0 + clip_range)
    free = ratio * advantage <= held * advantage
    sums[POLICY_LOSS] -= min(ratio * advantage, held * advantage)
    sums[KL] += (ratio - 1.0) - log_ratio
    sums[CLIPPED] += 1.0 if abs(ratio - 1.0) > clip_range else 0.0
    return ratio * advantage if free else 0.0


def _gaussian_log_prob(mean: Any, log_std: Any, action: Any) -> float:
    """Of one row, [D]."""
    total = 0.0
    for j in range(len(log_std)):
        x = (action[j] - mean[j]) * math.exp(-log_std[j])
        total -= 0.5 * x * x + log_std[j] + HALF_LOG_TAU
    return total
