"""Checkpoints of tables that remember: the last steps, or eligibility traces."""

from __future__ import annotations

from typing import Any

import numpy as np

from registry.errors import CheckpointError
from rlsuite_agents.functional.recent import Recent
from rlsuite_agents.functional.traces import Traces
from rlsuite_agents.parts.checkpoint import Checkpoint
from rlsuite_agents.parts.tables import restore_arrays

__all__ = ["restore_recent", "restore_traces"]


def restore_recent(tables: Any, checkpoint: Checkpoint, **index_below: int) -> None:
    """Fills tables that have `recent`, and `q` or `pi` [S, A]; see `parts.tables.restore_arrays`.

    Raises:
        CheckpointError: an array is missing, or does not fit.
    """
    x: Recent = tables.recent
    table = tables.q if hasattr(tables, "q") else tables.pi
    n, (n_states, n_actions) = len(x.states), table.shape
    limits = {"states": n_states, "actions": n_actions, "oldest": n, "kept": n}
    restore_arrays(tables, checkpoint, index_below={**limits, **index_below})


def restore_traces(tables: Any, checkpoint: Checkpoint, **index_below: int) -> None:
    """Fills tables that have `traces`; see `parts.tables.restore_arrays`.

    Raises:
        CheckpointError: an array is missing or does not fit, or the list of traces is not theirs.
    """
    x: Traces = tables.traces
    limits = {"listed": x.trace.size, "n_listed": x.trace.size + 1}
    restore_arrays(tables, checkpoint, index_below={**limits, **index_below})
    listed = np.sort(x.listed[: max(int(x.n_listed[0]), 0)])
    if not np.array_equal(listed, np.flatnonzero(x.trace)):
        raise CheckpointError(f"{checkpoint.path}: 'listed' does not name the pairs of 'trace'.")
