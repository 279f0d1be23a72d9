"""What agents with an `ActorCritic` share beside their update: being made, saved and loaded."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from typing import Any

import numpy as np
import torch

from registry.contracts import Callback
from registry.errors import SettingError
from registry.seeding import Stream, generator
from rlsuite_agents.parts.actor_critic import ActorCritic
from rlsuite_agents.parts.agent_checkpoint import load_agent_checkpoint, save_agent_checkpoint
from rlsuite_agents.parts.collector import Collector, learn_in_lanes
from rlsuite_agents.parts.convolution import body_of
from rlsuite_agents.parts.device import resolve_device
from rlsuite_agents.parts.device_networks import DeviceActorCritic
from rlsuite_agents.parts.episodes import Episodes
from rlsuite_agents.parts.features import Encoder
from rlsuite_agents.parts.heads import Head, head_of
from rlsuite_agents.parts.metrics import start_clock
from rlsuite_agents.parts.rollout import Rollout
from rlsuite_agents.parts.settings import hidden_layers
from rlsuite_agents.parts.spaces import single_spaces

__all__ = ["learn", "load", "save", "set_up", "step"]


def set_up(
    agent: Any,
    env: Any,
    config: Any,
    seed: int,
    device: str,
    make_rollout: Callable[[int, Head, Any], Rollout | Episodes],
    gains: tuple[float, float] = (0.01, 1.0),
) -> None:
    """Gives an agent its attributes: generators, encoder, head, networks, collector, counters.

    Args:
        agent: whose constructor this is.
        env: an environment or a vector of them.
        config: its settings.
        seed: of all randomness.
        device: where gradients are computed.
        make_rollout: what holds experience, from the length of a row of features, the head, and
            the type of the features.
        gains: of the first weights of the last layers, of policy and value.

    Raises:
        SettingError: the device is not there, `num_envs` does not fit the environment, or images
            are to be normalised.
        UnsupportedSpaceError: the spaces cannot be handled.
    """
    agent.env, agent.config, agent.num_timesteps, agent.unspent = env, config, 0, 0
    agent.rng = generator(seed, Stream.AGENT, 0)
    agent.prediction_rng = generator(seed, Stream.AGENT, 1)
    observation_space, action_space = single_spaces(env)
    agent.encoder = encoder = Encoder(observation_space, images=True)
    agent.device = resolve_device(device, images=encoder.image is not None)
    agent.head = head_of(action_space, type(agent).__name__)
    agent.networks = _networks(encoder, agent.head, config, agent.device, seed, gains)
    agent.rollout = make_rollout(encoder.size, agent.head, encoder.dtype)
    agent.collector = Collector(env, config, agent.encoder, agent.head, agent.rollout, seed)
    agent.session, agent.episodes = agent.collector.lanes, agent.collector.episodes
    agent.metrics, agent.on_update = None, None
    start_clock(agent)


def _networks(
    encoder: Encoder,
    head: Head,
    config: Any,
    device: torch.device,
    seed: int,
    gains: tuple[float, float],
) -> ActorCritic | DeviceActorCritic:
    """By hand on a CPU; on a device, and behind convolutions, by autograd."""
    if encoder.image is not None and config.normalize_observations:
        raise SettingError(
            f"{type(config).__name__}.normalize_observations is for rows of numbers; the bytes of "
            "an image are divided by 255 anyway. Leave it False."
        )
    hidden = hidden_layers(config.net_arch, encoder.image)
    rest = (head, hidden, config.activation, generator(seed, Stream.AGENT, 2))
    if encoder.image is None and device.type == "cpu":
        return ActorCritic(encoder.size, *rest, gains)
    return DeviceActorCritic(body_of(encoder.size, encoder.image), *rest, device, gains)


def learn(agent: Any, total_timesteps: int, callback: Callback | None = None) -> Any:
    """Takes `total_timesteps` further steps, all environments together; may be called again.

    Steps too few for one of every environment, and a part of a rollout, are kept for the next call.

    Args:
        agent: whose method this is.
        total_timesteps: at least 0.
        callback: called with the agent after each step of all environments; False stops.

    Raises:
        SettingError: the number is not whole or is negative.
        InvalidObservationError: an environment returned NaN.
        DivergenceError: the loss has no finite gradient any more.
    """
    start_clock(agent)
    with agent.networks.learning():
        return learn_in_lanes(agent, total_timesteps, callback)


def step(agent: Any) -> int:
    """One step of every environment, and `agent.update()` where a rollout is full; how many."""
    taken: int = agent.collector.step(agent.networks, agent.rng, agent.num_timesteps)
    agent.num_timesteps += taken
    if agent.rollout.full:
        agent.update()
    return taken


def save(agent: Any, path: str | PathLike[str]) -> None:
    """Writes all that is needed to go on bit for bit; see `parts.agent_checkpoint`."""
    arrays = {
        "parameters": agent.networks.parameters.vector,
        **agent.optimizer.arrays(),
        **agent.collector.arrays(),
    }
    own = {"filled": agent.rollout.filled, "unspent": agent.unspent}
    save_agent_checkpoint(agent, path, arrays, own)


def load(cls: Any, path: str | PathLike[str], env: Any = None, device: str = "cpu") -> Any:
    """Reads a checkpoint; without `env` the agent can predict, but not learn.

    Raises:
        CheckpointError: the file cannot be used, or belongs to another environment.
    """
    agent, found = load_agent_checkpoint(cls, path, env, device)
    parameters, own = agent.networks.parameters, found.value("own", dict)
    parameters.put(found.array("parameters", parameters.vector.shape, np.float32))
    agent.optimizer.restore(found)
    agent.collector.restore(found, own)
    agent.unspent = int(own["unspent"])
    return agent
