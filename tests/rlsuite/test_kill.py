"""Killed at any moment and started again, a suite ends with the same bytes.

The child runs a suite and reports on its standard output when it begins to train, when it is inside
a write of the store, and when it is between cells. A write is stretched by a few milliseconds in
the middle of its transaction, so that some of the moments fall into it. Moments are drawn uniformly
over a measured run and expressed as (number of the report, seconds after it), so that the load of
the machine does not move them out of their phase.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest

from rlsuite.store import Store

CHILD = """
import sys, time
from pathlib import Path

def say(phase):
    print(phase, flush=True)

say("import")
import rlsuite
from rlsuite.running import run_loop as running
from rlsuite.store import Store
from rlsuite.suite import Grid, Suite, choices

run_cell, insert, put = running.run_cell, Store._insert, Store.put
hold = sys.argv[3]  # the phase that does not end by itself

def told_run_cell(*arguments, **keywords):
    say("train")
    record = run_cell(*arguments, **keywords)
    time.sleep(600 * (hold == "train"))
    say("idle")
    return record

def slow_insert(self, *arguments):  # half of the transaction before the pause, half after it
    say("write")
    time.sleep({pause} / 2)
    insert(self, *arguments)
    time.sleep(600 if hold == "write" else {pause} / 2)

def told_put(self, record, owner=None):
    put(self, record, owner)
    say("idle")

