"""What the environments of a table share: keys, and the checks of what is drawn over the cells."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.errors import SettingError
from rlsuite_envs.rendering.grid import Overlay

__all__ = ["checked_overlay", "digit_keys", "direction_keys"]

Keys = dict[tuple[str | int, ...], int]

RIGHT, LEFT, DOWN, UP = (0x4000004F, 0x40000050, 0x40000051, 0x40000052)
"""The codes of the arrow keys in SDL and so in pygame, as written in SDL's `SDL_keycode.h`."""

ROW_SUM_TOLERANCE = 1e-6


def direction_keys(n_actions: int = 4) -> Keys:
    """Arrow keys and W, D, S, A for 0 up, 1 right, 2 down, 3 left, as Gymnasium's `play` reads.

    E, C, Z and Q are the four diagonal moves after them, clockwise from up right; X stays.
    """
    arrows: list[str | int] = [UP, RIGHT, DOWN, LEFT]
    letters: list[str | int] = list("wdsaeczqx")
    return {(key,): a for keys in (arrows, letters[:n_actions]) for a, key in enumerate(keys)}


def digit_keys(count: int) -> Keys:
    """The digits 0 to 9 for the first ten actions."""
    return {(str(a),): a for a in range(min(count, 10))}


def checked_overlay(values: Any, policy: Any, shape: tuple[int, int], *, places: bool) -> Overlay:
    """The overlay of these values and this policy.

    Args:
        values: Numbers [S], NaN where none is known, or None.
        policy: Probabilities [S, A] or actions [S], or None.
        shape: (S, A).
        places: Whether states are cells and actions the four directions.

    Raises:
        SettingError: they are something else, or there are no directions to draw.
    """
    return Overlay(
        values=None if values is None else _checked_values(values, shape[0]),
        policy=None if policy is None else _checked_policy(policy, shape, places),
    )


def _checked_values(values: Any, n_states: int) -> NDArray[np.float64]:
    table = np.asarray(values)
    if table.dtype.kind not in "fiub" or table.shape != (n_states,) or np.isinf(table).any():
        raise SettingError(
            f"values must be {n_states} numbers, one for each state, NaN where none is known and "
            f"never infinite; got {table.dtype} of shape {table.shape}."
        )
    return table.astype(np.float64)


def _checked_policy(policy: Any, shape: tuple[int, int], places: bool) -> NDArray[np.float64]:
    if not places:
        raise SettingError(
            "policy is drawn as arrows, and the states of this environment are no places of a grid:"
            " give values alone."
        )
    table, (n_states, n_actions) = np.asarray(policy), shape
    if table.shape == (n_states,) and table.dtype.kind in "iu":
        if 0 <= table.min() and table.max() < n_actions:
            return np.eye(n_actions)[table]
    elif table.shape == shape and table.dtype.kind in "fiub":
        if table.min() >= 0 and np.all(np.abs(table.sum(axis=1) - 1.0) <= ROW_SUM_TOLERANCE):
            return table.astype(np.float64)
    raise SettingError(
        f"policy must be probabilities of shape {shape} (states, actions), or an action from 0 to "
        f"{n_actions - 1} for each of the {n_states} states; got {table.dtype} of shape "
        f"{table.shape}."
    )
