"""An answer key for Gymnasium's own tables: FrozenLake, CliffWalking and Taxi."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from rlsuite_envs.tabular.mdp import TabularMDP
from rlsuite_envs.tabular.oracle import TabularOracle

__all__ = ["toy_text_oracle"]


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
    of_gymnasium = any(
        kind.__module__.startswith("gymnasium.envs.toy_text.") for kind in type(base).__mro__
    )
    has_tables = hasattr(base, "P") and hasattr(base, "initial_state_distrib")
    if not of_gymnasium or not has_tables or getattr(base, "fickle_passenger", False):
        return None
    return TabularMDP.from_gymnasium(base).oracle(horizon=horizon)
