"""Arrays that compiled code does not count references to. Import it late: it imports numba."""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba.extending import intrinsic

__all__ = ["borrowed"]


@intrinsic
def _borrowed(typingctx: Any, array: Any) -> Any:
    def copy_without_owner(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        struct = context.make_array(array)(context, builder, args[0])
        struct.meminfo = ir.Constant(struct.meminfo.type, None)
        struct.parent = ir.Constant(struct.parent.type, None)
        return struct._getvalue()

    return array(array), copy_without_owner


def borrowed(array: Any) -> Any:
    """The same array, owned by the caller alone, who keeps it alive. Compiled only.

    Each mention of an array that is owned counts references up and down, which costs a loop of a
    few nanoseconds most of its time.
    """
    return _borrowed(array)  # type: ignore[call-arg]
