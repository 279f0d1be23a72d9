"""Logs as CSV, Parquet and data frames: one row for each decision, in any order of columns.

| column | holds |
| --- | --- |
| `action` | what was done: whole numbers from 0 |
| `reward` | what it paid |
| `propensity` | probability of that action under the policy that acted, in (0, 1] |
| `context_0`, `context_1`, ... | what was seen; any name that begins with `context_`, or named |
| `action_mask_0`, ... | optional: 1 where the action was allowed, else 0 |
| `probability_0`, ... | optional: of every action, under the policy that acted |
| `decision_id` | optional: a whole number |
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.errors import DataError, did_you_mean
from registry.logged_data import LoggedData
from rlsuite.ope.log import BanditLog, check_columns

__all__ = ["from_frame", "read", "write"]

REQUIRED = ("action", "reward", "propensity")
TABLES = {"action_mask": "action_mask", "probability": "probabilities"}
"""Prefixes of columns, one for each action, and the arrays that they make."""

TRUTH = {"true": 1.0, "false": 0.0}


def read(
    path: str | PathLike[str],
    *,
    context: Sequence[str] | None = None,
    columns: Mapping[str, str] | None = None,
    extra: Sequence[str] = (),
    n_actions: int = 0,
) -> BanditLog:
    """Reads a log from a file that ends in `.csv`, `.parquet`, or `.npz` (of `rlsuite.collect`).

    Args:
        path: the file.
        context: names of the columns of the context; default: all that begin with `context_`. The
            log then says which columns are left over (`BanditLog.unused`).
        columns: what columns are called here, such as `{"propensity": "pscore"}`.
        extra: further columns to be kept, such as probabilities of a policy to evaluate; a name
            stands for a column, or for all of `<name>_0` and so on.
        n_actions: K, where the columns do not tell; default: the largest action and one more.

    Raises:
        DataError: the file is missing, or no log: the sentence names the line of a CSV file, or the
            row of another, counted from 1.
    """
    target = Path(path)
    keywords: dict[str, Any] = {
        "context": context,
        "columns": columns,
        "extra": extra,
        "n_actions": n_actions,
    }
    match target.suffix.lower():
        case ".csv":
            cells, lines = _csv_columns(target)
            return _log(cells, lambda i: f"{target}, line {lines[i]}", str(target), **keywords)
        case ".parquet":
            table = _parquet_columns(target)
            return _log(table, lambda i: f"{target}, row {i + 1}", str(target), **keywords)
        case ".npz" if not (context or columns or extra):
            return BanditLog.from_logged_data(LoggedData.load(target), n_actions)
        case ".npz":
            raise DataError(f"{target} has no named columns: those of .csv and .parquet can be.")
    raise DataError(f"{target.name!r} must end in .csv, .parquet or .npz: that says what it is.")


def from_frame(
    frame: Any,
    *,
    context: Sequence[str] | None = None,
    columns: Mapping[str, str] | None = None,
    extra: Sequence[str] = (),
    n_actions: int = 0,
) -> BanditLog:
    """A log from a data frame (pandas, polars) or a mapping of names to arrays; as `read`.

    Raises:
        DataError: as `read`; the row is counted from 0.
    """
    names = list(frame.keys() if isinstance(frame, Mapping) else frame.columns)
    table = {str(name): np.asarray(frame[name]) for name in names}
    return _log(
        table,
        lambda i: f"row {i}",
        "the frame",
        context=context,
        columns=columns,
        extra=extra,
        n_actions=n_actions,
    )


def write(log: BanditLog, path: str | PathLike[str]) -> None:
    """Writes a log to exactly this path, which ends in `.csv` or `.parquet`; `read` reads it.

    Numbers are written in full. Columns of the context whose names do not begin with `context_`
    have to be named again to be read.

    Raises:
        DataError: another ending, Parquet without pyarrow, or the file cannot be written.
    """
    target = Path(path)
    named = dict(zip(log.context_names, log.context.T, strict=True))
    table: dict[str, NDArray[Any]] = {
        "decision_id": np.asarray(log.decision_id),
        **named,
        "action": log.action,
        "reward": log.reward,
        "propensity": log.propensity,
    }
    for prefix, array in TABLES.items():
        found = getattr(log, array)
        if found is not None:
            wide = found.astype(np.int64) if found.dtype == bool else found
            table |= {f"{prefix}_{a}": wide[:, a] for a in range(log.n_actions)}
    table |= log.extra
    try:
        if target.suffix.lower() == ".csv":
            with open(target, "w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(table)
                writer.writerows(zip(*(x.tolist() for x in table.values()), strict=True))
        elif target.suffix.lower() == ".parquet":
            pa, parquet = _pyarrow()
            parquet.write_table(pa.table(table), target)
        else:
            raise DataError(f"{target.name!r} must end in .csv or .parquet: that says what it is.")
    except OSError as error:
        raise DataError(
            f"{target} was not written: {error.strerror or error}. Give a path in a folder that "
            "exists and can be written."
        ) from error


def _csv_columns(path: Path) -> tuple[dict[str, list[str]], list[int]]:
    """The cells of each column as text, and the line that each row ends on."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            names = [name.strip() for name in next(reader, [])]
            if len(set(names)) < len(names):
                raise DataError(f"{path}, line 1: two columns have the same name: {names}.")
            rows, lines = [], []
            for row in reader:
                if not row:
                    continue
                if len(row) != len(names):
                    raise DataError(
                        f"{path}, line {reader.line_num}: {len(row)} cells, but line 1 names "
                        f"{len(names)} columns."
                    )
                rows.append(row)
                lines.append(reader.line_num)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _unreadable(path, error) from error
    cells = list(zip(*rows, strict=True)) or [()] * len(names)
    return {name: list(values) for name, values in zip(names, cells, strict=True)}, lines


