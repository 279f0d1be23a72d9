"""Bandit policies on one core: ours and those of river, mabwiser and contextualbandits.

    pip install 'rlsuite[bench]'    # brings river, mabwiser and contextualbandits
    python benchmarks/bandits.py

Ten Bernoulli arms; a decision and the update after it. Ours are whole compiled runs of 10,000 steps
(to seed a run takes 0.03 ms, which shorter ones feel); the others have no such thing and are asked
one decision at a time, as their manuals show. contextualbandits has no policies without contexts:
it is given a constant one, where it has a policy of the kind.
Every library is timed in turn, three times over, in CPU time; the best of three counts.

The second table is a study: 20,000 runs of 500 steps on five arms for each policy, with the time
that the first call of a policy takes in a process (to compile, or to find compiled code on disk).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import rlsuite  # noqa: F401  (registers the agents)
from registry.bandit_models import BanditModel
from registry.catalogue import registry

TEN = np.linspace(0.05, 0.95, 10)
LONG = 10_000
FIVE = np.array([0.1, 0.3, 0.5, 0.7, 0.9])


def model(means: Any, horizon: int) -> BanditModel:
    """Bernoulli arms."""
    sd = np.zeros(len(means))
    return BanditModel(kind="bernoulli", means=means[None], sd=sd, horizon=horizon)


def ours(name: str) -> Callable[[int], None]:
    """Runs of `LONG` steps."""
    policy = registry.agent_spec(f"rlsuite/{name}-v0").load()
    problem = model(TEN, LONG)
    policy.run_bandits(problem, seed=0, runs=range(1))

    def play(steps: int) -> None:
        policy.run_bandits(problem, seed=0, runs=range(steps // LONG))

    return play


def river(name: str) -> Callable[[int], None]:
    """One decision at a time."""
    from river import bandit, proba

    make = {
        "UCB1": lambda: bandit.UCB(delta=2.0, seed=0),
        "EpsilonGreedy": lambda: bandit.EpsilonGreedy(epsilon=0.1, seed=0),
        "ThompsonSampling": lambda: bandit.ThompsonSampling(reward_obj=proba.Beta(), seed=0),
    }

    def play(steps: int) -> None:
        policy, luck = make[name](), np.random.default_rng(0).random(steps).tolist()
        arms, means = list(range(10)), TEN.tolist()
        for u in luck:
            arm = policy.pull(arms)
            policy.update(arm, float(u < means[arm]))

    return play


def mabwiser(name: str) -> Callable[[int], None]:
    """One decision at a time."""
    from mabwiser.mab import MAB, LearningPolicy

    kinds = {
        "UCB1": LearningPolicy.UCB1(alpha=1.0),
        "EpsilonGreedy": LearningPolicy.EpsilonGreedy(epsilon=0.1),
        "ThompsonSampling": LearningPolicy.ThompsonSampling(),
    }

    def play(steps: int) -> None:
        policy = MAB(list(range(10)), kinds[name], seed=0)
        policy.fit(list(range(10)), [0] * 10)
        for u in np.random.default_rng(0).random(steps).tolist():
            arm = policy.predict()
            policy.partial_fit([arm], [int(u < TEN[arm])])

    return play


def contextualbandits(name: str) -> Callable[[int], None]:
    """One decision at a time, with a constant context."""
    from contextualbandits.linreg import LinearRegression
    from contextualbandits.online import EpsilonGreedy, LinTS, LinUCB

    base = LinearRegression(lambda_=1.0, fit_intercept=False)
    make = {
        "UCB1": lambda: LinUCB(nchoices=10, alpha=1.0, fit_intercept=False, random_state=1),
        "EpsilonGreedy": lambda: EpsilonGreedy(
            base, nchoices=10, explore_prob=0.1, batch_train=True, random_state=1
        ),
        "ThompsonSampling": lambda: LinTS(nchoices=10, fit_intercept=False, random_state=1),
    }

    def play(steps: int) -> None:
        policy, x = make[name](), np.ones((1, 1))
        for a in range(10):
            policy.partial_fit(x, np.array([a]), np.array([0.0]))
        for u in np.random.default_rng(0).random(steps).tolist():
            arm = int(policy.predict(x)[0])
            policy.partial_fit(x, np.array([arm]), np.array([float(u < TEN[arm])]))

    return play


def rate(play: Callable[[int], None], steps: int) -> float:
    """Decisions per second of CPU time."""
    begin = time.process_time()
    play(steps)
    return steps / (time.process_time() - begin)


def decisions(scale: float) -> None:
    """Decisions per second, ours and the others'."""
    peers = {
        "river": (river, 10_000),
        "mabwiser": (mabwiser, 10_000),
        "contextualbandits": (contextualbandits, 1_000),  # the slowest by far
    }
    print("| policy | ours | " + " | ".join(peers) + " | ours / fastest peer |")
    print("| --- | --- | " + "--- | " * len(peers) + "--- |")
    for name in ("UCB1", "EpsilonGreedy", "ThompsonSampling"):
        plays = {"ours": (ours(name), max(int(100 * scale), 1) * LONG)}
        plays |= {peer: (make(name), int(n * scale)) for peer, (make, n) in peers.items()}
        best = dict.fromkeys(plays, 0.0)
        for _ in range(3):
            for who, (play, steps) in plays.items():
                best[who] = max(best[who], rate(play, steps))
        fastest = max(speed for who, speed in best.items() if who != "ours")
        cells = " | ".join(f"{best[who]:,.0f}" for who in best)
        print(f"| {name} | {cells} | {best['ours'] / fastest:.0f} |", flush=True)


def study(runs: int) -> None:
    """Runs of every policy on five arms."""
    print(f"\n| policy | CPU seconds, {runs:,} runs of 500 | first call | mean regret ± 95 % |")
    print("| --- | --- | --- | --- |")
    for entry in registry.entries("agent"):
        policy = entry.load() if "rlsuite_agents.bandits" in entry.entry_point else None
        if policy is None or not hasattr(policy, "run_bandits"):
            continue
        problem, begin = model(FIVE, 500), time.process_time()
        policy.run_bandits(problem, seed=0, runs=range(1))
        first, begin = time.process_time() - begin, time.process_time()
        block = policy.run_bandits(problem, seed=0, runs=range(runs))
        spent, regret = time.process_time() - begin, block.regret_at[:, -1]
        error = 1.96 * regret.std() / np.sqrt(runs)
        line = f"{spent:.2f} | {first:.1f} s | {regret.mean():.2f} ± {error:.2f}"
        print(f"| {policy.__name__} | {line} |", flush=True)


def main() -> None:
    """Both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--scale", type=float, default=1.0, help="of the first table's steps")
    parser.add_argument("--runs", type=int, default=20_000, help="of the second table; 0: none")
    settings = parser.parse_args()
    decisions(settings.scale)
    if settings.runs:
        study(settings.runs)


if __name__ == "__main__":
    main()
