"""Like compared with like: which figure ranks, over which tasks, and what is said about it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import SettingError
from rlsuite.reporting.leaderboard import (
    distinct_records,
    leaderboards,
    summary_table,
    task_cell,
    to_markdown,
)
from rlsuite.statistics import bootstrap_interval, iqm, student_t_interval
from rlsuite.statistics.comparison import Drawn
from rlsuite.training import budget_note

GRID, CLIFF, LAKE = "rlsuite/GridWorld-v0", "rlsuite/CliffWalk-v0", "FrozenLake-v1"
BANDIT, POLE, TOKENS = "rlsuite/BernoulliBandit-v0", "CartPole-v1", "rlsuite/TokenGeneration-v0"


def runs(make, task, agent, values, field="score", **fields):
    return [
        make(task, agent, seed, **{field: value}, **fields) for seed, value in enumerate(values)
    ]


def names(board):
    return [row.agent for row in board.rows]


def test_one_board_for_each_family(quick_records):
    boards = leaderboards(quick_records)
    assert [board.family for board in boards] == [
        "bandit",
        "control",
        "tabular",
        "token generation",
    ]
    assert sum(row.planned for board in boards for row in board.rows) == len(quick_records)
    assert leaderboards([]) == ()


def test_one_task_with_scores_by_hand(make_record):
    """Scores 0.8, 0.9, 1.0: mean 0.9, half width 4.30265 · 0.1 / √3 = 0.2484."""
    records = runs(make_record, GRID, "q", [0.8, 0.9, 1.0]) + runs(make_record, GRID, "r", [0.5])
    (board,) = leaderboards(records)
    assert (board.aggregate, board.aggregate_tasks, board.main) == ("score", (GRID,), "score")
    first, second = board.rows
    assert (first.agent, first.rank, second.agent, second.rank) == ("q", 1, "r", 2)
    assert first.aggregate.estimate == pytest.approx(0.9)
    assert first.aggregate.high == pytest.approx(0.9 + 4.30265 * 0.1 / 3**0.5, rel=1e-5)
    assert second.aggregate.low is None
    assert "A single run has no interval" in " ".join(board.notes)
    assert "IQM" not in " ".join(board.notes)


def test_several_tasks_are_ranked_by_the_iqm_of_their_scores(make_record):
    rng = np.random.default_rng(0)
    x = rng.random((5, 3))
    tasks = (LAKE, CLIFF, GRID)  # the order of the board
    records = [
        record for m, task in enumerate(tasks) for record in runs(make_record, task, "q", x[:, m])
    ]
    (board,) = leaderboards(records, seed=3)
    assert board.tasks == tasks
    assert board.aggregate == "IQM score"
    aggregate = board.rows[0].aggregate
    assert aggregate == Drawn.make({"q": x}, iqm, seed=3, resamples=50_000).interval("q")
    alone = bootstrap_interval(x, seed=3)
    assert (aggregate.estimate, aggregate.method) == (alone.estimate, alone.method)
    assert aggregate.low == pytest.approx(alone.low, abs=0.02 * (alone.high - alone.low))
    cell = board.rows[0].cells[1]
    assert cell.score == student_t_interval(x[:, 1])
    assert "bootstrap over runs" in board.notes[0]


def test_success_or_failure_is_never_an_iqm(make_record):
    """On 0/1 scores the IQM is a clipped line: 3 of 4 would read 1."""
    records = []
    for task in (GRID, CLIFF):
        records += runs(make_record, task, "q", [1.0, 1.0, 1.0, 0.0])
    (board,) = leaderboards(records)
    assert board.aggregate == "mean score"
    assert board.rows[0].aggregate.estimate == 0.75


def test_the_aggregate_covers_only_tasks_that_all_ran(make_record):
    records = [r for t in (GRID, CLIFF, LAKE) for r in runs(make_record, t, "q", [0.8, 0.9])]
    records += [r for t in (GRID, CLIFF) for r in runs(make_record, t, "r", [0.85, 0.7])]
    (board,) = leaderboards(records)
    assert board.aggregate_tasks == (CLIFF, GRID)
    assert f"{LAKE} (not run by r)" in " ".join(board.notes)
    assert [row.cells[0] is None for row in board.rows] == [n == "r" for n in names(board)]


def test_without_a_common_task_nobody_is_ranked(make_record):
    records = runs(make_record, GRID, "q", [0.8]) + runs(make_record, CLIFF, "r", [0.9])
    (board,) = leaderboards(records)
    assert [row.rank for row in board.rows] == [None, None]
    assert board.notes[0].startswith("No task was run by all agents")


def test_tasks_without_scores_are_ranked_by_places(make_record):
    """a is first and second, b second and first: both have the average rank 1.5, and tie."""
    records = []
    for task, a, b in (("A-v0", 2.0, 1.0), ("B-v0", 10.0, 1000.0)):
        records += runs(make_record, task, "a", [a], "mean_return")
        records += runs(make_record, task, "b", [b], "mean_return")
        records += runs(make_record, task, "c", [-1.0], "mean_return")
    (board,) = leaderboards(records)
    assert board.aggregate == "average rank"
    assert [(r.agent, r.rank, r.tied, r.aggregate.estimate) for r in board.rows] == [
        ("a", 1, True, 1.5),
        ("b", 1, True, 1.5),
        ("c", 3, False, 3.0),
    ]


def test_bandits_are_ranked_by_regret_and_small_is_good(make_record):
    records = []
    for agent, regret in (("ucb", 40.0), ("thompson", 20.0)):
        records += runs(make_record, BANDIT, agent, [regret, regret + 2], "regret")
    (board,) = leaderboards(records)
    assert names(board) == ["thompson", "ucb"]
    assert (board.aggregate, board.ascending) == ("regret", True)
    assert board.rows[0].cells[0].score.estimate == pytest.approx(1 - 21 / 200)
    assert "summed over the run" in " ".join(board.notes)


def test_returns_rank_where_there_is_no_answer_key(make_record):
    records = runs(make_record, POLE, "ppo", [480.0, 500.0], "mean_return")
    records += runs(make_record, POLE, "dqn", [100.0, 200.0], "mean_return")
    (board,) = leaderboards(records)
    assert (board.aggregate, names(board)) == ("return", ["ppo", "dqn"])
    assert "Scored by sampling." in board.notes


def test_a_failed_cell_is_counted_and_its_aggregate_marked(make_record):
    records = [r for t in (GRID, CLIFF) for r in runs(make_record, t, "q", [0.8, 0.9])]
    records.append(make_record(GRID, "q", 2, state="failed", error="boom"))
    (board,) = leaderboards(records)
    (row,) = board.rows
    assert (row.runs, row.planned, row.incomplete) == (4, 5, True)
    assert row.aggregate.runs == (2, 2)
    assert (
        "1 of 5 runs have no figures: 1 failed (q on rlsuite/GridWorld-v0 1 failed). n/N counts "
        "those that finished."
    ) in board.notes
    assert " *" in to_markdown(board).replace("\\*", "*")


def test_an_agent_that_failed_a_whole_task_is_last_and_the_task_stays(make_record):
    records = [r for t in (GRID, CLIFF) for r in runs(make_record, t, "good", [0.1, 0.2])]
    records += runs(make_record, GRID, "bad", [0.9, 0.9])
    records += [make_record(CLIFF, "bad", s, state="failed", error="boom") for s in range(2)]
    (board,) = leaderboards(records)
    assert names(board) == ["good", "bad"]
    assert board.aggregate_tasks == (CLIFF, GRID)
    assert (board.rows[1].rank, board.rows[1].aggregate) == (None, None)
    assert "the agent has no rank" in " ".join(board.notes)


def test_everything_failed(make_record):
    records = [make_record(GRID, "q", s, state="failed", error="boom") for s in range(2)]
    (board,) = leaderboards(records)
    assert board.rows[0].aggregate is None
    assert "failed" in to_markdown(board)


def test_notes_say_what_became_of_the_runs_without_figures(make_record):
    states = ("timeout", "oom", "ok", "timeout")
    records = [make_record(GRID, "q", seed, state=state) for seed, state in enumerate(states)]
    records += [make_record(CLIFF, f"a{k}", 0, state="killed") for k in range(7)]
    (board,) = leaderboards(records)
    cell = next(row for row in board.rows if row.agent == "q").cells[board.tasks.index(GRID)]
    assert dict(cell.states) == {"timeout": 2, "oom": 1}
    (note,) = [note for note in board.notes if "no figures" in note]
    assert note.startswith("10 of 11 runs have no figures: 7 killed, 1 oom, 2 timeout (a0 on ")
    assert note.endswith(
        "a5 on rlsuite/CliffWalk-v0 1 killed; and 2 more). n/N counts those that finished."
    )


def test_ties_share_a_rank(make_record):
    records = []
    for agent, score in (("a", 0.9), ("b", 0.9 + 1e-15), ("c", 0.2)):
        records += runs(make_record, GRID, agent, [score, score])
    (board,) = leaderboards(records)
    assert [(row.agent, row.rank, row.tied) for row in board.rows] == [
        ("a", 1, True),
        ("b", 1, True),
        ("c", 3, False),
    ]


def test_one_name_for_two_settings_becomes_two_rows(make_record):
    records = runs(make_record, GRID, "q", [0.9, 0.8])
    records += runs(make_record, GRID, "q", [0.5], settings={"step_size": 0.1, "epsilon": 0.1})
    (board,) = leaderboards(records)
    assert names(board) == ["q (step_size=0.5)", "q (step_size=0.1)"]


def test_one_name_for_two_budgets_and_ids_becomes_rows_of_their_own(make_record):
    records = runs(make_record, GRID, "q", [0.9])
    records += runs(make_record, GRID, "q", [0.5], total_timesteps=1000, agent_id="other/Q-v0")
    (board,) = leaderboards(records)
    assert set(names(board)) == {
        "q (rlsuite/Q-v0, 20,000 steps)",
        "q (other/Q-v0, 1,000 steps)",
    }
    assert any("Training steps differ" in note for note in board.notes)


def test_settings_that_differ_between_tasks_only_are_one_agent(make_record):
    records = runs(make_record, GRID, "q", [0.9])
    records += runs(make_record, CLIFF, "q", [0.5], settings={"step_size": 0.1})
    (board,) = leaderboards(records)
    assert names(board) == ["q"]


def test_an_older_result_of_the_same_cell_is_left_out_and_named(make_record):
    old = make_record(GRID, "q", 0, score=0.1, started_at="2025-01-01T00:00:00")
    new = make_record(GRID, "q", 0, score=0.7, started_at="2026-01-01T00:00:00")
    for records in ([old, new], [new, old]):
        (board,) = leaderboards(records)
        assert board.rows[0].aggregate.estimate == 0.7
        assert board.rows[0].planned == 1
        assert "1 older result of the same cells" in " ".join(board.notes)


@given(st.randoms(use_true_random=False))
@settings(max_examples=5, deadline=None)
def test_the_order_of_the_records_changes_nothing(random):
    from importlib import util
    from pathlib import Path

    spec = util.spec_from_file_location("made", Path(__file__).parents[1] / "conftest.py")
    made = util.module_from_spec(spec)
    spec.loader.exec_module(made)
    records = made.quick_records()[:20]
    shuffled = list(records)
    random.shuffle(shuffled)
    assert leaderboards(shuffled) == leaderboards(records)
    assert distinct_records(shuffled) == distinct_records(records)


def test_metrics_and_methods_of_a_cell(make_record):
    records = [
        make_record(TOKENS, "r", s, metrics={"kl": 0.2 + s}, method=m)
        for s, m in enumerate(("exact", "sampled"))
    ]
    cell = task_cell(tuple(records))
    assert cell.metrics["kl"].estimate == pytest.approx(0.7)
    assert (cell.method, cell.runs, cell.budgets) == ("mixed", 2, (50_000,))
    (board,) = leaderboards(records)
    assert board.objective
    assert any("r on rlsuite/TokenGeneration-v0" in note for note in board.notes)


def test_a_cell_without_records_is_refused():
    with pytest.raises(SettingError, match="needs at least one record"):
        task_cell(())


def test_trainings_off_their_budget_are_named(make_record):
    """Strangers may overshoot, and whoever reads the table is told by how much."""
    more = [
        make_record(GRID, "ppo", seed, steps_used=steps, notes=(budget_note(steps, 20_000),))
        for seed, steps in enumerate((20_480, 20_992))
    ]
    less = make_record(GRID, "lazy", steps_used=0, notes=(budget_note(0, 20_000),))
    untrained = make_record(GRID, "rule", steps_used=0, notes=("only predict()",))
    (board,) = leaderboards([*more, less, untrained, make_record(GRID, "exact")])
    assert board.notes[-1] == (
        "Trainings that did not take the steps of their budget: "
        f"lazy on {GRID} 0 of 20,000; ppo on {GRID} 20,480 to 20,992 of 20,000."
    )
    (board,) = leaderboards([untrained, make_record(GRID, "exact")])
    assert not any("budget" in note for note in board.notes)


def reward_only(make, agent, values):
    blank = {"mean_return": None, "score": None, "regret": None, "method": "sampled"}
    return [
        make(TOKENS, agent, seed, metrics={"expected_reward": value}, **blank)
        for seed, value in enumerate(values)
    ]


def test_a_reward_is_never_shown_or_ranked_as_an_objective(make_record):
    rules = reward_only(make_record, "rule", [2.0, 2.0])
    records = [*runs(make_record, TOKENS, "r", [0.5, 0.7]), *rules]
    (board,) = leaderboards(records)
    assert [(row.agent, row.rank, row.runs) for row in board.rows] == [
        ("r", 1, 2),
        ("rule", None, 2),
    ]
    table = summary_table(board)
    assert [column.name for column in table.columns][2:5] == ["score", "objective", "regret"]
    assert table.rows[1][2:5] == ("–", "reward only 2.000 [2.000, 2.000]", "–")
    notes = " ".join(board.notes)
    assert "Reward only: played episodes show the reward without the KL term" in notes
    assert "finished run;" not in notes


def test_a_board_of_rewards_alone_has_no_ranks(make_record):
    (board,) = leaderboards(reward_only(make_record, "rule", [2.0]))
    (row,) = summary_table(board).rows
    assert row == ("–", "rule", "reward only 2.000", "1/1")


def test_a_finished_run_without_the_main_figure_is_not_called_unfinished(make_record):
    odd = make_record(GRID, "odd", optimal_return=None, mean_return=0.0)
    (board,) = leaderboards([make_record(GRID, "q"), odd])
    assert any(
        "a task without a score of this agent; the agent has no rank" in n for n in board.notes
    )
