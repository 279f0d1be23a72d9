"""`rlsuite bench plan` and `status`, and the options of `run` that choose cells and limits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

TINY = """
name = "tiny"
[[grid]]
tasks = ["rlsuite/GridWorld-v0"]
seeds = 2
total_timesteps = 60
eval_points = 1
[grid.agents]
q = "rlsuite/QLearning-v0"
sarsa = "rlsuite/Sarsa-v0"
"""


@pytest.fixture
def tiny(cli):
    Path("tiny.toml").write_text(TINY)
    return "tiny.toml"


def test_a_plan_runs_nothing_and_writes_nothing(cli, tiny):
    shown = cli("bench", "plan", tiny)
    assert shown.code == 0
    assert "4 cells of 4 would be run." in shown.out
    assert not Path("results").exists()
    assert cli("bench", tiny, "--dry-run").out == shown.out


def test_patterns_seeds_and_json(cli, tiny):
    ran = cli("bench", tiny, "--only", "agent=q", "--no-report", "--json")
    assert ran.code == 0
    events = [json.loads(line) for line in ran.out.splitlines()]
    assert [event["event"] for event in events] == [
        "planned",
        *["started", "finished"] * 2,
        "done",
    ]
    assert (events[-1]["cells"], events[-1]["failed"], events[-1]["report"]) == (2, 0, None)
    plan = json.loads(cli("bench", "plan", tiny, "--add-seeds", "1", "--json").out)
    assert plan["states"] == {"missing": 4, "ok": 2}
    assert plan["to_run"] == 4
    text = cli("bench", "plan", tiny, "--seeds", "1").out
    assert "1 cell of 2 would be run." in text


def test_status_of_a_store_and_of_a_suite(cli, tiny):
    assert cli("bench", "status").code == 2
    assert "there is no store results/rlsuite.sqlite" in cli("bench", "status").err
    cli("bench", tiny, "--only", "agent=q", "--no-report")
    assert "All: 2 ok" in cli("bench", "status").out
    assert "All: 2 missing, 2 ok" in cli("bench", "status", tiny).out
    known = json.loads(cli("bench", "status", "results/rlsuite.sqlite", "--json").out)
    assert known["states"] == {"ok": 2}


def test_a_store_is_named_once(cli, tiny):
    cli("bench", tiny, "--only", "agent=q", "--no-report", "--store", "mine.sqlite")
    assert "All: 2 ok" in cli("bench", "status", "--store", "mine.sqlite").out
    Path("other.sqlite").touch()
    for words in (
        ("status", "mine.sqlite"),
        ("report", "mine.sqlite"),
        ("compare", *["mine.sqlite"] * 2),
    ):
        refused = cli("bench", *words, "--store", "other.sqlite")
        assert refused.code == 2
        assert "'mine.sqlite' is a store itself, and --store other.sqlite says" in refused.err


def test_figures_without_episodes_are_no_work_with_more_of_them(cli, tiny):
    cli("bench", tiny, "--no-report")
    Path("more.toml").write_text(
        TINY.replace("eval_points = 1", "eval_points = 1\nfinal_episodes = 99")
    )
    assert "0 cells of 4 would be run." in cli("bench", "plan", "more.toml").out
    assert "4 cells: 4 stored" in cli("bench", "more.toml", "--no-report").out


def test_workers_and_limits(cli, tiny):
    ran = cli("bench", tiny, "--workers", "2", "--timeout", "60", "--memory", "8GiB", "--no-report")
    assert ran.code == 0, ran.err
    assert "All: 4 ok" in cli("bench", "status").out
    refused = cli("bench", tiny, "--workers", "0")
    assert refused.code == 2
    assert "workers is a whole number of at least 1, got 0" in refused.err


def test_curves_for_tensorboard(cli, tiny):
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    assert cli("bench", tiny, "--only", "agent=q", "--tensorboard", "tb", "--no-report").code == 0
    assert len(list(Path("tb").rglob("*tfevents*"))) == 2
    Path("file").touch()
    refused = cli("bench", tiny, "--tensorboard", "file")
    assert refused.code == 2
    assert refused.out == ""
    assert "the TensorBoard folder file cannot be written: Not a directory" in refused.err


def test_nothing_chosen_is_said(cli, tiny):
    shown = cli("bench", tiny, "--retry-failed")
    assert shown.code == 0
    assert "No cell was chosen, and none is stored: there is nothing to show." in shown.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--only", "q"), "--only reads field=pattern"),
        (("--seeds", "0"), "at least 1, got 0"),
        (("--add-seeds", "0"), "--add-seeds is a whole number of at least 1, got 0"),
        (("--memory", "much"), "memory is a number of bytes"),
        (("--memory", "0"), "memory must be a number of bytes above 0, got 0"),
        (("--timeout", "0"), "timeout must be a number of seconds above 0, got 0.0"),
        (("--timeout", "nan"), "timeout must be a number of seconds above 0, got nan"),
        (("--workers", "0"), "workers is a whole number of at least 1, got 0"),
        (("--only", "agnt=q"), "--only knows agent, env, task, seed, family; got 'agnt'. Did you"),
        (
            ("--only", "agent=z"),
            "--only agent=z fits no cell of the suite 'tiny', which has for ag",
        ),
        (("--only", "seed=2"), "which has for seed: 0, 1."),
    ],
)
def test_refusals(cli, tiny, words, said):
    shown = cli("bench", tiny, *words)
    assert shown.code == 2
    assert said in shown.err
    assert shown.out == ""


@pytest.mark.parametrize("name", ["quick", "textbook", "bandits", "classic", "classic-sb3"])
def test_shipped_suites_can_be_planned(cli, name):
    shown = cli("bench", "plan", name)
    assert shown.code == 0
    assert "would be run." in shown.out
