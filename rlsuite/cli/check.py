"""`rlsuite check`: are an environment, an agent, or both for texts, what they promise to be?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rlsuite.cli.console import on_terminal, print_table
from rlsuite.cli.options import AGENT, ENV_SET, ENVIRONMENT, SET
from rlsuite.cli.values import parse_assignments

if TYPE_CHECKING:
    from rlsuite.testing import CheckReport

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Run the conformance kit on an environment or an agent, yours or anybody's; or the checks "
    "that come before training on texts.",
    epilog="Example:  `rlsuite check env rlsuite/GridWorld-v0`",
)

_JSON = typer.Option("--json", help="Print one JSON object instead of a table.")


@app.command("env")
def check_environment(
    environment: Annotated[str, ENVIRONMENT],
    env_settings: Annotated[list[str] | None, ENV_SET] = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Check an environment: determinism, copies, masks, model, oracle, vectors, pictures, limits.

    Exit code 0 if no check failed, 1 if one did, 2 if the input was refused.

    Example:  `rlsuite check env rlsuite/GridWorld-v0 --env-set slip=0.1`
    """
    from rlsuite.testing import check_env

    keywords = parse_assignments(env_settings or (), "--env-set")
    _show(check_env(environment, env_kwargs=keywords), as_json)


@app.command("agent")
def check_an_agent(
    agent: Annotated[str, AGENT],
    settings: Annotated[list[str] | None, SET] = None,
    environment: Annotated[
        str | None,
        typer.Option(
            "--env",
            metavar="ENV",
            help="Check its contract in this environment instead of a five-state walk.",
        ),
    ] = None,
    env_settings: Annotated[list[str] | None, ENV_SET] = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Check an agent: budget, seeds, checkpoints, masks, settings, and tasks with known answers.

    Exit code 0 if no check failed, 1 if one did, 2 if the input was refused.

    Example:  `rlsuite check agent rlsuite/QLearning-v0 --set step_size=0.1`
    """
    from registry.errors import SettingError
    from rlsuite.testing import check_agent

    keywords = parse_assignments(env_settings or (), "--env-set")
    if keywords and environment is None:
        raise SettingError("--env-set is for the environment that --env names; give both.")
    report = check_agent(
        agent,
        settings=parse_assignments(settings or (), "--set"),
        env=environment,
        env_kwargs=keywords,
    )
    _show(report, as_json)


@app.command("alignment")
def check_an_alignment(
    agent: Annotated[
        str, typer.Option("--agent", metavar="AGENT", help="Id of the agent; see `list agents`.")
    ],
    environment: Annotated[
        str, typer.Option("--env", metavar="ENV", help="Id of the token task, wrappers included.")
    ] = "rlsuite/TokenGeneration-v0",
    settings: Annotated[list[str] | None, SET] = None,
    env_settings: Annotated[list[str] | None, ENV_SET] = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Check an agent and a token task together, before training: the faults that train calmly.

    History, credit, padding, sampling, KL at the start, EOS, groups, parts of a batch, settings
    that nobody reads. What fails names the setting to change; nothing of yours is trained.

    Exit code 0 if no check failed, 1 if one did, 2 if the input was refused.

    Example:  `rlsuite check alignment --agent rlsuite/GRPO-v0 --set preset=paper`
    """
    from rlsuite.testing import check_alignment

    report = check_alignment(
        agent,
        env=environment,
        env_kwargs=parse_assignments(env_settings or (), "--env-set"),
        settings=parse_assignments(settings or (), "--set"),
    )
    _show(report, as_json)


def _show(report: CheckReport, as_json: bool) -> None:
    """Prints the report; leaves with exit code 1 if a check failed."""
    if as_json:
        typer.echo(report.to_json())
    else:
        print_table(f"Checks of {report.subject}", ["check", "result", "reason"], report.rows())
        color = ("green" if report.ok else "red") if on_terminal() else None
        typer.secho(report.summary, fg=color)
    if not report.ok:
        raise typer.Exit(1)
