"""`rlsuite sql` and `rlsuite export` as a shell sees them."""

from __future__ import annotations

import csv
import io
import json

import pytest

import rlsuite
from rlsuite.data.views import VIEWS


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("sql") / "s.sqlite"
    rlsuite.benchmark(
        agents=["rlsuite/Random-v0"],
        tasks=["rlsuite/GridWorld-v0"],
        seeds=2,
        total_timesteps=50,
        store=path,
    )
    return str(path)


def test_without_a_query_the_tables_are_shown(cli):
    """Also where there is no store yet, and the example is one that can be pasted."""
    shown = cli("sql")
    assert shown.code == 0
    for view in VIEWS.values():
        assert f"{view.name}: a row for each {view.row}" in shown.out
        assert all(f"\n{column.name} " in shown.out for column in view.columns)
    assert "Example:  rlsuite sql 'select agent, count(*)" in shown.out


def test_a_table(cli, store):
    shown = cli("sql", "select agent, seed, score, low from runs", "--store", store)
    lines = shown.out.splitlines()
    assert lines[0] == "2 rows"
    assert lines[1].split() == ["agent", "seed", "score", "low"]
    assert [line.split()[1] for line in lines[2:]] == ["0", "1"]
    assert lines[2].endswith("–")


def test_csv_and_json_hold_every_digit(cli, store):
    query = "select seed, return as value, low from runs order by seed"
    text = cli("sql", query, "--store", store, "--format", "csv").out
    rows = list(csv.DictReader(io.StringIO(text)))
    found = json.loads(cli("sql", query, "--store", store, "--format", "json").out)
    assert [float(row["value"]) for row in rows] == [row["value"] for row in found]
    assert [row["low"] for row in rows] == ["", ""]
    assert [row["low"] for row in found] == [None, None]
    frame = rlsuite.Store(store, read_only=True).frame()
    assert frame["return"].tolist() == [row["value"] for row in found]


def test_errors_are_sentences_with_exit_code_2(cli, store):
    for words, sentence in (
        (["sql", "delete from run", "--store", store], "change nothing: write a SELECT"),
        (["sql", "select scor from runs", "--store", store], "Did you mean 'score'?"),
        (["sql", "select 1", "--store", "none.sqlite"], "there is no store none.sqlite"),
        (["export", "runs.txt", "--store", store], "must end in .csv, .json, .parquet"),
        (["export", "runs.csv", "--table", "rums", "--store", store], "Did you mean 'runs'?"),
    ):
        shown = cli(*words)
        assert (shown.code, shown.out) == (2, "")
        assert sentence in shown.err


def test_export_says_what_it_wrote(cli, store, tmp_path):
    shown = cli("export", "runs.csv", "--store", store)
    assert shown.out == "Wrote runs.csv: 2 rows of runs\n"
    assert len((tmp_path / "runs.csv").read_text().splitlines()) == 3
