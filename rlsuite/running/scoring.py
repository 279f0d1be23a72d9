"""From evaluations to the figures of a record; and from an old record to one of more episodes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from registry.catalogue import registry
from registry.errors import CheckpointError
from rlsuite.evaluation import Evaluation, Evaluator
from rlsuite.isolation import one_thread
from rlsuite.making import make_environment
from rlsuite.records import REWARD, CurvePoint, EpisodeRecord, RunRecord
from rlsuite.running.policies import FINAL, Shelf, needed
from rlsuite.suite import Cell

__all__ = ["curve_point", "evaluated_again", "reward_only", "scored"]


def reward_only(evaluation: Evaluation) -> bool:
    """Whether played episodes stand for an objective, of which they show the reward alone."""
    return evaluation.metric == "objective" and evaluation.method == "sampled"


def curve_point(evaluation: Evaluation, step: int, train_seconds: float) -> CurvePoint | None:
    """The evaluation as a point of the learning curve; None where it shows the reward alone."""
    if reward_only(evaluation):
        return None
    return CurvePoint(
        step=step,
        mean_return=evaluation.mean_return,
        low=evaluation.low,
        high=evaluation.high,
        score=evaluation.score,
        regret=evaluation.regret,
        method=evaluation.method,
        train_seconds=train_seconds,
    )


def scored(blank: RunRecord, final: Evaluation) -> RunRecord:
    """The record with the figures of the final evaluation."""
    known = not reward_only(final)
    return replace(
        blank,
        mean_return=final.mean_return if known else None,
        low=final.low if known else None,
        high=final.high if known else None,
        score=final.score,
        regret=final.regret,
        optimal_return=final.optimal_return,
        baseline_return=final.baseline_return,
        method=final.method,
        metrics=_metrics(final),
        episodes=final.episodes,
    )


def _metrics(final: Evaluation) -> Mapping[str, float]:
    if reward_only(final):
        return {REWARD: final.mean_return, **final.metrics}  # of the texts that objective is of
    best = final.best_stationary_return
    return final.metrics if best is None else {**final.metrics, "best_stationary_return": best}


def evaluated_again(cell: Cell, blank: RunRecord, before: RunRecord, shelf: Shelf) -> RunRecord:
    """The record of a cell whose training is done: what its policies played, and what is missing.

    `before` is the record of a cell that differs in its numbers of episodes alone. The result is
    that of a training from the start, but for clocks and machine, which are those of `before`.

    Raises:
        CheckpointError: a policy is missing or damaged, or is not the one that played `before`.
    """
    start = time.perf_counter()
    with Evaluator(cell.task, lambda: make_environment(cell.task)) as evaluator, one_thread():
        again = _Again(cell, before, shelf, evaluator)
        points = needed(cell, before)
        curve = [
            again.point(k, point) if str(k) in points else point
            for k, point in enumerate(before.curve[:-1])
        ]
        final, notes = again.final()
    if before.curve:
        last = curve_point(final, before.curve[-1].step, before.curve[-1].train_seconds)
        curve += [] if last is None else [last]
    return replace(
        scored(blank, final),
        steps_used=before.steps_used,
        notes=notes,
        curve=tuple(curve),
        training=before.training,
        train_seconds=before.train_seconds,
        eval_seconds=before.eval_seconds + time.perf_counter() - start,
        fingerprint=before.fingerprint,
    )


class _Again:
    """Evaluates the policies of a training once more."""

    def __init__(self, cell: Cell, before: RunRecord, shelf: Shelf, evaluator: Evaluator) -> None:
        self.cell, self.before, self.shelf, self.evaluator = cell, before, shelf, evaluator
        assert isinstance(cell.choice.agent, str)
        self.agent_type = registry.agent_spec(cell.choice.agent).load()

    def point(self, number: int, point: CurvePoint) -> CurvePoint:
        """A point on the way: its episodes were not kept, but their mean was, as a proof."""
        known = int(self.before.key.identity["evaluation"]["episodes"])
        first, found = self._twice(str(number), known, (), self.cell.eval_episodes)
        if curve_point(first, point.step, point.train_seconds) != point:
            raise CheckpointError(
                f"the policy after {point.step} steps plays otherwise than the trained one."
            )
        made = curve_point(found, point.step, point.train_seconds)
        assert made is not None
        return made

    def final(self) -> tuple[Evaluation, tuple[str, ...]]:
        """The final evaluation, and the notes of the record: of the training, then its own."""
        played, notes = self.before.episodes, self.before.notes
        first, found = self._twice(FINAL, len(played), played, self.cell.final_episodes)
        training = notes[: len(notes) - len(first.notes)]
        if training + first.notes != notes:
            raise CheckpointError(f"the notes {notes} do not end with {first.notes}.")
        return found, training + found.notes

    def _twice(
        self, name: str, known: int, played: tuple[EpisodeRecord, ...], wanted: int
    ) -> tuple[Evaluation, Evaluation]:
        """The evaluation as it was, and as it is wanted."""
        policy = self.shelf.load(self.agent_type, name)
        cell = self.cell
        found = []
        for episodes in (known, wanted):
            found.append(
                self.evaluator(
                    policy,
                    episodes=episodes,
                    seed=cell.seed,
                    deterministic=cell.deterministic,
                    played=played,
                )
            )
            played = found[-1].episodes
        return found[0], found[1]