running.run_cell, Store._insert, Store.put = told_run_cell, slow_insert, told_put
tabular = Grid(
    tasks=("rlsuite/GridWorld-v0", "FrozenLake-v1"),
    agents=choices({{"q": "rlsuite/QLearning-v0", "s": "rlsuite/Sarsa-v0"}}),
    seeds={seeds},
    total_timesteps={steps},
    eval_points=3,
)
bandit = Grid(
    tasks=("rlsuite/BernoulliBandit-v0",),
    agents=choices({{"t": "rlsuite/ThompsonSampling-v0"}}),
    seeds={seeds},
)
result = rlsuite.benchmark(Suite("killed", (tabular, bandit)), store=sys.argv[1])
Path(sys.argv[2]).write_text(rlsuite.results_table(result.records), encoding="utf-8")
say("done")
"""


@dataclass
class Child:
    """A suite in a process of its own."""

    folder: object
    seeds: int
    steps: int
    pause: float = 0.03

    def start(self, store, hold=""):
        code = CHILD.format(seeds=self.seeds, steps=self.steps, pause=self.pause)
        self.table = self.folder / "table.csv"
        self.table.unlink(missing_ok=True)
        return subprocess.Popen(
            [sys.executable, "-c", code, str(store), str(self.table), hold],
            stdout=subprocess.PIPE,
            text=True,
        )

    def finish(self, store):
        """Runs to the end; the table and the reports with their times."""
        start = time.monotonic()
        with self.start(store) as child:
            reports = [(line.strip(), time.monotonic() - start) for line in child.stdout]
        assert child.returncode == 0
        assert reports[-1][0] == "done"
        return self.table.read_text(encoding="utf-8"), reports

    def kill(self, store, number, offset, hold=""):
        """Starts, and kills `offset` seconds after report `number`; the last phase heard of.

        The phase `hold` does not end by itself, however late the kill comes.
        """
        with self.start(store, hold) as child:
            phase = ""
            for _ in range(number + 1):
                phase = child.stdout.readline().strip()
            time.sleep(offset)
            child.send_signal(signal.SIGKILL)
            rest = child.stdout.read().split()
        assert child.returncode == -signal.SIGKILL, "the run was over before it could be killed"
        return rest[-1] if rest else phase


def moments(reports, count, rng, at_least):
    """`count` moments drawn uniformly over a run, drawn again until the phases have their share."""
    ends = [time for _, time in reports[1:]]
    while True:
        drawn = []
        for moment in rng.uniform(reports[0][1], ends[-1], size=count):
            number = int(np.searchsorted(ends, moment, side="right"))
            drawn.append((reports[number][0], number, moment - reports[number][1]))
        shares = Counter(phase for phase, _, _ in drawn)
        if all(shares[phase] >= least for phase, least in at_least.items()):
            return [(number, offset) for _, number, offset in drawn]


def intact(store, least=0):
    """Opens what a killed run left, and counts its finished cells."""
    if not store.exists():
        return 0
    with Store(store) as opened:
        opened.check()
        states = [record.state for record in opened.records()]
    assert set(states) <= {"ok"}
    assert len(states) >= least
    return len(states)


def test_killed_three_times_a_suite_still_ends_the_same(tmp_path):
    """One store: killed in the first training, inside a write, in a later training."""
    child = Child(tmp_path, seeds=1, steps=2_000)
    undisturbed, reports = child.finish(tmp_path / "undisturbed.sqlite")
    phases = [phase for phase, _ in reports]
    assert phases[:4] == ["import", "train", "idle", "write"]
    store = tmp_path / "killed.sqlite"
    child.kill(store, phases.index("train"), 0.01, hold="train")
    assert intact(store) == 0
    assert child.kill(store, phases.index("write"), 0.02, hold="write") == "write"
    assert intact(store) == 0  # half-written is not written
    child.kill(store, phases.index("write") + 2, 0.001)
    done = intact(store, least=1)
    table, reports = child.finish(store)
    assert table == undisturbed
    assert sum(phase == "train" for phase, _ in reports) == 5 - done  # only what was missing


@pytest.mark.slow
def test_killed_at_20_moments_drawn_uniformly_a_suite_ends_the_same(tmp_path):
    """Every moment has a run of its own, from an empty store, killed and started again."""
    child = Child(tmp_path, seeds=3, steps=10_000, pause=0.12)
    undisturbed, reports = child.finish(tmp_path / "undisturbed.sqlite")
    rng = np.random.default_rng(20)
    wanted = {"train": 12, "write": 4}
    heard = Counter()
    for k, (number, offset) in enumerate(moments(reports, 20, rng, wanted)):
        store = tmp_path / f"killed-{k}.sqlite"
        heard[child.kill(store, number, offset)] += 1
        done = intact(store)
        table, again = child.finish(store)
        assert table == undisturbed, f"killed {offset:.3f} s after report {number}"
        assert sum(phase == "train" for phase, _ in again) == 15 - done
    print(f"killed in these phases: {dict(heard)}")
    assert sum(heard.values()) == 20
    assert heard["train"] >= 10
    assert heard["write"] >= 3


@pytest.mark.slow
def test_killed_20_times_in_a_row_a_suite_ends_the_same(tmp_path):
    """One store: each run goes on from what the last one left, and is killed in turn."""
    child = Child(tmp_path, seeds=10, steps=10_000)
    undisturbed, _ = child.finish(tmp_path / "undisturbed.sqlite")
    rng = np.random.default_rng(21)
    store = tmp_path / "killed.sqlite"
    done = 0
    for _ in range(20):
        # reports of a cell: train, idle, write, idle; 20 runs of up to two cells never finish 50
        child.kill(store, int(rng.integers(9)), rng.uniform(0, 0.1))
        now = intact(store, least=done)
        assert now <= done + 3
        done = now
    table, reports = child.finish(store)
    assert table == undisturbed
    assert sum(phase == "train" for phase, _ in reports) == 50 - done


@pytest.mark.slow
def test_the_quick_suite_twice_gives_the_same_bytes(tmp_path):
    import rlsuite

    one = rlsuite.benchmark("quick", store=tmp_path / "one.sqlite")
    other = rlsuite.benchmark("quick", store=tmp_path / "other.sqlite")
    assert one.failed == other.failed == ()
    assert rlsuite.results_table(one.records) == rlsuite.results_table(other.records)
