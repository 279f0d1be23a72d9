"""Tiny tasks with known answers, on which an agent shows in seconds whether it learns at all.

Every task is shown as a number (`Discrete`), as a one-hot vector (`Box`) or as a dictionary
(`Dict`), whatever the agent reads. Time limits are Gymnasium's `TimeLimit`.

| Task | What it asks for | Known answer |
| --- | --- | --- |
| `Walk` | nothing: the ground of the contract's checks | |
| `OneTransition` | fitting a single number | V = 0.7 |
| `OneStep` | the best of four actions | +1 |
| `TwoSteps` | credit for the first of two actions | 1 |
| `TwoDoors` | a policy that is random | -2, against -5.5 of the best deterministic one |
| `ConstantReward` | going on beyond a time limit | V = 1 / (1 - γ) |
"""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete
from gymnasium.wrappers import OrderEnforcing, TimeLimit

__all__ = [
    "ConstantReward",
    "Form",
    "OneStep",
    "OneTransition",
    "TinyTask",
    "TwoDoors",
    "TwoSteps",
    "Walk",
    "limited",
]

Form = Literal["Discrete", "Box", "Dict"]


class TinyTask(gym.Env[Any, Any]):
    """A finite task with a state `s`, shown in one of three forms."""

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012  as in gymnasium.Env

    def __init__(self, n_states: int, n_actions: int, form: Form = "Discrete") -> None:
        self.n_states, self.n_actions, self.form = n_states, n_actions, form
        self.s = 0
        one_hot = Box(0.0, 1.0, (n_states,), np.float32)
        self.action_space = Discrete(n_actions)
        self.observation_space: Any = {
            "Discrete": Discrete(n_states),
            "Box": one_hot,
            "Dict": Dict({"place": one_hot, "number": Discrete(n_states)}),
        }[form]

    def observe(self, s: int) -> Any:
        """State `s` as it is shown."""
        if self.form == "Discrete":
            return s
        one_hot = np.zeros(self.n_states, np.float32)
        one_hot[s] = 1.0
        return one_hot if self.form == "Box" else {"place": one_hot, "number": s}

    def every(self) -> Any:
        """All states as one batch of observations."""
        numbers, one_hot = np.arange(self.n_states), np.eye(self.n_states, dtype=np.float32)
        return {
            "Discrete": numbers,
            "Box": one_hot,
            "Dict": {"place": one_hot, "number": numbers},
        }[self.form]

    def start(self) -> int:
        """The state of a new episode."""
        return 0

    def move(self, action: int) -> tuple[float, bool]:
        """Changes `s`; reward, and whether the episode ended. Written by each task."""
        raise NotImplementedError

    def info(self) -> dict[str, Any]:
        """What else is told."""
        return {}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begins an episode."""
        super().reset(seed=seed)
        self.s = self.start()
        return self.observe(self.s), self.info()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Takes one action."""
        reward, terminated = self.move(int(action))
        return self.observe(self.s), reward, terminated, False, self.info()

    @property
    def model(self) -> Any:
        """The dynamics, for agents that plan: each move is tried once, as none is left to luck."""
        shape = (self.n_states, self.n_actions, 1)
        next_state, reward, terminal = np.zeros(shape, np.int64), np.zeros(shape), np.zeros(shape)
        tried = copy.copy(self)
        for s, a, k in np.ndindex(shape):
            tried.s = s
            reward[s, a, k], terminal[s, a, k] = tried.move(a)
            next_state[s, a, k] = tried.s
        return SimpleNamespace(
            next_state=next_state,
            probability=np.ones(shape),
            reward=reward,
            terminal=terminal.astype(bool),
            start=np.eye(self.n_states)[self.start()],
        )

    def get_state(self) -> dict[str, Any]:
        """State and generator."""
        return {"s": self.s, "rng": self.np_random.bit_generator.state}

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on from `get_state`."""
        self.s = state["s"]
        self.np_random.bit_generator.state = state["rng"]


class Walk(TinyTask):
    """Five places in a row; left, stay, right, which fails one time in ten; 1 at the right end.

    With `masked`, left is not allowed at the left end; `violations` counts who does it anyway.
    """

    N, NOISE = 5, 0.1

    def __init__(self, form: Form = "Discrete", *, masked: bool = False) -> None:
        super().__init__(self.N, 3, form)
        self.masked, self.violations = masked, 0

    def move(self, action: int) -> tuple[float, bool]:
        """One step, or none."""
        if self.masked and not self._mask()[action]:
            self.violations += 1
        if self.np_random.random() >= self.NOISE:
            self.s = min(max(self.s + action - 1, 0), self.N - 1)
        over = self.s == self.N - 1
        return float(over), over

    def info(self) -> dict[str, Any]:
        """The mask, if there is one."""
        return {"action_mask": self._mask()} if self.masked else {}

    def _mask(self) -> Any:
        return np.array([self.s > 0, 1, 1], np.int8)

    @property
    def model(self) -> Any:
        """The dynamics, for agents that plan."""
        s, a = np.meshgrid(np.arange(self.N), np.arange(3), indexing="ij")
        moved = np.clip(s + a - 1, 0, self.N - 1)
        next_state = np.stack([moved, s], axis=2)
        terminal = next_state == self.N - 1
        chances = np.array([1 - self.NOISE, self.NOISE])
        return SimpleNamespace(
            next_state=next_state,
            probability=np.broadcast_to(chances, next_state.shape).copy(),
            reward=terminal.astype(float),
            terminal=terminal,
            start=np.eye(self.N)[0],
        )


class OneTransition(TinyTask):
    """One state, one reward of 0.7, the end."""

    REWARD = 0.7

    def __init__(self, form: Form = "Discrete") -> None:
        super().__init__(1, 2, form)

    def move(self, action: int) -> tuple[float, bool]:
        """The end."""
        return self.REWARD, True


class OneStep(TinyTask):
    """One decision among four actions: `best` pays `high`, the others `low`."""

    def __init__(
        self, form: Form = "Discrete", *, best: int = 2, high: float = 1.0, low: float = -0.1
    ) -> None:
        super().__init__(1, 4, form)
        self.best, self.high, self.low = best, high, low

    def move(self, action: int) -> tuple[float, bool]:
        """The end."""
        return (self.high if action == self.best else self.low), True


class TwoSteps(TinyTask):
    """The first action decides what the second step pays, whatever is done there."""

    def __init__(self, form: Form = "Discrete", *, best: int = 1) -> None:
        super().__init__(3, 2, form)
        self.best = best

    def move(self, action: int) -> tuple[float, bool]:
        """To state 1 or 2; from there the end."""
        if self.s == 0:
            self.s = 2 if action == self.best else 1
            return 0.0, False
        return float(self.s == 2), True


class TwoDoors(TinyTask):
    """Two rooms that look alike, each with another door; every try costs 1.

    Action 0 opens the door of one room, action 1 that of the other, four more do nothing. A
    deterministic policy waits for the time limit in one of the rooms; half and half is best.
    """

    LIMIT = 10
    N_ACTIONS = 6

    def __init__(self, form: Form = "Discrete") -> None:
        super().__init__(1, self.N_ACTIONS, form)
        self.room = 0

    @property
    def model(self) -> Any:
        """There is none: the room is no part of the state."""
        raise AttributeError("TwoDoors has no model: which room it is does not show in the state.")

    def start(self) -> int:
        """A room of the two."""
        self.room = int(self.np_random.random() < 0.5)
        return 0

    def move(self, action: int) -> tuple[float, bool]:
        """Out, if this was the door."""
        return -1.0, action == self.room

    def get_state(self) -> dict[str, Any]:
        """State, room and generator."""
        return {**super().get_state(), "room": self.room}

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on from `get_state`."""
        super().set_state(state)
        self.room = state["room"]

    @classmethod
    def value(cls, pi: Any) -> float:
        """J of a memoryless policy [A], the limit included: the mean over both rooms."""
        tries = [
            cls.LIMIT if p <= 0 else (1 - (1 - p) ** cls.LIMIT) / p for p in np.asarray(pi)[:2]
        ]
        return -float(np.mean(tries))


class ConstantReward(TinyTask):
    """One state, reward 1 for ever, cut off by a time limit: V = 1 / (1 - γ)."""

    LIMIT = 2

    def __init__(self, form: Form = "Discrete") -> None:
        super().__init__(1, 2, form)

    def move(self, action: int) -> tuple[float, bool]:
        """On and on."""
        return 1.0, False


def limited(task: TinyTask, limit: int = 20) -> gym.Env[Any, Any]:
    """The task under Gymnasium's wrappers, with a time limit."""
    return TimeLimit(OrderEnforcing(task), limit)
