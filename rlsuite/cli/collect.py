"""`rlsuite collect`: logged data of an agent, for others to learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlsuite.cli.console import counted
from rlsuite.cli.options import AGENT, DEVICE, ENV_SET, ENVIRONMENT, SEED, SET
from rlsuite.cli.values import parse_assignments

__all__ = ["collect"]


def collect(
    agent: Annotated[str, AGENT],
    environment: Annotated[str, ENVIRONMENT],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the data here, as .npz.")
    ] = None,
    minari: Annotated[
        str | None,
        typer.Option(
            "--minari",
            metavar="DATASET",
            help="Write a Minari data set of this id, like cliff/random-v0; needs the extra.",
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", help="Transitions to collect; default: 10,000.")
    ] = None,
    episodes: Annotated[
        int | None, typer.Option("--episodes", help="Whole episodes to collect, instead of steps.")
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint", help="File that `rlsuite train --save` wrote; without it: untrained."
        ),
    ] = None,
    epsilon: Annotated[
        float,
        typer.Option(
            "--epsilon", help="With this probability any allowed action, instead of the agent's."
        ),
    ] = 0.0,
    sampled: Annotated[
        bool,
        typer.Option(
            "--sampled/--greedy", help="Whether the agent acts by its own odds or greedily."
        ),
    ] = True,
    seed: Annotated[int, SEED] = 0,
    settings: Annotated[list[str] | None, SET] = None,
    env_settings: Annotated[list[str] | None, ENV_SET] = None,
    device: Annotated[str, DEVICE] = "cpu",
) -> None:
    """Let an agent act, and keep every transition, for other agents to learn from.

    The file holds observations, actions, rewards, ends, the probability of each action where the
    agent tells it, and where all that comes from.

    Example:  `rlsuite collect rlsuite/Random-v0 rlsuite/CliffWalk-v0 --steps 5000 --out cliff.npz`
    then  `rlsuite train rlsuite/OfflineQLearning-v0 rlsuite/CliffWalk-v0 --set data=cliff.npz
    --steps 1000`
    """
    from registry.errors import SettingError
    from rlsuite.data.minari_sets import to_minari
    from rlsuite.sessions import collect_agent, refuse_unwritable

    if out is None and minari is None:
        raise SettingError(
            "say where the data go: --out FILE for a file that agents learn from, or --minari "
            "DATASET for a Minari data set."
        )
    if out is not None:
        refuse_unwritable(out)
    data = collect_agent(
        agent,
        environment,
        checkpoint=checkpoint,
        settings=parse_assignments(settings or (), "--set"),
        env_settings=parse_assignments(env_settings or (), "--env-set"),
        seed=seed,
        device=device,
        steps=10_000 if steps is None and episodes is None else steps,
        episodes=episodes,
        epsilon=epsilon,
        deterministic=not sampled,
    )
    ended = counted(int(data.ends.sum()), "episode")
    typer.echo(f"Collected {counted(len(data), 'transition')} in {ended}.")
    if out is not None:
        data.save(out)
        typer.echo(f"Wrote {out}")
    if minari is not None:
        to_minari(data, minari)
        typer.echo(f"Wrote the Minari data set {minari}")
