"""The tables of a store, and how an older one becomes one of the present version."""

from __future__ import annotations

import json
import sqlite3

from rlsuite.records import SCHEMA_VERSION, RunKey
from rlsuite.running.packing import decoded

__all__ = ["MIGRATIONS", "add_functions"]

MIGRATIONS = (
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    CREATE TABLE run (
        digest TEXT PRIMARY KEY,
        task TEXT NOT NULL,
        agent TEXT NOT NULL,
        agent_id TEXT NOT NULL,
        seed INTEGER NOT NULL,
        total_timesteps INTEGER NOT NULL,
        state TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        score REAL,
        mean_return REAL,
        regret REAL,
        stored_at TEXT NOT NULL,
        record TEXT NOT NULL
    ) STRICT;
    CREATE INDEX run_by_task ON run (task, agent, seed);
    CREATE TABLE cell_data (
        digest TEXT NOT NULL REFERENCES run (digest) ON DELETE CASCADE,
        name TEXT NOT NULL,
        dtype TEXT NOT NULL,
        length INTEGER NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (digest, name)
    ) STRICT;
    """,
    """
    CREATE TABLE attempt (
        digest TEXT NOT NULL,
        number INTEGER NOT NULL,
        state TEXT NOT NULL,
        started_at TEXT NOT NULL,
        seconds REAL NOT NULL,
        output TEXT NOT NULL,
        PRIMARY KEY (digest, number)
    ) STRICT;
    CREATE TABLE lease (
        digest TEXT PRIMARY KEY,
        owner TEXT NOT NULL,
        beat INTEGER NOT NULL
    ) STRICT;
    """,
    """
    ALTER TABLE run ADD COLUMN training TEXT NOT NULL DEFAULT '';
    UPDATE run SET training = training_of(record);
    CREATE INDEX run_by_training ON run (state, training, digest);
    CREATE INDEX run_by_state ON run (task, agent, state);
    """,
)
"""Script k brings a store of version k to version k + 1; an empty file is version 0."""

assert len(MIGRATIONS) == SCHEMA_VERSION


def add_functions(connection: sqlite3.Connection) -> None:
    """Gives a connection what the scripts call beyond SQL."""
    connection.create_function("training_of", 1, _training_of, deterministic=True)


def _training_of(record: str) -> str:
    """The digest of the training of a packed record; empty where the record is damaged."""
    try:
        return RunKey(identity=decoded(json.loads(record))["key"]).training
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
