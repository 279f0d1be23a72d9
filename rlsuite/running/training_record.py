"""One training as a record, so that a store keeps it beside the cells of benchmarks."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from registry.specs import TaskSpec
from rlsuite.evaluation import Evaluation
from rlsuite.identity import fingerprint, key_of, resolved_settings
from rlsuite.records import RunKey, RunRecord
from rlsuite.running.scoring import curve_point, scored
from rlsuite.suite import AgentChoice, Cell
from rlsuite.training import TrainingLog
from rlsuite.watching.watch import Watch

__all__ = ["training_record"]

NOTE = "trained by rlsuite train: one evaluation, at the end"


def training_record(
    task: TaskSpec,
    choice: AgentChoice,
    seed: int,
    total: int,
    log: TrainingLog,
    watch: Watch,
    evaluation: Evaluation,
    episodes: int,
    seconds: float,
) -> RunRecord:
    """The record of a training that came to its end.

    Its key is that of a cell, marked: no benchmark takes it for a cell of its own.
    """
    cell = Cell(
        task=task,
        label=choice.id,
        choice=choice,
        seed=seed,
        total_timesteps=total,
        eval_points=1,
        eval_episodes=episodes,
        final_episodes=episodes,
        deterministic=task.deterministic,
    )
    identity: dict[str, Any] = {**key_of(cell).identity, "made_by": "rlsuite train"}
    point = curve_point(evaluation, log.steps, seconds)
    blank = RunRecord(
        key=RunKey(identity=identity),
        task=task.id,
        env_id=task.env_id,
        family=task.family,
        metric=task.metric,
        agent=choice.id,
        agent_id=choice.id,
        settings=resolved_settings(choice),
        seed=seed,
        total_timesteps=total,
        state="ok",
        steps_used=log.steps,
        notes=(NOTE, *(alarm.note for alarm in watch.alarms), *evaluation.notes),
        curve=() if point is None else (point,),
        training=log.curve(),
        updates=watch.curve,
        train_seconds=seconds,
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        fingerprint=fingerprint(),
    )
    record = scored(blank, evaluation)
    return replace(record, regret=log.regret) if task.metric == "learning_regret" else record
