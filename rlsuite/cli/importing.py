"""`rlsuite import`: what was made elsewhere, results beside one's own and data to learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlsuite.cli.console import counted, print_table
from rlsuite.cli.options import STORE

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    help="Bring in what was made elsewhere: results into a store, where they are marked as "
    "imported and never taken for cells that were run here; data sets into files to learn from.",
    epilog="Example:  `rlsuite import monitor logs --agent PPO --task CartPole-v1`",
)


@app.command("monitor")
def monitor(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help="Files of one run, or a folder for each run, in order of name."
        ),
    ],
    agent: Annotated[str, typer.Option("--agent", help="Name under which the runs are shown.")],
    task: Annotated[str, typer.Option("--task", help="Id of what was learned.")],
    store: Annotated[Path | None, STORE] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the first run.")] = 0,
    steps: Annotated[
        int | None,
        typer.Option("--steps", min=1, help="Budget of each run; default: the most that one took."),
    ] = None,
) -> None:
    """Import training runs from files of Stable-Baselines3's Monitor (*.monitor.csv).

    Files in one folder are the environments of one run. Its return is the mean of the last 100
    training episodes, not of an evaluation; its curve has every episode. Importing the same files
    again changes nothing; a malformed line stops everything before anything is written.

    Example:  `rlsuite import monitor logs/ppo --agent PPO --task CartPole-v1 --steps 100000`
    """
    from rlsuite.data.monitor import import_monitor
    from rlsuite.reporting.formatting import number
    from rlsuite.store import DEFAULT_PATH

    path = DEFAULT_PATH if store is None else store
    found = import_monitor(
        folder, agent=agent, task=task, store=path, seed=seed, total_timesteps=steps
    )
    rows = [
        [
            str(one.record.seed),
            str(one.folder),
            f"{one.record.steps_used:,}",
            number(one.record.mean_return),
            "known" if one.known else "imported",
        ]
        for one in found
    ]
    columns = ["seed", "folder", "steps", "return", ""]
    print_table(f"{agent} on {task}", columns, rows, right={0, 2, 3})
    typer.echo(f"Store:  {path} ({counted(len(found), 'run')})")


@app.command("minari")
def minari(
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="DATASET", help="Id of a Minari data set on this machine, like cliff/random-v0."
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Where to write the data, as .npz.")
    ],
) -> None:
    """Turn a Minari data set into a file that agents learn from.

    Observations and actions of Discrete and Box spaces are read. Nothing is downloaded: `minari
    download` fetches a data set. Needs the extra minari.

    Example:  `rlsuite import minari cliff/random-v0 --out cliff.npz`
    """
    from rlsuite.data.minari_sets import from_minari

    data = from_minari(dataset)
    data.save(out)
    typer.echo(f"Wrote {counted(len(data), 'transition')} to {out}")
