"""What makes two cells the same: everything that can change a result, and nothing else.

The identity holds the task, the environment as Gymnasium registers it, the agent with all of its
settings, seed, budget and evaluation, and where the code comes from: distribution and version, and
a hash of the source where the version says too little (editable installs, code outside of any
distribution, classes that were passed in). Files that a setting or a keyword names are in it by
their content, reward and reference models by their code. Library versions, CPU and device are a
*fingerprint* beside it: they are stored, compared and reported, and do not make another cell.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.util
import inspect
import json
import os
import platform
import types
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import gymnasium as gym

from registry.catalogue import registry
from registry.errors import RlsuiteError, SuiteError
from registry.specs import TaskSpec, load_entry_point
from rlsuite.episodes import WIDTH
from rlsuite.evaluation import MAX_STEPS
from rlsuite.making import make_config
from rlsuite.records import IDENTITY_VERSION, RunKey, canonical_json
from rlsuite.suite import AgentChoice, Cell

__all__ = ["fingerprint", "has_source", "key_of", "origin_of", "resolved_settings"]

SHOWN_ONLY = frozenset(
    {
        *(
            "cli",
            "collecting",
            "diagnosis",
            "reporting",
            "results",
            "sessions",
            "showing",
            "studies",
            "testing",
        ),
        *("backends", "benchmarking", "data", "database", "schema", "store", "stored"),
        *("running/events", "running/leases", "running/packing", "running/payloads"),
        *("running/planning", "running/policies", "running/reusing", "running/run_loop"),
    }
)
"""Parts of `rlsuite` that only show, carry or keep results: editing them changes none.

