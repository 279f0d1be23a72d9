"""`rlsuite play`: play an environment yourself, or look on while an agent does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlsuite.cli.console import counted
from rlsuite.cli.options import DEVICE, ENV_SET, ENVIRONMENT, SEED, SET
from rlsuite.cli.values import parse_assignments

if TYPE_CHECKING:
    from rlsuite.showing.playing import PlayResult

__all__ = ["play"]


def play(
    environment: Annotated[str, ENVIRONMENT],
    agent: Annotated[
        str | None,
        typer.Option(
            "--agent",
            metavar="AGENT",
            help="Watch this agent instead of playing; it is trained first, unless there is a "
            "checkpoint.",
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint",
            help="Watch the agent of this file, which `rlsuite train --save` wrote.",
        ),
    ] = None,
    episodes: Annotated[
        int | None,
        typer.Option(
            "--episodes", min=1, help="Episodes; default: one of an agent, any number of yours."
        ),
    ] = None,
    seed: Annotated[int, SEED] = 0,
    settings: Annotated[list[str] | None, SET] = None,
    env_settings: Annotated[list[str] | None, ENV_SET] = None,
    learn: Annotated[
        bool | None,
        typer.Option(
            "--learn/--no-learn",
            help="Watch the agent while it learns; default: for bandits, whose learning is scored.",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option("--steps", min=1, help="Steps of the training; default: those of the task."),
    ] = None,
    sampled: Annotated[
        bool | None,
        typer.Option(
            "--sampled/--greedy", help="How a watched agent acts; default: as the task says."
        ),
    ] = None,
    gif: Annotated[
        Path | None, typer.Option("--gif", help="Write a film that any browser shows.")
    ] = None,
    mp4: Annotated[
        Path | None, typer.Option("--mp4", help="Write a film; needs the extra `video`.")
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option("--fps", help="Frames of a second; default: as the environment says."),
    ] = None,
    device: Annotated[str, DEVICE] = "cpu",
) -> None:
    """Play with the keyboard, or watch an agent, with the optimal return beside the score.

    Arrow keys or W A S D walk on grids, digits pull arms, letters write text; the window says
    which. R begins anew, Esc ends. With an agent and --gif or --mp4 no screen is needed.

    Example:  `rlsuite play rlsuite/CliffWalk-v0`  or without a screen
    `rlsuite play rlsuite/CliffWalk-v0 --agent rlsuite/Sarsa-v0 --gif cliff.gif`
    """
    from rlsuite.showing.playing import play as played

    films = tuple(path for path in (gif, mp4) if path is not None)
    result = played(
        environment,
        agent=agent,
        checkpoint=checkpoint,
        episodes=episodes,
        seed=seed,
        settings=parse_assignments(settings or (), "--set"),
        env_settings=parse_assignments(env_settings or (), "--env-set"),
        learn=learn,
        steps=steps,
        deterministic=None if sampled is None else not sampled,
        films=films,
        fps=fps,
        device=device,
    )
    _print(result)
    for path in films:
        typer.echo(f"Wrote {path} ({counted(result.frames, 'frame')})")


def _print(result: PlayResult) -> None:
    from rlsuite.reporting.formatting import number

    optimal = result.optimal_return
    for i, episode in enumerate(result.episodes, start=1):
        beside = "" if optimal is None else f", optimal {number(optimal)}"
        steps = counted(episode.length, "step")
        typer.echo(f"Episode {i}: return {number(episode.episode_return)}{beside}, {steps}")
    if not result.episodes:
        typer.echo("No episode came to its end.")
    if result.regret is not None:
        typer.echo(f"Regret {number(result.regret)}")
