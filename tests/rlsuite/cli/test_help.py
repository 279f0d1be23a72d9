"""`--help` answers a newcomer at once: an example each, and nothing heavy is imported for it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

COMMANDS = [
    "",
    "list",
    "list envs",
    "list agents",
    "list tasks",
    "list suites",
    "list plugins",
    "train",
    "evaluate",
    "collect",
    "study",
    "ope",
    "play",
    "plot",
    "bench",
    "bench plan",
    "bench run",
    "bench status",
    "bench report",
    "bench compare",
    "sql",
    "export",
    "import",
    "import monitor",
    "import minari",
    "check",
    "check env",
    "check agent",
    "check alignment",
    "plugins",
    "doctor",
]
HEAVY = [
    "torch",
    "stable_baselines3",
    "scipy",
    "numba",
    "matplotlib",
    "pygame",
    "pettingzoo",
    "pandas",
    "pyarrow",
    "jinja2",
    "sklearn",
]
ALL_HELPS = f"""
import contextlib, io, json, sys
from rlsuite.cli.main import main
shown = {{}}
for command in {COMMANDS!r}:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            main([*command.split(), "--help"])
        except SystemExit as stopped:
            shown[command] = [stopped.code, out.getvalue()]
print(json.dumps([shown, [m for m in {HEAVY!r} if m in sys.modules]]))
"""


@pytest.fixture(scope="module")
def helps():
    done = subprocess.run(
        [sys.executable, "-c", ALL_HELPS], capture_output=True, text=True, check=True, timeout=60
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_and_exits_with_0(helps, command):
    code, text = helps[0][command]
    assert code in (0, None)
    assert "Usage: rlsuite" in text
    assert f"rlsuite {command}".strip() in text.replace("[OPTIONS] ", "")
    assert "Example:" in text or (command == "" and "Try:" in text)


def test_help_imports_nothing_heavy(helps):
    assert helps[1] == []


def test_the_tree_is_complete(cli):
    """Every command is one of those above: a new one has to be listed here."""
    from rlsuite.cli.main import app

    groups = {g.name: g.typer_instance for g in app.registered_groups}
    found = {c.name for c in app.registered_commands} | set(groups)
    for name, group in groups.items():
        found |= {f"{name} {c.name}" for c in group.registered_commands if not c.hidden}
    assert found == set(COMMANDS) - {""}


def test_no_arguments_show_the_help(cli):
    shown = cli()
    assert "Usage: rlsuite" in shown.out + shown.err


def test_version(cli):
    shown = cli("--version")
    assert shown.code == 0
    assert shown.out.startswith("rlsuite 0.")


def test_the_command_can_be_run_as_a_module(cli):
    shown = subprocess.run(
        [sys.executable, "-m", "rlsuite", "--version"], capture_output=True, text=True, check=True
    )
    assert shown.stdout == cli("--version").out
