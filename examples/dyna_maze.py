"""What planning is good for: Sutton & Barto's Figures 8.2, 8.4 and 8.5, with 95% intervals.

Writes dyna_maze.png from 5 runs for each curve, or from as many as the command line says.
"""

import sys

import gymnasium as gym
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import t

import rlsuite

RUNS = int(sys.argv[1]) if len(sys.argv) > 1 else 5


class Rewards(gym.Wrapper):
    """Keeps what each step of a run has paid."""

    def step(self, action):
        result = self.env.step(action)
        self.seen.append(result[1])
        return result


def run(agent, variant, seed, steps=100_000, goals=np.inf, **settings):
    env = Rewards(gym.make("rlsuite/DynaMaze-v0", variant=variant, max_episode_steps=100_000))
    env.seen = []
    learner = rlsuite.make_agent(f"rlsuite/{agent}-v0", env, seed=seed, gamma=0.95, **settings)
    learner.learn(steps, callback=lambda _: env.seen[-1] == 0 or sum(env.seen) < goals)
    return np.array(env.seen)


def draw(axes, x, runs, label):
    mean, error = np.mean(runs, axis=0), np.std(runs, axis=0, ddof=1) / np.sqrt(RUNS)
    error *= t.ppf(0.975, RUNS - 1)
    axes.plot(x, mean, label=label)
    axes.fill_between(x, mean - error, mean + error, alpha=0.2)
    axes.legend(title=f"bands: 95%, {RUNS} runs")
    print(f"{axes.get_title()}: {label:18s} ends at {mean[-1]:5.1f} ± {error[-1]:.1f}")


figure, panels = plt.subplots(1, 3, figsize=(14, 4.2), layout="constrained")
panels[0].set(title="steady maze", xlabel="episode", ylabel="steps per episode", ylim=(0, 800))
for n in (0, 5, 50):
    runs = [run("DynaQ", "dyna", k, goals=50, planning_steps=n, step_size=0.1) for k in range(RUNS)]
    lengths = np.array([np.diff(np.flatnonzero(rewards)) for rewards in runs])
    draw(panels[0], np.arange(2, 51), lengths, f"{n} planning steps")
for axes, variant, steps in zip(panels[1:], ("blocking", "shortcut"), (3000, 6000), strict=True):
    axes.set(title=f"{variant} maze", xlabel="step", ylabel="goals reached so far")
    axes.axvline({3000: 1000, 6000: 3000}[steps], color="grey", ls=":", label="the maze changes")
    for agent, label in (("DynaQ", "Dyna-Q"), ("DynaQPlus", "Dyna-Q+")):
        runs = [run(agent, variant, k, steps, step_size=1.0) for k in range(RUNS)]
        draw(axes, np.arange(steps), np.cumsum(runs, axis=1), label)
figure.savefig("dyna_maze.png", dpi=150)