That cells give the same bits whatever carries them is tested for every backend.
"""

MODELS = ("reward_model", "reference_model")
"""Kinds of entries that keywords of environments name by their id."""

LIBRARIES = ("gymnasium", "numpy", "scipy", "torch", "stable-baselines3", "numba")


def key_of(cell: Cell, device: str = "cpu") -> RunKey:
    """The key of a cell.

    A class whose source cannot be found gets a key that nothing else has, so that it is never
    reused: see `has_source`.

    Raises:
        SuiteError: a keyword of the task's environment cannot be written as JSON.
    """
    task = {f.name: getattr(cell.task, f.name) for f in dataclasses.fields(cell.task)}
    settings = resolved_settings(cell.choice)
    environment = _environment(cell.task)
    identity = {
        "schema": IDENTITY_VERSION,
        "task": {
            **task,
            "env_kwargs": dict(cell.task.env_kwargs),
            "wrappers": [
                [entry_point, dict(keywords), origin_of(entry_point)]
                for entry_point, keywords in cell.task.wrappers
            ],
        },
        "environment": environment,
        "agent": _agent(cell.choice),
        "settings": settings,
        "named": _named(environment["kwargs"], cell.task.env_kwargs, cell.task.wrappers, settings),
        "seed": cell.seed,
        "total_timesteps": cell.total_timesteps,
        "evaluation": {
            "points": cell.eval_points,
            "episodes": cell.eval_episodes,
            "final_episodes": cell.final_episodes,
            "deterministic": cell.deterministic,
            "max_steps": MAX_STEPS,
            "width": WIDTH,
        },
        "device": device,
        "rlsuite": _rlsuite_origin(),
    }
    if cell.runs is not None:
        identity["study"] = {"runs": cell.runs}
    try:
        return RunKey(identity=json.loads(canonical_json(identity)))
    except (TypeError, ValueError) as error:
        raise SuiteError(
            f"the task {cell.task.id!r} has keywords that cannot be written as JSON, so its "
            f"results could not be recognised again: {error}."
        ) from error


def resolved_settings(choice: AgentChoice) -> Mapping[str, Any]:
    """All settings of the agent, defaults included; of a class that was passed in, the given ones.

    Where an agent cannot be imported these are the given ones too: its cells will fail.
    """
    if not isinstance(choice.agent, str):
        return dict(choice.settings)
    spec = registry.agent_spec(choice.agent)
    try:
        config = make_config(spec, spec.load(), choice.settings)
    except RlsuiteError:
        raise
    except Exception:  # somebody's import failed
        return {**spec.settings, **choice.settings}
    settings: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    return settings


def has_source(choice: AgentChoice) -> bool:
    """Whether the code of an agent is known, so that its results can be recognised again."""
    return isinstance(choice.agent, str) or _source_of(choice.agent) is not None


def fingerprint(device: str = "cpu") -> dict[str, str]:
    """The machine and the libraries. Nothing is imported for it."""
    versions = {name: _version(name) for name in LIBRARIES}
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_model(),
        "device": device,
        **{name: version for name, version in versions.items() if version is not None},
    }


def origin_of(entry_point: str) -> dict[str, str | None]:
    """The distribution and version of an entry point's package, with a hash where that is needed.

    A hash of all its Python files is added where the package is installed editable, or belongs to
    no distribution.
    """
    return dict(_origin_of_package(entry_point.partition(":")[0].partition(".")[0]))


@functools.cache
def _origin_of_package(package: str) -> types.MappingProxyType[str, str | None]:
    distribution = _distribution_of(package)
    editable = distribution is None or _is_editable(distribution)
    return types.MappingProxyType(
        {
            "distribution": distribution,
            "version": None if distribution is None else _version(distribution),
            "source": _package_hash(package) if editable else None,
        }
    )


@functools.cache
def _rlsuite_origin() -> types.MappingProxyType[str, Any]:
    """Our own part: `rlsuite` without what only shows results, and `registry`."""
    own = _is_editable("rlsuite")
    sources = [_package_hash(name, SHOWN_ONLY) for name in ("registry", "rlsuite")] if own else []
    return types.MappingProxyType({"version": _version("rlsuite"), "sources": sources})


def _environment(task: TaskSpec) -> Mapping[str, Any]:
    """The environment as Gymnasium registers it, and where its code comes from."""
    spec = gym.spec(task.env_id)
    entry_point = spec.entry_point
    known = {
        "id": spec.id,
        "kwargs": dict(spec.kwargs),
        "max_episode_steps": spec.max_episode_steps,
        "order_enforce": spec.order_enforce,
        "additional_wrappers": [str(wrapper) for wrapper in spec.additional_wrappers],
        "oracles": _providers(task.env_id),
    }
    if isinstance(entry_point, str):
        return {**known, "entry_point": entry_point, "origin": origin_of(entry_point)}
    return {**known, "entry_point": _name(entry_point), "origin": _passed_in(entry_point)}


def _providers(env_id: str) -> list[Any]:
    """Who may answer for an environment that ships no oracle of its own."""
    creator: Any = None
    try:
        creator = gym.spec(env_id).entry_point
        if isinstance(creator, str):
            creator = load_entry_point(creator)
    except Exception:  # somebody's import failed: its cells will, and the others go on
        pass
    if callable(getattr(creator, "oracle", None)):
        return []
    entries = registry.entries("oracle")
    return [[e.id, e.entry_point, origin_of(e.entry_point)] for e in entries]


def _named(*parts: Any) -> list[Any]:
    """What keywords and settings name instead of holding it: registered models, and files."""
    found = {text: _behind(text) for text in _texts(parts)}
    return [[text, behind] for text, behind in sorted(found.items()) if behind]


def _texts(value: Any) -> Iterator[str]:
    """All strings and paths in a value."""
    if isinstance(value, str | os.PathLike):
        yield os.fsdecode(value)
    elif isinstance(value, Mapping):
        yield from _texts(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def _behind(text: str) -> list[Any]:
    """The code and folder of the model of this id, and hashes of the file or folder of this path.

    A folder of a model is one with a config.json; nothing for other texts.
    """
    entries = [entry for kind in MODELS if (entry := registry.find(kind, text)) is not None]
    behind: list[Any] = [[entry.entry_point, origin_of(entry.entry_point)] for entry in entries]
    for entry in entries:
        behind += _behind(entry.meta["folder"]) if "folder" in entry.meta else []
    with suppress(OSError, ValueError):  # no file: too long for a name, not to be read
        path = Path(text)
        if path.is_file():
            behind.append(_content_of(path))
        elif (path / "config.json").is_file():
            files = sorted(file for file in path.iterdir() if file.is_file())
            behind += [[file.name, _content_of(file)] for file in files]
    return behind


def _content_of(file: Path) -> str:
    status = file.stat()
    return _content(str(file.absolute()), status.st_size, status.st_mtime_ns)


@functools.cache
def _content(path: str, size: int, changed: int) -> str:
    """SHA-256 of a file, read once for all cells as long as its size and date stay."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _agent(choice: AgentChoice) -> Mapping[str, Any]:
    if isinstance(choice.agent, str):
        spec = registry.agent_spec(choice.agent)
        return {
            "id": spec.id,
            "entry_point": spec.entry_point,
            "origin": origin_of(spec.entry_point),
        }
    return {"id": choice.id, "entry_point": _name(choice.agent), "origin": _passed_in(choice.agent)}


