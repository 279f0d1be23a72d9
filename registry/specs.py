"""What is known of a thing before it is imported: frozen specs that hold strings, not classes."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, get_args

from registry.errors import PluginError, UnknownIdError

__all__ = [
    "AgentSpec",
    "BudgetUnit",
    "Entry",
    "Learns",
    "Metric",
    "Promise",
    "Provenance",
    "Spaces",
    "TaskSpec",
    "check_entry_point",
    "check_id",
    "imported_id",
    "load_entry_point",
]

BudgetUnit = Literal["steps", "sweeps", "examples", "none"]
"""What `learn(n)` counts: environment steps, sweeps over a model, examples of data, or nothing."""

Promise = Literal["resume", "exact_budget", "own_rng", "split_learn"]
"""What the conformance kit holds an agent to.

`resume`: save, load, learn goes on bit-exactly. `exact_budget`: `learn(n)` takes exactly n steps.
`own_rng`: global generators end as they were found. `split_learn`: `learn(a); learn(b)` equals
`learn(a + b)`.
"""

Metric = Literal["final_return", "learning_regret", "value_error", "objective"]
"""What a task is scored by: the return of the final policy, the regret summed while learning,
the error of predicted values, or the KL-regularised objective of a token task."""

Learns = Literal["nothing", "prediction", "bandit", "values", "policy"]
"""What an agent can learn, so which tiny tasks the conformance kit expects it to solve.

`prediction`: the values of a policy that it does not change, answered as `state_values()`.
`bandit`: the best action of each observation, without looking ahead. `values`: control over several
steps, by policies that are greedy in the end. `policy`: control, by stochastic policies too.
"""

_ID = re.compile(r"^[A-Za-z0-9_-]+/[A-Za-z0-9_.-]+-v\d+$")
_ENTRY_POINT = re.compile(r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")


def check_id(identifier: str) -> None:
    """Raises `PluginError` unless the id reads `namespace/Name-vN`."""
    if not isinstance(identifier, str) or not _ID.match(identifier):
        raise PluginError(
            f"an id reads 'namespace/Name-vN', like 'rlsuite/GridWorld-v0'; got {identifier!r}."
        )


def check_entry_point(entry_point: object) -> None:
    """Raises `PluginError` unless the entry point is a string `package.module:name`."""
    if not isinstance(entry_point, str) or not _ENTRY_POINT.match(entry_point):
        raise PluginError(
            "an entry point is a string 'package.module:name', so that nothing is imported before "
            f"it is used; got {entry_point!r}."
        )


def imported_id(identifier: str) -> str:
    """The id itself; of `module:id` the part behind the colon, after importing the module.

    Gymnasium's `make` reads ids so: the module registers what it brings when it is imported.

    Raises:
        UnknownIdError: there is no such module, or the id has another form. Errors of the import
            itself pass through.
    """
    if ":" not in identifier:
        return identifier
    module, _, bare = identifier.partition(":")
    if not module or not bare or ":" in bare:
        raise UnknownIdError(
            "an id with a module in front reads 'module:namespace/Name-vN', like "
            f"'rlsuite:rlsuite/GridWorld-v0'; got {identifier!r}."
        )
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise UnknownIdError(
            f"the id {identifier!r} asks to import {module!r} first, and there is no module "
            f"{error.name!r}. Install it, or leave the part before the colon out."
        ) from error
    return bare


def load_entry_point(entry_point: str) -> Any:
    """Imports `package.module` and returns its attribute `name` (dotted names are followed).

    Raises:
        PluginError: the module has no such attribute. Errors of the import itself pass through.
    """
    check_entry_point(entry_point)
    module_name, _, attribute = entry_point.partition(":")
    found: Any = importlib.import_module(module_name)
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise PluginError(
                f"the entry point {entry_point!r} names {part!r}, "
                f"which {module_name!r} does not have."
            )
        found = getattr(found, part)
    return found


def _frozen(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(mapping))


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """Who registered something: an installed distribution and its version."""

    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One line of the catalogue: a name, where its code is, who brought it."""

    kind: str
    id: str
    entry_point: str
    provenance: Provenance
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "meta", _frozen(self.meta))

    def load(self) -> Any:
        """Imports and returns what the entry point names."""
        return load_entry_point(self.entry_point)


