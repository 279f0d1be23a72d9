"""`rlsuite study`: bandit policies over thousands of runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlsuite.cli.options import ENV_SET, SEED, STORE

if TYPE_CHECKING:
    from rlsuite.studies.study import StudyResult

__all__ = ["study"]


def study(
    problems: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PROBLEM]...",
            help="Ids of bandits, like rlsuite/GaussianBandit-v0; default: "
            "rlsuite/BernoulliBandit-v0, with means 0.1, 0.3, 0.5, 0.7 and 0.9.",
        ),
    ] = None,
    policies: Annotated[
        str | None,
        typer.Option(
            "--policies",
            metavar="NAMES",
            help="With commas between, each with its settings behind colons: "
            "UCB1,EpsilonGreedy:epsilon=0.05. Names of rlsuite's agents, or ids; default: Thompson "
            "sampling, UCB1, ε-greedy and uniform play.",
        ),
    ] = None,
    runs: Annotated[
        int | None,
        typer.Option("--runs", help="Runs of each policy, with --width the most; default: 2000."),
    ] = None,
    horizon: Annotated[
        int | None,
        typer.Option("--horizon", help="Decisions of each run; default: those of the problem."),
    ] = None,
    seed: Annotated[int, SEED] = 0,
    width: Annotated[
        float | None,
        typer.Option(
            "--width",
            help="Add runs until the interval of the mean regret is at most so wide, looking after "
            "1,000, 2,000, 4,000 ... runs, up to --runs (then 64,000 by default).",
        ),
    ] = None,
    level: Annotated[float, typer.Option("--level", help="Coverage of intervals.")] = 0.95,
    env_settings: Annotated[list[str] | None, ENV_SET] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", help="Processes that play blocks of runs; default: this one."),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Also draw a figure: a .png or .svg file.")
    ] = None,
    log_regret: Annotated[
        bool, typer.Option("--log", help="Logarithmic regret in the figure.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option("--report", help="Also write an HTML report.")
    ] = None,
    store: Annotated[Path | None, STORE] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of tables.")
    ] = False,
) -> None:
    """Play bandit policies over thousands of runs and measure their regret while they learn.

    Run by run all policies meet the same luck, so that their differences are sharp. Blocks of runs
    are stored: the same command again only adds what is missing. Figures do not depend on the
    number of workers.

    Example:  `rlsuite study --policies UCB1,ThompsonSampling --runs 20000 --plot regret.png`
    """
    from rlsuite.cli.progress import study_progress
    from rlsuite.cli.values import parse_assignments
    from rlsuite.showing.table_plots import refuse_plot
    from rlsuite.studies.study import PROBLEM
    from rlsuite.studies.study import study as run_study

    if plot is not None:
        refuse_plot(plot)
    keywords = parse_assignments(env_settings or (), "--env-set")
    named: list[Any] = list(problems or [PROBLEM])
    with study_progress(quiet=as_json) as progress:
        result = run_study(
            [(name, keywords) for name in named] if keywords else named,
            policies=None if policies is None else _policies(policies),
            runs=runs,
            horizon=horizon,
            seed=seed,
            width=width,
            level=level,
            store=store,
            workers=workers,
            progress=progress,
        )
    if plot is not None:
        result.plot(plot, log=log_regret)
    if report is not None:
        result.report(report, command=_typed())
    if as_json:
        import json

        from rlsuite.sessions import json_plain

        typer.echo(json.dumps(json_plain(result.as_json()), indent=2, allow_nan=False))
    else:
        _show(result)
        for path in (plot, report):
            if path is not None:
                typer.echo(f"Wrote {path}")
    raise typer.Exit(1 if result.failed else 0)


def _policies(text: str) -> dict[str, Any]:
    """Labels and what they stand for, from the words of the command line."""
    from registry.catalogue import registry
    from registry.errors import SettingError
    from rlsuite.cli.values import parse_assignments, split_outside

    found: dict[str, Any] = {}
    for word in filter(None, (part.strip() for part in split_outside(text, ","))):
        name, *settings = split_outside(word, ":")
        id = name if "/" in name else f"rlsuite/{name}-v0"
        registry.agent_spec(id)
        label = " ".join([name, *settings])
        if label in found:
            raise SettingError(f"--policies names {word!r} twice; name it once.")
        found[label] = (id, parse_assignments(settings, "--policies"))
    return found


def _typed() -> str:
    import shlex
    import sys

    return shlex.join(["rlsuite", *sys.argv[1:]])


def _show(result: StudyResult) -> None:
    """Tables and notes."""
    from rlsuite.cli.console import print_table
    from rlsuite.reporting import study_views as views

    for problem, policies in result.problems.items():
        rows = views.policy_rows(policies)
        right = tuple(range(1, len(views.COLUMNS)))
        print_table(views.caption(policies), views.COLUMNS, rows, right=right)
        pairs = views.pair_rows(d for d in result.differences if d.problem == problem)
        if pairs:
            typer.echo("")
            title = f"Paired differences, all together {result.level:.0%}"
            print_table(title, views.PAIR_COLUMNS, pairs)
        if sentence := views.slope_sentence(policies):
            typer.echo(f"\n{sentence}")
    for note in result.notes:
        typer.echo(note)
    typer.echo(f"Results: {result.store_path}")
