"""Exports and frames: every bit comes back, in the types that were promised."""

from __future__ import annotations

import csv
import json
import math
import os
import sys

import pandas
import pytest
from pandas.testing import assert_frame_equal
from pyarrow import parquet

from registry.errors import SettingError, StoreError
from rlsuite.data import writing
from rlsuite.data.frames import frame
from rlsuite.data.views import VIEWS
from rlsuite.data.writing import export
from rlsuite.store import Store

INF = float("inf")
KINDS = {"int": "int64", "float": "float64", "bool": "bool"}


def test_a_frame_has_a_row_for_each_run_in_the_order_of_the_store(store):
    with Store(store, read_only=True) as opened:
        found = opened.frame()
        records = list(opened.records())
    assert list(zip(found["agent"], found["seed"], strict=True)) == [("a", 0), ("b", 9), ("b", 10)]
    assert list(found["digest"]) == [record.key.digest for record in records]
    assert found["score"].isna().tolist() == [True, False, False]
    assert found["score"][1] == 0.1 + 0.2
    assert found["return"].tolist()[1:] == [-INF, -INF]
    assert json.loads(found["settings"][1])["name"] == 'a "b", c'


@pytest.mark.parametrize("table", VIEWS)
def test_frames_have_the_types_that_are_promised(store, table):
    found = frame(store, table)
    for column in VIEWS[table].columns:
        if column.kind in KINDS:
            assert found[column.name].dtype == KINDS[column.kind]
        else:
            assert pandas.api.types.is_string_dtype(found[column.name])


def test_tables_of_many_rows_are_those_of_their_records(store):
    training = frame(store, "training")
    assert training["step"].tolist() == [10, 20, 30] * 2
    assert training["mean"].isna().tolist() == [True, False, False] * 2
    episodes = frame(store, "episodes")
    assert episodes["episode_seed"].tolist() == [2**53 + 1, 2**53 + 2] * 2
    assert episodes["terminated"].tolist() == [True, False] * 2
    evaluations = frame(store, "evaluations")
    assert evaluations["return"].tolist() == [1.5, INF] * 2


def test_an_empty_table_keeps_its_types(tmp_path, store):
    alone = tmp_path / "failed.sqlite"
    with Store(store, read_only=True) as opened, Store(alone) as target:
        target.put(next(opened.records()))
    found = frame(alone, "episodes")
    assert len(found) == 0
    assert found["return"].dtype == "float64"
    assert export(alone, tmp_path / "none.parquet", "episodes") == 0
    assert parquet.read_table(tmp_path / "none.parquet").num_rows == 0
    assert export(alone, tmp_path / "none.json", "episodes") == 0
    assert json.loads((tmp_path / "none.json").read_text()) == []


@pytest.mark.parametrize("size", [1, 2, 20_000])
@pytest.mark.parametrize("table", VIEWS)
def test_parquet_gives_the_frame_again(store, tmp_path, table, size, monkeypatch):
    monkeypatch.setattr(writing, "CHUNK", size)
    path = tmp_path / "deep" / "x.parquet"
    expected = frame(store, table)
    assert export(store, path, table) == len(expected)
    assert_frame_equal(pandas.read_parquet(path), expected, check_exact=True)
    schema = parquet.read_schema(path)
    nullable = {field.name for field in schema if field.nullable}
    assert nullable == {c.name for c in VIEWS[table].columns if c.kind == "float"}


@pytest.mark.parametrize("table", VIEWS)
def test_csv_gives_the_frame_again(store, tmp_path, table):
    path = tmp_path / "x.csv"
    expected = frame(store, table)
    export(store, path, table)
    types = {c.name: expected[c.name].dtype for c in VIEWS[table].columns if c.kind != "bool"}
    found = pandas.read_csv(
        path, dtype=types, keep_default_na=False, na_values={c: [""] for c in floats(table)}
    )
    for name in (c.name for c in VIEWS[table].columns if c.kind == "bool"):
        found[name] = found[name].astype(bool)
    assert_frame_equal(found, expected, check_exact=True)


def floats(table):
    return [column.name for column in VIEWS[table].columns if column.kind == "float"]


@pytest.mark.parametrize("table", VIEWS)
def test_json_gives_the_rows_again(store, tmp_path, table):
    path = tmp_path / "x.json"
    rows = export(store, path, table)
    found = json.loads(path.read_text())
    expected = frame(store, table).to_dict("records")
    assert len(found) == rows == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name, value in other.items():
            if isinstance(value, float) and math.isnan(value):
                assert one[name] is None
            elif isinstance(value, float):
                assert float(one[name]) == value
            else:
                assert one[name] == value


def test_csv_holds_floats_in_full(store, tmp_path):
    export(store, tmp_path / "x.csv")
    with open(tmp_path / "x.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["score"] for row in rows] == ["", repr(0.1 + 0.2), repr(0.1 + 0.2)]
    assert rows[0]["error"] == "x\nboom"


def test_what_cannot_be_written(store, tmp_path):
    with pytest.raises(SettingError, match=r"'runs.xls' must end in .csv, .json, .parquet"):
        export(store, tmp_path / "runs.xls")
    with pytest.raises(SettingError, match=r"there is no table 'run'. Did you mean 'runs'"):
        export(store, tmp_path / "runs.csv", "run")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot write .*Give a path to a file in a folder"):
        export(store, tmp_path / "file" / "runs.csv")
    with pytest.raises(StoreError, match="there is no store"):
        export(tmp_path / "none.sqlite", tmp_path / "runs.csv")
    with pytest.raises(SettingError, match="there is no table 'zebra'"):
        frame(store, "zebra")


def test_a_file_is_written_whole_or_not_at_all(store, tmp_path, monkeypatch):
    path = tmp_path / "runs.csv"
    path.write_text("before")
    monkeypatch.setattr(os, "replace", _full)
    with pytest.raises(StoreError, match="No space left on device"):
        export(store, path)
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def _full(*_):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(("library", "extra"), [("pandas", "frame"), ("pyarrow", "parquet")])
def test_a_missing_library_is_a_sentence(store, tmp_path, monkeypatch, library, extra):
    monkeypatch.setitem(sys.modules, library, None)
    use = {"pandas": lambda: frame(store), "pyarrow": lambda: export(store, tmp_path / "x.parquet")}
    with pytest.raises(SettingError, match=rf"pip install 'rlsuite\[{extra}\]'"):
        use[library]()
    assert not (tmp_path / "x.parquet").exists()
