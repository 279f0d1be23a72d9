"""Posteriors of bandit arms: quantiles, updates and draws.

Rules take one row of K arms and scalars, in explicit loops that also run compiled, bit for bit the
same; what draws is handed a `numpy.random.Generator`. `mask` [K] says which arms are allowed (None:
all).
"""

from __future__ import annotations

import math
from typing import Any

__all__ = [
    "bayes_ucb_indices",
    "beta_quantile",
    "beta_survival",
    "log_beta_of",
    "log_gamma",
    "nig_update",
    "surely_below",
    "thompson_nig",
    "thompson_normal",
]

HALF_LOG_2PI = 0.9189385332046727
TINY = 1e-300
CLOSE = 3e-16
"""Where the continued fraction ends."""


def log_gamma(x: float) -> float:
    """The logarithm of Γ(x) for x > 0, to about 1e-14: Stirling's series, shifted.

    (`math.lgamma` differs between Python and compiled code in its last bits.)
    """
    shift = 1.0
    while x < 10.0:
        shift *= x
        x += 1.0
    r = 1.0 / x
    z = r * r
    series = 1.0 / 1188.0 - z * (691.0 / 360360.0 - z / 156.0)
    series = 1.0 / 12.0 - z * (1.0 / 360.0 - z * (1.0 / 1260.0 - z * (1.0 / 1680.0 - z * series)))
    return (x - 0.5) * math.log(x) - x + HALF_LOG_2PI + series * r - math.log(shift)


def beta_survival(a: float, b: float, x: float, log_beta: float) -> float:
    """P(X > x) for X ~ Beta(a, b) and x in (0, 1), to about 1e-13 relative where it is small.

    By the continued fraction of the incomplete beta function (Abramowitz & Stegun 26.5.8), by
    Lentz's method on the side where it converges fast. `log_beta`: ln B(a, b).
    """
    front = math.exp(a * math.log(x) + b * math.log1p(-x) - log_beta)
    if x > a / (a + b):
        return front * _fraction(b, a, 1.0 - x) / b
    return 1.0 - front * _fraction(a, b, x) / a