def _name(code: Any) -> str:
    return f"{getattr(code, '__module__', '?')}:{getattr(code, '__qualname__', repr(type(code)))}"


def _passed_in(code: Any) -> dict[str, str]:
    """A hash of the source of a class or function; something unique where there is none."""
    source = _source_of(code)
    if source is None:
        return {"unique": uuid.uuid4().hex}
    return {"source": hashlib.sha256(source.encode()).hexdigest()}


def _source_of(code: Callable[..., Any]) -> str | None:
    """The source of a class with its parents, or of a function; None where it tells too little.

    That is so for code typed into an interpreter, for partial functions and for closures, whose
    captured values are not in their text.
    """
    if getattr(code, "__closure__", None):
        return None
    parts = [c for c in code.__mro__ if c is not object] if isinstance(code, type) else [code]
    try:
        return "\n".join(inspect.getsource(part) for part in parts)
    except (OSError, TypeError):
        return None


@functools.cache
def _distributions() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


def _distribution_of(package: str) -> str | None:
    """The distribution that a top-level package belongs to; of an entry in the catalogue, its."""
    for kind in ("agent", "env"):
        for entry in registry.entries(kind):
            known = entry.provenance.distribution not in ("", "unknown")
            if known and entry.entry_point.partition(".")[0] == package:
                return entry.provenance.distribution
    names = _distributions().get(package, [])
    return names[0] if names else None


def _is_editable(distribution: str) -> bool:
    """Whether any copy of its metadata says so: a source folder on the path hides the other one."""
    copies = list(metadata.distributions(name=distribution))
    texts = [text for copy in copies if (text := copy.read_text("direct_url.json"))]
    editable = [json.loads(text).get("dir_info", {}).get("editable") for text in texts]
    return not copies or any(editable)


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _package_hash(package: str, left_out: frozenset[str] = frozenset()) -> str:
    """SHA-256 of all Python files of a package or module, with their paths in it."""
    digest = hashlib.sha256()
    for name, path in sorted(_python_files(package)):
        module = name.removesuffix(".py").split(os.sep)
        if any("/".join(module[:depth]) in left_out for depth in (1, 2)):
            continue
        digest.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def _python_files(package: str) -> list[tuple[str, Path]]:
    try:
        spec = importlib.util.find_spec(package)
    except (ValueError, ImportError):  # __main__ has no spec
        spec = None
    if spec is not None and spec.submodule_search_locations:
        folders = [Path(folder) for folder in spec.submodule_search_locations]
        return [(str(p.relative_to(f)), p) for f in folders for p in f.rglob("*.py")]
    if spec is not None and spec.origin and Path(spec.origin).is_file():
        return [(Path(spec.origin).name, Path(spec.origin))]
    return []


@functools.cache
def _cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine()
    lines = [line for line in text.splitlines() if line.startswith("model name")]
    return lines[0].partition(":")[2].strip() if lines else platform.machine()
