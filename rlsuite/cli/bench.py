"""`rlsuite bench`: many agents on many tasks over many seeds, kept in a store and reported."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from rlsuite.cli.options import TENSORBOARD

__all__ = ["FailOn", "app"]


class FailOn(StrEnum):
    """What makes the exit code of `compare` 1."""

    nothing = "nothing"
    worse = "worse"
    different = "different"


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


SUITE = typer.Argument(metavar="SUITE", help="Name of a suite, like quick, or path of a TOML file.")
ONLY = typer.Option(
    "--only",
    metavar="FIELD=PATTERN",
    help="Only cells that match, like agent=ppo or env=Grid*; fields: agent, env, task, seed, "
    "family. May be repeated: one field's patterns are alternatives.",
)
RETRY = typer.Option(
    "--retry-failed",
    help="Only cells that were run before and have no "
    "figures: failed, timeout, oom, killed, skipped.",
)
ADD_SEEDS = typer.Option("--add-seeds", help="Further seeds per cell beside those of the suite.")
SEEDS = typer.Option("--seeds", help="Seeds per cell instead of those of the suite.")
JSON = typer.Option("--json", help="Print JSON instead of text.")


@app.command("plan")
def plan(
    suite: Annotated[str, SUITE],
    store: Annotated[Path | None, STORE] = None,
    only: Annotated[list[str] | None, ONLY] = None,
    retry_failed: Annotated[bool, RETRY] = False,
    seeds: Annotated[int | None, SEEDS] = None,
    add_seeds: Annotated[int | None, ADD_SEEDS] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Show what `bench run` would do: the cells, and which of them are stored. Runs nothing.

    Example:  `rlsuite bench plan quick --only 'env=Grid*'`
    """
    from rlsuite.cli.bench_plan import Selection, show_plan

    chosen = Selection(tuple(only or ()), retry_failed, seeds, add_seeds)
    show_plan(suite, store=store, selection=chosen, as_json=as_json)


@app.command("status")
def status(
    source: Annotated[
        str | None,
        typer.Argument(metavar="STORE_OR_SUITE", help="A store, or a suite; default: the store."),
    ] = None,
    store: Annotated[Path | None, STORE] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Show how many cells are finished, failed and running. Runs nothing.

    Example:  `rlsuite bench status`   or   `rlsuite bench status quick`
    """
    from rlsuite.cli.bench_plan import show_status

    show_status(source, store=store, as_json=as_json)


@app.command("run")
def run(
    suite: Annotated[str, SUITE],
    store: Annotated[Path | None, STORE] = None,
    report: Annotated[Path, REPORT] = Path("report.html"),
    no_report: Annotated[bool, typer.Option("--no-report", help="Write no report.")] = False,
    seeds: Annotated[int | None, SEEDS] = None,
    add_seeds: Annotated[int | None, ADD_SEEDS] = None,
    only: Annotated[list[str] | None, ONLY] = None,
    retry_failed: Annotated[bool, RETRY] = False,
    until_clear: Annotated[
        bool,
        typer.Option(
            "--until-clear",
            help="Add seeds, look by look, until a sequential test tells all agents apart, with "
            "an error rate of 5% for each family of tasks.",
        ),
    ] = False,
    max_seeds: Annotated[
        int | None,
        typer.Option(
            "--max-seeds",
            help="With --until-clear: seeds after which it ends; default: 5 times the suite's.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            help="Cells at once, each in a process of its own; without it, one after the other.",
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout",
            metavar="SECONDS",
            help="Time after which a try of a cell is stopped; its state is then timeout.",
        ),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            "--memory",
            metavar="BYTES",
            help="Memory at which a try of a cell is stopped, like 2GiB or 500MB; its state is "
            "then oom.",
        ),
    ] = None,
    tensorboard: Annotated[Path | None, TENSORBOARD] = None,
    no_updates: Annotated[
        bool,
        typer.Option(
            "--no-updates",
            help="Neither keep nor watch what agents tell of their updates. Results are the same.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be run, and run nothing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per event instead of text.")
    ] = False,
) -> None:
    """Run a suite: live progress, leaderboards at the end, and a report.

    Every finished cell (one agent on one task with one seed) is kept in the store. Stop it when you
    like: the same command goes on where it stopped. The exit code is 0 if every cell is ok, 1 if
    some have no figures, 2 if the command was refused, 130 if it was interrupted.

    Example:  `rlsuite bench run quick --report quick.html`
    """
    from rlsuite.cli.bench_plan import Selection, show_plan
    from rlsuite.cli.benching import How, run_suite

    chosen = Selection(tuple(only or ()), retry_failed, seeds, add_seeds, until_clear, max_seeds)
    if dry_run:
        show_plan(suite, store=store, selection=chosen, as_json=as_json)
        return
    raise typer.Exit(
        run_suite(
            suite,
            store=store,
            report=None if no_report else report,
            selection=chosen,
            how=How(workers=workers, timeout=timeout, memory=memory, updates=not no_updates),
            tensorboard=tensorboard,
            as_json=as_json,
        )
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


@app.command("compare")
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="Before: a store, an agent or a suite.")],
    b: Annotated[str, typer.Argument(metavar="B", help="After, or the other agent.")],
    store: Annotated[
        Path | None,
        typer.Option(
            "--store",
            help="Where agents and suites are looked up; default: results/rlsuite.sqlite.",
        ),
    ] = None,
    fail_on: Annotated[
        FailOn,
        typer.Option(
            "--fail-on",
            help="What makes the exit code 1. worse: a figure is clearly worse in B; different: a "
            "cell is not identical to the last bit on both sides.",
        ),
    ] = FailOn.nothing,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Compare two stores, before and after a change, or two agents or suites of one store.

    Every difference is B minus A, with an interval of the difference itself; verdicts are corrected
    for the number of rows. Two stores are compared cell by cell: which are identical, which only
    one has, which settings, versions and machines differ. The exit code is 0, or 1 as --fail-on
    says, or 2 if there is nothing to compare.

    Example:  `rlsuite bench compare before.sqlite after.sqlite`   or   `rlsuite bench compare sarsa
    q --store results/rlsuite.sqlite`
    """
    from rlsuite.cli.bench_compare import show_comparison

    raise typer.Exit(show_comparison(a, b, store=store, fail_on=fail_on, as_json=as_json))
