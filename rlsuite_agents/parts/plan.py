"""What planning agents share: values of a table, without a time limit or for every time step.

`Unlimited` keeps one value for each state and sweeps in place, in alternating directions.
`Limited` keeps action values for every number of steps that can be left; one sweep adds one step.
Both answer `q_rows` and `actions` for (states, steps left), and sweep by the backup of
`functional.planning`, whose temperature makes it evaluation, optimal or soft control.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.errors import SettingError
from rlsuite_agents.functional import planning
from rlsuite_agents.parts.checkpoint import Checkpoint
from rlsuite_agents.parts.compiled import kept
from rlsuite_agents.parts.model import Floats, Table

__all__ = ["TIE", "Limited", "Unlimited", "action_values", "progressive"]

Ints = NDArray[np.int64]

TIE = 1e-10
"""Action values this close, relative to the largest value, are equal: their order is rounding."""

ROUNDING = 1e-15
"""A sweep that changes the values by no more than this, relatively, moves only their last bits."""

SETTLED = 1e-12
"""Progress, which is at most 1, is known this well."""


def action_values(v: Floats, table: Table, gamma: float) -> Floats:
    """Action values q [S, A] where the next state is worth v [S]."""
    found: Floats = kept(planning.action_values)(v, *table.arrays, gamma)
    return found


class Unlimited:
    """Values of the task without a time limit, v [S], by sweeps in place.

    They start from a lower bound of the values, from which they only grow: the smallest expected
    reward for ever if γ < 1, and 0 if γ = 1, where only states that can be reached count.
    """

    def __init__(
        self, table: Table | None, shape: tuple[int, int], gamma: float, *, greedy: bool = True
    ) -> None:
        self.gamma, self.shape, self.greedy = gamma, shape, greedy
        if table is not None and gamma == 1.0:
            table = table.without(~table.reachable())
        self.table = table
        low = 0.0 if table is None or gamma == 1.0 else min(0.0, float(table.r.min()))
        self.v = np.full(shape[0], low / (1.0 - gamma) if low else 0.0)
        self.digest: str | None = None  # of the table, where it was not loaded
        self.sweeps, self.change = 0, np.inf
        self._q: Floats | None = None
        self._actions: Ints | None = None

    def sweep(self, pi: Floats, temperature: float) -> None:
        """One backup of every state in place; backwards first, as tasks end at the end."""
        table = self.needed_table()
        rule = kept(planning.sweep)
        how = (self.gamma, pi, temperature, self.sweeps % 2 == 0)
        self.change = float(rule(self.v, self.v, *table.arrays, *how))
        self.sweeps += 1
        self._q = self._actions = None

    def needed_table(self) -> Table:
        """The table; raises `SettingError` after a load without an environment."""
        return _needed(self.table)

    @property
    def error(self) -> float:
        """No value is further from the fixed point than γ / (1 - γ) times the last change.

        With γ = 1 there is no such bound; then it is the last change itself.
        """
        if self.gamma == 1.0:
            return self.change
        return self.gamma / (1.0 - self.gamma) * self.change

    def settled(self, tolerance: float) -> bool:
        """Whether `error` is within the tolerance, or nothing but rounding is left."""
        if self.error <= tolerance:
            return True
        return self.change <= ROUNDING * max(1.0, float(np.abs(self.v).max()))

    @property
    def q(self) -> Floats:
        """Action values that follow from v, [S, A]."""
        if self._q is None:
            if self.table is None:  # loaded from a checkpoint, which holds q
                return np.zeros(self.shape)
            self._q = action_values(self.v, self.table, self.gamma)
        return self._q

    @property
    def best(self) -> Ints:
        """A greedy action of each state, [S]; with γ = 1 one that makes progress."""
        if self._actions is None:
            slack = TIE * max(1.0, float(np.abs(self.v).max()))
            if self.gamma < 1.0 or self.table is None:
                self._actions = first_best(self.q, slack)
            else:
                self._actions = progressive(self.table, self.q, slack)
        return self._actions

    def q_rows(self, states: Ints, left: Ints | None) -> Floats:
        """Action values q of these states, [B, A]."""
        return self.q[states]

    def actions(self, states: Ints, left: Ints | None) -> Ints:
        """Greedy actions in these states, [B]."""
        return self.best[states]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """For a checkpoint."""
        return {"v": self.v, "q": self.q} | ({"actions": self.best} if self.greedy else {})

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"sweeps": self.sweeps, "change": float_or_none(self.change)}

    def restore(self, found: Checkpoint, state: Mapping[str, Any]) -> None:
        """Goes on from a checkpoint."""
        self.v = found.array("v", self.shape[:1])
        self._q = found.array("q", self.shape)
        if self.greedy:
            self._actions = found.array("actions", self.shape[:1], np.int64)
        self.sweeps = state["sweeps"]
        self.change = np.inf if state["change"] is None else state["change"]


class Limited:
    """Values for every number of steps left, exact after one sweep for each.

        q_n(s, a) = r(s, a) + γ Σ_s' p(s'|s, a) v_{n-1}(s'),    v_0 = 0

    Once a sweep repeats the values bit by bit, so would all others, and there are no more.
    Greedy actions are kept beside the values if `greedy`.
    """

    def __init__(
        self,
        table: Table | None,
        shape: tuple[int, int],
        gamma: float,
        horizon: int,
        *,
        greedy: bool = True,
    ) -> None:
        self.table, self.gamma, self.horizon = table, gamma, horizon
        self.shape, self.greedy = shape, greedy
        self.digest: str | None = None  # of the table, where it was not loaded
        self.v = np.zeros(shape[0])
        self.progress = np.zeros(shape[0])
        self._ending: Table | None = None
        self.q_of: list[Floats] = []  # [n - 1] with n steps left
        self.best_of: list[Ints] = []
        self.repeats = False

    def sweep(self, pi: Floats, temperature: float) -> None:
        """Action values with one more step left."""
        q = action_values(self.v, self.needed_table(), self.gamma)
        v, progress = kept(planning.backup_rows)(q, pi, temperature), self.progress
        if self.greedy:
            best, progress = self._towards_the_end(q, progress)
            self.best_of.append(best)
        self.repeats = np.array_equal(v, self.v) and np.array_equal(progress, self.progress)
        self.v, self.progress = v, progress
        self.q_of.append(q)

    def evaluate(self) -> None:
        """Values of the policy `best_of`, all of them; of the uniform one where it is empty."""
        table, uniform = self.needed_table(), not self.best_of
        self.v, self.q_of = np.zeros(self.shape[0]), []
        for n in range(self.horizon):
            q = action_values(self.v, table, self.gamma)
            self.v = q.mean(axis=1) if uniform else _taken(q, self.best_of[n])
            self.q_of.append(q)

    def improve(self) -> bool:
        """Makes `best_of` greedy for the values; whether that changed nothing."""
        before, self.best_of = self.best_of, []
        self.progress = np.zeros(self.shape[0])
        for q in self.q_of:
            best, self.progress = self._towards_the_end(q, self.progress)
            self.best_of.append(best)
        return np.array_equal(before, self.best_of)

    def _towards_the_end(self, q: Floats, progress: Floats) -> tuple[Ints, Floats]:
        """Greedy actions [S], and E[patience^T] of those that follow them to the end, [S]."""
        table = self.needed_table()
        tied = _tied(q, TIE * max(1.0, float(np.abs(q).max())))
        if self._ending is None:
            self._ending = _to_the_end(table)
        reach = patience_of(table) * action_values(progress, self._ending, 1.0)
        actions = _pick(reach, tied)
        return actions, _taken(reach, actions)

    def needed_table(self) -> Table:
        """The table; raises `SettingError` after a load without an environment."""
        return _needed(self.table)

    @property
    def complete(self) -> bool:
        """Whether there are values for every number of steps left."""
        return self.repeats or len(self.q_of) >= self.horizon

    @property
    def q(self) -> Floats:
        """Action values at the start of an episode, [S, A]."""
        return self.q_of[-1] if self.q_of else np.zeros(self.shape)

    def q_rows(self, states: Ints, left: Ints | None) -> Floats:
        """Action values q of these states with `left` [B] steps left, [B, A]."""
        if not self.q_of:
            return np.zeros((len(states), self.shape[1]))
        return self._rows(self.q_of, states, left)

    def actions(self, states: Ints, left: Ints | None) -> Ints:
        """Greedy actions in these states with `left` [B] steps left, [B]."""
        if not self.best_of:
            return np.zeros(len(states), np.int64)
        return self._rows(self.best_of, states, left)

    def _rows(self, of: list[NDArray[Any]], states: Ints, left: Ints | None) -> NDArray[Any]:
        """Beyond what has been swept, the last one stands for all."""
        assert left is not None
        n = np.clip(left, 1, len(of)) - 1
        rows = of[n[0]][states]
        for i in np.unique(n[n != n[0]]):
            rows[n == i] = of[i][states[n == i]]
        return rows

    def arrays(self) -> dict[str, NDArray[Any]]:
        """For a checkpoint."""
        n = len(self.q_of)
        return {
            "v": self.v,
            "progress": self.progress,
            "q": np.array(self.q_of).reshape(n, *self.shape),
            "actions": np.array(self.best_of, np.int64).reshape(-1, self.shape[0]),
        }

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        counts = {"steps": len(self.q_of), "greedy_steps": len(self.best_of)}
        return counts | {"repeats": self.repeats}

    def restore(self, found: Checkpoint, state: Mapping[str, Any]) -> None:
        """Goes on from a checkpoint."""
        n, self.repeats = state["steps"], state["repeats"]
        self.v = found.array("v", self.shape[:1])
        self.progress = found.array("progress", self.shape[:1])
        self.q_of = list(found.array("q", (n, *self.shape)))
        self.best_of = list(
            found.array("actions", (state["greedy_steps"], self.shape[0]), np.int64)
        )


def progressive(table: Table, q: Floats, slack: float) -> Ints:
    """Greedy actions [S] that do not go round for ever among equals, where γ = 1.

    Values within `slack` of the largest one tie. Among them the action of the largest
    E[patience^T] is taken, T the steps until the episode ends: it leads towards the end. Where no
    tied action does, one is taken that leads to where nothing is paid or lost any more, and stays.
    """
    tied = _tied(q, slack)
    if tied.sum() == len(tied):
        return q.argmax(axis=1)
    ending = _to_the_end(table)
    progress = _settle(ending, tied, np.zeros(len(q)), np.zeros(len(q), bool))
    done = (progress == 0) & (np.abs(q.max(axis=1)) <= slack)  # no end in reach, nothing to win
    resting, stays = _resting(table, tied & done[:, None], slack)
    held = resting | (progress > 0)
    settled = np.where(resting, 1.0, progress)
    if resting.any() and not held.all():
        settled = _settle(ending, tied, settled, held)
    actions = _pick(action_values(settled, ending, 1.0), tied)
    return np.where(resting, stays.argmax(axis=1), actions)


def patience_of(table: Table) -> float:
    """Near enough to 1 that ways as long as there are states can still be told apart."""
    return 1.0 - 1.0 / (100.0 + len(table.start))


def first_best(q: Floats, slack: float) -> Ints:
    """The first of the best actions of each row [B]; values within `slack` are equal."""
    return _tied(q, slack).argmax(axis=1)


def float_or_none(value: float) -> float | None:
    """JSON knows no infinity."""
    return float(value) if np.isfinite(value) else None


def _taken(rows: Floats, actions: Ints) -> Floats:
    """The entry of the action in each row, [S] from [S, A]."""
    taken: Floats = np.take_along_axis(rows, actions[:, None], axis=1)[:, 0]
    return taken


def _tied(q: Floats, slack: float) -> NDArray[np.bool_]:
    return q >= q.max(axis=1, keepdims=True) - slack


def _pick(reach: Floats, tied: NDArray[np.bool_]) -> Ints:
    """The first tied action of the largest reach, [S]; nearly equal ones are equal."""
    reach = np.where(tied, reach, -1.0)
    return (reach >= reach.max(axis=1, keepdims=True) * (1.0 - 1e-9)).argmax(axis=1)


def _to_the_end(table: Table) -> Table:
    """The table that pays 1 where an episode ends, and nothing else."""
    return replace(table, r=table.ending())


def _settle(
    ending: Table, tied: NDArray[np.bool_], progress: Floats, held: NDArray[np.bool_]
) -> Floats:
    """The largest E[patience^T] over tied actions, [S]; in `held` states it stays what it is."""
    patience = patience_of(ending)
    aside = held[:, None]
    table = (
        np.where(aside, progress[:, None], patience * ending.r),
        np.where(aside[:, :, None], 0.0, patience * ending.p),
        ending.s_next,
    )
    allowed, m, rule = tied.astype(np.float64), progress.copy(), kept(planning.sweep)
    for sweep in range(10_000 + 10 * len(m)):
        if rule(m, m, *table, 1.0, allowed, 0.0, sweep % 2 == 0) <= SETTLED:
            break
    return m


def _resting(
    table: Table, tied: NDArray[np.bool_], slack: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """States [S] where a tied action pays nothing and leads only to such states, and those [S, A].

    The largest such set, found by leaving out what does not belong.
    """
    idle = tied & (np.abs(table.r) <= slack)
    resting = np.ones(len(idle), bool)
    while True:
        stays = idle & np.all((table.p == 0.0) | resting[table.s_next], axis=-1)
        kept = np.any(stays, axis=1)
        if np.array_equal(kept, resting):
            return resting, stays
        resting = kept


def _needed(table: Table | None) -> Table:
    if table is None:
        raise SettingError(
            "this agent was loaded without an environment, so it can predict but not plan; "
            "load it with load(path, env=...)."
        )
    return table
