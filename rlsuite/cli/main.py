"""The tree of commands and its one door: every refusal becomes one sentence and an exit code.

Exit codes: 0 all went well, 1 something failed (a cell, a check), 2 the input was refused, 130
interrupted with everything finished so far kept.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from rlsuite.cli import (
    bench,
    check,
    collect,
    doctor,
    evaluate,
    export,
    importing,
    listing,
    ope,
    play,
    plot,
    plugins,
    sql,
    study,
    train,
)
from rlsuite.cli.errors import sentence

__all__ = ["app", "main"]

DEBUG_SWITCH = "RLSUITE_DEBUG"


class _InOrder(TyperGroup):
    """Lists the commands in the order in which a newcomer meets them."""

    def list_commands(self, ctx: Any) -> list[str]:
        """`list` first; typer would put groups of commands last."""
        first = ["list", "train", "evaluate", "collect", "study", "ope", "play", "plot"]
        return [*first, "bench", "sql", "export", "import", "check", "plugins", "doctor"]


app = typer.Typer(
    name="rlsuite",
    cls=_InOrder,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="New here? Try:  `rlsuite list envs`   then   "
    "`rlsuite train rlsuite/QLearning-v0 rlsuite/GridWorld-v0`",
)
app.add_typer(listing.app, name="list")
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("collect")(collect.collect)
app.command("study")(study.study)
app.command("ope")(ope.ope)
app.command("play")(play.play)
app.command("plot")(plot.plot)
app.add_typer(bench.app, name="bench")
app.command("sql")(sql.sql)
app.command("export")(export.export)
app.add_typer(importing.app, name="import")
app.add_typer(check.app, name="check")
app.command("plugins")(plugins.plugins)
app.command("doctor")(doctor.doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rlsuite {metadata.version('rlsuite')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and stop."
        ),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option(
            "--debug",
            help="Show the full traceback of an error instead of one sentence; may stand anywhere "
            f"on the line. The environment variable {DEBUG_SWITCH}=1 does the same.",
        ),
    ] = False,
) -> None:
    """From one-armed bandits to RLHF behind one Gymnasium API, with the answer key."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and leaves the process with its exit code (`SystemExit`)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given or os.environ.get(DEBUG_SWITCH, "0") not in ("", "0")
    try:
        app(args=[word for word in given if word != "--debug"], prog_name="rlsuite")
    except KeyboardInterrupt:
        typer.echo("Interrupted.", err=True)
        sys.exit(130)
    except Exception as error:
        message = sentence(error)
        if debug or message is None:  # an error of ours: the traceback is what is needed
            raise
        typer.secho(f"Error: {message}", err=True, fg="red")
        sys.exit(2)


if __name__ == "__main__":
    main()
