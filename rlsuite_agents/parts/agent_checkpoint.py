"""Saving and loading of agents that learn step by step: everything but their own arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from os import PathLike
from typing import Any

import gymnasium as gym
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
from rlsuite_agents.parts.spaces import Detached, space_from_json, space_to_json

__all__ = ["load_agent_checkpoint", "save_agent_checkpoint"]


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
    session = agent.session
    running = session.unrestored or {
        "over": session.over,
        "seed": session.seed,
        "mask": encode(session.mask),
        "environment": capture(agent.env, session.tape),
    }
    state = {
        "num_timesteps": agent.num_timesteps,
        "rng": generator_state(agent.rng),
        "prediction_rng": generator_state(agent.prediction_rng),
        "observation_space": space_to_json(agent.env.observation_space),
        "action_space": space_to_json(agent.env.action_space),
        "session": running,
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


def _restore_session(session: Any, found: Checkpoint, env: gym.Env[Any, Any] | None) -> None:
    saved = found.value("session", dict)
    if env is None:
        session.unrestored = saved  # so that saving again loses nothing
        return
    try:
        session.over, session.seed = saved["over"], saved["seed"]
        session.mask, environment = decode(saved["mask"]), saved["environment"]
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{found.path}: the running episode is not readable.") from error
    if environment is not None:
        restore(env, environment, session.tape)


def _detached(found: Checkpoint) -> Detached:
    observation_space, action_space = _spaces(found)
    if observation_space is None or action_space is None:
        raise CheckpointError(
            f"{found.path} was saved in spaces that a checkpoint cannot describe: "
            "load it with load(path, env=...)."
        )
    return Detached(observation_space, action_space)


def _same_spaces(found: Checkpoint, env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    for name, saved in zip(("observation_space", "action_space"), _spaces(found), strict=True):
        given = getattr(env, name)
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
