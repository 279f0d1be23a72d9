"""Learning from somebody's data on a slippery cliff: caution pays, and so may plain imitation.

Writes offline_cliff.png: exact regret against the size of the data, for three policies that made
them; the median over 10 data sets, and from the second to the ninth, which holds the median of all
data sets with probability 0.979 (order statistics). Takes the sizes from the command line.
"""

import sys

import gymnasium as gym
import matplotlib.pyplot as plt
import numpy as np

import rlsuite

SIZES, DATA_SETS = [int(n) for n in sys.argv[1:]] or [50, 150, 500, 1_500, 5_000], 10
OFFLINE, CLONING = "rlsuite/OfflineQLearning-v0", "rlsuite/BehaviourCloning-v0"
AGENTS = {
    "all actions, unseen ones worth 0": (OFFLINE, {"gamma": 0.95, "min_count": 0}),
    "actions in the data": (OFFLINE, {"gamma": 0.95}),
    "actions in the data, penalty 10": (OFFLINE, {"gamma": 0.95, "penalty": 10.0}),
    "behaviour cloning": (CLONING, {}),
}
BEHAVIOURS = {"nearly expert (ε = 0.1)": 0.1, "half random (ε = 0.5)": 0.5, "random": 1.0}

env = gym.make("rlsuite/CliffWalk-v0", slip=0.1)
oracle, states = env.unwrapped.oracle(), np.arange(env.observation_space.n)
expert = rlsuite.make_agent("rlsuite/ValueIteration-v0", env, horizon="none").learn(1_000)


def regret(agent_id, settings, data):
    data.save("cliff.npz")
    agent = rlsuite.make_agent(agent_id, env, data="cliff.npz", **settings).learn(SIZES[-1])
    pi = agent.action_probabilities(states, deterministic=agent_id == OFFLINE)
    return oracle.optimal_return - oracle.policy_return(pi)


figure, panels = plt.subplots(1, 3, figsize=(12, 4.2), sharey=True, layout="constrained")
for axes, (name, epsilon) in zip(panels, BEHAVIOURS.items(), strict=True):
    seeds = range(DATA_SETS)
    logs = [rlsuite.collect(expert, env, steps=SIZES[-1], epsilon=epsilon, seed=k) for k in seeds]
    for label, choice in AGENTS.items():
        found = np.sort([[regret(*choice, log.first(n)) for log in logs] for n in SIZES], axis=1)
        median = np.median(found, axis=1)
        (line,) = axes.plot(SIZES, median, marker="o", label=label)
        axes.fill_between(SIZES, found[:, 1], found[:, -2], color=line.get_color(), alpha=0.2)
        print(f"{name}, {label}: regret {median[0]:.0f} ... {median[-1]:.1f}")
    axes.set(title=f"data: {name}", xscale="log", xlabel="transitions", ylim=(0, 20_000))
    axes.set_yscale("symlog", linthresh=1)
panels[0].set_ylabel("regret, exact (linear below 1)")
figure.legend(
    *panels[0].get_legend_handles_labels(),
    loc="outside lower center",
    ncols=4,
    title=f"medians of {DATA_SETS} data sets, bands: 97.9%",
)
figure.savefig("offline_cliff.png", dpi=150)
