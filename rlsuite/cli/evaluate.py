"""`rlsuite evaluate`: how good is a policy, exactly where that can be known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlsuite.cli.options import AGENT, DEVICE, ENV_SET, SEED, SET
from rlsuite.cli.values import parse_assignments

__all__ = ["evaluate"]


def evaluate(
    agent: Annotated[str, AGENT],
    environment: Annotated[
        str,
        typer.Option(
            "--env", metavar="ENV", help="Id of the environment, like rlsuite/GridWorld-v0."
        ),
    ],
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint", help="File that `rlsuite train --save` wrote; without it: untrained."
        ),
    ] = None,
    episodes: Annotated[int, typer.Option("--episodes", help="Episodes to play.")] = 20,
    seed: Annotated[int, SEED] = 0,
    settings: Annotated[list[str] | None, SET] = None,
    env_settings: Annotated[list[str] | None, ENV_SET] = None,
    sampled: Annotated[
        bool | None,
        typer.Option(
            "--sampled/--greedy", help="How to act; default: as the task says (mostly greedy)."
        ),
    ] = None,
    device: Annotated[str, DEVICE] = "cpu",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of text.")
    ] = False,
) -> None:
    """Score an agent: return, interval, and where an answer key exists score and regret.

    Nothing is trained. Without a checkpoint the agent is scored as it is before learning.

    Example:  `rlsuite evaluate rlsuite/QLearning-v0 --checkpoint q.safetensors
    --env rlsuite/GridWorld-v0 --episodes 100`
    """
    from rlsuite.sessions import evaluate_agent, evaluation_json

    result = evaluate_agent(
        agent,
        environment,
        checkpoint=checkpoint,
        episodes=episodes,
        seed=seed,
        deterministic=None if sampled is None else not sampled,
        settings=parse_assignments(settings or (), "--set"),
        env_settings=parse_assignments(env_settings or (), "--env-set"),
        device=device,
    )
    typer.echo(evaluation_json(result) if as_json else str(result))
    if checkpoint is None:
        typer.echo("This agent has learned nothing: --checkpoint names a trained one.", err=True)
