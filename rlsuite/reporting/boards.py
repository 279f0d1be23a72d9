"""Leaderboards as frozen values: what is computed once and shown everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from rlsuite.records import REWARD
from rlsuite.statistics import Interval, Statistic
from rlsuite.statistics.comparison import Drawn

__all__ = ["Comparison", "Leaderboard", "Quantity", "Row", "TaskCell"]

Quantity = Literal["score", "regret", "return"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """How the agents of a board are compared."""

    name: str
    tasks: tuple[str, ...]
    quantity: Quantity
    ascending: bool
    statistic: Statistic | None  # None: the figure of the one task, or the average rank


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskCell:
    """What one agent did on one task: means over its finished runs, with Student's t intervals.

    `runs` of `planned` runs finished; `states` says what became of the others, and how often.
    `returns`, `score` and `regret` are None where no run finished or the task has no answer key.
    `metrics` are the further figures of the records.
    `method` says how the policies were scored: `exact`, `sampled` or `mixed`.
    """

    task: str
    runs: int
    planned: int
    states: Mapping[str, int] = field(default_factory=dict)
    returns: Interval | None = None
    score: Interval | None = None
    regret: Interval | None = None
    metrics: Mapping[str, Interval] = field(default_factory=dict)
    method: str = ""
    budgets: tuple[int, ...] = ()

    def quantity(self, name: Quantity) -> Interval | None:
        """The score, the regret or the return."""
        return {"score": self.score, "regret": self.regret, "return": self.returns}[name]

    @property
    def reward_only(self) -> Interval | None:
        """The reward, where it is known in place of the objective that the task is scored by."""
        return self.metrics.get(REWARD) if self.returns is None else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One agent. `cells` follow the tasks of the board, None where the agent did not run one.

    `rank` counts from 1 and is shared by ties; None where the agent cannot be ranked. `incomplete`:
    runs that the aggregate should hold have failed.
    """

    rank: int | None
    tied: bool
    agent: str
    agent_id: str
    cells: tuple[TaskCell | None, ...]
    aggregate: Interval | None
    incomplete: bool
    runs: int
    planned: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Leaderboard:
    """All agents of one family of tasks, best first.

    `aggregate` names the main column, `aggregate_tasks` the tasks it covers, `ascending` whether
    small is good. `main` is the quantity that stands first for a single task; `objective` whether
    the returns are of a KL-regularised objective. `drawn` holds the scores and the replicates of
    the agents whose aggregate covers several tasks.
    """

    family: str
    tasks: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    aggregate: str
    aggregate_tasks: tuple[str, ...]
    main: Quantity
    ascending: bool = False
    objective: bool = False
    drawn: Drawn | None = field(default=None, compare=False, repr=False)
