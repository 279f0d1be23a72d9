"""Opens an SQLite file, and turns SQLite's errors into sentences."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from pathlib import Path

__all__ = ["RESCUE", "inventory", "reader", "sentence", "write_ahead", "writer"]

RESCUE = "Move it away, or name another file; nothing in it was changed."

ROOM = 64 * 1024
"""Bytes that SQLite needs at least to work: its shared index alone takes 32 KiB."""

PAUSE = 0.005


def writer(path: Path, busy_seconds: float) -> sqlite3.Connection:
    """A connection that begins and ends its own transactions; makes the file if there is none."""
    return sqlite3.connect(path, timeout=busy_seconds, isolation_level=None)


def reader(path: Path, busy_seconds: float) -> sqlite3.Connection:
    """A connection that never writes, and reads where nothing can be written either.

    A file in write-ahead mode has an index beside it, which even readers make where it is missing.
    Where that is impossible, in a folder that cannot be written or on a full disk, nobody else has
    the file open; then it is read as it is, unless a journal holds more than it.
    """
    uri = f"{path.absolute().as_uri()}?mode=ro"
    frozen = _all_in_one(path) and not _writable(path.parent)
    connection = _open(f"{uri}&immutable=1" if frozen else uri, busy_seconds)
    try:
        inventory(connection)
    except sqlite3.OperationalError as error:
        without_index = _name(error).startswith(("SQLITE_IOERR_SHM", "SQLITE_CANTOPEN"))
        connection.close()
        if frozen or not without_index or not _all_in_one(path):
            raise
        return _open(f"{uri}&immutable=1", busy_seconds)
    except BaseException:
        connection.close()
        raise
    return connection


def inventory(connection: sqlite3.Connection) -> tuple[int, int]:
    """Number of tables and application id, both of the same moment."""
    found = connection.execute(
        "SELECT (SELECT count(*) FROM sqlite_master), application_id FROM pragma_application_id"
    )
    tables, application = found.fetchone()
    return int(tables), int(application)


def write_ahead(connection: sqlite3.Connection, busy_seconds: float) -> str:
    """Switches to write-ahead mode; the mode that the file is in then.

    SQLite does not wait here for others who are opening the same file, so this does.
    """
    deadline = time.monotonic() + busy_seconds
    while True:
        try:
            return str(connection.execute("PRAGMA journal_mode = WAL").fetchone()[0])
        except sqlite3.OperationalError as error:
            if not _name(error).startswith("SQLITE_BUSY") or time.monotonic() > deadline:
                raise
        time.sleep(PAUSE)


def sentence(path: Path, done: str, error: sqlite3.Error, busy_seconds: float) -> str:
    """What went wrong and what helps; `done` is what could not be: opened, read or written."""
    name = _name(error)
    start = f"the store {path} cannot be {done}: "
    if name.startswith("SQLITE_FULL") or (name.startswith("SQLITE_IOERR") and _is_full(path)):
        return f"{start}the disk is full. All that was stored before is kept; make room."
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
        return f"{start}the file or its folder is not open to this user. Name another place."
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return f"{start}another process kept it locked for {busy_seconds:g} s. Try again."
    if name.startswith("SQLITE_NOTADB"):
        return f"{start}it is no SQLite file, or is damaged from its start. {RESCUE}"
    if name.startswith("SQLITE_CORRUPT"):
        return f"{start}it is damaged ({error}). {RESCUE}"
    return f"{start}{error} ({name or type(error).__name__})."


def _open(uri: str, busy_seconds: float) -> sqlite3.Connection:
    return sqlite3.connect(uri, uri=True, timeout=busy_seconds, isolation_level=None)


def _name(error: sqlite3.Error) -> str:
    return str(getattr(error, "sqlite_errorname", ""))


def _all_in_one(path: Path) -> bool:
    """Whether there is no journal beside the file that holds what is not in it."""
    journals = [path.with_name(path.name + ending) for ending in ("-wal", "-journal")]
    return all(not journal.exists() or journal.stat().st_size == 0 for journal in journals)


def _is_full(path: Path) -> bool:
    """Whether the disk has no room for SQLite's own files: it does not always call that full."""
    try:
        return shutil.disk_usage(path.parent).free < ROOM
    except OSError:
        return False


def _writable(folder: Path) -> bool:
    effective = os.access in os.supports_effective_ids
    return os.access(folder, os.W_OK, effective_ids=effective)
