"""`predict` from `action_probabilities`: one observation or a batch, answered in kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.errors import SettingError
from rlsuite_agents.functional.chance import draw_from
from rlsuite_agents.parts.spaces import batch_size, single_spaces

__all__ = [
    "as_batch",
    "context_free",
    "draw",
    "mask_rows",
    "per_row",
    "predict",
    "predict_actions",
    "rows_of",
]


def predict(
    agent: Any,
    observation: Any,
    state: Any = None,
    episode_start: Any = None,
    deterministic: bool = False,
    *,
    mask: Any = None,
    rngs: Any = None,
) -> tuple[Any, Any]:
    """Actions for one observation or a batch, and the state as it came: there is none.

    The method `predict` of an agent that has no memory; see `predict_actions`.
    """
    return predict_actions(agent, observation, deterministic, mask, rngs), state


def predict_actions(
    agent: Any, observation: Any, deterministic: bool, mask: Any, rngs: Any
) -> NDArray[np.int64] | np.int64:
    """Actions by inverse CDF from `agent.action_probabilities`; the likeliest if deterministic.

    For one observation an `np.int64`, for a batch an int64 array [B]. `mask`: [A] or [B, A].
    `rngs`: one generator per row, each drawing one uniform; or `agent.prediction_rng` for all.
    """
    size = batch_size(single_spaces(agent.env)[0], observation)
    rows = as_batch(observation) if size is None else observation
    if mask is not None and size is None:
        mask = np.asarray(mask)[None]
    probabilities = agent.action_probabilities(rows, deterministic=deterministic, mask=mask)
    if deterministic:
        actions = probabilities.argmax(axis=1)
    else:
        generators = per_row(rngs, agent.prediction_rng, len(probabilities))
        pairs = zip(probabilities, generators, strict=True)
        actions = np.array([draw(row, rng) for row, rng in pairs], np.int64)
    return np.int64(actions[0]) if size is None else actions


def draw(probabilities: NDArray[np.float64], rng: np.random.Generator) -> int:
    """An action by inverse CDF, from one uniform: never one of probability 0."""
    return draw_from(probabilities.tolist(), rng)


def as_batch(observation: Any) -> Any:
    """One observation as a batch of one."""
    if isinstance(observation, Mapping):
        return {name: as_batch(part) for name, part in observation.items()}
    if isinstance(observation, tuple):
        return tuple(as_batch(part) for part in observation)
    return np.asarray(observation)[None]


def mask_rows(observations: Any, mask: Any) -> Any:
    """`mask` [B, A], or the `action_mask` that the observations carry, or None."""
    if mask is None and isinstance(observations, Mapping):
        mask = observations.get("action_mask")
    return None if mask is None else np.asarray(mask, bool)


def rows_of(observations: Any) -> int:
    """B of a batch of observations."""
    while isinstance(observations, Mapping | tuple):
        parts = observations.values() if isinstance(observations, Mapping) else observations
        observations = next(iter(parts))
    return len(observations)


def context_free(
    observations: Any, mask: Any, row: Callable[[Any], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """π [B, A] of a policy that only looks at the mask: `row(mask [A] or None)` for each."""
    mask = mask_rows(observations, mask)
    if mask is None:
        return np.tile(row(None), (rows_of(observations), 1))
    return np.array([row(allowed) for allowed in mask])


def per_row(rngs: Any, own: np.random.Generator, rows: int) -> Sequence[np.random.Generator]:
    """A generator for each row: those given, or one's own for all."""
    if rngs is None:
        return [own] * rows
    generators = [rngs] if isinstance(rngs, np.random.Generator) else list(rngs)
    if len(generators) != rows:
        raise SettingError(f"predict wants one generator per row: {rows}, got {len(generators)}.")
    return generators
