"""Checks of settings, worded alike."""

from __future__ import annotations

import math
from typing import Any

from registry.errors import SettingError

__all__ = ["check_count", "check_flag", "check_range"]


def check_range(config: Any, name: str, interval: str) -> None:
    """Raises `SettingError` unless the setting is a finite number in an interval like (0, 1]."""
    value = getattr(config, name)
    low, high = (float(end) for end in interval[1:-1].split(","))
    ends = {low: interval[0] == "[", high: interval[-1] == "]"}
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not (low < value < high or ends.get(value)):
        what = f"{type(config).__name__}.{name} must be a number in {interval}"
        raise SettingError(f"{what}, got {value!r}.")


def check_count(config: Any, name: str, low: int) -> None:
    """Raises `SettingError` unless the setting is a whole number of at least `low`."""
    value = getattr(config, name)
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        what = f"{type(config).__name__}.{name} must be a whole number of at least {low}"
        raise SettingError(f"{what}, got {value!r}.")


def check_flag(config: Any, name: str) -> None:
    """Raises `SettingError` unless the setting is True or False."""
    value = getattr(config, name)
    if not isinstance(value, bool):
        raise SettingError(f"{type(config).__name__}.{name} must be True or False, got {value!r}.")
