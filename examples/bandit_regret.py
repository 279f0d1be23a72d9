"""Regret is measured while a bandit learns, against the exact best arm, over thousands of runs."""

import rlsuite

result = rlsuite.study(
    "rlsuite/BernoulliBandit-v0",
    policies={
        "Thompson sampling": "rlsuite/ThompsonSampling-v0",
        "UCB1": "rlsuite/UCB1-v0",
        "epsilon-greedy": "rlsuite/EpsilonGreedy-v0",
        "uniform": "rlsuite/Random-v0",
    },
    runs=2_000,
)
print(result)
print(f"Picture: {result.plot('results/bandit_regret.png')}")
