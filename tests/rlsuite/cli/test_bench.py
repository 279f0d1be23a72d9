"""`rlsuite bench`, as typed: run, resume, report, and what goes wrong."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from registry.errors import StoreError
from rlsuite.store import Store

TINY = """
name = "tiny"

[[grid]]
tasks = ["rlsuite/GridWorld-v0"]
seeds = 2
total_timesteps = 400

[grid.agents]
q = "rlsuite/QLearning-v0"
sarsa = { id = "rlsuite/Sarsa-v0", step_size = 0.1 }
"""


@pytest.fixture
def tiny(cli) -> str:
    """A suite of four cells that takes a fraction of a second."""
    Path("tiny.toml").write_text(TINY)
    return "tiny.toml"


def test_a_run_prints_a_line_per_cell_leaderboards_and_where_things_are(cli, tiny):
    shown = cli("bench", "run", tiny)
    assert shown.code == 0, shown.err
    lines = shown.out.splitlines()
    assert lines[0] == "Suite tiny: results are kept in results/rlsuite.sqlite"
    assert lines[1] == "4 cells: 4 to run"
    assert lines[2].startswith("[1/4] rlsuite/GridWorld-v0  q  seed 0  return ")
    assert lines[5].startswith("[4/4] rlsuite/GridWorld-v0  sarsa  seed 1  return ")
    assert "tabular: rlsuite/GridWorld-v0" in shown.out
    assert "Store:  results/rlsuite.sqlite (4 cells)" in shown.out
    assert lines[-1] == "Report: report.html"
    assert "\x1b" not in shown.out
    assert shown.err == ""
    page = Path("report.html").read_text(encoding="utf-8")
    assert "rlsuite bench run tiny.toml" in page


def test_bench_suite_is_short_for_bench_run_suite_and_goes_on_where_it_was(cli, tiny):
    assert cli("bench", tiny, "--seeds", "1", "--no-report").code == 0
    assert not Path("report.html").exists()
    again = cli("bench", tiny)
    assert again.code == 0
    lines = again.out.splitlines()
    assert lines[1] == "4 cells: 2 to run, 2 stored"
    assert [line.endswith("  reused") for line in lines[2:6]] == [True, True, False, False]
    assert "(4 cells, 2 of them reused)" in again.out


def test_the_report_can_be_written_again_from_the_store_without_running(cli, tiny, monkeypatch):
    cli("bench", tiny, "--seeds", "1", "--report", "first.html")
    monkeypatch.setattr("rlsuite.running.run_loop.run_cell", None)
    whole = cli("bench", "report", "results/rlsuite.sqlite", "--report", "store.html")
    assert whole.code == 0
    assert "All results in rlsuite.sqlite" in Path("store.html").read_text(encoding="utf-8")
    suite = cli("bench", "report", tiny, "--report", "suite.html")
    assert suite.code == 0
    assert "2 cells of the suite not run yet: rlsuite bench run tiny.toml" in suite.out
    assert "tabular: rlsuite/GridWorld-v0" in suite.out


def test_store_and_report_go_where_they_are_told(cli, tiny):
    shown = cli("bench", tiny, "--seeds", "1", "--store", "a/s.sqlite", "--report", "b/r.html")
    assert shown.code == 0
    assert Path("a/s.sqlite").exists()
    assert Path("b/r.html").exists()
    found = cli("bench", "report", tiny, "--store", "a/s.sqlite", "--report", "again.html")
    assert found.code == 0


def test_failed_cells_are_shown_and_the_exit_code_is_1(cli, monkeypatch):
    from rlsuite_agents.tabular.sarsa import Sarsa

    def explode(self, total_timesteps, callback=None):
        raise RuntimeError("the wheels came off")

    monkeypatch.setattr(Sarsa, "learn", explode)
    Path("tiny.toml").write_text(TINY)
    shown = cli("bench", "tiny.toml")
    assert shown.code == 1
    assert "seed 0  FAILED: RuntimeError: the wheels came off\n" in shown.out
    assert "2 cells without figures (2 failed):" in shown.out
    assert "0/2" in shown.out
    assert "the wheels came off" in Path("report.html").read_text(encoding="utf-8")


def test_ctrl_c_keeps_finished_cells_and_says_how_to_go_on(cli, tiny, monkeypatch):
    from rlsuite_agents.tabular.sarsa import Sarsa

    def interrupt(self, total_timesteps, callback=None):
        signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Sarsa, "learn", interrupt)
        shown = cli("bench", tiny)
    assert shown.code == 130
    assert "Interrupted. Finished cells are kept in results/rlsuite.sqlite" in shown.err
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    again = cli("bench", tiny)
    assert again.code == 0
    assert "(4 cells, 2 of them reused)" in again.out


@pytest.mark.parametrize(
    ("suite", "said"),
    [
        ("[[grid", "s.toml is not TOML"),
        ("", "is empty: it has no grid"),
        (TINY.replace("seeds", "seed"), "a grid has no key 'seed'. Did you mean 'seeds'?"),
        (TINY.replace("= 2", "= -2"), "seeds must be a count of at least 1"),
        (TINY.replace("= 400", "= -400"), "total_timesteps must be a whole number"),
        (TINY.replace("GridWorld", "GridWrld"), "Did you mean 'rlsuite/GridWorld-v0'?"),
        (TINY.replace("Sarsa", "Saras"), "no agent 'rlsuite/Saras-v0'. Did you mean"),
        (TINY.replace("step_size", "stepsize"), "has no setting 'stepsize'. Did you mean"),
        (TINY.replace("0.1", "7"), "step_size must be a number in (0, 1], got 7"),
        (TINY.replace("rlsuite/GridWorld-v0", "CartPole-v1"), "handles Discrete observations, but"),
    ],
)
def test_a_suite_that_cannot_be_used_is_one_sentence(cli, suite, said):
    Path("s.toml").write_text(suite)
    shown = cli("bench", "s.toml")
    assert shown.code == 2
    assert said in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""
    assert not Path("report.html").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["bench", "quik"], "there is no suite 'quik'. Did you mean"),
        (["bench", "no.toml"], "there is no suite file 'no.toml'"),
        (["bench", "tiny.toml", "--report", "."], "the report . cannot be written: it is a folder"),
        (["bench", "tiny.toml", "--report", "/proc/r"], "the report /proc/r cannot be written"),
        (["bench", "tiny.toml", "--store", "."], "the store . is a folder"),
        (["bench", "tiny.toml", "--store", "/proc/x/s"], "the folder /proc/x of the store cannot"),
        (["bench", "tiny.toml", "--store", "junk"], "it is no SQLite file, or is damaged"),
        (["bench", "tiny.toml", "--store", "other"], "an SQLite file, but no store of rlsuite"),
        (["bench", "tiny.toml", "--store", "newer"], "the store newer was written by a newer rl"),
        (["bench", "report", "junk"], "it is no SQLite file, or is damaged"),
        (["bench", "report", "newer"], "update rlsuite, or name another file"),
        (["bench", "report", "empty.sqlite"], "the store empty.sqlite is empty"),
        (["bench", "report", "no.sqlite"], "there is no store no.sqlite"),
        (["bench", "report", "tiny.toml"], "there is no store results/rlsuite.sqlite"),
        (["bench", "report", "tiny.toml", "--store", "empty.sqlite"], "holds no cell of the suite"),
    ],
)
def test_places_and_stores_that_cannot_be_used_are_one_sentence(cli, tiny, words, said):
    Path("junk").write_bytes(b"this is no database" * 200)
    with sqlite3.connect("other") as other:
        other.execute("CREATE TABLE mine (x)")
    other.close()
    for name in ("newer", "empty.sqlite"):
        Store(name).close()
    with sqlite3.connect("newer") as newer:
        newer.execute("UPDATE meta SET value = '99' WHERE key = 'schema'")
    newer.close()
    kept = {p.name: p.read_bytes() for p in map(Path, ("junk", "other"))}
    shown = cli(*words)
    assert shown.code == 2
    assert said in shown.err
    assert shown.err.startswith("Error: ")
    assert shown.err.count("\n") == 1
    assert {name: Path(name).read_bytes() for name in kept} == kept


def test_a_read_only_folder_is_one_sentence(cli, tiny):
    folder = Path("locked")
    folder.mkdir(mode=0o555)
    if os.access(folder, os.W_OK):
        pytest.skip("this user may write everywhere")
    for words in (["--store", "locked/s.sqlite"], ["--report", "locked/r.html"]):
        shown = cli("bench", tiny, *words)
        assert shown.code == 2
        assert "locked" in shown.err


def test_a_disk_that_fills_up_keeps_what_was_stored(cli, tiny, monkeypatch):
    put = Store.put

    def put_until_full(self, record, owner=None):
        if record.agent == "sarsa":
            raise StoreError("the store s cannot be written: the disk is full. All is kept.")
        put(self, record, owner)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "put", put_until_full)
        shown = cli("bench", tiny)
    assert shown.code == 2
    assert "the disk is full" in shown.err
    assert "(4 cells, 2 of them reused)" in cli("bench", tiny).out


@pytest.mark.skipif(os.name == "nt", reason="signals are sent as on POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_with_workers_that_is_interrupted_goes_on_later(cli, number):
    """130, the last event says so, and what was finished is not run again."""
    more = """
        [[grid]]
        tasks = ["FrozenLake-v1"]
        seeds = 1
        total_timesteps = 1_000_000_000
        [grid.agents]
        q = "rlsuite/QLearning-v0"
    """
    Path("long.toml").write_text(TINY + more)
    command = [sys.executable, "-m", "rlsuite.cli.main", "bench", "long.toml"]
    words = ["--workers", "2", "--no-report", "--json"]
    with subprocess.Popen(
        [*command, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as run:
        events = []
        for line in run.stdout:
            events.append(json.loads(line))
            if sum(event["event"] == "finished" for event in events) == 4:
                run.send_signal(number)
                break
        rest, said = run.communicate(timeout=60)
    assert run.returncode == 130
    assert json.loads(rest.splitlines()[-1])["event"] == "interrupted"
    assert said.decode().startswith(
        "Interrupted. Finished cells are kept in results/rlsuite.sqlite"
    )
    assert "All: 4 ok" in cli("bench", "status").out
    words = ["--only", "env=Grid*", "--no-report"]
    again = subprocess.run([*command, *words], capture_output=True, text=True, timeout=120)
    assert again.returncode == 0
    assert "5 cells: 4 stored, 1 left out" in again.stdout
