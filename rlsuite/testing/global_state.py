"""What the whole process shares, and what should stand as it did: generators, threads, settings."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import random
import subprocess
import sys
from typing import Any

import numpy as np

from registry.catalogue import registry
from rlsuite.testing.report import Skip, require
from rlsuite.testing.walks import difference

__all__ = ["generators", "process_settings", "require_light_plugin", "require_unmoved"]

HEAVY = (
    "torch",
    "stable_baselines3",
    "scipy",
    "numba",
    "matplotlib",
    "pygame",
    "pettingzoo",
    "pandas",
)


def generators() -> dict[str, Any]:
    """The states of the global generators; torch's only if somebody has imported it."""
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002  the state is only looked at
    found = {"random": random.getstate(), "numpy.random": (kind, np.array(keys), *rest)}
    torch = sys.modules.get("torch")
    if torch is not None:
        found["torch"] = torch.get_rng_state().numpy().copy()
    return found


def require_unmoved(before: dict[str, Any], after: dict[str, Any], what: str) -> None:
    """Raises `Failure` where a global generator moved between the two states."""
    for name in before:
        moved = difference(before[name], after[name])
        require(not moved, f"{what} drew from or seeded the global generator of {name}")


def process_settings() -> dict[str, Any]:
    """Settings of the process that code tends to leave changed."""
    found: dict[str, Any] = {
        "numpy.geterr()": np.geterr(),
        "os.environ": dict(os.environ),
    }
    torch = sys.modules.get("torch")
    if torch is not None:
        found["torch.get_num_threads()"] = torch.get_num_threads()
        found["torch.get_default_dtype()"] = str(torch.get_default_dtype())
        found["torch.is_grad_enabled()"] = torch.is_grad_enabled()
        found["torch.are_deterministic_algorithms_enabled()"] = (
            torch.are_deterministic_algorithms_enabled()
        )
    return found


def require_light_plugin(kind: str, identifier: str) -> None:
    """Raises `Failure` if the plugin that registers the id imports a heavy library for it."""
    entry = registry.find(kind, identifier)
    if entry is None:
        raise Skip("no plugin registers this id")
    distribution = entry.provenance.distribution
    found = _heavy_imports(distribution)
    if found is None:
        raise Skip(f"the distribution {distribution!r} declares no entry point of rlsuite.plugins")
    require(
        not found,
        f"importing the plugin of {distribution} imports {', '.join(found)}: name entry points as "
        "strings, so that everybody's `import rlsuite` stays light",
    )


@functools.cache
def _heavy_imports(distribution: str) -> tuple[str, ...] | None:
    """Heavy modules that importing the plugins of a distribution brings in, in a new process."""
    modules = [
        point.module
        for point in importlib.metadata.entry_points(group="rlsuite.plugins")
        if point.dist is not None and point.dist.name == distribution
    ]
    if not modules:
        return None
    program = (
        f"import importlib, sys\nsys.path[:] = {sys.path!r}\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        f"print(*[m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    return tuple(done.stdout.split())