def _parquet_columns(path: Path) -> dict[str, NDArray[Any]]:
    pa, parquet = _pyarrow()
    try:
        table = parquet.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error
    return {name: table[name].to_numpy() for name in table.column_names}


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise DataError(
            "Parquet files need pyarrow: install it with `pip install 'rlsuite[parquet]'`, or use "
            ".csv."
        ) from error
    return pa, parquet


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return DataError(f"the log {path} cannot be read: {' '.join(reason.split())}.")


def _log(
    table: Mapping[str, Any],
    where: Callable[[int], str],
    source: str,
    *,
    context: Sequence[str] | None,
    columns: Mapping[str, str] | None,
    extra: Sequence[str],
    n_actions: int,
) -> BanditLog:
    names = {name: (columns or {}).get(name, name) for name in (*REQUIRED, "decision_id")}
    for name in columns or {}:
        if name not in names:
            raise DataError(
                f"there is no column {name!r} to be called otherwise.{did_you_mean(name, names)} "
                f"There are {', '.join(names)}."
            )
    wanted = _numbered(table, "context", any_name=True) if context is None else list(context)
    kept = [column for name in extra for column in _extra(table, name)]
    missing = [c for c in (*(names[r] for r in REQUIRED), *wanted, *kept) if c not in table]
    if missing:
        raise DataError(
            f"{source} has no column {missing[0]!r}.{did_you_mean(missing[0], table)} It has "
            f"{listed(table)}; a log needs action, reward and propensity, and a column for each "
            "number of the context."
        )

    def numbers(column: str) -> NDArray[np.float64]:
        return _numbers(table[column], column, where)

    def stacked(found: Iterable[str]) -> Any:
        arrays = [numbers(column) for column in found]
        return np.stack(arrays, axis=1) if arrays else None

    given: dict[str, Any] = {name: numbers(names[name]) for name in REQUIRED}
    size = len(given["action"])
    given["context"] = np.zeros((size, 0)) if not wanted else stacked(wanted)
    used = {*names.values(), *wanted, *kept}
    for prefix, array in TABLES.items():
        found = _numbered(table, prefix)
        given[array] = stacked(found)
        used.update(found)
    ids: Any = numbers(names["decision_id"]) if names["decision_id"] in table else None
    checked = check_columns(given, n_actions, where)
    return BanditLog(
        **checked,
        n_actions=n_actions,
        decision_id=ids,
        context_names=tuple(wanted),
        extra={column: numbers(column) for column in kept},
        unused=() if context is not None else tuple(name for name in table if name not in used),
    )


def _numbered(table: Mapping[str, Any], prefix: str, any_name: bool = False) -> list[str]:
    """Columns `<prefix>_0`, `<prefix>_1` ... by number; with `any_name` also others, after them."""
    found = [name for name in table if re.fullmatch(rf"{prefix}_\d+", name)]
    found.sort(key=lambda name: int(name.rpartition("_")[2]))
    if not any_name and found != [f"{prefix}_{a}" for a in range(len(found))]:
        raise DataError(
            f"the columns {prefix}_0, {prefix}_1 ... must be there for every action; got "
            f"{', '.join(found)}."
        )
    others = [n for n in table if n.startswith(f"{prefix}_") and n not in found]
    return found + others if any_name else found


def _extra(table: Mapping[str, Any], name: str) -> list[str]:
    return [name] if name in table else _numbered(table, re.escape(name)) or [name]


def listed(columns: Iterable[str]) -> str:
    """Their names, at most twelve of them."""
    names = list(columns)
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def _numbers(cells: Any, column: str, where: Callable[[int], str]) -> NDArray[np.float64]:
    """A column as numbers; true and false count as 1 and 0."""
    try:
        return np.asarray(cells, np.float64)
    except (TypeError, ValueError):
        pass  # some cell is no number: which one is found below
    found = np.empty(len(cells))
    for i, cell in enumerate(cells):
        text = str(cell).strip()
        try:
            found[i] = TRUTH.get(text.lower(), None) if text.lower() in TRUTH else float(text)
        except ValueError as error:
            what = f"holds {text!r}, which is no number" if text else "is empty"
            raise DataError(f"{where(i)}: the column {column!r} {what}.") from error
    return found
