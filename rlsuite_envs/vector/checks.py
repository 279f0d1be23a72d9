"""Checks of what a vector environment is given, before anything moves."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from registry.errors import InvalidActionError, SettingError
from rlsuite_envs.checks import check_count
from rlsuite_envs.compiled import compiled

__all__ = [
    "all_valid",
    "check_limit",
    "check_mode",
    "check_seeds",
    "not_a_batch",
    "rows_text",
    "split_options",
    "whole_numbers",
]

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

SHOWN = 8
"""Sub-environments that a message names before it says how many more there are."""


@compiled
def all_valid(actions, n_actions, over):  # type: ignore[no-untyped-def]  # numba infers the types
    """Whether all actions [n] are in the action space, but for rows that are over."""
    wrong = 0
    for i in range(len(actions)):
        wrong += ((actions[i] < 0) | (actions[i] >= n_actions)) & (not over[i])
    return wrong == 0


def check_limit(limit: object) -> int | None:
    """A time limit, or None for none, which Gymnasium writes as None or -1.

    Raises:
        SettingError: it is something else.
    """
    if limit is None or (type(limit) is int and limit == -1):
        return None
    return check_count("max_episode_steps", limit)


def check_mode(mode: object) -> AutoresetMode:
    """The member of `AutoresetMode` that is named.

    Raises:
        SettingError: none is.
    """
    try:
        return AutoresetMode(mode)
    except ValueError:
        known = ", ".join(repr(member.value) for member in AutoresetMode)
        raise SettingError(f"autoreset_mode must be one of {known}, got {mode!r}.") from None


def check_seeds(seed: Any, n: int) -> list[int | None]:
    """A seed or None for each of n rows: a number goes up by one from row to row.

    Raises:
        SettingError: it is no number, no list of n numbers and Nones, or a number is negative.
    """
    if seed is None:
        return [None] * n
    if isinstance(seed, Sequence | np.ndarray) and not isinstance(seed, str) and np.ndim(seed):
        if len(seed) != n:
            raise SettingError(
                f"a list of seeds needs one for each of the {n} sub-environments, got {len(seed)}."
            )
        return [None if one is None else _check_seed(one) for one in seed]
    first = _check_seed(seed)
    return [first + i for i in range(n)]


def split_options(options: Mapping[str, Any] | None, n: int) -> tuple[Bools, dict[str, Any]]:
    """Which of n rows a reset resets, and its other options. The options given stay as they are.

    Raises:
        TypeError: the mask is no bool array.
        ValueError: it has another shape, or is False everywhere.
    """
    rest = dict(options or {})
    if "reset_mask" not in rest:
        return np.ones(n, np.bool_), rest
    mask = rest.pop("reset_mask")
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
        given = f"{mask.dtype} array" if isinstance(mask, np.ndarray) else type(mask).__name__
        raise TypeError(f"options['reset_mask'] must be a NumPy array of bool, got {given}.")
    if mask.shape != (n,) or not mask.any():
        raise ValueError(
            f"options['reset_mask'] must have the shape ({n},) and be True somewhere, got shape "
            f"{mask.shape} with {np.count_nonzero(mask)} True."
        )
    return mask.copy(), rest


def _check_seed(seed: Any) -> int:
    try:
        number = operator.index(seed)
    except TypeError:
        number = -1
    if number < 0:
        raise SettingError(
            f"a seed must be a whole number of at least 0, or None; got {seed!r}."
        ) from None
    return number


def whole_numbers(actions: Any, n: int) -> Ints:
    """Actions of any other type as fresh int64.

    Raises:
        InvalidActionError: they are no whole numbers.
    """
    try:
        array = np.asarray(actions)
    except ValueError as error:
        raise InvalidActionError(
            f"actions must be whole numbers, one for each of the {n} sub-environments; got rows of "
            "different lengths."
        ) from error
    if array.dtype.kind not in "iu":
        raise not_a_batch(n, array)
    return np.array(array, np.int64, order="C", subok=False)


def not_a_batch(n: int, actions: NDArray[Any]) -> InvalidActionError:
    """The error for actions of another type or shape."""
    return InvalidActionError(
        f"actions must be whole numbers, one for each of the {n} sub-environments, shape ({n},); "
        f"got {actions.dtype} of shape {actions.shape}."
    )


def rows_text(rows: Bools) -> str:
    """Names the rows, not all of them where they are many."""
    found = np.flatnonzero(rows).tolist()
    names = ", ".join(map(str, found[:SHOWN]))
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return f"sub-environment{'s' if len(found) > 1 else ''} {names}{more}"
