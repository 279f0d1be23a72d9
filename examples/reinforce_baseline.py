"""REINFORCE's gradient has less variance with a baseline: measured at policies that stand still."""

import math
import sys
from dataclasses import replace

import gymnasium as gym
import matplotlib.pyplot as plt
import numpy as np

from rlsuite_agents.deep.reinforce import Reinforce, ReinforceConfig
from rlsuite_agents.functional.returns import mean_of_others
from rlsuite_agents.parts.actor_critic import LossSettings

STAGES = {"rlsuite:rlsuite/GridWorld-v0": (0, 2_000, 8_000), "CartPole-v1": (0, 2_000, 5_000)}
CONFIG, N = ReinforceConfig(episodes_per_update=8), int([*sys.argv, 100][1])  # N batches
POLICY, VALUES = (LossSettings(math.inf, math.inf, 0.0, weight, False) for weight in (0.0, 0.5))


def gradient(agent, e, baseline, loss):
    weighed = replace(e, advantages=(e.returns - baseline).astype(np.float32))
    agent.networks.gradient(weighed, np.arange(len(e)), loss)
    return agent.networks.parameters.gradient.astype(np.float64)


def experience(agent):  # a batch of the policy as it is: nothing is learned
    while not agent.rollout.full:
        agent.collector.step(agent.networks, agent.rng, 0)
    batch = agent.rollout.take()
    e = agent.experience(batch)
    known = {"none": 0.0, "mean": mean_of_others(e.returns, batch.lengths), "value": e.values}
    if hasattr(agent.env.unwrapped, "oracle"):  # by dynamic programming
        oracle = agent.env.unwrapped.oracle(gamma=CONFIG.gamma, limit=False)
        pi = agent.action_probabilities(oracle.observations(), deterministic=False)
        known["exact"] = np.nan_to_num(oracle.policy_values(pi))[e.features.argmax(axis=1)]
    return e, known


figure, panels = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
for axes, (task, stages) in zip(panels, STAGES.items(), strict=True):
    for x, steps in enumerate(stages):
        agent = Reinforce(gym.make(task), CONFIG, seed=0).learn(steps)
        for _ in range(30):  # v̂ learns what this policy earns, and the policy nothing
            for e in [experience(agent)[0]] * 20:
                gradient(agent, e, e.returns, VALUES)
                agent.optimizer.step(0.01)
        found = [
            {k: gradient(agent, e, b, POLICY) for k, b in known.items()}
            for e, known in (experience(agent) for _ in range(N))
        ]
        variance = {k: np.var([g[k] for g in found], axis=0, ddof=1).sum() for k in found[0]}
        print(task, f"after {steps:,} steps:", {k: float(f"{v:.3g}") for k, v in variance.items()})
        for k, value in enumerate(variance.values()):
            axes.bar(x + k / 5, value / variance["none"], 0.2, color=f"C{k}")
    axes.set_xticks([0.3, 1.3, 2.3], [f"{steps:,}" for steps in stages])
    axes.set(title=task.split(":")[-1], xlabel="steps the policy had learned for")
    axes.set(ylabel="variance of the gradient / none", yscale="log", ylim=(1e-3, 9))
    axes.legend(list(variance), ncols=4, fontsize=8, title="baseline", title_fontsize=8)
figure.savefig("reinforce_baseline.png", dpi=120)
