"""What goes in comes out bit for bit, and every damage is a sentence."""

from __future__ import annotations

import dataclasses
import shutil
import sqlite3
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import StoreError
from rlsuite import database, store
from rlsuite.records import (
    CurvePoint,
    EpisodeRecord,
    RunKey,
    RunRecord,
    TrainingCurve,
    UpdateCurve,
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
        "updates": UpdateCurve(
            step=np.array([5, 9]),
            updates=np.array([2, 1]),
            values={"loss": np.float32([0.1, NAN]), "step": np.float32([-np.inf, 1e-45])},
        ),
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
        if field.name not in ("training", "updates"):
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
    apart = {"fingerprint", "updates", "block"}  # updates tell steps/s; regret is of the block
    assert fields == set(COLUMNS) | clocks | apart


def test_lean_records_have_no_arrays_and_share_what_is_equal(path):
    scored = record("bandit", metric="learning_regret")
    with Store(path) as opened:
        for one in (record("a", 0), record("a", 1), scored):
            opened.put(one)
        first, second, third = opened.records(lean=True)
        same(first, dataclasses.replace(record("a", 0), episodes=(), training=None, updates=None))
        assert first.settings is second.settings
        same(third, dataclasses.replace(scored, episodes=(), updates=None))
        full = list(opened.records())
        assert [len(one.episodes) for one in full] == [1, 1, 1]


def test_some_of_the_records_come_in_the_order_asked_for(path, monkeypatch):
    monkeypatch.setattr(store, "BLOCK", 2)
    with Store(path) as opened:
        for seed in range(4):
            opened.put(record(seed=seed))
        wanted = [record(seed=seed).key.digest for seed in (3, 9, 0, 3)]
        for lean in (False, True):
            assert [r.seed for r in opened.records(lean=lean, of=wanted)] == [3, 0, 3]
        assert list(opened.records(of=[])) == []
