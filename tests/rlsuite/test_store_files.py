"""Places, versions and damage of a store: every one that cannot be used is a sentence."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from pathlib import Path

import numpy as np
import pytest

from registry.errors import StoreError
from rlsuite import store
from rlsuite.records import SCHEMA_VERSION, EpisodeRecord, RunKey, RunRecord, TrainingCurve
from rlsuite.running.packing import pack
from rlsuite.store import Store


def record(seed=0):
    one = np.arange(1.0, 4.0)
    return RunRecord(
        key=RunKey(identity={"seed": seed}),
        task="t",
        env_id="e",
        family="f",
        metric="final_return",
        agent="a",
        agent_id="x/A-v0",
        settings={},
        seed=seed,
        total_timesteps=100,
        state="ok",
        training=TrainingCurve(
            step=np.arange(3),
            mean=one,
            minimum=one,
            maximum=one,
            length=one,
            regret=one,
            episodes=np.ones(3, np.int64),
        ),
        episodes=(
            EpisodeRecord(
                index=0, seed=7, episode_return=1.0, length=2, terminated=True, truncated=False
            ),
        ),
    )


def same(one, other):
    assert pack(one) == pack(other)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "s.sqlite"


def test_a_folder_is_no_store(tmp_path):
    with pytest.raises(StoreError, match=r"is a folder; name a file in it"):
        Store(tmp_path)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(
        StoreError, match=r"of the store cannot be made: (Not a directory|File exists)"
    ):
        Store(tmp_path / "file" / "s.sqlite")


def test_a_missing_store_cannot_be_read(path):
    with pytest.raises(StoreError, match=r"there is no store"):
        Store(path, read_only=True)


def test_what_is_only_read_is_not_written(path):
    Store(path).close()
    with Store(path, read_only=True) as opened:
        with pytest.raises(StoreError, match=r"cannot be written: the file or its folder is not"):
            opened.put(record())
        assert list(opened.records()) == []


def test_a_closed_store_says_so(path):
    opened = Store(path)
    opened.close()
    opened.close()
    with pytest.raises(StoreError, match=r"cannot be read: Cannot operate on a closed"):
        opened.get("0")


@pytest.mark.parametrize("content", [b"this is no database, whatever it says" * 40, b"SQLite"])
def test_a_file_of_something_else(tmp_path, content):
    file = tmp_path / "s.sqlite"
    file.write_bytes(content)
    with pytest.raises(StoreError, match=r"no SQLite file, or is damaged from its start"):
        Store(file)
    assert file.read_bytes() == content


def test_the_database_of_another_program(tmp_path):
    file = tmp_path / "s.sqlite"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    before = file.read_bytes()
    for read_only in (False, True):
        with pytest.raises(StoreError, match=r"is an SQLite file, but no store of rlsuite"):
            Store(file, read_only=read_only)
    assert file.read_bytes() == before


def changed(path, sql, *values):
    with sqlite3.connect(path) as connection:
        connection.execute(sql, values)
    connection.close()


def test_a_newer_store_is_refused_and_left_alone(path):
    with Store(path) as opened:
        opened.put(record())
    changed(path, "UPDATE meta SET value = ? WHERE key = 'schema'", str(SCHEMA_VERSION + 1))
    for read_only in (False, True):
        with pytest.raises(StoreError, match=r"written by a newer rlsuite.*update rlsuite"):
            Store(path, read_only=read_only)
    changed(path, "UPDATE meta SET value = ? WHERE key = 'schema'", str(SCHEMA_VERSION))
    with Store(path) as opened:
        same(opened.get(record().key.digest), record())


def test_an_older_store_is_migrated_and_its_records_kept(path, monkeypatch):
    with Store(path) as opened:
        opened.put(record())
    monkeypatch.setattr(store, "SCHEMA_VERSION", SCHEMA_VERSION + 1)
    added = "ALTER TABLE run ADD COLUMN colour TEXT;"
    monkeypatch.setattr(store, "MIGRATIONS", (*store.MIGRATIONS, added))
    with pytest.raises(StoreError, match=r"of the older version"):
        Store(path, read_only=True)
    with Store(path) as opened:
        columns = [row[1] for row in opened._connection.execute("PRAGMA table_info(run)")]
        assert "colour" in columns
        assert opened._version() == SCHEMA_VERSION + 1
        same(opened.get(record().key.digest), record())


def test_a_store_of_version_2_learns_the_training_of_every_cell(path):
    """Of a record that is damaged it stays unknown, and the migration goes on."""
    with Store(path) as opened:
        opened.put(record())
        opened.put(record(seed=1))
    digest = record(seed=1).key.digest
    changed(path, "UPDATE run SET record = '{}' WHERE digest = ?", digest)
    for index in ("run_by_training", "run_by_state"):
        changed(path, f"DROP INDEX {index}")
    changed(path, "ALTER TABLE run DROP COLUMN training")
    changed(path, "UPDATE meta SET value = '2' WHERE key = 'schema'")
    with pytest.raises(StoreError, match=r"of the older version 2"):
        Store(path, read_only=True)
    key = record().key
    with Store(path) as opened:
        assert opened._version() == SCHEMA_VERSION
        assert opened.trained() == {key.training: key.digest, "": digest}
        same(opened.get(key.digest), record())


def test_a_store_without_a_version_is_damaged(path):
    Store(path).close()
    changed(path, "DELETE FROM meta")
    with pytest.raises(StoreError, match=r"damaged: it names no version"):
        Store(path)


def test_damaged_pages_are_a_sentence(path):
    with Store(path) as opened:
        for seed in range(40):
            opened.put(record(seed=seed))
    raw = bytearray(path.read_bytes())
    raw[8192:] = os.urandom(len(raw) - 8192)
    path.write_bytes(raw)
    with pytest.raises(StoreError, match=r"damaged"):
        with Store(path) as opened:
            opened.check()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE run SET record = '{'",
        "UPDATE run SET record = '[]'",
        "UPDATE cell_data SET data = x'00' WHERE name = 'training.mean'",
        "UPDATE cell_data SET dtype = 'nonsense' WHERE name = 'training.mean'",
        "UPDATE cell_data SET length = 2 WHERE name = 'episodes.seed'",
        "DELETE FROM cell_data WHERE name = 'episodes.seed'",
    ],
)
def test_a_damaged_record_is_a_sentence(path, damage):
    with Store(path) as opened:
        opened.put(record())
    changed(path, damage)
    with Store(path) as opened:
        with pytest.raises(StoreError, match=r"damaged: cell [0-9a-f]{12} cannot be read"):
            opened.get(record().key.digest)
        with pytest.raises(StoreError, match=r"damaged"):
            opened.check()


@pytest.fixture
def somebody():
    """A folder that a user without rights can enter, and the switch to that user and back."""
    if not hasattr(os, "geteuid"):
        pytest.skip("needs the users of a Unix system")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        root = os.geteuid() == 0

        def become(nobody):
            if root:
                os.seteuid(65534 if nobody else 0)

        yield Path(folder), become
        become(False)
        Path(folder).chmod(0o755)


def test_a_folder_that_cannot_be_written(somebody):
    folder, become = somebody
    with Store(folder / "s.sqlite") as opened:
        opened.put(record())
    (folder / "s.sqlite").chmod(0o444)
    folder.chmod(0o555)
    become(True)
    with pytest.raises(StoreError, match=r"is not open to this user"):
        Store(folder / "new.sqlite")
    with pytest.raises(StoreError, match=r"is not open to this user"):
        Store(folder / "s.sqlite")
    with pytest.raises(StoreError, match=r"cannot be made: Permission denied"):
        Store(folder / "below" / "s.sqlite")
    with Store(folder / "s.sqlite", read_only=True) as opened:  # what is there can be read
        same(opened.get(record().key.digest), record())
    become(False)
    assert sorted(p.name for p in folder.iterdir()) == ["s.sqlite"]


def test_a_place_without_write_ahead_logging(path, monkeypatch):
    class NoWal(sqlite3.Connection):
        def execute(self, sql, *arguments):
            return super().execute(sql.replace("= WAL", "= DELETE"), *arguments)

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, **{**k, "factory": NoWal}))
    with pytest.raises(StoreError, match=r"without write-ahead logging"):
        Store(path)


def test_a_store_that_somebody_keeps_locked(path, monkeypatch):
    Store(path).close()
    monkeypatch.setattr(store, "BUSY_SECONDS", 0.01)
    blocker = sqlite3.connect(path, isolation_level=None)
    with Store(path) as opened:
        blocker.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match=r"another process kept it locked"):
            opened.put(record())
        blocker.execute("ROLLBACK")
        opened.put(record())
    blocker.close()


def test_a_cell_without_its_arrays_is_damaged(path):
    with Store(path) as opened:
        opened.put(record())
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM cell_data")
    connection.close()
    with Store(path) as opened, pytest.raises(StoreError, match="its arrays are lost"):
        list(opened.records())
