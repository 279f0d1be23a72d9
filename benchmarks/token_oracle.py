"""How long the exact answers about a token task take.

    python benchmarks/token_oracle.py

One thread, CPU time, medians. Tree nodes are finished texts, as many as prefixes and leaves
together. The default task is that of `rlsuite/TokenGeneration-v0`; the others have random rewards
and random reference policies.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import statistics
import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

import rlsuite  # noqa: F401  (registers the environments)
from rlsuite_envs.tokens.oracle import TokenOracle
from rlsuite_envs.tokens.shapes import TextShape
from rlsuite_envs.tokens.tree import tree_of

ROUNDS = 7


def random_oracle(shape: TextShape, seed: int = 0) -> TokenOracle:
    """A tree with random rewards and a random reference policy."""
    tree, rng = tree_of(shape), np.random.default_rng(seed)
    weights = rng.random((tree.n_prompts, tree.n_prefixes, tree.n_tokens)) + 0.01
    log_reference = np.log(weights / weights.sum(axis=-1, keepdims=True))
    rewards = rng.normal(size=(tree.n_prompts, tree.n_texts))
    return TokenOracle(tree, log_reference, rewards, beta=0.4)


def cpu_time(work: Callable[[], Any], before: Callable[[], Any] = lambda: None) -> float:
    """Median CPU seconds of some work, after `before`, which is not timed."""
    times = []
    for _ in range(ROUNDS):
        before()
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


def report(name: str, oracle: TokenOracle, nodes: int) -> None:
    """One line: the soft dynamic programme, and one policy's J."""
    pi = oracle.optimal_policy()

    def forget() -> None:
        oracle.__dict__.pop("_solution", None)

    solve = cpu_time(lambda: oracle.optimal_return, forget)
    evaluate = cpu_time(lambda: oracle.policy_return(pi))
    metrics = cpu_time(lambda: oracle.policy_metrics(pi))
    print(
        f"{name:<34} {nodes:>9,} nodes   J* and pi* {1e3 * solve:7.1f} ms   "
        f"J(pi) {1e3 * evaluate:7.1f} ms   all figures {1e3 * metrics:7.1f} ms"
    )


def main() -> None:
    """Prints a table."""
    env: Any = gym.make("rlsuite/TokenGeneration-v0").unwrapped
    report("default task", env.oracle(), env.world.tree.n_prompts * env.world.tree.n_texts)
    policy = env.reference_model
    oracle = env.oracle()
    asked = cpu_time(lambda: oracle.policy_return(policy))
    print(f"{'default task, a cheap policy asked level by level':<58} J(pi) {1e3 * asked:7.1f} ms")
    for shape in (
        TextShape(max_new_tokens=6),
        TextShape(size=11, eos=10, prompts=((0,),), max_new_tokens=6),
    ):
        name = f"{shape.n_prompts} prompts, {shape.size} tokens, {shape.max_new_tokens} new ones"
        report(name, random_oracle(shape), shape.n_prompts * shape.n_texts)


if __name__ == "__main__":
    main()
