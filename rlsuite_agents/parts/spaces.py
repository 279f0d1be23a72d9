"""Spaces: what an agent can act in, what counts as a batch, how a space is kept in a checkpoint."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from registry.errors import (
    CheckpointError,
    InvalidObservationError,
    SettingError,
    UnsupportedSpaceError,
)

__all__ = [
    "Detached",
    "batch_size",
    "box_size",
    "discrete_size",
    "finite",
    "observation_check",
    "on_cpu",
    "single_spaces",
    "space_from_json",
    "space_to_json",
    "table_rows",
    "table_sizes",
]


def discrete_size(space: spaces.Space[Any], what: str) -> int:
    """The size of a `Discrete` space from 0; raises `UnsupportedSpaceError` for any other.

    `what` names agent and role for the error.
    """
    if isinstance(space, spaces.Discrete) and space.start == 0:
        return int(space.n)
    raise UnsupportedSpaceError(f"{what} must be Discrete and must count from 0, got {space}.")


def box_size(space: spaces.Space[Any], what: str) -> int:
    """Number of entries of a `Box` space; raises `UnsupportedSpaceError` for any other."""
    if not isinstance(space, spaces.Box):
        raise UnsupportedSpaceError(f"{what} must be a Box, got {space}.")
    return int(np.prod(space.shape))


def table_rows(table: Sequence[Any], observations: Any) -> list[Any]:
    """The rows of a table for observations [B]; raises `InvalidObservationError`."""
    rows, n = np.asarray(observations), len(table)
    if rows.ndim == 1 and rows.dtype.kind in "iu" and np.all((rows >= 0) & (rows < n)):
        return [table[row] for row in rows]
    what = f"a batch of observations is a list of whole numbers in [0, {n})"
    raise InvalidObservationError(f"{what}, got {observations!r:.80}.")


def table_sizes(env: gym.Env[Any, Any], device: str, agent: str) -> tuple[int, int]:
    """(S, A); raises `UnsupportedSpaceError` unless `Discrete`, `SettingError` off the CPU."""
    on_cpu(device, agent)
    n_states = discrete_size(env.observation_space, f"{agent}'s observation space")
    return n_states, discrete_size(env.action_space, f"{agent}'s action space")


def on_cpu(device: str, agent: str) -> None:
    """Raises `SettingError` unless the device is `"cpu"` or `"auto"`: tables gain from no GPU."""
    if device not in ("cpu", "auto"):
        raise SettingError(f'{agent} runs on the CPU: device must be "cpu", got {device!r}.')


def single_spaces(env: Any) -> tuple[spaces.Space[Any], spaces.Space[Any]]:
    """Spaces of one observation and one action, of an environment or a vector of them."""
    single = "single_" if isinstance(env, gym.vector.VectorEnv) else ""
    return getattr(env, f"{single}observation_space"), getattr(env, f"{single}action_space")


def batch_size(space: spaces.Space[Any], observation: Any) -> int | None:
    """Number of observations in a batch; None for one observation that stands alone.

    Raises:
        InvalidObservationError: it is neither, such as the pair `(observation, info)` that `reset`
            returns.
    """
    if isinstance(space, spaces.Dict | spaces.Tuple):
        return _composite_batch_size(space, observation)
    if (
        isinstance(observation, tuple)
        and len(observation) == 2
        and isinstance(observation[1], Mapping)
    ):
        raise InvalidObservationError(
            "this is the pair (observation, info) that env.reset() returns; "
            "predict wants the observation alone."
        )
    if space.shape is None:
        return None if space.contains(observation) else len(observation)
    shape, wanted = np.shape(observation), tuple(space.shape)
    if shape == wanted:
        return None
    if shape[1:] == wanted and len(shape) == len(wanted) + 1:
        return shape[0]
    raise InvalidObservationError(
        f"one observation of {space} has shape {wanted}, a batch has (B, *{wanted}); got {shape}."
    )


def _composite_batch_size(space: spaces.Dict | spaces.Tuple, observation: Any) -> int | None:
    parts: dict[Any, Any]
    given: dict[Any, Any] = {}
    if isinstance(space, spaces.Dict):
        parts = dict(space.spaces)
        given = dict(observation) if isinstance(observation, Mapping) else given
    else:
        parts = dict(enumerate(space.spaces))
        given = dict(enumerate(observation)) if isinstance(observation, tuple) else given
    if set(given) != set(parts):
        raise InvalidObservationError(
            f"an observation of {space} has the parts {list(parts)}, got {observation!r:.80}."
        )
    sizes = {batch_size(part, given[name]) for name, part in parts.items()}
    if len(sizes) != 1:
        raise InvalidObservationError(f"the parts of the observation are batches of sizes {sizes}.")
    return sizes.pop()


def finite(value: Any) -> bool:
    """False where a number in an observation is NaN or infinite."""
    if isinstance(value, np.ndarray):
        return bool(np.isfinite(value).all()) if value.dtype.kind == "f" else True
    if isinstance(value, float | np.floating):
        return math.isfinite(value)
    if isinstance(value, Mapping):
        return all(finite(part) for part in value.values())
    return all(finite(part) for part in value) if isinstance(value, tuple) else True


def observation_check(space: spaces.Space[Any]) -> Callable[[Any], bool]:
    """A quick test of what an environment returns: in range if `Discrete`, else finite."""
    if isinstance(space, spaces.Discrete):
        first = int(space.start)
        return functools.partial(_in_range, first, first + int(space.n))
    return finite


def _in_range(first: int, end: int, value: Any) -> bool:
    if isinstance(value, int | np.integer):
        return bool(first <= value < end)
    shapeless = isinstance(value, np.ndarray) and value.shape == () and value.dtype.kind in "iu"
    return shapeless and bool(first <= value < end)


class Detached(gym.Env[Any, Any]):
    """Stands in for the environment of an agent that was loaded without one: spaces, no steps."""

    def __init__(self, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]):
        self.observation_space, self.action_space = observation_space, action_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Raises `SettingError`: there is nothing to learn in."""
        raise SettingError(
            "this agent was loaded without an environment, so it can predict but not learn; "
            "load it with load(path, env=...)."
        )


