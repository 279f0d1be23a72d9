"""Gymnasium's own tables, FrozenLake, CliffWalking and Taxi: an answer key, and compiled loops."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from registry.errors import SettingError
from rlsuite_envs.checks import check_count, check_state, generator_from
from rlsuite_envs.tabular.mdp import TabularMDP
from rlsuite_envs.tabular.oracle import TabularOracle

__all__ = ["ToyTextTable", "toy_text_oracle", "toy_text_table"]

PACKAGE = "gymnasium.envs.toy_text."


def toy_text_oracle(env: gym.Env[Any, Any], horizon: int | None) -> TabularOracle | None:
    """The oracle of a toy-text environment, or None where the environment is none.

    None as well for Blackjack, which has no table, and for Taxi with `fickle_passenger`, whose
    table is not its dynamics: there is no exact answer, and scores have to be sampled.

    Args:
        env: The environment, in wrappers or not; the answers are those of `env.unwrapped`.
        horizon: The time limit around it, such as `env.spec.max_episode_steps`; None: no limit.

    Raises:
        SettingError: `horizon` is not a whole number of at least 1.
    """
    base = env.unwrapped
    of_gymnasium = any(kind.__module__.startswith(PACKAGE) for kind in type(base).__mro__)
    has_tables = hasattr(base, "P") and hasattr(base, "initial_state_distrib")
    if not of_gymnasium or not has_tables or getattr(base, "fickle_passenger", False):
        return None
    return TabularMDP.from_gymnasium(base).oracle(horizon=horizon)


def toy_text_table(env: gym.Env[Any, Any]) -> ToyTextTable | None:
    """What a compiled loop needs to step a toy-text environment without wrappers, or None.

    None as well for what `toy_text_oracle` answers None, and for subclasses, which may do anything.
    """
    if not type(env).__module__.startswith(PACKAGE):
        return None
    has_tables = hasattr(env, "P") and hasattr(env, "initial_state_distrib")
    return ToyTextTable(env) if has_tables and not getattr(env, "fickle_passenger", False) else None


class ToyTextTable:
    """FrozenLake, CliffWalking or Taxi as a `registry.contracts.FollowsModel`.

    They draw with `categorical_sample`: one uniform, and the first of a list whose cumulative
    probability is larger; where there is none, because the sum fell short of 1, the first of all.
    """

    rest_to_first = True

    def __init__(self, env: Any) -> None:
        self._env = env
        self._read: tuple[Any, TabularMDP] | None = None  # the table as it was, and its model

    @property
    def model(self) -> TabularMDP:
        """The dynamics, as they were at the first look."""
        if self._read is None:
            env = self._env
            table = {s: {a: [*row] for a, row in rows.items()} for s, rows in env.P.items()}
            self._read = table, TabularMDP.from_gymnasium(env)
        return self._read[1]

    @property
    def follows_model(self) -> bool:
        """Whether steps do what the table says: nothing is shown or replaced, nor was the table."""
        env = self._env
        replaced = {"step", "reset", "action_mask"} & vars(env).keys()
        if replaced or env.render_mode is not None:
            return False
        try:
            model = self.model
        except SettingError:  # somebody has written into the table
            return False
        assert self._read is not None
        return env.P == self._read[0] and np.array_equal(env.initial_state_distrib, model.start)

    @property
    def masks(self) -> NDArray[np.int8] | None:
        """Of Taxi: the actions that change something, [S, A]."""
        mask = self.model.mask
        return None if mask is None else mask.astype(np.int8)

    @property
    def np_random(self) -> np.random.Generator:
        """The environment's generator."""
        generator: np.random.Generator = self._env.np_random
        return generator

    def get_state(self) -> dict[str, Any]:
        """Generator, state and latest action, as JSON can hold them; None before the first one."""
        state, action = (getattr(self._env, name, None) for name in ("s", "lastaction"))
        return {
            "rng": self.np_random.bit_generator.state,
            "state": None if state is None else int(state),
            "action": None if action is None else int(action),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on from what `get_state` returned, in an environment with the same keywords.

        Raises:
            SettingError: it is not such a state, or it is one of another model.
        """
        name = type(self._env).__name__
        check_state(name, state, ("rng", "state", "action"))
        sizes = {"state": len(self._env.P), "action": int(self._env.action_space.n)}
        for key, size in sizes.items():
            value = state[key]
            if value is not None and check_count(f"{name}: {key!r}", value, low=0) >= size:
                raise SettingError(f"{name}: {key!r} must be below {size}, got {value!r}.")
        self._env.np_random = generator_from(name, state["rng"])
        self._env.s, self._env.lastaction = state["state"], state["action"]
