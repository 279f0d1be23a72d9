"""Where a single run lands: intervals that hold most runs, not the mean of the runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from registry.errors import SettingError
from rlsuite.statistics.scores import Floats, check_level, table

__all__ = ["ToleranceInterval", "ToleranceMethod", "tolerance_interval"]

ToleranceMethod = Literal["auto", "nonparametric", "normal"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ToleranceInterval:
    """A range that holds at least a share `content` of all runs, with confidence `level`.

    `low` and `high` are None where the runs are too few for the method; `note` says how many it
    takes. `method` is `nonparametric` (order statistics: for any distribution) or `normal`.
    """

    low: float | None
    high: float | None
    content: float
    level: float
    method: str
    n: int
    note: str = ""


def tolerance_interval(
    x: ArrayLike,
    content: float = 0.9,
    level: float = 0.95,
    method: ToleranceMethod = "auto",
) -> ToleranceInterval:
    """What to expect of one more run of the same kind; an interval of the mean does not say that.

    `nonparametric` (Wilks 1941): the r-th smallest and r-th largest run, with the largest r for
    which P(Beta(n + 1 - 2r, 2r) > content) >= level. For 90% with confidence 95% it takes 46 runs.
    `normal`: mean ± k s with the exact two-sided factor (Wald and Wolfowitz 1946; Odeh 1978)

        √(n/2π) ∫ P(χ²_{n-1} > (n - 1) R(z)²/k²) exp(-n z²/2) dz = level,
        Φ(z + R) - Φ(z - R) = content.

    It needs runs that are normally distributed, and is wrong by as much as they are not: runs that
    fail outright are the common case. `auto` takes the first where there are runs enough.

    Args:
        x: the runs of one task, `[N]`; NaN is a missing run.
        content: the share of runs to be held, in (0, 1).
        level: the confidence, in (0, 1).
        method: see above.

    Raises:
        SettingError: no run, more than one task, an infinite number, or a setting out of range.
    """
    values = table(x)
    if values.shape[1] != 1:
        raise SettingError(
            f"a tolerance interval is for the runs of one task, got {values.shape[1]} tasks."
        )
    check_level(level)
    if not 0.0 < content < 1.0:
        raise SettingError(f"content is a share of the runs, in (0, 1), got {content!r}.")
    if method not in get_args(ToleranceMethod):
        raise SettingError(f"method must be one of {get_args(ToleranceMethod)}, got {method!r}.")
    runs = np.sort(values[~np.isnan(values)])
    cut = _cut(len(runs), content, level)
    if method == "nonparametric" or (method == "auto" and cut > 0):
        low, high, note = _ordered(runs, cut, content, level)
        kind = "nonparametric"
    else:
        low, high, note = _normal(runs, content, level)
        kind = "normal"
    return ToleranceInterval(
        low=low, high=high, content=content, level=level, method=kind, n=len(runs), note=note
    )


Ends = tuple[float | None, float | None, str]


def _ordered(runs: Floats, cut: int, content: float, level: float) -> Ends:
    if cut == 0:
        return (
            None,
            None,
            f"no interval: without assumptions it takes {_enough(content, level)} runs",
        )
    return float(runs[cut - 1]), float(runs[len(runs) - cut]), ""


def _normal(runs: Floats, content: float, level: float) -> Ends:
    if len(runs) == 1:
        return None, None, "no interval: a single run says nothing about how much runs differ"
    centre = float(runs.mean())
    half = normal_factor(len(runs), content, level) * float(runs.std(ddof=1))
    equal = "all runs are equal, so the interval has no width"
    return centre - half, centre + half, equal if half == 0.0 else "assumes normal runs"


def _cut(count: int, content: float, level: float) -> int:
    """The largest r for which the r-th smallest and largest hold the content; 0 if none does."""
    from scipy.special import betainc

    r = np.arange(1, count // 2 + 1)
    if not len(r):
        return 0
    confidence = 1.0 - betainc(count + 1.0 - 2.0 * r, 2.0 * r, content)
    return int((confidence >= level).sum())  # it falls with r


def _enough(content: float, level: float) -> int:
    """The smallest number of runs whose smallest and largest hold the content."""
    count = 2
    while _cut(count, content, level) == 0:
        count += 1
    return count


def normal_factor(count: int, content: float, level: float) -> float:
    """Factor k of the normal tolerance interval, for a sample of `count` runs; exact, two-sided."""
    from scipy.optimize import brentq
    from scipy.special import chdtrc

    # Gauss-Legendre over |z| < 9/√n, where exp(-n z²/2) is below 1e-17 at the ends
    nodes, weights = np.polynomial.legendre.leggauss(64)
    z = 9.0 / np.sqrt(count) * (nodes + 1.0) / 2.0
    density = 9.0 / np.sqrt(2.0 * np.pi) * np.exp(-0.5 * count * z**2) * weights  # both halves
    radius = np.array([_radius(float(one), content) for one in z])

    def lacking(k: float) -> float:
        confidence = chdtrc(count - 1.0, (count - 1.0) * (radius / k) ** 2)
        return float((density * confidence).sum()) - level

    upper = 2.0
    while lacking(upper) < 0.0:
        upper *= 2.0
    return float(brentq(lacking, 1e-6, upper, xtol=1e-12))


def _radius(z: float, content: float) -> float:
    """R with Φ(z + R) - Φ(z - R) = content."""
    from scipy.optimize import brentq
    from scipy.special import ndtr

    return float(
        brentq(lambda r: ndtr(z + r) - ndtr(z - r) - content, 0.0, abs(z) + 40.0, xtol=1e-13)
    )
