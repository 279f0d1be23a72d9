"""What the process shares; and plugins that are heavy to import."""

from __future__ import annotations

import random
from types import SimpleNamespace

import numpy as np
import pytest

from rlsuite.testing import global_state
from rlsuite.testing.global_state import generators, require_light_plugin, require_unmoved
from rlsuite.testing.report import Failure, Skip


def test_a_generator_that_moved_is_named():
    kept_python, kept_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    before = generators()
    require_unmoved(before, generators(), "nothing")
    random.random()
    with pytest.raises(Failure, match=r"it drew from or seeded the global generator of random"):
        require_unmoved(before, generators(), "it")
    random.setstate(kept_python)
    np.random.random()  # noqa: NPY002
    with pytest.raises(Failure, match=r"the global generator of numpy\.random"):
        require_unmoved(before, generators(), "it")
    np.random.set_state(kept_numpy)  # noqa: NPY002


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """A distribution that registers test/Thing-v0; `plugin(source)` writes its module."""

    def write(source):
        tmp_path.joinpath("planted_plugin.py").write_text(source, encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path)
        entry = SimpleNamespace(provenance=SimpleNamespace(distribution="planted"))
        found = {"test/Thing-v0": entry}
        point = SimpleNamespace(module="planted_plugin", dist=SimpleNamespace(name="planted"))
        monkeypatch.setattr(global_state.registry, "find", lambda kind, name: found.get(name))
        monkeypatch.setattr(global_state.importlib.metadata, "entry_points", lambda group: [point])
        global_state._heavy_imports.cache_clear()

    yield write
    global_state._heavy_imports.cache_clear()


@pytest.mark.parametrize("kind", ["env", "agent"])
def test_a_heavy_plugin_is_caught(plugin, kind):
    plugin("import scipy\n")
    with pytest.raises(Failure, match="the plugin of planted imports scipy: name entry points as"):
        require_light_plugin(kind, "test/Thing-v0")


def test_a_light_plugin_passes(plugin):
    plugin("import json\n")
    require_light_plugin("env", "test/Thing-v0")


def test_what_no_plugin_registers():
    with pytest.raises(Skip, match="no plugin registers this id"):
        require_light_plugin("env", "CartPole-v1")
