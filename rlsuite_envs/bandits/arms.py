"""What all bandits share: checks of their keywords, the arm that an action names, saved generators.

Also the constant of Lai and Robbins for arms that pay 0 or 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from registry.errors import InvalidActionError, SettingError

__all__ = [
    "arm_index",
    "bernoulli_kl",
    "check_count",
    "check_real",
    "check_state",
    "generator_from",
    "lai_robbins_constant",
]


def check_count(setting: str, value: object, *, low: int = 1) -> int:
    """`value` as a Python int.

    Raises:
        SettingError: it is not a whole number of at least `low`.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < low:
        raise SettingError(f"{setting} must be a whole number of at least {low}, got {value!r}.")
    return int(value)


def check_real(setting: str, value: object, what: str, low: float, high: float) -> float:
    """`value` as a finite Python float in [low, high]; `what` describes the right kind of value.

    Raises:
        SettingError: it is not a number, not finite, or outside the range.
    """
    if not isinstance(value, bool) and isinstance(value, int | float | np.integer | np.floating):
        number = float(value)
        if math.isfinite(number) and low <= number <= high:
            return number
    raise SettingError(f"{setting} must be {what}, got {value!r}.")


def arm_index(action: Any, n_arms: int) -> int:
    """The arm that `action` names, 0 to n_arms - 1.

    Raises:
        InvalidActionError: the action is not in `Discrete(n_arms)`.
    """
    array = isinstance(action, np.ndarray) and action.shape == () and action.dtype.kind in "iu"
    if (array or isinstance(action, int | np.integer)) and 0 <= action < n_arms:
        return int(action)
    raise InvalidActionError(
        f"action {action!r} is not in the action space: it must be a whole number from 0 to "
        f"{n_arms - 1}, one for each arm."
    )


def check_state(name: str, state: object, keys: Iterable[str]) -> Mapping[str, Any]:
    """`state` as a mapping with exactly `keys`.

    Raises:
        SettingError: it is something else.
    """
    wanted = sorted(keys)
    if not isinstance(state, Mapping) or sorted(map(str, state)) != wanted:
        given = sorted(map(str, state)) if isinstance(state, Mapping) else type(state).__name__
        raise SettingError(
            f"{name}.set_state takes what get_state() returned, a dictionary with the keys "
            f"{', '.join(wanted)}; got {given}."
        )
    return state


def generator_from(name: str, state: Any) -> np.random.Generator:
    """A generator that goes on from the saved state of a PCG64 bit generator.

    Raises:
        SettingError: it is no such state.
    """
    bits = np.random.PCG64()
    try:
        bits.state = state
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise SettingError(
            f"{name}.set_state: 'rng' must be the state of a PCG64 generator, got {state!r}."
        ) from error
    return np.random.Generator(bits)


def bernoulli_kl(p: float, q: float) -> float:
    """kl(p, q) = p ln(p/q) + (1-p) ln((1-p)/(1-q)) for p, q in [0, 1], with 0 ln 0 = 0.

    Infinite where q is 0 or 1 and p is not.
    """
    total = 0.0
    for x, y in ((p, q), (1.0 - p, 1.0 - q)):
        if x > 0.0:
            total += x * math.log(x / y) if y > 0.0 else math.inf
    return total


def lai_robbins_constant(means: Sequence[float]) -> float:
    """C(μ) = Σ_{a: μ_a < μ*} (μ* - μ_a) / kl(μ_a, μ*), of arms that pay 1 with probability μ_a.

    The regret of every uniformly good policy grows at least like C(μ) ln T as T → ∞ (Lai &
    Robbins 1985, Theorem 1). It is a slope in the limit, not a floor at any finite T: good policies
    lie below it for a long time. 0 where all arms are equal, or where the best one always pays.
    """
    best = max(means)
    return math.fsum((best - mean) / bernoulli_kl(mean, best) for mean in means if mean < best)
