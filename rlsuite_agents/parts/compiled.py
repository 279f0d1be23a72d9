"""The rules of `functional`, compiled: each is written once, for Python and for numba."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any

__all__ = ["compiled"]


@functools.cache
def compiled(rule: FunctionType) -> Callable[..., Any]:
    """A rule compiled by numba, with the rules it calls; it gives the same bits as the plain one.

    Args:
        rule: a function of `rlsuite_agents.functional` that takes one row and scalars.

    Returns:
        The compiled function. Compilation happens at its first call.
    """
    import numba

    called = {
        name: compiled(value)
        for name in rule.__code__.co_names
        if inspect.isfunction(value := rule.__globals__.get(name))
    }
    bound = FunctionType(
        rule.__code__, {**rule.__globals__, **called}, rule.__name__, rule.__defaults__
    )
    compile_: Callable[..., Callable[..., Any]] = numba.njit
    return compile_(bound)
