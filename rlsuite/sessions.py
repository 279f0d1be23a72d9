"""One agent and one environment: what `rlsuite evaluate` and `collect` do, and `train` too."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from registry.catalogue import registry
from registry.errors import CheckpointError, RlsuiteError, SettingError
from registry.logged_data import LoggedData
from registry.seeding import Stream, integer_seed
from registry.specs import TaskSpec
from rlsuite.collecting import collect
from rlsuite.diagnosis import write_failure
from rlsuite.evaluation import Evaluation, Evaluator, check_whole
from rlsuite.making import (
    build_agent,
    check_environment_id,
    check_keywords,
    make_config,
    make_environment,
    train_env,
)
from rlsuite.training import TrainingLog
from rlsuite.views import AgentView, EpisodeRecorder

if TYPE_CHECKING:
    from rlsuite.ope import BanditLog

__all__ = [
    "collect_agent",
    "evaluate_agent",
    "evaluation_json",
    "json_plain",
    "load_policy",
    "make_learner",
    "record_agent",
    "refuse_unwritable",
    "task_with",
]


def task_with(identifier: str, keywords: Mapping[str, Any]) -> TaskSpec:
    """The task of an id, with further keywords for its environment.

    Raises:
        UnknownIdError: neither a task nor an environment has this id.
        SettingError: the environment takes no such keyword (the ones it takes are named), or it
            cannot be made with this value.
    """
    task = registry.task_spec(identifier)
    check_environment_id(task.env_id)
    if not keywords:
        return task
    check_keywords(task.env_id, keywords)
    task = dataclasses.replace(task, env_kwargs={**task.env_kwargs, **keywords})
    try:
        make_environment(task).close()
    except (RlsuiteError, gym.error.Error):
        raise
    except Exception as error:  # somebody else's class: it may refuse a value in any way
        raise SettingError(
            f"{identifier!r} cannot be made with {_assignments(keywords)}: "
            f"{type(error).__name__}: {error}"
        ) from error
    return task


def _assignments(keywords: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in keywords.items())


def evaluate_agent(
    agent: str,
    environment: str,
    *,
    checkpoint: Path | None = None,
    episodes: int = 20,
    seed: int = 0,
    deterministic: bool | None = None,
    settings: Mapping[str, Any] | None = None,
    env_settings: Mapping[str, Any] | None = None,
    device: str = "cpu",
) -> Evaluation:
    """Evaluates the agent of a checkpoint, or without one an agent that has learned nothing.

    Raises:
        RlsuiteError: whatever is refused, such as settings beside a checkpoint, which has its own.
    """
    check_whole("episodes", episodes)
    task = task_with(environment, env_settings or {})
    policy = _policy(agent, checkpoint, task, settings or {}, seed=seed, device=device)
    with Evaluator(task, lambda: make_environment(task)) as evaluator:
        return evaluator(policy, episodes=episodes, seed=seed, deterministic=deterministic)


def collect_agent(
    agent: str,
    environment: str,
    *,
    checkpoint: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    env_settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str = "cpu",
    **keywords: Any,
) -> LoggedData:
    """`collect` with the agent of a checkpoint, or without one with an untrained agent.

    Raises:
        RlsuiteError: whatever is refused, such as settings beside a checkpoint, which has its own.
    """
    task = task_with(environment, env_settings or {})
    policy = _policy(agent, checkpoint, task, settings or {}, seed=seed, device=device)
    trained = {
        "task": task.id,
        "agent": agent,
        "num_timesteps": int(getattr(policy, "num_timesteps", 0)),
    }
    with closing(make_environment(task)) as env:
        return collect(policy, env, seed=seed, about=trained, **keywords)


def record_agent(
    agent: str,
    environment: str,
    steps: int,
    *,
    checkpoint: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    env_settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str = "cpu",
    learn: bool = True,
) -> BanditLog:
    """`rlsuite.ope.record` with the agent of a checkpoint, or without one with an untrained agent.

    Raises:
        RlsuiteError: whatever is refused, such as settings beside a checkpoint, which has its own.
    """
    from rlsuite.ope.recording import record

    task = task_with(environment, env_settings or {})
    policy = _policy(agent, checkpoint, task, settings or {}, seed=seed, device=device)
    with closing(make_environment(task)) as env:
        return record(policy, env, steps, seed=seed, learn=learn)


def _policy(
    agent: str,
    checkpoint: Path | None,
    task: TaskSpec,
    settings: Mapping[str, Any],
    *,
    seed: int,
    device: str,
) -> Any:
    if checkpoint is None:
        return make_learner(agent, task, settings, TrainingLog(), seed=seed, device=device)
    return load_policy(agent, checkpoint, task, settings, device=device)


def load_policy(
    agent: str, checkpoint: Path, task: TaskSpec, settings: Mapping[str, Any], *, device: str
) -> Any:
    """The agent of a checkpoint, which can predict, for a task.

    Raises:
        SettingError: there are settings; a checkpoint has its own.
        CheckpointError: it cannot be read, or was trained in other spaces than the task's.
    """
    if settings:
        raise SettingError(
            f"{checkpoint} holds the settings of its agent, so {', '.join(settings)} cannot be "
            "set; settings are for an agent that is made anew."
        )
    policy = registry.agent_spec(agent).load().load(checkpoint, device=device)
    _check_spaces(checkpoint, policy, task)
    return policy


def make_learner(
    agent: str,
    task: TaskSpec,
    settings: Mapping[str, Any],
    log: TrainingLog,
    *,
    seed: int,
    device: str,
    stage: Callable[[gym.Env[Any, Any]], gym.Env[Any, Any]] | None = None,
) -> Any:
    """An agent in its training environment, which counts its steps and hides the answer key.

    `stage` is put around the environment of a task, below what counts and hides; around the first
    one where the agent learns in several.
    """
    spec = registry.agent_spec(agent)
    agent_type = spec.load()
    config = make_config(spec, agent_type, settings)

    def make(k: int) -> gym.Env[Any, Any]:
        first_seed = integer_seed(seed, Stream.ENVIRONMENT, k)
        bare = make_environment(task)
        staged = stage(bare) if stage is not None and k == 0 else bare
        recorder = EpisodeRecorder(staged, log, first_seed)
        recorder.action_space.seed(first_seed)
        recorder.observation_space.seed(first_seed)
        return AgentView(recorder, model="model" in spec.requires)

    env = train_env(spec, config, make)
    return build_agent(spec, agent_type, config, env, seed=seed, device=device)


def _check_spaces(checkpoint: Path, policy: Any, task: TaskSpec) -> None:
    """Raises `CheckpointError` where the agent was trained in other spaces than the task's."""
    with closing(make_environment(task)) as env:
        for name in ("observation_space", "action_space"):
            given = getattr(env, name)
            trained = getattr(getattr(policy, "env", None), name, given)
            if trained != given:
                raise CheckpointError(
                    f"{checkpoint} was trained with the {name} {trained}, but {task.id!r} has "
                    f"{given}. Evaluate it in an environment like the one it was trained in."
                )


def refuse_unwritable(path: Path) -> None:
    """Raises `CheckpointError` unless a file can be made at `path`; leaves nothing behind."""
    reason = "it is a folder" if path.is_dir() else write_failure(path.parent)
    if not path.parent.is_dir():
        reason = "its folder does not exist"
    if reason is not None:
        raise CheckpointError(
            f"{path} cannot be written: {reason}. Give a path in a folder that exists and can be "
            "written; nothing was done yet."
        )


def evaluation_json(evaluation: Evaluation) -> str:
    """The evaluation as one JSON object; numbers that JSON cannot hold become null."""
    return json.dumps(json_plain(dataclasses.asdict(evaluation)), indent=2, allow_nan=False)


def json_plain(value: Any) -> Any:
    """What JSON can hold: NaN and infinity become None."""
    if isinstance(value, Mapping):
        return {str(key): json_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return json_plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
