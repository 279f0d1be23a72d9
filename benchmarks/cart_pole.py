"""REINFORCE, with each baseline, and actor-critic on CartPole-v1, seed by seed.

Each is trained for 50,000 steps with the settings below; told is the mean return of its greedy
policy over 100 episodes, the same for all. The best possible is 500.

Run: python benchmarks/cart_pole.py [seeds] [agents, such as ActorCritic]
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

TASK, STEPS = "CartPole-v1", 50_000
TRACES = {
    "learning_rate": "lin_1e-3",
    "total_timesteps": STEPS,
    "actor_lambda": 0.9,
    "critic_lambda": 0.9,
    "normalize_observations": True,
}
AGENTS: dict[str, list[dict[str, Any]]] = {
    "Reinforce": [{"baseline": baseline} for baseline in ("mean", "value", "none")],
    "ActorCritic": [TRACES],
}


def main() -> None:
    words = sys.argv[1:]
    seeds = int(words.pop(0)) if words and words[0].isdigit() else 10
    for name in words or AGENTS:
        for settings in AGENTS[name]:
            print(name, settings)
            returns, start = [], time.process_time()
            for seed in range(seeds):
                agent = rlsuite.make_agent(f"rlsuite/{name}-v0", TASK, seed=seed, **settings)
                agent.learn(STEPS)
                returns.append(rlsuite.evaluate(agent, TASK, episodes=100, seed=0).mean_return)
            took = (time.process_time() - start) / seeds
            print("  " + ", ".join(f"{value:.1f}" for value in returns))
            print(f"  mean {np.mean(returns):.1f}, {took:.0f} s of CPU time each", flush=True)


if __name__ == "__main__":
    main()
