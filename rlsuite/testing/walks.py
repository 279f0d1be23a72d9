"""Walks through an environment, and where two of them part."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Discrete
from numpy.typing import NDArray

from rlsuite.testing.report import Failure

__all__ = [
    "Event",
    "Player",
    "difference",
    "mask_of",
    "plain",
    "require_same",
    "rows",
    "seeded_walk",
    "walk",
]


class Event(NamedTuple):
    """What the environment returned: of a reset (action None, reward 0.0) or of a step."""

    action: Any
    observation: Any
    reward: Any
    terminated: Any
    truncated: Any
    info: Any

    @property
    def over(self) -> bool:
        """Whether the episode ended here."""
        return bool(self.terminated or self.truncated)


class Player:
    """Draws actions evenly, by the mask where there is one, from a generator of its own."""

    def __init__(self, space: gym.Space[Any], seed: int) -> None:
        self.space = copy.deepcopy(space)  # the environment's own is not ours to seed
        self.space.seed(seed)

    def choose(self, mask: Any = None) -> Any:
        """An action."""
        if mask is None or not isinstance(self.space, Discrete) or not np.any(mask):
            return self.space.sample()
        return self.space.sample(mask=np.asarray(mask, np.int8))


def mask_of(env: Any, observation: Any, info: Any) -> Any:
    """The action mask: of the info, of the observation or of `action_masks()`; else None."""
    if isinstance(info, Mapping) and info.get("action_mask") is not None:
        return info["action_mask"]
    if isinstance(observation, Mapping) and observation.get("action_mask") is not None:
        return observation["action_mask"]
    if env.has_wrapper_attr("action_masks"):
        return env.get_wrapper_attr("action_masks")()
    return None


def walk(env: Any, steps: int, seed: int, mask: Any = None) -> Iterator[Event]:
    """`steps` steps from where the environment stands; after an end an unseeded reset."""
    player = Player(env.action_space, seed)
    for _ in range(steps):
        action = player.choose(mask)
        event = Event(action, *env.step(action))
        yield event
        if event.over:
            event = Event(None, *_reset(env))
            yield event
        mask = mask_of(env, event.observation, event.info)


def seeded_walk(env: Any, steps: int, seed: int) -> Iterator[Event]:
    """A reset with the seed, then `walk`."""
    first = Event(None, *_reset(env, seed))
    yield first
    yield from walk(env, steps, seed, mask_of(env, first.observation, first.info))


def _reset(env: Any, seed: int | None = None) -> tuple[Any, float, bool, bool, Any]:
    observation, info = env.reset(seed=seed)
    return observation, 0.0, False, False, info


def require_same(one: Iterator[Event], other: Iterator[Event], what: str) -> None:
    """Raises `Failure` where two walks part: in a value, a type, a dtype or a shape."""
    for number, (a, b) in enumerate(zip(one, other, strict=True)):
        for name in Event._fields:
            apart = difference(getattr(a, name), getattr(b, name), name)
            if apart:
                raise Failure(f"{what}: event {number} differs, {apart}.")


def difference(one: Any, other: Any, where: str = "") -> str:
    """Where and how two values differ, types, dtypes and shapes included; empty if they do not."""
    if type(one) is not type(other):
        return f"{where} is {one!r:.60} ({_kind(one)}) against {other!r:.60} ({_kind(other)})"
    if isinstance(one, Mapping):
        return _mappings(one, other, where)
    if isinstance(one, tuple | list):
        return _sequences(one, other, where)
    if isinstance(one, np.ndarray):
        return _arrays(one, other, where)
    same = one == other or (one != one and other != other)
    return "" if same else f"{where} is {one!r:.80} against {other!r:.80}"


def _mappings(one: Mapping[Any, Any], other: Mapping[Any, Any], where: str) -> str:
    if one.keys() != other.keys():
        return f"{where} has the keys {sorted(one)} against {sorted(other)}"
    parts = (difference(one[key], other[key], f"{where}[{key!r}]") for key in one)
    return next((part for part in parts if part), "")


def _sequences(one: Any, other: Any, where: str) -> str:
    if len(one) != len(other):
        return f"{where} has {len(one)} entries against {len(other)}"
    pairs = enumerate(zip(one, other, strict=True))
    parts = (difference(a, b, f"{where}[{number}]") for number, (a, b) in pairs)
    return next((part for part in parts if part), "")


def _arrays(one: NDArray[Any], other: NDArray[Any], where: str) -> str:
    if one.dtype != other.dtype or one.shape != other.shape:
        return f"{where} is {_kind(one)} against {_kind(other)}"
    if one.dtype == object:
        return _sequences(one.ravel().tolist(), other.ravel().tolist(), where)
    if np.array_equal(one, other, equal_nan=one.dtype.kind in "fc"):
        return ""
    return f"{where} is {one!r:.80} against {other!r:.80}"


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} array of shape {value.shape}"
    return type(value).__name__


def plain(observation: Any) -> Any:
    """Nested tuples of Python numbers: hashable, and scalars of NumPy and Python are equal."""
    if isinstance(observation, Mapping):
        return tuple((key, plain(observation[key])) for key in sorted(observation))
    if isinstance(observation, tuple):
        return tuple(plain(part) for part in observation)
    return _tuples(np.asarray(observation).tolist())


def _tuples(value: Any) -> Any:
    return tuple(_tuples(part) for part in value) if isinstance(value, list) else value


def rows(batch: Any) -> list[Any]:
    """The single observations of a batch."""
    if isinstance(batch, Mapping):
        parts = {key: rows(value) for key, value in batch.items()}
        return [dict(zip(parts, row, strict=True)) for row in zip(*parts.values(), strict=True)]
    if isinstance(batch, tuple):
        return list(zip(*(rows(part) for part in batch), strict=True))
    return list(batch)
