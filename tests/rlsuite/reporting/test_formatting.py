"""How numbers read."""

from __future__ import annotations

import pytest

from rlsuite.reporting.formatting import (
    counts_text,
    failure_lines,
    interval_text,
    number,
    seconds_text,
    short_task_names,
)
from rlsuite.statistics import Interval


def interval(estimate, low, high):
    return Interval(estimate=estimate, low=low, high=high, method="student-t", level=0.95, n=3)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.74419, "0.744"),
        (-13.0, "-13.00"),
        (142.25, "142.2"),
        (1142.993, "1,143.0"),
        (1_500_000.0, "1,500,000"),
        (-0.00001, "-1.00e-05"),
        (-3e-16, "0.000"),
        (0.0, "0.000"),
        (None, "–"),
        (float("nan"), "–"),
    ],
)
def test_numbers(value, text):
    assert number(value) == text


def test_an_interval_has_one_number_of_decimals():
    assert interval_text(interval(9.5, 8.25, 10.75)) == "9.50 [8.25, 10.75]"
    assert interval_text(interval(-0.0001, -0.5, 0.5)) == "0.000 [-0.500, 0.500]"
    assert interval_text(interval(2e-5, 1e-5, 3e-5)) == "2.00e-05 [1.00e-05, 3.00e-05]"
    assert interval_text(interval(0.5, None, None)) == "0.500"
    assert interval_text(None) == "–"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.424, "0.42 s"), (3.14, "3.1 s"), (125, "2 min 05 s"), (3780, "1 h 03 min")],
)
def test_seconds(seconds, text):
    assert seconds_text(seconds) == text


def test_short_names_stay_different():
    assert short_task_names(("rlsuite/GridWorld-v0", "CartPole-v1")) == {
        "rlsuite/GridWorld-v0": "GridWorld",
        "CartPole-v1": "CartPole",
    }
    same = ("a/Maze-v0", "b/Maze-v0")
    assert short_task_names(same) == {task: task for task in same}
    assert short_task_names(("not-versioned",)) == {"not-versioned": "not-versioned"}


def test_failures_are_one_line_each(make_record):
    assert failure_lines([]) == []
    tails = ["Traceback ...\nValueError: no  such\tthing\n", ""]
    failed = [
        make_record("CartPole-v1", "dqn", seed, state=state, error=tail)
        for seed, (state, tail) in enumerate(zip(("failed", "oom"), tails, strict=True))
    ]
    assert failure_lines(failed) == [
        "2 cells without figures (1 failed, 1 oom):",
        "  CartPole-v1  dqn  seed 0  FAILED: ValueError: no such thing",
        "  CartPole-v1  dqn  seed 1  OOM: no message",
    ]


def test_counts_in_words():
    assert counts_text({"timeout": 1, "ok": 1_200, "failed": 2, "oom": 0}) == (
        "1,200 ok, 2 failed, 1 timeout"
    )
