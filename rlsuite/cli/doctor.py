"""`rlsuite doctor`: is this installation sound, and what to do where it is not."""

from __future__ import annotations

import typer

from rlsuite.cli.console import print_table

__all__ = ["doctor"]


def doctor() -> None:
    """Examine this installation: versions, plugins, PyTorch, caches, the results folder, SQLite.

    Every fault comes with one sentence that says what to do. The exit code is 1 if something is
    broken, else 0.

    Example:  `rlsuite doctor`
    """
    from rlsuite.diagnosis import diagnose

    checks = diagnose()
    print_table(
        "What this installation looks like",
        ["check", "status", "found"],
        [[check.name, check.status, check.found] for check in checks],
    )
    for check in checks:
        if check.remedy:
            typer.echo(f"\n{check.name}: {check.remedy}")
    broken = sum(check.status == "broken" for check in checks)
    typer.echo(f"\n{broken} broken." if broken else "\nAll is well.")
    if broken:
        raise typer.Exit(1)
