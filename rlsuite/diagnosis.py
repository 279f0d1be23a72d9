"""Is this installation sound? Every check answers with a value: what was found, and a remedy."""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import re
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from registry.errors import StoreError
from registry.plugins import GROUP, SWITCH, PluginFailure, PluginReport, plugin_report
from rlsuite.store import DEFAULT_PATH, Store

__all__ = ["Check", "diagnose"]

Status = Literal["ok", "note", "broken"]

BUILT_IN = {"environments": "rlsuite_envs", "agents": "rlsuite_agents", "suites": "rlsuite"}
REINSTALL = "Install again: pip install --force-reinstall rlsuite (or pip install -e . in a copy)."


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One finding. `remedy` is a sentence for what is broken, or empty."""

    name: str
    status: Status
    found: str
    remedy: str = ""


def diagnose(folder: Path | None = None) -> tuple[Check, ...]:
    """Runs every check; results are to be written to `folder` (default: the current one)."""
    where = Path.cwd() if folder is None else folder
    report = plugin_report()
    checks: list[Callable[[], Iterator[Check]]] = [
        _check_python,
        lambda: _check_libraries(metadata.requires("rlsuite") or []),
        _check_pygame,
        lambda: _check_built_ins(report),
        lambda: _check_plugins(report),
        _check_torch,
        _check_numba_cache,
        lambda: _check_results_folder(where),
        lambda: _check_sqlite(where),
        lambda: _check_store(where / DEFAULT_PATH),
    ]
    return tuple(finding for check in checks for finding in check())


def _check_python() -> Iterator[Check]:
    version = platform.python_version()
    good = sys.version_info >= (3, 11)
    yield Check(
        name="Python",
        status="ok" if good else "broken",
        found=f"{version} on {platform.system()} {platform.machine()}",
        remedy="" if good else "rlsuite needs Python 3.11 or later: make a new environment.",
    )


def _check_libraries(requirements: list[str]) -> Iterator[Check]:
    """Every library that rlsuite itself requires is installed; the extras are not looked for."""
    versions, missing = [], []
    for requirement in requirements:
        if "extra ==" in requirement:
            continue
        name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        version = installed_version(name)
        if version is None:
            missing.append(name)
        else:
            versions.append(f"{name} {version}")
    if missing:
        yield Check(
            name="Libraries",
            status="broken",
            found=f"not installed: {', '.join(missing)}",
            remedy=f"Install them: pip install {' '.join(missing)}",
        )
    yield Check(
        name="Versions",
        status="ok",
        found=", ".join([f"rlsuite {metadata.version('rlsuite')}", *versions]),
    )


def installed_version(distribution: str) -> str | None:
    """The version of an installed distribution, or None."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _check_pygame() -> Iterator[Check]:
    """`pygame` and `pygame-ce` are two distributions of one module: they overwrite each other."""
    if installed_version("pygame") is None:
        return
    yield Check(
        name="pygame",
        status="broken",
        found="pygame is installed, which overwrites files of pygame-ce",
        remedy="Keep one: pip uninstall -y pygame pygame-ce, then pip install pygame-ce",
    )


def _check_built_ins(report: PluginReport) -> Iterator[Check]:
    """The three entry points through which rlsuite's own environments and agents come."""
    present = {info.name for info in report.loaded if info.provenance.distribution == "rlsuite"}
    missing = sorted(set(BUILT_IN) - present)
    if missing:
        yield Check(
            name="Entry points",
            status="broken",
            found=f"rlsuite's own {', '.join(missing)} did not register in the group {GROUP!r}",
            remedy=REINSTALL,
        )
    else:
        ids = sum(len(info.registered) for info in report.loaded)
        found = f"{len(report.loaded)} plugins registered {ids} ids"
        yield Check(name="Entry points", status="ok", found=found)


def _check_plugins(report: PluginReport) -> Iterator[Check]:
    yield from _check_switch(report)
    if report.left_out:
        yield Check(
            name="Plugins left out",
            status="note",
            found=f"RLSUITE_PLUGINS leaves out {', '.join(report.left_out)}",
        )
    for failure in report.failures:
        yield _failed_plugin(failure)


def _check_switch(report: PluginReport) -> Iterator[Check]:
    """A misspelt name in RLSUITE_PLUGINS would leave a plugin out without a word."""
    switch = os.environ.get(SWITCH, "").strip()
    names = {name.strip() for name in switch.split(",") if name.strip()}
    found = {*report.left_out, "off", "OFF", "Off"}
    found |= {name for p in report.loaded for name in (p.name, p.provenance.distribution)}
    found |= {name for p in report.failures for name in (p.name, p.provenance.distribution)}
    unknown = sorted(names - found)
    if unknown:
        yield Check(
            name="Plugin switch",
            status="broken",
            found=f"{SWITCH} names {', '.join(unknown)}, but no such plugin is installed",
            remedy=f"Correct {SWITCH}: it takes names of plugins or of their distributions.",
        )


