"""How far PPO and SAC end from the exact optimum of linear-quadratic control.

Of each trained policy, played greedily, the expected loss is estimated without noise of returns:
the environment tells the regret of every action, (u - u*)'(R + B'PB)(u - u*), and the sum over an
episode has the mean J* - J. It is shown as a share of |J*|.

Run: python benchmarks/lqr_optimum.py [seeds] [agent ...]
"""

from __future__ import annotations

import sys
from typing import Any

import gymnasium as gym
import numpy as np

import rlsuite

TASK, EPISODES = "rlsuite/LQR-v0", 200
AGENTS: dict[str, tuple[int, dict[str, Any]]] = {
    "PPO": (
        200_000,
        {
            "num_envs": 16,
            "n_steps": 50,
            "batch_size": 100,
            "gamma": 0.98,
            "learning_rate": "lin_1e-3",
            "total_timesteps": 200_000,
            "normalize_observations": True,
            "normalize_rewards": True,
        },
    ),
    "SAC": (20_000, {"learning_rate": 1e-3, "gamma": 0.98}),
}


def regret(agent: Any) -> float:
    """The mean over episodes of J* - J."""
    env = gym.make(TASK)
    sums = np.zeros(EPISODES)
    for episode in range(EPISODES):
        observation, _ = env.reset(seed=episode)
        over = False
        while not over:
            action, _ = agent.predict(observation, deterministic=True)
            observation, _, terminated, truncated, info = env.step(action)
            sums[episode] += info["regret"]
            over = terminated or truncated
    return float(sums.mean())


def main() -> None:
    words = sys.argv[1:]
    seeds = int(words.pop(0)) if words and words[0].isdigit() else 5
    optimum = gym.make(TASK).unwrapped.oracle().optimal_return  # type: ignore[attr-defined]
    print(f"{TASK}: the optimum is {optimum:.4f}")
    for name in words or AGENTS:
        steps, settings = AGENTS[name]
        shares = []
        for seed in range(seeds):
            agent = rlsuite.make_agent(f"rlsuite/{name}-v0", TASK, seed=seed, **settings)
            shares.append(regret(agent.learn(steps)) / abs(optimum))
        each = ", ".join(f"{share:.2%}" for share in shares)
        print(f"{name}, {steps:,} steps: {np.mean(shares):.2%} below it ({each})", flush=True)


if __name__ == "__main__":
    main()
