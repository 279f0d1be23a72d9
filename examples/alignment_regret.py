"""Six ways to align a policy, by exact regret to the optimum of E[r] - β KL(π ‖ reference).

    python examples/alignment_regret.py [seeds] [tokens]

All see the same β and write the same number of tokens; DPO sees as many pairs. J* - J(π) is
computed and not estimated, so that what is left at the end is the algorithm's.
"""

import sys

import gymnasium as gym
import matplotlib.pyplot as plt
import numpy as np

import rlsuite

TASK, LOOKS = "rlsuite/TokenGeneration-v0", 4
SEEDS, TOKENS = (int(n) for n in [*sys.argv[1:], *("1", "40_000")[len(sys.argv) - 1 :]])
PAIRS = {"n_pairs": 20_000, "learning_rate": "lin_0.003", "total_timesteps": TOKENS}
CORRECTED = {"kl_in": "loss", "kl_estimator": "k3", "kl_corrected": True, "beta": 0.4}
WAYS = {
    "RLOO, k1 in the reward": ("RLOO", {}),
    "PPO, k1 in the reward": ("RLHFPPO", {}),
    "DPO": ("DPO", PAIRS),
    "Dr. GRPO, corrected k3 in the loss": ("GRPO", {"preset": "dr_grpo", **CORRECTED}),
    "GRPO as in its paper, k3 in the loss": ("GRPO", {"preset": "paper", "beta": 0.4}),
    "GRPO without KL": ("GRPO", {"preset": "paper", "kl_in": "none"}),
}


def regrets(way, seed):
    name, settings = WAYS[way]
    agent = rlsuite.make_agent(f"rlsuite/{name}-v0", TASK, seed=seed, **settings)
    found = []
    for _ in range(LOOKS):
        agent.learn(TOKENS // LOOKS)
        found.append(rlsuite.evaluate(agent, TASK).regret)
    return found


oracle = gym.make(TASK).unwrapped.oracle()
print(f"J* = {oracle.optimal_return:.4f}, J(reference) = {oracle.baseline_return:.4f}")
for way in WAYS:
    curves = np.array([regrets(way, seed) for seed in range(SEEDS)])
    last = curves[:, -1]
    print(f"{way:<38} regret {last.mean():.4f}  ({last.min():.4f} to {last.max():.4f})")
    tokens = TOKENS // LOOKS * np.arange(1, LOOKS + 1)
    plt.semilogy(tokens, curves.mean(axis=0), label=way)
plt.xlabel("tokens (DPO: pairs)")
plt.ylabel("J* - J, exact")
plt.legend(fontsize=8)
plt.savefig("alignment_regret.png", dpi=120)
