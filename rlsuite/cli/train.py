"""`rlsuite train`: one agent learns in one environment, and is scored at the end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlsuite.cli.console import counted
from rlsuite.cli.options import AGENT, DEVICE, ENV_SET, ENVIRONMENT, SEED, SET, TENSORBOARD
from rlsuite.cli.values import parse_assignments

if TYPE_CHECKING:
    from registry.specs import AgentSpec
    from rlsuite.running.saved_steps import CheckpointRules
    from rlsuite.running.training_run import TrainingResult

__all__ = ["train"]

HORIZON = "total_timesteps"
"""The setting of agents with rates that fall."""


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
    store: Annotated[
        Path | None,
        typer.Option(
            "--store",
            help="Keep the training as a run in this result store: figures, curve, updates.",
        ),
    ] = None,
    checkpoint_every: Annotated[
        int | None,
        typer.Option(
            "--checkpoint-every",
            metavar="STEPS",
            help="Save the training every so many steps, at Ctrl-C and at SIGTERM; the last three "
            "checkpoints are kept.",
        ),
    ] = None,
    checkpoint_folder: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint-folder",
            metavar="FOLDER",
            help="Where to; default: a folder of this training below results/checkpoints.",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="With --checkpoint-every: go on from the newest checkpoint, if there is one, with "
            "the same bits as if the training had never stopped.",
        ),
    ] = False,
    tensorboard: Annotated[Path | None, TENSORBOARD] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show no progress; warnings and results only.")
    ] = False,
) -> None:
    """Train an agent in an environment, then say how good it became.

    Where the environment has an answer key the evaluation is exact: it also tells the best
    possible return, the score (1 is perfect, 0 is playing at random) and the regret. Ctrl-C and
    SIGTERM stop the training between two steps; with --save or --checkpoint-every what was learned
    so far is kept. Watchdogs say once of each kind what goes wrong, with cause and remedy.
    Rates such as --set learning_rate=lin_1e-3 fall to 0 over these steps, unless
    --set total_timesteps says otherwise.

    Example:  `rlsuite train rlsuite/QLearning-v0 rlsuite/GridWorld-v0 --steps 20000
    --set step_size=0.2 --save q.safetensors`
    """
    from registry.catalogue import registry
    from rlsuite.cli.progress import training_progress
    from rlsuite.running.training_run import Listeners, train_agent

    checkpoints = _rules(checkpoint_every, checkpoint_folder, resume)
    spec = registry.agent_spec(agent)
    unit = spec.budget_unit if spec.counts_itself else "steps"
    with training_progress(f"{agent} in {environment}", unit, quiet) as shown:
        result = train_agent(
            agent,
            environment,
            steps=steps,
            seed=seed,
            settings=_with_horizon(
                spec, parse_assignments(settings or (), "--set"), steps, environment
            ),
            env_settings=parse_assignments(env_settings or (), "--env-set"),
            save=save,
            device=device,
            episodes=episodes,
            listeners=Listeners(
                on_step=shown.on_step,
                on_update=shown.on_update,
                on_alarm=lambda alarm: typer.echo(f"Warning: {alarm}", err=True),
                on_resume=typer.echo,
            ),
            tensorboard=tensorboard,
            checkpoints=checkpoints,
            store=store,
        )
    _tell(result, save)


def _with_horizon(
    spec: AgentSpec, settings: dict[str, Any], steps: int | None, environment: str
) -> dict[str, Any]:
    """The settings; where a rate falls and no horizon is set, it is the steps of the training."""
    from registry.catalogue import registry

    falls = any(isinstance(value, str) and value.startswith("lin_") for value in settings.values())
    if not falls or HORIZON in {**spec.settings, **settings}:
        return settings
    total = registry.task_spec(environment).total_timesteps if steps is None else steps
    config_type = getattr(spec.load(), "config_type", None)
    takes = HORIZON in getattr(config_type, "__dataclass_fields__", ())
    return {**settings, HORIZON: total} if takes and total else settings


def _rules(every: int | None, folder: Path | None, resume: bool) -> CheckpointRules | None:
    """How checkpoints are written, if at all."""
    from registry.errors import SettingError
    from rlsuite.running.saved_steps import CheckpointRules

    if every is not None:
        return CheckpointRules(every=every, folder=folder, resume=resume)
    if folder is not None or resume:
        raise SettingError(
            "--resume and --checkpoint-folder need --checkpoint-every STEPS, which says that "
            "checkpoints are kept at all."
        )
    return None


def _tell(result: TrainingResult, save: Path | None) -> None:
    """What became of it; an interrupted training ends with exit code 130."""
    from rlsuite.reporting.formatting import number

    regret = "" if result.regret is None else f"; regret while learning {number(result.regret)}"
    trained = counted(result.steps, result.unit)
    if result.unit == "step":  # sweeps and examples play no episodes
        trained += f", {counted(result.episodes, 'episode')}"
    typer.echo(f"Trained {trained}{regret}.")
    if save is not None:
        typer.echo(f"Saved to {save}")
    if result.checkpoint is not None:
        typer.echo(f"Checkpoint: {result.checkpoint}")
    if result.evaluation is None:
        again = "" if result.checkpoint is None else " The same command with --resume goes on."
        typer.echo(f"Interrupted: not evaluated.{again}", err=True)
        raise typer.Exit(130)
    typer.echo(str(result.evaluation))
