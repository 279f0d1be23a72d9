"""What is stored of a suite, or of everything: for reports that run nothing."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

from registry.errors import SettingError, StoreError
from rlsuite.identity import key_of
from rlsuite.records import RunRecord
from rlsuite.reporting.gathering import FULL, gathered
from rlsuite.store import DEFAULT_PATH, Store
from rlsuite.suite import Suite, load_suite

__all__ = ["Stored", "baseline_records", "is_store", "refuse_second_store", "stored"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """Records of a store, without their arrays where there are very many.

    `suite` is a name, or empty; `missing` counts cells not run yet; `baselines` are what the suite
    brings along.
    """

    path: Path
    records: tuple[RunRecord, ...]
    title: str
    suite: str = ""
    missing: int = 0
    baselines: tuple[RunRecord, ...] = ()

    @property
    def shown(self) -> tuple[RunRecord, ...]:
        """What leaderboards and reports show: the records, and the baselines beside them."""
        return (*self.records, *self.baselines)


def stored(source: str, store: str | PathLike[str] | None = None) -> Stored:
    """Reads results without running anything.

    Args:
        source: Path of a store, of which everything is read; or a suite (its name, or the path of
            a TOML file), of which the cells are looked up as they are defined now.
        store: Where to look up a suite; None is `results/rlsuite.sqlite`.

    Raises:
        StoreError: there is no such store, it is damaged, or it holds nothing of this.
        SettingError: both name a store.
        UnknownIdError: neither a file nor a suite.
        SuiteError: the suite cannot be used.
    """
    if is_store(source):
        refuse_second_store(source, store)
        return _everything(Path(source))
    suite = load_suite(source)
    path = DEFAULT_PATH if store is None else Path(store)
    cells = [(key_of(cell).digest, cell.label) for cell in suite.cells()]
    with Store(path, read_only=True) as opened:
        known = opened.digests()
        there = [digest for digest, _ in cells if digest in known]
        labels = [label for digest, label in cells if digest in known]
        found = opened.records(lean=len(there) > FULL, of=there)
        with _no_collection():
            records = gathered(
                record if record.agent == label else replace(record, agent=label)
                for record, label in zip(found, labels, strict=True)
            )
    if not records:
        where = "" if store is None else f" --store {store}"
        raise StoreError(
            f"{path} holds no cell of the suite {suite.name!r} as it is now: run it first with "
            f"`rlsuite bench run {source}{where}`, or name a store to see all that it holds."
        )
    return Stored(
        path=path,
        records=tuple(records),
        title=suite.title or suite.name,
        suite=suite.name,
        missing=len(cells) - len(records),
        baselines=baseline_records(suite, records),
    )


def baseline_records(suite: Suite, own: Sequence[RunRecord]) -> tuple[RunRecord, ...]:
    """The results that a suite brings along, on the tasks of its `own`, with a note that says so.

    Agents that are among the suite's own on a task are left out there.

    Raises:
        StoreError: the store of the baselines cannot be read.
    """
    if suite.baselines is None:
        return ()
    tasks, pairs = {r.task for r in own}, {(r.task, r.agent) for r in own}
    note = f"From {suite.baselines.name}, which comes with the suite; not run here."
    with Store(suite.baselines, read_only=True) as opened, _no_collection():
        return tuple(
            replace(record, notes=(*record.notes, note))
            for record in gathered(opened.records(lean=len(own) > FULL))
            if record.task in tasks and (record.task, record.agent) not in pairs
        )


def is_store(source: str) -> bool:
    """Whether this names a store and not a suite: by its ending, or as a file that is there."""
    path = Path(source)
    return path.suffix in (".sqlite", ".db") or (path.is_file() and path.suffix != ".toml")


def refuse_second_store(source: str, store: str | PathLike[str] | None) -> None:
    """Raises `SettingError` if a store is named beside a source that is one itself."""
    if store is not None:
        raise SettingError(
            f"{source!r} is a store itself, and --store {store} says where a suite or an agent is "
            "looked up: leave one of them out."
        )


def _everything(path: Path) -> Stored:
    with Store(path, read_only=True) as opened:
        many = sum(count for *_, count in opened.counts()) > FULL
        with _no_collection():
            records = gathered(opened.records(lean=many))
    if not records:
        raise StoreError(f"the store {path} is empty: run a suite first with `rlsuite bench run`.")
    return Stored(path=path, records=tuple(records), title=f"All results in {path.name}")


@contextmanager
def _no_collection() -> Iterator[None]:
    """Records hold no cycles: looking for some while millions of objects are made costs a third."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.freeze()
            gc.unfreeze()  # all to the oldest: else every object is looked at again and again
            gc.enable()
