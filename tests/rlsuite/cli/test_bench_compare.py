"""`rlsuite bench compare`: the table, what is said beside it, JSON and exit codes."""

from __future__ import annotations

import json

import pytest

from rlsuite.records import RunKey, RunRecord
from rlsuite.store import Store

GOOD, BAD = [0.9, 0.8, 1.0, 0.85], [0.1, 0.3, 0.2, 0.05]


def fill(path, agents, step_size=0.5):
    with Store(path) as opened:
        for agent, scores in agents.items():
            for seed, score in enumerate(scores):
                settings = {"step_size": step_size}
                identity = {"agent": agent, "seed": seed, "settings": settings}
                opened.put(
                    RunRecord(
                        key=RunKey(identity=identity),
                        task="x/Maze-v0",
                        env_id="x/Maze-v0",
                        family="mazes",
                        metric="final_return",
                        agent=agent,
                        agent_id=f"x/{agent}-v0",
                        settings=settings,
                        seed=seed,
                        total_timesteps=100,
                        state="ok",
                        score=score,
                    )
                )


@pytest.fixture
def stores(tmp_path):
    fill(tmp_path / "a.sqlite", {"q": GOOD, "sarsa": BAD})
    fill(tmp_path / "b.sqlite", {"q": BAD, "sarsa": [*BAD, 0.5]}, step_size=0.1)
    return tmp_path


def test_two_stores(cli, stores):
    shown = cli("bench", "compare", "a.sqlite", "b.sqlite")
    assert (shown.code, shown.err) == (0, "")
    lines = shown.out.splitlines()
    assert lines[:3] == [
        "Two results: A is a.sqlite, B is b.sqlite.",
        "8 cells in common, 4 of them identical to the last bit.",
        "Only in B, 1 cell: sarsa on x/Maze-v0, seed 4.",
    ]
    (q,) = [line.split() for line in lines if line.startswith("Maze  q")]
    assert q[:5] == ["Maze", "q", "score", "0.888", "0.163"]
    assert q[-3:] == ["4", "pairs", "worse"]
    assert "  settings.step_size: 0.5 in A, 0.1 in B (8)" in lines


def test_two_agents(cli, stores):
    shown = cli("bench", "compare", "sarsa", "q", "--store", "a.sqlite")
    assert "Two agents: A is sarsa, B is q." in shown.out
    assert "better" in shown.out
    assert "Not the same" not in shown.out


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["a.sqlite", "b.sqlite"], 0),
        (["a.sqlite", "b.sqlite", "--fail-on", "worse"], 1),
        (["b.sqlite", "a.sqlite", "--fail-on", "worse"], 0),
        (["b.sqlite", "a.sqlite", "--fail-on", "different"], 1),
        (["a.sqlite", "a.sqlite", "--fail-on", "different"], 0),
        (["a.sqlite", "none.sqlite"], 2),
        (["q", "zebra", "--store", "a.sqlite"], 2),
    ],
)
def test_exit_codes(cli, stores, words, code):
    shown = cli("bench", "compare", *words)
    assert shown.code == code
    assert (code == 2) == shown.err.startswith("Error: ")


def test_json_holds_everything(cli, stores):
    found = json.loads(cli("bench", "compare", "a.sqlite", "b.sqlite", "--json").out)
    assert (found["common"], found["identical"], found["only_b"]) == (
        8,
        4,
        [["x/Maze-v0", "sarsa", 4]],
    )
    row = found["rows"][0]
    assert (row["agent"], row["verdict"], row["paired"]) == ("q", "worse", True)
    assert row["difference"]["low"] < row["difference"]["estimate"] == pytest.approx(-0.725)
