"""Makes environments, agents and their settings from ids, with a sentence where it cannot."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from registry.catalogue import registry
from registry.errors import PluginError, SettingError, UnsupportedSpaceError, did_you_mean
from registry.seeding import check_seed
from registry.specs import AgentSpec, TaskSpec, imported_id, load_entry_point

__all__ = ["build_agent", "check_fit", "make_agent", "make_config", "make_environment", "train_env"]

ELSEWHERE: Mapping[str, tuple[str, ...]] = {
    "alpha": ("step_size",),
    "discount": ("gamma",),
    "exploration_fraction": ("exploration_steps",),
    "learning_rate": ("step_size",),
    "lr": ("learning_rate", "step_size"),
}
"""What other libraries call settings, and what they are called here; not every agent has them."""

MADE_BY_GYMNASIUM = ("max_episode_steps", "render_mode", "disable_env_checker")
"""Keywords that `gymnasium.make` itself takes, whatever the environment."""


def make_agent(
    id: str,
    env: str | gym.Env[Any, Any] | VectorEnv[Any, Any, Any],
    *,
    seed: int = 0,
    device: str = "cpu",
    **settings: Any,
) -> Any:
    """Makes a registered agent for an environment.

    Args:
        id: Id of the agent, such as `"rlsuite/QLearning-v0"`; `rlsuite list agents` shows all.
        env: The environment to learn in, or the id of one. An agent of several environments
            (`num_envs` above 1) is given a vector environment of that many; from an id it is made
            here, and so it is from a single environment, of which copies are made from its spec.
        seed: Root of all that the agent draws, at least 0.
        device: `"cpu"`, `"cuda"` or `"auto"`.
        **settings: Settings of the agent, over the defaults of its id; its page in
            `docs/agents/` lists them.

    Returns:
        The agent: `learn(total_timesteps)`, `predict(observation)`, `save(path)`.

    Raises:
        UnknownIdError: no agent, or no environment, has this id; the nearest one is named.
        SettingError: an unknown setting, a value outside its range, or no environment.
        UnsupportedSpaceError: the agent cannot act in this environment's spaces.
    """
    spec = registry.agent_spec(id)
    check_seed(seed)
    agent_type = spec.load()
    config = make_config(spec, agent_type, settings)
    if isinstance(env, str):
        task = registry.task_spec(env)
        env = train_env(spec, config, lambda k: make_environment(task))
    elif isinstance(env, gym.Env):
        env = _with_copies(spec, config, env)
    elif not isinstance(env, VectorEnv):
        raise SettingError(
            f"{id!r} learns in an environment: give a gymnasium.Env, a VectorEnv or an id, got "
            f"{env!r:.80}."
        )
    return build_agent(spec, agent_type, config, env, seed=seed, device=device)


def _with_copies(spec: AgentSpec, config: Any, env: gym.Env[Any, Any]) -> Any:
    """The environment, in a vector with copies of it where the agent wants several."""
    if width_of(spec, config) > 1 and env.spec is None:
        raise SettingError(
            f"num_envs is {width_of(spec, config)}, but {env} has no spec to make copies from; "
            "make it with gym.make, or give an id or a SyncVectorEnv."
        )
    return train_env(spec, config, lambda k: gym.make(env.spec) if k and env.spec else env)


def build_agent(
    spec: AgentSpec, agent_type: Any, config: Any, env: Any, *, seed: int, device: str
) -> Any:
    """The agent, after a check that it can handle the environment.

    Raises:
        PluginError: the class does not keep the contract of an agent.
        UnsupportedSpaceError: it cannot act in these spaces.
        SettingError: it wants another number of environments, or a model that is not there.
    """
    check_contract(spec, agent_type)
    check_fit(spec, env)
    _check_width(spec, config, env)
    return agent_type(env, config, seed=seed, device=device)


def check_contract(spec: AgentSpec, agent_type: Any) -> None:
    """Raises `PluginError` unless the class has the methods of a registered agent.

    Before anything is trained: an agent that cannot be saved would say so too late.
    """
    for method in ("learn", "predict", "save", "load"):
        if not callable(getattr(agent_type, method, None)):
            raise PluginError(
                f"agent {spec.id!r} has no method {method}: a registered agent answers "
                "learn(total_timesteps, callback=None), predict(observation, ...), save(path) and "
                "load(path, env=None, device='cpu')."
            )
    if not _takes_callback(agent_type.learn):
        raise PluginError(
            f"agent {spec.id!r}: learn must take a callback, learn(total_timesteps, "
            f"callback=None), got learn{inspect.signature(agent_type.learn)}."
        )


def _takes_callback(learn: Any) -> bool:
    parameters = list(inspect.signature(learn).parameters.values())
    variable = any(p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL) for p in parameters)
    return variable or any(p.name == "callback" for p in parameters)


def make_config(spec: AgentSpec, agent_type: Any, settings: Mapping[str, Any]) -> Any:
    """The frozen settings of an agent: its defaults, those of the id, then `settings`.

    Raises:
        SettingError: an unknown name (the nearest one is the hint), or a value outside its range.
        PluginError: the class names no dataclass of settings.
    """
    config_type = getattr(agent_type, "config_type", None)
    if not (isinstance(config_type, type) and dataclasses.is_dataclass(config_type)):
        raise PluginError(
            f"agent {spec.id!r}: {agent_type!r} must name its dataclass of settings in the class "
            f"attribute config_type, got {config_type!r}."
        )
    known = [field.name for field in dataclasses.fields(config_type) if field.init]
    for name in settings:
        if name not in known:
            usual = [here for here in ELSEWHERE.get(name, ()) if here in known]
            hint = f" Did you mean {usual[0]!r}?" if usual else did_you_mean(name, known)
            hint = hint or f" Its settings: {', '.join(known) or 'none'}."
            raise SettingError(f"{spec.id!r} has no setting {name!r}.{hint}")
    merged = {**spec.settings, **settings}
    return config_type(**{name: _tuples(value) for name, value in merged.items()})


def _tuples(value: Any) -> Any:
    """Lists as tuples: files know only lists, frozen settings hold tuples."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def make_environment(task: str | TaskSpec) -> gym.Env[Any, Any]:
    """Makes the environment of a task: `gymnasium.make`, then the task's wrappers.

    Raises:
        UnknownIdError: Gymnasium knows no environment of this id.
        SettingError: the environment takes no such keyword.
    """
    spec = registry.task_spec(task) if isinstance(task, str) else task
    env_id = check_environment_id(spec.env_id)
    check_keywords(env_id, spec.env_kwargs)
    env = gym.make(env_id, **spec.env_kwargs)
    for entry_point, keywords in spec.wrappers:
        env = load_entry_point(entry_point)(env, **keywords)
    return env


