"""Rates that fall with time, written in the settings as text: "lin_x" falls from x to 0."""

from __future__ import annotations

import math

from registry.errors import SettingError
from rlsuite_agents.parts.settings import check_count

__all__ = ["check_horizon", "check_rate", "linear_start", "rate_at"]

Rate = float | str
"""A number, or "lin_x"."""


def linear_start(rate: str) -> float:
    """Reads x from "lin_x"; NaN where the text is another one."""
    kind, _, number = rate.partition("_")
    try:
        return float(number) if kind == "lin" else math.nan
    except ValueError:
        return math.nan


def rate_at(rate: Rate, step: int, horizon: int | None) -> float:
    """The rate after `step` of `horizon` steps; 0 from there on if it falls."""
    if not isinstance(rate, str):
        return float(rate)
    if horizon is None:  # `check_horizon` has refused it
        raise SettingError(f"the rate {rate!r} falls to 0 over a number of steps, got None.")
    return linear_start(rate) * max(0.0, 1.0 - step / horizon)


def check_rate(config: object, name: str, *, none: bool = False) -> None:
    """Raises `SettingError` unless the setting is a number above 0 or "lin_x" with such an x.

    With `none`, None is right too.
    """
    value = getattr(config, name)
    if none and value is None:
        return
    number = linear_start(value) if isinstance(value, str) else value
    good = isinstance(number, int | float) and not isinstance(number, bool)
    if not (good and math.isfinite(number) and number > 0):
        known = 'a number above 0, or "lin_x" with such an x' + (", or None" if none else "")
        raise SettingError(f"{type(config).__name__}.{name} must be {known}, got {value!r}.")


def check_horizon(config: object, *rates: str) -> None:
    """Raises `SettingError` where one of a rate that falls and `total_timesteps` is alone."""
    horizon = getattr(config, "total_timesteps")  # noqa: B009  (any dataclass of settings)
    if horizon is not None:
        check_count(config, "total_timesteps", 1)
    falling = [name for name in rates if isinstance(getattr(config, name), str)]
    kind = type(config).__name__
    if falling and horizon is None:
        raise SettingError(
            f"{kind}.{falling[0]} is {getattr(config, falling[0])!r}, which falls to 0 over "
            "total_timesteps: set total_timesteps to the steps of the whole training."
        )
    if horizon is not None and not falling:
        raise SettingError(
            f"{kind}.total_timesteps is read only where a rate falls: leave it out, or write "
            f'{" or ".join(rates)} as "lin_x", got {horizon!r}.'
        )
