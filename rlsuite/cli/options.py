"""Arguments and options that several commands share, so that they read the same everywhere."""

from __future__ import annotations

import typer

__all__ = ["AGENT", "DEVICE", "ENVIRONMENT", "ENV_SET", "SEED", "SET", "STORE", "TENSORBOARD"]

AGENT = typer.Argument(
    metavar="AGENT", help="Id of an agent, like rlsuite/QLearning-v0; see `rlsuite list agents`."
)
ENVIRONMENT = typer.Argument(
    metavar="ENV",
    help="Id of an environment, like rlsuite/GridWorld-v0 or CartPole-v1; see `rlsuite list envs`.",
)
SEED = typer.Option(
    "--seed", help="Root of every random draw: the same seed gives the same result."
)
SET = typer.Option(
    "--set",
    metavar="KEY=VALUE",
    help="A setting of the agent, like --set step_size=0.1; may be given again. Values are TOML or "
    "JSON literals.",
)
ENV_SET = typer.Option(
    "--env-set",
    metavar="KEY=VALUE",
    help="A keyword of the environment, like --env-set slip=0.1; may be given again.",
)
TENSORBOARD = typer.Option(
    "--tensorboard",
    metavar="FOLDER",
    help="Also write curves for TensorBoard into this folder; needs the extra tensorboard. "
    "Results are the same with and without.",
)
DEVICE = typer.Option(
    "--device", help="Where networks run: cpu, cuda, or auto (cuda where there is one)."
)
STORE = typer.Option("--store", help="A result store; default: results/rlsuite.sqlite.")
