"""The script that writes the result tables of the agents' pages."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import rlsuite
from rlsuite.suite import load_suite

ROOT = Path(__file__).resolve().parents[2]
GRID, Q = "rlsuite/GridWorld-v0", "rlsuite/QLearning-v0"


@pytest.fixture(scope="module")
def script():
    path = ROOT / "benchmarks" / "classic_tables.py"
    spec = importlib.util.spec_from_file_location("classic_tables", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(store, label, seeds, **settings):
    """Returns of short runs."""
    agents = {label: (Q, settings)}
    found = rlsuite.benchmark(
        agents=agents, tasks=[GRID], seeds=seeds, total_timesteps=60, store=store
    )
    return [record.mean_return for record in found.records]


def test_a_table_sets_ours_above_theirs(script, tmp_path):
    ours = run(tmp_path / "ours.sqlite", "Q", 5)
    theirs = run(tmp_path / "theirs.sqlite", "Q (SB3)", 4, step_size=0.1)
    run(tmp_path / "theirs.sqlite", "Sarsa (SB3)", 2)
    stores = [script.runs_of(tmp_path / name) for name in ("ours.sqlite", "theirs.sqlite")]
    head, rule, first, second = script.rows("Q", *stores)
    assert head.count("|") == rule.count("|") == first.count("|") == second.count("|") == 9
    cells = [cell.strip() for cell in first.strip("| ").split("|")]
    assert cells[:4] == [GRID, "60", "rlsuite", "5"]
    assert cells[4].startswith(f"{np.mean(ours):,.1f}")
    assert cells[5:7] == [f"{np.mean(sorted(ours)[1:4]):,.1f}", f"{min(ours):,.1f}"]
    assert cells[7].startswith(f"{np.mean(ours) - np.mean(theirs):,.1f}")
    assert second.startswith("|  |  | SB3 | 4 | ")
    assert list(script.rows("Sarsa", *stores)) == list(script.HEAD)


def test_a_run_that_is_stored_twice_is_refused(script, tmp_path):
    store = tmp_path / "s.sqlite"
    run(store, "Q", 1)
    run(store, "Q", 1, step_size=0.1)
    with pytest.raises(SystemExit, match=r"Q on rlsuite/GridWorld-v0, seed 0, is stored twice"):
        script.runs_of(store)


def test_the_table_goes_between_the_marks(script, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n{}old\n{}\nafter\n".format(*script.MARKS))
    for table in ("| a |", "| b |\n| c |"):
        script.write(page, table)
    assert page.read_text() == "before\n{}| b |\n| c |\n{}\nafter\n".format(*script.MARKS)
    page.write_text("no marks")
    with pytest.raises(SystemExit, match="has no place for a table"):
        script.write(page, "| a |")


def test_the_pages_have_a_place_for_it(script):
    algorithms = {label for grid in load_suite("classic").grids for label in grid.agents}
    assert algorithms == {"A2C", "DQN", "PPO", "SAC"}
    for algorithm in algorithms:
        page = (script.PAGES / f"{algorithm.lower()}.md").read_text(encoding="utf-8")
        assert [page.count(mark) for mark in script.MARKS] == [1, 1]
