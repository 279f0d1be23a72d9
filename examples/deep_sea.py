"""Who finds the treasure? Dives until the greedy policy is optimal, against the depth of the sea.

Writes deep_sea.png with 95% intervals over 5 seeds. Takes the depths from the command line.
"""

import sys

import gymnasium as gym
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import t

import rlsuite

SIZES = [int(size) for size in sys.argv[1:]] or [4, 6, 8, 10]
SEEDS, MOST_DIVES = 5, 20_000
Q, PSRL = "rlsuite/QLearning-v0", "rlsuite/PosteriorSampling-v0"
COUNTS = {"exploration": "count_bonus(0.01)", "initial_value": 0.01, "epsilon": 0.0}
AGENTS = {
    "by chance (ε = 1)": (Q, {"epsilon": 1.0}, 12),
    "count bonus (β = 0.01)": (Q, COUNTS, 30),
    "optimistic start (Q = 1)": (Q, {"initial_value": 1.0, "epsilon": 0.0}, 30),
    "posterior sampling": (PSRL, {}, 20),  # solves a world of N² states for every dive
}


def dives_needed(agent_id, settings, size, seed):
    """Looked at after 1, 2, 3, ... dives, then after each tenth more; NaN if not found."""
    env = gym.make("rlsuite/DeepSea-v0", size=size)
    agent, dives = rlsuite.make_agent(agent_id, env, seed=seed, **settings), 0
    while dives < MOST_DIVES:
        further = 1 + dives // 10
        agent.learn(further * size)
        dives += further
        if rlsuite.evaluate(agent, env).regret < 1e-9:
            return dives
    return np.nan


figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
for label, (agent_id, settings, largest) in AGENTS.items():
    sizes = [size for size in SIZES if size <= largest]
    found = np.array(
        [[dives_needed(agent_id, settings, n, k) for k in range(SEEDS)] for n in sizes]
    )
    logs = np.log(found)  # a mean of logarithms is the logarithm of the geometric mean
    mean, error = np.exp(logs.mean(1)), np.exp(logs.std(1, ddof=1) * t.ppf(0.975, 4) / SEEDS**0.5)
    bars = np.nan_to_num([mean - mean / error, mean * error - mean])
    axes.errorbar(sizes, mean, bars, label=label, capsize=3, marker="o")
    print(
        label, *(f"{size}: {dives:.0f}" for size, dives in zip(sizes, mean, strict=True)), sep="  "
    )
axes.plot(SIZES, 2.0 ** np.array(SIZES), ":k", label="2^N")
axes.set(xlabel="depth N", ylabel="dives until solved", yscale="log", ylim=(1, MOST_DIVES * 2))
axes.legend(title=f"bars: 95%, {SEEDS} seeds")
figure.savefig("deep_sea.png", dpi=150)
