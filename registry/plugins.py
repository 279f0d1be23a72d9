"""Finds installed plugins and lets each register, or nothing of it.

A plugin names a function in the entry-point group `rlsuite.plugins`:

    [project.entry-points."rlsuite.plugins"]
    racetrack = "rlsuite_racetrack.plugin:register"

The built-in environments and agents come through the same door. A plugin that fails is a line in
the report: it stops nobody else, and nothing of it stays registered. `RLSUITE_PLUGINS=off` loads
the built-ins alone, `RLSUITE_PLUGINS=name,name` those and the named plugins (names of entry points
or of distributions).
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from registry.catalogue import Registry, Transaction, registry
from registry.errors import PluginError
from registry.specs import Provenance, check_entry_point, load_entry_point

__all__ = ["GROUP", "PluginFailure", "PluginInfo", "PluginReport", "load_plugins", "plugin_report"]

GROUP = "rlsuite.plugins"
BUILT_IN = "rlsuite"
SWITCH = "RLSUITE_PLUGINS"


@dataclass(frozen=True, kw_only=True, slots=True)
class PluginInfo:
    """One plugin that was loaded, with the ids it registered as `(kind, id)`."""

    name: str
    entry_point: str
    provenance: Provenance
    registered: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class PluginFailure:
    """One plugin that could not be loaded. `retry`: it was itself being imported at the time."""

    name: str
    entry_point: str
    provenance: Provenance
    reason: str
    traceback: str
    retry: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class PluginReport:
    """What was loaded, what failed, and what the switch left out."""

    loaded: tuple[PluginInfo, ...] = ()
    failures: tuple[PluginFailure, ...] = ()
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    name: str
    value: str
    provenance: Provenance

    @property
    def built_in(self) -> bool:
        return self.provenance.distribution == BUILT_IN


class _Loader:
    """Remembers what was tried, so that loading twice changes nothing."""

    def __init__(self, target: Registry) -> None:
        self.target = target
        self.report: PluginReport | None = None
        self.busy = False
        target.before_lookup = self.retry
        target.hints = self.hint

    def load(self) -> PluginReport:
        """Loads every plugin on the first call; afterwards returns the same report."""
        if self.report is None and not self.busy:
            self._run(*_selected(_found_plugins(), os.environ.get(SWITCH)), PluginReport())
        return self.report or PluginReport()

    def retry(self) -> None:
        """A second try for plugins that failed because they were being imported."""
        report = self.report
        if report is None or self.busy:
            return
        again = [f for f in report.failures if f.retry and not _is_initialising(f.entry_point)]
        if again:
            kept = tuple(f for f in report.failures if f not in again)
            found = [
                _Found(name=f.name, value=f.entry_point, provenance=f.provenance) for f in again
            ]
            self._run(found, report.left_out, PluginReport(loaded=report.loaded, failures=kept))

    def hint(self) -> str:
        """Names the plugins that failed, for an unknown-id error."""
        failures = self.report.failures if self.report else ()
        if not failures:
            return ""
        names = ", ".join(f"{f.name!r} of {f.provenance}" for f in failures)
        return f" Not loaded because of an error: {names} (`rlsuite plugins` shows why)."

    def _run(self, found: list[_Found], left_out: tuple[str, ...], before: PluginReport) -> None:
        self.busy = True
        try:
            results = [_load_one(self.target, one) for one in found]
        finally:
            self.busy = False
        loaded = tuple(r for r in results if isinstance(r, PluginInfo))
        failures = tuple(r for r in results if isinstance(r, PluginFailure))
        self.report = PluginReport(
            loaded=before.loaded + loaded, failures=before.failures + failures, left_out=left_out
        )


def _found_plugins() -> list[_Found]:
    """All entry points of the group: the built-ins first, then by distribution and name."""
    found = {
        _Found(
            name=point.name,
            value=point.value,
            provenance=Provenance(
                distribution=point.dist.name if point.dist else "unknown",
                version=point.dist.version if point.dist else "unknown",
            ),
        )
        for point in metadata.entry_points(group=GROUP)
    }
    return sorted(found, key=lambda p: (not p.built_in, p.provenance.distribution, p.name, p.value))


def _selected(found: list[_Found], switch: str | None) -> tuple[list[_Found], tuple[str, ...]]:
    """The plugins that `RLSUITE_PLUGINS` lets in, and the names of those it leaves out."""
    if switch is None or not switch.strip():
        return found, ()
    names = (
        set() if switch.strip().lower() == "off" else {name.strip() for name in switch.split(",")}
    )
    chosen = [p for p in found if p.built_in or names & {p.name, p.provenance.distribution}]
    return chosen, tuple(p.name for p in found if p not in chosen)


def _load_one(target: Registry, found: _Found) -> PluginInfo | PluginFailure:
    """Imports and calls one plugin; a failure of any kind but Ctrl-C becomes a value."""
    transaction = Transaction(target, found.provenance)
    before = dict(gym.registry)
    was_initialising = _is_initialising(found.value)
    try:
        _check_value(found)
        load_entry_point(found.value)(transaction)
        transaction.commit()
    except KeyboardInterrupt:
        _restore(before)
        raise
    except BaseException as error:  # a plugin may raise anything, SystemExit too
        _restore(before)
        return PluginFailure(
            name=found.name,
            entry_point=found.value,
            provenance=found.provenance,
            reason=f"{type(error).__name__}: {error}".rstrip(": "),
            traceback="".join(traceback.format_exception(error)),
            retry=was_initialising,
        )
    return PluginInfo(
        name=found.name,
        entry_point=found.value,
        provenance=found.provenance,
        registered=tuple((entry.kind, entry.id) for entry in transaction.entries),
    )


def _check_value(found: _Found) -> None:
    try:
        check_entry_point(found.value)
    except PluginError as error:
        raise PluginError(
            f"{found.provenance} declares the plugin {found.name!r} as {found.value!r}; "
            "the value must read 'package.plugin:register'."
        ) from error


def _restore(before: dict[str, EnvSpec]) -> None:
    """Takes back what a failed plugin entered into Gymnasium's registry by itself."""
    gym.registry.clear()
    gym.registry.update(before)


def _is_initialising(entry_point: str) -> bool:
    """Whether the plugin's module, or a package above it, is just being imported."""
    return any(
        getattr(getattr(sys.modules.get(name), "__spec__", None), "_initializing", False)
        for name in _packages_of(entry_point.partition(":")[0])
    )


def _packages_of(module: str) -> Iterable[str]:
    parts = module.split(".")
    return (".".join(parts[: i + 1]) for i in range(len(parts)))


_loader = _Loader(registry)


def load_plugins() -> PluginReport:
    """Loads all installed plugins into the catalogue. Idempotent; `import rlsuite` calls it."""
    return _loader.load()


def plugin_report() -> PluginReport:
    """What was loaded and what failed, after second tries."""
    _loader.retry()
    return _loader.report or PluginReport()
