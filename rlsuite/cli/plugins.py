"""`rlsuite plugins`: who brought what, and what could not be loaded and why."""

from __future__ import annotations

from typing import Annotated

import typer

from registry.plugins import PluginReport, plugin_report
from rlsuite.cli.console import counted, print_table

__all__ = ["plugins", "print_plugins"]


def plugins(
    show_traceback: Annotated[
        bool, typer.Option("--traceback", help="Show where each failed plugin went wrong.")
    ] = False,
) -> None:
    """Show the installed plugins: what each registered, and why one could not be loaded.

    A plugin is any installed package that names a function in the entry-point group
    "rlsuite.plugins". RLSUITE_PLUGINS=off leaves all but the built-in ones out,
    RLSUITE_PLUGINS=name,name lets only the named ones in.

    Example:  `rlsuite plugins --traceback`
    """
    print_plugins(show_traceback=show_traceback)


def print_plugins(*, show_traceback: bool) -> None:
    """Prints the report of the plugin loader."""
    report = plugin_report()
    _print_loaded(report)
    _print_failures(report, show_traceback)
    if report.left_out:
        typer.echo(f"Left out by RLSUITE_PLUGINS: {', '.join(report.left_out)}")


def _print_loaded(report: PluginReport) -> None:
    rows = [
        [
            info.name,
            str(info.provenance),
            info.entry_point,
            ", ".join(dict.fromkeys(identifier for _, identifier in info.registered)),
        ]
        for info in report.loaded
    ]
    print_table(
        f"{counted(len(rows), 'plugin')} loaded",
        ["plugin", "distribution", "entry point", "ids"],
        rows,
    )


def _print_failures(report: PluginReport, show_traceback: bool) -> None:
    if not report.failures:
        return
    rows = [
        [
            failure.name,
            str(failure.provenance),
            failure.entry_point,
            " ".join(failure.reason.split()),
        ]
        for failure in report.failures
    ]
    typer.echo("")
    print_table(
        f"{counted(len(rows), 'plugin')} not loaded (nothing of them is registered)",
        ["plugin", "distribution", "entry point", "reason"],
        rows,
    )
    for failure in report.failures if show_traceback else ():
        typer.echo(f"\n{failure.name} of {failure.provenance}:\n{failure.traceback.rstrip()}")
