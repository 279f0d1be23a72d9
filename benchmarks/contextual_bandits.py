"""LinUCB on one core: decisions with their updates per second, d = 20 features, K = 10 arms.

Ours in whole compiled runs and one decision at a time; the peers, river, mabwiser and
contextualbandits, online, one decision at a time, as they are used. Rewards are linear with normal
noise, the same for all. Times are CPU time of the process; ours and the peers take turns, and the
medians of the rounds are compared. A peer that is not installed is left out.

Run: pip install 'rlsuite[bench]'; python benchmarks/contextual_bandits.py [rounds]
"""

from __future__ import annotations

import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np  # noqa: E402
from gymnasium.spaces import Box, Discrete  # noqa: E402

from registry.bandit_models import ContextualModel  # noqa: E402
from registry.contracts import Transition  # noqa: E402
from rlsuite_agents.bandits.lints import LinTS  # noqa: E402
from rlsuite_agents.bandits.linucb import LinUCB  # noqa: E402
from rlsuite_agents.parts.spaces import Detached  # noqa: E402

D, K = 20, 10
LONG, SHORT = 100_000, 500
RUN_BAR, RATIO_BAR = 300_000, 50


def problem(rng: np.random.Generator, horizon: int = LONG) -> ContextualModel:
    """Linear payoffs of unit size, noise of half of that."""
    x = rng.standard_normal((horizon, D)).astype(np.float32).astype(np.float64)
    means = x @ rng.standard_normal((D, K)) / D**0.5
    return ContextualModel(
        contexts=x, means=means, rewards=means + 0.5 * rng.standard_normal(means.shape)
    )


SMALL = problem(np.random.default_rng(0), SHORT)


def online(decide: Callable[[Any], int], learn: Callable[[Any, int, float], None]) -> None:
    """Decides and learns, decision by decision."""
    for t, x in enumerate(SMALL.contexts):
        arm = decide(x)
        learn(x, arm, float(SMALL.rewards[t, arm]))


def compiled(cls: Any) -> int:
    """A whole run."""
    cls.run_contextual(lambda _: LARGE, seed=0, runs=range(1))
    return LONG


LARGE = problem(np.random.default_rng(0))


def one_by_one() -> int:
    """Our agent, driven from outside."""
    agent = LinUCB(Detached(Box(-9, 9, (D,), np.float32), Discrete(K)), seed=0)

    def learn(x: Any, arm: int, reward: float) -> None:
        agent.observe(Transition(x, arm, reward, x, False, False))

    online(lambda x: agent.act(x, None, agent.rng)[0], learn)
    return SHORT


def river() -> int:
    """`river.bandit.LinUCBDisjoint`, whose updates work without `burn_in` alone."""
    from river import bandit

    policy = bandit.LinUCBDisjoint(alpha=1.0, seed=0)
    arms = list(range(K))
    rows = [{f"x{j}": value for j, value in enumerate(x)} for x in SMALL.contexts.tolist()]
    for t, row in enumerate(rows):
        arm = policy.pull(arms, context=row)
        policy.update(arm, row, float(SMALL.rewards[t, arm]))
    return SHORT


def mabwiser() -> int:
    """`mabwiser`, `LearningPolicy.LinUCB`."""
    from mabwiser.mab import MAB, LearningPolicy

    policy = MAB(list(range(K)), LearningPolicy.LinUCB(alpha=1.0))
    policy.fit([0], [0.0], [[0.0] * D])
    online(
        lambda x: int(policy.predict([x])),
        lambda x, arm, reward: policy.partial_fit([arm], [reward], [x]),
    )
    return SHORT


def contextualbandits() -> int:
    """`contextualbandits.online.LinUCB`."""
    from contextualbandits.online import LinUCB as Theirs

    policy = Theirs(K, alpha=1.0, random_state=1)
    online(
        lambda x: int(policy.predict(x[None])[0]),
        lambda x, arm, reward: policy.partial_fit(x[None], np.array([arm]), np.array([reward])),
    )
    return SHORT


def rate(work: Callable[[], int]) -> float:
    """Decisions in a second of CPU time."""
    start = time.process_time()
    return work() / (time.process_time() - start)


def main() -> None:
    """Prints a line for each, and the two ratios that are asked for."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    warnings.simplefilter("ignore")
    rows: dict[str, Callable[[], int]] = {
        "ours, LinUCB compiled": lambda: compiled(LinUCB),
        "ours, LinTS compiled": lambda: compiled(LinTS),
        "ours, LinUCB one by one": one_by_one,
    }
    for peer in (river, mabwiser, contextualbandits):
        try:
            peer()
        except ImportError as error:
            print(f"{peer.__name__} is left out: {error}")
        else:
            rows[peer.__name__] = peer
    for work in list(rows.values())[:3]:
        work()  # compiles
    found: dict[str, list[float]] = {row: [] for row in rows}
    for _ in range(rounds):
        for row, work in rows.items():
            found[row].append(rate(work))
    medians = {row: statistics.median(rates) for row, rates in found.items()}
    for row, median in medians.items():
        print(f"{row:26s} {median:12,.0f} decisions/s")
    ours, peers = medians["ours, LinUCB compiled"], list(medians.values())[3:]
    print(f"at least {RUN_BAR:,} decisions/s: {'yes' if ours >= RUN_BAR else 'NO'}")
    if peers:
        ratio = ours / max(peers)
        print(f"{ratio:.0f} times the fastest peer, asked {RATIO_BAR}: {ratio >= RATIO_BAR}")


if __name__ == "__main__":
    main()
