"""The agent that is checked: how to make it, where it learns, and how two of them are compared."""

from __future__ import annotations

import atexit
import dataclasses
import functools
import hashlib
import inspect
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from registry.catalogue import registry
from registry.errors import SettingError, UnknownIdError
from registry.specs import AgentSpec, TaskSpec
from rlsuite.collecting import collect
from rlsuite.episodes import stack
from rlsuite.making import (
    build_agent,
    check_spaces,
    make_config,
    make_environment,
    train_env,
    width_of,
)
from rlsuite.testing.env_subject import refuse_render_mode
from rlsuite.testing.report import Skip
from rlsuite.testing.sanity import Form, TinyTask, Walk, limited
from rlsuite.testing.walks import mask_of, seeded_walk

__all__ = ["AgentSubject", "Course", "agent_subject"]

CLASS_ENTRY_POINT = "rlsuite.testing.agent_subject:AgentSubject"
"""Stands in the spec of a class that is handed in, which no entry point leads to."""

TOKEN_TASK = "rlsuite/TokenGeneration-v0"
"""Where agents that write texts are checked, unless another task is named."""

LOGGED_STEPS = 500
"""Transitions that an agent which learns from data is given."""


class Course(gym.Wrapper[Any, Any, Any, Any]):
    """Notes what is done to an environment: the seeds of its resets, its actions and rewards.

    `again` makes another environment like this one.
    """

    stateless = True

    def __init__(self, make: Callable[[], gym.Env[Any, Any]]) -> None:
        super().__init__(make())
        self.again = make
        self.events: list[tuple[str, Any, Any]] = []

    @property
    def steps(self) -> int:
        """Steps taken."""
        return sum(kind == "step" for kind, _, _ in self.events)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Resets, and notes the seed."""
        self.events.append(("reset", seed, None))
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Steps, and notes action and reward."""
        outcome = self.env.step(action)
        self.events.append(("step", np.asarray(action).tolist(), outcome[1]))
        return outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSubject:
    """A registered agent, or a class, with its settings and where it is to learn.

    `env` is the task whose environment the checks use instead of `Walk`. `steps` is the length of a
    training run in the checks of the contract, `ladder_steps` the largest budget of a tiny task.
    """

    name: str
    spec: AgentSpec
    agent_type: Any
    config: Any = None
    env: TaskSpec | None = None
    steps: int = 240
    ladder_steps: int = 20_000
    is_class: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """How many environments it learns in side by side."""
        return 1 if self.config is None else width_of(self.spec, self.config)

    def promises(self, promise: str) -> bool:
        """Whether the agent's spec names the promise."""
        return promise in self.spec.promises

    def require_promise(self, promise: str) -> None:
        """Raises `Skip` unless the agent promises it."""
        if not self.promises(promise):
            raise Skip(f"it does not promise {promise}")

    @property
    def learns(self) -> bool:
        """Whether it has a `learn`; a class without one acts as it was made, as in a benchmark."""
        return callable(getattr(self.agent_type, "learn", None))

    def require_learning(self) -> None:
        """Raises `Skip` for a class without `learn`."""
        if not self.learns:
            raise Skip("it has no `learn`, so it learns nothing")

    def require_budget(self) -> None:
        """Raises `Skip` unless it has a budget."""
        if self.spec.budget_unit == "none":
            raise Skip("it has no budget")

    def taken(self, agent: Any, courses: Sequence[Course]) -> int:
        """What it has used of its budget: steps are counted here, all else is its own to count."""
        if self.spec.counts_itself:
            return int(agent.num_timesteps)
        return sum(course.steps for course in courses)

    @property
    def form(self) -> Form:
        """The form of observation that the tiny tasks are shown in."""
        allowed = self.spec.spaces.observation
        for form in ("Discrete", "Box", "Dict"):
            if "any" in allowed or form in allowed:
                return form
        raise Skip(f"the tiny tasks have no observations of {' or '.join(allowed)}")

    def require_discrete_actions(self) -> None:
        """Raises `Skip` unless it can play the tiny tasks."""
        if "texts" in self.spec.requires:
            raise Skip("it writes texts, and the tiny tasks have none")
        if not {"any", "Discrete"} & set(self.spec.spaces.action):
            raise Skip(f"the tiny tasks have Discrete actions, it wants {self.spec.spaces.action}")

    def task(self) -> gym.Env[Any, Any]:
        """One environment of the contract's checks."""
        if self.env is not None:
            return make_environment(self.env)
        self.require_discrete_actions()
        return limited(Walk(self.form))

    def tiny(self, make: Callable[[Form], TinyTask], limit: int = 20) -> gym.Env[Any, Any]:
        """A tiny task in this agent's form."""
        self.require_discrete_actions()
        return limited(make(self.form), limit)

    def courses(self, make: Callable[[], gym.Env[Any, Any]] | None = None) -> tuple[Any, Any]:
        """What the agent is given to learn in, and the `Course` of each environment in it."""
        found: list[Course] = []

        def one(_: int) -> Course:
            found.append(Course(make or self.task))
            return found[-1]

        env = train_env(self.spec, self.config, one) if self.config is not None else one(0)
        return env, found

    def build(self, env: Any, seed: int = 0, config: Any = None) -> Any:
        """The agent in this environment."""
        if self.is_class and self.config is None:
            return self.agent_type(env, seed=seed, **self.settings)
        chosen = self.with_data(self.config if config is None else config, env)
        return build_agent(self.spec, self.agent_type, chosen, env, seed=seed, device="cpu")

    def with_data(self, config: Any, env: Any) -> Any:
        """The settings, with data of uniformly random play for an agent that is given none."""
        if "data" not in self.spec.requires or config.data:
            return config
        with closing(env.again()) as played:
            data = collect(_Uniform(played.action_space.n), played, steps=LOGGED_STEPS)
        path = _folder() / f"{data.digest()}.npz"  # one name for equal data: settings are compared
        data.save(path)
        return dataclasses.replace(config, data=str(path))

    def trained(self, steps: int | None = None, seed: int = 0) -> tuple[Any, Any]:
        """An agent that has learned, where it can, and its courses."""
        env, courses = self.courses()
        agent = self.build(env, seed)
        if self.learns:
            agent.learn(self.whole(self.steps if steps is None else steps))
        return agent, courses

    def whole(self, steps: int) -> int:
        """The number of steps as a multiple of the width."""
        return steps * self.width

    def configure(self, **settings: Any) -> Any:
        """The settings with some changed; None for a class without settings."""
        if self.config is None:
            return None
        known = {f.name for f in dataclasses.fields(self.config)}
        kept = {name: value for name, value in settings.items() if name in known}
        return dataclasses.replace(self.config, **kept)

    def observations(self, n: int = 8) -> tuple[list[Any], list[Any]]:
        """`n` observations of its environment, and their masks (None where there are none)."""
        env = self.task()
        found, masks = [], []
        for event in seeded_walk(env, 4 * n, 11):
            if not event.over:
                found.append(event.observation)
                masks.append(mask_of(env, event.observation, event.info))
        every = max(1, len(found) // n)
        return found[::every][:n], masks[::every][:n]

    def statement(self, agent: Any) -> Callable[..., Any] | None:
        """What states its probabilities; None where its task has other than `Discrete` actions."""
        discrete = isinstance(self.task().action_space, gym.spaces.Discrete)
        return statement(agent) if discrete else None

    def behaviour(self, agent: Any) -> Any:
        """What the agent would do: probabilities where it states them, else greedy actions."""
        observations, masks = self.observations()
        batch = stack(observations)
        stated = self.statement(agent)
        if stated is not None:
            mask = None if masks[0] is None else np.stack(masks)
            return np.asarray(stated(batch, deterministic=False, mask=mask))
        return np.asarray(predict(agent, batch, deterministic=True))

    def fingerprint(self, agent: Any) -> str | None:
        """SHA-256 of the checkpoint, None if the agent cannot save or never writes it twice."""
        if not callable(getattr(agent, "save", None)):
            return None
        digests = [_saved(agent) for _ in range(2)]
        return digests[0] if digests[0] == digests[1] else None


class _Uniform:
    """Every allowed action with the same probability."""

    def __init__(self, n: int) -> None:
        self.n = n

    def action_probabilities(
        self, observations: Any, *, deterministic: bool, mask: Any = None
    ) -> Any:
        """1 / n for each of the n that are allowed."""
        rows = np.ones((len(observations), self.n)) if mask is None else np.asarray(mask, float)
        return rows / rows.sum(axis=1, keepdims=True)


@functools.cache
def _folder() -> Path:
    """Where data sets lie until the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="rlsuite-check-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _saved(agent: Any) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "agent"
        agent.save(path)
        files = sorted(Path(folder).iterdir())  # some add a suffix
        return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def statement(agent: Any) -> Callable[..., Any] | None:
    """Its `action_probabilities`; those of the first step where it looks at the clock; or None."""
    stated = getattr(agent, "action_probabilities", None)
    if callable(stated):
        return stated
    clocked = getattr(agent, "clocked_probabilities", None)
    if not callable(clocked):
        return None
    return lambda observations, **keywords: clocked(observations, horizon=1, **keywords)[0]


def predict(agent: Any, observation: Any, **keywords: Any) -> Any:
    """The actions, without the state; `deterministic` is left out for those that do not know it."""
    if not takes(agent.predict, "deterministic"):
        keywords.pop("deterministic", None)
    answer = agent.predict(observation, **keywords)
    return answer[0]


def takes(function: Any, name: str) -> bool:
    """Whether a function takes the keyword."""
    parameters = inspect.signature(function).parameters.values()
    return any(p.name == name or p.kind is p.VAR_KEYWORD for p in parameters)


def _task(env: str, env_kwargs: Mapping[str, Any], spec: AgentSpec) -> TaskSpec:
    """The task of an id with further keywords, tried once."""
    refuse_render_mode(env_kwargs)
    base = registry.task_spec(env)
    task = dataclasses.replace(base, env_kwargs={**base.env_kwargs, **env_kwargs})
    made = make_environment(task)
    check_spaces(spec, made)
    made.close()
    return task


def _registered(identifier: str) -> AgentSpec:
    """The spec of an id; an environment's id is told where it belongs."""
    if registry.find("agent", identifier) is None and identifier in gym.registry:
        raise UnknownIdError(
            f"{identifier!r} is an environment, not an agent: `rlsuite check env {identifier}`."
        )
    return registry.agent_spec(identifier)


def _checked_class(agent: Any) -> type:
    """The class that was handed in; raises `SettingError` if it is none, or cannot act."""
    if not inspect.isclass(agent):
        raise SettingError(
            f"check_agent takes the id of an agent or a class, got {agent!r:.80} "
            f"({type(agent).__name__})."
        )
    if not callable(getattr(agent, "predict", None)):
        raise SettingError(
            f"check_agent takes a class with a method predict(observation, ...), but "
            f"{agent.__name__} has none."
        )
    return agent


def agent_subject(
    agent: str | type | AgentSubject,
    *,
    settings: Mapping[str, Any] | None = None,
    env: str | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
    spec: AgentSpec | None = None,
) -> AgentSubject:
    """The subject of an id or a class.

    A class is called as `cls(env, seed=seed)`, or, where it names its settings in `config_type`, as
    `cls(env, config, seed=seed, device="cpu")`. It promises nothing unless `spec` says so, and
    without a method `learn` it learns nothing. `settings` stand over the `check_settings` of its
    spec.

    Raises:
        UnknownIdError: no agent, or no environment, has this id.
        SettingError: neither an id nor a class; an unknown setting or keyword, or a value outside
            its range.
        UnsupportedSpaceError: the agent cannot act in this environment.
    """
    if isinstance(agent, AgentSubject):
        return agent
    given = dict(settings or {})
    if isinstance(agent, str):
        spec = _registered(agent)
        agent_type = spec.load()
    else:
        agent_type = _checked_class(agent)
        spec = spec or AgentSpec(id=f"class/{agent.__name__}-v0", entry_point=CLASS_ENTRY_POINT)
    if env is None and "texts" in spec.requires:
        env = TOKEN_TASK
    task = None if env is None else _task(env, env_kwargs or {}, spec)
    has_config = not inspect.isclass(agent) or hasattr(agent_type, "config_type")
    return AgentSubject(
        name=spec.id if isinstance(agent, str) else agent.__name__,
        spec=spec,
        agent_type=agent_type,
        config=make_config(spec, agent_type, {**spec.check_settings, **given})
        if has_config
        else None,
        env=task,
        is_class=not isinstance(agent, str),
        settings=given,
    )