def check_environment_id(env_id: str) -> str:
    """The id that Gymnasium can make; of `module:id` the part behind the colon.

    Raises:
        UnknownIdError: there is no such environment, or no such module.
    """
    env_id = imported_id(env_id)
    registry.find("env", env_id)  # gives plugins that failed early their second try
    try:
        gym.spec(env_id)
    except gym.error.Error as error:
        raise registry.unknown("env", env_id, also=tuple(gym.registry)) from error
    return env_id


def check_keywords(env_id: str, keywords: Mapping[str, Any]) -> None:
    """Raises `SettingError` where the environment's class takes no keyword of this name.

    A class that takes any keyword is left to `gymnasium.make`.
    """
    if not keywords:
        return
    known = accepted_keywords(env_id)
    if known is None:
        return
    for name in keywords:
        if name not in (*known, *MADE_BY_GYMNASIUM):
            hint = did_you_mean(name, known) or f" Its keywords: {', '.join(known) or 'none'}."
            raise SettingError(f"{env_id!r} has no keyword {name!r}.{hint}")


def accepted_keywords(env_id: str) -> list[str] | None:
    """The keywords that an environment's class takes; None if it takes any."""
    entry_point = gym.spec(env_id).entry_point
    factory = load_entry_point(entry_point) if isinstance(entry_point, str) else entry_point
    if factory is None:
        return None
    parameters = inspect.signature(factory).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return [p.name for p in parameters if p.kind is not p.VAR_POSITIONAL]


def train_env(spec: AgentSpec, config: Any, make: Callable[[int], gym.Env[Any, Any]]) -> Any:
    """The environment that an agent is to learn in: `make(0)`, or a vector of `make(k)`.

    A vector is a `SyncVectorEnv` that resets within the step (`SAME_STEP`), so that every step of
    it is a step of each environment.
    """
    width = width_of(spec, config)
    if width == 1:
        return make(0)
    makers = [lambda k=k: make(k) for k in range(width)]
    return SyncVectorEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP)


def width_of(spec: AgentSpec, config: Any) -> int:
    """How many environments the agent wants side by side."""
    return int(getattr(config, "num_envs", 1)) if spec.vectorized else 1


def check_fit(spec: AgentSpec, env: Any) -> None:
    """Raises `UnsupportedSpaceError` unless the agent can learn in this kind of environment."""
    check_spaces(spec, env)
    _check_requirements(spec, env)


def check_spaces(spec: AgentSpec, env: Any) -> None:
    """Raises `UnsupportedSpaceError` unless the spaces are of the classes the agent names."""
    vector = isinstance(env, VectorEnv)
    if vector and not spec.vectorized:
        raise UnsupportedSpaceError(
            f"{spec.id!r} learns in one environment at a time, got a vector of {env.num_envs}: "
            f"give it a single environment."
        )
    sides = {
        "observation": env.single_observation_space if vector else env.observation_space,
        "action": env.single_action_space if vector else env.action_space,
    }
    for side, space in sides.items():
        allowed = getattr(spec.spaces, side)
        names = {parent.__name__ for parent in type(space).__mro__}
        if "any" not in allowed and not names & set(allowed):
            raise UnsupportedSpaceError(
                f"{spec.id!r} handles {' or '.join(allowed)} {side}s, but {_name(env)} has "
                f"{space}. `rlsuite list agents` shows what each agent can handle."
            )


def _check_width(spec: AgentSpec, config: Any, env: Any) -> None:
    width = width_of(spec, config)
    given = env.num_envs if isinstance(env, VectorEnv) else 1
    if width != given:
        raise SettingError(
            f"{spec.id!r} with num_envs={width} learns in {width} environments, got {given}. "
            f"Give the id of the environment, and they are made for you, or set num_envs={given}."
        )


def _check_requirements(spec: AgentSpec, env: Any) -> None:
    if "texts" in spec.requires and not env.has_wrapper_attr("rollout"):
        raise UnsupportedSpaceError(
            f"{spec.id!r} learns on token tasks, such as 'rlsuite/TokenGeneration-v0', and "
            f"{_name(env)} is none."
        )
    if "model" not in spec.requires:
        return
    tables = ("model", "P")  # ours, and Gymnasium's toy-text tables
    if isinstance(env, VectorEnv) or not any(env.has_wrapper_attr(name) for name in tables):
        raise UnsupportedSpaceError(
            f"{spec.id!r} plans with the model of its environment, and {_name(env)} has no `model`."
        )


def _name(env: Any) -> str:
    spec = getattr(env, "spec", None)
    return spec.id if spec is not None else type(getattr(env, "unwrapped", env)).__name__
