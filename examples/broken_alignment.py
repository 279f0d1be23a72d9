"""Two faults that train without complaint, before and after the repair, and what the check says.

    python examples/broken_alignment.py

PPO writes texts token by token: once it sees the prompt alone, once nothing counts that comes later
(gamma=0), and once repaired. Every loss is finite and every curve calm. Takes the number of tokens
from the command line.
"""

import sys

import gymnasium as gym
import numpy as np

import rlsuite
from rlsuite.testing import check_alignment

STEPS = int([*sys.argv, 12_000][1])
TASK, PROMPT_ONLY = "rlsuite/TokenGeneration-v0", "PromptOnly-v0"


class PromptOnly(gym.ObservationWrapper):
    """The state is the prompt: what was written since is not in it."""

    def observation(self, observation):
        start = int(observation["prompt_length"])
        tokens = np.where(np.arange(7) < start, observation["tokens"], 7)
        return {**observation, "tokens": tokens, "length": np.int64(start)}


gym.register(PROMPT_ONLY, lambda **keywords: PromptOnly(gym.make(TASK, **keywords)))
RUNS = {
    "prompt only": (PROMPT_ONLY, 1.0),
    "gamma 0": (TASK, 0.0),
    "repaired": (TASK, 1.0),
}


def train(env, gamma):
    """Mean rewards of the texts of the first and the last sixth, and the largest loss."""
    agent = rlsuite.make_agent("rlsuite/PPO-v0", env, gamma=gamma, learning_rate=0.002)
    told = []
    agent.on_update = told.append
    agent.learn(STEPS)
    rewards = [metrics.episode_return for metrics in told]
    n = max(1, len(told) // 6)
    loss = max(abs(metrics.policy_loss) for metrics in told)
    return np.nanmean(rewards[:n]), np.nanmean(rewards[-n:]), loss


if __name__ == "__main__":
    for name, (env, gamma) in RUNS.items():
        first, last, loss = train(env, gamma)
        print(f"{name:<12} reward from {first:.2f} to {last:.2f}, largest loss {loss:.2f}")
        report = check_alignment("rlsuite/PPO-v0", env=env, settings={"gamma": gamma})
        for result in report.with_status("failed"):
            print(f"    {result}")
        print(f"    {report.summary}")
