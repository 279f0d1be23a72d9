"""n-step TD on the random walk: error against step size (Sutton & Barto, Figure 7.2)."""

import math
from collections import namedtuple

import gymnasium as gym
import matplotlib.pyplot as plt
import numpy as np

from rlsuite.statistics import student_t_interval
from rlsuite_agents.parts.table_loop import Rules
from rlsuite_agents.tabular import n_step_td

choose, learn_from = n_step_td.act, n_step_td.observe
make_env = lambda: gym.make("rlsuite:rlsuite/RandomWalk-v0")  # noqa: E731
Watched = namedtuple("Watched", "learner errors episode")  # tables of n-step TD, [10], [1]


def observe(x, t, rng):  # learns, and measures after each episode; compiled like an agent's rules
    learn_from(x.learner, t, rng)
    if t.terminated and x.episode[0] < len(x.errors):
        squares = 0.0
        for s in range(1, 20):
            squares += math.pow(x.learner.v[s] - (s / 10 - 1), 2)
        x.errors[x.episode[0]] = math.sqrt(squares / 19)
        x.episode[0] += 1


class WatchedTD(n_step_td.NStepTD):
    rules = Rules(lambda x, s, mask, rng: choose(x.learner, s, mask, rng), observe)
    act = lambda self, s, mask, rng: (choose(self.tables.learner, s, mask, rng), {})  # noqa: E731
    observe = lambda self, t: observe(self.tables, t, self.rng)  # noqa: E731

    def __init__(self, env, config, *, seed):
        super().__init__(env, config, seed=seed)
        self.tables = Watched(self.tables, np.zeros(10), np.zeros(1, np.int64))


alphas = np.linspace(0.06, 1, 16) ** 1.2
plt.figure(figsize=(7, 4), layout="constrained")
for k in range(10):
    rows = []
    for alpha in alphas:
        config = n_step_td.NStepTDConfig(n=2**k, step_size=float(alpha))
        walks = WatchedTD.learn_many(make_env, range(20), 4_000, config)
        rows.append(student_t_interval([walk.tables.errors.mean() for walk in walks]))
    mean, low, high = np.array([(row.estimate, row.low, row.high) for row in rows]).T
    plt.plot(alphas, mean, color=plt.cm.viridis(k / 10), label=f"n = {2**k}")
    plt.fill_between(alphas, low, high, color=plt.cm.viridis(k / 10), alpha=0.2, linewidth=0)
    print(f"n = {2**k:3d}: error {mean.min():.3f} at best, step size {alphas[mean.argmin()]:.2f}")
plt.gca().set(xlabel="step size α", ylabel="RMS error in the first 10 episodes", ylim=(0.2, 0.6))
plt.figlegend(loc="outside center right", title="bands: 95%,\n20 walks", frameon=False)
plt.savefig("n_step_random_walk.png", dpi=120)
