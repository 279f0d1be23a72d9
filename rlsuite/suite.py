"""What a benchmark runs: grids of tasks, agents and seeds, written in Python or as TOML.

    name = "mine"

    [[grid]]
    tasks = ["rlsuite/GridWorld-v0", "FrozenLake-v1"]
    seeds = 5                      # 0, 1, 2, 3, 4; or a list
    total_timesteps = 20_000       # all further keys are optional: the task's own are the default
    eval_points = 5
    eval_episodes = 10
    final_episodes = 20
    deterministic = true           # false scores the sampled policy

    [grid.agents]
    q = "rlsuite/QLearning-v0"
    slow = { id = "rlsuite/QLearning-v0", step_size = 0.1 }

A task of the suite's own is a table `[[task]]` with the fields of `TaskSpec`. The key `baselines`
names a store, relative to the file, whose results are shown beside those of the suite.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from registry.catalogue import registry
from registry.errors import RlsuiteError, SuiteError, did_you_mean
from registry.specs import AgentSpec, TaskSpec, imported_id
from rlsuite.isolation import global_streams
from rlsuite.making import (
    check_environment_id,
    check_fit,
    check_keywords,
    make_config,
    make_environment,
)

__all__ = ["AgentChoice", "Cell", "Grid", "Suite", "load_suite"]

FINAL_EPISODES = 20


@dataclass(frozen=True, slots=True)
class AgentChoice:
    """A registered agent by its id, or a class (or function) of yours, with settings.

    A class is called as `factory(env, seed=seed, **settings)`, once per cell.
    """

    agent: str | Callable[..., Any]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.agent, str) and not callable(self.agent):
            raise SuiteError(
                f"an agent is the id of a registered one or a class called as factory(env, "
                f"seed=seed), got a built {type(self.agent).__name__}: pass its class, so that "
                "every cell can build a fresh one."
            )
        try:
            plain = json.loads(json.dumps(dict(self.settings), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise SuiteError(
                f"settings of an agent are names with numbers, strings, true/false and lists of "
                f"them, got {dict(self.settings)!r} ({error})."
            ) from error
        object.__setattr__(self, "settings", MappingProxyType(plain))

    @property
    def id(self) -> str:
        """The id, or the name of the class."""
        if isinstance(self.agent, str):
            return self.agent
        return getattr(self.agent, "__qualname__", type(self.agent).__qualname__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """Every agent on every task with every seed. None stands for what the task says itself."""

    tasks: tuple[str | TaskSpec, ...]
    agents: Mapping[str, AgentChoice]
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    total_timesteps: int | None = None
    eval_points: int | None = None
    eval_episodes: int | None = None
    final_episodes: int | None = None
    deterministic: bool | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "tasks", tuple(self.tasks))
        object.__setattr__(self, "agents", MappingProxyType(dict(self.agents)))
        object.__setattr__(self, "seeds", _seeds(self.seeds))
        for name in ("tasks", "agents"):
            if not getattr(self, name):
                raise SuiteError(f"a grid is empty: it has no {name}.")
        for name, low in (
            ("total_timesteps", 0),
            ("eval_points", 0),
            ("eval_episodes", 1),
            ("final_episodes", 1),
        ):
            _check_count(name, getattr(self, name), low)
        if self.deterministic not in (None, True, False):
            raise SuiteError(f"deterministic must be true or false, got {self.deterministic!r}.")


@dataclass(frozen=True, slots=True)
class Suite:
    """A named set of grids.

    `baselines` is a store of results that are there already: leaderboards and reports show them
    beside the suite's own on the same tasks, and nothing of them is run.
    """

    name: str
    grids: tuple[Grid, ...]
    title: str = ""
    baselines: Path | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "grids", tuple(self.grids))
        if not self.grids:
            raise SuiteError(f"the suite {self.name!r} is empty: it has no grid.")

    @classmethod
    def from_toml(cls, path: str | Path) -> Suite:
        """Reads a suite file.

        Raises:
            SuiteError: there is no such file, it is not TOML, or something in it is unknown, empty
                or out of range; the sentence names the file.
        """
        path = Path(path)
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise SuiteError(f"there is no suite file {str(path)!r}.") from None
        except OSError as error:
            raise SuiteError(f"{path} cannot be read: {error.strerror}.") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SuiteError(f"{path} is not TOML: {error}.") from error
        try:
            return _suite(data, path)
        except RlsuiteError as error:
            raise SuiteError(f"{path}: {error}") from error

    def cells(self) -> Iterator[Cell]:
        """Every cell once, task by task, agent by agent, seed by seed."""
        seen: set[str] = set()
        for grid in self.grids:
            for task in grid.tasks:
                spec = _task(task)
                for label, choice in grid.agents.items():
                    for seed in grid.seeds:
                        cell = _cell(grid, spec, label, choice, seed)
                        if (name := repr(cell)) not in seen:
                            seen.add(name)
                            yield cell

    def check(self) -> None:
        """Checks every id, every setting and every pair of agent and task before anything is run.

        Classes of yours say nothing of what they can handle, so they are not checked.

        Raises:
            UnknownIdError: an unknown task, environment or agent.
            SettingError: an unknown setting, or a value outside its range.
            UnsupportedSpaceError: an agent that cannot act in an environment of its grid.
            SuiteError: a task that no agent can be scored on here.
        """
        pairs: list[tuple[TaskSpec, AgentSpec]] = []
        for grid in self.grids:
            tasks = [_task(task) for task in grid.tasks]
            for task in tasks:
                _check_task(task)
            specs = [_check_choice(choice) for choice in grid.agents.values()]
            pairs += [(task, spec) for task in tasks for spec in specs if spec is not None]
        _check_pairs(pairs)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One run: an agent with its settings on a task with a seed, and how it is evaluated.

    With `runs` it is a block of a study: the runs of those numbers, from the first up to, but not
    with, the second, of `total_timesteps` decisions each; nothing is evaluated.
    """

    task: TaskSpec
    label: str
    choice: AgentChoice
    seed: int
    total_timesteps: int
    eval_points: int
    eval_episodes: int
    final_episodes: int
    deterministic: bool
    runs: tuple[int, int] | None = None


