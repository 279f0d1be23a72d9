"""Maximisation bias: Q-learning takes luck for value, Double Q-learning does not (Figure 6.5).

In A, "right" ends the episode with 0; "left" leads to B, whose ten actions pay N(-0.1, 1). Left is
a mistake, but the largest of ten noisy values stays above 0 for long. Gaussian rewards fit no
finite table, so that this is an environment of its own, in the plain loop.
"""

import gymnasium as gym
import matplotlib.pyplot as plt
import numpy as np

import rlsuite
from rlsuite.statistics import wilson_interval

A, B, RIGHT, LEFT, EPISODES, RUNS = 0, 1, 0, 1, 300, 300
MASKS = np.arange(10) < [[2], [10]]  # of A and of B
EPISODE = np.arange(EPISODES) + 1


class TwoWays(gym.Env):
    observation_space, action_space = gym.spaces.Discrete(2), gym.spaces.Discrete(10)

    def __init__(self):
        self.went_left = []  # one entry an episode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = A
        return A, {"action_mask": MASKS[A]}

    def step(self, action):
        reward, over = 0.0, self.state == B or action == RIGHT
        if self.state == A:
            self.went_left.append(action == LEFT)
        else:
            reward = self.np_random.normal(-0.1, 1.0)
        self.state = B
        return B, reward, over, False, {"action_mask": MASKS[B]}


def lefts(agent, seed):
    env = TwoWays()
    learner = rlsuite.make_agent(agent, env, seed=seed, step_size=0.1)  # ε is 0.1
    learner.learn(2 * EPISODES, callback=lambda _: len(env.went_left) < EPISODES)
    return env.went_left


plt.figure(figsize=(7, 4), layout="constrained")
for name, agent in (("Q-learning", "QLearning"), ("Double Q-learning", "DoubleQLearning")):
    left = np.mean([lefts(f"rlsuite/{agent}-v0", seed) for seed in range(RUNS)], axis=0)
    rows = [wilson_interval(round(p * RUNS), RUNS) for p in left]
    plt.plot(EPISODE, 100 * left, label=name)
    low, high = 100 * np.array([(row.low, row.high) for row in rows]).T
    plt.fill_between(EPISODE, low, high, alpha=0.25, linewidth=0)
    print(f"{name}: {100 * left.max():.0f}% at most, {100 * left[-50:].mean():.0f}% at last")
plt.axhline(5, color="black", linestyle=":", label="optimal: 5%, ε / 2")
plt.gca().set(xlabel="episode", ylabel="runs that go left from A (%)", ylim=(0, 100))
plt.legend(title=f"{RUNS} runs, bands: 95%", frameon=False)
plt.savefig("maximisation_bias.png", dpi=120)
