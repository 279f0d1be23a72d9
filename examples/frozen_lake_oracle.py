"""Gymnasium's own tasks get an answer key too, with their time limit counted."""

import gymnasium as gym

import rlsuite
from rlsuite_envs.tabular.mdp import TabularMDP

env = gym.make("FrozenLake-v1")
oracle = TabularMDP.from_gymnasium(env).oracle(horizon=env.spec.max_episode_steps)
print(f"FrozenLake-v1, 100 steps: J* = {oracle.optimal_return:.6f} with a clock,")
print(
    f"                          {oracle.best_stationary_return:.6f} for the best stationary policy,"
)
print(f"                          {oracle.baseline_return:.6f} at random")

agent = rlsuite.make_agent("rlsuite/QLearning-v0", env, seed=0, step_size=0.1, gamma=0.99)
agent.learn(50_000)
print(rlsuite.evaluate(agent, "FrozenLake-v1"))
