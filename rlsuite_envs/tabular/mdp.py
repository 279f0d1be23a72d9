"""A finite Markov decision process as five arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit
from numpy.typing import NDArray

from registry.errors import SettingError
from rlsuite_envs.tabular.oracle import TabularOracle

__all__ = ["TabularMDP", "refuse_wrappers"]

PLAIN = (TimeLimit, OrderEnforcing, PassiveEnvChecker)
"""Wrappers that leave the table as it is: those that `gym.make` puts around."""

SUM_TOLERANCE = 1e-9
"""How far probabilities may be from summing to 1: three times a third is not quite 1."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TabularMDP:
    """p(s', r | s, a) with K outcomes for each of A actions in each of S states (S&B §3.1).

    Outcome k of action a in state s has probability `probability[s, a, k]`; it pays
    `reward[s, a, k]`, leads to `next_state[s, a, k]` and ends the episode there if
    `terminal[s, a, k]`. Where an action has fewer than K outcomes, the rest have probability 0. An
    outcome may be listed more than once. The time limit is no part of the model.

    The arrays are copied and made read-only.

    Args:
        next_state: s', whole numbers from 0 to S - 1, shape [S, A, K].
        probability: At least 0, summing to 1 over k, shape [S, A, K].
        reward: Finite, shape [S, A, K].
        terminal: Whether the outcome ends the episode, shape [S, A, K].
        start: Probability of each state at reset, shape [S].
        mask: Actions that are allowed, bool [S, A], at least one in each state; None: all. The
            others have outcomes too; only the baseline of the oracle leaves them out.

    Raises:
        SettingError: an array has another shape or type, or values outside its range.
    """

    next_state: NDArray[np.int64]
    probability: NDArray[np.float64]
    reward: NDArray[np.float64]
    terminal: NDArray[np.bool_]
    start: NDArray[np.float64]
    mask: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        kinds = {
            "next_state": ("iu", np.int64),
            "probability": ("fiu", np.float64),
            "reward": ("fiu", np.float64),
            "terminal": ("b", np.bool_),
            "start": ("fiu", np.float64),
            "mask": ("b", np.bool_),
        }
        for name, (kind, dtype) in kinds.items():
            if name != "mask" or self.mask is not None:
                array = _array(name, getattr(self, name), kind, dtype)
                array.setflags(write=False)
                object.__setattr__(self, name, array)
        self._check_shapes()
        self._check_values()

    @property
    def n_states(self) -> int:
        """S."""
        return self.next_state.shape[0]

    @property
    def n_actions(self) -> int:
        """A."""
        return self.next_state.shape[1]

    @property
    def n_outcomes(self) -> int:
        """K."""
        return self.next_state.shape[2]

    @classmethod
    def from_gymnasium(cls, env: gym.Env[Any, Any]) -> TabularMDP:
        """The model of FrozenLake, CliffWalking, Taxi, or of any environment with the same tables.

        Reads `P` and `initial_state_distrib` of `env.unwrapped`: `P[s][a]` lists
        `(probability, next state, reward, terminated)`. Outcomes keep their order, and those listed
        twice stay two: whoever samples must draw as the environment does. (The oracle merges them.)
        What ends an episode is read from `terminated` alone: CliffWalking's table has ordinary
        moves out of its goal. Where there is an `action_mask(state)`, as in Taxi, it becomes the
        `mask`. An environment of ours answers with its `model`.

        Raises:
            SettingError: the environment has no such tables, or (Taxi with `fickle_passenger`) they
                are not its dynamics; or it is in a wrapper that may change them, which is any but
                Gymnasium's `TimeLimit`, `OrderEnforcing` and `PassiveEnvChecker`.
        """
        refuse_wrappers(env)
        base = env.unwrapped
        if isinstance(model := getattr(base, "model", None), cls):
            return model
        table, start = getattr(base, "P", None), getattr(base, "initial_state_distrib", None)
        if not isinstance(table, Mapping) or start is None:
            raise SettingError(
                f"{type(base).__name__} has no tables 'P' and 'initial_state_distrib', as "
                "Gymnasium's FrozenLake, CliffWalking and Taxi have, so its model cannot be read."
            )
        if getattr(base, "fickle_passenger", False):
            raise SettingError(
                f"the table 'P' of {type(base).__name__} with fickle_passenger=True is not its "
                "dynamics: the passenger's change of mind is not in it. Use fickle_passenger=False."
            )
        return _read_table(table, np.asarray(start), getattr(base, "action_mask", None))

    def oracle(self, horizon: int | None = None, gamma: float = 1.0) -> TabularOracle:
        """The answer key for a limit of `horizon` steps; None is the task without a limit.

        Raises:
            SettingError: `horizon` or `gamma` is outside its range.
        """
        return TabularOracle(model=self.merged(), horizon=horizon, gamma=gamma, mask=self.mask)

    def __deepcopy__(self, memo: dict[int, Any]) -> TabularMDP:
        """Itself, since nothing in it can change; plain copies of the arrays could be written."""
        return self

    def merged(self) -> TabularMDP:
        """The same MDP with equal outcomes of an action made one; smaller, but drawn differently.

        Outcomes are equal if they lead to the same state with the same reward and the same end.
        They come out in the order of their states, and impossible ones are left out.
        """
        return _merged(self)

    def _check_shapes(self) -> None:
        shape = self.next_state.shape
        if len(shape) != 3 or 0 in shape:
            raise SettingError(
                "next_state must have the shape [S, A, K] with at least one state, action and "
                f"outcome, got {list(shape)}."
            )
        wanted = {"probability": shape, "reward": shape, "terminal": shape, "start": shape[:1]}
        if self.mask is not None:
            wanted["mask"] = shape[:2]
        for name, right in wanted.items():
            if getattr(self, name).shape != right:
                raise SettingError(
                    f"{name} must have the shape {list(right)}, as next_state has {list(shape)}; "
                    f"got {list(getattr(self, name).shape)}."
                )

    def _check_values(self) -> None:
        states = self.n_states
        if self.next_state.min() < 0 or self.next_state.max() >= states:
            raise SettingError(
                f"next_state must hold states from 0 to {states - 1}, got values from "
                f"{self.next_state.min()} to {self.next_state.max()}."
            )
        if not np.isfinite(self.reward).all():
            raise SettingError("reward must be finite, got NaN or infinity.")
        _check_sums("probability", self.probability)
        _check_sums("start", self.start)
        if self.mask is not None and not self.mask.any(axis=-1).all():
            raise SettingError(
                "mask must allow at least one action in each state, got none in state "
                f"{int(self.mask.any(axis=-1).argmin())}."
            )


