"""Cells as JSON, so that another process, or another machine, can run them.

A payload holds the cell in full: its task, its agent by name with settings, seed and evaluation,
and whatever the catalogue of this process knows beyond what plugins bring. No code travels: a class
has to be importable by its name where the payload is run.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import gymnasium as gym

from registry.catalogue import Transaction, registry
from registry.errors import PluginError
from registry.plugins import plugin_report
from registry.specs import Provenance, Spaces, TaskSpec, load_entry_point
from rlsuite.isolation import global_streams
from rlsuite.making import make_config, make_environment
from rlsuite.records import RunKey, RunRecord
from rlsuite.running.bandit_blocks import play_block
from rlsuite.running.cells import Progress, run_cell
from rlsuite.running.packing import from_bytes, to_bytes
from rlsuite.running.policies import Shelf
from rlsuite.running.resuming import CheckpointPlan
from rlsuite.suite import AgentChoice, Cell
from rlsuite.views import AgentView

__all__ = [
    "Unportable",
    "importable_name",
    "modules_of",
    "payload_of",
    "rehearsal_of",
    "rehearse",
    "run_payload",
]

WORTH_REHEARSING = 10_000
"""Steps of a training from which on compiled loops are made ready before the first worker."""

TICK_SECONDS = 1.0
"""How often a cell that runs elsewhere tells its steps, beside the points of evaluation."""

CARRIED = ("agent", "oracle", "model", "reward_model", "reference_model")
"""Kinds of entries that a cell may look up while it runs."""


@dataclass(frozen=True, slots=True)
class Unportable:
    """Why a cell can run in this process alone."""

    reason: str


def payload_of(
    cell: Cell,
    key: RunKey,
    *,
    settings: Mapping[str, Any],
    fingerprint: Mapping[str, Any],
    checkpoints: CheckpointPlan | None = None,
    shelf: Shelf | None = None,
    before: RunRecord | None = None,
    updates: bool = True,
) -> str | Unportable:
    """The cell as JSON, or why it cannot leave this process. See `run_cell`."""
    agent: dict[str, Any] = {"id": cell.choice.agent}
    if not isinstance(cell.choice.agent, str):
        name = importable_name(cell.choice.agent)
        if name is None:
            return Unportable(f"the agent {cell.label!r} cannot be imported by name")
        agent = {"entry_point": name}
    environment = _environment(cell.task.env_id)
    if isinstance(environment, Unportable):
        return environment
    task = {f.name: getattr(cell.task, f.name) for f in dataclasses.fields(cell.task)}
    parts = {
        "task": {
            **task,
            "env_kwargs": dict(cell.task.env_kwargs),
            "wrappers": [[name, dict(keywords)] for name, keywords in cell.task.wrappers],
        },
        "agent": {**agent, "label": cell.label, "settings": dict(cell.choice.settings)},
        "cell": {
            name: getattr(cell, name)
            for name in (
                *("seed", "total_timesteps", "eval_points", "eval_episodes", "final_episodes"),
                *("deterministic", "runs"),
            )
        },
        "environment": environment,
        "catalogue": list(_carried_entries()),
        "key": key.identity,
        "settings": dict(settings),
        "fingerprint": dict(fingerprint),
        "checkpoints": None if checkpoints is None else checkpoints.as_json(),
        "shelf": None if shelf is None else shelf.as_json(),
        "before": None if before is None else base64.b64encode(to_bytes(before)).decode(),
        "updates": updates,
    }
    try:
        return json.dumps(parts, allow_nan=False)
    except (TypeError, ValueError) as error:
        return Unportable(f"the cell of {cell.label!r} cannot be written as JSON ({error})")


def run_payload(payload: str, progress: Progress | None = None) -> RunRecord:
    """Runs the cell of a payload in this process, after entering what it carries."""
    parts = json.loads(payload)
    cell = _cell(parts)
    plan, shelf, before = parts["checkpoints"], parts["shelf"], parts["before"]
    return run_cell(
        cell,
        RunKey(identity=parts["key"]),
        settings=parts["settings"],
        fingerprint=parts["fingerprint"],
        progress=progress,
        checkpoints=None if plan is None else CheckpointPlan.from_json(plan),
        shelf=None if shelf is None else Shelf(**shelf),
        before=None if before is None else from_bytes(base64.b64decode(before)),
        tick=TICK_SECONDS,
        updates=parts["updates"],
    )


def rehearsal_of(cell: Cell) -> str | None:
    """The cell as JSON, for `rehearse`; None where there is nothing to compile, or not for so few.

    Agents whose class has `learn_many` learn in loops that numba compiles.
    """
    if not isinstance(cell.choice.agent, str):
        return None
    if cell.runs is not None:
        found = payload_of(
            replace(cell, runs=(0, 1)), RunKey(identity={}), settings={}, fingerprint={}
        )
        return found if isinstance(found, str) else None
    if cell.total_timesteps < WORTH_REHEARSING:
        return None
    try:
        agent_type = registry.agent_spec(cell.choice.agent).load()
    except Exception:  # somebody's import failed: its cells will say so
        return None
    if not callable(getattr(agent_type, "learn_many", None)):
        return None
    found = payload_of(cell, RunKey(identity={}), settings={}, fingerprint={})
    return found if isinstance(found, str) else None


def rehearse(payload: str) -> None:
    """Lets an agent of a cell take one step in a compiled loop, so that the next one is quick.

    What is compiled stays in this process and in those forked from it, and on disk where numba
    finds a folder for it. Nothing else is left behind.
    """
    cell = _cell(json.loads(payload))
    if cell.runs is not None:
        with global_streams():
            play_block(cell)
        return
    assert isinstance(cell.choice.agent, str)
    spec = registry.agent_spec(cell.choice.agent)
    agent_type = spec.load()
    config = make_config(spec, agent_type, cell.choice.settings)
    with global_streams(), closing(AgentView(make_environment(cell.task))) as env:
        agent_type.learn_many(lambda: env, [0], 1, config)


def _cell(parts: dict[str, Any]) -> Cell:
    """The cell of a payload, after entering what it carries."""
    for entry in parts["catalogue"]:
        _enter(entry)
    _register(parts["environment"])
    agent = parts["agent"]
    choice = agent["id"] if "id" in agent else load_entry_point(agent["entry_point"])
    task = TaskSpec(**{**parts["task"], "wrappers": tuple(map(tuple, parts["task"]["wrappers"]))})
    numbers = parts["cell"]
    return Cell(
        task=task,
        label=agent["label"],
        choice=AgentChoice(choice, agent["settings"]),
        **{**numbers, "runs": numbers["runs"] and tuple(numbers["runs"])},
    )


def modules_of(cell: Cell) -> list[str]:
    """The modules whose import a cell begins with, by name."""
    entry_points = [entry_point for entry_point, _ in cell.task.wrappers]
    if isinstance(cell.choice.agent, str):
        entry_points.append(registry.agent_spec(cell.choice.agent).entry_point)
    else:
        entry_points.append(importable_name(cell.choice.agent) or "")
    spec = gym.registry.get(cell.task.env_id)
    if spec is not None and isinstance(spec.entry_point, str):
        entry_points.append(spec.entry_point)
    for kind in ("oracle", "model"):
        entry_points += [entry.entry_point for entry in registry.entries(kind)]
    return [point.partition(":")[0] for point in entry_points if point]


def importable_name(code: Any) -> str | None:
    """`module:name` under which another process finds a class or function; None if nowhere."""
    name = f"{getattr(code, '__module__', '')}:{getattr(code, '__qualname__', '')}"
    if name.startswith("__main__:"):
        return None
    try:
        found = load_entry_point(name)
    except (PluginError, ImportError):
        return None
    return name if found is code else None


def _environment(env_id: str) -> dict[str, Any] | Unportable | None:
    """How to register an environment that no plugin brings; None where there is no need."""
    spec = gym.registry.get(env_id)
    if spec is None or registry.find("env", env_id) is not None:
        return None
    entry_point: Any = spec.entry_point
    if callable(entry_point):
        entry_point = importable_name(entry_point)
    if entry_point is None or spec.additional_wrappers:
        return Unportable(f"the environment {env_id!r} cannot be imported by name")
    return {
        "id": spec.id,
        "entry_point": entry_point,
        "max_episode_steps": spec.max_episode_steps,
        "reward_threshold": spec.reward_threshold,
        "nondeterministic": spec.nondeterministic,
        "order_enforce": spec.order_enforce,
        "disable_env_checker": spec.disable_env_checker,
        "kwargs": dict(spec.kwargs),
    }


def _register(environment: dict[str, Any] | None) -> None:
    if environment is not None and environment["id"] not in gym.registry:
        gym.register(**environment)


def _carried_entries() -> Iterator[dict[str, Any]]:
    """Entries of the catalogue that were made in this process, not by an installed plugin."""
    brought = {pair for info in plugin_report().loaded for pair in info.registered}
    for kind in CARRIED:
        for entry in registry.entries(kind):
            if (kind, entry.id) not in brought:
                yield {
                    "kind": kind,
                    "id": entry.id,
                    "entry_point": entry.entry_point,
                    "provenance": dataclasses.asdict(entry.provenance),
                    "meta": _plain(entry.meta),
                }


def _plain(meta: Mapping[str, Any]) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        if isinstance(value, set | frozenset):
            return sorted(value)
        return dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value  # type: ignore[arg-type]

    return {name: plain(value) for name, value in meta.items()}


def _enter(parts: dict[str, Any]) -> None:
    if registry.find(parts["kind"], parts["id"]) is not None:
        return
    meta = dict(parts["meta"])
    if "spaces" in meta:
        sides = {side: tuple(names) for side, names in meta["spaces"].items()}
        meta["spaces"] = Spaces(**sides)
    transaction = Transaction(registry, Provenance(**parts["provenance"]))
    transaction.add(parts["kind"], parts["id"], parts["entry_point"], **meta)
    transaction.commit()
