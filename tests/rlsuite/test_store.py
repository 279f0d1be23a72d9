"""What goes in comes out bit for bit, and every damage is a sentence."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import StoreError
from rlsuite import database, store
from rlsuite.records import (
    SCHEMA_VERSION,
    CurvePoint,
    EpisodeRecord,
    RunKey,
    RunRecord,
    TrainingCurve,
)
from rlsuite.results import COLUMNS, results_table
from rlsuite.running import packing
from rlsuite.store import Store

NAN = float("nan")
floats = st.floats(allow_nan=True, allow_infinity=True)


def curve(n=3):
    return TrainingCurve(
        step=np.arange(1, n + 1),
        mean=np.array([NAN, -0.0, 1e-310][:n]),
        minimum=np.full(n, -np.inf),
        maximum=np.full(n, np.pi),
        length=np.arange(n) / 3,
        regret=np.full(n, NAN),
        episodes=np.arange(n),
    )


def record(name="a", seed=0, **changes):
    values = {
        "key": RunKey(identity={"name": name, "seed": seed}),
        "task": "t",
        "env_id": "e",
        "family": "f",
        "metric": "final_return",
        "agent": name,
        "agent_id": "x/A-v0",
        "settings": {"step_size": 0.1, "layers": [1, 2]},
        "seed": seed,
        "total_timesteps": 100,
        "state": "ok",
        "mean_return": 0.1 + 0.2,
        "low": -1e300,
        "score": NAN,
        "metrics": {"kl": float("inf")},
        "notes": ("one", "zwei"),
        "curve": (CurvePoint(step=5, mean_return=NAN, low=None, score=2.0, method="exact"),),
        "training": curve(),
        "episodes": (
            EpisodeRecord(
                index=0,
                seed=2**32 - 1,
                episode_return=-0.1,
                length=7,
                terminated=True,
                truncated=False,
                capped=True,
            ),
        ),
        "fingerprint": {"python": "3.11"},
    }
    return RunRecord(**{**values, **changes})


def same(one, other):
    """Equality of records, NaN equal to NaN, arrays by their bits and types."""
    assert packing.pack(one) == packing.pack(other)
    for field in dataclasses.fields(one):
        if field.name != "training":
            assert repr(getattr(one, field.name)) == repr(getattr(other, field.name))
    if one.training is None or other.training is None:
        assert one.training is other.training is None
        return
    for field in dataclasses.fields(one.training):
        a, b = getattr(one.training, field.name), getattr(other.training, field.name)
        assert a.dtype == b.dtype
        assert a.tobytes() == b.tobytes()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "results.sqlite"


def test_what_goes_in_comes_out(path):
    with Store(path) as opened:
        opened.put(record())
        same(opened.get(record().key.digest), record())
    with Store(path, read_only=True) as opened:
        same(opened.get(record().key.digest), record())
        assert opened.get("0" * 64) is None


@settings(max_examples=50, deadline=None)
@given(
    value=floats,
    columns=st.lists(st.tuples(floats, floats), max_size=20),
    text=st.text(st.characters(exclude_categories=["Cs"])),
)
def test_packing_is_exact_for_any_number(value, columns, text):
    n = len(columns)
    training = TrainingCurve(
        step=np.arange(n),
        mean=np.array([a for a, _ in columns], dtype=np.float64),
        minimum=np.array([b for _, b in columns], dtype=np.float64),
        maximum=np.zeros(n),
        length=np.zeros(n),
        regret=np.zeros(n),
        episodes=np.arange(n),
    )
    given_record = record(mean_return=value, error=text, training=training)
    same(packing.unpack(*packing.pack(given_record)), given_record)


def test_a_blob_is_never_inflated_beyond_its_length():
    text, blobs = packing.pack(record())
    dtype, _, _ = blobs["training.mean"]
    huge = packing._packed(np.zeros(10**6))[2]
    blobs["training.mean"] = (dtype, 3, huge)
    with pytest.raises(ValueError, match=r"an array of 24 bytes holds 25"):
        packing.unpack(text, blobs)


def test_records_come_in_their_order(path):
    with Store(path) as opened:
        for name, seed in [("b", 1), ("a", 1), ("a", 0)]:
            opened.put(record(name, seed))
        assert [(r.agent, r.seed) for r in opened.records()] == [("a", 0), ("a", 1), ("b", 1)]
        assert opened.digests() == {r.key.digest for r in opened.records()}
        opened.check()


def test_a_finished_cell_stays_and_a_failed_one_gives_way(path):
    with Store(path) as opened:
        opened.put(record(state="failed", error="oops", training=None, episodes=(), curve=()))
        assert opened.digests("failed") == {record().key.digest}
        assert opened.digests("ok") == frozenset()
        opened.put(record())
        opened.put(record(mean_return=99.0))
        opened.put(record(state="failed"))
        (kept,) = opened.records()
        assert (kept.state, kept.mean_return) == ("ok", 0.1 + 0.2)
    attempts = sqlite3.connect(path).execute("SELECT attempt FROM run").fetchone()
    assert attempts == (2,)


def test_two_writers_at_once(path):
    with Store(path) as one, Store(path) as other:
        one.put(record("a"))
        other.put(record("b"))
        one.put(record("b"))
        assert len(list(one.records())) == len(list(other.records())) == 2


def test_a_transaction_that_is_broken_off_leaves_nothing(path, monkeypatch):
    with Store(path) as opened:
        opened.put(record("a"))
        insert = Store._insert

        def broken(self, *arguments):
            insert(self, *arguments)
            raise KeyboardInterrupt

        monkeypatch.setattr(Store, "_insert", broken)
        with pytest.raises(KeyboardInterrupt):
            opened.put(record("b"))
        monkeypatch.undo()
        assert [r.agent for r in opened.records()] == ["a"]
        opened.put(record("b"))


def test_a_full_disk_is_a_sentence_and_nothing_is_lost(path):
    big = curve()
    noise = np.random.default_rng(0).random(2000)
    big = dataclasses.replace(big, mean=noise, step=np.arange(2000), regret=noise)
    big = dataclasses.replace(
        big, minimum=noise, maximum=noise, length=noise, episodes=np.arange(2000)
    )
    with Store(path) as opened:
        opened.put(record("kept"))
        pages = opened._connection.execute("PRAGMA page_count").fetchone()[0]
        opened._connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(StoreError, match=r"disk is full. All that was stored before is kept"):
            opened.put(record("lost", training=big))
        assert [r.agent for r in opened.records()] == ["kept"]
        opened.check()
    with Store(path) as opened:
        opened.put(record("lost", training=big))
        assert len(opened.digests()) == 2


def test_a_limit_of_the_file_system_is_a_sentence(tmp_path):
    """The kernel's own limit on the size of a file, in a process of its own."""
    code = (
        "import resource, signal, sys\n"
        "from rlsuite.store import Store\n"
        "from registry.errors import StoreError\n"
        "from rlsuite.records import RunKey, RunRecord\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "make = lambda k, n: RunRecord(key=RunKey(identity={'k': k}), task='t', env_id='e',\n"
        "    family='f', metric='final_return', agent='a', agent_id='a', settings={}, seed=k,\n"
        "    total_timesteps=1, state='ok', error='x' * n)\n"
        "store = Store(sys.argv[1])\n"
        "store.put(make(0, 10))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "try:\n"
        "    store.put(make(1, 10**6))\n"
        "except StoreError as error:\n"
        "    print(error)\n"
        "print(len(list(store.records())))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "s.sqlite")],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    sentence, kept = done.stdout.splitlines()
    assert sentence.startswith(f"the store {tmp_path / 's.sqlite'} cannot be written: ")
    assert kept == "1"


def run_code(code, *arguments):
    """Python in a process of its own."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


READ_WITHOUT_ROOM = """
import resource, sys
from registry.errors import StoreError
from rlsuite.store import Store
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    with Store(sys.argv[1], read_only=True) as store:
        print([record.agent for record in store.records()])
except StoreError as error:
    print(error)
"""


def test_a_store_can_be_read_where_nothing_more_can_be_written(path):
    """Readers of write-ahead mode want to make an index, for which there may be no room."""
    with Store(path) as opened:
        opened.put(record("kept"))
    assert not path.with_name(f"{path.name}-wal").exists()
    assert run_code(READ_WITHOUT_ROOM, path) == "['kept']\n"


def test_a_store_with_a_journal_is_not_read_without_it(path):
    """The file alone would lack what the journal holds, which a reader would not notice."""
    opened = Store(path)
    opened.put(record("in the journal"))
    copy = path.with_name("copy.sqlite")
    for ending in ("", "-wal"):
        shutil.copy(f"{path}{ending}", f"{copy}{ending}")
    opened.close()
    assert "cannot be opened: disk I/O error (SQLITE_IOERR_SHMSIZE)" in run_code(
        READ_WITHOUT_ROOM, copy
    )
    with Store(copy, read_only=True) as whole:
        assert [r.agent for r in whole.records()] == ["in the journal"]


@pytest.mark.parametrize("name", ["SQLITE_IOERR_SHMSIZE", "SQLITE_IOERR_WRITE"])
def test_an_error_of_writing_on_a_full_disk_is_called_so(monkeypatch, path, name):
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorname = name
    room = {"free": 4096}
    usage = type("Usage", (), {"free": property(lambda self: room["free"])})
    monkeypatch.setattr(database.shutil, "disk_usage", lambda folder: usage())
    told = database.sentence(path, "written", error, 1.0)
    assert told.endswith("the disk is full. All that was stored before is kept; make room.")
    room["free"] = 10**9
    assert database.sentence(path, "written", error, 1.0).endswith(f"disk I/O error ({name}).")

    def refuse(folder):
        raise FileNotFoundError

    monkeypatch.setattr(database.shutil, "disk_usage", refuse)
    assert database.sentence(path, "written", error, 1.0).endswith(f"disk I/O error ({name}).")


def husk(path):
    """What is left of a store whose making was broken off: a header, and no table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    assert path.stat().st_size == 4096


@pytest.mark.parametrize("make", [husk, lambda path: path.touch()])
def test_a_store_that_was_only_begun_is_empty_and_becomes_one(tmp_path, make):
    path = tmp_path / "s.sqlite"
    make(path)
    before = path.read_bytes()
    with Store(path, read_only=True) as opened:
        assert list(opened.records()) == []
        assert opened.digests() == frozenset()
        assert opened.get("0") is None
        opened.check()
        with pytest.raises(StoreError, match=r"cannot be written: the file or its folder is not"):
            opened.put(record())
    assert path.read_bytes() == before
    with Store(path) as opened:
        opened.put(record())
    with Store(path, read_only=True) as opened:
        assert len(opened.digests()) == 1


CREATE_AT_ONCE = """
import sys, time
from pathlib import Path
from rlsuite.records import RunKey, RunRecord
from rlsuite.store import Store
folder, start, me = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
for turn in range(20):
    record = RunRecord(key=RunKey(identity={"me": me}), task="t", env_id="e", family="f",
        metric="final_return", agent="a", agent_id="a", settings={}, seed=me, total_timesteps=1,
        state="ok")
    while time.time() < start + 0.1 * turn:
        pass
    with Store(folder / f"{turn}.sqlite") as store:
        store.put(record)
"""


def test_a_new_store_may_be_made_by_several_processes_at_once(tmp_path):
    count = 4
    start = time.time() + 2.0  # when all of them have been imported
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CREATE_AT_ONCE, str(tmp_path), str(start), str(me)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for me in range(count)
    ]
    assert [process.communicate(timeout=60)[1] for process in processes] == [""] * count
    for turn in range(20):
        with Store(tmp_path / f"{turn}.sqlite", read_only=True) as opened:
            assert [found.seed for found in opened.records()] == list(range(count))


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


def test_the_table_says_all_but_the_time():
    one = record(train_seconds=1.0, started_at="today", fingerprint={"a": "b"})
    other = record(train_seconds=2.0, started_at="tomorrow")
    assert results_table([one, record("b")]) == results_table([record("b"), other])
    assert results_table([one]) != results_table([record(mean_return=0.3)])
    assert results_table([one]) != results_table([record(training=None)])
    header, row = results_table([one]).splitlines()
    assert header == ",".join(COLUMNS)
    assert "0.30000000000000004" in row
    clocks = {"key", "env_id", "family", "train_seconds", "eval_seconds", "started_at"}
    fields = {field.name for field in dataclasses.fields(RunRecord)}
    assert fields == set(COLUMNS) | clocks | {"fingerprint"}


def test_lean_records_have_no_arrays_and_share_what_is_equal(path):
    scored = record("bandit", metric="learning_regret")
    with Store(path) as opened:
        for one in (record("a", 0), record("a", 1), scored):
            opened.put(one)
        first, second, third = opened.records(lean=True)
        same(first, dataclasses.replace(record("a", 0), episodes=(), training=None))
        assert first.settings is second.settings
        same(third, dataclasses.replace(scored, episodes=()))
        full = list(opened.records())
        assert [len(one.episodes) for one in full] == [1, 1, 1]


def test_a_cell_without_its_arrays_is_damaged(path):
    with Store(path) as opened:
        opened.put(record())
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM cell_data")
    connection.close()
    with Store(path) as opened, pytest.raises(StoreError, match="its arrays are lost"):
        list(opened.records())
