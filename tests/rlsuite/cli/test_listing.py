"""The lists: one line each in a pipe, a table on a terminal."""

from __future__ import annotations

import pytest
from rich.console import Console

from rlsuite.cli import console as console_module
from rlsuite.cli.console import print_table


@pytest.mark.parametrize(
    ("what", "identifier"),
    [
        ("envs", "rlsuite/GridWorld-v0"),
        ("agents", "sb3/PPO-v0"),
        ("tasks", "FrozenLake-v1"),
        ("suites", "rlsuite/quick-v0"),
        ("plugins", "rlsuite_envs.plugin:register"),
    ],
)
def test_a_list_names_what_is_installed_and_who_brought_it(cli, what, identifier):
    shown = cli("list", what)
    assert shown.code == 0
    (line,) = [line for line in shown.out.splitlines() if identifier in line]
    assert "rlsuite 0." in line
    assert "\x1b" not in shown.out
    assert shown.err == ""


def test_gymnasiums_own_environments_are_listed_when_asked_for(cli):
    assert "\nCartPole-v1 " not in cli("list", "envs").out
    assert "\nCartPole-v1 " in cli("list", "envs", "--all").out


def test_plain_columns_are_aligned_and_numbers_stand_right(capsys):
    print_table("two", ["name", "steps"], [["a", "5"], ["long", "1,000"]], right=[1])
    assert capsys.readouterr().out == "two\nname  steps\na         5\nlong  1,000\n"


def test_a_terminal_gets_a_table(monkeypatch, capsys):
    terminal = Console(force_terminal=True, width=60, color_system=None)
    monkeypatch.setattr(console_module, "console", lambda: terminal)
    monkeypatch.setenv("TERM", "xterm")
    print_table("[two]", ["name", "steps"], [["[a]", "5"]], right=[1])
    shown = capsys.readouterr().out
    assert "[two]" in shown
    assert "  [a]" in shown


def test_environments_may_be_spelt_out(cli):
    short, spelt = cli("list", "envs"), cli("list", "environments")
    assert spelt.code == 0
    assert spelt.out == short.out
