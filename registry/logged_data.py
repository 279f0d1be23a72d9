"""Logged data: the transitions that somebody's policy met, kept to be learned from later.

A data set is a file of NumPy (`.npz`) with an array per field and, as `about`, a JSON text that
says where it comes from. Nothing in it is code. Equal data give equal files, byte for byte.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import secrets
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete, Space
from numpy.typing import NDArray

from registry.errors import DataError

__all__ = ["LoggedData"]

OPTIONAL = ("probability", "next_mask")

DAMAGE = (
    *(OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError),
    *(ValueError, KeyError, TypeError),
)
"""What reading a file raises that was cut off, altered, or never was a data set."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LoggedData:
    """N transitions (S, A, R, S'), in the order in which they were met; the arrays are read-only.

    `observation`, `next_observation`: S and S', whole or real numbers, [N, ...]; after an end S' is
    the last observation of its episode, never the first of the next. `action`: A, [N, ...].
    `reward`: R, float64 [N]. `terminated`: S' is terminal, [N]. `truncated`: the episode was cut
    off there, by its time limit or by whoever collected it, [N]. `probability`: that of A under the
    policy that acted, in (0, 1], [N], or None if unknown. `next_mask`: actions allowed in S',
    [N, number of actions], or None. `about`: where the data come from, as JSON can hold it.

    Raises:
        DataError: arrays of different lengths or none at all, NaN, a wrong kind of number, or an
            `about` that is not JSON.
    """

    observation: NDArray[Any]
    action: NDArray[Any]
    reward: NDArray[np.float64]
    next_observation: NDArray[Any]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    probability: NDArray[np.float64] | None = None
    next_mask: NDArray[np.bool_] | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, kinds, dtype in FORMS:
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, _frozen(name, value, kinds, dtype))
            elif name not in OPTIONAL:
                raise DataError(f"logged data need the array {name!r}, got None.")
        sizes = {name: len(array) for name, array in self.arrays().items()}
        if set(sizes.values()) != {len(self.reward)} or not len(self.reward):
            raise DataError(
                "logged data are arrays of one length of at least 1, an entry for each transition; "
                f"got the lengths {sizes}."
            )
        _check_fields(self)
        try:
            object.__setattr__(self, "about", json.loads(json.dumps(dict(self.about))))
        except (TypeError, ValueError) as error:
            raise DataError(f"about must be a mapping that JSON can hold ({error}).") from error

    def __len__(self) -> int:
        return len(self.reward)

    @property
    def ends(self) -> NDArray[np.bool_]:
        """Whether the episode ended with the transition, [N]."""
        return self.terminated | self.truncated

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Every array that is there, by the name of its field."""
        found = {name: getattr(self, name) for name, _, _ in FORMS}
        return {name: value for name, value in found.items() if value is not None}

    def first(self, n: int) -> LoggedData:
        """The first n transitions; n in [1, N]."""
        if not 1 <= n <= len(self):
            raise DataError(f"these are {len(self)} transitions: n must be up to that, got {n!r}.")
        parts: dict[str, Any] = {name: array[:n] for name, array in self.arrays().items()}
        return dataclasses.replace(self, **parts)

    def digest(self) -> str:
        """SHA-256 of all arrays; what `about` says does not count."""
        found = hashlib.sha256()
        for name, array in self.arrays().items():
            found.update(f"{name} {array.dtype.str} {array.shape}".encode())
            found.update(np.ascontiguousarray(array).tobytes())
        return found.hexdigest()

    def check_spaces(self, observation_space: Space[Any], action_space: Space[Any]) -> None:
        """Raises `DataError` unless observations, actions and masks fit the spaces.

        Of a `Box`, shapes are compared, and not bounds: actions are often logged before they are
        clipped.
        """
        for name in ("observation", "next_observation"):
            _check_space(name, getattr(self, name), observation_space)
        _check_space("action", self.action, action_space)
        n_actions = int(action_space.n) if isinstance(action_space, Discrete) else None
        if self.next_mask is not None and self.next_mask.shape != (len(self), n_actions):
            raise DataError(
                f"next_mask has the shape {self.next_mask.shape}, and an action space "
                f"{action_space}; it must be an entry for each transition and action."
            )

    def save(self, path: str | PathLike[str]) -> None:
        """Writes the data to exactly this path, whole or not at all.

        Raises:
            DataError: the folder is missing or cannot be written, or the disk is full.
        """
        about = np.array(json.dumps(self.about, sort_keys=True))
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            for name, array in {**self.arrays(), "about": about}.items():
                member = zipfile.ZipInfo(f"{name}.npy")  # of a fixed date, unlike np.savez's
                member.compress_type = zipfile.ZIP_DEFLATED
                with archive.open(member, "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, array, allow_pickle=False)
        target = Path(path)
        temporary = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}")
        try:
            temporary.write_bytes(content.getvalue())
            os.replace(temporary, target)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise DataError(
                f"{target} was not written: {error.strerror or error}. Give a path in a folder "
                "that exists and can be written."
            ) from error

    @classmethod
    def load(cls, path: str | PathLike[str]) -> LoggedData:
        """Reads what `save` wrote, and checks it; runs nothing that is in the file.

        Raises:
            DataError: the file is missing, damaged, or holds something else.
        """
        target = Path(path)
        try:
            with open(target, "rb") as raw, np.load(raw, allow_pickle=False) as file:
                found = {name: file[name] for name in file.files}
            about = json.loads(found.pop("about").item())
        except FileNotFoundError as error:
            raise DataError(
                f"there is no data set {target}; `rlsuite collect` writes one."
            ) from error
        except DAMAGE as error:
            raise DataError(
                f"{target} is damaged, or no data set of rlsuite ({' '.join(str(error).split())})."
            ) from error
        known = {name for name, _, _ in FORMS}
        if set(found) - known or known - set(found) - set(OPTIONAL):
            raise DataError(
                f"{target} holds the arrays {sorted(found)}; a data set has {sorted(known)}, of "
                f"which {' and '.join(OPTIONAL)} may be missing."
            )
        return cls(**found, about=about)


FORMS = (
    ("observation", "iuf", None),
    ("action", "iuf", None),
    ("reward", "iuf", np.float64),
    ("next_observation", "iuf", None),
    ("terminated", "b", None),
    ("truncated", "b", None),
    ("probability", "f", np.float64),
    ("next_mask", "b", None),
)
"""The arrays with the kinds of number they may hold, and as what they are kept."""


def _frozen(name: str, value: Any, kinds: str, dtype: Any) -> NDArray[Any]:
    """A read-only copy; raises `DataError` for NaN, or another kind of number."""
    array = np.array(value)
    if array.ndim == 0 or array.dtype.kind not in kinds:
        what = "True and False" if kinds == "b" else "real numbers" if kinds == "f" else "numbers"
        raise DataError(
            f"{name} must be an array of {what} with an entry for each transition, got "
            f"{array.dtype} of shape {array.shape}."
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0, 0])
        raise DataError(f"{name} holds NaN or infinity, first in transition {row}.")
    array = array.astype(dtype or array.dtype)
    array.flags.writeable = False
    return array


def _check_fields(data: LoggedData) -> None:
    """Raises `DataError` unless the arrays fit each other."""
    if data.observation.shape != data.next_observation.shape:
        raise DataError(
            f"observation and next_observation are alike, got the shapes {data.observation.shape} "
            f"and {data.next_observation.shape}."
        )
    for name in ("reward", "terminated", "truncated", "probability"):
        array = getattr(data, name)
        if array is not None and array.ndim != 1:
            raise DataError(f"{name} is one entry for each transition, got shape {array.shape}.")
    p = data.probability
    if p is not None and not ((p > 0) & (p <= 1)).all():
        raise DataError(
            "probability must be in (0, 1], that of the action under the policy that acted; got "
            f"{p.min():g} to {p.max():g}."
        )


def _check_space(name: str, array: NDArray[Any], space: Space[Any]) -> None:
    """Raises `DataError` unless all entries have the form of the space."""
    if isinstance(space, Discrete):
        low, high = int(space.start), int(space.start + space.n)
        if array.ndim == 1 and array.dtype.kind in "iu":
            outside = np.flatnonzero((array < low) | (array >= high))
            if not len(outside):
                return
            given = f"{array[outside[0]]} in transition {outside[0]}"
        else:
            given = f"{array.dtype} of shape {array.shape}"
        raise DataError(f"{name} must be whole numbers in [{low}, {high}), got {given}.")
    if not isinstance(space, Box) or array.shape[1:] != space.shape:
        raise DataError(
            f"{name} has the shape {array.shape[1:]} in each transition, which does not fit the "
            f"space {space}; logged data are numbers of Discrete and Box spaces."
        )
