"""Alignment scored by exact regret: how far is a policy from the KL-regularised optimum?"""

import gymnasium as gym

import rlsuite

env = gym.make("rlsuite/TokenGeneration-v0")
oracle = env.unwrapped.oracle()
print(f"J* = {oracle.optimal_return:.6f}, the reference policy earns {oracle.baseline_return:.6f}")

agent = rlsuite.make_agent(
    "rlsuite/Reinforce-v0", env, seed=0, gamma=1.0, kl_beta=0.4, episodes_per_update=32
)
for _ in range(5):
    agent.learn(6_000)
    evaluation = rlsuite.evaluate(agent, "rlsuite/TokenGeneration-v0")
    figures = "  ".join(f"{name} {value:.3f}" for name, value in evaluation.metrics.items())
    print(f"{agent.num_timesteps:6d} tokens: regret {evaluation.regret:.4f}   {figures}")
