"""Workers, coordinators and both killed at random: no cell is lost, none is counted twice.

A coordinator runs a grid in processes and is watched from outside through /proc: its nursery is its
child, and the workers are the nursery's. Whatever is killed and how often, the table of the
finished suite has the bytes of an undisturbed run.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import rlsuite
from registry.errors import StoreError
from rlsuite.store import Store
from rlsuite.suite import Grid, Suite, choices

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="processes are watched through /proc"
)

COORDINATOR = """
import sys
from pathlib import Path
import rlsuite
from registry.specs import TaskSpec
from rlsuite.suite import Grid, Suite, choices
sticky = ("gymnasium.wrappers:StickyAction", {{"repeat_action_probability": 0.25}})
played = TaskSpec(id="sticky", env_id="FrozenLake-v1", family="tabular", wrappers=(sticky,))
grid = Grid(
    tasks=("rlsuite/GridWorld-v0", played),  # exact; played, so that policies are kept
    agents=choices({{"q": "rlsuite/QLearning-v0", "s": "rlsuite/Sarsa-v0"}}),
    seeds={seeds},
    total_timesteps={steps},
    eval_points=2,
)
result = rlsuite.benchmark(
    Suite("killed", (grid,)), store=sys.argv[1], workers=2, retries=50, checkpoint_every=500
)
Path(sys.argv[2]).write_text(rlsuite.results_table(result.records), encoding="utf-8")
"""


class Coordinator:
    """A suite in a process of its own."""

    def __init__(self, folder, seeds, steps):
        self.folder, self.code = folder, COORDINATOR.format(seeds=seeds, steps=steps)
        self.cells = 4 * seeds
        self.count = 0

    def start(self, store):
        self.count += 1
        table = self.folder / f"table-{self.count}.csv"
        process = subprocess.Popen([sys.executable, "-c", self.code, str(store), str(table)])
        return process, table

    def finish(self, store):
        process, table = self.start(store)
        assert process.wait(600) == 0
        return table.read_text(encoding="utf-8")


def children_of(pid):
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] not in "ZX":
            found.append(int(stat.parent.name))
    return found


def workers_of(coordinator):
    return [worker for nursery in children_of(coordinator) for worker in children_of(nursery)]


def wait_for_worker(process, seconds=60):
    """Returns the workers as soon as there is one; none if the suite ended before."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        if found := workers_of(process.pid):
            return found
        time.sleep(0.005)
    return []


def strike(process, kind, rng):
    """Kills a worker, the coordinator, or both; False if the suite was over before."""
    workers = wait_for_worker(process)
    if not workers:
        return False
    targets = [int(rng.choice(workers))] if kind != "coordinator" else []
    targets += [process.pid] if kind != "worker" else []
    for target in targets:
        try:
            os.kill(target, signal.SIGKILL)
        except ProcessLookupError:
            return kind != "worker"
    return True


def intact(store, cells):
    with Store(store) as opened:
        opened.check()
        states = Counter(opened.states().values())
        assert set(states) <= {"ok"}
        assert states["ok"] <= cells
        return states["ok"]


def under_fire(coordinator, folder, undisturbed, kills, rng, longest):
    """Strikes `kills` times at random moments; each suite that ends is compared, and another begun.

    Returns how often each kind struck.
    """
    struck = Counter()
    rounds = 0
    while sum(struck.values()) < kills:
        rounds += 1
        store = folder / f"round-{rounds}.sqlite"
        process, table = coordinator.start(store)
        done = 0
        while True:
            if sum(struck.values()) < kills:
                wait_for_worker(process)
                time.sleep(rng.uniform(0, longest))
                kind = ("worker", "coordinator", "both")[int(rng.random() * 3)]
                struck[kind] += strike(process, kind, rng)
            else:
                process.wait(600)
            if process.poll() is None:
                continue
            now = intact(store, coordinator.cells)
            assert now >= done, "a finished cell was lost"
            done = now
            if process.returncode == 0:
                break
            process, table = coordinator.start(store)
        assert table.read_text(encoding="utf-8") == undisturbed
        assert intact(store, coordinator.cells) == coordinator.cells
        assert coordinator.finish(store) == undisturbed  # nothing is run, and what is left is swept
        assert not list(store.with_suffix(".checkpoints").glob("*"))
        policies = list(store.with_suffix(".policies").glob("*/*"))
        assert len(policies) == coordinator.cells * 3 // 2  # half were played midway
        assert {file.suffix for file in policies} == {".agent"}
    return struck


