"""What survives a kill: one SQLite file, one transaction for each finished cell.

    meta        key, value                        schema version
    run         digest, columns to query by, record (JSON)
    cell_data   digest, name, dtype, length, data arrays: little-endian, zlib
    attempt     digest, number, state, ...        every try of a cell, with the file of its output
    lease       digest, owner, beat               who is running a cell just now

The file is in write-ahead mode with `synchronous=NORMAL`: a killed process loses the cell it was
working on, and nothing that was put before. A loss of power may take the last commits, and never
damages the file. Processes of one host may write at the same time; network file systems are
refused, because write-ahead logging does not work there.
"""

from __future__ import annotations

import json
import os
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from registry.errors import StoreError
from rlsuite.database import RESCUE, inventory, reader, sentence, write_ahead, writer
from rlsuite.records import SCHEMA_VERSION, STUDY, RunRecord
from rlsuite.running.packing import Blobs, pack, unpack, unpack_lean
from rlsuite.schema import MIGRATIONS, add_functions

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["DEFAULT_PATH", "Attempt", "Lease", "Store"]

DEFAULT_PATH = Path("results") / "rlsuite.sqlite"
"""Where results go unless another place is named: under the current folder."""

BLOCK = 500
"""Records that are fetched at once."""

APPLICATION_ID = 0x524C5355  # "RLSU", in the header of the file
BUSY_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One try of a cell. `output` names the file of what it printed, from the store's folder.

    `state` is that of a record, or `"lost"`: whoever ran it vanished. `number` counts from 1.
    """

    number: int
    state: str
    started_at: str
    seconds: float
    output: str = ""


@dataclass(frozen=True, slots=True)
class Lease:
    """Who is running a cell; `beat` grows as long as the owner lives."""

    owner: str
    beat: int


class Store:
    """The results of benchmarks in one file. A context manager.

    Args:
        path: The file; it and its folder are made where they are missing.
        read_only: Never write. The file must exist then.

    Raises:
        StoreError: the file is a folder, cannot be opened or written, is no result store, is
            damaged, or was written by a newer rlsuite.
    """

    def __init__(self, path: str | os.PathLike[str] = DEFAULT_PATH, read_only: bool = False):
        self.path = Path(path)
        self.read_only = read_only
        self._refuse_folder()
        with self._sentences("opened"):
            self._connection = self._connect()
        try:
            with self._sentences("opened"):
                self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Store:
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

    def get(self, digest: str) -> RunRecord | None:
        """The record of a cell, or None.

        Raises:
            StoreError: the store is damaged.
        """
        with self._sentences("read"):
            row = self._connection.execute(
                "SELECT record FROM run WHERE digest = ?", (digest,)
            ).fetchone()
        return None if row is None else self._record(digest, row[0])

    def put(self, record: RunRecord, owner: str | None = None) -> None:
        """Keeps the record of a cell, all of it or nothing, and ends the lease of `owner` on it.

        A record that is there stays if it is `ok`; a failed one gives way.

        Raises:
            StoreError: the disk is full, or the file cannot be written. What was stored stays.
        """
        text, blobs = pack(record)
        digest = record.key.digest
        with self._sentences("written"), self._transaction():
            self._connection.execute(
                "DELETE FROM lease WHERE digest = ? AND owner = ?", (digest, owner)
            )
            row = self._connection.execute(
                "SELECT state, attempt FROM run WHERE digest = ?", (digest,)
            ).fetchone()
            if row is not None and row[0] == "ok":
                return
            attempt = 1 if row is None else int(row[1]) + 1
            self._connection.execute("DELETE FROM run WHERE digest = ?", (digest,))
            # Arrays go with their cell, but for those that damage has parted from it.
            self._connection.execute("DELETE FROM cell_data WHERE digest = ?", (digest,))
            self._insert(record, digest, attempt, text, blobs)

    def records(self, lean: bool = False, of: Sequence[str] | None = None) -> Iterator[RunRecord]:
        """All records, by task, agent, budget and seed; a few at a time are held.

        Args:
            lean: Leave out what a store mostly consists of, episodes, training curves and updates,
                but for the curves of cells that are scored by them (`learning_regret`).
            of: These digests alone, in their order; those that are not stored are passed over.

        Raises:
            StoreError: the store is damaged.
        """
        wanted = self._ordered() if of is None else list(of)
        shared: dict[str, Any] = {}
        for start in range(0, len(wanted), BLOCK):
            block = wanted[start : start + BLOCK]
            with self._sentences("read"):
                texts = dict(
                    self._connection.execute(
                        "SELECT digest, record FROM run WHERE digest IN (SELECT value "
                        "FROM json_each(?))",
                        (json.dumps(block),),
                    ).fetchall()
                )
            for digest in block:
                if (text := texts.get(digest)) is not None:
                    yield self._lean(digest, text, shared) if lean else self._record(digest, text)

    def _ordered(self) -> list[str]:
        """All digests in the order of `records`."""
        with self._sentences("read"):
            rows = self._connection.execute(
                "SELECT digest FROM run "
                "ORDER BY task, agent, agent_id, total_timesteps, seed, digest"
            ).fetchall()
        return [digest for (digest,) in rows]

    def digests(self, state: str | None = None) -> frozenset[str]:
        """Digests of all cells, or of those in one state, such as `"ok"`."""
        with self._sentences("read"):
            rows = self._connection.execute(
                "SELECT digest FROM run WHERE ? IS NULL OR state = ?", (state, state)
            ).fetchall()
        return frozenset(row[0] for row in rows)

    def state(self, digest: str) -> str | None:
        """The state of a cell, or None."""
        with self._sentences("read"):
            row = self._connection.execute(
                "SELECT state FROM run WHERE digest = ?", (digest,)
            ).fetchone()
        return None if row is None else str(row[0])

    def damaged(self) -> int:
        """How many cells have lost their name or their arrays; nobody asks for them any more.

        Damage within a record shows when it is read.
        """
        parted = (
            "SELECT count(*) FROM (SELECT digest FROM run EXCEPT SELECT digest FROM cell_data)",
            "SELECT count(*) FROM (SELECT digest FROM cell_data EXCEPT SELECT digest FROM run)",
        )
        with self._sentences("read"):
            return max(int(self._connection.execute(sql).fetchone()[0]) for sql in parted)

    def states(self) -> dict[str, str]:
        """The state of every cell, by digest."""
        with self._sentences("read"):
            return dict(self._connection.execute("SELECT digest, state FROM run"))

    def counts(self) -> list[tuple[str, str, str, int]]:
        """How many cells there are of each task, agent and state, in this order."""
        with self._sentences("read"):
            return self._connection.execute(
                "SELECT task, agent, state, count(*) FROM run GROUP BY task, agent, state "
                "ORDER BY task, agent, state"
            ).fetchall()

    def trained(self) -> dict[str, str]:
        """The digest of a finished cell of every training that has one, by digest of the training.

        Of several, which differ in their evaluation alone, it is the one that was stored last.
        """
        with self._sentences("read"):
            return dict(
                self._connection.execute(
                    "SELECT training, digest FROM run WHERE state = 'ok' ORDER BY rowid"
                )
            )

    def claim(self, digest: str, owner: str, instead_of: Lease | None = None) -> Lease | None:
        """Leases a cell to `owner`; the lease of somebody else, if there is one.

        Args:
            digest: The cell.
            owner: Who is going to run it.
            instead_of: A lease whose owner is dead; if it is still the one, it gives way.

        Returns:
            None if the cell is leased to `owner` now.
        """
        with self._sentences("written"), self._transaction():
            if instead_of is not None:
                self._connection.execute(
                    "DELETE FROM lease WHERE digest = ? AND owner = ? AND beat = ?",
                    (digest, instead_of.owner, instead_of.beat),
                )
            self._connection.execute(
                "INSERT INTO lease VALUES (?, ?, 0) ON CONFLICT (digest) DO NOTHING",
                (digest, owner),
            )
            row = self._connection.execute(
                "SELECT owner, beat FROM lease WHERE digest = ?", (digest,)
            ).fetchone()
        return None if row[0] == owner else Lease(*row)

    def release(self, owner: str, digest: str | None = None) -> None:
        """Ends the lease of `owner` on a cell, or on all of them."""
        with self._sentences("written"), self._transaction():
            self._connection.execute(
                "DELETE FROM lease WHERE owner = ?1 AND (?2 IS NULL OR digest = ?2)",
                (owner, digest),
            )

    def beat(self, owner: str) -> None:
        """Says that `owner` lives."""
        with self._sentences("written"), self._transaction():
            self._connection.execute("UPDATE lease SET beat = beat + 1 WHERE owner = ?", (owner,))

    def leases(self) -> dict[str, Lease]:
        """Who is running what, by digest; owners may have died since."""
        with self._sentences("read"):
            rows = self._connection.execute("SELECT digest, owner, beat FROM lease").fetchall()
        return {digest: Lease(owner, beat) for digest, owner, beat in rows}

    def add_attempt(self, digest: str, attempt: Attempt) -> None:
        """Keeps what became of one try of a cell."""
        values = (attempt.state, attempt.started_at, float(attempt.seconds), attempt.output)
        with self._sentences("written"), self._transaction():
            self._connection.execute(
                "INSERT OR REPLACE INTO attempt VALUES (?, ?, ?, ?, ?, ?)",
                (digest, attempt.number, *values),
            )

    def attempts(self, digest: str) -> tuple[Attempt, ...]:
        """Every try of a cell that ended, in order."""
        with self._sentences("read"):
            rows = self._connection.execute(
                "SELECT number, state, started_at, seconds, output FROM attempt "
                "WHERE digest = ? ORDER BY number",
                (digest,),
            ).fetchall()
        names = ("number", "state", "started_at", "seconds", "output")
        return tuple(Attempt(**dict(zip(names, row, strict=True))) for row in rows)

    def frame(self, table: str = "runs") -> DataFrame:
        """Results as a pandas DataFrame, a row for each run; see `rlsuite.data.frames.frame`.

        Args:
            table: `runs`, `evaluations`, `training`, `updates` or `episodes`.

        Raises:
            SettingError: an unknown table, or pandas is not installed.
            StoreError: the store is empty or damaged.
        """
        from rlsuite.data.frames import frame

        return frame(self.path, table)

    def check(self) -> None:
        """Reads the whole file.

        Raises:
            StoreError: it is damaged.
        """
        with self._sentences("read"):
            found = self._connection.execute("PRAGMA quick_check").fetchone()[0]
        if found != "ok":
            raise StoreError(f"the store {self.path} is damaged: {found}. {RESCUE}")
        for _ in self.records():
            pass

    def _refuse_folder(self) -> None:
        if self.path.is_dir():
            raise StoreError(
                f"the store {self.path} is a folder; name a file in it, such as "
                f"{self.path / DEFAULT_PATH.name}."
            )
        if self.read_only and not self.path.exists():
            raise StoreError(f"there is no store {self.path}.")
        if not self.read_only:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(
                    f"the folder {self.path.parent} of the store cannot be made: {error.strerror}. "
                    f"Name a place that can be written."
                ) from error

    def _connect(self) -> sqlite3.Connection:
        return (reader if self.read_only else writer)(self.path, BUSY_SECONDS)

    def _prepare(self) -> None:
        connection = self._connection
        connection.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
        empty = self._check_ours()
        if self.read_only and empty:  # whoever made it got no further, for want of room or time
            connection.close()
            self._connection = sqlite3.connect(":memory:", isolation_level=None)
            self._migrate()
            self._connection.execute("PRAGMA query_only = ON")
        elif self.read_only:
            self._check_version(self._version())
        else:
            self._prepare_to_write()

    def _prepare_to_write(self) -> None:
        mode = write_ahead(self._connection, BUSY_SECONDS)
        if mode != "wal":
            raise StoreError(
                f"the store {self.path} is in a place without write-ahead logging (SQLite answers "
                f"{mode!r}), such as a network file system: name a file on a local disk."
            )
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute("PRAGMA foreign_keys = ON")
        self._check_version(self._version())
        self._migrate()

    def _check_ours(self) -> bool:
        """Refuses other programs' databases; True for one without any table, which may be ours."""
        tables, application = inventory(self._connection)
        if application != APPLICATION_ID and (tables or application):
            raise StoreError(
                f"{self.path} is an SQLite file, but no store of rlsuite: name another file."
            )
        return not tables

    def _check_version(self, version: int) -> None:
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"the store {self.path} was written by a newer rlsuite (its version is {version}, "
                f"this one knows {SCHEMA_VERSION}): update rlsuite, or name another file."
            )
        if version < SCHEMA_VERSION and self.read_only:
            raise StoreError(
                f"the store {self.path} is of the older version {version}, and is only to be read: "
                f"open it for writing once, which brings it to version {SCHEMA_VERSION}."
            )

    def _version(self) -> int:
        """The schema version; 0 for an empty file."""
        known = self._connection.execute(
            "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'meta'"
        ).fetchone()[0]
        if not known:
            return 0
        row = self._connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
        if row is None or not str(row[0]).isdecimal():
            raise StoreError(f"the store {self.path} is damaged: it names no version. {RESCUE}")
        return int(row[0])

    def _migrate(self) -> None:
        """Brings the file to the present version, in one transaction."""
        if self._version() == SCHEMA_VERSION:
            return
        with self._transaction():
            self._check_ours()  # another process may have been faster
            version = self._version()
            add_functions(self._connection)
            for script in MIGRATIONS[version:]:
                for statement in script.split(";"):
                    self._connection.execute(statement)
            self._connection.execute(
                "INSERT OR REPLACE INTO meta VALUES ('schema', ?)", (str(SCHEMA_VERSION),)
            )
            self._connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")

    def _insert(
        self, record: RunRecord, digest: str, attempt: int, text: str, blobs: Blobs
    ) -> None:
        self._connection.execute(
            "INSERT INTO run VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                digest,
                record.task,
                record.agent,
                record.agent_id,
                int(record.seed),
                int(record.total_timesteps),
                record.state,
                attempt,
                record.score,
                record.mean_return,
                record.regret,
                datetime.now(UTC).isoformat(timespec="seconds"),
                text,
                record.key.training,
            ),
        )
        self._connection.executemany(
            "INSERT INTO cell_data VALUES (?, ?, ?, ?, ?)",
            [(digest, name, *blob) for name, blob in blobs.items()],
        )

    def _lean(self, digest: str, text: str, shared: dict[str, Any]) -> RunRecord:
        with self._damage(digest):
            record = unpack_lean(text, shared)
        if record.metric in ("learning_regret", STUDY) and record.state == "ok":
            full = self._record(digest, text)
            return replace(record, training=full.training, block=full.block)
        return record

    def _record(self, digest: str, text: str) -> RunRecord:
        with self._sentences("read"):
            rows = self._connection.execute(
                "SELECT name, dtype, length, data FROM cell_data WHERE digest = ?", (digest,)
            ).fetchall()
        with self._damage(digest):
            if not rows:
                raise ValueError("its arrays are lost")
            return unpack(text, {name: (dtype, n, data) for name, dtype, n, data in rows})

    @contextmanager
    def _damage(self, digest: str) -> Iterator[None]:
        try:
            yield
        except (ValueError, KeyError, TypeError, AttributeError, zlib.error) as error:
            raise StoreError(
                f"the store {self.path} is damaged: cell {digest[:12]} cannot be read ({error}). "
                f"{RESCUE}"
            ) from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing. IMMEDIATE, because a reader that turns writer is never made to wait."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # a full disk has rolled back already
                self._connection.execute("ROLLBACK")
            raise

    @contextmanager
    def _sentences(self, done: str) -> Iterator[None]:
        """Turns SQLite's errors into sentences."""
        try:
            yield
        except sqlite3.ProgrammingError as error:
            raise StoreError(f"the store {self.path} cannot be {done}: {error}") from error
        except sqlite3.Error as error:
            raise StoreError(sentence(self.path, done, error, BUSY_SECONDS)) from error
