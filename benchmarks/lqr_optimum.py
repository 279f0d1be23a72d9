"""How far PPO and SAC end from the exact optimum of linear-quadratic control.

Of each trained policy, played greedily, the expected loss is estimated without noise of returns:
the environment tells the regret of every action, (u - u*)'(R + B'PB)(u - u*), and the sum over an
episode has the mean J* - J. It is shown as a share of |J*|.

Random pushes let the mass run away, and the returns of the first episodes are a hundred times the
later ones. So many environments go side by side, and both agents update often: they meet the middle
of the track first, and can hold the mass there before it is far out. PPO's rollouts are whole
episodes: all environments start together, so shorter ones would hold starts in one of three alone.
Its networks have ReLUs and start without biases: what they learn in the middle holds far out too.
The best policy for γ = 0.98 is 1.1 % below the optimum over 50 steps.

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
        400_000,
        {
            "num_envs": 32,
            "n_steps": 50,
            "batch_size": 160,
            "n_epochs": 5,
            "gamma": 0.98,
            "gae_lambda": 0.9,
            "vf_coef": 0.01,
            "learning_rate": "lin_1e-3",
            "total_timesteps": 400_000,
            "activation": "relu",
        },
    ),
    "SAC": (
        19_200,
        {
            "num_envs": 32,
            "learning_starts": 320,
            "train_freq": 32,
            "gradient_steps": 16,
            "buffer_size": 10_000,
            "batch_size": 128,
            "gamma": 0.98,
            "learning_rate": "lin_3e-3",
            "total_timesteps": 19_200,
            "target_entropy": -0.5,
            "net_arch": (64, 64),
            "activation": "tanh",
        },
    ),
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
