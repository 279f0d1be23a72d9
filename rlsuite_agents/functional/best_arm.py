"""The probability that an arm is the best, for independent beliefs about K arms."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["best_probabilities"]

Floats = NDArray[np.float64]
TINY = 1e-12
"""Beliefs narrower than this share of what separates the arms count as this narrow."""


def best_probabilities(
    location: Any, scale: Any, dof: Any = None, mask: Any = None
) -> NDArray[np.float64]:
    """P(arm a draws the largest), for independent draws location + scale · Z.

        P(a) = ∫ f_a(x) Π_{b≠a} F_b(x) dx

    Z is normal, or Student's t. By Gauss-Legendre between the quantiles of all arms at every half
    of a standard score from -7 to 7, so that no belief is too narrow to be seen; accurate to about
    1e-9. Arms that are known for certain and equal share what is theirs.

    Args:
        location: [K].
        scale: at least 0, [K].
        dof: degrees of freedom of the t distribution, [K], above 0; None for the normal one.
        mask: [K], the arms that compete; None for all.

    Returns:
        Probabilities [K], 0 for the arms left out, summing to 1.
    """
    location = np.asarray(location, np.float64)
    allowed = np.ones(len(location), bool) if mask is None else np.asarray(mask, bool)
    m = location[allowed]
    s = np.asarray(scale, np.float64)[allowed]
    reach = max(float(s.max()), float(np.ptp(m)))
    result = np.zeros(len(location))
    if reach == 0.0:
        result[allowed] = 1.0 / len(m)
        return result
    m, s = (m - m.max()) / reach, np.maximum(s / reach, TINY)
    nu = (
        None
        if dof is None
        else np.broadcast_to(np.asarray(dof, np.float64), len(location))[allowed]
    )
    result[allowed] = _quadrature(m[:, None], s[:, None], nu if nu is None else nu[:, None])
    return result / result.sum()


def _quadrature(m: Floats, s: Floats, nu: Floats | None) -> Floats:
    from scipy import special

    score = np.arange(-7.0, 7.5, 0.5)
    if nu is not None:  # by symmetry from the lower tail, which is exact where the upper one is not
        half = special.stdtrit(nu, special.ndtr(score[:15]))
        score = np.concatenate([half, -half[:, -2::-1]], axis=1)
    edges = np.unique(m + s * score)
    nodes, weights = np.polynomial.legendre.leggauss(12)
    half_width = np.diff(edges)[:, None] / 2
    x = ((edges[:-1] + edges[1:])[:, None] / 2 + half_width * nodes).ravel()
    dx = (half_width * weights).ravel()
    z = (x - m) / s
    if nu is None:
        below, density = special.ndtr(z), np.exp(-0.5 * z * z)
    else:
        below, density = special.stdtr(nu, z), (1.0 + z * z / nu) ** (-(nu + 1.0) / 2.0)
    density /= (density * dx).sum(axis=1, keepdims=True)
    return np.array(
        [(density[k] * np.delete(below, k, axis=0).prod(axis=0) * dx).sum() for k in range(len(m))]
    )
