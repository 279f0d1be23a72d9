"""Tiny environments with known answers, and networks by autograd, for agents of this package."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.wrappers import OrderEnforcing, TimeLimit

from rlsuite_agents.parts.convolution import Rows
from rlsuite_agents.parts.device_networks import DeviceActorCritic, DeviceQNetwork
from rlsuite_agents.parts.q_network import QNetwork


class Chain(gym.Env):
    """States 0..n-1 in a row; action 1 goes right, 0 left; noisy, 1 at the right end, which ends.

    With `masked`, going left is not allowed in state 0, and at the end nothing is.
    """

    def __init__(self, n=5, *, masked=False, stateful=True):
        self.n, self.masked = n, masked
        self.observation_space, self.action_space = Discrete(n), Discrete(2)
        if not stateful:
            self.get_state = self.set_state = None

    def info(self):
        if not self.masked:
            return {}
        mask = [0, 0] if self.s == self.n - 1 else [self.s > 0, 1]
        return {"action_mask": np.array(mask, np.int8)}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.s = 0
        return self.s, self.info()

    def step(self, action):
        assert not self.masked or self.s > 0 or action == 1, "a masked action was played"
        slip = self.np_random.random() < 0.1
        self.s = min(max(self.s + (1 if action != slip else -1), 0), self.n - 1)
        over = self.s == self.n - 1
        return self.s, float(over), over, False, self.info()

    def get_state(self):
        return {"s": self.s, "rng": self.np_random.bit_generator.state}

    def set_state(self, state):
        self.s, self.np_random.bit_generator.state = state["s"], state["rng"]


class Contexts(gym.Env):
    """A linear bandit: two features of ±1, three arms; the best arm depends on the context."""

    theta = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])

    def __init__(self, *, masked=False, stateful=True, low=-1.0):
        self.observation_space, self.action_space = Box(low, 1, (2,), np.float32), Discrete(3)
        self.masked = masked
        if not stateful:
            self.get_state = self.set_state = None

    def look(self):
        self.x = np.array([1 if self.np_random.random() < 0.5 else -1 for _ in "ab"], np.float32)
        self.mask = np.array([1, 1, self.np_random.random() < 0.5], np.int8)
        return self.x, {"action_mask": self.mask} if self.masked else {}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.look()

    def step(self, action):
        assert not self.masked or self.mask[action], "a masked arm was played"
        u = self.np_random.random()
        reward = 0.25 * (float(self.theta[action] @ self.x) + 2.0) * u
        x, info = self.look()
        return x, min(reward, 1.0), False, False, info

    def get_state(self):
        return {
            "x": self.x.tolist(),
            "mask": self.mask.tolist(),
            "rng": self.np_random.bit_generator.state,
        }

    def set_state(self, state):
        self.x = np.array(state["x"], np.float32)
        self.mask = np.array(state["mask"], np.int8)
        self.np_random.bit_generator.state = state["rng"]


@pytest.fixture(scope="session")
def make_chain():
    """A factory: `make_chain(n=5, masked=False, stateful=True, limit=20)`."""

    def make(*, limit=20, **kwargs):
        return TimeLimit(OrderEnforcing(Chain(**kwargs)), limit)

    return make


@pytest.fixture(scope="session")
def make_contexts():
    """A factory: `make_contexts(masked=False, stateful=True, limit=20)`."""

    def make(*, limit=20, **kwargs):
        return TimeLimit(OrderEnforcing(Contexts(**kwargs)), limit)

    return make


@pytest.fixture(scope="session")
def on_device():
    """`on_device(networks)`: what these networks by hand are on a device, learned by autograd."""

    def twin(hand):
        cpu, rng = torch.device("cpu"), np.random.default_rng(0)
        network = hand.q if isinstance(hand, QNetwork) else hand.policy
        width, *hidden, outputs = network.sizes
        if isinstance(hand, QNetwork):
            rest = {"tau": hand.tau, "double": hand.double, "dueling": hand.dueling}
            sizes = (outputs - hand.dueling, hidden, network.activation)
            made = DeviceQNetwork(Rows(width), *sizes, **rest, rng=rng, device=cpu)
            made.target.put(hand.target.vector)
        else:
            sizes = (hand.head, hidden, network.activation)
            made = DeviceActorCritic(Rows(width), *sizes, rng, cpu)
        made.parameters.put(hand.parameters.vector)
        return made

    return twin
