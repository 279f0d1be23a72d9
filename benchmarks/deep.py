"""Deep agents on one core: environment steps with their training, per second.

PPO, A2C, DQN and ActorCritic on CartPole-v1 and SAC on Pendulum-v1: ours and Stable-Baselines3's,
with the same settings (those of rl-baselines3-zoo), the same environment and one thread each, take
turns; medians of the rounds and their ratio are printed. Steps per second are of CPU time, so that
other programs count little. They have no one-step actor-critic: ours stands beside their A2C with
Adam and rollouts of a single step, which does the same.
DQN's ε has its last value from the start: theirs falls anew in each call of `learn`.

Then how long PPO takes until 20 episodes of training in a row have a mean return of at least 475,
in seconds of wall-clock, and how fast it is with 64 native environments at settings that reach 475
within 150,000 steps.

Run: python benchmarks/deep.py [rounds] [agents, such as SAC: only their steps per second]
"""

from __future__ import annotations

import functools
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import gymnasium as gym  # noqa: E402
import stable_baselines3  # noqa: E402
import torch  # noqa: E402
from stable_baselines3.common.env_util import make_vec_env  # noqa: E402

import rlsuite  # noqa: E402

TASK = "CartPole-v1"
HORIZON = 100_000
TASKS = {"PPO": TASK, "A2C": TASK, "DQN": TASK, "SAC": "Pendulum-v1", "ActorCritic": TASK}
WARM_UP = {"PPO": 1_024, "A2C": 1_024, "DQN": 1_024, "SAC": 150, "ActorCritic": 256}
STEPS = {"PPO": 15_360, "A2C": 20_480, "DQN": 5_120, "SAC": 500, "ActorCritic": 2_048}
ENVS = {"PPO": 8, "A2C": 8, "DQN": 1, "SAC": 1, "ActorCritic": 1}
ASKED = {"PPO": 4.0, "A2C": 4.0, "DQN": 3.0, "SAC": 1.5, "ActorCritic": 1.0}
THEIRS = {"ActorCritic": ("A2C", {"n_steps": 1, "use_rms_prop": False, "max_grad_norm": math.inf})}
ZOO = {
    "PPO": {
        "n_steps": 32,
        "batch_size": 256,
        "n_epochs": 20,
        "gae_lambda": 0.8,
        "gamma": 0.98,
        "learning_rate": "lin_1e-3",
        "clip_range": "lin_0.2",
    },
    "A2C": {},  # their defaults, which are ours
    "DQN": {
        "learning_rate": 2.3e-3,
        "batch_size": 64,
        "buffer_size": 100_000,
        "learning_starts": 1_000,
        "target_update_interval": 10,
        "train_freq": 256,
        "gradient_steps": 128,
        "exploration_initial_eps": 0.04,
        "exploration_final_eps": 0.04,
        "net_arch": (256, 256),
    },
    "SAC": {"learning_rate": 1e-3},
    "ActorCritic": {"learning_rate": 3e-4},
}
NATIVE = {
    "num_envs": 64,
    "n_steps": 32,
    "batch_size": 1_024,
    "n_epochs": 8,
    "gae_lambda": 0.9,
    "gamma": 0.98,
    "learning_rate": "lin_5e-3",
    "max_grad_norm": 2.0,
    "total_timesteps": 150_000,
}
SOLVED, EPISODES = 475.0, 20


def ours(name: str, seed: int) -> Any:
    """Our agent, warmed up: what is compiled is compiled."""
    horizon = {"total_timesteps": HORIZON} if name == "PPO" else {}  # its rate falls
    settings = {**ZOO[name], "num_envs": ENVS[name], **horizon}
    agent = rlsuite.make_agent(f"rlsuite/{name}-v0", TASKS[name], seed=seed, **settings)
    return agent.learn(WARM_UP[name])


def theirs(name: str, seed: int) -> Any:
    """Their agent, warmed up, with the same settings."""
    kind, own = THEIRS.get(name, (name, {}))
    settings = {key: _schedule(value) for key, value in {**ZOO[name], **own}.items()}
    if "net_arch" in settings:
        settings["policy_kwargs"] = {"net_arch": list(settings.pop("net_arch"))}
    env = make_vec_env(TASKS[name], n_envs=ENVS[name], seed=seed)
    model = getattr(stable_baselines3, kind)("MlpPolicy", env, device="cpu", seed=seed, **settings)
    return model.learn(WARM_UP[name])


