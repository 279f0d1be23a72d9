"""Save, load, learn on: bit for bit as if the run had never stopped."""

import tempfile
from pathlib import Path

import gymnasium as gym
import numpy as np

import rlsuite
from rlsuite_agents.tabular.q_learning import QLearning

never_stopped = rlsuite.make_agent("rlsuite/QLearning-v0", "rlsuite/CliffWalk-v0", seed=0)
never_stopped.learn(10_000)

first_half = rlsuite.make_agent("rlsuite/QLearning-v0", "rlsuite/CliffWalk-v0", seed=0)
first_half.learn(5_000)
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "half.safetensors"
    first_half.save(path)
    second_half = QLearning.load(path, env=gym.make("rlsuite/CliffWalk-v0"))
second_half.learn(5_000)

identical = np.array_equal(never_stopped.q, second_half.q)
print("bit-identical after the interruption:", identical)
assert identical
