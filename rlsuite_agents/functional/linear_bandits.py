"""Linear beliefs about arms: ridge regression, normal-inverse-gamma, logistic with Laplace.

Each of K arms has weights θ over the d features of a context x, and a precision matrix

    A = λ I + Σ w x xᵀ

of which the inverse is kept, in float64, and updated by Sherman and Morrison's formula. Rules take
one context, in explicit loops that run compiled bit for bit the same: sums over a matrix go column
by column, so that they run in vector registers without another order of their terms.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from rlsuite_agents.functional.chance import draw_from

__all__ = [
    "REFRESH",
    "LinearBeliefs",
    "inverse_by_cholesky",
    "linear_value",
    "logistic",
    "logistic_mode",
    "logistic_update",
    "matrix_times",
    "optimistic_scores",
    "ridge_update",
    "scaled_draws",
    "scores_and_widths",
    "shared_scores",
    "square_cb_arm",
    "square_cb_gamma",
    "square_cb_probabilities",
    "thompson_scores",
    "value_scores",
]

REFRESH = 4096
"""After so many pulls of an arm its inverse is computed afresh: rounding does not add up."""


class LinearBeliefs(NamedTuple):
    """What is believed of K arms, and room to compute in. All float64 but `pulls`."""

    theta: Any  # θ, [K, d]
    a_inv: Any  # A⁻¹, [K, d, d]
    a: Any  # A, [K, d, d]
    moment: Any  # Σ r x, [K, d]
    rate: Any  # b of the inverse gamma belief about the noise variance, [K]
    pulls: Any  # int64 [K]
    width: float  # α, v or γ: what multiplies the exploration
    shape: float  # a of the inverse gamma prior; 0 where the noise variance is not learned
    power: float  # of the number of decisions in SquareCB's γ
    values: Any  # scores of the present context, [K]
    widths: Any  # √(xᵀ A⁻¹ x), [K]
    draws: Any  # what multiplies the widths, [K]
    ax: Any  # A⁻¹ x, [d]
    factor: Any  # room for a Cholesky factor, [d, d]


def linear_value(theta: Any, x: Any) -> float:
    """xᵀθ. One row: [d]."""
    value = 0.0
    for i in range(len(x)):
        value += x[i] * theta[i]
    return value


def matrix_times(matrix: Any, x: Any, out: Any) -> float:
    """Writes M x of a symmetric matrix [d, d] into `out` [d]; returns xᵀ M x, never below 0."""
    d = len(x)
    for i in range(d):
        out[i] = 0.0
    for j in range(d):
        row, factor = matrix[j], x[j]
        for i in range(d):
            out[i] += row[i] * factor
    return max(linear_value(out, x), 0.0)


def subtract_outer(matrix: Any, v: Any, c: float) -> None:
    """M ← M - c v vᵀ in place; a symmetric matrix stays exactly symmetric."""
    d = len(v)
    for i in range(d):
        row, factor = matrix[i], v[i]
        for j in range(d):
            row[j] -= factor * v[j] * c


def inverse_by_cholesky(a: Any, factor: Any, out: Any) -> bool:
    """Writes A⁻¹ into `out`, by the Cholesky factor of A; all [d, d].

    Returns:
        Whether A is positive definite in float64; if not, `out` is as it was.
    """
    d = len(a)
    if not _cholesky(a, factor):
        return False
    for j in range(d):  # the factor's own inverse in its place, column by column
        factor[j, j] = 1.0 / factor[j, j]
        for i in range(j + 1, d):
            total = 0.0
            for k in range(j, i):
                total -= factor[i, k] * factor[k, j]
            factor[i, j] = total / factor[i, i]
    for i in range(d):
        for j in range(i + 1):
            total = 0.0
            for k in range(i, d):
                total += factor[k, i] * factor[k, j]
            out[i, j] = total
            out[j, i] = total
    return True


def _cholesky(a: Any, factor: Any) -> bool:
    """Writes L of A = L Lᵀ into the lower triangle; returns whether A is positive definite."""
    for i in range(len(a)):
        for j in range(i + 1):
            total = a[i, j]
            for k in range(j):
                total -= factor[i, k] * factor[j, k]
            if i > j:
                factor[i, j] = total / factor[j, j]
            elif total > 0.0:
                factor[i, i] = math.sqrt(total)
            else:
                return False
    return True


def scores_and_widths(beliefs: Any, x: Any) -> None:
    """Writes xᵀθ into `values` and √(xᵀ A⁻¹ x) into `widths`, for each arm."""
    for k in range(len(beliefs.values)):
        beliefs.values[k] = linear_value(beliefs.theta[k], x)
        beliefs.widths[k] = math.sqrt(matrix_times(beliefs.a_inv[k], x, beliefs.ax))


def shared_scores(beliefs: Any, rows: Any) -> None:
    """`optimistic_scores` of one θ for all arms; `rows` [K, d] are what is seen of each."""
    for k in range(len(rows)):
        width = math.sqrt(matrix_times(beliefs.a_inv[0], rows[k], beliefs.ax))
        beliefs.values[k] = linear_value(beliefs.theta[0], rows[k]) + beliefs.width * width


def value_scores(beliefs: Any, x: Any) -> None:
    """Writes xᵀθ of each arm into `values`."""
    for k in range(len(beliefs.values)):
        beliefs.values[k] = linear_value(beliefs.theta[k], x)


def optimistic_scores(beliefs: Any, x: Any) -> None:
    """Writes xᵀθ + α √(xᵀ A⁻¹ x) into `values` (Li et al. 2010, algorithm 1, line 8)."""
    scores_and_widths(beliefs, x)
    for k in range(len(beliefs.values)):
        beliefs.values[k] += beliefs.width * beliefs.widths[k]


def thompson_scores(beliefs: Any, x: Any) -> None:
    """Writes xᵀθ + draw · √(xᵀ A⁻¹ x) into `values`: xᵀθ̃ for θ̃ ~ N(θ, σ² A⁻¹), arm by arm."""
    scores_and_widths(beliefs, x)
    for k in range(len(beliefs.values)):
        beliefs.values[k] += beliefs.draws[k] * beliefs.widths[k]


def scaled_draws(beliefs: Any, rng: Any) -> None:
    """Draws v σ z for each arm into `draws`, z ~ N(0, 1).

    σ² = b / Gamma(a, 1) with a = a₀ + n / 2 where the noise variance is learned, else 1. First all
    gamma draws, arm by arm, then all normal ones.
    """
    for k in range(len(beliefs.draws)):
        beliefs.draws[k] = beliefs.width
        if beliefs.shape > 0.0:
            gamma = rng.standard_gamma(beliefs.shape + 0.5 * beliefs.pulls[k])
            beliefs.draws[k] *= math.sqrt(beliefs.rate[k] / gamma)
    for k in range(len(beliefs.draws)):
        beliefs.draws[k] *= rng.standard_normal()


def ridge_update(beliefs: Any, x: Any, arm: int, r: float) -> None:
    """One pull: ridge regression of the arm and its noise variance, O(d²).

        q = xᵀA⁻¹x,    A⁻¹ ← A⁻¹ - (A⁻¹x)(A⁻¹x)ᵀ / (1 + q),    θ ← θ + A⁻¹x (r - xᵀθ) / (1 + q)
        b ← b + ½ (r - xᵀθ)² / (1 + q)

    with the old A⁻¹ and θ on the right. The increment of b equals that of the textbook's
    ½ (yᵀy - θᵀAθ), but is never negative.
    """
    theta, a_inv = beliefs.theta[arm], beliefs.a_inv[arm]
    q = matrix_times(a_inv, x, beliefs.ax)
    error = r - linear_value(theta, x)
    step = error / (1.0 + q)
    for i in range(len(x)):
        theta[i] += beliefs.ax[i] * step
        beliefs.moment[arm, i] += r * x[i]
    beliefs.rate[arm] += 0.5 * error * step
    subtract_outer(a_inv, beliefs.ax, 1.0 / (1.0 + q))
    if _count(beliefs, x, arm, 1.0):
        matrix_times(a_inv, beliefs.moment[arm], theta)


def logistic(u: float) -> float:
    """1 / (1 + exp(-u)), without overflow."""
    if u >= 0.0:
        return 1.0 / (1.0 + math.exp(-u))
    e = math.exp(u)
    return e / (1.0 + e)


def logistic_mode(u: float, q: float, r: float) -> float:
    """The mode of a logit with the belief N(u, q), after one reward r in [0, 1].

    Solves s = u + q (r - σ(s)) by Newton's method, and halves the interval that holds the root
    where that would leave it or gains too little.
    """
    low, high, s, latest = u + q * (r - 1.0), u + q * r, u, q
    for _ in range(100):
        p = logistic(s)
        error = s - u - q * (r - p)
        if error > 0.0:
            high = s
        else:
            low = s
        step = error / (1.0 + q * p * (1.0 - p))
        if abs(step) > 0.5 * latest or not low <= s - step <= high:
            step = s - 0.5 * (low + high)
        s, latest = s - step, abs(step)
        if latest <= 1e-14 * (1.0 + abs(s)):
            break
    return s


def logistic_update(beliefs: Any, x: Any, arm: int, r: float) -> None:
    """One pull: the Laplace approximation about the mode of belief times likelihood, O(d²).

    s = xᵀθ + q (r - σ(s)),    θ ← θ + A⁻¹x (r - σ(s)),    A ← A + σ(s)(1 - σ(s)) x xᵀ
    """
    theta, a_inv = beliefs.theta[arm], beliefs.a_inv[arm]
    q = matrix_times(a_inv, x, beliefs.ax)
    p = logistic(logistic_mode(linear_value(theta, x), q, r))
    weight = p * (1.0 - p)
    for i in range(len(x)):
        theta[i] += beliefs.ax[i] * (r - p)
    subtract_outer(a_inv, beliefs.ax, weight / (1.0 + weight * q))
    _count(beliefs, x, arm, weight)


def _count(beliefs: Any, x: Any, arm: int, weight: float) -> bool:
    """A ← A + w x xᵀ, n ← n + 1; returns whether A⁻¹ was computed afresh from A."""
    subtract_outer(beliefs.a[arm], x, -weight)
    beliefs.pulls[arm] += 1
    if beliefs.pulls[arm] % REFRESH != 0:
        return False
    return inverse_by_cholesky(beliefs.a[arm], beliefs.factor, beliefs.a_inv[arm])


def square_cb_probabilities(values: Any, gamma: float, mask: Any, out: Any) -> None:
    """Inverse gap weighting (Abe & Long 1999; Foster & Rakhlin 2020, algorithm 1) into `out` [K].

    p_a = 1 / (K + γ (f* - f_a)) for all allowed arms but the first of the best, which has the
    rest; K counts the allowed arms.
    """
    best, n = -1, 0
    for k in range(len(values)):
        if mask is None or mask[k]:
            n += 1
            if best < 0 or values[k] > values[best]:
                best = k
    rest = 1.0
    for k in range(len(values)):
        out[k] = 0.0
        if k != best and (mask is None or mask[k]):
            out[k] = 1.0 / (n + gamma * (values[best] - values[k]))
            rest -= out[k]
    out[best] = rest


def square_cb_gamma(beliefs: Any) -> float:
    """γ₀ tᵖ at the present decision, t from 1."""
    t = 1
    for k in range(len(beliefs.pulls)):
        t += beliefs.pulls[k]
    return math.pow(float(t), beliefs.power) * float(beliefs.width)


def square_cb_arm(beliefs: Any, mask: Any, rng: Any) -> int:
    """Draws an arm by inverse gap weighting of `values`."""
    square_cb_probabilities(beliefs.values, square_cb_gamma(beliefs), mask, beliefs.draws)
    return draw_from(beliefs.draws, rng)
