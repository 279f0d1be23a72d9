"""`rlsuite bench`: many agents on many tasks over many seeds, kept in a store and reported."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

__all__ = ["app"]


class _SuiteFirst(TyperGroup):
    """`rlsuite bench quick` is short for `rlsuite bench run quick`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Puts `run` before a word that is no command, which is then the name of a suite."""
        known = not args or args[0] in self.commands or args[0].startswith("-")
        return super().resolve_command(ctx, args if known else ["run", *args])


app = typer.Typer(
    cls=_SuiteFirst,
    no_args_is_help=True,
    help="Compare agents: every agent on every task with several seeds, then leaderboards and a "
    "report. `rlsuite bench quick` is short for `rlsuite bench run quick`.",
    epilog="Example:  `rlsuite bench quick`   or   `rlsuite bench my.toml`",
)

STORE = typer.Option(
    "--store",
    help="SQLite file that keeps every finished cell; default: results/rlsuite.sqlite.",
)
REPORT = typer.Option("--report", help="Where to write the report, one self-contained HTML file.")


@app.command("run")
def run(
    suite: Annotated[
        str,
        typer.Argument(
            metavar="SUITE", help="Name of a suite, like quick, or path of a TOML file."
        ),
    ],
    store: Annotated[Path | None, STORE] = None,
    report: Annotated[Path, REPORT] = Path("report.html"),
    no_report: Annotated[bool, typer.Option("--no-report", help="Write no report.")] = False,
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", help="Seeds per cell instead of those of the suite."),
    ] = None,
) -> None:
    """Run a suite: live progress, leaderboards at the end, and a report.

    Every finished cell (one agent on one task with one seed) is kept in the store. Stop it when you
    like: the same command goes on where it stopped. The exit code is 0 if every cell finished, 1 if
    some failed, 130 if it was interrupted.

    Example:  `rlsuite bench run quick --report quick.html`
    """
    from rlsuite.cli.benching import run_suite

    raise typer.Exit(
        run_suite(suite, store=store, report=None if no_report else report, seeds=seeds)
    )


@app.command("report")
def report(
    source: Annotated[
        str,
        typer.Argument(metavar="STORE_OR_SUITE", help="A store, or a suite that was run before."),
    ],
    report: Annotated[Path, REPORT] = Path("report.html"),
    store: Annotated[Path | None, STORE] = None,
) -> None:
    """Write the report again from what is stored; nothing is run.

    A store gives everything that it holds; a suite gives its own cells, looked up in the store.

    Example:  `rlsuite bench report quick --report again.html`
    """
    from rlsuite.cli.benching import report_again

    report_again(source, store=store, report=report)
