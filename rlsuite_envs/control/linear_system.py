"""Linear dynamics, quadratic cost, bounded noise: sums written once, for one state and for many.

Notation: x state [n], u input [m], F the largest input, a = u / F the action in [-1, 1], H steps.

    x' = A x + B u + w        cost x'Qx + u'Ru

Coordinates of the start are uniform in [-start, start], those of the noise w in [-√3 noise,
√3 noise], so that noise is their standard deviation; all are independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Floats", "LinearSystem", "optimal_gains", "quadratic", "riccati", "times"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearSystem:
    """A, Q [n, n], B [n, m], R [m, m], the spreads of start and noise, and H."""

    A: Floats
    B: Floats
    Q: Floats
    R: Floats
    start: float
    noise: float
    horizon: int

    @property
    def noise_bound(self) -> float:
        """The largest noise of a coordinate."""
        return float(np.sqrt(3.0) * self.noise)

    @cached_property
    def costs_to_go(self) -> Floats:
        """P_t of the Riccati recursion, shape [H + 1, n, n], the last one 0."""
        return riccati(self, self.horizon)

    @cached_property
    def gains(self) -> Floats:
        """The optimal u_t = K_t x_t, shape [H, m, n]."""
        return optimal_gains(self, self.costs_to_go)

    def largest(self, gains: Floats) -> tuple[Floats, Floats]:
        """The largest |u_i| and |x_i| that u_t = K_t x_t can lead to, of all starts and noises.

        Exactly so: |K_t| times each source's share of x_t, its bound attained by some draw.

        Args:
            gains: K, shape [T, m, n].

        Returns:
            Shapes [m] and [n], the largest over T steps.
        """
        n = len(self.A)
        # what the start, and each noise so far, has become: x_t = Σ shares @ source
        shares = np.eye(n)[None]
        bounds = np.array([self.start])
        most_u, most_x = np.zeros(self.B.shape[1]), np.full(n, self.start)
        for gain in gains:
            most_u = np.maximum(most_u, np.einsum("smn,s->m", np.abs(gain @ shares), bounds))
            shares = np.concatenate([(self.A + self.B @ gain) @ shares, np.eye(n)[None]])
            bounds = np.append(bounds, self.noise_bound)
            most_x = np.maximum(most_x, np.einsum("smn,s->m", np.abs(shares), bounds))
        return most_u, most_x

    def reach(self, force: Floats) -> Floats:
        """The largest |x_i| within H steps, of all starts, noises and inputs up to `force` [m]."""
        power: Floats = np.eye(len(self.A))
        bound: Floats = np.zeros(len(self.A))
        most: Floats = np.full(len(self.A), self.start)
        with np.errstate(over="ignore", invalid="ignore"):  # the caller looks at the result
            for _ in range(self.horizon):
                bound += np.abs(power @ self.B) @ force
                bound += self.noise_bound * np.abs(power).sum(axis=1)
                power = np.asarray(self.A @ power)
                np.maximum(most, bound + self.start * np.abs(power).sum(axis=1), out=most)
        return most


def riccati(system: LinearSystem, horizon: int) -> Floats:
    """P_t = Q + A'PA - A'PB (R + B'PB)^-1 B'PA with P = P_{t+1}, backwards from 0: [H + 1, n, n].

    Bertsekas, Dynamic Programming and Optimal Control, Vol. I, §3.1 (without a final cost).
    """
    found = np.zeros((horizon + 1, *system.A.shape))
    for t in range(horizon - 1, -1, -1):
        after = found[t + 1]
        gain = _gain(system, after)
        cost = system.Q + system.A.T @ after @ (system.A + system.B @ gain)
        found[t] = (cost + cost.T) / 2  # symmetric but for rounding
    return found


def optimal_gains(system: LinearSystem, costs_to_go: Floats) -> Floats:
    """K_t of the optimal u_t = K_t x_t, shape [H, m, n], from the P_t."""
    return np.stack([_gain(system, after) for after in costs_to_go[1:]])


def _gain(system: LinearSystem, after: Floats) -> Floats:
    price = system.R + system.B.T @ after @ system.B
    gain = -np.linalg.solve(price, system.B.T @ after @ system.A)
    return gain.astype(np.float64)


def times(matrix: Sequence[Sequence[float]], x: Sequence[Any]) -> list[Any]:
    """M x, one product after the other, so that floats and columns of many rows give equal bits.

    Args:
        matrix: Rows of Python floats.
        x: Coordinates: floats, or arrays [rows].
    """
    found = []
    for row in matrix:
        total = row[0] * x[0]
        for entry, coordinate in zip(row[1:], x[1:], strict=True):
            total = total + entry * coordinate
        found.append(total)
    return found


def quadratic(matrix: Sequence[Sequence[float]], x: Sequence[Any]) -> Any:
    """x'Mx, in the same manner."""
    image = times(matrix, x)
    total = x[0] * image[0]
    for coordinate, other in zip(x[1:], image[1:], strict=True):
        total = total + coordinate * other
    return total
