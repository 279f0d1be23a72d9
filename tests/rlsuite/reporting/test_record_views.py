"""Failures, notes and machines, in words."""

from __future__ import annotations

import pytest

from rlsuite.reporting import record_views
from rlsuite.reporting.record_views import (
    failure_views,
    machine_view,
    note_views,
    seed_ranges,
)

GRID, CLIFF = "rlsuite/GridWorld-v0", "rlsuite/CliffWalk-v0"


@pytest.mark.parametrize(
    ("seeds", "words"),
    [
        ([3], "seed 3"),
        ([0, 1], "seeds 0, 1"),
        ([2, 0, 1], "seeds 0–2"),
        ([0, 1, 2, 3, 7, 9, 10], "seeds 0–3, 7, 9, 10"),
    ],
)
def test_seeds_as_ranges(seeds, words):
    assert seed_ranges(seeds) == words


def test_many_ranges_end_in_an_ellipsis():
    assert seed_ranges(range(0, 100, 2)).endswith("36, 38, …")


def test_failures_have_their_true_states_and_alike_ones_stand_once(make_record):
    def failed(seed, state, error, task=GRID):
        return make_record(task, "q", seed, state=state, error=error)

    found = failure_views(
        [
            make_record(GRID, "q", 0),
            failed(1, "failed", "first log\nValueError: no"),
            failed(2, "failed", "second log\nValueError: no"),
            failed(3, "timeout", "stopped"),
            failed(4, "oom", ""),
            failed(5, "failed", "x\nValueError: no", CLIFF),
        ]
    )
    assert [(s, n) for s, n, _ in found["states"]] == [("failed", 3), ("oom", 1), ("timeout", 1)]
    assert "limit of time" in dict((s, words) for s, _, words in found["states"])["timeout"]
    groups = [(g["state"], g["count"], g["name"], g["reason"]) for g in found["groups"]]
    assert groups == [
        ("failed", 2, f"q on {GRID}, seeds 1, 2", "ValueError: no"),
        ("timeout", 1, f"q on {GRID}, seed 3", "stopped"),
        ("oom", 1, f"q on {GRID}, seed 4", "no log"),
        ("failed", 1, f"q on {CLIFF}, seed 5", "ValueError: no"),
    ]
    assert found["groups"][0]["log"] == "first log\nValueError: no"
    assert found["groups"][2]["log"] == "The run left no log."


def test_logs_are_bounded_in_number_and_size(make_record, monkeypatch):
    monkeypatch.setattr(record_views, "LOGS", 2)
    monkeypatch.setattr(record_views, "LOG_CHARACTERS", 10)
    records = [
        make_record(GRID, "q", seed, state="killed", error=f"{'x' * 50}\nend {seed}")
        for seed in range(5)
    ]
    found = failure_views(records)
    assert [group["log"] for group in found["groups"]] == ["…xxxx\nend 0", "…xxxx\nend 1"]
    assert found["more"] == 3


def test_notes_name_their_runs_shortly(make_record):
    records = [make_record(GRID, "q", seed, notes=("odd",)) for seed in range(50)]
    assert note_views(records) == [("odd", f"q on {GRID} (seeds 0–49)")]


def test_many_machines_are_counted_and_the_commonest_shown(make_record, monkeypatch):
    monkeypatch.setattr(record_views, "MACHINES", 2)
    records = [
        make_record(GRID, "q", s, fingerprint={"cpu": f"c{max(s - 2, 0)}"}) for s in range(6)
    ]
    found = machine_view(records)
    assert found["count"] == 4
    assert found["heads"] == ["3 runs", "1 run"]
    assert found["rows"][0]["values"] == ["c0", "c1"]
