"""Every built-in environment knows its own optimum, and prices any policy exactly."""

import gymnasium as gym
import numpy as np

import rlsuite

gym.register_envs(rlsuite)

env = gym.make("rlsuite/GridWorld-v0", slip=0.2)
oracle = env.unwrapped.oracle()
print(f"GridWorld, slip 0.2: J* = {oracle.optimal_return:.6f}")
print(f"uniform random play: {oracle.baseline_return:.6f}")

# Any policy has an exact price: a table [S, A], or a function of the observations.
rng = np.random.default_rng(0)
random_policy = rng.dirichlet(np.ones(4), size=len(oracle.observations()))
print(f"a random policy:     {oracle.policy_return(random_policy):.6f}")

for identifier in ("BernoulliBandit", "ContextualBandit", "CliffWalk", "TokenGeneration"):
    key = gym.make(f"rlsuite/{identifier}-v0").unwrapped.oracle()
    optimum, baseline = key.optimal_return, key.baseline_return
    print(f"{identifier:17s} J* = {optimum:12.6f}   baseline {baseline:12.6f}")
