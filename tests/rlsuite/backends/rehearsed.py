"""An agent that notes who lets it rehearse, and who lets it learn."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class RehearsedConfig:
    note: str = ""


class Rehearsed:
    config_type = RehearsedConfig

    def __init__(self, env, config, *, seed, device="cpu"):
        self.env, self.config = env, config

    @classmethod
    def learn_many(cls, make_env, seeds, total_timesteps, config):
        make_env().reset(seed=0)
        cls(None, config, seed=0)._note(f"rehearsal {seeds} {total_timesteps}")
        raise RuntimeError("whatever happens here is left to the cells")

    def learn(self, total_timesteps, callback=None):
        self._note("cell")

    def _note(self, what):
        with open(self.config.note, "a") as stream:
            stream.write(f"{os.getpid()} {os.getppid()} {what}\n")

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return np.int64(0), None

    def save(self, path):
        raise NotImplementedError

    load = save
