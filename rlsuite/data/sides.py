"""The two sides of a comparison, without their arrays: of those only hashes are kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from registry.errors import SettingError, did_you_mean
from rlsuite.records import RunRecord
from rlsuite.reporting.leaderboard import distinct_records
from rlsuite.results import result_hash
from rlsuite.store import DEFAULT_PATH, Store
from rlsuite.stored import is_store, refuse_second_store, stored

__all__ = ["Side", "two_sides"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """Results by (family, task, agent, seed).

    `results` holds a hash of all that a record says but for what a clock says; `episodes` a hash
    of the seeds of its evaluation episodes, empty where none was played. Both are by the digest of
    the record's key.
    """

    name: str
    records: Mapping[tuple[str, str, str, int], RunRecord]
    results: Mapping[str, str]
    episodes: Mapping[str, str]

    @classmethod
    def make(cls, name: str, records: Iterable[RunRecord]) -> Side:
        """From records in any order, of which one at a time is held with its arrays."""
        slim, results, episodes = [], {}, {}
        for record in records:
            digest = record.key.digest
            results[digest] = result_hash(record)
            episodes[digest] = _episode_hash(record)
            slim.append(replace(record, episodes=(), training=None))
        kept, _ = distinct_records(slim)
        found = {(r.family, r.task, r.agent, r.seed): r for r in kept}
        return cls(name=name, records=found, results=results, episodes=episodes)

    def only(self, agent: str) -> Side:
        """What one agent did."""
        mine = {cell: record for cell, record in self.records.items() if record.agent == agent}
        return replace(self, name=agent, records=mine)

    @property
    def agents(self) -> frozenset[str]:
        """The labels of its agents."""
        return frozenset(record.agent for record in self.records.values())


def two_sides(a: str, b: str, store: Path | None = None) -> tuple[Side, Side, bool]:
    """Reads both sides; True if they are two agents of one store, False if they are two results.

    Args:
        a: a store, an agent of `store`, or a suite of which `store` holds the cells.
        b: the same kind of thing.
        store: None is `results/rlsuite.sqlite`.

    Raises:
        SettingError: a store beside something else, neither agents nor suites, or `store` beside
            two stores.
        StoreError: a store that is not there, is empty or damaged.
    """
    kinds = [is_store(a), is_store(b)]
    if all(kinds):
        refuse_second_store(a, store)
        return _whole(a), _whole(b), False
    if any(kinds):
        found, other = (a, b) if kinds[0] else (b, a)
        raise SettingError(
            f"{found!r} is a store and {other!r} is not: compare two stores, or two agents or two "
            "suites of one store (--store)."
        )
    path = DEFAULT_PATH if store is None else store
    everything = _whole(str(path))
    agents = [_agent(name, everything) for name in (a, b)]
    if agents[0] is not None and agents[1] is not None:
        return everything.only(agents[0]), everything.only(agents[1]), True
    if agents[0] is None and agents[1] is None:
        suites = _suites(a, b, path)
        if suites is not None:
            return (*suites, False)
    missing = a if agents[0] is None else b
    raise SettingError(
        f"{path} holds no agent {missing!r}.{did_you_mean(missing, everything.agents)} It has "
        f"{', '.join(sorted(everything.agents))}."
    )


def _whole(path: str) -> Side:
    with Store(path, read_only=True) as opened:
        side = Side.make(path, opened.records())
    if not side.records:
        raise SettingError(f"the store {path} is empty: there is nothing to compare.")
    return side


def _suites(a: str, b: str, path: Path) -> tuple[Side, Side] | None:
    try:
        found = [stored(name, path) for name in (a, b)]
    except LookupError:
        return None
    return Side.make(a, found[0].records), Side.make(b, found[1].records)


def _agent(name: str, side: Side) -> str | None:
    """A label of the store, spelt in full or by the id that only one label has."""
    if name in side.agents:
        return name
    labels = {record.agent for record in side.records.values() if record.agent_id == name}
    if len(labels) > 1:
        raise SettingError(
            f"{name!r} is the id of several agents: name one of {', '.join(sorted(labels))}."
        )
    return labels.pop() if labels else None


def _episode_hash(record: RunRecord) -> str:
    if not record.episodes:
        return ""
    text = ",".join(str(episode.seed) for episode in record.episodes)
    return hashlib.sha256(text.encode()).hexdigest()
