"""The catalogue: a table of kinds, each a table of ids. Names and strings; nothing is imported.

Gymnasium's own registry stays the truth for environments: an environment is entered there as well,
and an id that stands there already is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gymnasium as gym

from registry.errors import PluginError, TakenIdError, UnknownIdError, did_you_mean
from registry.specs import (
    AgentSpec,
    Entry,
    Provenance,
    TaskSpec,
    check_entry_point,
    check_id,
    imported_id,
)

__all__ = ["KINDS", "Registry", "Transaction", "registry"]

KINDS: Mapping[str, frozenset[str]] = {
    "env": frozenset(
        {
            "vector_entry_point",
            "max_episode_steps",
            "reward_threshold",
            "nondeterministic",
            "order_enforce",
            "disable_env_checker",
            "kwargs",
            "additional_wrappers",
            "summary",
        }
    ),
    "parallel_env": frozenset({"kwargs", "summary"}),
    "agent": frozenset(AgentSpec.__dataclass_fields__) - {"id", "entry_point"},
    "task": frozenset(TaskSpec.__dataclass_fields__) - {"id"},
    "suite": frozenset({"summary"}),
    "oracle": frozenset({"summary"}),
    "model": frozenset({"summary"}),
    "reward_model": frozenset({"folder", "summary"}),
    "reference_model": frozenset({"folder", "summary"}),
    "backend": frozenset({"summary"}),
    "report_section": frozenset({"summary"}),
}
"""Every kind of thing that plugs in, with the metadata it may carry."""


class Registry:
    """All that is registered, by kind and id, each with its provenance."""

    def __init__(self) -> None:
        self._entries: dict[str, dict[str, Entry]] = {kind: {} for kind in KINDS}
        self.before_lookup: Callable[[], None] | None = None
        """Called before every look-up; the plugin loader uses it for a second try."""
        self.hints: Callable[[], str] | None = None
        """Text to add to an unknown-id error, such as the plugins that failed to load."""

    def commit(self, entries: list[Entry]) -> None:
        """Enters all entries. The caller has checked them: see `Transaction`.

        Gymnasium may still refuse an environment, so it is asked before anything is entered here.
        """
        for entry in entries:
            if entry.kind == "env":
                _register_with_gymnasium(entry)
        for entry in entries:
            self._entries[entry.kind][entry.id] = entry

    def holder(self, kind: str, identifier: str) -> str | None:
        """Who holds the id: a distribution and version, `"gymnasium"`, or None while it is free."""
        entry = self._entries[kind].get(identifier)
        if entry is not None:
            return str(entry.provenance)
        if kind == "env" and identifier in gym.registry:
            return "gymnasium's own registry (gym.register was called for it elsewhere)"
        return None

    def find(self, kind: str, identifier: str) -> Entry | None:
        """The entry, or None."""
        self._look()
        return _table(self._entries, kind).get(identifier)

    def get(self, kind: str, identifier: str) -> Entry:
        """The entry.

        Raises:
            UnknownIdError: nothing has this id; the message names the nearest one.
        """
        entry = self.find(kind, identifier)
        if entry is None:
            raise self.unknown(kind, identifier)
        return entry

    def unknown(self, kind: str, identifier: str, also: tuple[str, ...] = ()) -> UnknownIdError:
        """The error for an unknown id, with the nearest known one (or one of `also`) as a hint."""
        known = [*self._entries[kind], *also]
        noun = {"env": "environment"}.get(kind, kind.replace("_", " "))
        hint = did_you_mean(str(identifier), known)
        if not hint:
            listing = {"env": "envs", "agent": "agents", "task": "tasks"}.get(kind)
            hint = (
                f" `rlsuite list {listing}` shows all {len(known)}."
                if listing
                else f" Known: {', '.join(sorted(known)) or 'none'}."
            )
        extra = self.hints() if self.hints else ""
        return UnknownIdError(f"there is no {noun} {identifier!r}.{hint}{extra}")

    def entries(self, kind: str) -> Iterator[Entry]:
        """All entries of a kind, in the order of their ids."""
        self._look()
        table = _table(self._entries, kind)
        return iter([table[identifier] for identifier in sorted(table)])

    def ids(self, kind: str) -> list[str]:
        """All ids of a kind, sorted."""
        return [entry.id for entry in self.entries(kind)]

    def provided(self, kind: str, *asked: Any) -> Any:
        """What the first provider of a kind answers that has an answer; None where none has."""
        answers = (entry.load()(*asked) for entry in self.entries(kind))
        return next((answer for answer in answers if answer is not None), None)

    def agent_spec(self, identifier: str) -> AgentSpec:
        """The spec of a registered agent; raises `UnknownIdError`."""
        entry = self.get("agent", identifier)
        return AgentSpec(id=entry.id, entry_point=entry.entry_point, **entry.meta)

    def task_spec(self, identifier: str) -> TaskSpec:
        """The spec of a listed task, else the default protocol for the environment of that id.

        `module:id` imports the module first, as `gymnasium.make` does.
        """
        identifier = imported_id(identifier)
        entry = self.find("task", identifier)
        if entry is None:
            return TaskSpec(id=identifier, env_id=identifier)
        return TaskSpec(id=entry.id, **entry.meta)

    def _look(self) -> None:
        if self.before_lookup is not None:
            self.before_lookup()


class Transaction:
    """What a plugin's `register(registry)` is handed: all of its entries are entered, or none.

    Every method raises `PluginError` for a malformed entry and `TakenIdError` for an id that
    somebody holds.
    """

    def __init__(self, target: Registry, provenance: Provenance) -> None:
        self._target = target
        self._provenance = provenance
        self.entries: list[Entry] = []

    def add(self, kind: str, id: str, entry_point: str, **meta: Any) -> None:
        """Registers one thing: `entry_point` is a string `package.module:name`."""
        _check_meta(kind, id, meta)
        _check_plugin_id(kind, id)
        if kind != "task":
            check_entry_point(entry_point)
        self._refuse_taken(kind, id)
        entry = Entry(
            kind=kind, id=id, entry_point=entry_point, provenance=self._provenance, meta=meta
        )
        _check_spec(entry)
        self.entries.append(entry)

    def add_env(self, id: str, entry_point: str, **meta: Any) -> None:
        """An environment; keywords as in `gymnasium.register`, plus `summary`."""
        self.add("env", id, entry_point, **meta)

    def add_parallel_env(self, id: str, entry_point: str, **meta: Any) -> None:
        """A PettingZoo parallel environment."""
        self.add("parallel_env", id, entry_point, **meta)

    def add_agent(self, id: str, entry_point: str, **meta: Any) -> None:
        """An agent class; keywords are the fields of `AgentSpec`."""
        self.add("agent", id, entry_point, **meta)

    def add_task(self, id: str, **meta: Any) -> None:
        """A task; keywords are the fields of `TaskSpec`. `env_id` defaults to the id."""
        self.add("task", id, "", **{"env_id": id, **meta})

    def add_suite(self, id: str, entry_point: str, **meta: Any) -> None:
        """A suite: a function without arguments that returns the path of a TOML file."""
        self.add("suite", id, entry_point, **meta)

    def add_oracle(self, id: str, entry_point: str, **meta: Any) -> None:
        """An `OracleProvider` for environments that ship no answer key of their own."""
        self.add("oracle", id, entry_point, **meta)

    def add_model(self, id: str, entry_point: str, **meta: Any) -> None:
        """A `ModelProvider` for environments that are tables and do not say so themselves."""
        self.add("model", id, entry_point, **meta)

    def add_reward_model(self, id: str, entry_point: str, **meta: Any) -> None:
        """A factory of a `RewardModel`, called without arguments, or with `folder` if given."""
        self.add("reward_model", id, entry_point, **meta)

    def add_reference_model(self, id: str, entry_point: str, **meta: Any) -> None:
        """A factory of a `ReferenceModel`, called as that of a reward model."""
        self.add("reference_model", id, entry_point, **meta)

    def add_backend(self, id: str, entry_point: str, **meta: Any) -> None:
        """A way to run the cells of a benchmark."""
        self.add("backend", id, entry_point, **meta)

    def add_report_section(self, id: str, entry_point: str, **meta: Any) -> None:
        """A further section of the report: a function from records to HTML."""
        self.add("report_section", id, entry_point, **meta)

    def commit(self) -> None:
        """Enters everything that was collected."""
        self._target.commit(self.entries)

    def _refuse_taken(self, kind: str, identifier: str) -> None:
        holder = self._target.holder(kind, identifier)
        if any(entry.kind == kind and entry.id == identifier for entry in self.entries):
            holder = f"{self._provenance} itself"
        if holder is not None:
            raise TakenIdError(
                f"the {kind} id {identifier!r} is taken: it was registered by {holder}, and "
                f"{self._provenance} claims it too. Give one of them another id."
            )


def _table(entries: dict[str, dict[str, Entry]], kind: str) -> dict[str, Entry]:
    if kind not in entries:
        raise PluginError(f"there is no kind {kind!r}; the kinds are {', '.join(KINDS)}.")
    return entries[kind]


def _check_meta(kind: str, identifier: str, meta: Mapping[str, Any]) -> None:
    if kind not in KINDS:
        raise PluginError(f"there is no kind {kind!r}; the kinds are {', '.join(KINDS)}.")
    unknown = sorted(set(meta) - KINDS[kind])
    if unknown:
        raise PluginError(
            f"{kind} {identifier!r}: unknown metadata {unknown}; "
            f"a {kind} may carry {sorted(KINDS[kind])}."
        )


def _check_plugin_id(kind: str, identifier: str) -> None:
    """Ids read `namespace/Name-vN`; a task may also carry the id of any Gymnasium environment."""
    if kind == "task" and identifier in gym.registry:
        return
    check_id(identifier)


def _check_spec(entry: Entry) -> None:
    """Builds the spec once, so that a malformed one fails where it is registered."""
    if entry.kind == "agent":
        AgentSpec(id=entry.id, entry_point=entry.entry_point, **entry.meta)
    elif entry.kind == "task":
        TaskSpec(id=entry.id, **entry.meta)


def _register_with_gymnasium(entry: Entry) -> None:
    keywords = {key: value for key, value in entry.meta.items() if key != "summary"}
    gym.register(id=entry.id, entry_point=entry.entry_point, **keywords)


registry = Registry()
"""The one catalogue of this process."""
