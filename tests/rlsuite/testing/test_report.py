"""Results, reports, and what a check makes of an exception."""

from __future__ import annotations

import json
import random
import warnings

import pytest

from rlsuite.testing.report import Check, CheckReport, CheckResult, Failure, Skip, check, run_checks

REPORT = CheckReport(
    "env",
    "a/B-v0",
    (
        CheckResult("one", "passed"),
        CheckResult("another", "failed", "it is 3 and not 4"),
        CheckResult("third", "skipped", "it has none"),
    ),
)


def test_the_report_as_text():
    assert str(REPORT) == (
        "one      passed\n"
        "another  failed   it is 3 and not 4\n"
        "third    skipped  it has none\n"
        "env a/B-v0: 1 passed, 1 failed, 1 skipped"
    )


def test_the_report_as_json():
    found = json.loads(REPORT.to_json())
    assert found["counts"] == {"passed": 1, "failed": 1, "skipped": 1}
    assert found["checks"][1] == {
        "name": "another",
        "status": "failed",
        "reason": "it is 3 and not 4",
    }
    assert not found["ok"]


def test_a_result_by_name():
    assert REPORT.result("third").reason == "it has none"
    assert str(REPORT.result("one")) == "one: passed"
    with pytest.raises(KeyError, match="fourth"):
        REPORT.result("fourth")


def raises(error):
    def function(subject):
        """Raises."""
        if error is not None:
            raise error

    return Check("c", "Raises.", function)


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (None, "passed", ""),
        (Failure("it is\n wrong"), "failed", "it is wrong"),
        (Skip("no such thing"), "skipped", "no such thing"),
        (ValueError("oh"), "failed", "it raised ValueError: oh"),
        (Failure("x" * 1000), "failed", "x" * 597 + "..."),
    ],
)
def test_what_a_check_answers(error, status, reason):
    assert raises(error).run(None) == CheckResult("c", status, reason)


def test_an_interruption_is_not_a_failure():
    with pytest.raises(KeyboardInterrupt):
        raises(KeyboardInterrupt()).run(None)


def test_a_check_is_named_after_its_function_and_leaves_no_trace():
    @check
    def draws_and_warns(subject):
        """Draws, and warns.

        And more.
        """
        random.random()
        warnings.warn("nobody hears this", stacklevel=1)

    assert (str(draws_and_warns), draws_and_warns.summary) == (
        "draws_and_warns",
        "Draws, and warns.",
    )
    before = random.getstate()
    assert draws_and_warns.run(None).status == "passed"
    assert random.getstate() == before


def test_all_checks_run_and_progress_is_told():
    told = []
    checks = [raises(ValueError("a")), raises(None)]
    report = run_checks("env", "a/B-v0", None, checks, told.append)
    assert [result.status for result in report.results] == ["failed", "passed"]
    assert tuple(told) == report.results