def test_killed_a_few_times_the_table_is_the_same(tmp_path):
    coordinator = Coordinator(tmp_path, seeds=3, steps=2_000)
    undisturbed = coordinator.finish(tmp_path / "undisturbed.sqlite")
    rng = np.random.default_rng(40)
    struck = under_fire(coordinator, tmp_path, undisturbed, 5, rng, longest=0.3)
    assert sum(struck.values()) >= 5


@pytest.mark.slow
def test_killed_at_100_random_times_in_a_grid_of_200_cells(tmp_path):
    coordinator = Coordinator(tmp_path, seeds=50, steps=2_000)
    undisturbed = coordinator.finish(tmp_path / "undisturbed.sqlite")
    rng = np.random.default_rng(41)
    struck = under_fire(coordinator, tmp_path, undisturbed, 100, rng, longest=0.5)
    print(f"struck: {dict(struck)}")
    assert min(struck[kind] for kind in ("worker", "coordinator", "both")) >= 20


def test_two_coordinators_share_the_work_and_agree(tmp_path):
    coordinator = Coordinator(tmp_path, seeds=4, steps=1_000)
    store = tmp_path / "shared.sqlite"
    runs = [coordinator.start(store) for _ in range(2)]
    assert [process.wait(300) for process, _ in runs] == [0, 0]
    one, other = (table.read_text(encoding="utf-8") for _, table in runs)
    assert one == other
    assert intact(store, coordinator.cells) == coordinator.cells
    with sqlite3.connect(store) as found:
        tries = found.execute("SELECT count(*), count(DISTINCT digest) FROM attempt").fetchone()
        assert found.execute("SELECT count(*) FROM lease").fetchone() == (0,)
    found.close()
    assert tries == (coordinator.cells, coordinator.cells)  # nothing was done twice


def suite(seeds=2, steps=200):
    grid = Grid(
        tasks=("rlsuite/GridWorld-v0",),
        agents=choices({"q": "rlsuite/QLearning-v0"}),
        seeds=seeds,
        total_timesteps=steps,
    )
    return Suite("small", (grid,))


def test_a_clock_that_jumps_changes_nothing(tmp_path, monkeypatch):
    """Limits, leases and retries read clocks that never jump; the day's clock is only shown."""
    rng = np.random.default_rng(5)
    monkeypatch.setattr(time, "time", lambda: float(rng.uniform(0, 4e9)))
    result = rlsuite.benchmark(suite(), store=tmp_path / "s.sqlite", workers=2, timeout=60)
    assert [record.state for record in result.records] == ["ok", "ok"]


def test_a_full_disk_ends_the_run_and_loses_nothing(tmp_path, monkeypatch):
    store = tmp_path / "s.sqlite"
    rlsuite.benchmark(suite(seeds=1), store=store, workers=1)
    prepare = Store._prepare

    def full(self):
        prepare(self)
        pages = self._connection.execute("PRAGMA page_count").fetchone()[0]
        self._connection.execute(f"PRAGMA max_page_count = {pages}")

    before = set(children_of(os.getpid()))
    with monkeypatch.context() as patch:
        patch.setattr(Store, "_prepare", full)
        with pytest.raises(StoreError, match=r"the disk is full\. All that was stored before is"):
            rlsuite.benchmark(suite(seeds=20), store=store, workers=2)
    assert set(children_of(os.getpid())) <= before
    kept = intact(store, 20)
    assert kept >= 1
    result = rlsuite.benchmark(suite(seeds=20), store=store, workers=2)
    assert (result.reused, len(result.failed)) == (kept, 0)


def test_a_folder_that_cannot_be_written(tmp_path):
    with pytest.raises(StoreError, match="cannot be made"):
        rlsuite.benchmark(suite(), store="/proc/nowhere/s.sqlite", workers=2)
