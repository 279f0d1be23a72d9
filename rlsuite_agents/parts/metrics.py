"""Telling what an update did: the metrics that every agent with networks has in common."""

from __future__ import annotations

import math
import time
from typing import Any

from rlsuite_agents.parts.actor_critic import Experience

__all__ = ["of_advantages", "start_clock", "tell"]


def start_clock(agent: Any) -> None:
    """Steps per second count from here."""
    agent.clock = time.perf_counter(), agent.num_timesteps


def tell(agent: Any, metrics_type: Any, **own: Any) -> None:
    """Sets `agent.metrics` after an update, and hands them to `agent.on_update`.

    Args:
        agent: offers `num_timesteps`, `episodes`, `clock` and `on_update`.
        metrics_type: a frozen dataclass.
        **own: what is not common to all of them.
    """
    since, step = agent.clock
    start_clock(agent)
    episode_return, episode_length = agent.episodes.means()
    agent.metrics = metrics_type(
        num_timesteps=agent.num_timesteps,
        episodes=agent.episodes.count,
        episode_return=episode_return,
        episode_length=episode_length,
        steps_per_second=(agent.num_timesteps - step) / (agent.clock[0] - since),
        **own,
    )
    if agent.on_update is not None:
        agent.on_update(agent.metrics)


def of_advantages(e: Experience) -> dict[str, float]:
    """Mean and standard deviation of the advantages, and the explained variance of the values.

    The last is 1 - Var(G - v̂) / Var(G): 1 is perfect, 0 is no better than a constant; NaN where G
    is one.
    """
    spread = float(e.returns.var())
    error = float((e.returns - e.values).var())
    return {
        "explained_variance": 1.0 - error / spread if spread else math.nan,
        "advantage_mean": float(e.advantages.mean()),
        "advantage_std": float(e.advantages.std()),
    }
