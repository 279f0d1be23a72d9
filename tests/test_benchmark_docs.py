"""The page on benchmarks says what the code does."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest
import typer

import rlsuite
from registry.errors import SettingError
from rlsuite.backends import Job, Limits
from rlsuite.cli.bench import app
from rlsuite.cli.bench_json import NAMES
from rlsuite.identity import fingerprint, key_of, resolved_settings
from rlsuite.records import State
from rlsuite.running.events import CellElsewhere, CellProgress, CellRetried, CellStarted
from rlsuite.running.payloads import payload_of
from rlsuite.running.run_loop import Rules, Running
from rlsuite.store import Store
from rlsuite.suite import Grid, Suite, choices

PAGE = (Path(__file__).parent.parent / "docs" / "benchmarks.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    return found


def test_the_suite_on_the_page_can_be_run(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(block("toml"), encoding="utf-8")
    suite = Suite.from_toml(path)
    suite.check()
    assert len(list(suite.cells())) == 20
    named = {f.name for f in fields(Grid)} - {"agents"}
    assert named <= set(re.findall(r"^(\w+) =", block("toml"), flags=re.MULTILINE))


def test_every_option_of_bench_run_is_on_the_page():
    options = {
        name
        for parameter in typer.main.get_command(app).commands["run"].params
        for name in parameter.opts
        if name.startswith("--") and name != "--help"
    }
    assert {option for option in options if f"`{option}`" not in PAGE} == set()


def test_every_state_is_on_the_page():
    table = PAGE.partition("## States and retries")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)`", table, flags=re.MULTILINE) == list(get_args(State))


def test_every_event_is_on_the_page_with_its_keys(tmp_path, capsys):
    table = PAGE.partition("## JSON events")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", table, flags=re.MULTILINE))
    assert {*NAMES.values(), "done", "interrupted"} <= set(rows)
    for kind in (CellStarted, CellProgress, CellRetried):
        keys = re.findall(r"`(\w+)`", rows[NAMES[kind]])
        assert keys == [f.name for f in fields(kind)]
    assert [f.name for f in fields(CellElsewhere)] == [f.name for f in fields(CellStarted)]
    from rlsuite.cli.main import main

    suite = tmp_path / "tiny.toml"
    suite.write_text(
        "[[grid]]\ntasks = ['FrozenLake-v1']\nseeds = 1\ntotal_timesteps = 10\n"
        "agents = { q = 'rlsuite/QLearning-v0' }\n"
    )
    words = ["bench", str(suite), "--json", "--no-report", "--store", str(tmp_path / "s.sqlite")]
    with pytest.raises(SystemExit, match="0"):
        main(words)
    for line in capsys.readouterr().out.splitlines():
        event = json.loads(line)
        assert list(event)[1:] == re.findall(r"`(\w+)`", rows[event["event"]])


@pytest.fixture
def commands():
    """The backend of the page, which is run as it stands there."""
    names: dict[str, type] = {}
    exec(compile(block("python"), "page", "exec"), names)
    return names["Commands"]


def finished(suite, backend, path, rules=None):
    with Store(path) as store:
        run = Running(suite, store, backend, lambda event: None, rules or Rules())
        run.reuse()
        run.finish()
    return [record for _, record in sorted(run.records.items())]


def small(steps=200, seeds=2, agents=("rlsuite/QLearning-v0",)):
    grid = Grid(
        tasks=("rlsuite/GridWorld-v0",),
        agents=choices(dict(zip("qr", agents, strict=False))),
        seeds=seeds,
        total_timesteps=steps,
    )
    return Suite("page", (grid,))


def test_the_backend_on_the_page_gives_the_same_bits(tmp_path, commands):
    records = finished(small(), commands(workers=2), tmp_path / "s.sqlite")
    serial = rlsuite.benchmark(small(), store=tmp_path / "other.sqlite")
    assert rlsuite.results_table(records) == rlsuite.results_table(serial.records)


def test_the_backend_on_the_page_keeps_a_limit_of_time(tmp_path, commands):
    rules = Rules(limits=Limits(seconds=0.05))
    (record,) = finished(small(seeds=1), commands(), tmp_path / "s.sqlite", rules)
    assert record.state == "timeout"


def test_the_backend_on_the_page_runs_here_what_cannot_leave(tmp_path, commands):
    class Local:
        """Has no name by which another process could import it."""

        def __init__(self, env, seed):
            self.env = env

        def predict(self, observation, state=None, episode_start=None, deterministic=False):
            return 0, state

    (record,) = finished(small(seeds=1, agents=(Local,)), commands(), tmp_path / "s.sqlite")
    assert record.state == "ok"


def test_the_backend_on_the_page_refuses_a_limit_of_memory(tmp_path, commands):
    rules = Rules(limits=Limits(memory=2**30))
    with pytest.raises(SettingError, match="cannot limit memory: leave it out"):
        finished(small(seeds=1), commands(), tmp_path / "s.sqlite", rules)


def test_the_backend_on_the_page_gives_up_what_is_cancelled(commands):
    (cell,) = small(10**9, seeds=1).cells()
    key = key_of(cell)
    payload = payload_of(
        cell, key, settings=resolved_settings(cell.choice), fingerprint=fingerprint()
    )
    job = Job(cell=cell, key=key, payload=payload, run=lambda progress: None)
    backend = commands()
    handle = backend.submit(job)
    backend.cancel(handle)
    backend.cancel(99)
    assert [outcome.state for outcome in backend.wait([handle, 99], 60)] == ["cancelled"]
    assert backend.wait([handle], 60) == []
    backend.submit(job)
    backend.close()
