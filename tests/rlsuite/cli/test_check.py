"""`rlsuite check`: a table, a count and an exit code."""

from __future__ import annotations

import json

import pytest

from rlsuite.testing import agent_checks, alignment_checks, env_checks
from rlsuite.testing.report import Check, Failure, Skip


def _passes(subject):
    pass


def _fails(subject):
    raise Failure(f"{subject.kwargs or subject.id} is not what it should be")


def _skips(subject):
    raise Skip("no need")


@pytest.fixture
def three_checks(monkeypatch):
    """Each kind of answer once; the real checks have tests of their own."""
    checks = tuple(
        Check(name, "", function)
        for name, function in (("first", _passes), ("second", _fails), ("third", _skips))
    )
    monkeypatch.setattr(env_checks, "ENV_CHECKS", checks)


def test_a_failed_check_is_exit_code_1(cli, three_checks):
    shown = cli("check", "env", "rlsuite/GridWorld-v0", "--env-set", "slip=0.1")
    assert shown.code == 1
    assert "second  failed   {'slip': 0.1} is not what it should be" in shown.out
    assert "third   skipped  no need" in shown.out
    assert shown.out.endswith("env rlsuite/GridWorld-v0: 1 passed, 1 failed, 1 skipped\n")


def test_json(cli, three_checks):
    shown = cli("check", "env", "rlsuite/GridWorld-v0", "--json")
    assert shown.code == 1
    found = json.loads(shown.out)
    assert found["counts"] == {"passed": 1, "failed": 1, "skipped": 1}
    assert found["subject"] == "rlsuite/GridWorld-v0"


def test_an_agent_that_passes_is_exit_code_0(cli, monkeypatch):
    (budget,) = [check for check in agent_checks.AGENT_CHECKS if check.name == "exact_budget"]
    monkeypatch.setattr(agent_checks, "AGENT_CHECKS", (budget,))
    words = ("--set", "step_size=0.1", "--env", "rlsuite/GridWorld-v0", "--env-set", "slip=0.1")
    shown = cli("check", "agent", "rlsuite/QLearning-v0", *words)
    assert shown.code == 0
    assert "exact_budget  passed" in shown.out
    assert "agent rlsuite/QLearning-v0: 1 passed, 0 failed, 0 skipped" in shown.out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("env", "rlsuite/GridWolrd-v0"), "there is no environment 'rlsuite/GridWolrd-v0'"),
        (("env", "rlsuite/GridWorld-v0", "--env-set", "slop=1"), "has no keyword 'slop'"),
        (("agent", "rlsuite/QLerning-v0"), "there is no agent 'rlsuite/QLerning-v0'"),
        (("agent", "rlsuite/QLearning-v0", "--set", "x=1"), "has no setting 'x'"),
        (("agent", "rlsuite/QLearning-v0", "--env-set", "slip=1"), "give both"),
        (("env", "rlsuite/QLearning-v0"), "`rlsuite check agent rlsuite/QLearning-v0`"),
        (("agent", "rlsuite/GridWorld-v0"), "`rlsuite check env rlsuite/GridWorld-v0`"),
        (("env", "rlsuite/GridWorld-v0", "--env-set", "render_mode=human"), "no render_mode"),
    ],
)
def test_bad_input_is_exit_code_2(cli, words, sentence):
    shown = cli("check", *words)
    assert shown.code == 2
    assert sentence in shown.err


def test_an_agent_and_its_token_task(cli, monkeypatch):
    (one,) = [c for c in alignment_checks.ALIGNMENT_CHECKS if c.name == "gamma_is_one"]
    monkeypatch.setattr(alignment_checks, "ALIGNMENT_CHECKS", (one,))
    words = ("--agent", "rlsuite/PPO-v0", "--env-set", "beta=0.2")
    shown = cli("check", "alignment", *words)
    assert shown.code == 1
    assert "Set gamma=1" in " ".join(shown.out.split())
    assert "rlsuite/PPO-v0 on rlsuite/TokenGeneration-v0: 0 passed, 1 failed" in shown.out
    shown = cli("check", "alignment", *words, "--set", "gamma=1.0", "--json")
    assert shown.code == 0
    assert json.loads(shown.out)["counts"] == {"passed": 1, "failed": 0, "skipped": 0}


def test_alignment_needs_a_token_task(cli):
    shown = cli("check", "alignment", "--agent", "rlsuite/PPO-v0", "--env", "CartPole-v1")
    assert shown.code == 2
    assert "need a token task" in shown.err
