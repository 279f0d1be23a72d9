"""Six ways to align a policy: exact regret, and distance from what each of them claims."""

import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor

import gymnasium as gym
import matplotlib.pyplot as plt
import numpy as np

import rlsuite

TASK = "rlsuite/TokenGeneration-v0"
SEEDS, TOKENS, LOOKS = map(int, [*sys.argv[1:], *("1", "12_000", "12")[len(sys.argv) - 1 :]])
ORACLE, FREE = (gym.make(TASK).unwrapped.oracle(beta=beta) for beta in (0.4, 0.0))
DR = {"scale_advantage": "none", "aggregate": "constant", "kl_corrected": True}
WAYS = {
    "RLOO, k1 in the reward": ("RLOO", {}),
    "PPO, k1 in the reward": ("RLHFPPO", {}),
    "DPO": ("DPO", {"n_pairs": TOKENS, "learning_rate": "lin_0.003"}),
    "Dr. GRPO, corrected k3 in the loss": ("GRPO", {"preset": "paper", "beta": 0.4} | DR),
    "GRPO, k3 in the loss": ("GRPO", {"preset": "paper", "beta": 0.4}),
    "GRPO without KL": ("GRPO", {"preset": "paper", "kl_in": "none"}),
}


def claimed(way, pi):
    """How far π is from the optimum of what the algorithm claims."""
    if "k3" in way:
        goal = ORACLE.grpo_policy(group_size=8, **DR if "Dr." in way else {})
        return ORACLE.text_divergence(pi, goal)
    task = FREE if "without" in way else ORACLE
    return ORACLE.dpo_excess(pi) if way == "DPO" else task.optimal_return - task.policy_return(pi)


def train(way, seed):
    """Regret at each look, at last the distance from the claim, in percent of the reference's."""
    name, settings = WAYS[way]
    settings = {"learning_rate": "lin_0.01", "total_timesteps": TOKENS} | settings
    agent = rlsuite.make_agent(f"rlsuite/{name}-v0", TASK, seed=seed, **settings)
    regrets = [rlsuite.evaluate(agent.learn(TOKENS // LOOKS), TASK).regret for _ in range(LOOKS)]
    pi = agent.action_probabilities(ORACLE.observations(), deterministic=False)
    start, most = (claimed(what, ORACLE.reference_policy()) for what in ("regret", way))
    return 100 * np.array([*np.divide(regrets, start), claimed(way, pi) / most])


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that train
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        runs = {way: [pool.submit(train, way, seed) for seed in range(SEEDS)] for way in WAYS}
        for way, futures in runs.items():
            *curves, claims = np.transpose([run.result() for run in futures])
            plt.semilogy(np.linspace(TOKENS / LOOKS, TOKENS, LOOKS), np.mean(curves, 1), label=way)
            ends = (f"{x.mean():6.2f} ({x.min():.2f}-{x.max():.2f})" for x in (curves[-1], claims))
            print(f"{way:<35}", *ends, flush=True)
    plt.gca().set(xlabel="tokens (DPO: pairs)", ylabel="J* - J, % of J* - J(reference)")
    plt.figlegend(fontsize=8, loc="upper center", ncols=2)
    plt.savefig("alignment_regret.png", dpi=120)
