"""Tabular learning on one core: environment steps with their updates per second.

The 4 x 12 cliff, ties drawn at random, every episode recorded: the agents as `rlsuite.benchmark`
trains them. The peer is the usual loop of the same algorithm, `gym.make` and a NumPy table, in the
same run. Times are CPU time of the process, so that other programs count little; ours and the peer
take turns, and the medians of the rounds are compared.

Run: python benchmarks/tabular.py [rounds]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import gymnasium as gym  # noqa: E402
import numpy as np  # noqa: E402

import rlsuite  # noqa: E402
from rlsuite.training import TrainingLog  # noqa: E402
from rlsuite.views import AgentView, EpisodeRecorder  # noqa: E402
from rlsuite_envs.tabular.env import TabularEnv  # noqa: E402
from rlsuite_envs.tabular.mdp import TabularMDP  # noqa: E402

CLIFF = "rlsuite/CliffWalk-v0"
ASKED = {"QLearning": 30, "Sarsa": 30, "DoubleQLearning": 30, "ExpectedSarsa": 20}
RATIO = 400
STEPS, USUAL_STEPS = 10_000_000, 30_000
CURVE = tuple(10**k for k in range(2, 8))
CURVE_ACTIONS = 2


def trained_in(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    """As a benchmark hands it to an agent."""
    return AgentView(EpisodeRecorder(env, TrainingLog(), 0))


def rate(work: Callable[[int], Any], steps: int) -> float:
    """Million steps in a second of CPU time."""
    start = time.process_time()
    work(steps)
    return steps / (time.process_time() - start) / 1e6


class Usual:
    """An algorithm as it is usually written: `gym.make`, a NumPy table, random ties."""

    def __init__(self, name: str) -> None:
        self.name, self.env, self.rng = name, gym.make(CLIFF), np.random.default_rng(0)
        sizes = self.env.observation_space.n, self.env.action_space.n  # type: ignore[attr-defined]
        self.q = np.zeros((2, *sizes)) if name == "DoubleQLearning" else np.zeros((1, *sizes))

    def act(self, s: int) -> int:
        """An ε-greedy action, ties drawn evenly."""
        values = self.q[0, s] if len(self.q) == 1 else self.q[:, s].mean(axis=0)
        if self.rng.random() < 0.1:
            return int(self.rng.integers(len(values)))
        return int(self.rng.choice(np.flatnonzero(values == values.max())))

    def learn(self, steps: int) -> None:
        """Takes steps."""
        s, a = int(self.env.reset(seed=0)[0]), None
        for _ in range(steps):
            a = self.act(s) if a is None else a
            s_next, r, terminated, truncated, _ = self.env.step(a)
            k = int(self.rng.integers(len(self.q))) if len(self.q) > 1 else 0
            value, a_next = self.value_of(s_next, k)
            target = r + (0.0 if terminated else value)
            self.q[k, s, a] += 0.5 * (target - self.q[k, s, a])
            s, a = s_next, a_next
            if terminated or truncated:
                s, a = self.env.reset()[0], None

    def value_of(self, s: int, k: int) -> tuple[float, int | None]:
        """What a state is worth to this algorithm, and the action it has drawn, if any."""
        values = self.q[k, s]
        if self.name == "Sarsa":
            a = self.act(s)
            return values[a], a
        if self.name == "ExpectedSarsa":
            best = values == values.max()
            return np.dot(0.9 * best / best.sum() + 0.1 / len(values), values), None
        if self.name == "DoubleQLearning":
            return self.q[1 - k, s, np.argmax(values)], None
        return np.max(values), None


def speeds(rounds: int) -> None:
    agents = {
        name: rlsuite.make_agent(f"rlsuite/{name}-v0", trained_in(gym.make(CLIFF)), seed=0)
        for name in ASKED
    }
    usual = {name: Usual(name) for name in ASKED}
    for agent in agents.values():
        agent.learn(100_000)  # compiles
    ours: dict[str, list[float]] = {name: [] for name in ASKED}
    theirs: dict[str, list[float]] = {name: [] for name in ASKED}
    for _ in range(rounds):
        for name, agent in agents.items():
            theirs[name].append(rate(usual[name].learn, USUAL_STEPS))
            ours[name].append(rate(agent.learn, STEPS))
    print(f"\nMillion steps per second, medians of {rounds} rounds; beside gym.make and NumPy")
    for name, asked in ASKED.items():
        median, peer = statistics.median(ours[name]), statistics.median(theirs[name])
        print(
            f"{name:22} {median:8.1f}  (best {max(ours[name]):.1f}; at least {asked})   "
            f"{peer:8.4f}   {median / peer:6.0f}x  (at least {RATIO}x)"
        )
    seeds = range(64)
    start = time.process_time()
    type(agents["QLearning"]).learn_many(lambda: gym.make(CLIFF), seeds, STEPS // 64)
    spent = time.process_time() - start
    print(f"{'64 seeds in one call':22} {STEPS / spent / 1e6:8.1f}  (with making 64 environments)")


def random_map(n_states: int) -> TabularMDP:
    """A random map: each action of each state leads to a random state, so no cache foresees it."""
    rng = np.random.default_rng(0)
    shape = (n_states, CURVE_ACTIONS, 1)
    start = np.zeros(n_states)
    start[0] = 1.0
    return TabularMDP(
        next_state=rng.integers(n_states, size=shape),
        probability=np.ones(shape),
        reward=rng.random(shape),
        terminal=np.zeros(shape, bool),
        start=start,
    )


def curve() -> None:
    print(
        f"\nQ-learning in a random map of {CURVE_ACTIONS} actions, ε = 1 to meet every state\n"
        f"{'states':>12} {'table, model':>16} {'ns per step':>12}"
    )
    for n_states in CURVE:
        env = trained_in(gym.wrappers.TimeLimit(TabularEnv(random_map(n_states)), 1_000))
        agent = rlsuite.make_agent("rlsuite/QLearning-v0", env, seed=0, epsilon=1.0, gamma=0.9)
        agent.learn(1_000_000)
        rates = [rate(agent.learn, 3_000_000) for _ in range(3)]
        table, model = agent.q.nbytes, n_states * CURVE_ACTIONS * 24
        print(
            f"{n_states:12,} {table / 2**20:6.1f}, {model / 2**20:6.1f} MiB "
            f"{1e3 / statistics.median(rates):12.1f}"
        )


COLD = """
import sys, time, gymnasium as gym, rlsuite
agent = rlsuite.make_agent("rlsuite/{name}-v0", gym.make("rlsuite/CliffWalk-v0"), seed=0)
start, spent = time.perf_counter(), time.process_time()
import numba
if "nowhere" in sys.argv:  # as where no folder for a cache can be written
    numba.core.caching.CacheImpl._locator_classes = []
imported, import_spent = time.perf_counter(), time.process_time()
agent.learn(10_000)
wall, cpu = time.perf_counter() - imported, time.process_time() - import_spent
print(f"{{wall:5.2f}} s ({{cpu:.2f}} s of CPU), after {{imported - start:.2f}} s to import numba")
"""


def compilation() -> None:
    print("\nThe first 10,000 steps of a process")
    with tempfile.TemporaryDirectory() as folder:
        for name in ASKED:
            for label in ("compiled", "found on disk", "nowhere to keep it"):
                done = subprocess.run(
                    [sys.executable, "-c", COLD.format(name=name), label.split()[0]],
                    env={**os.environ, "NUMBA_CACHE_DIR": folder},
                    capture_output=True,
                    text=True,
                )
                print(f"{name:16} {label:20} {(done.stdout or done.stderr).strip()[-300:]}")


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    compilation()
    speeds(rounds)
    curve()


if __name__ == "__main__":
    main()
