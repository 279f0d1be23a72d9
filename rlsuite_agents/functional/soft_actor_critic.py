"""Targets and losses of soft actor-critic, with their gradients written by hand.

Explicit loops over the rows of a minibatch [B] that numba compiles as they stand. Two critics value
what a policy does that is paid α for its entropy (Haarnoja et al. 2018); the smaller value counts
(Fujimoto et al. 2018). A squashed Gaussian policy acts in (-1, 1)^D, a softmax policy among A
actions (Christodoulou 2019). A transition says with its discount how its target goes on: γ, or 0
after a terminal state; at a time limit it is not 0.
"""

from __future__ import annotations

import math
from typing import Any

from rlsuite_agents.functional.actor_critic import HALF_LOG_TAU, allowed, log_partition

__all__ = [
    "CRITIC_LOSS",
    "LARGEST_Q",
    "LOG_STD_MAX",
    "LOG_STD_MIN",
    "MEAN_ERROR",
    "MEAN_Q",
    "critic_gradient",
    "move",
    "smaller_gradient",
    "soft_targets",
    "softmax_gradient",
    "softmax_values",
    "squashed_gradient",
    "squashed_sample",
]

CRITIC_LOSS, MEAN_ERROR, MEAN_Q, LARGEST_Q = range(4)
"""Places in the `sums` of `critic_gradient`."""

LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0
"""Between which log σ is held, as in the code of Haarnoja et al."""


def move(target: Any, theta: Any, tau: Any) -> None:
    """θ⁻ ← θ⁻ + τ (θ - θ⁻), a Polyak average of the latest θ.

    Args:
        target: θ⁻, float32 [P], changed.
        theta: θ, [P].
        tau: τ, float32.
    """
    for i in range(len(target)):
        target[i] += tau * (theta[i] - target[i])


def soft_targets(rewards: Any, discounts: Any, values: Any, targets: Any) -> None:
    """Y = R + γ' V(S') (Haarnoja et al. 2018b, eq. 5 and 6).

    Args:
        rewards: R, [B].
        discounts: γ', [B].
        values: V(S') by the target critics, [B]; not read where γ' = 0.
        targets: receives y, [B].
    """
    for i in range(len(rewards)):
        targets[i] = rewards[i]
        if discounts[i] > 0.0:
            targets[i] += discounts[i] * values[i]


def critic_gradient(
    q_1: Any, q_2: Any, actions: Any, targets: Any, d_q_1: Any, d_q_2: Any, sums: Any
) -> None:
    """The squared errors of both critics and their gradient (Haarnoja et al. 2018b, eq. 5).

        L = ½ mean δ_1² + ½ mean δ_2²,   δ_k = Q_k(S, A) - y

    Args:
        q_1: Q_1(S, ·), [B, A]; one column where the critic is told the action.
        q_2: Q_2(S, ·), alike.
        actions: the column of A, int64 [B].
        targets: y, [B].
        d_q_1: receives ∂L / ∂Q_1, [B, A].
        d_q_2: receives ∂L / ∂Q_2, [B, A].
        sums: receives L, and of both critics mean |δ|, mean Q(S, A) and the largest Q(S, A), [4].
    """
    n = len(actions)
    sums[:] = 0.0
    sums[LARGEST_Q] = -math.inf
    for q, d_q in ((q_1, d_q_1), (q_2, d_q_2)):
        for i in range(n):
            for a in range(q.shape[1]):
                d_q[i, a] = 0.0
            value = q[i, actions[i]]
            delta = value - targets[i]
            d_q[i, actions[i]] = delta / n
            sums[CRITIC_LOSS] += 0.5 * delta * delta / n
            sums[MEAN_ERROR] += 0.5 * abs(delta) / n
            sums[MEAN_Q] += 0.5 * value / n
            sums[LARGEST_Q] = max(sums[LARGEST_Q], value)


# --- a squashed Gaussian policy -----------------------------------------------------------------


def squashed_sample(outputs: Any, noise: Any, actions: Any, log_prob: Any) -> None:
    """Actions a = tanh(u), u = μ + σ ε, and their log-densities (Haarnoja et al. 2018a, app. C).

        log π(a) = log N(u; μ, σ) - Σ log(1 - tanh²(u))

    log(1 - tanh²(u)) = 2 (log 2 - u - softplus(-2u)) stays exact where tanh(u) rounds to 1.

    Args:
        outputs: μ and, after it, log σ, held between `LOG_STD_MIN` and `LOG_STD_MAX`, [N, 2 D].
        noise: ε, standard normal, [N, D].
        actions: receives a, [N, D].
        log_prob: receives log π(a), [N].
    """
    n, size = noise.shape
    for i in range(n):
        total = 0.0
        for j in range(size):
            log_std = min(max(float(outputs[i, size + j]), LOG_STD_MIN), LOG_STD_MAX)
            e = float(noise[i, j])
            u = float(outputs[i, j]) + math.exp(log_std) * e
            actions[i, j] = math.tanh(u)
            softplus = max(-2.0 * u, 0.0) + math.log1p(math.exp(-abs(2.0 * u)))
            total -= 0.5 * e * e + log_std + HALF_LOG_TAU
            total -= 2.0 * (math.log(2.0) - u - softplus)
        log_prob[i] = total