def load_suite(name: str | Path) -> Suite:
    """A suite by its name (`"quick"`), by its id (`"rlsuite/quick-v0"`) or from a TOML file.

    Raises:
        SuiteError: the file cannot be used.
        UnknownIdError: no suite has this name, and there is no such file.
    """
    text = str(name)
    for entry in registry.entries("suite"):
        short = entry.id.partition("/")[2].rpartition("-v")[0]
        if text in (entry.id, short):
            return Suite.from_toml(entry.load()())
    if text.endswith(".toml") or Path(text).is_file():
        return Suite.from_toml(text)
    raise registry.unknown("suite", text)


def _cell(grid: Grid, task: TaskSpec, label: str, choice: AgentChoice, seed: int) -> Cell:
    def given(value: Any, default: Any) -> Any:
        return default if value is None else value

    return Cell(
        task=task,
        label=label,
        choice=choice,
        seed=seed,
        total_timesteps=given(grid.total_timesteps, task.total_timesteps),
        eval_points=given(grid.eval_points, task.eval_points),
        eval_episodes=given(grid.eval_episodes, task.eval_episodes),
        final_episodes=given(grid.final_episodes, max(FINAL_EPISODES, task.eval_episodes)),
        deterministic=given(grid.deterministic, task.deterministic),
    )


def _suite(data: Mapping[str, Any], path: Path) -> Suite:
    _check_keys("a suite", data, ("name", "title", "baselines", "grid", "task"))
    own = {}
    for table in _tables(data, "task"):
        _check_keys("a task", table, tuple(f.name for f in fields(TaskSpec)))
        if "id" not in table:
            raise SuiteError("a [[task]] needs an id.")
        own[table["id"]] = TaskSpec(**{"env_id": table["id"], **table})
    grids = tuple(_grid(table, own) for table in _tables(data, "grid"))
    texts = {"name": path.stem, "title": "", "baselines": "", **data}
    for key in ("name", "title", "baselines"):
        if not isinstance(texts[key], str):
            raise SuiteError(f"{key} must be a string, got {texts[key]!r}.")
    baselines = path.with_name(texts["baselines"]) if texts["baselines"] else None
    if baselines is not None and not baselines.is_file():
        raise SuiteError(f"baselines must name a store beside the file, there is no {baselines}.")
    return Suite(texts["name"], grids, texts["title"], baselines)


def _grid(table: Mapping[str, Any], own: Mapping[str, TaskSpec]) -> Grid:
    _check_keys("a grid", table, tuple(f.name for f in fields(Grid)))
    tasks = table.get("tasks", [])
    if not isinstance(tasks, list) or not all(isinstance(task, str) for task in tasks):
        raise SuiteError(
            f"tasks must be a list of ids, got {tasks!r}. A task with keywords of its own is "
            "written as [[task]] with an id, an env_id and env_kwargs, and named here by its id."
        )
    agents = choices(table.get("agents", {}))
    rest = {key: value for key, value in table.items() if key not in ("tasks", "agents")}
    return Grid(tasks=tuple(own.get(task, task) for task in tasks), agents=agents, **rest)


