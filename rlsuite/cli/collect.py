"""`rlsuite collect`: logged data of an agent, for others to learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rlsuite.cli.console import counted
from rlsuite.cli.options import AGENT, DEVICE, ENV_SET, ENVIRONMENT, SEED, SET
from rlsuite.cli.values import parse_assignments

__all__ = ["collect"]

LOGS = (".csv", ".parquet")
"""Endings of a log of decisions."""


def collect(
    agent: Annotated[str, AGENT],
    environment: Annotated[str, ENVIRONMENT],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Write the data here, as .npz; or a log for `rlsuite ope`, as .csv or .parquet.",
        ),
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
    learn: Annotated[
        bool,
        typer.Option("--learn", help="Let the agent learn meanwhile; for a .csv or .parquet file."),
    ] = False,
    seed: Annotated[int, SEED] = 0,
    settings: Annotated[list[str] | None, SET] = None,
    env_settings: Annotated[list[str] | None, ENV_SET] = None,
    device: Annotated[str, DEVICE] = "cpu",
) -> None:
    """Let an agent act, and keep every transition, for other agents to learn from.

    The file holds observations, actions, rewards, ends, the probability of each action where the
    agent tells it, and where all that comes from. A .csv or .parquet file is a log of decisions for
    `rlsuite ope`, with the probabilities of all actions.

    Example:  `rlsuite collect rlsuite/Random-v0 rlsuite/CliffWalk-v0 --steps 5000 --out cliff.npz`
    then  `rlsuite train rlsuite/OfflineQLearning-v0 rlsuite/CliffWalk-v0 --set data=cliff.npz
    --steps 1000`
    """
    from registry.errors import SettingError
    from rlsuite.data.minari_sets import to_minari
    from rlsuite.ope import write
    from rlsuite.sessions import collect_agent, record_agent, refuse_unwritable

    if out is None and minari is None:
        raise SettingError(
            "say where the data go: --out FILE for a file that agents learn from, or --minari "
            "DATASET for a Minari data set."
        )
    if out is not None:
        refuse_unwritable(out)
    common: dict[str, Any] = {
        "checkpoint": checkpoint,
        "settings": parse_assignments(settings or (), "--set"),
        "env_settings": parse_assignments(env_settings or (), "--env-set"),
        "seed": seed,
        "device": device,
    }
    if out is not None and out.suffix.lower() in LOGS:
        _refuse_beside_a_log(minari=minari, episodes=episodes, epsilon=epsilon, greedy=not sampled)
        log = record_agent(
            agent, environment, 10_000 if steps is None else steps, learn=learn, **common
        )
        write(log, out)
        typer.echo(f"Collected {counted(len(log), 'decision')}.\nWrote {out}")
        return
    if learn:
        raise SettingError(
            "--learn writes a log of decisions: name a file that ends in .csv or .parquet with "
            "--out."
        )
    data = collect_agent(
        agent,
        environment,
        **common,
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


def _refuse_beside_a_log(**given: Any) -> None:
    from registry.errors import SettingError

    if found := [f"--{name}" for name, value in given.items() if value]:
        raise SettingError(
            "a log of decisions (.csv, .parquet) holds single steps, by the odds of the agent "
            f"alone, so {', '.join(found)} cannot be given; write an .npz file, or leave that out."
        )
