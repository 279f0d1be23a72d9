"""Speed of value iteration on large grids: one core, through the agent, to a proven error.

A square grid, 4 actions of 3 outcomes (the move, or one to each side), -0.01 a step and 1 at the
goal in the last corner, γ = 0.99. Every size runs in a process of its own, so that the peak of its
memory is its own; the largest runs first. Times are CPU time; compilation is printed apart.

Run: python benchmarks/planning.py
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from types import SimpleNamespace

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

SIDES = (1000, 562, 316, 178, 100)
GAMMA, ERROR, SLIP = 0.99, 1e-6, 0.2
AT_MOST_SECONDS, AT_MOST_GIB, AT_MOST_RATIO = 15.0, 1.0, 2.5


def slippery_grid(side: int) -> SimpleNamespace:
    """The model of the grid, as `registry.contracts.Model`."""
    import numpy as np

    states = side * side
    row, column = np.divmod(np.arange(states), side)
    shape = (states, 4, 3)
    next_state, probability = np.empty(shape, np.int32), np.empty(shape)
    probability[...] = (1 - SLIP, SLIP / 2, SLIP / 2)
    for k, turn in enumerate((0, 1, -1)):
        for a in range(4):
            d_row, d_column = ((-1, 0), (0, 1), (1, 0), (0, -1))[(a + turn) % 4]
            to_row = np.clip(row + d_row, 0, side - 1)
            next_state[:, a, k] = to_row * side + np.clip(column + d_column, 0, side - 1)
    terminal = next_state == states - 1
    return SimpleNamespace(
        next_state=next_state,
        probability=probability,
        reward=np.where(terminal, 1.0, -0.01),
        terminal=terminal,
        start=np.eye(1, states)[0],
    )


def solve(side: int) -> dict[str, float]:
    """Value iteration to the error bound on one size."""
    import gymnasium as gym
    from gymnasium.spaces import Discrete

    from rlsuite_agents.planning.value_iteration import ValueIteration, ValueIterationConfig

    def agent(side: int) -> ValueIteration:
        env = gym.Env()
        env.model = slippery_grid(side)
        env.observation_space, env.action_space = Discrete(side * side), Discrete(4)
        config = ValueIterationConfig(gamma=GAMMA, horizon="none", tolerance=ERROR)
        return ValueIteration(env, config, seed=0)

    start = time.process_time()
    agent(3).learn(1)
    compiled = time.process_time() - start
    planner = agent(side)
    start = time.process_time()
    planner.learn(10_000)
    seconds = time.process_time() - start
    assert planner.converged
    return {
        "compile": compiled,
        "seconds": seconds,
        "sweeps": planner.plan.sweeps,
        "error": planner.plan.error,
        "gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "ns": seconds / planner.plan.sweeps / side**2 * 1e9,
    }


def main() -> None:
    print(f"γ = {GAMMA}, slip {SLIP}, error at most {ERROR:g} by the bound γ / (1 - γ) · change")
    print(f"{'states':>10}{'sweeps':>8}{'error':>10}{'seconds':>9}{'ns/state/sweep':>16}{'GiB':>6}")
    found = []
    for side in SIDES:
        done = subprocess.run(
            [sys.executable, __file__, str(side)], capture_output=True, text=True, check=True
        )
        one = json.loads(done.stdout)
        found.append(one)
        print(
            f"{side**2:10,}{one['sweeps']:8}{one['error']:10.1e}{one['seconds']:9.2f}"
            f"{one['ns']:16.1f}{one['gib']:6.2f}",
            flush=True,
        )
    times = [one["ns"] for one in found]
    print(
        f"\n10^6 states: {found[0]['seconds']:.1f} s (at most {AT_MOST_SECONDS:g}), "
        f"{found[0]['gib']:.2f} GiB at the peak, imports and model included (at most "
        f"{AT_MOST_GIB:g})\nslowest over fastest time per state and sweep: "
        f"{max(times) / min(times):.2f} (at most {AT_MOST_RATIO})\ncompilation: "
        f"{max(one['compile'] for one in found):.1f} s"
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(solve(int(sys.argv[1]))))
    else:
        main()
