"""Which cells need no training, because another cell of the store has had the same one."""

from __future__ import annotations

from pathlib import Path

from registry.errors import StoreError
from rlsuite.records import RunKey, RunRecord
from rlsuite.running.policies import Shelf, needed
from rlsuite.store import Store
from rlsuite.suite import Cell

__all__ = ["Trainings", "policies_folder", "same_result", "shelf_of"]


class Trainings:
    """The trainings that a store holds the results of."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known = store.trained()

    def before(self, cell: Cell, key: RunKey) -> RunRecord | None:
        """The record that a cell can be made from by playing episodes alone, or by nothing at all.

        It differs from the cell in its numbers of episodes. None where there is no such record,
        where it cannot be read, or where the policies are not there to be played.
        """
        digest = self._known.get(key.training) if self._known else None
        if digest is None:
            return None
        try:
            record = self._store.get(digest)
        except StoreError:
            return None  # damaged: the cell is trained anew
        if record is None:
            return None
        shelf = shelf_of(self._store.path, key)
        ready = same_result(cell, record) or shelf.has(needed(cell, record))
        return record if ready else None


def same_result(cell: Cell, before: RunRecord) -> bool:
    """Whether the numbers of episodes change nothing, because none were played."""
    exact = before.method == "exact" and all(p.method == "exact" for p in before.curve)
    return exact or cell.task.metric == "learning_regret"


def policies_folder(store: Path) -> Path:
    """Where the policies of a store are kept: beside it."""
    return store.with_suffix(".policies").absolute()


def shelf_of(store: Path, key: RunKey) -> Shelf:
    """Where the policies of a cell's training are kept."""
    return Shelf(folder=str(policies_folder(store)), training=key.training)
