"""How much of ours somebody opens to follow one agent as it learns.

Counted are lines of code, without blank lines, comments and docstrings: the agent's whole file, and
every function and class of ours that its learning reaches. Saving and loading are another reading.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from typing import Any

import pytest

import rlsuite  # noqa: F401  (registers everything)
from registry.catalogue import registry
from rlsuite_agents.loops import Session

TABULAR = ("rlsuite/QLearning-v0", "rlsuite/Sarsa-v0")
LIMIT = 250
LEARNING = ("learn", "act", "observe")
ANOTHER_READING = ("rlsuite_agents.parts.checkpoint", "rlsuite_agents.parts.env_state")


def lines_of_code(source: str) -> int:
    source = textwrap.dedent(source)
    documentation: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node
        ):
            first = node.body[0]
            documentation |= set(range(first.lineno, (first.end_lineno or 0) + 1))
    return sum(
        bool(line.strip()) and not line.strip().startswith("#") and number not in documentation
        for number, line in enumerate(source.splitlines(), 1)
    )


def named_in(target: Any) -> list[Any]:
    """Functions and classes of ours whose names stand in the source of `target`."""
    scope = sys.modules[target.__module__]
    tree = ast.parse(textwrap.dedent(inspect.getsource(target)))
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    found = [getattr(scope, name, None) for name in sorted(names)]
    return [
        one
        for one in found
        if (inspect.isfunction(one) or inspect.isclass(one))
        and one.__module__.startswith("rlsuite_agents")
        and one.__module__ not in ANOTHER_READING
    ]


def what_a_reader_opens(agent_type: type) -> dict[str, int]:
    own = agent_type.__module__
    lines = {own: lines_of_code(inspect.getsource(sys.modules[own]))}
    todo: list[Any] = [getattr(agent_type, name) for name in LEARNING] + [Session]
    while todo:
        target = todo.pop()
        key = f"{target.__module__}.{target.__qualname__}"
        if key in lines:
            continue
        if target.__module__ != own:
            lines[key] = lines_of_code(inspect.getsource(target))
        todo += [one for one in named_in(target) if one.__module__ != own]
    return lines


@pytest.mark.parametrize("identifier", TABULAR)
def test_a_tabular_agent_is_read_in_250_lines(identifier):
    opened = what_a_reader_opens(registry.agent_spec(identifier).load())
    assert sum(opened.values()) <= LIMIT, opened
    assert any("epsilon_greedy" in name for name in opened)
    assert any("learn_online" in name for name in opened)


def test_lines_of_code_by_hand():
    source = '"""Doc."""\n\n# comment\ndef f(x):\n    """Doc\n    of two lines."""\n    return x\n'
    assert lines_of_code(source) == 2
