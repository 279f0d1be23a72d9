"""What agents that predict have in common: settings, a fixed policy, and the values they answer.

Such an agent has `tables` with V as `v` [S] and the policy as `pi` [S, A].
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.errors import SettingError
from rlsuite_agents.functional.practice import Practice
from rlsuite_agents.parts.practice import check_step_size, practice_of
from rlsuite_agents.parts.settings import check_range
from rlsuite_agents.parts.spaces import table_rows

__all__ = ["action_probabilities", "check_prediction", "state_practice", "state_values"]


def check_prediction(config: Any) -> None:
    """Raises `SettingError` unless policy, step size, γ and first value are in range."""
    check_step_size(config)
    check_range(config, "gamma", "[0, 1]")
    check_range(config, "initial_value", "(-inf, inf)")
    if not isinstance(config.policy, str):
        raise SettingError(
            f"{type(config).__name__}.policy must be 'uniform' or the path of a file, got "
            f"{config.policy!r:.80}."
        )


def state_practice(config: Any, n_states: int) -> Practice:
    """The step sizes of states: those of a table with one action, and nothing to explore."""
    bare = SimpleNamespace(step_size=config.step_size, epsilon=0.0, exploration="greedy")
    return practice_of(bare, n_states, 1)


def state_values(agent: Any, observations: Any = None) -> NDArray[np.float64]:
    """V(s) of a batch of observations, or of all states: [B] or [S]. The method of an agent."""
    v = agent.tables.v
    return np.array(v if observations is None else table_rows(v, observations), np.float64)


def action_probabilities(
    agent: Any, observations: Any, *, deterministic: bool, mask: Any = None
) -> NDArray[np.float64]:
    """π(a|s) of the policy that is followed, or its likeliest action: [B, A].

    The method of an agent. Masked actions have none of it, and the others share the rest in
    proportion; where π gives the others nothing, evenly.
    """
    pi = agent.tables.pi
    rows = np.array(table_rows(pi, observations)).reshape(-1, pi.shape[1])
    allowed = np.ones(rows.shape, bool) if mask is None else np.asarray(mask, bool)
    rows = np.where(allowed, rows, 0.0)
    rows = np.where(rows.sum(axis=1, keepdims=True) > 0.0, rows, allowed)
    if deterministic:
        best: NDArray[np.float64] = np.eye(rows.shape[1])[rows.argmax(axis=1)]
        return best
    probabilities: NDArray[np.float64] = rows / rows.sum(axis=1, keepdims=True)
    return probabilities
