"""The rules of `functional`, compiled: each is written once, for Python and for numba."""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

import numpy as np

__all__ = ["bound", "compiled", "kept", "kept_relaxed"]

HELPER = {"forceinline": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""How what is called inside is compiled: into its caller alone, so that handing over is free."""

ENTRY: dict[str, Any] = {"no_cfunc_wrapper": True}
"""How what is called from Python is compiled: nobody calls it from C."""

RELAXED = {"reassoc", "contract", "nsz"}
"""What lets sums run in vector registers: their terms are added in another order."""


@functools.cache
def compiled(rule: FunctionType) -> Callable[..., Any]:
    """A rule compiled by numba, with the rules it calls; it gives the same bits as the plain one.

    Args:
        rule: a function of `rlsuite_agents.functional` that takes one row and scalars.

    Returns:
        The compiled function. Compilation happens at its first call.
    """
    return bound(rule)


@functools.cache
def kept(rule: FunctionType) -> Callable[..., Any]:
    """`compiled`, and kept on disk for the next process."""
    return bound(rule, keep=True)


@functools.cache
def kept_relaxed(rule: FunctionType) -> Callable[..., Any]:
    """`kept`, with sums in any order: faster, and with other last bits than the plain function."""
    return bound(rule, keep=True, relaxed=True)


def bound(text: Any, /, *, keep: bool = False, relaxed: bool = False, **names: Any) -> Any:
    """A function compiled by numba in which some names mean other functions than where it stands.

    All plain functions that it calls are compiled with it, and in them the names mean the same. One
    loop is written once and bound to the rules of each algorithm. (A compiled function handed over
    as an argument would do as well, but would be compiled again in every process.)

    Args:
        text: the function.
        keep: whether the machine code is kept on disk, beside the source or in the user's cache
            folder, for the next process. Where neither can be written it is compiled in each.
        relaxed: whether the terms of sums may be added in another order.
        names: what its names mean.
    """
    import numba

    njit: Callable[..., Any] = numba.njit
    plain = _copy(text, names, {}, njit)
    entry = {**ENTRY, "fastmath": RELAXED} if relaxed else ENTRY
    if not keep:
        return njit(**entry)(plain)
    try:
        return njit(**entry, cache=True)(plain)
    except RuntimeError as error:  # raised at once where no folder for the cache can be written
        if "cannot cache" not in str(error):
            raise
        return njit(**entry)(plain)


def digest(text: FunctionType, names: Mapping[str, Any]) -> str:
    """Hash of a function, of the functions it calls and of its constants, with names bound.

    It is part of the name under which numba keeps the machine code: numba itself does not see that
    a function of another file has changed.
    """
    code = text.__code__
    parts = [code.co_code.hex(), repr(code.co_consts), repr(code.co_names)]
    for name in code.co_names:
        value: Any = names.get(name, text.__globals__.get(name))
        if _is_ours(value) and value is not text:
            parts.append(digest(value, names))
        elif isinstance(value, bool | int | float | np.generic):
            parts.append(f"{name}={value!r}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _is_ours(value: Any) -> bool:
    """Whether it is compiled with what calls it: numba's own functions are known to it."""
    return inspect.isfunction(value) and not value.__module__.startswith("numba")


def _copy(
    text: FunctionType,
    names: Mapping[str, Any],
    done: dict[FunctionType, Any],
    njit: Callable[..., Any],
) -> FunctionType:
    """The function over globals in which its helpers are compiled ones; `done` holds those made."""
    helpers = {}
    for name in text.__code__.co_names:
        value: Any = names.get(name, text.__globals__.get(name))
        if _is_ours(value) and value is not text:  # `x.name` is listed like a global `name`
            if value not in done:
                done[value] = njit(**HELPER)(_copy(value, names, done, njit))
            helpers[name] = done[value]
    copy = FunctionType(
        text.__code__, {**text.__globals__, **helpers}, text.__name__, text.__defaults__
    )
    copy.__module__ = text.__module__
    copy.__qualname__ = f"{text.__qualname__}_{digest(text, names)}"
    return copy