def choices(agents: Any) -> dict[str, AgentChoice]:
    """Agents of any spelling by their labels: a list of ids, or label -> id, class, (id, settings).

    In a table, as TOML has it, `id` stands beside the settings.
    """
    if isinstance(agents, list | tuple):
        if not all(isinstance(agent, str) for agent in agents):
            raise SuiteError(f"a list of agents holds ids, got {agents!r}; name others in a dict.")
        agents = {agent: agent for agent in agents}
    if not isinstance(agents, Mapping):
        raise SuiteError(f"agents are a list of ids or a table of labels, got {agents!r}.")
    return {str(label): _choice(str(label), agent) for label, agent in agents.items()}


def _choice(label: str, agent: Any) -> AgentChoice:
    if isinstance(agent, AgentChoice):
        return agent
    if isinstance(agent, Mapping):
        settings = dict(agent)
        if "id" not in settings:
            raise SuiteError(f"agent {label!r} needs an id beside its settings, got {settings!r}.")
        return AgentChoice(settings.pop("id"), settings)
    if isinstance(agent, tuple):
        if len(agent) != 2 or not isinstance(agent[1], Mapping):
            raise SuiteError(f"agent {label!r} must be a pair (id, settings), got {agent!r}.")
        return AgentChoice(*agent)
    if hasattr(agent, "predict") and not isinstance(agent, type):
        raise SuiteError(
            f"agent {label!r} is a built {type(agent).__name__}; pass the class itself, so that "
            "every cell can build a fresh one with factory(env, seed=seed)."
        )
    return AgentChoice(agent)


def _tables(data: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    tables = data.get(key, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise SuiteError(f"{key!r} must be written as [[{key}]], got {tables!r}.")
    return tables


def _check_keys(what: str, table: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in table:
        if key not in known:
            hint = did_you_mean(key, known) or f" It may have: {', '.join(known)}."
            raise SuiteError(f"{what} has no key {key!r}.{hint}")


def _check_count(name: str, value: Any, low: int) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise SuiteError(f"{name} must be a whole number of at least {low}, got {value!r}.")


def _seeds(seeds: Any) -> tuple[int, ...]:
    """Seeds 0..n-1 from a count, or as they are listed."""
    if isinstance(seeds, int) and not isinstance(seeds, bool) and seeds > 0:
        return tuple(range(seeds))
    listed = tuple(seeds) if isinstance(seeds, list | tuple | range) else ()
    whole = all(isinstance(s, int) and not isinstance(s, bool) and s >= 0 for s in listed)
    if not listed or not whole or len(set(listed)) < len(listed):
        raise SuiteError(
            "seeds must be a count of at least 1, or a list of different whole numbers of at least "
            f"0, got {seeds!r}."
        )
    return listed


def _task(task: str | TaskSpec) -> TaskSpec:
    """The spec of a task; of an environment named `module:id` the module is imported."""
    if isinstance(task, str):
        return registry.task_spec(task)
    return replace(task, env_id=imported_id(task.env_id))


def _check_task(task: TaskSpec) -> None:
    check_environment_id(task.env_id)
    check_keywords(task.env_id, task.env_kwargs)


def _check_choice(choice: AgentChoice) -> AgentSpec | None:
    """The spec of a registered agent that can be imported, after a check of its settings."""
    if not isinstance(choice.agent, str):
        return None
    spec = registry.agent_spec(choice.agent)
    try:
        agent_type = spec.load()
    except RlsuiteError:
        raise
    except Exception:  # somebody's import failed: its cells will, and the others go on
        return None
    make_config(spec, agent_type, choice.settings)
    return spec


def _check_pairs(pairs: Sequence[tuple[TaskSpec, AgentSpec]]) -> None:
    """Raises `UnsupportedSpaceError` for the first agent that cannot do anything in its task."""
    specs: dict[str, tuple[TaskSpec, dict[str, AgentSpec]]] = {}
    for task, spec in pairs:
        specs.setdefault(repr(task), (task, {}))[1][spec.id] = spec
    for task, agents in specs.values():
        env = _environment(task)
        if env is not None:
            with closing(env):
                for spec in agents.values():
                    check_fit(spec, env)


def _environment(task: TaskSpec) -> Any:
    """The environment of a task; None if it cannot be made here, as its cells will tell."""
    try:
        with global_streams():
            return make_environment(task)
    except RlsuiteError:
        raise
    except Exception:  # somebody's code: the other cells go on
        return None
