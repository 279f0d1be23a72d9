"""Rows to CSV, JSON and Parquet in one pass; files are written whole or not at all."""

from __future__ import annotations

import csv
import itertools
import json
import math
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import IO, Any

from registry.errors import SettingError, StoreError, did_you_mean
from rlsuite.data.querying import Query, Rows
from rlsuite.data.views import VIEWS, View

__all__ = ["CHUNK", "chunks", "export", "rows_of", "view_of", "write_csv", "write_json"]

CHUNK = 20_000
"""Rows that are held at once."""

ORDER = "task, agent, agent_id, total_timesteps, seed, digest"


def view_of(name: str) -> View:
    """A view by its name.

    Raises:
        SettingError: there is no such view.
    """
    if name not in VIEWS:
        raise SettingError(
            f"there is no table {name!r}.{did_you_mean(name, VIEWS)} There are {', '.join(VIEWS)}."
        )
    return VIEWS[name]


def rows_of(ask: Query, view: View) -> Rows:
    """All of a view, by task, agent, budget and seed, and within a run in its own order."""
    digests = list(ask(f"SELECT digest FROM run ORDER BY {ORDER}").rows)
    one = f"SELECT * FROM {view.name} WHERE digest = ?"
    rows = (row for digest in digests for row in ask(one, digest).rows)
    return Rows(tuple(column.name for column in view.columns), rows)


def chunks(rows: Iterator[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    """At most `CHUNK` rows at a time."""
    while chunk := list(itertools.islice(rows, CHUNK)):
        yield chunk


def write_csv(found: Rows, file: IO[str]) -> None:
    """A line of names, then a line for each row; floats in full, nothing where nothing is known."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(found.columns)
    writer.writerows(found.rows)


def write_json(found: Rows, file: IO[str]) -> None:
    """A list with an object for each row, on a line each; `null` where nothing is known."""
    start = "[\n"
    for row in found.rows:
        named = dict(zip(found.columns, map(_plain, row), strict=True))
        file.write(start + json.dumps(named, allow_nan=False))
        start = ",\n"
    file.write("[]\n" if start == "[\n" else "\n]\n")


def _plain(value: Any) -> Any:
    """JSON has no infinities, and no bytes: they are written as text."""
    if isinstance(value, bytes):
        return value.hex()
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def export(store: str | PathLike[str], path: str | PathLike[str], table: str = "runs") -> int:
    """Writes a view of a store to a file; what it is follows from the file's ending.

    Args:
        store: the store.
        path: a file that ends in `.csv`, `.json` or `.parquet`; one that is there is replaced.
        table: `runs`, `evaluations`, `training`, `updates` or `episodes`.

    Returns:
        How many rows there are.

    Raises:
        SettingError: another ending, an unknown table, or Parquet without pyarrow.
        StoreError: the store cannot be read, or the file not written; then nothing of it is left.
    """
    target, view = Path(path), view_of(table)
    writers: dict[str, Callable[[Rows, Path, View], None]] = {
        ".csv": _csv_file,
        ".json": _json_file,
        ".parquet": _parquet_file,
    }
    write = writers.get(target.suffix.lower())
    if write is None:
        raise SettingError(
            f"the file {target.name!r} must end in {', '.join(writers)}: that says what to write."
        )
    count = 0

    def counted(rows: Iterator[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        nonlocal count
        for row in rows:
            count += 1
            yield row

    with Query(store) as ask, _whole(target) as temporary:
        found = rows_of(ask, view)
        write(Rows(found.columns, counted(found.rows)), temporary, view)
    return count


def _csv_file(found: Rows, path: Path, view: View) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        write_csv(found, file)


def _json_file(found: Rows, path: Path, view: View) -> None:
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        write_json(found, file)


def _parquet_file(found: Rows, path: Path, view: View) -> None:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise SettingError(
            "Parquet files need pyarrow: install it with `pip install 'rlsuite[parquet]'`, or "
            "write .csv or .json."
        ) from error
    types = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}
    fields = [
        pa.field(c.name, types.get(c.kind, pa.string()), nullable=c.kind == "float")
        for c in view.columns
    ]
    schema = pa.schema(fields)
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for chunk in chunks(found.rows):
            columns = list(zip(*chunk, strict=True))
            arrays = [
                pa.array(map(bool, values) if field.type == pa.bool_() else values, type=field.type)
                for values, field in zip(columns, schema, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


@contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """A file beside the target that takes its place once it is complete."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(
            f"cannot write {str(target)!r}: {error.strerror or error}. Give a path to a file in a "
            "folder that you may write to."
        ) from error
    finally:
        with suppress(OSError):  # it never came to be
            temporary.unlink()
