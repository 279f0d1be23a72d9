"""How much of ours somebody opens to follow one agent: its file and every function it names."""

from __future__ import annotations

import ast
import importlib
import inspect
import sys

import pytest

import rlsuite  # noqa: F401  (registers everything)
from registry.catalogue import registry

TABULAR = ("rlsuite/QLearning-v0", "rlsuite/Sarsa-v0")
LIMIT = 250


def names_used(source: str) -> set[str]:
    return {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)} | {
        node.attr for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)
    }


def ours(module_name: str) -> bool:
    return module_name.split(".")[0] in {"rlsuite_agents"}


def reachable(module_name: str) -> dict[str, int]:
    """Lines by function, following each function of ours that the algorithm's file names."""
    module = importlib.import_module(module_name)
    source = inspect.getsource(module)
    lines = {module_name: len(source.splitlines())}
    todo = [(module, source)]
    while todo:
        scope, text = todo.pop()
        for name in names_used(text):
            target = getattr(scope, name, None)
            if inspect.ismodule(target):
                continue
            home = getattr(target, "__module__", None)
            if not (inspect.isfunction(target) or inspect.isclass(target)) or not home:
                continue
            key = f"{home}.{target.__qualname__}"
            if not ours(home) or home == module_name or key in lines:
                continue
            found = inspect.getsource(target)
            lines[key] = len(found.splitlines())
            todo.append((sys.modules[home], found))
    return lines


@pytest.mark.parametrize("identifier", TABULAR)
def test_a_tabular_agent_is_read_in_250_lines(identifier):
    """The learning path: what saving and loading needs besides is another reading."""
    entry = registry.get("agent", identifier)
    lines = reachable(entry.entry_point.partition(":")[0])
    learning = {k: n for k, n in lines.items() if "checkpoint" not in k and "env_state" not in k}
    assert sum(learning.values()) <= LIMIT, learning
