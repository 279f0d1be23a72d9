"""What a reader must know to read a leaderboard right, one sentence each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from rlsuite.records import RunRecord
from rlsuite.reporting.boards import Comparison, Row
from rlsuite.reporting.formatting import counts_text
from rlsuite.training import budget_note

__all__ = ["METHOD_NAMES", "board_notes"]

NAMED = 6
"""Pairs of agent and task that a note names one by one."""

METHOD_NAMES: Mapping[str, str] = {
    "student-t": "Student's t over runs",
    "bootstrap-se-t": "bootstrap over runs, its standard error with Student's t (Satterthwaite)",
    "expanded-t": "bootstrap over runs, percentiles expanded with Student's t (Satterthwaite)",
}


def board_notes(
    rows: list[Row], tasks: tuple[str, ...], records: tuple[RunRecord, ...], plan: Comparison
) -> tuple[str, ...]:
    """What a reader must know to read the table right, one sentence each."""
    return (
        *_how_aggregated(rows, tasks, plan),
        *_how_scored(records),
        *_what_is_missing(rows, plan),
        *_why_unranked(rows, plan),
        *_what_differs(rows, tasks),
        *_off_budget(records),
        *_imported(records),
    )


def _off_budget(records: tuple[RunRecord, ...]) -> Iterable[str]:
    """Trainings that took fewer or more steps than they were given; failed ones say so."""
    found: dict[tuple[str, str, int], list[int]] = {}
    for record in records:
        steps, budget = record.steps_used, record.total_timesteps
        if record.state == "ok" and budget_note(steps, budget) in record.notes:
            found.setdefault((record.agent, record.task, budget), []).append(steps)
    if not found:
        return
    parts = []
    for (agent, task, budget), taken in found.items():
        low, high = min(taken), max(taken)
        told = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        parts.append(f"{agent} on {task} {told} of {budget:,}")
    yield f"Trainings that did not take the steps of their budget: {'; '.join(parts)}."


def _imported(records: tuple[RunRecord, ...]) -> Iterable[str]:
    """Runs that were made elsewhere, and scored in another way."""
    found = sorted({(record.agent, record.imported) for record in records if record.imported})
    for source in sorted({source for _, source in found}):
        agents = ", ".join(agent for agent, where in found if where == source)
        yield (
            f"Imported from {source}, not run here: {agents}. Returns are means over the last "
            "training episodes, and no evaluations."
        )


def _how_aggregated(rows: list[Row], tasks: tuple[str, ...], plan: Comparison) -> Iterable[str]:
    if not plan.tasks:
        yield "No task was run by all agents, so there is no ranking; agents stand by name."
    elif plan.name == "average rank":
        yield (
            f"These tasks have no scores: agents stand by their average rank in the mean returns "
            f"of {len(plan.tasks)} tasks."
        )
    elif plan.statistic is not None:
        what = {"IQM score": "interquartile mean of all runs' scores"}.get(
            plan.name, "mean of the task means"
        )
        kinds = {row.aggregate.method for row in rows if row.aggregate is not None}
        intervals = "; ".join(METHOD_NAMES[kind] for kind in sorted(kinds))
        yield (f"{plan.name}: {what} over {len(plan.tasks)} tasks. 95% interval: {intervals}.")
    yield "Figures of one task are means over runs; 95% interval: Student's t over runs."
    left_out = [task for task in tasks if task not in plan.tasks]
    if plan.tasks and left_out:
        yield f"Not in the main column: {'; '.join(_why_left_out(t, rows) for t in left_out)}."


def _why_left_out(task: str, rows: list[Row]) -> str:
    ran = {row.agent for row in rows for cell in row.cells if cell and cell.task == task}
    without = [row.agent for row in rows if row.agent not in ran]
    return f"{task} (not run by {', '.join(without)})" if without else f"{task} (has no score)"


def _how_scored(records: tuple[RunRecord, ...]) -> Iterable[str]:
    done = [record for record in records if record.state == "ok"]
    policies = [record for record in done if record.metric != "learning_regret"]
    exact = any(r.method == "exact" for r in policies)
    sampled = [r for r in policies if r.method == "sampled"]
    if exact and not sampled:
        yield "Every policy was scored exactly, by the oracle."
    elif sampled:
        counts = sorted({len(r.episodes) for r in sampled if r.episodes})
        episodes = f", {' or '.join(map(str, counts))} episodes a run" if counts else ""
        names = ", ".join(sorted({f"{r.agent} on {r.task}" for r in sampled})) if exact else ""
        who = f": {names}" if names else ""
        yield f"Scored by sampling{episodes}{who}." + (" All others exactly." if exact else "")
    if any(record.metric == "learning_regret" for record in done):
        yield (
            "Regret is the expected reward lost while learning, summed over the run; the score is "
            "the share of uniform play's regret that was avoided."
        )
    if any(r.metric == "value_error" for r in done):
        yield (
            "Predicted values are scored by their root mean squared error over states: 1 is none, "
            "0 is that of predicting 0 everywhere. The return is that of the policy they are of."
        )
    told = ("learning_regret", "value_error")
    if any(r.score is not None and r.metric not in told for r in done):
        yield "Score: 0 is the baseline policy, 1 is optimal. Regret is optimal minus return."


def _what_is_missing(rows: list[Row], plan: Comparison) -> Iterable[str]:
    lacking = [
        (row.agent, cell) for row in rows for cell in row.cells if cell is not None and cell.states
    ]
    if lacking:
        total: Counter[str] = Counter()
        for _, cell in lacking:
            total.update(cell.states)
        where = "; ".join(
            f"{agent} on {cell.task} {counts_text(cell.states)}" for agent, cell in lacking[:NAMED]
        )
        more = f"; and {len(lacking) - NAMED} more" if len(lacking) > NAMED else ""
        planned = sum(row.planned for row in rows)
        yield (
            f"{total.total():,} of {planned:,} runs have no figures: {counts_text(total)} ({where}"
            f"{more}). n/N counts those that finished."
        )
    if any(row.incomplete and row.aggregate is not None for row in rows):
        yield "* lacks runs without figures: it describes only those that finished."
    if any(cell is not None and cell.runs == 1 for row in rows for cell in row.cells):
        yield "A single run has no interval: it says nothing about how much runs differ."


def _why_unranked(rows: list[Row], plan: Comparison) -> Iterable[str]:
    reasons = {_why_no_figure(row, plan) for row in rows if plan.tasks and row.aggregate is None}
    for reason in sorted(reasons - {""}):
        yield f"– in the main column: {reason}; the agent has no rank."
    if any(cell is not None and cell.reward_only is not None for row in rows for cell in row.cells):
        yield (
            "Reward only: played episodes show the reward without the KL term of the objective, so "
            "the agent has no rank in it."
        )


def _why_no_figure(row: Row, plan: Comparison) -> str:
    """Why a row has no main figure; empty where `reward only` says it."""
    counted = [cell for cell in row.cells if cell is not None and cell.task in plan.tasks]
    if any(cell.runs == 0 for cell in counted):
        return "a task without any finished run"
    if any(cell.reward_only is not None for cell in counted):
        return ""
    return f"a task without a {plan.quantity} of this agent"


def _what_differs(rows: list[Row], tasks: tuple[str, ...]) -> Iterable[str]:
    """Budgets and run counts that are not the same for all agents of a task."""
    planned = [{c.planned for row in rows if (c := row.cells[i])} for i in range(len(tasks))]
    if any(len(counts) > 1 for counts in planned):
        yield "Agents have different numbers of runs; see the last column."
    for index, task in enumerate(tasks):
        found = [(row.agent, cell) for row in rows if (cell := row.cells[index]) is not None]
        if len({cell.budgets for _, cell in found}) > 1:
            budgets = ", ".join(
                f"{agent} {' or '.join(f'{b:,}' for b in cell.budgets)}" for agent, cell in found
            )
            yield f"Training steps differ on {task}: {budgets}."
