"""What the watchdogs cost: the share of a watched agent's CPU time that `rlsuite.watch` takes.

The watch hangs on `agent.on_update`; each call of it is timed, and so is the training as a whole.
That is steadier than the difference of two trainings, which a busy machine's noise drowns.

Run: python benchmarks/watching.py [agents, such as DQN]
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import rlsuite  # noqa: E402

AGENTS: dict[str, tuple[str, int, dict[str, Any]]] = {  # task, steps, settings
    "DQN": ("CartPole-v1", 10_000, {}),
    "A2C": ("CartPole-v1", 40_000, {"num_envs": 8}),
    "PPO": ("CartPole-v1", 40_000, {"num_envs": 8}),
    "Reinforce": ("CartPole-v1", 20_000, {}),
    "ActorCritic": ("CartPole-v1", 10_000, {}),
    "SAC": ("Pendulum-v1", 500, {}),
}


def shares(name: str) -> tuple[int, float, float]:
    """Updates, microseconds of each that watching takes, and its share of the CPU time."""
    task, steps, settings = AGENTS[name]
    agent = rlsuite.make_agent(f"rlsuite/{name}-v0", task, seed=0, **settings)
    agent.learn(steps // 10)  # compiles what is compiled
    rlsuite.watch(agent, tell=lambda alarm: None)
    watch, calls = agent.on_update, list[int]()

    def timed(metrics: Any) -> None:
        start = time.thread_time_ns()
        watch(metrics)
        calls.append(time.thread_time_ns() - start)

    agent.on_update = timed
    start = time.thread_time_ns()
    agent.learn(steps)
    total = time.thread_time_ns() - start
    return len(calls), sum(calls) / len(calls) / 1_000, sum(calls) / total


def main() -> None:
    print("agent        updates  µs each   share")
    for name in sys.argv[1:] or AGENTS:
        updates, each, share = shares(name)
        print(f"{name:12} {updates:7,} {each:8.0f} {share:7.1%}", flush=True)


if __name__ == "__main__":
    main()