def _schedule(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    start = float(value.removeprefix("lin_"))
    return lambda remaining: start * remaining


def rate(learn: Callable[[int], Any], steps: int) -> float:
    """Steps in a second of CPU time."""
    start = time.process_time()
    learn(steps)
    return steps / (time.process_time() - start)


def against_stable_baselines(name: str, rounds: int) -> bool:
    """Prints medians and the ratio; whether it is what is asked for."""
    steps = STEPS[name]
    pairs = []
    for number in range(rounds):
        mine, other = ours(name, number), theirs(name, number)
        go_on = functools.partial(other.learn, reset_num_timesteps=False)
        pairs.append((rate(mine.learn, steps), rate(go_on, steps)))
    fast, slow = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(one / other for one, other in pairs)
    print(f"{name:11} {fast:10,.0f} {slow:10,.0f} {ratio:7.1f} {ASKED[name]:7.1f}", flush=True)
    return ratio >= ASKED[name]


class Watch:
    """The mean return of the last 20 episodes of training, and when it first reached 475."""

    def __init__(self) -> None:
        self.seen, self.start = 0, time.perf_counter()
        self.solved: tuple[int, float] | None = None  # steps, seconds

    def __call__(self, agent: Any) -> bool:
        """After each step of all environments; False once it is solved."""
        episodes = agent.collector.episodes
        if self.solved is None and episodes.count >= max(EPISODES, self.seen + 1):
            self.seen = episodes.count
            latest = [total for total, _ in episodes.recent][-EPISODES:]
            if statistics.fmean(latest) >= SOLVED:
                self.solved = agent.num_timesteps, time.perf_counter() - self.start
        return self.solved is None


def time_to_solve(seeds: int) -> bool:
    """Prints steps and seconds until PPO has solved the task, seed by seed."""
    seconds = []
    for seed in range(seeds):
        settings = {**ZOO["PPO"], "num_envs": 8, "total_timesteps": HORIZON}
        agent = rlsuite.make_agent("rlsuite/PPO-v0", TASK, seed=seed, **settings)
        watch, cpu = Watch(), time.process_time()
        agent.learn(HORIZON, watch)
        cpu = time.process_time() - cpu
        steps, wall = watch.solved or (HORIZON, float("inf"))
        seconds.append(wall)
        print(f"  seed {seed}: {steps:7,} steps, {wall:5.1f} s, of them {cpu:5.1f} s on the CPU")
    print(f"  median {statistics.median(seconds):.1f} s; asked for: 5 s", flush=True)
    return statistics.median(seconds) <= 5.0


def native(seeds: int) -> bool:
    """Prints the speed with 64 native environments, and when the task was solved."""
    rates, reached = [], []
    for seed in range(seeds):
        env = gym.make_vec(TASK, 64, vectorization_mode="vector_entry_point")
        agent = rlsuite.make_agent("rlsuite/PPO-v0", env, seed=seed, **NATIVE)
        watch = Watch()
        start = time.process_time()
        agent.learn(NATIVE["total_timesteps"], lambda a, watch=watch: watch(a) and None)
        rates.append(agent.num_timesteps / (time.process_time() - start))
        reached.append(watch.solved[0] if watch.solved else None)
    print(f"  {statistics.median(rates):,.0f} steps/s of CPU time; asked for: 70,000")
    print(f"  475 reached after {reached} steps; asked for: 150,000", flush=True)
    return statistics.median(rates) >= 70_000 and None not in reached


def main() -> int:
    """Runs everything; the exit code says whether all is as asked for."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    torch.set_num_threads(1)
    print("     steps/s:        ours      SB3's   ratio   asked")
    chosen = sys.argv[2:]
    good = [against_stable_baselines(name, rounds) for name in chosen or ZOO]
    if chosen:
        return 0 if all(good) else 1
    print(f"PPO until {EPISODES} episodes have a mean of {SOLVED:.0f}:")
    good.append(time_to_solve(rounds))
    print("PPO with 64 native environments, minibatches of 1,024, 8 epochs:")
    good.append(native(rounds))
    return 0 if all(good) else 1


if __name__ == "__main__":
    raise SystemExit(main())
