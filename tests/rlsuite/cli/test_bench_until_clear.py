"""`rlsuite bench run --until-clear`, as typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

SUITE = """
name = "two"

[[grid]]
tasks = ["rlsuite/GridWorld-v0"]
seeds = 5
total_timesteps = 1500
eval_points = 1

[grid.agents]
q = "rlsuite/QLearning-v0"
random = "rlsuite/Random-v0"
"""


@pytest.fixture
def two(cli) -> str:
    Path("two.toml").write_text(SUITE)
    return "two.toml"


def test_every_look_says_what_is_decided_and_the_report_names_the_command(cli, two):
    shown = cli("bench", "run", two, "--until-clear")
    assert shown.code == 0, shown.err
    lines = shown.out.splitlines()
    look = lines.index(
        "Look at tabular, score on rlsuite/GridWorld-v0; looks after 5, 10, 15, 20, 25 seeds"
    )
    assert lines[look + 1].startswith(
        "  q is better than random, clear after 5 seeds (q - random: "
    )
    assert lines[look + 2] == "  1 of 1 pair told apart: enough seeds."
    assert "Note: seeds were added until the sequential test was decided; the" in shown.out
    assert "rlsuite bench run two.toml --until-clear" in Path("report.html").read_text("utf-8")


def test_what_is_open_says_how_much_may_come(cli, two):
    Path(two).write_text(SUITE.replace("seeds = 5", "seeds = 2"))
    shown = cli("bench", two, "--until-clear", "--max-seeds", "3", "--no-report")
    assert "  q and random are not told apart (q - random: " in shown.out
    assert "  0 of 1 pair told apart; for the next look: q 1 more seed, random 1 more seed." in (
        shown.out
    )
    assert "  At most 2 more cells until the last look." in shown.out
    assert "after 3 seeds, the last look: the others may be equal." in shown.out


def test_looks_are_events(cli, two):
    shown = cli("bench", two, "--until-clear", "--json", "--no-report")
    assert shown.code == 0
    events = [json.loads(line) for line in shown.out.splitlines()]
    look = next(event for event in events if event["event"] == "look")
    assert look["family"] == "tabular"
    assert look["looks"] == [5, 10, 15, 20, 25]
    assert look["pairs"][0]["better"] == "q"
    assert (look["clear"], look["more_seeds"], look["most_cells"]) == (True, {}, 0)
    assert events[-1]["event"] == "done"


def test_a_dry_run_shows_the_first_look(cli, two):
    shown = cli("bench", two, "--until-clear", "--max-seeds", "12", "--dry-run")
    assert "10 cells of 10 would be run." in shown.out
    assert "That is the first look; tabular is looked at after 5, 10, 12 seeds." in shown.out
    found = json.loads(cli("bench", two, "--until-clear", "--dry-run", "--json").out)
    assert found["looks"] == {"tabular": [5, 10, 15, 20, 25]}


def test_options_that_contradict_it_are_refused(cli, two):
    for words, match in (
        (("--until-clear", "--add-seeds", "2"), "leave --add-seeds out"),
        (("--until-clear", "--retry-failed"), "leave --retry-failed out"),
        (("--max-seeds", "20"), "--max-seeds goes with --until-clear"),
        (("--until-clear", "--only", "seed=1"), "leaves out some seeds of q"),
        (("--until-clear", "--max-seeds", "2"), "at least the 5 seeds of the suite"),
    ):
        shown = cli("bench", two, *words)
        assert shown.code == 2
        assert match in " ".join(shown.err.split())
    assert not Path("results").exists()
