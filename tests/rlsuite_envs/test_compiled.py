"""Compiled functions: lazy, kept on disk, and compiled anyway where nothing can be kept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rlsuite_envs.compiled import Compiled, compiled

FACTOR = 3


@compiled
def tripled(x):
    return FACTOR * x


@compiled
def sum_of_tripled(values):
    total = 0
    for x in values:
        total += tripled(x)
    return total


@compiled
def divided(x, y):
    if y == 0:
        raise RuntimeError("nothing is divided by zero")
    return x / y


def test_compiled_functions_call_each_other():
    assert sum_of_tripled(np.arange(5)) == 30
    assert sum_of_tripled.function([1, 2]) == 9  # the plain one works as well
    assert sum_of_tripled.__name__ == "sum_of_tripled"
    with pytest.raises(RuntimeError, match="nothing is divided by zero"):
        divided(1, 0)


def test_the_digest_follows_helpers_and_constants():
    def variant(factor, helper_source):
        names = {"compiled": compiled, "FACTOR": factor}
        exec(helper_source, names)
        exec("@compiled\ndef outer(x):\n    return helper(x) + 1", names)
        return names["outer"].digest()

    first = "@compiled\ndef helper(x):\n    return FACTOR * x"
    second = "@compiled\ndef helper(x):\n    return FACTOR + x"
    digests = {variant(3, first), variant(4, first), variant(3, second)}
    assert len(digests) == 3
    assert variant(3, first) in digests


def test_without_a_place_for_the_cache_it_is_compiled_all_the_same():
    names = {"compiled": compiled}
    exec("@compiled\ndef plus_one(x):\n    return x + 1", names)  # no file, so no cache folder
    assert names["plus_one"](1) == 2
    assert type(names["plus_one"].machine._cache).__name__ == "NullCache"
    assert type(tripled.machine._cache).__name__ == "FunctionCache"


def test_another_error_of_the_compiler_is_not_swallowed(monkeypatch):
    import numba

    def broken(**keywords):
        raise RuntimeError("out of registers")

    monkeypatch.setattr(numba, "njit", broken)
    with pytest.raises(RuntimeError, match="out of registers"):
        Compiled(lambda x: x).machine  # noqa: B018  reading it compiles


def test_only_plain_functions_are_decorated():
    with pytest.raises(TypeError, match="decorates plain functions, got <built-in function len>"):
        compiled(len)


def test_the_next_process_finds_what_was_compiled(tmp_path):
    """Two processes with a cache folder of their own; numba comes in at the first call alone."""
    program = (
        "import sys\n"
        "import numpy as np\n"
        "from rlsuite_envs.vector.pcg64 import uniform\n"
        "assert 'numba' not in sys.modules\n"
        "uniform(np.ones((1, 4), np.uint64), 0)\n"
        "print(sum(uniform.machine.stats.cache_hits.values()))\n"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    root = Path(__file__).resolve().parents[2]
    hits = [
        subprocess.run(
            [sys.executable, "-c", program],
            env=environment,
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for _ in range(2)
    ]
    assert hits == ["0", "1"]
