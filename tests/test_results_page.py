"""Every query, program and command of the page on results runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import rlsuite
from rlsuite.cli.main import main
from rlsuite.data.querying import Query
from rlsuite.data.views import VIEWS

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "results.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"```sql\n(.*?)```", PAGE, flags=re.DOTALL)
COMMANDS = re.findall(r"^\$ rlsuite (.*)$", PAGE, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Stores by the names that the page uses; CartPole has no answer key and is played."""
    path = tmp_path_factory.mktemp("page")
    for name in ("results/rlsuite.sqlite", "before.sqlite", "after.sqlite", "other.sqlite"):
        rlsuite.benchmark(
            agents={"q": "rlsuite/QLearning-v0", "sarsa": "rlsuite/Sarsa-v0"},
            tasks=["rlsuite/GridWorld-v0"],
            seeds=2,
            total_timesteps=600,
            store=path / name,
        )
    rlsuite.benchmark(
        agents={"random": "rlsuite/Random-v0", "a2c": "rlsuite/A2C-v0"},
        tasks=["CartPole-v1"],
        seeds=1,
        total_timesteps=600,
        store=path / "results/rlsuite.sqlite",
    )
    log = path / "logs" / "ppo"
    log.mkdir(parents=True)
    (log / "0.monitor.csv").write_text('#{"t_start": 0.0}\nr,l,t\n21.0,21,0.5\n')
    return path


@pytest.mark.parametrize("query", QUERIES)
def test_queries(folder, query):
    with Query(folder / "results" / "rlsuite.sqlite") as ask:
        rows = list(ask(query).rows)
    if "state <> 'ok'" not in query and "attempt > 1" not in query:
        assert rows


def test_there_are_queries_of_every_view():
    assert len(QUERIES) >= 7
    assert all(any(re.search(rf"\b{name}\b", query) for query in QUERIES) for name in VIEWS)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands(folder, command, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as stopped:
        main(shlex.split(command))
    assert not stopped.value.code


def test_programs(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    exec(compile(program, "results.md", "exec"), {})
    assert "rlsuite/GridWorld-v0" in capsys.readouterr().out


def test_the_columns_that_the_page_names_are_there():
    for name, view in VIEWS.items():
        named = re.search(rf"^- `{name}`: .*?(?=^- |^\n)", PAGE, flags=re.MULTILINE | re.DOTALL)
        columns = {column.name for column in view.columns}
        found = set(re.findall(r"`(\w+)`", named.group().partition(":")[2]))
        assert found
        assert found <= columns
