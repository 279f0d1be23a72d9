"""Speed of the native vector environments: one core, through the public `step`, everything on.

Validation of the actions, fresh arrays, infos and masks are on. Only real steps count, not those
that reset a sub-environment; in `Disabled` the time of the masked resets is in. Times are CPU time
of the process, all its threads, so that other programs do not count. Ours and the peer take turns,
and the medians of the rounds are compared.

Run: python benchmarks/vector_envs.py [rounds]
EnvPool is compared with where it is installed: pip install 'rlsuite[bench]'
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import gymnasium as gym  # noqa: E402
import numpy as np  # noqa: E402

import rlsuite  # noqa: E402
from rlsuite_envs.vector.tabular import TabularVectorEnv  # noqa: E402

N = 1024
MODES = ("NextStep", "SameStep", "Disabled")
BATCHES = 64
SECONDS = 0.25
CURVE = tuple(2**k for k in range(14))

Make = Callable[[int, str], Any]


def native(identifier: str, **keywords: Any) -> Make:
    return lambda n, mode: rlsuite.make_vec(identifier, n, autoreset_mode=mode, **keywords)


def toy_text(identifier: str) -> Make:
    return lambda n, mode: TabularVectorEnv.from_gymnasium(identifier, n, autoreset_mode=mode)


def sync(identifier: str) -> Make:
    way = {"vectorization_mode": "sync"}
    return lambda n, mode: rlsuite.make_vec(identifier, n, autoreset_mode=mode, **way)


TABLES: dict[str, tuple[Make, float]] = {
    "GridWorld": (native("rlsuite/GridWorld-v0"), 40),
    "CliffWalk": (native("rlsuite/CliffWalk-v0"), 40),
    "CliffWalking-v1": (toy_text("CliffWalking-v1"), 40),
    "GridWorld, slip 0.2": (native("rlsuite/GridWorld-v0", slip=0.2), 20),
    "CliffWalk, slip 0.2": (native("rlsuite/CliffWalk-v0", slip=0.2), 20),
    "FrozenLake-v1": (toy_text("FrozenLake-v1"), 20),
    "Taxi-v4 (masks)": (toy_text("Taxi-v4"), 8),
}
OTHERS: dict[str, tuple[Make, float]] = {
    "BernoulliBandit": (native("rlsuite/BernoulliBandit-v0"), 20),
    "ContextualBandit": (native("rlsuite/ContextualBandit-v0"), 2),
    "TokenGeneration": (native("rlsuite/TokenGeneration-v0"), 0),
}


class Runner:
    """An environment with its actions; `seconds()` times `steps` calls of `step`."""

    def __init__(self, envs: Any, n_actions: int, disabled: bool) -> None:
        self.envs, self.disabled = envs, disabled
        rng = np.random.default_rng(0)
        self.actions = list(rng.integers(n_actions, size=(BATCHES, envs.num_envs)))
        envs.reset(seed=0)
        self.steps = BATCHES
        self.seconds()  # compiles, and fills the caches
        # as many steps as take about SECONDS
        self.steps = max(4, int(SECONDS / (self.seconds() / BATCHES)))

    def seconds(self) -> float:
        """CPU seconds of `steps` calls."""
        step, actions = self.envs.step, self.actions
        start = time.process_time()
        for t in range(self.steps):
            result = step(actions[t % BATCHES])
            if self.disabled:
                over = result[2] | result[3]
                if over.any():
                    self.envs.reset(options={"reset_mask": over})
        return time.process_time() - start

    def rate(self) -> float:
        """Steps of sub-environments in a second, resets counted in."""
        return self.steps * len(self.actions[0]) / self.seconds()

    def real(self) -> float:
        """Which part of the steps were no resets: under `NextStep` the step after an end is one."""
        if self.envs.metadata["autoreset_mode"] is not gym.vector.AutoresetMode.NEXT_STEP:
            return 1.0
        ended = total = 0
        for actions in self.actions * 10:
            result = self.envs.step(actions)
            ended += int(np.count_nonzero(result[2] | result[3]))
            total += len(actions)
        return 1.0 - ended / total


def runner(make: Make, n: int, mode: str) -> Runner:
    envs = make(n, mode)
    return Runner(envs, int(envs.single_action_space.n), mode == "Disabled")


def million(rates: Sequence[float]) -> float:
    return statistics.median(rates) / 1e6


def table_of_modes(rounds: int) -> None:
    print(f"\nMillion steps per second, n = {N}, medians of {rounds} rounds")
    print(f"{'':24}{'NextStep':>10}{'SameStep':>10}{'Disabled':>10}   asked of NextStep (all: 8)")
    for label, (make, asked) in {**TABLES, **OTHERS}.items():
        runners = [runner(make, N, mode) for mode in MODES]
        rates: list[list[float]] = [[] for _ in MODES]
        for _ in range(rounds):
            for i, one in enumerate(runners):
                rates[i].append(one.rate())
        cells = "".join(
            f"{million(rate) * one.real():10.1f}" for one, rate in zip(runners, rates, strict=True)
        )
        print(f"{label:24}{cells}   {asked or ''}")


class EnvPool:
    """EnvPool behind what `Runner` needs."""

    metadata = {"autoreset_mode": gym.vector.AutoresetMode.NEXT_STEP}  # noqa: RUF012

    def __init__(self, envpool: Any, identifier: str, n: int) -> None:
        self.num_envs = n
        self._envs = envpool.make(
            identifier, env_type="gymnasium", num_envs=n, batch_size=n, num_threads=1, seed=0
        )

    def reset(self, seed: int) -> None:
        """Seeds were given when it was made."""
        self._envs.reset()

    def step(self, actions: Any) -> Any:
        """As Gymnasium's."""
        return self._envs.step(actions.astype(np.int32))


