"""Questions in SQL: what the views hold, and that nothing can be written through them."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import stat

import pytest

from registry.errors import SettingError, StoreError
from rlsuite.data.querying import Query
from rlsuite.data.views import VIEWS
from rlsuite.store import Store

INF = float("inf")
ENDLESS = "with recursive n(k) as (select 1 union all select k + 1 from n) select max(k) from n"


def ask(store, sql):
    with Query(store) as query:
        return list(query(sql).rows)


def test_runs(store):
    found = ask(
        store,
        "select agent, seed, state, score, return, low, high, regret, steps, train_seconds, error "
        "from runs order by agent, seed",
    )
    assert found == [
        ("a", 0, "failed", None, None, None, None, None, 104, 1.5, "x\nboom"),
        ("b", 9, "ok", 0.1 + 0.2, -INF, None, INF, None, 104, 1.5, ""),
        ("b", 10, "ok", 0.1 + 0.2, -INF, None, INF, None, 104, 1.5, ""),
    ]
    settings = ask(store, "select settings ->> '$.step_size', notes ->> 0 from runs limit 1")
    assert settings == [(0.1, "one")]


def test_evaluations(store):
    found = ask(
        store,
        "select step, return, score, low, train_seconds, method from evaluations where seed = 9",
    )
    assert found == [(50, 1.5, None, None, 0.0, "exact"), (100, INF, None, 1.0, 0.5, "sampled")]


def test_training(store):
    found = ask(store, "select step, mean, length, regret, episodes from training where seed = 9")
    assert found == [(10, None, 2.5, None, 0), (20, -INF, 2.5, None, 1), (30, 1 / 3, 2.5, None, 2)]


def test_episodes_with_seeds_in_full(store):
    found = ask(
        store,
        "select episode, episode_seed, return, length, terminated, truncated, capped "
        "from episodes where seed = 9",
    )
    assert found == [(0, 2**53 + 1, 0.0, 7, 1, 0, 0), (1, 2**53 + 2, 1 / 3, 7, 0, 1, 0)]
    assert ask(store, "select count(*) from episodes") == [(4,)]


@pytest.mark.parametrize("name", VIEWS)
def test_the_columns_are_those_that_are_promised(store, name):
    with Query(store) as query:
        found = query(f"select * from {name}")
    assert list(found.columns) == [column.name for column in VIEWS[name].columns]


@pytest.mark.parametrize(
    "statement",
    [
        "delete from run",
        "update run set score = 1",
        "insert into meta values ('a', 'b')",
        "create table x (a)",
        "create temp table x (a)",
        "drop view runs",
        "attach 'other.sqlite' as other",
        "vacuum into 'copy.sqlite'",
        "pragma query_only = off",
        "pragma writable_schema = on",
        "begin immediate",
        "select load_extension('x')",
        "with x as (select 1) delete from run",
    ],
)
def test_nothing_can_be_changed(store, statement, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = hashlib.sha256(store.read_bytes()).hexdigest()
    with pytest.raises(SettingError, match="queries read the store and change nothing"):
        ask(store, statement)
    assert hashlib.sha256(store.read_bytes()).hexdigest() == before
    assert {path.name.partition("-")[0] for path in tmp_path.iterdir()} == {"results.sqlite"}


def test_the_file_itself_is_only_read(store):
    """Without the authorizer and the switch, the connection could not write either."""
    with Query(store) as query:
        query._connection.set_authorizer(None)
        query._connection.execute("pragma query_only = off")
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            query._connection.execute("delete from run")


def test_a_store_that_nobody_may_write_can_be_asked(store):
    with Store(store):
        pass
    store.chmod(stat.S_IRUSR)
    store.parent.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        assert ask(store, "select count(*) from runs") == [(3,)]
    finally:
        store.parent.chmod(stat.S_IRWXU)


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("select * from run_s", r"no such table: run_s\. Did you mean 'runs'"),
        ("select * from zebra", r"no such table: zebra\. There are runs, evaluations, training"),
        ("select scor from runs", r"no such column: scor\. Did you mean 'score'"),
        ("select r.scor from runs r", r"no such column: r\.scor\. Did you mean 'score'"),
        ("selct 1", r"cannot be answered: near \"selct\": syntax error\."),
        ("select 1; select 2", r"one statement at a time"),
        ("", r"there is no query: write a SELECT"),
        ("-- nothing", r"there is no query: write a SELECT"),
    ],
)
def test_errors_are_sentences(store, statement, sentence):
    with pytest.raises(SettingError, match=sentence):
        ask(store, statement)


def test_stores_that_cannot_be_asked(store, tmp_path):
    with pytest.raises(StoreError, match="there is no store"):
        Query(tmp_path / "none.sqlite")
    Store(tmp_path / "empty.sqlite").close()
    with pytest.raises(StoreError, match="is empty: there is nothing to ask"):
        Query(tmp_path / "empty.sqlite")


def test_a_damaged_array_is_told(store):
    with sqlite3.connect(store) as connection:
        connection.execute("update cell_data set data = x'00' where name = 'training.mean'")
    connection.close()
    assert len(ask(store, "select * from runs")) == 3
    with pytest.raises(StoreError, match="is damaged, as this query shows"):
        ask(store, "select * from training")


def test_ctrl_c_ends_a_long_query(store):
    with Query(store) as query:
        query._connection.set_progress_handler(lambda: 1, 1000)
        with pytest.raises(KeyboardInterrupt):
            list(query(ENDLESS).rows)


def test_json_is_text_that_reads_back(store):
    (metrics,) = ask(store, "select metrics from runs where seed = 9")[0]
    assert json.loads(metrics) == {"kl": {"float": "nan"}}