def smaller_gradient(q_1: Any, q_2: Any, values: Any, d_q_1: Any, d_q_2: Any) -> None:
    """The smaller of two values, and where the gradient of minus its mean flows.

    Args:
        q_1: [B, 1].
        q_2: [B, 1].
        values: receives min(Q_1, Q_2), [B].
        d_q_1: receives -1 / B where Q_1 is the smaller one, else 0, [B, 1].
        d_q_2: receives -1 / B elsewhere, [B, 1].
    """
    n = len(values)
    for i in range(n):
        first = q_1[i, 0] <= q_2[i, 0]
        values[i] = q_1[i, 0] if first else q_2[i, 0]
        d_q_1[i, 0] = -1.0 / n if first else 0.0
        d_q_2[i, 0] = 0.0 if first else -1.0 / n


def squashed_gradient(
    outputs: Any, noise: Any, actions: Any, d_actions: Any, alpha: float, d_outputs: Any
) -> None:
    """Back through `squashed_sample`, ε held fixed (Haarnoja et al. 2018b, eq. 9 and 10).

        L = mean [ α log π(a) - Q(S, a) ]
        ∂L / ∂μ = 2 α a / B + ∂L/∂a (1 - a²),   ∂L / ∂ log σ = ∂L/∂μ σ ε - α / B

    Where log σ is held at a bound it gets no gradient.

    Args:
        outputs: [B, 2 D].
        noise: ε, [B, D].
        actions: a, [B, D].
        d_actions: ∂(-mean Q) / ∂a, [B, D].
        alpha: α, at least 0.
        d_outputs: receives ∂L / ∂ outputs, [B, 2 D].
    """
    n, size = noise.shape
    for i in range(n):
        for j in range(size):
            a, log_std = float(actions[i, j]), float(outputs[i, size + j])
            d_mean = 2.0 * alpha * a / n + d_actions[i, j] * (1.0 - a * a)
            d_outputs[i, j] = d_mean
            d_outputs[i, size + j] = 0.0
            if LOG_STD_MIN <= log_std <= LOG_STD_MAX:
                spread = math.exp(log_std) * noise[i, j]
                d_outputs[i, size + j] = d_mean * spread - alpha / n


# --- a softmax policy ---------------------------------------------------------------------------


def softmax_values(logits: Any, mask: Any, q_1: Any, q_2: Any, alpha: float, values: Any) -> None:
    """V(S) = Σ_a π(a) (min_k Q_k(S, a) - α log π(a)) (Christodoulou 2019, eq. 10).

    Args:
        logits: π = softmax(logits), [B, A].
        mask: allowed actions, bool [B, A], at least one a row; [0, 0] allows all.
        q_1: [B, A].
        q_2: [B, A].
        alpha: α, at least 0.
        values: receives V, [B].
    """
    for i in range(len(logits)):
        z, total = log_partition(logits[i], mask, i), 0.0
        for a in range(logits.shape[1]):
            if allowed(mask, i, a):
                log_p = logits[i, a] - z
                total += math.exp(log_p) * (min(q_1[i, a], q_2[i, a]) - alpha * log_p)
        values[i] = total


def softmax_gradient(
    logits: Any, mask: Any, q_1: Any, q_2: Any, alpha: float, d_logits: Any, sums: Any
) -> None:
    """The loss of a softmax policy and its gradient (Christodoulou 2019, eq. 12).

        L = mean Σ_a π(a) f_a,   f_a = α log π(a) - min_k Q_k(S, a)
        ∂L / ∂ logit_b = π(b) (f_b - Σ_a π(a) f_a) / B

    Args:
        logits: [B, A].
        mask: as of `softmax_values`.
        q_1: [B, A].
        q_2: [B, A].
        alpha: α, at least 0.
        d_logits: receives ∂L / ∂ logits, [B, A].
        sums: receives L and the mean entropy, [2].
    """
    n = len(logits)
    sums[:] = 0.0
    for i in range(n):
        z, f_mean, h = log_partition(logits[i], mask, i), 0.0, 0.0
        for a in range(logits.shape[1]):
            d_logits[i, a] = 0.0
            if allowed(mask, i, a):
                log_p = logits[i, a] - z
                p = math.exp(log_p)
                f_mean += p * (alpha * log_p - min(q_1[i, a], q_2[i, a]))
                h -= p * log_p
        for a in range(logits.shape[1]):
            if allowed(mask, i, a):
                log_p = logits[i, a] - z
                f = alpha * log_p - min(q_1[i, a], q_2[i, a])
                d_logits[i, a] = math.exp(log_p) * (f - f_mean) / n
        sums[0] += f_mean / n
        sums[1] += h / n
