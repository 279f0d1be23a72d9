"""The model of an environment, as planning reads it: its table, and its time limit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import (
    OrderEnforcing,
    PassiveEnvChecker,
    RecordEpisodeStatistics,
    TimeLimit,
)
from numpy.typing import NDArray

from registry.errors import SettingError, UnsupportedSpaceError
from rlsuite_agents.parts.env_state import layers

__all__ = ["Table", "read_table", "time_limit"]

PLAIN = (OrderEnforcing, PassiveEnvChecker, RecordEpisodeStatistics, TimeLimit)
"""Wrappers that leave the table as it is."""

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Table:
    """S states, A actions, K outcomes; what is missing to 1 in Σ_k p ends the episode.

    Attributes:
        r: r(s, a), the expected reward, [S, A].
        p: Probability that outcome k comes and the episode goes on, [S, A, K].
        s_next: Where outcome k leads, [S, A, K].
        ends: Whether the action can end the episode, [S, A].
        start: Probability of each state at reset, [S].
    """

    r: Floats
    p: Floats
    s_next: NDArray[np.uint32]
    ends: Bools
    start: Floats

    @classmethod
    def of(cls, model: Any) -> Table:
        """Sums up a `registry.contracts.Model`."""
        p, terminal = np.asarray(model.probability), np.asarray(model.terminal)
        return cls(
            r=np.einsum("sak,sak->sa", p, np.asarray(model.reward), dtype=np.float64),
            p=np.where(terminal, 0.0, p),
            s_next=np.asarray(model.next_state).astype(np.uint32, order="C"),
            ends=np.any(terminal & (p > 0), axis=-1),
            start=np.asarray(model.start, np.float64),
        )

    @property
    def arrays(self) -> tuple[Floats, Floats, NDArray[np.uint32]]:
        """r, p, s_next: what the functions of `functional.planning` take."""
        return self.r, self.p, self.s_next

    def ending(self) -> Floats:
        """Probability that the action ends the episode, [S, A]; above 0 wherever it can."""
        return np.where(self.ends, np.maximum(1.0 - self.p.sum(axis=-1), 1e-12), 0.0)

    def reachable(self) -> Bools:
        """States that some policy can be in, from the start on, [S]."""
        reached, news = self.start > 0, self.start > 0
        while news.any():
            ways = self.s_next[news][self.p[news] > 0]
            news = np.zeros_like(reached)
            news[ways] = True
            news &= ~reached
            reached |= news
        return reached

    def without(self, states: Bools) -> Table:
        """The same table, but the states of a mask [S] pay nothing and end at once."""
        if not states.any():
            return self
        aside = states[:, None]
        p = np.where(aside[:, :, None], 0.0, self.p)
        return replace(self, r=np.where(aside, 0.0, self.r), p=p, ends=self.ends | aside)

    def digest(self) -> str:
        """SHA-256 of what is planned with."""
        found = hashlib.sha256()
        for array in self.arrays:
            found.update(f"{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
        return found.hexdigest()


def read_table(env: gym.Env[Any, Any], agent: str) -> Table:
    """The table of an environment that has a `model`, or Gymnasium's `P`; states are observations.

    Raises:
        UnsupportedSpaceError: it has neither, or its observations are not the states of its model.
        SettingError: it is in a wrapper that may change what the table says; or it is Taxi with
            `fickle_passenger`, whose `P` is not its dynamics.
    """
    for layer in layers(env)[:-1]:
        if type(layer) not in PLAIN and not getattr(type(layer), "stateless", False):
            raise SettingError(
                f"{agent} plans with the model of the environment, and the wrapper "
                f"{type(layer).__name__} may change what it says: plan without it."
            )
    if env.has_wrapper_attr("model"):
        table = Table.of(env.get_wrapper_attr("model"))
    elif env.has_wrapper_attr("P") and env.has_wrapper_attr("initial_state_distrib"):
        table = _toy_text(env)
    else:
        raise UnsupportedSpaceError(
            f"{agent} plans with the model of the environment, and this one has none."
        )
    sizes = int(env.observation_space.n), int(env.action_space.n)  # type: ignore[attr-defined]
    if table.r.shape != sizes:
        raise UnsupportedSpaceError(
            f"{agent} takes observations for states of the model; there are {sizes[0]} "
            f"observations and {sizes[1]} actions, but the model is of shape {table.r.shape}."
        )
    return table


def time_limit(env: gym.Env[Any, Any]) -> int | None:
    """The shortest `TimeLimit` around an environment, or None."""
    limits = [layer._max_episode_steps for layer in layers(env) if isinstance(layer, TimeLimit)]
    return min(limits, default=None)


def _toy_text(env: gym.Env[Any, Any]) -> Table:
    """Of FrozenLake, CliffWalking and Taxi: `P[s][a]` lists (probability, s', r, terminated)."""
    outcomes: Mapping[int, Mapping[int, Any]] = env.get_wrapper_attr("P")
    if env.has_wrapper_attr("fickle_passenger") and env.get_wrapper_attr("fickle_passenger"):
        raise SettingError(
            "the table 'P' of Taxi with fickle_passenger=True is not its dynamics: the "
            "passenger's change of mind is not in it. Use fickle_passenger=False."
        )
    rows = [(s, a, list(outcomes[s][a])) for s in outcomes for a in outcomes[s]]
    shape = (len(outcomes), len(outcomes[0]), max(len(row) for _, _, row in rows))
    r, p = np.zeros(shape[:2]), np.zeros(shape)
    s_next, ends = np.zeros(shape, np.uint32), np.zeros(shape[:2], bool)
    for s, a, row in rows:
        for k, (chance, to, reward, terminated) in enumerate(row):
            r[s, a] += chance * reward
            p[s, a, k], s_next[s, a, k] = 0.0 if terminated else chance, to
            ends[s, a] |= bool(terminated) and chance > 0
    start = np.asarray(env.get_wrapper_attr("initial_state_distrib"), np.float64)
    return Table(r=r, p=p, s_next=s_next, ends=ends, start=start)
