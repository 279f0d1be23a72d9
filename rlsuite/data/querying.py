"""SQL over a store, which it cannot change: a connection that reads, with views for people."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any

from registry.errors import SettingError, StoreError, did_you_mean
from rlsuite.data.views import VIEWS, add_views
from rlsuite.database import reader
from rlsuite.store import BUSY_SECONDS, DEFAULT_PATH, Store

__all__ = ["Query", "Rows"]

ALLOWED = frozenset(
    {
        sqlite3.SQLITE_SELECT,
        sqlite3.SQLITE_READ,
        sqlite3.SQLITE_FUNCTION,
        sqlite3.SQLITE_RECURSIVE,
    }
)
STEPS = 100_000
"""Instructions of SQLite after which Python may see that the user wants to stop."""


@dataclass(frozen=True, slots=True)
class Rows:
    """What a query answers: names of columns, and rows as they come."""

    columns: tuple[str, ...]
    rows: Iterator[tuple[Any, ...]]


class Query:
    """Answers SELECT statements. A context manager.

    Beside the tables of the store it knows the views `runs`, `evaluations`, `training`, `updates`
    and `episodes`. Everything but reading is refused: by the file, which is opened for reading
    alone, and by SQLite's authorizer.

    Args:
        path: The store.

    Raises:
        StoreError: there is no such store, it is of another version, or damaged.
    """

    def __init__(self, path: str | PathLike[str] = DEFAULT_PATH) -> None:
        self.path = Path(path)
        with Store(self.path, read_only=True) as opened:
            empty = not opened.counts()
        if empty:
            raise StoreError(f"the store {self.path} is empty: there is nothing to ask.")
        self._connection = reader(self.path, BUSY_SECONDS)
        self._connection.execute("PRAGMA temp_store = MEMORY")
        add_views(self._connection)
        self._connection.execute("PRAGMA query_only = ON")
        self._connection.set_progress_handler(lambda: 0, STEPS)
        self._connection.set_authorizer(_authorize)

    def __enter__(self) -> Query:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file; calling it twice does no harm."""
        self._connection.close()

    def __call__(self, sql: str, parameters: tuple[Any, ...] = ()) -> Rows:
        """Runs one SELECT.

        Raises:
            SettingError: it is no valid SELECT, or wants to write.
            StoreError: the store is damaged; this may show while rows are read.
        """
        try:
            cursor = self._connection.execute(sql, parameters)
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise self._explained(error) from error
        if cursor.description is None:
            raise SettingError('there is no query: write a SELECT, such as "select * from runs".')
        return Rows(tuple(column[0] for column in cursor.description), self._rows(cursor))

    def _rows(self, cursor: sqlite3.Cursor) -> Iterator[tuple[Any, ...]]:
        try:
            yield from cursor
        except sqlite3.Error as error:
            raise self._explained(error) from error

    def _explained(self, error: Exception) -> Exception:
        name, text = str(getattr(error, "sqlite_errorname", "")), str(error)
        if name == "SQLITE_INTERRUPT":
            return KeyboardInterrupt()  # type: ignore[return-value]
        if name == "SQLITE_AUTH" or "not authorized" in text or name == "SQLITE_READONLY":
            return SettingError(
                "queries read the store and change nothing: write a SELECT. To take results "
                "elsewhere use `rlsuite export`."
            )
        if name == "SQLITE_CORRUPT" or "user-defined" in text:
            return StoreError(f"the store {self.path} is damaged, as this query shows ({text}).")
        return SettingError(f"the query cannot be answered: {text}.{_hint(text)}")


def _authorize(action: int, *_: str | None) -> int:
    return sqlite3.SQLITE_OK if action in ALLOWED else sqlite3.SQLITE_DENY


def _hint(text: str) -> str:
    """The nearest name where SQLite does not know one."""
    kind, found, name = text.partition(": ")
    bare = name.rpartition(".")[2]
    if not found:
        return ""
    if kind == "no such table":
        return did_you_mean(name, VIEWS) or f" There are {', '.join(VIEWS)}."
    if kind == "no such column":
        return did_you_mean(bare, {c.name for view in VIEWS.values() for c in view.columns})
    return ""
