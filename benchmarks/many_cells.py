"""How the commands that read a store grow with it: 1,000, 10,000 and 100,000 finished cells.

    python benchmarks/many_cells.py [--cells 1000 10000 100000] [--keep FOLDER]

Each store is filled through `Store.put`: twenty evaluation episodes, ten evaluation points and a
training curve of two hundred windows for each cell. Every command runs in a fresh interpreter, so
its time holds the start of Python, and that of compiling where Numba's cache is cold; on a busy
machine the processor's time tells more. Memory is the largest that the process ever had. `plan` is
of a suite of as many cells, of which none is stored.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from rlsuite.records import CurvePoint, EpisodeRecord, RunKey, RunRecord, TrainingCurve
from rlsuite.store import Store

GRIDS = {1_000: (10, 10, 10), 10_000: (20, 20, 25), 100_000: (50, 20, 100)}
"""Tasks, agents and seeds."""

FAMILIES = 5
BARS = {"status": (1.0, None), "report": (20.0, 1024.0), "plan": (None, None)}
"""Seconds and MiB for 100,000 cells."""

SUITE = """
name = "many"
[[grid]]
tasks = ["rlsuite/GridWorld-v0", "rlsuite/CliffWalk-v0"]
seeds = {seeds}
total_timesteps = 100
[grid.agents]
q = "rlsuite/QLearning-v0"
sarsa = "rlsuite/Sarsa-v0"
"""


def cell(task: int, agent: int, seed: int, rng: np.random.Generator) -> RunRecord:
    """A finished cell with arrays of the usual sizes and figures of its task and agent."""
    score = 0.5 + 0.02 * agent + 0.1 * rng.standard_normal()
    steps = np.arange(250, 50_001, 250)
    noise = rng.standard_normal((3, len(steps)))
    mean = 100.0 * score * (1.0 - np.exp(-steps / 10_000)) + noise[0]
    returns = 100.0 * score + rng.standard_normal(20)
    identity = {"task": f"bench/Task{task}-v0", "agent": f"agent {agent}", "seed": seed}
    return RunRecord(
        key=RunKey(identity=identity),
        task=identity["task"],
        env_id=identity["task"],
        family=f"family {task % FAMILIES}",
        metric="final_return",
        agent=identity["agent"],
        agent_id=f"bench/Agent{agent}-v0",
        settings={"step_size": 0.1, "gamma": 0.99, "hidden": [64, 64]},
        seed=seed,
        total_timesteps=50_000,
        state="failed" if rng.random() < 0.001 else "ok",
        steps_used=50_000,
        mean_return=float(returns.mean()),
        low=float(returns.mean() - 0.5),
        high=float(returns.mean() + 0.5),
        score=float(score),
        regret=float(100.0 * (1.0 - score)),
        optimal_return=100.0,
        baseline_return=0.0,
        curve=tuple(
            CurvePoint(step=5_000 * (k + 1), mean_return=float(mean[20 * k + 19]), train_seconds=k)
            for k in range(10)
        ),
        training=TrainingCurve(
            step=steps,
            mean=mean,
            minimum=mean - np.abs(noise[1]),
            maximum=mean + np.abs(noise[2]),
            length=np.full(len(steps), 25.0),
            regret=np.full(len(steps), np.nan),
            episodes=np.full(len(steps), 10),
        ),
        episodes=tuple(
            EpisodeRecord(
                index=k,
                seed=int(rng.integers(2**63)),
                episode_return=float(value),
                length=25,
                terminated=True,
                truncated=False,
            )
            for k, value in enumerate(returns)
        ),
        train_seconds=12.5,
        eval_seconds=0.5,
        started_at="2026-01-01T00:00:00+00:00",
        fingerprint={"python": "3.11", "numpy": "2.4", "cpu": "somebody's"},
    )


def cells(count: int) -> Iterator[RunRecord]:
    """All cells of a grid of this size, in the order in which a suite would finish them."""
    tasks, agents, seeds = GRIDS[count]
    rng = np.random.default_rng(0)
    for task in range(tasks):
        for agent in range(agents):
            for seed in range(seeds):
                yield cell(task, agent, seed, rng)


def fill(path: Path, count: int) -> float:
    """Seconds for filling a store; nothing is done where it is full already."""
    start = time.perf_counter()
    with Store(path) as store:
        done = store.digests()
        if len(done) < count:
            for record in cells(count):
                store.put(record)
    return time.perf_counter() - start


def measure(words: list[str]) -> tuple[float, float, float]:
    """Wall-clock seconds, processor seconds and MiB of one run in a fresh process."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "rlsuite.cli.main", *words], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"rlsuite {' '.join(words)} failed")
    unit = 1024 if sys.platform == "darwin" else 1
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024 / unit


def rows(folder: Path, count: int) -> Iterator[tuple[str, float, float, float]]:
    """Command, and what `measure` found."""
    path = folder / f"{count}.sqlite"
    took = fill(path, count)
    size = path.stat().st_size / 2**20
    print(f"{count:>8,}  fill     {took:8.2f} s {size:8.0f} MiB on disk", flush=True)
    report = folder / f"{count}.html"
    suite = folder / f"{count}.toml"
    suite.write_text(SUITE.format(seeds=count // 4))
    commands = {
        "status": ["bench", "status", str(path)],
        "report": ["bench", "report", str(path), "--report", str(report)],
        "plan": ["bench", "plan", str(suite), "--store", str(path)],
    }
    for name, words in commands.items():
        yield name, *measure(words)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, nargs="+", choices=GRIDS, default=list(GRIDS))
    parser.add_argument("--keep", type=Path, help="folder for the stores, used again if full")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) if arguments.keep is None else arguments.keep
        folder.mkdir(parents=True, exist_ok=True)
        print("   cells  command   seconds  processor   memory  µs a cell")
        for count in sorted(arguments.cells):
            for name, seconds, busy, memory in rows(folder, count):
                figures = f"{seconds:9.2f} {busy:10.2f} {memory:6.0f} M {1e6 * busy / count:10.0f}"
                print(f"{count:>8,}  {name:7} {figures}{bar(name, count)}", flush=True)


def bar(name: str, count: int) -> str:
    """What is promised of 100,000 cells."""
    seconds, memory = BARS[name]
    if count != 100_000 or seconds is None:
        return ""
    return f"   promised: {seconds:g} s" + ("" if memory is None else f", {memory:g} M")


if __name__ == "__main__":
    main()
