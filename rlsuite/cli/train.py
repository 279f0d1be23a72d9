"""`rlsuite train`: one agent learns in one environment, and is scored at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlsuite.cli.console import counted
from rlsuite.cli.options import AGENT, DEVICE, ENV_SET, ENVIRONMENT, SEED, SET, TENSORBOARD
from rlsuite.cli.values import parse_assignments

__all__ = ["train"]


def train(
    agent: Annotated[str, AGENT],
    environment: Annotated[str, ENVIRONMENT],
    steps: Annotated[
        int | None,
        typer.Option("--steps", help="Environment steps to train for; default: those of the task."),
    ] = None,
    seed: Annotated[int, SEED] = 0,
    settings: Annotated[list[str] | None, SET] = None,
    env_settings: Annotated[list[str] | None, ENV_SET] = None,
    save: Annotated[
        Path | None, typer.Option("--save", help="Write the trained agent to this file.")
    ] = None,
    device: Annotated[str, DEVICE] = "cpu",
    episodes: Annotated[
        int, typer.Option("--episodes", help="Episodes of the evaluation at the end.")
    ] = 20,
    tensorboard: Annotated[Path | None, TENSORBOARD] = None,
) -> None:
    """Train an agent in an environment, then say how good it became.

    Where the environment has an answer key the evaluation is exact: it also tells the best
    possible return, the score (1 is perfect, 0 is playing at random) and the regret. Ctrl-C stops
    the training early; with --save what was learned so far is kept.

    Example:  `rlsuite train rlsuite/QLearning-v0 rlsuite/GridWorld-v0 --steps 20000
    --set step_size=0.2 --save q.safetensors`
    """
    from registry.catalogue import registry
    from rlsuite.cli.progress import training_progress
    from rlsuite.reporting.formatting import number
    from rlsuite.sessions import train_agent

    spec = registry.agent_spec(agent)
    unit = spec.budget_unit if spec.counts_itself else "steps"
    with training_progress(f"{agent} in {environment}", unit) as on_step:
        result = train_agent(
            agent,
            environment,
            steps=steps,
            seed=seed,
            settings=parse_assignments(settings or (), "--set"),
            env_settings=parse_assignments(env_settings or (), "--env-set"),
            save=save,
            device=device,
            episodes=episodes,
            on_step=on_step,
            tensorboard=tensorboard,
        )
    regret = "" if result.regret is None else f"; regret while learning {number(result.regret)}"
    trained = counted(result.steps, result.unit)
    if result.unit == "step":  # sweeps and examples play no episodes
        trained += f", {counted(result.episodes, 'episode')}"
    typer.echo(f"Trained {trained}{regret}.")
    if save is not None:
        typer.echo(f"Saved to {save}")
    if result.evaluation is None:
        typer.echo("Interrupted: not evaluated.", err=True)
        raise typer.Exit(130)
    typer.echo(str(result.evaluation))
