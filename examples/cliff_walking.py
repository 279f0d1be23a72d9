"""The cliff: what agents collect while they explore, and what their greedy policies are worth.

Sutton & Barto, Example 6.6, ε = 0.1. Q-learning learns the shortest way, along the edge, and falls
off it while it explores; the others learn what their own exploring policies are worth.
"""

import gymnasium as gym
import matplotlib.pyplot as plt
import numpy as np

from rlsuite.statistics import student_t_interval
from rlsuite.training import TrainingLog
from rlsuite.views import EpisodeRecorder
from rlsuite_agents.tabular.expected_sarsa import ExpectedSarsa
from rlsuite_agents.tabular.q_learning import QLearning
from rlsuite_agents.tabular.sarsa import Sarsa

SEEDS, EPISODES, TASK = 30, 500, "rlsuite/CliffWalk-v0"
LOOKS = range(1_000, 20_001, 500)  # steps
oracle = gym.make(TASK).unwrapped.oracle()


def greedy_return(agent):
    pi = agent.action_probabilities(oracle.observations(), deterministic=True)
    return oracle.policy_return(pi)


def study(agent_type):
    """Returns while learning, [SEEDS, EPISODES], and of greedy policies, [SEEDS, LOOKS]."""
    logs = [TrainingLog() for _ in range(SEEDS)]
    envs = (EpisodeRecorder(gym.make(TASK), log, 0) for log in logs)
    agents = agent_type.learn_many(lambda: next(envs), range(SEEDS), LOOKS.start - LOOKS.step)
    greedy = [[greedy_return(agent.learn(LOOKS.step)) for agent in agents] for _ in LOOKS]
    online = [log.curve().mean[:EPISODES] for log in logs]  # a window is an episode
    return np.array(online), np.array(greedy).T


def draw(axes, x, values, label):
    rows = [student_t_interval(column) for column in values.T]
    mean, low, high = np.array([(row.estimate, row.low, row.high) for row in rows]).T
    axes.plot(x, mean, label=label)
    axes.fill_between(x, low, high, alpha=0.25, linewidth=0)


figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for kind in (QLearning, Sarsa, ExpectedSarsa):
    online, greedy = study(kind)
    tens = online.reshape(SEEDS, -1, 10).mean(axis=2)
    draw(left, np.arange(5, EPISODES, 10), tens, kind.__name__)
    draw(right, np.array(LOOKS) / 1_000, greedy, kind.__name__)
    print(f"{kind.__name__}: {tens[:, -10:].mean():.1f} online, {greedy[:, -1].mean():.1f} greedy")
for axes in (left, right):
    axes.axhline(oracle.optimal_return, color="black", linestyle=":", label="optimal: -13")
left.set(xlabel="episode", ylabel="return while learning", ylim=(-100, 0))
left.legend(title=f"{SEEDS} seeds, bands: 95%", frameon=False, loc="lower right")
right.set(xlabel="steps (thousands)", ylabel="exact greedy return (-200: not at the goal)")
figure.savefig("cliff_walking.png", dpi=120)
