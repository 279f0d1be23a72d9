"""Checks of settings, worded alike."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from registry.errors import SettingError

__all__ = [
    "check_choice",
    "check_count",
    "check_flag",
    "check_network",
    "check_range",
    "check_replay",
    "check_unread",
    "check_widths",
    "hidden_layers",
]


def check_range(config: Any, name: str, interval: str) -> None:
    """Raises `SettingError` unless the setting is a finite number in an interval like (0, 1]."""
    value = getattr(config, name)
    low, high = (float(end) for end in interval[1:-1].split(","))
    ends = {low: interval[0] == "[", high: interval[-1] == "]"}
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not (low < value < high or ends.get(value)):
        what = f"{type(config).__name__}.{name} must be a number in {interval}"
        raise SettingError(f"{what}, got {value!r}.")


def check_choice(config: Any, name: str, choices: Sequence[str]) -> None:
    """Raises `SettingError` unless the setting is one of the texts."""
    value = getattr(config, name)
    if value not in choices:
        what = f"{type(config).__name__}.{name} must be one of {', '.join(map(repr, choices))}"
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


def check_network(config: Any, *, none: bool = False) -> None:
    """Checks `activation` and `net_arch`, which may be None with `none`; raises `SettingError`."""
    check_choice(config, "activation", ("tanh", "relu"))
    check_widths(config, "net_arch", none=none)


def check_replay(config: Any) -> None:
    """Checks what agents with a replay memory have in common; raises `SettingError`."""
    for name in ("num_envs", "buffer_size", "batch_size", "train_freq"):
        check_count(config, name, 1)
    check_count(config, "learning_starts", 0)
    check_count(config, "gradient_steps", -1)
    check_range(config, "gamma", "[0, 1]")
    check_range(config, "tau", "(0, 1]")
    name = type(config).__name__
    if config.gradient_steps == 0:
        raise SettingError(f"{name}.gradient_steps must be at least 1, or -1, got 0.")
    if config.batch_size > config.buffer_size:
        raise SettingError(
            f"{name}.batch_size must be at most buffer_size, {config.buffer_size}, got "
            f"{config.batch_size}."
        )


def check_unread(config: Any, names: Sequence[str], where: str, *, unless: bool = False) -> None:
    """Raises `SettingError` where a setting that nobody reads is not the default.

    `where`: when the settings are read, for the error. `unless`: whether that is so.
    """
    for field in dataclasses.fields(config):
        if not unless and field.name in names and getattr(config, field.name) != field.default:
            raise SettingError(
                f"{type(config).__name__}.{field.name} is read where {where}: set that, or leave "
                f"{field.name} out."
            )


def check_widths(config: Any, name: str, *, none: bool = False) -> None:
    """Raises `SettingError` unless the setting is a tuple of widths; a list becomes one.

    `none`: whether None is allowed too.
    """
    value = getattr(config, name)
    if none and value is None:
        return
    widths = tuple(value) if isinstance(value, list | tuple) else (None,)
    if any(isinstance(w, bool) or not isinstance(w, int) or w < 1 for w in widths):
        raise SettingError(
            f"{type(config).__name__}.{name} must be a tuple of whole numbers of at least 1, the "
            "widths of hidden layers, such as (64, 64), on the command line [64,64]; got "
            f"{value!r}."
        )
    object.__setattr__(config, name, widths)


def hidden_layers(net_arch: tuple[int, ...] | None, image: object) -> tuple[int, ...]:
    """Widths of the hidden layers; None: two of 64, but of images none behind the convolutions."""
    if net_arch is not None:
        return net_arch
    return (64, 64) if image is None else ()
