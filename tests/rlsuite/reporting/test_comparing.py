"""Pairs, ranks and profiles of a leaderboard: the figures of the statistics, rightly turned."""

from __future__ import annotations

import numpy as np
import pytest

from rlsuite.reporting import comparing
from rlsuite.reporting.comparing import compare_board
from rlsuite.reporting.comparison_views import comparison_views
from rlsuite.reporting.leaderboard import leaderboards, resamples_for, score_table
from rlsuite.reporting.report_views import places_text
from rlsuite.statistics import compare_agents, iqm, mean, performance_profile

GRID, CLIFF, LAKE = "rlsuite/GridWorld-v0", "rlsuite/CliffWalk-v0", "FrozenLake-v1"
BANDIT, POLE = "rlsuite/BernoulliBandit-v0", "CartPole-v1"


def runs(make, task, agent, values, field="score", **fields):
    return [make(task, agent, seed, **{field: v}, **fields) for seed, v in enumerate(values)]


def compared(records):
    (board,) = leaderboards(records)
    found = compare_board(board, records)
    (view,) = comparison_views([board], [found])
    return found, view


def test_several_tasks_are_compared_as_the_statistics_compare_them(make_record):
    rng = np.random.default_rng(0)
    x = {agent: rng.random((5, 3)) * 0.3 + low for agent, low in (("a", 0.6), ("b", 0.1))}
    records = [
        record
        for agent, scores in x.items()
        for m, task in enumerate((LAKE, CLIFF, GRID))
        for record in runs(make_record, task, agent, scores[:, m])
    ]
    found, view = compared(records)
    expected = compare_agents(x, iqm)
    assert found.comparison.agents == expected.agents == ("a", "b")
    (got,), (pair,) = found.comparison.pairs, expected.pairs
    for name in ("difference", "corrected", "improvement"):
        for end in ("estimate", "low", "high"):  # scores went through returns and back
            value = getattr(getattr(got, name), end)
            assert value == pytest.approx(getattr(getattr(pair, name), end), abs=1e-9)
    assert places_text(found, "a") == "1"
    profiles = dict(found.profiles)
    fraction = performance_profile(x["a"], profiles["a"].thresholds).fraction
    np.testing.assert_allclose(profiles["a"].fraction, fraction, atol=0.08)
    assert "svg" in view["chart"]


def test_the_matrix_reads_both_ways(make_record):
    records = runs(make_record, GRID, "a", [0.9, 0.92, 0.94]) + runs(
        make_record, GRID, "b", [0.1, 0.12, 0.16]
    )
    found, view = compared(records)
    (pair,) = found.comparison.pairs
    (first, (same, forth)), (second, (back, _)) = view["pairs"]["rows"]
    assert (first, second) == ("a", "b")
    assert same.kind == "same"
    assert (forth.kind, back.kind) == ("better", "worse")
    assert forth.text.startswith("+0.793 [")
    assert back.text.startswith("-0.793 [-")
    assert back.text.endswith(f"{-pair.corrected.low:.3f}]")
    assert (forth.sub, back.sub) == ("P 1.00", "P 0.00")
    assert back.words.startswith("b is clearly worse than a: p ")


def test_low_regret_is_better(make_record):
    records = runs(make_record, BANDIT, "low", [10.0, 11.0, 12.0], "regret") + runs(
        make_record, BANDIT, "high", [90.0, 95.0, 99.0], "regret"
    )
    found, view = compared(records)
    assert found.comparison.agents == ("low", "high")
    assert view["lower_is_better"]
    (_, (_, forth)), _ = view["pairs"]["rows"]
    assert forth.kind == "better"
    assert forth.text.startswith("-83.67 [")
    assert forth.sub == "P 1.00"
    assert found.profiles == ()


def test_ranks_add_up_and_many_are_added_up(make_record):
    rng = np.random.default_rng(1)
    records = [
        record
        for k in range(10)
        for record in runs(make_record, GRID, f"agent {k}", rng.random(4) * 0.2 + 0.07 * k)
    ]
    found, view = compared(records)
    assert view["ranks"]["heads"] == ["1", "2", "3", "4", "5", "6", "7", "8–10"]
    np.testing.assert_allclose(found.ranks.probability.sum(axis=1), 1.0)
    for row in view["ranks"]["rows"]:
        assert sum(share for _, share in row["shares"]) == pytest.approx(1.0, abs=0.05)
    best, worst = found.comparison.places["agent 0"]
    assert places_text(found, "agent 0") == (f"{best}–{worst}" if best < worst else str(best))


def test_single_runs_leave_everything_open_and_say_so(make_record):
    records = runs(make_record, GRID, "a", [0.9]) + runs(make_record, GRID, "b", [0.1])
    found, view = compared(records)
    assert places_text(found, "a") == ""
    assert view["ranks"] is None
    assert "add seeds" in view["single"]
    (_, (_, forth)), _ = view["pairs"]["rows"]
    assert (forth.text, forth.kind) == ("+0.800", "open")


def test_what_cannot_be_compared_says_why(make_record):
    alone, view = compared(runs(make_record, GRID, "a", [0.5, 0.6]))
    assert alone.comparison is None
    assert view["why_not"] == "fewer than two agents have a rank"
    apart = runs(make_record, "X-v0", "a", [1.0], "mean_return", family="other")
    apart += runs(make_record, "Y-v0", "a", [1.0], "mean_return", family="other")
    apart += [r for t in ("X-v0", "Y-v0") for r in runs(make_record, t, "b", [2.0], "mean_return")]
    assert "no common scale" in compared(apart)[1]["why_not"]


def test_only_the_best_agents_are_compared(make_record, monkeypatch):
    monkeypatch.setattr(comparing, "MOST_AGENTS", 2)
    records = [
        record
        for k, agent in enumerate("abc")
        for record in runs(make_record, GRID, agent, [0.9 - 0.1 * k, 0.8 - 0.1 * k])
    ]
    records += [make_record(GRID, "d", state="failed", error="no")]
    found, view = compared(records)
    assert found.comparison.agents == ("a", "b")
    assert found.left_out == ("c", "d")
    assert view["left_out"].startswith("Not compared: c, d.")


def test_resamples_fall_with_the_number_of_cells():
    assert [resamples_for(n) for n in (0, 142, 1000, 10_000, 100_000)] == [
        50_000,
        50_000,
        50_000,
        5_000,
        2_000,
    ]


def test_ragged_tables_are_filled_with_nan(make_record):
    tasks = [runs(make_record, GRID, "a", [0.5, 0.25]), runs(make_record, CLIFF, "a", [1.0])]
    x = score_table(tasks, "score")
    np.testing.assert_allclose(x, [[0.5, 1.0], [0.25, np.nan]])
    assert mean(x) == pytest.approx((0.375 + 1.0) / 2)
