"""What agents that learn from logged data have in common: where it comes from, and checkpoints.

Such an agent takes no step in its environment, which only says what the spaces are. It keeps its
`data`, their `digest`, and a `session` that never begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from registry.errors import CheckpointError, SettingError
from registry.logged_data import LoggedData
from rlsuite_agents.parts.agent_checkpoint import load_agent_checkpoint, save_agent_checkpoint
from rlsuite_agents.parts.checkpoint import Checkpoint
from rlsuite_agents.parts.spaces import Detached, table_rows

__all__ = [
    "check_data",
    "load_offline",
    "needed_data",
    "read_data",
    "save_offline",
    "states_of",
]


def check_data(config: Any) -> None:
    """Raises `SettingError` unless `data` is the path of a file, or empty."""
    if not isinstance(config.data, str):
        raise SettingError(
            f"{type(config).__name__}.data must be the path of a data set, got {config.data!r}. "
            "Logged data in memory go beside the settings: data=... of the class."
        )


def read_data(env: Any, config: Any, data: LoggedData | None, agent: str) -> LoggedData | None:
    """The data that are handed over or that the settings name; None without an environment.

    Raises:
        SettingError: there are no data, or two sets of them.
        DataError: the file cannot be read, or does not fit the spaces of the environment.
    """
    if data is not None and config.data:
        raise SettingError(f"{agent} is given data twice: the setting data={config.data!r} too.")
    if data is None and not isinstance(env, Detached):
        if not config.data:
            raise SettingError(
                f"{agent} learns from logged data: name a file in its setting `data`, such as "
                "`rlsuite collect` writes, or hand them over beside the environment, data=..."
            )
        data = LoggedData.load(config.data)
    if data is not None:
        data.check_spaces(env.observation_space, env.action_space)
    return data


def needed_data(agent: Any) -> LoggedData:
    """The data; raises `SettingError` if the agent was loaded without them."""
    if agent.data is None:
        raise SettingError(
            "this agent was loaded without an environment, so it can predict but not learn; load "
            "it with load(path, env=...), and data=... if its data came from no file."
        )
    found: LoggedData = agent.data
    return found


def states_of(agent: Any, observations: Any) -> NDArray[np.int64]:
    """Observations [B] as numbers of states; raises `InvalidObservationError`."""
    return np.array(table_rows(range(agent.env.observation_space.n), observations), np.int64)


def save_offline(agent: Any, path: str | PathLike[str], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes what was learned, counters and generators; of the data only a digest."""
    save_agent_checkpoint(agent, path, arrays, {"data": agent.digest})


def load_offline(
    agent_type: Any,
    path: str | PathLike[str],
    env: gym.Env[Any, Any] | None,
    device: str,
    data: LoggedData | None,
) -> tuple[Any, Checkpoint]:
    """The agent of a checkpoint; without an environment it can predict, but not learn.

    Raises:
        CheckpointError: it has learned from other data, or the file is damaged.
    """
    agent, found = load_agent_checkpoint(agent_type, path, env, device, data=data)
    digest = found.value("data", str)
    if agent.data is not None and agent.data.digest() != digest:
        raise CheckpointError(
            f"{found.path} has learned from other data than these: their arrays differ."
        )
    agent.digest = digest
    return agent, found
