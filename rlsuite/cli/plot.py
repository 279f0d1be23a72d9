"""`rlsuite plot`: what an agent thinks, does and visits in every state, as a figure."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rlsuite.cli.options import ENV_SET, ENVIRONMENT, SEED, SET
from rlsuite.cli.values import parse_assignments

__all__ = ["plot"]


class Kind(StrEnum):
    """What is plotted."""

    values = "values"
    policy = "policy"
    visits = "visits"


def plot(
    kind: Annotated[
        Kind,
        typer.Argument(
            help="values: what it thinks a state is worth; policy: what it does there; visits: how "
            "often an episode comes there."
        ),
    ],
    agent: Annotated[
        str,
        typer.Argument(
            metavar="AGENT_OR_CHECKPOINT",
            help="A file that `rlsuite train --save` wrote, the id of an agent, which is then "
            "trained, or `optimal` for the answer key's own policy.",
        ),
    ],
    environment: Annotated[str, ENVIRONMENT],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="A .png or .svg file; default: the kind, as a PNG."),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option("--steps", min=0, help="Steps of the training; default: those of the task."),
    ] = None,
    seed: Annotated[int, SEED] = 0,
    settings: Annotated[list[str] | None, SET] = None,
    env_settings: Annotated[list[str] | None, ENV_SET] = None,
    sampled: Annotated[
        bool | None,
        typer.Option(
            "--sampled/--greedy", help="Which policy is meant; default: as the task says."
        ),
    ] = None,
) -> None:
    """Plot an agent in an environment of finitely many states: grids as grids, others by state.

    Values are the agent's own estimates where it has a table of them, exact ones of its policy
    elsewhere; visits are computed, not counted.

    Example:  `rlsuite plot values rlsuite/QLearning-v0 rlsuite/CliffWalk-v0 --out q.png`
    """
    from rlsuite.showing.state_tables import state_table
    from rlsuite.showing.table_plots import plot_table, refuse_plot

    path = Path(f"{kind.value}.png") if out is None else out
    refuse_plot(path)
    table = state_table(
        kind.value,
        agent,
        environment,
        seed=seed,
        steps=steps,
        settings=parse_assignments(settings or (), "--set"),
        env_settings=parse_assignments(env_settings or (), "--env-set"),
        deterministic=None if sampled is None else not sampled,
    )
    plot_table(table, path)
    typer.echo(f"Wrote {path}")
