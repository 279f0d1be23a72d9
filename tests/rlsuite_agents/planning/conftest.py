"""Environments that are nothing but a model: planning takes no step."""

from __future__ import annotations

from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Discrete
from gymnasium.wrappers import TimeLimit


class ModelOnly(gym.Env):
    def __init__(self, rows, start):
        """`rows[s][a]` lists (probability, s', reward, ends)."""
        shape = (len(rows), len(rows[0]), max(len(cell) for row in rows for cell in row))
        self.observation_space, self.action_space = Discrete(shape[0]), Discrete(shape[1])
        arrays = {name: np.zeros(shape) for name in ("probability", "reward", "terminal")}
        arrays["next_state"] = np.zeros(shape, np.int64)
        for s, row in enumerate(rows):
            for a, cell in enumerate(row):
                for k, (p, to, r, ends) in enumerate(cell):
                    arrays["probability"][s, a, k], arrays["next_state"][s, a, k] = p, to
                    arrays["reward"][s, a, k], arrays["terminal"][s, a, k] = r, ends
        arrays["terminal"] = arrays["terminal"].astype(bool)
        weights = np.ones(len(rows)) if start is None else np.eye(len(rows))[start]
        self.model = SimpleNamespace(**arrays, start=weights / weights.sum())


@pytest.fixture(scope="session")
def make_model():
    """A factory: `make_model(rows, start=None, limit=None)`; without a start all states are."""

    def make(rows, start=None, limit=None):
        env = ModelOnly(rows, start)
        return env if limit is None else TimeLimit(env, limit)

    return make


@pytest.fixture(scope="session")
def small_grid(make_model):
    """Sutton & Barto's Example 4.1: 4 x 4, -1 a step, corners 0 and 15 are the end."""

    def make(limit=None):
        rows = []
        for s in range(16):
            row, column = divmod(s, 4)
            cells = []
            for d_row, d_column in ((-1, 0), (0, 1), (1, 0), (0, -1)):
                to = min(max(row + d_row, 0), 3) * 4 + min(max(column + d_column, 0), 3)
                over = s in (0, 15)
                cells.append(
                    [(1.0, s if over else to, 0.0 if over else -1.0, over or to in (0, 15))]
                )
            rows.append(cells)
        return make_model(rows, limit=limit)

    return make
