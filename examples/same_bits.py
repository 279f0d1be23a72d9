"""The same suite gives the same bytes, wherever it is run."""

import hashlib

import rlsuite

tables = []
for attempt in ("first", "second"):
    result = rlsuite.benchmark(
        agents={"q": "rlsuite/QLearning-v0", "sarsa": "rlsuite/Sarsa-v0"},
        tasks=["rlsuite/GridWorld-v0", "FrozenLake-v1"],
        seeds=3,
        total_timesteps=3_000,
        store=f"{attempt}.sqlite",
    )
    tables.append(rlsuite.results_table(result.records))
    print(attempt, hashlib.sha256(tables[-1].encode()).hexdigest())
assert tables[0] == tables[1]