def ratios(rounds: int) -> None:
    try:
        import envpool
    except ImportError:
        envpool = None
        print("\nEnvPool: not installed")
    print(f"\nAgainst the others, n = {N}, NextStep, medians of {rounds} alternating rounds")
    for identifier, asked in (("CliffWalking-v1", 300), ("FrozenLake-v1", 100)):
        ours = runner(toy_text(identifier), N, "NextStep")
        peers: dict[str, tuple[Runner, float]] = {
            "SyncVectorEnv": (runner(sync(identifier), N, "NextStep"), asked)
        }
        if envpool is not None:
            theirs = EnvPool(envpool, identifier, N)
            peers["EnvPool, 1 thread"] = Runner(theirs, 4, False), 30
        for peer, (runner_, least) in peers.items():
            pairs = [(ours.rate(), runner_.rate()) for _ in range(rounds)]
            mine, other = (million([pair[i] for pair in pairs]) for i in (0, 1))
            mine, other = mine * ours.real(), other * runner_.real()
            print(
                f"{identifier:16} {mine:7.1f} M/s   {peer:18} {other:7.3f} M/s   "
                f"ratio {mine / other:6.0f}x (at least {least}x)"
            )


def curve() -> None:
    print("\nMillion steps per second over n, NextStep")
    print(f"{'n':24}" + "".join(f"{n:>8}" for n in CURVE))
    for label in ("GridWorld", "FrozenLake-v1"):
        rates = [runner(TABLES[label][0], n, "NextStep") for n in CURVE]
        print(f"{label:24}" + "".join(f"{one.rate() * one.real() / 1e6:8.2f}" for one in rates))


COLD = """
import time, numpy as np, rlsuite, gymnasium as gym
start = time.perf_counter()
import numba
imported = time.perf_counter()
for i in ("GridWorld", "BernoulliBandit", "ContextualBandit", "TokenGeneration"):
    envs = gym.make_vec(f"rlsuite/{i}-v0", num_envs=2)
    envs.reset(seed=0)
    envs.step(np.zeros(2, np.int64))
print(f"{time.perf_counter() - imported:.1f} s, and {imported - start:.1f} s to import numba")
"""


def compilation() -> None:
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
        for label in ("All kernels compiled cold", "The next process"):
            done = subprocess.run(
                [sys.executable, "-c", COLD], env=environment, capture_output=True, text=True
            )
            print(f"{label:26} {(done.stdout or done.stderr).strip()}")


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    compilation()
    table_of_modes(rounds)
    ratios(rounds)
    curve()


if __name__ == "__main__":
    main()
