"""Results as a pandas DataFrame."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any

from registry.errors import SettingError
from rlsuite.data.querying import Query
from rlsuite.data.views import View
from rlsuite.data.writing import chunks, rows_of, view_of

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["frame"]

DTYPES = {"int": "int64", "float": "float64", "bool": "bool", "text": "str", "json": "str"}


def frame(store: str | PathLike[str], table: str = "runs") -> DataFrame:
    """A view of a store as a frame, one row for each of its rows.

    Args:
        store: the store.
        table: `runs`, `evaluations`, `training`, `updates` or `episodes`; `rlsuite sql` shows their
            columns.

    Returns:
        Numbers as `int64` and `float64`, NaN where nothing is known; `settings`, `metrics` and
        `notes` as JSON text.

    Raises:
        SettingError: an unknown table, or pandas is not installed.
        StoreError: the store cannot be read, or is empty.
    """
    try:
        import pandas
    except ImportError as error:
        raise SettingError(
            "frames need pandas: install it with `pip install 'rlsuite[frame]'`."
        ) from error
    view = view_of(table)
    with Query(store) as ask:
        parts = [_part(pandas, view, chunk) for chunk in chunks(rows_of(ask, view).rows)]
    parts = parts or [_part(pandas, view, [])]
    return pandas.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]


def _part(pandas: Any, view: View, rows: list[tuple[Any, ...]]) -> DataFrame:
    columns = list(zip(*rows, strict=True)) or [()] * len(view.columns)
    return pandas.DataFrame(
        {
            column.name: pandas.Series(values, dtype=DTYPES[column.kind])
            for column, values in zip(view.columns, columns, strict=True)
        }
    )