def _fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of I_x(a, b)."""
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / (d if abs(d) > TINY else TINY)
    h, m = d, 1.0
    while m < 1000.0:
        m2 = m + m
        even = m * (b - m) * x / ((a + m2 - 1.0) * (a + m2))
        d = 1.0 + even * d
        c = 1.0 + even / c
        d = 1.0 / (d if abs(d) > TINY else TINY)
        h *= c * d
        odd = -(a + m) * (a + b + m) * x / ((a + m2) * (a + m2 + 1.0))
        d = 1.0 + odd * d
        c = 1.0 + odd / c
        d = 1.0 / (d if abs(d) > TINY else TINY)
        change = c * d
        h *= change
        if abs(change - 1.0) < CLOSE:
            break
        m += 1.0
    return h


def surely_below(a: float, b: float, x: float, log_beta: float, tail: float) -> bool:
    """Whether a bound shows that P(X > x) < `tail` for X ~ Beta(a, b): False says nothing.

    The series of the incomplete beta function is below a geometric one with its first two terms, or
    with the ratio 1 - x where that is larger.
    """
    y = 1.0 - x
    ratio = max((a + b) * y / (b + 1.0), y)
    if ratio >= 1.0:
        return False
    log_front = a * math.log(x) + b * math.log1p(-x) - log_beta
    return log_front < math.log(tail * b * (1.0 - ratio))


def beta_quantile(a: float, b: float, tail: float, low: float, log_beta: float) -> float:
    """The x with P(X > x) = `tail` for X ~ Beta(a, b), not below `low`, to about 1e-12.

    Newton's method on ln P, kept in a bracket. `low`: a number that is known to lie below x, or 0.
    """
    high, x = 1.0, _guess(a, b, tail)
    if not low < x < high:
        x = 0.5 * (low + high)
    for _ in range(100):
        survival = beta_survival(a, b, x, log_beta)
        if survival > tail:
            low = x
        else:
            high = x
        density = math.exp((a - 1.0) * math.log(x) + (b - 1.0) * math.log1p(-x) - log_beta)
        x_next = -1.0
        if survival > 0.0 and density > 0.0:
            x_next = x + survival * math.log(survival / tail) / density
        newton = low < x_next < high
        if not newton:
            x_next = 0.5 * (low + high)
        step = abs(x_next - x)
        x = x_next
        if (newton and step <= 1e-7 * min(x, 1.0 - x)) or high - low <= 1e-15:
            break  # the error left is of the order of the square of the step
    return x


def _guess(a: float, b: float, tail: float) -> float:
    """Roughly the quantile of Beta(a, b) (Abramowitz & Stegun 26.5.22; normal for a, b below 1)."""
    y = _score(tail)
    if min(a, b) < 1.0:
        mean = a / (a + b)
        return mean + y * math.sqrt(mean * (1.0 - mean) / (a + b + 1.0))
    p, q = 1.0 / (2.0 * a - 1.0), 1.0 / (2.0 * b - 1.0)
    curve, h = (y * y - 3.0) / 6.0, 2.0 / (p + q)
    root = math.sqrt(max(h + curve, 0.0))
    w = -y * root / h - (q - p) * (curve + 5.0 / 6.0 - 2.0 / (3.0 * h))
    return a / (a + b * math.exp(2.0 * w))


def _score(tail: float) -> float:
    """A rough standard score with that much above it (Abramowitz & Stegun 26.2.23)."""
    p = min(tail, 1.0 - tail)
    if p <= 0.0:
        return 0.0
    t = math.sqrt(-2.0 * math.log(p))
    z = t - (2.515517 + t * (0.802853 + t * 0.010328)) / (
        1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308))
    )
    return z if tail < 0.5 else -z


def log_beta_of(alpha: Any, beta: Any, arm: int) -> float:
    """The logarithm of B(α, β) of one arm."""
    a, b = alpha[arm], beta[arm]
    return log_gamma(a) + log_gamma(b) - log_gamma(a + b)


def bayes_ucb_indices(
    alpha: Any, beta: Any, log_beta: Any, tail: float, mask: Any, out: Any
) -> None:
    """Writes posterior quantiles of the level 1 - `tail` of Beta(α_a, β_a), as far as they matter.

    One probability decides whether an arm's quantile is above the largest one so far (Kaufmann,
    Cappé & Garivier 2012, algorithm 1); only then is it computed. An arm that is certain to lose
    gets -1. Arms of the same posterior get the same number. With a `tail` of 1 all quantiles are 0.

    Args:
        alpha: α [K].
        beta: β [K].
        log_beta: ln B(α, β), [K].
        tail: in (0, 1].
        mask: [K], or None.
        out: [K].
    """
    k, winner, first = len(alpha), -1, _promising(alpha, beta, tail)
    for i in range(k):
        a = (first + i) % k
        out[a] = 0.0 if tail >= 1.0 else -1.0
        if tail >= 1.0 or not (mask is None or mask[a]):
            continue
        if winner < 0:
            out[a] = beta_quantile(alpha[a], beta[a], tail, 0.0, log_beta[a])
            winner = a
        elif alpha[a] == alpha[winner] and beta[a] == beta[winner]:
            out[a] = out[winner]
        elif _above(alpha[a], beta[a], out[winner], log_beta[a], tail):
            out[a] = beta_quantile(alpha[a], beta[a], tail, out[winner], log_beta[a])
            winner = a


def _above(a: float, b: float, x: float, log_beta: float, tail: float) -> bool:
    """Whether the quantile is above x: P(X > x) > `tail`."""
    if surely_below(a, b, x, log_beta, tail):
        return False
    return beta_survival(a, b, x, log_beta) > tail


def _promising(alpha: Any, beta: Any, tail: float) -> int:
    """The arm whose quantile is the largest if posteriors were normal: a good one to begin with."""
    score, best, largest = _score(tail), 0, -math.inf
    for a in range(len(alpha)):
        n = alpha[a] + beta[a]
        mean = alpha[a] / n
        guess = mean + score * math.sqrt(mean * (1.0 - mean) / (n + 1.0))
        if guess > largest:
            best, largest = a, guess
    return best


def thompson_normal(means: Any, deviations: Any, mask: Any, rng: Any) -> int:
    """The allowed arm whose draw from N(mean_a, deviation_a²) is the largest; one draw for each."""
    best, largest = -1, -math.inf
    for a in range(len(means)):
        if mask is None or mask[a]:
            theta = means[a] + deviations[a] * rng.standard_normal()
            if best < 0 or theta > largest:
                best, largest = a, theta
    return best


def nig_update(
    x: float, mean: float, strength: float, shape: float, scale: float
) -> tuple[float, float, float, float]:
    """One observation x of a normal with unknown mean and variance: (m, κ, a, b), updated.

    σ² ~ IG(a, b), mean ~ N(m, σ²/κ) (Murphy 2007, section 3). b grows by ½ κ (x - m)² / (κ + 1),
    which is never negative.
    """
    error, after = x - mean, strength + 1.0
    return (
        mean + error / after,
        after,
        shape + 0.5,
        scale + 0.5 * strength * error * error / after,
    )


def thompson_nig(means: Any, strengths: Any, shapes: Any, scales: Any, mask: Any, rng: Any) -> int:
    """The allowed arm whose drawn mean is the largest: σ² = b / Gamma(a), then N(m, σ²/κ).

    Two draws for each allowed arm, in their order.
    """
    best, largest = -1, -math.inf
    for a in range(len(means)):
        if mask is None or mask[a]:
            variance = scales[a] / rng.standard_gamma(shapes[a])
            theta = means[a] + math.sqrt(variance / strengths[a]) * rng.standard_normal()
            if best < 0 or theta > largest:
                best, largest = a, theta
    return best
