"""Goodhart's law without noise: the gold reward of texts that are optimal for a learned one.

A reward model is fitted to preferences sampled by gold; for many β the policy that is optimal for
it is computed exactly, with its learned reward, its gold reward and its KL divergence. Nothing is
sampled after the fit. Gao, Schulman & Hilton (2023) drew such curves from PPO and best-of-n.
"""

import itertools

import gymnasium as gym
import matplotlib.pyplot as plt
import numpy as np

import rlsuite  # noqa: F401  (registers the environments)
from rlsuite_envs.tokens.proxies import fit_reward

TASK, PAIRS = "rlsuite/TokenGeneration-v0", 2_000
BETAS = np.geomspace(10, 0.02, 40)
NAMES = ("linear", "learned", "mlp", "tabular")
LABELS = ("letters by position", "and pairs of letters", "a network", "a table of texts")
rng = np.random.default_rng(0)
words = ["".join(word) for n in range(5) for word in itertools.product("abcdef", repeat=n)]
GOLDS = {
    "gold: positions and pairs of letters": {},
    "gold: a random number for each text": {
        "reward": dict(zip(words, rng.normal(size=len(words)).tolist(), strict=True)),
        "max_new_tokens": 4,
    },
}


def optimal_for(task, gold):
    """KL, reward of the task and gold reward of its optimal policies, each [len(BETAS)]."""
    policies = [task.oracle(beta=beta).optimal_policy() for beta in BETAS]
    found = [task.oracle().policy_metrics(pi) for pi in policies]
    worth = [gold.policy_metrics(pi)["expected_reward"] for pi in policies]
    return [f["kl"] for f in found], [f["expected_reward"] for f in found], worth


figure, panels = plt.subplots(1, 2, figsize=(12, 4), layout="constrained")
for axes, (title, keywords) in zip(panels, GOLDS.items(), strict=True):
    task = gym.make(TASK, **keywords).unwrapped
    kl, best, _ = optimal_for(task, task.oracle())
    axes.plot(kl, best, color="black", label="gold itself: the frontier")
    pairs = task.preferences(PAIRS, rng=np.random.default_rng(1), source="reward")
    for name, label in zip(NAMES, LABELS, strict=True):
        proxy = fit_reward(name, pairs, task.world.shape)
        learned = gym.make(TASK, **{**keywords, "reward": proxy}).unwrapped
        kl, promised, worth = optimal_for(learned, task.oracle())
        axes.plot(kl, worth, label=label)
        top = int(np.argmax(worth))
        print(
            f"{title}; {label:<20} gold at most {worth[top]:5.2f} at KL {kl[top]:5.2f}, at last "
            f"{worth[-1]:5.2f} at KL {kl[-1]:5.2f}, where it promises {promised[-1]:5.2f}"
        )
    axes.set(title=title, xlabel="KL from the reference policy (nats)", ylabel="gold reward")
lines, labels = panels[0].get_legend_handles_labels()
figure.legend(lines, labels, title="optimal for", loc="outside right center", frameon=False)
figure.savefig("goodhart.png", dpi=120)
