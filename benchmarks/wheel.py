"""Regret on the wheel bandit in percent of uniform play, beside the published NeuralLinear.

    python benchmarks/wheel.py              # 50 trials of 80,000 decisions, 5 deltas
    python benchmarks/wheel.py --trials 5   # the same in a tenth of the time

No policy is told the geometry: all see the two coordinates and learn which of the five arms pays.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor

import gymnasium as gym
import numpy as np

import rlsuite  # noqa: F401  (registers the environment)
from registry.catalogue import registry

DELTAS = (0.5, 0.7, 0.9, 0.95, 0.99)
PUBLISHED = ((0.95, 0.02), (1.60, 0.03), (4.65, 0.18), (9.56, 0.36), (49.63, 2.41))
"""NeuralLinear, 50 trials, mean and standard error (Ravi & Beatson, ICLR 2019, table 1)."""

POLICIES = (
    ("LinTS", "rlsuite/LinTS-v0", {}),
    ("LinTS, b₀ = 600", "rlsuite/LinTS-v0", {"prior_rate": 600.0}),
    ("LinTS, known noise, v = 5", "rlsuite/LinTS-v0", {"noise": "known", "v": 5.0}),
    ("LinUCB, α = 5", "rlsuite/LinUCB-v0", {"alpha": 5.0}),
    ("SquareCB", "rlsuite/SquareCB-v0", {}),
)


def percent_of_uniform(identifier: str, settings: dict, delta: float, trials: int, horizon: int):
    """Pseudo-regret of each trial over that of uniform play, times 100: [trials]."""
    env = gym.make("rlsuite/WheelBandit-v0", delta=delta, horizon=horizon).unwrapped
    policy = registry.agent_spec(identifier).load()
    config = policy.config_type(**settings)
    block = policy.run_contextual(env.contextual_model, seed=0, runs=range(trials), config=config)
    uniform = 0.16 * delta**2 + 39.16 * (1.0 - delta**2)
    return 100.0 * block.regret_at[:, -1] / (uniform * horizon)


def cell(mean: float, error: float, median: float | None = None) -> str:
    """One entry of the table."""
    text = f"{mean:.2f} ± {error:.2f}"
    return text if median is None else f"{text} ({median:.2f})"


def main() -> None:
    """Prints the table in Markdown: mean ± standard error (median)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--horizon", type=int, default=80_000)
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    start = time.perf_counter()
    print("| policy | " + " | ".join(f"δ = {delta}" for delta in DELTAS) + " |")
    print("| --- |" + " --- |" * len(DELTAS))
    print("| NeuralLinear, published | " + " | ".join(cell(*p) for p in PUBLISHED) + " |")
    with ProcessPoolExecutor(given.workers) as pool:
        for name, identifier, settings in POLICIES:
            jobs = [
                pool.submit(
                    percent_of_uniform, identifier, settings, delta, given.trials, given.horizon
                )
                for delta in DELTAS
            ]
            row = []
            for job in jobs:
                x = job.result()
                row.append(cell(x.mean(), x.std(ddof=1) / np.sqrt(len(x)), np.median(x)))
            print(f"| {name} | " + " | ".join(row) + " |", flush=True)
    seconds = time.perf_counter() - start
    print(f"\n{given.trials} trials of {given.horizon:,} decisions, {seconds:.0f} s")


if __name__ == "__main__":
    main()
