"""`rlsuite list`: what is installed, by the ids that every other command takes."""

from __future__ import annotations

from typing import Annotated

import gymnasium as gym
import typer

from registry.catalogue import registry
from rlsuite.cli.console import counted, print_table
from rlsuite.cli.plugins import print_plugins

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    help="List what is installed: environments, agents, tasks, suites and plugins.",
    epilog="Example:  `rlsuite list envs`",
)


@app.command("envs", epilog="Example:  `rlsuite list envs`")
def envs(
    everything: Annotated[
        bool, typer.Option("--all", help="Also list the environments that Gymnasium brings.")
    ] = False,
) -> None:
    """Environments: give the id to `gym.make` after `import rlsuite`, or to `rlsuite train`."""
    rows = [
        [entry.id, entry.meta.get("summary", ""), str(entry.provenance)]
        for entry in registry.entries("env")
    ]
    if everything:
        known = set(registry.ids("env"))
        rows += [[i, "", "gymnasium"] for i in sorted(gym.registry) if i not in known]
    print_table(counted(len(rows), "environment"), ["id", "what it is", "from"], rows)


app.command("environments", hidden=True)(envs)  # what a newcomer types


@app.command("agents", epilog="Example:  `rlsuite list agents`")
def agents() -> None:
    """Agents: give the id to `rlsuite.make_agent` or to `rlsuite train`."""
    rows = []
    for entry in registry.entries("agent"):
        spec = registry.agent_spec(entry.id)
        spaces = f"{'/'.join(spec.spaces.observation)} -> {'/'.join(spec.spaces.action)}"
        rows.append([entry.id, spec.summary, spaces, str(entry.provenance)])
    print_table(counted(len(rows), "agent"), ["id", "what it is", "spaces", "from"], rows)


@app.command("tasks", epilog="Example:  `rlsuite list tasks`")
def tasks() -> None:
    """Tasks: environments with the budget and the measure by which agents are compared on them."""
    rows = []
    for entry in registry.entries("task"):
        spec = registry.task_spec(entry.id)
        rows.append(
            [spec.id, spec.family, f"{spec.total_timesteps:,}", spec.metric, str(entry.provenance)]
        )
    print_table(
        f"{counted(len(rows), 'task')} (any other environment id is one too, with defaults)",
        ["id", "family", "steps", "scored by", "from"],
        rows,
        right=[2],
    )


@app.command("suites", epilog="Example:  `rlsuite list suites`")
def suites() -> None:
    """Suites: whole benchmarks, for `rlsuite bench run`."""
    rows = [
        [entry.id, entry.meta.get("summary", ""), str(entry.provenance)]
        for entry in registry.entries("suite")
    ]
    print_table(counted(len(rows), "suite"), ["id", "what it is", "from"], rows)


@app.command("plugins", epilog="Example:  `rlsuite list plugins`")
def plugins() -> None:
    """Plugins: who brought which ids, and what could not be loaded and why."""
    print_plugins(show_traceback=False)
