"""Saving and loading of agents that learn step by step: everything but their own arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from registry.errors import CheckpointError
from rlsuite_agents.parts.checkpoint import (
    Checkpoint,
    generator_state,
    load_checkpoint,
    restore_generator,
    save_checkpoint,
)
from rlsuite_agents.parts.env_state import capture, decode, encode, restore
from rlsuite_agents.parts.spaces import (
    Detached,
    single_spaces,
    space_from_json,
    space_to_json,
)
from rlsuite_agents.parts.tables import arrays_of, restore_arrays

__all__ = [
    "copy_of_q",
    "load_agent_checkpoint",
    "load_tables",
    "resume_session",
    "save_agent_checkpoint",
    "save_tables",
    "session_state",
]


def save_agent_checkpoint(
    agent: Any,
    path: str | PathLike[str],
    arrays: Mapping[str, NDArray[Any]],
    own: Mapping[str, Any] | None = None,
) -> None:
    """Writes arrays, counters, generators, the session and the environment's state.

    Args:
        agent: offers `id`, `config`, `num_timesteps`, `rng`, `prediction_rng`, `env`, `session`.
        path: where.
        arrays: what the agent has learned.
        own: further state of the agent, as JSON.

    Raises:
        CheckpointError: it cannot be written.
    """
    observation_space, action_space = single_spaces(agent.env)
    state = {
        "num_timesteps": agent.num_timesteps,
        "rng": generator_state(agent.rng),
        "prediction_rng": generator_state(agent.prediction_rng),
        "observation_space": space_to_json(observation_space),
        "action_space": space_to_json(action_space),
        "session": session_state(agent.session),
        "own": dict(own or {}),
    }
    save_checkpoint(path, agent=agent.id, config=agent.config, arrays=arrays, state=state)


def load_agent_checkpoint(
    agent_type: Any,
    path: str | PathLike[str],
    env: gym.Env[Any, Any] | None,
    device: str,
    **more: Any,
) -> tuple[Any, Checkpoint]:
    """Builds the agent of a checkpoint; the caller fills in its own arrays.

    Args:
        agent_type: the class, with `id` and `config_type`.
        path: the checkpoint.
        env: the environment to learn on in, put back where it was; None to predict only.
        device: handed to the class.
        **more: handed to the class as well.

    Returns:
        The agent and the checkpoint, in whose `state` the agent's own entries stand too.

    Raises:
        CheckpointError: the file is damaged or another agent's, or `env` has other spaces or cannot
            be put back where the saved one was.
    """
    found = load_checkpoint(path, agent=agent_type.id, config_type=agent_type.config_type)
    attached = _detached(found) if env is None else _same_spaces(found, env)
    agent = agent_type(attached, found.config, seed=0, device=device, **more)
    agent.num_timesteps = found.value("num_timesteps", int)
    restore_generator(agent.rng, found.value("rng", dict))
    restore_generator(agent.prediction_rng, found.value("prediction_rng", dict))
    _restore_session(agent.session, found, env)
    return agent, dataclasses.replace(found, state={**found.state, **found.value("own", dict)})


def save_tables(agent: Any, path: str | PathLike[str]) -> None:
    """Writes all that is needed to go on bit for bit: the tables, and what every agent has.

    The method `save` of an agent with `tables`; see `save_agent_checkpoint`.
    """
    save_agent_checkpoint(agent, path, arrays_of(agent.tables))


def load_tables(restore: Callable[[Any, Checkpoint], None] = restore_arrays) -> Any:
    """The class method `load` of an agent with `tables`, which `restore(tables, checkpoint)` fills.

    Where tables hold indices, `restore` checks them: compiled rules do not.
    """

    def load(cls: Any, path: str | PathLike[str], env: Any = None, device: str = "cpu") -> Any:
        """Reads a checkpoint; without `env` the agent can predict, but not learn."""
        agent, checkpoint = load_agent_checkpoint(cls, path, env, device)
        restore(agent.tables, checkpoint)
        return agent

    return classmethod(load)


def copy_of_q(agent: Any) -> NDArray[np.float64]:
    """A copy of Q, [S, A]; the property `q` of an agent with `tables`."""
    q: NDArray[np.float64] = agent.tables.q.copy()
    return q


def session_state(session: Any) -> dict[str, Any]:
    """A `Session`, or the `Lanes` of several, as JSON."""
    if session.unrestored is not None:
        return session.unrestored
    if hasattr(session, "capture"):
        return session.capture()
    return {
        "over": session.over,
        "seed": session.seed,
        "mask": encode(session.mask),
        "environment": capture(session.env, session.tape),
    }


def resume_session(session: Any, saved: Mapping[str, Any]) -> None:
    """Puts a fresh session, or lanes, where `session_state` found others.

    Raises:
        CheckpointError: the environment cannot be put back there.
        KeyError, TypeError, ValueError: the state is malformed.
    """
    if hasattr(session, "restore"):
        session.restore(saved)
        return
    session.over, session.seed = saved["over"], saved["seed"]
    session.mask, environment = decode(saved["mask"]), saved["environment"]
    if environment is not None:
        restore(session.env, environment, session.tape)


def _restore_session(session: Any, found: Checkpoint, env: gym.Env[Any, Any] | None) -> None:
    saved = found.value("session", dict)
    if env is None:
        session.unrestored = saved  # so that saving again loses nothing
        return
    try:
        resume_session(session, saved)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{found.path}: the running episode is not readable.") from error


def _detached(found: Checkpoint) -> Detached:
    observation_space, action_space = _spaces(found)
    if observation_space is None or action_space is None:
        raise CheckpointError(
            f"{found.path} was saved in spaces that a checkpoint cannot describe: "
            "load it with load(path, env=...)."
        )
    return Detached(observation_space, action_space)


def _same_spaces(found: Checkpoint, env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    names = ("observation_space", "action_space")
    for name, saved, given in zip(names, _spaces(found), single_spaces(env), strict=True):
        if saved is not None and saved != given:
            raise CheckpointError(
                f"{found.path} was trained with the {name} {saved}, but this environment has "
                f"{given}."
            )
    return env


def _spaces(found: Checkpoint) -> tuple[Any, Any]:
    return tuple(  # type: ignore[return-value]
        space_from_json(found.value(name, (dict, type(None))))
        for name in ("observation_space", "action_space")
    )
