"""`rlsuite export`: results of a store as CSV, JSON or Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlsuite.cli.console import counted
from rlsuite.cli.options import STORE

__all__ = ["export"]


def export(
    out: Annotated[
        Path, typer.Argument(metavar="FILE", help="A file ending in .csv, .json or .parquet.")
    ],
    store: Annotated[Path | None, STORE] = None,
    table: Annotated[
        str, typer.Option("--table", help="runs, evaluations, training, updates or episodes.")
    ] = "runs",
) -> None:
    """Write the results of a store to a file, whole or not at all.

    The columns are those that `rlsuite sql` shows. Parquet needs `pip install 'rlsuite[parquet]'`.

    Example:  `rlsuite export runs.csv`   or   `rlsuite export episodes.parquet --table episodes`
    """
    from rlsuite.data.writing import export as write
    from rlsuite.store import DEFAULT_PATH

    rows = write(DEFAULT_PATH if store is None else store, out, table)
    typer.echo(f"Wrote {out}: {counted(rows, 'row')} of {table}")