def _failed_plugin(failure: PluginFailure) -> Check:
    distribution = failure.provenance.distribution
    return Check(
        name=f"Plugin {failure.name}",
        status="broken",
        found=f"{failure.provenance}: {' '.join(failure.reason.split())}",
        remedy=f"See `rlsuite plugins --traceback`; update or uninstall {distribution!r}, or leave "
        "it out with RLSUITE_PLUGINS.",
    )


def _check_torch() -> Iterator[Check]:
    """PyTorch is really imported here: a broken wheel shows only then."""
    if importlib.util.find_spec("torch") is None:
        yield Check(
            name="PyTorch", status="broken", found="not installed", remedy="pip install torch"
        )
        return
    try:
        torch = importlib.import_module("torch")
    except (ImportError, OSError) as error:
        yield Check(
            name="PyTorch",
            status="broken",
            found=f"cannot be imported: {' '.join(str(error).split())}",
            remedy="Install it again: pip install --force-reinstall torch",
        )
        return
    devices = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
    found = f"device='cuda' is {', '.join(devices)}" if devices else "no CUDA device: cpu is used"
    yield Check(name="PyTorch", status="ok", found=f"{torch.__version__}, {found}")


def _check_numba_cache() -> Iterator[Check]:
    """Numba keeps compiled code beside the source, or else in a folder of the user's."""
    places = [os.environ.get("NUMBA_CACHE_DIR", ""), *_source_caches()]
    places.append(str(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "numba"))
    writable = next((p for p in places if p and write_failure(Path(p)) is None), None)
    if writable:
        yield Check(name="Numba cache", status="ok", found=f"{writable} can be written")
    else:
        yield Check(
            name="Numba cache",
            status="note",
            found="no folder can be written, so functions are compiled anew in every process",
            remedy="Set NUMBA_CACHE_DIR to a folder that can be written.",
        )


def _source_caches() -> list[str]:
    spec = importlib.util.find_spec("rlsuite_agents")
    folders = (spec.submodule_search_locations or []) if spec else []
    return [str(Path(folder) / "__pycache__") for folder in folders]


def _check_results_folder(folder: Path) -> Iterator[Check]:
    failure = write_failure(folder)
    if failure is None:
        yield Check(name="Results folder", status="ok", found=f"{folder} can be written")
    else:
        yield Check(
            name="Results folder",
            status="broken",
            found=f"{folder} cannot be written: {failure}",
            remedy="Go to a folder of yours, or give `--store` and `--report` paths in one.",
        )


def write_failure(folder: Path) -> str | None:
    """Why no file can be made in `folder`, or in the part of its path that exists; else None."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"rlsuite")
    except OSError as error:
        return error.strerror or str(error)
    return None


def _check_sqlite(folder: Path) -> Iterator[Check]:
    """The store needs write-ahead logging, which network file systems do not offer."""
    place = folder if write_failure(folder) is None and folder.is_dir() else None
    try:
        mode = journal_mode(place)
    except (sqlite3.Error, OSError) as error:
        mode = f"an error: {error}"
    good = mode == "wal"
    yield Check(
        name="SQLite",
        status="ok" if good else "broken",
        found=f"{sqlite3.sqlite_version}, journal mode {mode}",
        remedy=""
        if good
        else "Put the store on a local disk with --store: WAL does not work here.",
    )


def _check_store(path: Path) -> Iterator[Check]:
    """The store that `rlsuite bench` uses here, if there is one: all of it is read."""
    if not path.exists():
        return
    try:
        with Store(path, read_only=True) as store:
            store.check()
            found = f"{path} holds {len(store.digests())} cells, all of them readable"
    except StoreError as error:
        yield Check(
            name="Store",
            status="broken",
            found=" ".join(str(error).split()),
            remedy=f"Move {path} away, or name another file with --store.",
        )
    else:
        yield Check(name="Store", status="ok", found=found)


def journal_mode(folder: Path | None) -> str:
    """What SQLite answers in `folder` when it is asked for write-ahead logging."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".rlsuite-doctor-") as scratch:
        connection = sqlite3.connect(Path(scratch) / "probe.sqlite")
        try:
            mode = str(connection.execute("PRAGMA journal_mode=WAL").fetchone()[0])
            connection.execute("CREATE TABLE probe (x INTEGER) STRICT")
            connection.commit()
        finally:
            connection.close()
    return mode
