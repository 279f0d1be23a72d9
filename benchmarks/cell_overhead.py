"""What a process of its own costs a cell: wall-clock time beside that of the serial backend.

    python benchmarks/cell_overhead.py [--cells 20]

Cells of one step are run serially and in one worker process, by forks of a process that has
imported everything and by fresh interpreters. Overhead per cell is the difference of the times,
divided by the number of cells; the start of the first process is part of it, and shown apart.
Below stands the processor time of the imports that a fresh interpreter cannot do without.
"""

from __future__ import annotations

import argparse
import functools
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from registry.catalogue import registry
from rlsuite.backends.processes import ProcessesBackend
from rlsuite.running.run_loop import Rules, Running
from rlsuite.store import Store
from rlsuite.suite import Grid, Suite, choices

KINDS = {
    "tabular": ("rlsuite/GridWorld-v0", "rlsuite/QLearning-v0", 0.6),
    "deep": ("CartPole-v1", "sb3/PPO-v0", 1.2),
}


IMPORTS = {
    "rlsuite.running.payloads": "every cell",
    "torch": "deep agents",
    "torch._dynamo": "torch's optimisers, at their first use",
}
CODE = "import sys, time; __import__(sys.argv[1]); print(time.process_time())"


def suite(task: str, agent: str, cells: int) -> Suite:
    grid = Grid(
        tasks=(task,),
        agents=choices({"a": agent}),
        seeds=cells,
        total_timesteps=1,
        eval_points=0,
        eval_episodes=1,
        final_episodes=1,
    )
    return Suite("overhead", (grid,))


def seconds(backend, chosen: Suite) -> float:
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "s.sqlite") as store:
        start = time.perf_counter()
        run = Running(chosen, store, backend, lambda event: None, Rules())
        run.finish()
        took = time.perf_counter() - start
        assert all(record.state == "ok" for record in run.records.values())
    return took


def import_seconds(module: str) -> float:
    """Processor time of an import in a fresh interpreter, the best of three."""
    command = [sys.executable, "-c", CODE, module]
    runs = [subprocess.run(command, capture_output=True, check=True) for _ in range(3)]
    return min(float(run.stdout) for run in runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=20)
    cells = parser.parse_args().cells
    print(f"{cells} cells, one worker at a time")
    print(f"{'kind':8} {'method':11} {'serial':>8} {'start':>8} {'overhead':>9} {'bar':>6}  s/cell")
    for kind, (task, agent, bar) in KINDS.items():
        serial = registry.get("backend", "rlsuite/serial-v0").load()
        seconds(serial(), suite(task, agent, 1))  # imports
        plain = seconds(serial(), suite(task, agent, cells)) / cells
        for method in ("forkserver", "spawn"):
            made = functools.partial(ProcessesBackend, workers=1, method=method)
            first = seconds(made(), suite(task, agent, 1))
            took = seconds(made(), suite(task, agent, cells)) / cells
            over = took - plain
            print(f"{kind:8} {method:11} {plain:8.3f} {first:8.2f} {over:9.3f} {bar:6.1f}")
    for module, needed in IMPORTS.items():
        print(f"import {module:25} {import_seconds(module):6.2f} s  {needed}")


if __name__ == "__main__":
    main()
