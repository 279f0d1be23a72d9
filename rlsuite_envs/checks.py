"""Checks that all environments share: of keywords, and of saved states."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from registry.errors import SettingError

__all__ = ["check_count", "check_flag", "check_real", "check_state", "generator_from"]


def check_count(setting: str, value: object, *, low: int = 1) -> int:
    """`value` as a Python int.

    Raises:
        SettingError: it is not a whole number of at least `low`.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < low:
        raise SettingError(f"{setting} must be a whole number of at least {low}, got {value!r}.")
    return int(value)


def check_flag(setting: str, value: object) -> bool:
    """`value` as it is.

    Raises:
        SettingError: it is not True or False.
    """
    if not isinstance(value, bool):
        raise SettingError(f"{setting} must be True or False, got {value!r}.")
    return value


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
