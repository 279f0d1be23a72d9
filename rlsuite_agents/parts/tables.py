"""What a table agent learns: a NamedTuple of arrays and numbers that its rules read and write.

Arrays differ between agents of one kind and are saved, but for scratch space, whose fields are
named `scratch_...`. Numbers are settings, and the same in all of them. NamedTuples may be nested.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.errors import CheckpointError
from rlsuite_agents.parts.checkpoint import Checkpoint

__all__ = ["arrays_of", "member_rule", "restore_arrays", "row_of", "stacked", "unstack"]

SCRATCH = "scratch_"


def arrays_of(tables: Any) -> dict[str, NDArray[Any]]:
    """Every array that is saved, by the name of its field."""
    found: dict[str, NDArray[Any]] = {}
    for name, value in tables._asdict().items():
        if isinstance(value, np.ndarray) and not name.startswith(SCRATCH):
            found[name] = value
        elif isinstance(value, tuple):
            found |= arrays_of(value)
    return found


def restore_arrays(
    tables: Any, checkpoint: Checkpoint, index_below: Mapping[str, int] | None = None
) -> None:
    """Fills the arrays from a checkpoint.

    Args:
        tables: of an agent with the settings of the checkpoint.
        checkpoint: what was saved.
        index_below: arrays of indices, which compiled rules do not check, with the size that they
            stay below; -1 stands for none.

    Raises:
        CheckpointError: an array is missing, or does not fit.
    """
    limits = index_below or {}
    for name, array in arrays_of(tables).items():
        found = checkpoint.array(name, array.shape, array.dtype)
        if name in limits and not ((found >= -1) & (found < limits[name])).all():
            raise CheckpointError(
                f"{checkpoint.path}: {name!r} should be in [0, {limits[name]}), or -1, but is "
                f"{found.tolist()!r:.80}."
            )
        array[...] = found


def stacked(tables: Sequence[Any]) -> Any:
    """The tables of n agents as one, with n along the first axis of every array.

    Those of a single agent are not copied.
    """
    values: list[Any] = []
    for parts in zip(*tables, strict=True):
        if isinstance(parts[0], np.ndarray):
            values.append(np.stack(parts) if len(parts) > 1 else parts[0][None])
        else:
            values.append(stacked(parts) if isinstance(parts[0], tuple) else parts[0])
    return type(tables[0])(*values)


def row_of(many: Any, k: int) -> Any:
    """Agent k of `stacked` tables, as views."""
    values = []
    for value in many:
        rows = isinstance(value, np.ndarray)
        values.append(value[k] if rows else row_of(value, k) if isinstance(value, tuple) else value)
    return type(many)(*values)


def unstack(many: Any, tables: Sequence[Any]) -> None:
    """Copies the rows of `stacked` tables back, but for scratch space."""
    for k, one in enumerate(tables):
        rows = arrays_of(row_of(many, k))
        for name, array in arrays_of(one).items():
            if not np.shares_memory(array, rows[name]):
                array[...] = rows[name]


def member_rule(tables: Any, borrowed: Callable[[Any], Any]) -> Callable[[Any, int], Any]:
    """A function `member(many, k)` that compiles: the tables of agent k, `borrowed` rows of them.

    Its text has to name the fields one by one, because compiled code cannot loop over a NamedTuple.
    """
    scope: dict[str, Any] = {"__name__": __name__, "borrowed": borrowed}
    body = _member_text(tables, "many", scope)
    exec(f"def member(many, k):\n    return {body}", scope)  # text of ours alone
    rule: Callable[[Any, int], Any] = scope["member"]
    return rule


def _member_text(tables: Any, path: str, scope: dict[str, Any]) -> str:
    kind = type(tables)
    scope[kind.__name__] = kind
    parts = []
    for name, value in tables._asdict().items():
        here = f"{path}.{name}"
        if isinstance(value, tuple):
            parts.append(_member_text(value, here, scope))
        else:
            parts.append(f"borrowed({here}[k])" if isinstance(value, np.ndarray) else here)
    return f"{kind.__name__}({', '.join(parts)})"