def refuse_wrappers(env: gym.Env[Any, Any]) -> None:
    """Lets pass an environment without wrappers, or in those alone that leave its table as it is.

    The others may change what is observed, done or paid, which the table does not show. A subclass
    of a plain wrapper may too.

    Raises:
        SettingError: it is in another wrapper.
    """
    layer: Any = env
    while isinstance(layer, gym.Wrapper):
        if type(layer) not in PLAIN:
            known = ", ".join(kind.__name__ for kind in PLAIN)
            raise SettingError(
                f"the wrapper {type(layer).__name__} around {type(env.unwrapped).__name__} may "
                "change what its table says, and would be lost: give the environment without it, "
                f"or in these wrappers alone: {known}."
            )
        layer = layer.env


def _array(name: str, value: object, kinds: str, dtype: type[np.generic]) -> NDArray[Any]:
    """A contiguous copy, of the type that is computed with."""
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise SettingError(f"{name} must be an array, got rows of different lengths.") from error
    if array.dtype.kind not in kinds:
        wanted = {"iu": "whole numbers", "b": "booleans"}.get(kinds, "numbers")
        raise SettingError(f"{name} must be an array of {wanted}, got {array.dtype}.")
    return np.array(array, dtype=dtype, order="C")


def _check_sums(name: str, probabilities: NDArray[np.float64]) -> None:
    sums = probabilities.sum(axis=-1)
    # written so that NaN is refused as well
    good = (probabilities >= 0).all(axis=-1) & (np.abs(sums - 1.0) <= SUM_TOLERANCE)
    if not good.all():
        place = [int(i) for i in np.unravel_index(int(np.argmin(good)), good.shape)]
        where = f" for [state, action] {place}" if place else ""
        raise SettingError(
            f"{name} must be at least 0 and sum to 1, got {probabilities[tuple(place)]}{where}, "
            f"which sums to {float(sums[tuple(place)]):.12g}."
        )


def _read_table(
    table: Mapping[Any, Any], start: NDArray[np.float64], action_mask: Any
) -> TabularMDP:
    states, actions = len(table), len(table[0])
    rows = [[list(table[s][a]) for a in range(actions)] for s in range(states)]
    outcomes = max(len(cell) for row in rows for cell in row)
    shape = (states, actions, outcomes)
    # unused places stay where they are, with probability 0
    next_state = np.broadcast_to(np.arange(states)[:, None, None], shape).copy()
    probability, reward = np.zeros(shape), np.zeros(shape)
    terminal = np.zeros(shape, bool)
    for s, row in enumerate(rows):
        for a, cell in enumerate(row):
            for k, (p, s_next, r, ends) in enumerate(cell):
                next_state[s, a, k], terminal[s, a, k] = int(s_next), bool(ends)
                probability[s, a, k], reward[s, a, k] = float(p), float(r)
    mask = None
    if callable(action_mask):
        mask = np.array([np.asarray(action_mask(s), bool) for s in range(states)])
    return TabularMDP(
        next_state=next_state,
        probability=probability,
        reward=reward,
        terminal=terminal,
        start=start,
        mask=mask,
    )


def _merged(mdp: TabularMDP) -> TabularMDP:
    """Sorts all possible outcomes by (state, action, what happens) and adds up equal neighbours."""
    states, actions, outcomes = mdp.next_state.shape
    possible = np.flatnonzero(mdp.probability.ravel() > 0)
    cell = possible // outcomes
    columns = [a.ravel()[possible] for a in (mdp.next_state, mdp.reward, mdp.terminal)]
    order = np.lexsort((columns[2], columns[1], columns[0], cell))
    cell, columns = cell[order], [column[order] for column in columns]
    new = np.ones(len(cell), bool)
    new[1:] = np.any([key[1:] != key[:-1] for key in (cell, *columns)], axis=0)
    first = np.flatnonzero(new)
    probability = np.add.reduceat(mdp.probability.ravel()[possible][order], first)
    cell, columns = cell[first], [column[first] for column in columns]
    # the rank of an outcome within its cell; every cell has one, as its probabilities sum to 1
    begins = np.searchsorted(cell, np.arange(states * actions))
    rank = np.arange(len(cell)) - begins[cell]
    shape = (states * actions, int(rank.max()) + 1)
    kept = {
        "next_state": np.broadcast_to(
            np.arange(states * actions)[:, None] // actions, shape
        ).copy(),
        "reward": np.zeros(shape),
        "terminal": np.zeros(shape, bool),
        "probability": np.zeros(shape),
    }
    for array, column in zip(kept.values(), (*columns, probability), strict=True):
        array[cell, rank] = column
    arrays = {name: array.reshape(states, actions, -1) for name, array in kept.items()}
    return TabularMDP(**arrays, start=mdp.start, mask=mdp.mask)
