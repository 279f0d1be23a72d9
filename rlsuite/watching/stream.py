"""What detectors look at: the latest updates, what came before in short, and the agent's facts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from rlsuite.answer_key import time_limit

__all__ = ["ALWAYS", "RECENT", "Facts", "Stream", "facts_of", "must_be_finite"]

RECENT = 20
"""Updates that are held one by one; they are at least 64 steps apart."""

FOLLOWED = ("episode_return", "episode_length")
"""Means whose changes are followed from the first episode on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What does not change while an agent trains.

    `largest_entropy`: of its actions, in nats; 0 for `Box` actions, which have `dimensions`.
    `natural_lengths`: of episodes that a time limit or a horizon ends. `total_timesteps`: the
    budget, infinite where it is not known.
    """

    largest_entropy: float = 0.0
    dimensions: int = 0
    gamma: float = 0.99
    normalized_advantages: bool = False
    normalized_rewards: bool = False
    natural_lengths: frozenset[int] = frozenset()
    total_timesteps: float = math.inf


class Stream:
    """The updates of a training so far, as far as detectors need them.

    Attributes:
        recent: the latest 20 updates, numbers by name; what an update has not told is left out.
        first: the first number that was told under each name.
        looks: the latest 20 shares of hidden units without gradient; NaN where none can be seen.
        largest_reward: the largest |mean reward of a step| over the recent episodes of any update.
    """

    def __init__(self) -> None:
        self.recent: list[dict[str, float]] = []
        self.first: dict[str, float] = {}
        self.looks: list[float] = []
        self.largest_reward = 0.0
        self._peaks: dict[str, float] = {}
        self._changed: dict[str, list[float]] = {}  # episodes at the latest change, changes

    @property
    def latest(self) -> Mapping[str, float]:
        """The latest update; empty before the first."""
        return self.recent[-1] if self.recent else {}

    def add(self, numbers: Mapping[str, float]) -> None:
        """One update."""
        known = {n: v for n, v in numbers.items() if v == v or self._lost(n)}
        for name in FOLLOWED:
            self._follow(name, known)
        for name, value in known.items():
            self.first.setdefault(name, value)
        self.recent.append(known)
        del self.recent[:-RECENT]

    def _lost(self, name: str) -> bool:
        """Whether NaN under this name is a fault; elsewhere it says that there is nothing to tell.

        Agents without a value network, say, have NaN for its loss from the first update on.
        """
        return must_be_finite(name) and (name in self.first or name in ALWAYS)

    def _follow(self, name: str, known: Mapping[str, float]) -> None:
        value, before = known.get(name), self.latest.get(name)
        if value is None:
            return
        self._peaks[name] = max(self._peaks.get(name, 0.0), abs(value))
        if name not in self._changed:
            self._changed[name] = [0.0, 0.0]
        elif value != before:
            self._changed[name][0] = known.get("episodes", 0.0)
            self._changed[name][1] += 1.0
        if name == "episode_length":
            reward = abs(known.get("episode_return", 0.0)) / max(value, 1.0)
            self.largest_reward = max(self.largest_reward, reward)

    def look(self, dead_units: float) -> None:
        """A look at the gradients themselves: see `rlsuite.watching.watch.dead_units`."""
        self.looks = [*self.looks, dead_units][-RECENT:]

    def last(self, name: str, updates: int) -> list[float]:
        """The latest so many numbers of a name; fewer where it was not told at each of them."""
        return [row[name] for row in self.recent[-updates:] if name in row]

    def peak(self, name: str) -> float:
        """The largest absolute value of a mean that is followed."""
        return self._peaks.get(name, 0.0)

    def same(self, name: str) -> float:
        """Episodes since a mean that is followed changed."""
        if name not in self._changed:
            return 0.0
        return self.latest.get("episodes", 0.0) - self._changed[name][0]

    def varied(self, name: str) -> bool:
        """Whether a mean that is followed has ever changed."""
        return name in self._changed and self._changed[name][1] > 0

    def state(self) -> dict[str, Any]:
        """Everything, as JSON would hold it (but for infinity)."""
        return {
            "recent": [dict(row) for row in self.recent],
            "first": dict(self.first),
            "looks": list(self.looks),
            "largest_reward": self.largest_reward,
            "peaks": dict(self._peaks),
            "changed": {name: list(value) for name, value in self._changed.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from a `state`."""
        self.recent = [dict(row) for row in state["recent"]]
        self.first, self.looks = dict(state["first"]), list(state["looks"])
        self._peaks = dict(state["peaks"])
        self.largest_reward = state["largest_reward"]
        self._changed = {name: list(value) for name, value in state["changed"].items()}


def must_be_finite(name: str) -> bool:
    """Whether this is a number of networks, which NaN or infinity would ruin."""
    return name.endswith("loss") or name.startswith("q_") or name == "entropy"


ALWAYS = frozenset({"loss", "policy_loss", "q_mean", "entropy"})
"""Of these, those that an agent tells at each update if it tells them at all."""


def facts_of(agent: Any, env: Any, total_timesteps: int | None = None) -> Facts:
    """What is known of an agent and of the environment, or the vector, that it learns in."""
    config = getattr(agent, "config", None)
    space = getattr(env, "single_action_space", None) or env.action_space
    gamma = getattr(config, "gamma", None)
    return Facts(
        largest_entropy=_largest_entropy(space),
        dimensions=math.prod(space.shape) if isinstance(space, spaces.Box) else 0,
        gamma=0.99 if gamma is None else float(gamma),
        normalized_advantages=bool(getattr(config, "normalize_advantage", False)),
        normalized_rewards=bool(getattr(config, "normalize_rewards", False)),
        natural_lengths=_natural_lengths(env),
        total_timesteps=total_timesteps or math.inf,
    )


def _largest_entropy(space: Any) -> float:
    if isinstance(space, spaces.Discrete):
        return math.log(int(space.n))
    if isinstance(space, spaces.MultiDiscrete):
        return float(np.log(space.nvec).sum())
    return 0.0


def _natural_lengths(env: Any) -> frozenset[int]:
    """Time limits around the environment, or around those of a vector, and their horizons."""
    found: set[Any] = set()
    for one in [env, *getattr(env, "envs", ())]:
        found |= {getattr(one.spec, "max_episode_steps", None), time_limit(one)}
        tells = getattr(one, "has_wrapper_attr", None)
        if tells is not None and tells("horizon"):
            found.add(one.get_wrapper_attr("horizon"))
    return frozenset(length for length in found if isinstance(length, int))
