"""Two rewards, one made louder and louder: GRPO follows the loud one, GDPO listens to both."""

import sys

import gymnasium as gym
import matplotlib.pyplot as plt
import numpy as np
import torch

import rlsuite
from rlsuite_agents.functional.preference import (
    decoupled_group_advantages,
    group_relative_advantages,
)

TASK = "rlsuite/TwoVerifiers-v0"
SEEDS, TOKENS = (int(n) for n in [*sys.argv[1:], *("1", "8_000")[len(sys.argv) - 1 :]])
SCALES, GROUP, BETA = (1.0, 2.0, 4.0, 10.0, 30.0, 100.0), 8, 0.04
EASY, HARD = (gym.make(TASK, reward_scales=s).unwrapped.oracle(beta=0) for s in ([1, 0], [0, 1]))


def levels(scores):
    """Distinct advantages in a group of eight, in the mean: of the sum, and of GDPO."""
    scores = torch.from_numpy(scores)
    summed = group_relative_advantages(scores.sum(1), GROUP)
    apart = decoupled_group_advantages(scores, GROUP, whiten="none")
    groups = (a.reshape(-1, GROUP).numpy().round(4) for a in (summed, apart))
    return [np.mean([len(np.unique(group)) for group in of]) for of in groups]


def success(name, scale, seed):
    """P(three letters), and how many of three continue the alphabet; both in [0, 1], exact."""
    env = gym.make(TASK, reward_scales=[scale, 1.0])
    settings = {"preset": "paper", "beta": BETA, "group_size": GROUP}
    agent = rlsuite.make_agent(f"rlsuite/{name}-v0", env, seed=seed, **settings).learn(TOKENS)
    pi = agent.action_probabilities(EASY.observations(), deterministic=False)
    return EASY.policy_return(pi), (HARD.policy_return(pi) + 3) / 6


figure, panels = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
for scale in SCALES:
    env = gym.make(TASK, reward_scales=[scale, 1.0]).unwrapped
    rng = np.random.default_rng(0)
    texts = env.rollout(env.reference_model, 250 * GROUP, rng=rng, group_size=GROUP)
    summed, apart = levels(texts.scores)
    print(f"format x {scale:g}: {summed:.2f} distinct advantages in a group, GDPO {apart:.2f}")
for name in ("GRPO", "GDPO"):
    runs = [[success(name, scale, seed) for seed in range(SEEDS)] for scale in SCALES]
    found = np.array(runs)  # [scale, seed, reward]
    for panel, what, values in zip(panels, ("format", "continuation"), found.T, strict=True):
        line = panel.semilogx(SCALES, values.mean(0), "o-", label=name)[0]
        panel.fill_between(SCALES, values.min(0), values.max(0), alpha=0.2, color=line.get_color())
        panel.set(title=what, xlabel="scale of the format reward", ylabel="success", ylim=(0, 1.02))
        told = ", ".join(f"{v:.2f}" for v in values.mean(0))
        print(f"{name}, {what} at scales 1 to 100: {told}")
panels[0].legend()
figure.savefig("gdpo.png", dpi=120)
