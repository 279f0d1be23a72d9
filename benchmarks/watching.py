"""What the watchdogs cost: the CPU time of training with `rlsuite.watch` against without.

Two equal agents, one of them watched, take turns in blocks of so many steps; the share of time that
the watched one takes more is the median over the blocks, with the quartiles. The settings are
defaults but for PPO's and A2C's number of environments, and tasks are those of `deep.py`.

Run: python benchmarks/watching.py [blocks] [agents, such as DQN]
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np  # noqa: E402

import rlsuite  # noqa: E402

AGENTS: dict[str, tuple[str, int, dict[str, Any]]] = {  # task, steps of a block, settings
    "PPO": ("CartPole-v1", 8_192, {"num_envs": 8, "n_steps": 128}),
    "A2C": ("CartPole-v1", 4_000, {"num_envs": 8}),
    "DQN": ("CartPole-v1", 2_000, {}),
    "SAC": ("Pendulum-v1", 200, {}),
    "Reinforce": ("CartPole-v1", 4_000, {}),
    "ActorCritic": ("CartPole-v1", 2_000, {}),
}


def more(name: str, blocks: int) -> np.ndarray:
    """The share of time that the watched agent takes more, block by block."""
    task, steps, settings = AGENTS[name]
    agents = [rlsuite.make_agent(f"rlsuite/{name}-v0", task, seed=0, **settings) for _ in "ab"]
    rlsuite.watch(agents[1], tell=lambda alarm: None)
    seconds = np.empty((blocks, 2))
    for agent in agents:
        agent.learn(steps)  # compiles what is compiled
    for block in range(blocks):
        for which in (0, 1) if block % 2 else (1, 0):
            start = time.process_time()
            agents[which].learn(steps)
            seconds[block, which] = time.process_time() - start
    return seconds[:, 1] / seconds[:, 0] - 1.0


def main() -> None:
    words = sys.argv[1:]
    blocks = int(words.pop(0)) if words and words[0].isdigit() else 20
    for name in words or AGENTS:
        low, median, high = np.quantile(more(name, blocks), [0.25, 0.5, 0.75])
        print(f"{name:11} {median:+6.1%}  (quartiles {low:+.1%} to {high:+.1%})", flush=True)


if __name__ == "__main__":
    main()
