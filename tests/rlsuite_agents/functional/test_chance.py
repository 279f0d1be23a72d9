"""Draws by hand."""

from __future__ import annotations

import pytest

from rlsuite_agents.functional import chance


class Uniform:
    """Draws what it is told."""

    def __init__(self, u):
        self.u = u

    def random(self):
        return self.u


@pytest.mark.parametrize(
    ("u", "arm"), [(0.0, 1), (0.2499, 1), (0.25, 3), (0.999, 3), (1.0 - 2**-53, 3)]
)
def test_an_arm_by_inverse_cdf(u, arm):
    """π = 0, ¼, 0, ¾, 0: arms of probability 0 are never drawn, whatever rounding leaves."""
    assert chance.draw_from([0.0, 0.25, 0.0, 0.75, 0.0], Uniform(u)) == arm
    assert chance.draw_from([0.0, 0.2, 0.0, 0.7, 0.0], Uniform(0.95)) == 3  # sums to less than 1
