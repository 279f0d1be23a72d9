"""From a stream of records to what a report draws, in memory that grows slowly with their number.

Up to 2,000 runs a report holds everything. Beyond, a run keeps its figures, its evaluation points
and, where it is scored by the regret of learning, that curve; episodes and training windows stay in
the store, and the tables and the data of the page show 2,000 runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from rlsuite.records import RunKey, RunRecord, TrainingCurve
from rlsuite.reporting.axes import thin

__all__ = ["FULL", "gathered", "shown_runs"]

FULL = 2_000
"""How many runs a report shows one by one, and how many may come before it keeps less of each."""

FAILED = 500
"""How many of the runs that are shown may be failed ones, whatever their share."""

WINDOWS = 50
"""Points of the regret of learning that a run keeps in a large report."""


def gathered(records: Iterable[RunRecord]) -> Sequence[RunRecord]:
    """The records as they are, or, of more than 2,000, all of them leaner; in the order given."""
    kept: list[RunRecord] = []
    shared = _Shared()
    for record in records:
        kept.append(record if len(kept) < FULL else shared.lean(record))
        if len(kept) == FULL + 1:  # all alike, whichever came first
            kept = [shared.lean(one) for one in kept]
    return kept


def shown_runs(records: Sequence[RunRecord]) -> Sequence[RunRecord]:
    """At most 2,000 of the runs: up to 500 that failed, the others evenly spread, in their order.

    What was sorted by task, agent and seed stays so.
    """
    if len(records) <= FULL:
        return records
    failed = [index for index, record in enumerate(records) if record.state != "ok"]
    done = [index for index, record in enumerate(records) if record.state == "ok"]
    failed = [failed[k] for k in thin(len(failed), FAILED)]
    done = [done[k] for k in thin(len(done), FULL - len(failed))]
    return [records[index] for index in sorted([*failed, *done])]


@dataclass(slots=True)
class _Shared:
    """Equal values of many records, held once."""

    values: dict[str, Any] = field(default_factory=dict)
    steps: dict[bytes, Any] = field(default_factory=dict)

    def lean(self, record: RunRecord) -> RunRecord:
        if not record.episodes and record.training is None:  # a store has left them out
            return record
        return replace(
            record,
            key=RunKey(identity={k: self._one(v) for k, v in record.key.identity.items()}),
            settings=self._one(record.settings),
            fingerprint=self._one(record.fingerprint),
            episodes=(),
            training=self._regret(record),
            updates=None,
        )

    def _one(self, value: Any) -> Any:
        return self.values.setdefault(repr(value), value) if isinstance(value, Mapping) else value

    def _regret(self, record: RunRecord) -> TrainingCurve | None:
        curve = record.training
        if curve is None or record.metric != "learning_regret":
            return None
        chosen = thin(len(curve.step), WINDOWS)
        step = curve.step[chosen]
        step = self.steps.setdefault(step.tobytes(), step)
        blank = self.steps.setdefault(b"blank", np.full(WINDOWS, np.nan))[: len(step)]
        none = self.steps.setdefault(b"none", np.zeros(WINDOWS, dtype=np.int64))[: len(step)]
        return TrainingCurve(
            step=step,
            mean=blank,
            minimum=blank,
            maximum=blank,
            length=blank,
            regret=curve.regret[chosen],
            episodes=none,
        )
