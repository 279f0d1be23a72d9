"""Reward over KL: DPO on few and many pairs, PPO on a learned reward and on gold, best of n."""

import sys

import gymnasium as gym
import matplotlib.pyplot as plt
import numpy as np
import torch

import rlsuite
from rlsuite_agents.functional.preference import dpo_loss

TASK = "rlsuite/TokenGeneration-v0"
BUDGET, LOOKS = (int(n) for n in [*sys.argv[1:], *("8_000", "20")[len(sys.argv) - 1 :]])
GOLD = gym.make(TASK).unwrapped.oracle()  # the budget: pairs that DPO sees, tokens of PPO
BETAS, SIZES = np.geomspace(4, 0.05, 40), [n for n in (500, 2_000, 8_000) if n <= BUDGET]


def stand(agent):
    """What a policy is worth: KL, gold reward, gap to J*; exact."""
    pi = agent.action_probabilities(GOLD.observations(), deterministic=False)
    found = GOLD.policy_metrics(pi)
    return found["kl"], found["expected_reward"], GOLD.optimal_return - GOLD.policy_return(pi)


def trained(name, task, **settings):
    agent = rlsuite.make_agent(f"rlsuite/{name}-v0", task, seed=0, **settings)
    return np.array([stand(agent.learn(BUDGET // LOOKS)) for _ in range(LOOKS)]).T


figure, (plane, gaps, losses) = plt.subplots(1, 3, figsize=(16, 4.5), layout="constrained")
points = GOLD.frontier(BETAS)
plane.plot([p.kl for p in points], [p.expected_reward for p in points], "k", label="frontier")
best = [GOLD.policy_metrics(GOLD.best_of_n_policy(2**k)) for k in range(1, 9)]
plane.plot([b["kl"] for b in best], [b["expected_reward"] for b in best], "s", label="best of n")
for n in SIZES:
    kl, gold, gap = trained("DPO", TASK, n_pairs=n)
    print(f"DPO, {n} pairs: gap at best {gap.min():.3f}, at last {gap[-1]:.3f}; KL {kl[-1]:.2f}")
    plane.plot(kl, gold, ".", label=f"DPO, {n} pairs")
    gaps.plot(np.linspace(BUDGET / LOOKS, BUDGET, LOOKS), gap, label=f"DPO, {n} pairs")
tasks = {f"PPO, {n} pairs": gym.make(TASK, reward="mlp", preferences=n) for n in SIZES}
for label, env in {**tasks, "PPO, gold": TASK}.items():
    kl, gold, gap = trained("RLHFPPO", env)
    print(f"{label}: gap at best {gap.min():.3f}, at last {gap[-1]:.3f}; KL {kl[-1]:.2f}")
    plane.plot(kl[-1], gold[-1], "*", markersize=12, label=label)
h, zero = torch.linspace(-10, 10, 201)[:, None], torch.zeros(1)
for variant, e in {"sigmoid": 0.0, "robust": 0.1, "hinge": 0.0, "ipo": 0.0}.items():
    options = {"variant": variant, "label_smoothing": e, "beta": 0.4}
    losses.plot(h[:, 0], [dpo_loss(margin, zero, zero, zero, **options) for margin in h])
losses.legend(["sigmoid", "robust, e = 0.1", "hinge", "IPO"])
plane.set(xlabel="KL(π ‖ reference), nats", ylabel="expected gold reward")
gaps.set(xlabel="pairs seen", ylabel="J* - J")
losses.set(
    xlabel="margin h = log π/ref (chosen) - log π/ref (rejected)", ylabel="loss", ylim=(-1, 6)
)
plane.legend(fontsize=8)
gaps.legend()
figure.savefig("dpo_frontier.png", dpi=120)
