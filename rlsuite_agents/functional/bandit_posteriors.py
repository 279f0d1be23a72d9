"""Posteriors of bandit arms: quantiles, draws, and the probability of being the best.

Rules take one row of K arms and scalars, in explicit loops that also run compiled, bit for bit the
same; what draws is handed a `numpy.random.Generator`. `mask` [K] says which arms are allowed (None:
all). The probabilities at the end are computed only where somebody asks, with SciPy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "bayes_ucb_indices",
    "best_probabilities",
    "beta_quantile",
    "beta_survival",
    "log_gamma",
    "nig_best_probabilities",
    "nig_update",
    "normal_best_probabilities",
    "thompson_nig",
    "thompson_normal",
]

Floats = NDArray[np.float64]

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


def beta_quantile(a: float, b: float, tail: float, low: float, log_beta: float) -> float:
    """The x with P(X > x) = `tail` for X ~ Beta(a, b), not below `low`, to about 1e-12.

    Newton's method on ln P, kept in a bracket. `low`: a number that is known to lie below x, or 0.
    """
    high = 1.0
    mean = a / (a + b)
    x = min(max(mean, low), 1.0 - 1e-9)
    spread = math.sqrt(mean * (1.0 - mean) / (a + b + 1.0))
    guess = mean + spread * _score(tail)
    if low < guess < 1.0:
        x = guess
    for _ in range(100):
        survival = beta_survival(a, b, x, log_beta)
        if survival > tail:
            low = x
        else:
            high = x
        density = math.exp((a - 1.0) * math.log(x) + (b - 1.0) * math.log1p(-x) - log_beta)
        x_next = x
        if survival > 0.0 and density > 0.0:
            x_next = x + survival * math.log(survival / tail) / density
        if not low < x_next < high:
            x_next = 0.5 * (low + high)
        step = abs(x_next - x)
        x = x_next
        if step <= 1e-12 * x or high - low <= 1e-15:
            break
    return x


def _score(tail: float) -> float:
    """A rough standard score with that much above it (Abramowitz & Stegun 26.2.22)."""
    p = min(tail, 1.0 - tail)
    if p <= 0.0:
        return 0.0
    t = math.sqrt(-2.0 * math.log(p))
    z = t - (2.30753 + 0.27061 * t) / (1.0 + t * (0.99229 + 0.04481 * t))
    return z if tail < 0.5 else -z


def bayes_ucb_indices(alpha: Any, beta: Any, tail: float, mask: Any, out: Any) -> None:
    """Writes posterior quantiles of the level 1 - `tail` of Beta(α_a, β_a), as far as they matter.

    One probability decides whether an arm's quantile is above the largest one so far (Kaufmann,
    Cappé & Garivier 2012, algorithm 1); only then is it computed. An arm that is certain to lose
    gets -1. Arms of the same posterior get the same number. With a `tail` of 1 all quantiles are 0.
    """
    k, winner, start = len(alpha), -1, _promising(alpha, beta, tail)
    for i in range(k):
        a = (start + i) % k
        out[a] = 0.0 if tail >= 1.0 else -1.0
        if tail >= 1.0 or not (mask is None or mask[a]):
            continue
        if winner >= 0 and alpha[a] == alpha[winner] and beta[a] == beta[winner]:
            out[a] = out[winner]
            continue
        log_beta = log_gamma(alpha[a]) + log_gamma(beta[a]) - log_gamma(alpha[a] + beta[a])
        low = 0.0 if winner < 0 else out[winner]
        if winner < 0 or beta_survival(alpha[a], beta[a], low, log_beta) > tail:
            out[a] = beta_quantile(alpha[a], beta[a], tail, low, log_beta)
            winner = a


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


def best_probabilities(
    quantiles: Callable[[Floats], Floats],
    below: Callable[[Floats], Floats],
    density: Callable[[Floats], Floats],
) -> Floats:
    """P(arm a is the best) = ∫ f_a(x) Π_{b≠a} F_b(x) dx, one quadrature per arm: [K], sums to 1.

    Gauss-Legendre between the quantiles of all arms at every half of a standard score from -7 to 7,
    so that no posterior is too narrow to be seen; accurate to about 1e-9.

    Args:
        quantiles: levels [Q] to quantiles [K, Q].
        below: points [N] to F [K, N].
        density: points [N] to f [K, N].
    """
    from scipy import special

    edges = np.unique(quantiles(special.ndtr(np.arange(-7.0, 7.5, 0.5))))
    nodes, weights = np.polynomial.legendre.leggauss(12)
    half = np.diff(edges)[:, None] / 2
    x = ((edges[:-1] + edges[1:])[:, None] / 2 + half * nodes).ravel()
    cdf, mass = below(x), density(x) * (half * weights).ravel()
    others = [np.delete(cdf, a, axis=0).prod(axis=0) for a in range(len(cdf))]
    result = np.array([(m * o).sum() for m, o in zip(mass, others, strict=True)])
    return result / result.sum()


def normal_best_probabilities(means: Any, deviations: Any, mask: Any = None) -> Floats:
    """P(arm a is the best) for independent N(mean_a, deviation_a²): [K], 0 for arms left out."""
    from scipy import stats

    return _among_allowed(mask, lambda m, s: stats.norm(m, s), means, deviations)


def nig_best_probabilities(
    means: Any, strengths: Any, shapes: Any, scales: Any, mask: Any = None
) -> Floats:
    """P(arm a is the best) where means are normal-inverse-gamma: [K], 0 for arms left out.

    A mean is Student's t with 2a degrees of freedom about m, of the scale √(b / (a κ)).
    """
    from scipy import stats

    def posterior(m: Floats, kappa: Floats, a: Floats, b: Floats) -> Any:
        return stats.t(2.0 * a, m, np.sqrt(b / (a * kappa)))

    return _among_allowed(mask, posterior, means, strengths, shapes, scales)


def _among_allowed(mask: Any, posterior: Callable[..., Any], *parameters: Any) -> Floats:
    columns = [np.asarray(p, np.float64) for p in parameters]
    allowed = np.ones(len(columns[0]), bool) if mask is None else np.asarray(mask, bool)
    law = posterior(*(column[allowed, None] for column in columns))
    result = np.zeros(len(allowed))
    result[allowed] = best_probabilities(law.ppf, law.cdf, law.pdf)
    return result
