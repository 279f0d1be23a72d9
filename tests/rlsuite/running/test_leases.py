"""Leases: who is dead is seen at once on one machine, and after a minute's silence elsewhere."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

import rlsuite
from registry.errors import StoreError
from rlsuite.identity import key_of
from rlsuite.running import leases
from rlsuite.running.events import CellElsewhere, CellFinished
from rlsuite.running.leases import Watch, heartbeat, is_alive, new_owner
from rlsuite.store import Attempt, Lease, Store
from rlsuite.suite import Grid, Suite, choices

ELSEWHERE = "another-host:boot:1/77/5/abc"


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "s.sqlite") as opened:
        yield opened


def test_this_process_is_alive_and_an_ended_one_is_not():
    assert is_alive(new_owner()) is True
    code = "import time; from rlsuite.running.leases import new_owner; print(new_owner())"
    owner = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert is_alive(owner) is False
    assert is_alive(ELSEWHERE) is None
    assert is_alive("nonsense") is None


def test_a_process_number_that_was_used_again_is_another_process():
    place, pid, started, unique = new_owner().split("/")
    assert is_alive("/".join((place, pid, str(int(started) - 1), unique))) is False


def test_who_cannot_be_seen_is_dead_after_a_silence():
    now = [0.0]
    watch = Watch(patience=60, clock=lambda: now[0])
    assert not watch.is_dead("d", Lease(ELSEWHERE, 0))
    now[0] = 59
    assert not watch.is_dead("d", Lease(ELSEWHERE, 0))
    assert not watch.is_dead("d", Lease(ELSEWHERE, 1))  # renewed: it counts from here
    now[0] = 118
    assert not watch.is_dead("d", Lease(ELSEWHERE, 1))
    now[0] = 120
    assert watch.is_dead("d", Lease(ELSEWHERE, 1))


def test_one_claim_wins_and_a_dead_owner_gives_way(store):
    assert store.claim("d", "one") is None
    assert store.claim("d", "one") is None
    held = store.claim("d", "two")
    assert held == Lease("one", 0)
    store.beat("one")
    assert store.claim("d", "two", instead_of=held) == Lease("one", 1)  # it has just been renewed
    assert store.claim("d", "two", instead_of=Lease("one", 1)) is None
    assert store.leases() == {"d": Lease("two", 0)}
    store.release("one")
    store.release("two", "other")
    assert store.leases() == {"d": Lease("two", 0)}
    store.release("two", "d")
    assert store.leases() == {}


def test_the_heartbeat_renews_and_ends_all_leases(store):
    store.claim("d", "me")
    with heartbeat(store, "me", seconds=0.01):
        deadline = time.monotonic() + 10
        while store.leases()["d"].beat < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert store.leases()["d"].beat >= 3
    assert store.leases() == {}


def test_the_heart_goes_on_after_a_beat_that_failed(store, monkeypatch):
    beat, failed = Store.beat, []

    def fails_once(self, owner):
        if not failed:
            failed.append(owner)
            raise StoreError("the disk is full")
        beat(self, owner)

    monkeypatch.setattr(Store, "beat", fails_once)
    store.claim("d", "me")
    with heartbeat(store, "me", seconds=0.01):
        deadline = time.monotonic() + 60
        while store.leases()["d"].beat < 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert store.leases()["d"].beat >= 1
    assert failed == ["me"]


def test_a_lease_that_could_not_be_ended_is_not_waited_for_by_its_own_process(store, monkeypatch):
    """As on a full disk: the next run in this process takes the cell over."""

    def full(owner, digest=None):
        raise StoreError("the disk is full")

    owner = new_owner()
    with monkeypatch.context() as patch:
        patch.setattr(store, "release", full)
        with heartbeat(store, owner):
            store.claim("d", owner)
    assert store.leases()["d"].owner == owner
    assert is_alive(owner) is False


def test_attempts_are_kept_in_order(store):
    one = Attempt(number=1, state="killed", started_at="then", seconds=1.5, output="o/1.txt")
    two = Attempt(number=2, state="ok", started_at="now", seconds=0.5)
    store.add_attempt("d", two)
    store.add_attempt("d", one)
    assert store.attempts("d") == (one, two)
    assert store.attempts("other") == ()


def test_a_system_without_proc_waits_for_silence(monkeypatch):
    owner = new_owner()
    monkeypatch.setattr(leases, "_start_time", lambda pid: "unknown")
    assert is_alive(owner) is None


def test_a_cell_of_another_process_is_told_once_and_waited_for(tmp_path):
    """The other one is alive and holds the lease until it is told of; then the cell is ours."""
    path, other, heard = tmp_path / "s.sqlite", new_owner(), []
    grid = Grid(
        tasks=("rlsuite/GridWorld-v0",),
        agents=choices({"q": "rlsuite/QLearning-v0"}),
        seeds=2,
        total_timesteps=40,
    )
    suite = Suite("shared", (grid,))
    first = key_of(next(suite.cells())).digest
    with Store(path) as store:
        assert store.claim(first, other) is None

        def listen(event):
            heard.append(event)
            if isinstance(event, CellElsewhere):
                store.release(other)

        result = rlsuite.benchmark(suite, store=path, progress=listen)
    assert [record.state for record in result.records] == ["ok", "ok"]
    told = [event for event in heard if isinstance(event, CellElsewhere)]
    assert told == [CellElsewhere(0, 2, "rlsuite/GridWorld-v0", "q", 0)]
    assert [event.index for event in heard if isinstance(event, CellFinished)] == [1, 0]