@dataclass(frozen=True, kw_only=True, slots=True)
class Spaces:
    """Names of the Gymnasium space classes an agent can handle; `("any",)` takes all."""

    observation: tuple[str, ...] = ("any",)
    action: tuple[str, ...] = ("Discrete",)


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentSpec:
    """What an agent says of itself before it is imported.

    The class behind `entry_point` is called as `Agent(env, config, *, seed, device)` and names its
    frozen dataclass of settings in the class attribute `config_type`. `settings` are defaults of
    this id, which keywords of `make_agent` override. `check_settings` are the settings with which
    the conformance kit checks it unless told otherwise: small networks where those of
    `settings` are large. A `vectorized` agent takes a Gymnasium `VectorEnv` of
    `config.num_envs` sub-environments. `requires` may hold `"model"`: the agent plans, and is
    handed environments that reveal their `model`; `"data"`: its setting `data` names a file of
    `registry.logged_data`, and it takes no step; or `"texts"`: its environment is a
    `registry.texts.TokenTask`. `learns` says what kind of task is within its
    reach.
    """

    id: str
    entry_point: str
    summary: str = ""
    budget_unit: BudgetUnit = "steps"
    requires: frozenset[str] = frozenset()
    spaces: Spaces = Spaces()
    vectorized: bool = False
    promises: frozenset[str] = frozenset()
    settings: Mapping[str, Any] = field(default_factory=dict)
    check_settings: Mapping[str, Any] = field(default_factory=dict)
    learns: Learns = "values"

    def __post_init__(self) -> None:
        check_id(self.id)
        check_entry_point(self.entry_point)
        for name in ("settings", "check_settings"):
            object.__setattr__(self, name, _frozen(getattr(self, name)))
        object.__setattr__(self, "requires", frozenset(self.requires))
        object.__setattr__(self, "promises", frozenset(self.promises))
        if self.budget_unit not in get_args(BudgetUnit):
            raise PluginError(
                f"agent {self.id!r}: budget_unit must be one of {get_args(BudgetUnit)}, "
                f"got {self.budget_unit!r}."
            )
        if self.learns not in get_args(Learns):
            raise PluginError(
                f"agent {self.id!r}: learns must be one of {get_args(Learns)}, got {self.learns!r}."
            )
        unknown = self.promises - set(get_args(Promise))
        if unknown:
            raise PluginError(
                f"agent {self.id!r}: promises must be among {get_args(Promise)}, "
                f"got {sorted(unknown)}."
            )

    @property
    def counts_itself(self) -> bool:
        """Whether its budget is no environment steps, and `num_timesteps` says what is used."""
        return self.budget_unit in ("sweeps", "examples")

    def load(self) -> Any:
        """Imports and returns the agent class."""
        return load_entry_point(self.entry_point)


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskSpec:
    """An environment with the protocol by which agents are scored on it.

    Any environment id is a task id; what is not listed takes these defaults. `wrappers` are pairs
    of an entry-point string and a dictionary of keywords, applied from the inside out.
    `deterministic` is the mode in which the final policy is scored: greedy, or sampled where it is
    False. `family` names the leaderboard that the task belongs to.
    """

    id: str
    env_id: str
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    wrappers: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    total_timesteps: int = 50_000
    metric: Metric = "final_return"
    eval_points: int = 5
    eval_episodes: int = 20
    deterministic: bool = True
    baseline_score: float | None = None
    reference_score: float | None = None
    source: str = ""
    family: str = "other"

    def __post_init__(self) -> None:
        object.__setattr__(self, "env_kwargs", _frozen(self.env_kwargs))
        wrappers = tuple((entry_point, _frozen(kwargs)) for entry_point, kwargs in self.wrappers)
        object.__setattr__(self, "wrappers", wrappers)
        for entry_point, _ in wrappers:
            check_entry_point(entry_point)
        if self.metric not in get_args(Metric):
            raise PluginError(
                f"task {self.id!r}: metric must be one of {get_args(Metric)}, got {self.metric!r}."
            )
        for name in ("total_timesteps", "eval_points", "eval_episodes"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise PluginError(
                    f"task {self.id!r}: {name} must be a whole number of at least 0, got {value!r}."
                )
