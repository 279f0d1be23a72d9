"""What agents that write texts share beside their update: being made, learning, acting, saving."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

from registry.contracts import Callback
from registry.errors import CheckpointError, RlsuiteError, SettingError
from registry.seeding import Stream, generator
from rlsuite_agents.loops import check_steps
from rlsuite_agents.parts.agent_checkpoint import load_agent_checkpoint, save_agent_checkpoint
from rlsuite_agents.parts.checkpoint import load_checkpoint
from rlsuite_agents.parts.device import resolve_device, single_thread
from rlsuite_agents.parts.metrics import start_clock
from rlsuite_agents.parts.optimizer_state import optimizer_arrays, restore_optimizer
from rlsuite_agents.parts.schedules import check_horizon, check_rate
from rlsuite_agents.parts.settings import check_choice, check_count, check_range
from rlsuite_agents.parts.text_course import TextCourse
from rlsuite_agents.parts.text_models import starting_policy, text_task

__all__ = [
    "SMALL",
    "Finished",
    "Precision",
    "action_probabilities",
    "check_clip",
    "check_shared",
    "check_start",
    "filled",
    "learn",
    "load",
    "save",
    "set_up",
    "take_texts",
]

Precision = Literal["float32", "bfloat16"]
"""Of matrix products."""

Presets = Mapping[str, Mapping[str, Any]]
"""Values of settings, by preset and name."""

Readers = Mapping[str, tuple[str, tuple[Any, ...]]]
"""Names that are read only where another setting has one of some values."""

COUNTS = ("group_size", "n_groups", "n_texts", "n_epochs", "minibatches", "microbatches")

SMALL = {"layers": 2, "width": 32, "heads": 2}
"""The transformer of an agent that starts from no folder."""


def filled(config: Any, presets: Presets, readers: Readers) -> Any:
    """The settings with the preset's value where none was given; the same object if it is whole.

    Args:
        config: settings in which None stands for the preset's value.
        presets: the values, by preset and name.
        readers: names that are read only where another setting has one of some values; elsewhere
            they stay None.

    Raises:
        SettingError: there is no such preset.
    """
    check_choice(config, "preset", tuple(presets))
    preset = presets[config.preset]
    missing = {name: value for name, value in preset.items() if getattr(config, name) is None}
    for name, (other, values) in readers.items():
        if name in missing and _value(config, missing, other) not in values:
            del missing[name]
    return dataclasses.replace(config, **missing) if missing else config


def _value(config: Any, missing: Mapping[str, Any], name: str) -> Any:
    given = getattr(config, name)
    return missing.get(name) if given is None else given


def check_shared(config: Any, readers: Readers, choices: Mapping[str, Sequence[str]]) -> None:
    """Checks what the settings of these agents have in common.

    Args:
        config: filled settings.
        readers: as for `filled`.
        choices: names of settings and the texts that they may be, where they are not None.

    Raises:
        SettingError: a value outside its range, or one that nobody reads.
    """
    kind = type(config).__name__
    for name, (other, values) in readers.items():
        if getattr(config, name) is not None and getattr(config, other) not in values:
            raise SettingError(
                f"{kind}.{name} is read only where {other} is {' or '.join(map(repr, values))}, "
                f"and it is {getattr(config, other)!r}: leave {name} out, got "
                f"{getattr(config, name)!r}."
            )
    for name, texts in {**choices, "precision": ("float32", "bfloat16")}.items():
        if getattr(config, name, None) is not None:
            check_choice(config, name, texts)
    check_rate(config, "learning_rate")
    check_horizon(config, "learning_rate")
    check_range(config, "max_grad_norm", "(0, inf]")
    if getattr(config, "beta", None) is not None:
        check_range(config, "beta", "[0, inf]")
    for name in (*SMALL, *COUNTS):
        if getattr(config, name, None) is not None:
            check_count(config, name, 2 if name == "group_size" else 1)
    check_start(config)
    _check_parts(config)


def check_start(config: Any) -> None:
    """Raises `SettingError` where a shape is given beside a folder, which has its own."""
    given = [name for name in SMALL if getattr(config, name) is not None]
    if config.start not in ("reference", "random") and given:
        raise SettingError(
            f"{type(config).__name__}.{given[0]} is the shape of a new transformer, and "
            f"{config.start!r} is a folder with a model of its own: leave {given[0]} out."
        )


def _check_parts(config: Any) -> None:
    """Each part of a minibatch has a text."""
    texts = getattr(config, "n_texts", None) or math.inf
    if hasattr(config, "n_groups"):
        texts = config.group_size * config.n_groups
    parts = getattr(config, "minibatches", 1) * getattr(config, "microbatches", 1)
    if parts > texts:
        raise SettingError(
            f"{type(config).__name__}.minibatches times microbatches must be at most the {texts} "
            f"texts of an update, got {parts}."
        )


def check_clip(config: Any) -> None:
    """Raises `SettingError` unless `clip_range` is ε, or (ε_low, ε_high), above 0."""
    value = config.clip_range
    both = tuple(value) if isinstance(value, tuple | list) else (value, value)
    numbers = [e for e in both if isinstance(e, int | float) and not isinstance(e, bool) and e > 0]
    if len(both) != 2 or len(numbers) != 2:
        raise SettingError(
            f"{type(config).__name__}.clip_range must be a number above 0, or a pair (low, high) "
            f"of them, got {value!r}."
        )


def set_up(
    agent: Any, env: Any, config: Any, seed: int, device: str, *, value_head: bool = False
) -> None:
    """Gives an agent its attributes: generators, task, policy, optimiser, counters.

    Raises:
        SettingError: the device is not there, or the model in a folder does not fit the task.
        UnsupportedSpaceError: the environment is no token task.
    """
    s = agent.settings
    agent.env, agent.config, agent.num_timesteps = env, config, 0
    agent.rng = generator(seed, Stream.AGENT, 0)
    agent.prediction_rng = generator(seed, Stream.AGENT, 1)
    agent.task = task = text_task(env, type(agent).__name__)
    agent.device = resolve_device(device)
    sizes = {name: getattr(s, name) or size for name, size in SMALL.items()}
    agent.policy = starting_policy(
        s.start,
        task,
        **sizes,
        rng=generator(seed, Stream.AGENT, 2),
        device=agent.device,
        value_head=value_head,
        precision=s.precision,
    )
    agent.writer = agent.policy  # whose texts are learned from
    agent.beta = 0.0 if getattr(s, "kl_in", None) == "none" else _beta(s, task)
    agent.optimizer = torch.optim.Adam(agent.policy.parameters(), lr=1.0, fused=True)
    agent.metrics, agent.on_update, agent.episodes = None, None, Finished()
    start_clock(agent)


def _beta(settings: Any, task: Any) -> float:
    given = getattr(settings, "beta", None)
    return float(task.beta if given is None else given)


def take_texts(agent: Any, seed: int, n: int, group_size: int = 1) -> None:
    """Gives an agent that learns from texts its `course`, the source of batches of n of them."""
    agent.course = TextCourse(agent.env, agent.task, seed, n, group_size)
    agent.session = agent.course


class Finished:
    """Finished texts: how many there were, and the means of the latest batch."""

    def __init__(self) -> None:
        self.count, self._means = 0, (float("nan"), float("nan"))

    def add(self, rewards: NDArray[np.float64], lengths: NDArray[np.int64]) -> None:
        """Counts a batch."""
        self.count += len(rewards)
        self._means = float(np.mean(rewards)), float(np.mean(lengths))

    def means(self) -> tuple[float, float]:
        """Mean reward and mean number of tokens."""
        return self._means


def learn(agent: Any, total_timesteps: int, callback: Callback | None = None) -> Any:
    """Writes `total_timesteps` further tokens, exactly; may be called again.

    A token is a step of the environment. Batches are written as a whole and learned from when all
    their tokens are counted: what this call does not count is kept for the next one.

    Args:
        agent: whose method this is.
        total_timesteps: at least 0.
        callback: called with the agent after each token; False stops.

    Raises:
        SettingError: the number is not whole or is negative.
        DivergenceError: the loss has no finite gradient any more.
    """
    start_clock(agent)
    budget = check_steps(total_timesteps)
    _resume(agent)
    with single_thread():
        while budget:
            taken = agent.course.take(1 if callback else budget, agent)
            agent.num_timesteps += taken
            budget -= taken
            batch = agent.course.finished()
            if batch is not None:
                agent.episodes.add(batch.rewards, batch.mask.sum(axis=1))
                agent.update(batch)
            if callback is not None and callback(agent) is False:
                break
    return agent


def action_probabilities(
    agent: Any, observations: Any, *, deterministic: bool, mask: Any = None
) -> NDArray[np.float64]:
    """π(a | text), [B, A], for observations of a token task.

    Args:
        agent: whose method this is.
        observations: a batch of B: `tokens`, `length` and what else the task shows.
        deterministic: all probability on the likeliest token, the lowest among equals.
        mask: allowed tokens, [B, A]; None is the observations' own `action_mask`, or all.
    """
    with single_thread():
        probabilities: NDArray[np.float64] = agent.policy.action_probabilities(
            observations, deterministic=deterministic, mask=mask
        )
    return probabilities


def save(agent: Any, path: str | PathLike[str]) -> None:
    """Writes all that is needed to go on bit for bit; see `parts.agent_checkpoint`."""
    arrays = {**agent.policy.arrays("policy"), **optimizer_arrays(agent.optimizer)}
    own = {
        "beta": agent.beta,
        "episodes": agent.episodes.count,
        "task": _card(agent.env),
        **(agent.own() if hasattr(agent, "own") else {}),
    }
    save_agent_checkpoint(agent, path, arrays, own)


def load(cls: Any, path: str | PathLike[str], env: Any = None, device: str = "cpu") -> Any:
    """Reads a checkpoint.

    The reference that the policy stands on belongs to the task. Without `env` the task is made
    again from its id and keywords, without the wrappers that stood around it.

    Raises:
        CheckpointError: the file cannot be used, belongs to another environment, or its task cannot
            be made again.
    """
    given = env is not None
    agent, found = load_agent_checkpoint(
        cls, path, env if given else _made_again(cls, path), device
    )
    agent.policy.restore(found, "policy")
    restore_optimizer(agent.optimizer, found)
    agent.beta = float(found.value("beta", (float, int)))
    agent.episodes.count = found.value("episodes", int)
    if hasattr(agent, "restore"):
        agent.restore(found)
    if given:
        _resume(agent)
    return agent


def _resume(agent: Any) -> None:
    """Goes on where a checkpoint stood, once the policy is what it was then."""
    if agent.session.unrestored is not None:
        with single_thread():
            agent.session.resume(agent)


def _card(env: Any) -> dict[str, Any] | None:
    """Id and keywords from which an environment can be made again; None where JSON cannot say."""
    spec = getattr(env, "spec", None)
    if spec is None:
        return None
    card = {"id": spec.id, "kwargs": dict(spec.kwargs)}
    try:
        json.dumps(card, allow_nan=False)
    except (TypeError, ValueError):
        return None
    return card


def _made_again(cls: Any, path: str | PathLike[str]) -> Any:
    """The environment that a checkpoint names, from the ids that Gymnasium knows here."""
    found = load_checkpoint(path, agent=cls.id, config_type=cls.config_type)
    card = found.value("own", dict).get("task")
    if card is None:
        raise CheckpointError(
            f"{path} was saved in an environment that a checkpoint cannot describe: load it with "
            "load(path, env=...)."
        )
    try:
        return gym.make(str(card["id"]).rpartition(":")[2], **card["kwargs"])
    except (gym.error.Error, RlsuiteError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} was saved in {card!r:.80}, which cannot be made here ({error}): load it with "
            "load(path, env=...)."
        ) from error
