"""Leaderboards as strings: the terminal, Markdown and HTML say the same."""

from __future__ import annotations

import pytest

from rlsuite.reporting.leaderboard import leaderboards
from rlsuite.reporting.tables import (
    cell_text,
    summary_table,
    task_table,
    terminal_tables,
    to_markdown,
)

GRID, CLIFF = "rlsuite/GridWorld-v0", "rlsuite/CliffWalk-v0"


def columns(table):
    return [column.name for column in table.columns]


def test_one_task_shows_every_figure(make_record):
    records = [make_record(GRID, "q", seed, score=0.9) for seed in range(2)]
    (board,) = leaderboards(records)
    (table,) = terminal_tables(board)
    assert columns(table) == ["#", "agent", "score", "return", "regret", "runs"]
    assert table.rows == (
        (
            "1",
            "q",
            "0.900 [0.900, 0.900]",
            "0.775 [0.775, 0.775]",
            "0.155 [0.155, 0.155]",
            "2/2",
        ),
    )
    assert table.notes == board.notes


@pytest.mark.parametrize("width", [60, 100, 140])
def test_several_tasks_fit_the_terminal(quick_records, width):
    for board in leaderboards(quick_records):
        for table in terminal_tables(board, width):
            least = [task_table, summary_table]
            bare = min(make(board, intervals="none").width for make in least)
            assert table.width <= max(width, bare + 40)
            assert all(len(row) == len(table.columns) for row in table.rows)


def test_the_quick_suite_fits_100_columns(quick_records):
    for board in leaderboards(quick_records):
        assert all(table.width <= 100 for table in terminal_tables(board))


def test_a_board_of_several_tasks_has_a_summary_and_every_task(quick_records):
    board = next(b for b in leaderboards(quick_records) if b.family == "tabular")
    summary, tasks = terminal_tables(board)
    assert columns(summary)[:3] == ["#", "agent", "IQM score, 3 tasks"]
    assert columns(summary)[3:] == ["FrozenLake", "CliffWalk", "GridWorld", "runs"]
    assert columns(tasks) == ["task", "agent", "score", "return", "regret", "runs"]
    assert len(tasks.rows) == 12
    assert summary.notes == ()


def test_narrow_tables_give_up_intervals_of_side_columns_only(quick_records):
    board = next(b for b in leaderboards(quick_records) if b.family == "tabular")
    wide, narrow = summary_table(board), summary_table(board, intervals="none")
    for full, short in zip(wide.rows, narrow.rows, strict=True):
        assert full[:3] == short[:3]
        assert all(f.startswith(s) for f, s in zip(full[3:], short[3:], strict=True))
    first = task_table(board, intervals="first").rows[0]
    assert "[" in first[2]
    assert "[" not in first[3]


def test_failed_and_missing_cells_are_words(make_record):
    records = [make_record(GRID, "q", 0), make_record(CLIFF, "q", 0), make_record(GRID, "r", 0)]
    records[0] = make_record(GRID, "q", 0, state="failed", error="boom")
    (board,) = leaderboards(records)
    table = summary_table(board)
    row = next(row for row in table.rows if row[1] == "q")
    assert row == ("–", "q", "–", "0.900", "failed", "1/2")
    assert next(row for row in table.rows if row[1] == "r")[3] == "not run"


def test_a_task_without_any_figure_says_what_happened(make_record):
    records = [make_record(GRID, "q", seed, state="timeout") for seed in range(2)]
    (board,) = leaderboards(records)
    assert cell_text(board.rows[0].cells[0], "score") == "timeout"
    (board,) = leaderboards([*records, make_record(GRID, "q", 2, state="killed")])
    assert cell_text(board.rows[0].cells[0], "score") == "1 killed, 2 timeout"


def test_tied_ranks_and_stars(make_record):
    records = [make_record(GRID, agent, 0, score=0.5) for agent in "ab"]
    records.append(make_record(GRID, "b", 1, state="failed", error="boom"))
    (board,) = leaderboards(records)
    assert [row[0] for row in summary_table(board).rows] == ["1=", "1="]
    assert [row[2] for row in summary_table(board).rows] == ["0.500", "0.500 *"]


def test_a_board_without_common_task_has_no_main_column(make_record):
    (board,) = leaderboards([make_record(GRID, "q", 0), make_record(CLIFF, "r", 0)])
    assert columns(summary_table(board)) == ["#", "agent", "CliffWalk", "GridWorld", "runs"]


def test_the_objective_of_token_tasks_is_called_so(make_record):
    (board,) = leaderboards([make_record("rlsuite/TokenGeneration-v0", "r", 0)])
    assert "objective" in columns(summary_table(board))


def test_markdown_by_hand(make_record):
    (board,) = leaderboards([make_record(GRID, "a|b <i>", 0, score=0.5)])
    lines = to_markdown(board).splitlines()
    assert lines[0] == "### tabular"
    assert lines[2] == "| # | agent | score | return | regret | runs |"
    assert lines[3] == "| ---: | --- | ---: | ---: | ---: | ---: |"
    assert lines[4] == "| 1 | a\\|b &lt;i> | 0.500 | 0.155 | 0.775 | 1/1 |"
    assert lines[6].startswith("- ")


def test_markdown_of_several_tasks_holds_both_tables(quick_records):
    board = next(b for b in leaderboards(quick_records) if b.family == "tabular")
    text = to_markdown(board)
    assert "| # | agent | IQM score, 3 tasks |" in text
    assert "| task | agent | score | return | regret | runs |" in text