def space_to_json(space: spaces.Space[Any]) -> dict[str, Any] | None:
    """A space as JSON, or None for kinds that this cannot describe."""
    if isinstance(space, spaces.Discrete):
        return {"kind": "Discrete", "n": int(space.n), "start": int(space.start)}
    if isinstance(space, spaces.Box):
        bounds = {"low": _bounds(space.low), "high": _bounds(space.high)}
        return {"kind": "Box", **bounds, "shape": list(space.shape), "dtype": space.dtype.str}
    if isinstance(space, spaces.MultiBinary):
        return {"kind": "MultiBinary", "n": np.array(space.n).tolist()}
    if isinstance(space, spaces.MultiDiscrete):
        return {
            "kind": "MultiDiscrete",
            "nvec": space.nvec.tolist(),
            "start": space.start.tolist(),
            "dtype": np.dtype(space.dtype).str,
        }
    parts = _parts(space)
    if parts is None or any(part is None for part in parts.values()):
        return None
    return {"kind": type(space).__name__, "parts": parts}


def space_from_json(value: Any) -> spaces.Space[Any] | None:
    """The inverse of `space_to_json`.

    Raises:
        CheckpointError: this is no description of a space.
    """
    if value is None:
        return None
    try:
        return _build(value)
    except (KeyError, TypeError, ValueError, AssertionError) as error:
        raise CheckpointError(f"this does not describe a space: {value!r:.80}.") from error


def _build(value: Mapping[str, Any]) -> spaces.Space[Any]:
    return _BUILDERS[value["kind"]](value)


def _parts(space: spaces.Space[Any]) -> dict[str, Any] | None:
    if isinstance(space, spaces.Dict):
        return {name: space_to_json(part) for name, part in space.items()}
    if isinstance(space, spaces.Tuple):
        return {str(k): space_to_json(part) for k, part in enumerate(space)}
    return None


def _bounds(values: Any) -> Any:
    """Nested lists in which infinities are strings, which JSON can hold."""
    return np.asarray(values).astype(str).tolist()


def _box(value: Mapping[str, Any]) -> spaces.Space[Any]:
    dtype: Any = np.dtype(value["dtype"])
    low, high = (np.array(value[side]).astype(dtype) for side in ("low", "high"))
    shape = tuple(value["shape"])
    return spaces.Box(low.reshape(shape), high.reshape(shape), shape, dtype.type)


_BUILDERS: Mapping[str, Callable[[Mapping[str, Any]], spaces.Space[Any]]] = {
    "Discrete": lambda v: spaces.Discrete(v["n"], start=v["start"]),
    "Box": _box,
    "MultiBinary": lambda v: spaces.MultiBinary(v["n"]),
    "MultiDiscrete": lambda v: spaces.MultiDiscrete(
        np.array(v["nvec"]), dtype=np.dtype(v["dtype"]).type, start=np.array(v["start"])
    ),
    "Dict": lambda v: spaces.Dict({k: _build(p) for k, p in v["parts"].items()}),
    "Tuple": lambda v: spaces.Tuple([_build(p) for p in v["parts"].values()]),
}
