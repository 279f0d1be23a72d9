"""The conformance kit on classes that are not ours: Stable-Baselines3's PPO, A2C, DQN.

They are held to what rlsuite's own agents promise. `sb3/PPO-v0` and its kin are the same algorithms
behind rlsuite's contract, which adds what is missing here. About half a minute:

    python benchmarks/conformance_sb3.py
"""

import stable_baselines3

from registry.specs import AgentSpec
from rlsuite.testing import check_agent

PROMISES = frozenset({"resume", "exact_budget", "own_rng", "split_learn"})
SMALL = {
    "PPO": {"n_steps": 64, "batch_size": 32, "n_epochs": 4},
    "A2C": {},
    "DQN": {"buffer_size": 10_000, "target_update_interval": 100},
}


def wrapped(name):
    algorithm = getattr(stable_baselines3, name)

    class Theirs:
        def __init__(self, env, seed):
            self.model = algorithm("MlpPolicy", env, seed=seed, device="cpu", **SMALL[name])

        @property
        def num_timesteps(self):
            return self.model.num_timesteps

        def learn(self, total_timesteps, callback=None):
            asked = None if callback is None else lambda *_: callback(self) is not False
            self.model.learn(total_timesteps, callback=asked, reset_num_timesteps=False)
            return self

        def predict(self, observation, state=None, episode_start=None, deterministic=False):
            return self.model.predict(observation, state, episode_start, deterministic)

        def save(self, path):
            self.model.save(path)

        @classmethod
        def load(cls, path, env=None, device="cpu"):
            loaded = cls.__new__(cls)
            loaded.model = algorithm.load(path, env=env, device=device)
            return loaded

    Theirs.__name__ = Theirs.__qualname__ = f"stable_baselines3.{name}"
    return Theirs


for name, learns in (("PPO", "policy"), ("A2C", "policy"), ("DQN", "values")):
    spec = AgentSpec(id=f"sb3-raw/{name}-v0", entry_point="m:C", promises=PROMISES, learns=learns)
    print(check_agent(wrapped(name), spec=spec), "\n")
