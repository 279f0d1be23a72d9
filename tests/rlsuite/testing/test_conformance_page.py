"""The page of the kit: every check is on it, and what it says of others is what the kit says."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import pytest

from rlsuite.testing import AGENT_CHECKS, ALIGNMENT_CHECKS, ENV_CHECKS, check_env, env_subject

DOCS = Path(__file__).resolve().parents[3] / "docs"
PAGE = (DOCS / "conformance.md").read_text("utf-8")
CLEAN = ("Taxi-v4", "Blackjack-v1", "MountainCar-v0")
FAST = {"info_schema", "fresh_objects", "invalid_actions_refused", "vector_next_step"}


def section(heading: str) -> str:
    return PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def findings() -> dict[str, set[str]]:
    found = defaultdict(set)
    rows = re.findall(
        r"^\| `([\w-]+)` \| `(\w+)` \|", section("What it finds in Gymnasium 1.4"), re.M
    )
    for identifier, check in rows:
        found[identifier].add(check)
    return {**found, **{identifier: set() for identifier in CLEAN}}


@pytest.mark.parametrize(
    ("heading", "checks"), [("Environments", ENV_CHECKS), ("Agents", AGENT_CHECKS)]
)
def test_every_check_is_on_the_page(heading, checks):
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", section(heading), flags=re.MULTILINE)
    assert rows == [(check.name, check.summary) for check in checks]


def test_every_check_of_alignment_is_on_its_page():
    page = (DOCS / "alignment" / "checks.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", page, flags=re.MULTILINE)
    assert rows == [(check.name, check.summary) for check in ALIGNMENT_CHECKS]


def test_ten_environments_are_on_the_page():
    assert len(findings()) == 10
    for identifier in findings():
        assert f"`{identifier}`" in section("What it finds in Gymnasium 1.4")


@pytest.mark.parametrize("identifier", sorted(findings()))
def test_the_page_says_what_the_quick_checks_find(identifier):
    subject = env_subject(identifier)
    failed = {
        check.name
        for check in ENV_CHECKS
        if check.name in FAST and check.run(subject).status == "failed"
    }
    assert failed == findings()[identifier] & FAST


@pytest.mark.slow
@pytest.mark.parametrize("identifier", sorted(findings()))
def test_the_page_says_all_that_is_found(identifier):
    report = check_env(identifier)
    assert {result.name for result in report.with_status("failed")} == findings()[identifier]
