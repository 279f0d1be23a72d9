"""Regret is measured while a bandit learns, against the exact best arm."""

import rlsuite

result = rlsuite.benchmark(
    agents={
        "Thompson sampling": "rlsuite/ThompsonSampling-v0",
        "UCB1": "rlsuite/UCB1-v0",
        "epsilon-greedy": "rlsuite/EpsilonGreedy-v0",
        "uniform": "rlsuite/Random-v0",
    },
    tasks=["rlsuite/BernoulliBandit-v0"],
    seeds=20,
)
print(result)

by_agent = {}
for record in result.records:
    by_agent.setdefault(record.agent, []).append(record.regret)
for agent, regrets in by_agent.items():
    print(f"{agent:18s} mean pseudo-regret after 500 pulls: {sum(regrets) / len(regrets):6.1f}")
