"""Control as inference on the cliff: as the temperature rises, the path leaves the edge.

Writes soft_policies.png: expected visits of the Boltzmann policy at four temperatures, exactly, and
what each temperature earns between the optimal and the reference policy.
"""

import gymnasium as gym
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import rlsuite

TASK, SHOWN = "rlsuite/CliffWalk-v0", (0.1, 2.0, 8.0, 50.0)
env = gym.make(TASK)
model, limit = env.unwrapped.model, env.spec.max_episode_steps
states = np.arange(len(model.start))


def soft_policy(temperature):
    agent = rlsuite.make_agent("rlsuite/SoftValueIteration-v0", env, temperature=temperature)
    return agent.learn(limit)


def visits(agent):
    """Expected steps spent in each state during an episode."""
    pi = agent.clocked_probabilities(states, horizon=limit, deterministic=False)
    going = np.where(model.terminal, 0.0, model.probability)
    here, total = model.start.copy(), np.zeros(len(states))
    for pi_t in pi:
        total += here
        flow = here[:, None, None] * pi_t[:, :, None] * going
        here = np.bincount(model.next_state.ravel(), flow.ravel(), len(states))
    return total


figure = plt.figure(figsize=(11, 5), layout="constrained")
left, right = figure.subfigures(1, 2)
panels = left.subplots(4, 1)
for axes, temperature in zip(panels, SHOWN, strict=True):
    seen = visits(soft_policy(temperature)).reshape(4, 12)
    seen[3, 1:] = np.nan  # the cliff and the goal
    image = axes.imshow(seen, vmin=0, vmax=2)
    axes.set(xticks=[], yticks=[], ylabel=f"τ = {temperature:g}")
left.colorbar(image, ax=panels, extend="max", label="expected visits of an episode")
temperatures = np.geomspace(0.05, 1e4, 40)
found = [rlsuite.evaluate(soft_policy(t), TASK, deterministic=False) for t in temperatures]
axes = right.subplots()
axes.plot(temperatures, [-one.mean_return for one in found], color="black", label="soft policy")
axes.axhline(-found[0].optimal_return, linestyle="--", label="optimal policy")
axes.axhline(-found[0].baseline_return, linestyle=":", color="tab:red", label="uniform reference")
axes.set(xscale="log", yscale="log", xlabel="temperature τ", ylabel="expected cost, exact")
axes.legend()
figure.suptitle("Soft policies on the cliff: the warmer, the further from its edge")
figure.savefig("soft_policies.png", dpi=150)
print(f"J from {found[0].mean_return:.2f} to {found[-1].mean_return:.0f}: see soft_policies.png")
