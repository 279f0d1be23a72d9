"""One decorator for functions that numba compiles, at their first call, and keeps on disk."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np

__all__ = ["Compiled", "compiled"]


class Compiled:
    """A function in machine code. Nothing is imported or compiled before the first call.

    Functions of this kind may call each other by their global names, and plain functions of
    `registry`, which are compiled with them. What is compiled is kept on disk beside the source
    file, or in the user's cache folder, and found there by the next process; where neither can be
    written, it is compiled once per process.

    Attributes:
        function: The plain function.
    """

    def __init__(self, function: FunctionType) -> None:
        functools.update_wrapper(self, function)
        self.function = function

    def __call__(self, *arguments: Any) -> Any:
        """Calls the machine code; takes positional arguments alone."""
        return self.machine(*arguments)

    @functools.cached_property
    def machine(self) -> Any:
        """Numba's dispatcher."""
        import numba

        plain = self._bound()
        njit: Callable[..., Any] = numba.njit
        try:
            return njit(cache=True)(plain)
        except RuntimeError as error:
            # raised at once where no folder for the cache can be written
            if "cannot cache" not in str(error):
                raise
            return njit(plain)

    def digest(self) -> str:
        """Hash of the function, of the compiled functions it calls, and of its constants.

        It is part of the name under which numba keeps the machine code: numba itself does not see
        that a function of another file has changed.
        """
        code = self.function.__code__
        parts = [code.co_code.hex(), repr(code.co_consts), repr(code.co_names)]
        for name in code.co_names:
            value = _callee(self.function.__globals__.get(name))
            if isinstance(value, Compiled):
                parts.append(value.digest())
            elif isinstance(value, bool | int | float | np.generic):
                parts.append(f"{name}={value!r}")
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    def _bound(self) -> FunctionType:
        """A copy of the function that knows its compiled helpers by numba's dispatchers."""
        plain = self.function
        helpers = {
            name: value.machine
            for name in plain.__code__.co_names
            if isinstance(value := _callee(plain.__globals__.get(name)), Compiled)
        }
        bound = FunctionType(
            plain.__code__, {**plain.__globals__, **helpers}, plain.__name__, plain.__defaults__
        )
        bound.__module__ = plain.__module__
        bound.__qualname__ = f"{plain.__qualname__}_{self.digest()}"
        return bound


@functools.cache
def _shared(function: FunctionType) -> Compiled:
    """A function of `registry`, compiled once for all that call it."""
    return Compiled(function)


def _callee(value: Any) -> Any:
    """What a global name means in machine code."""
    shared = isinstance(value, FunctionType) and value.__module__.startswith("registry.")
    return _shared(value) if shared else value


def compiled(function: Callable[..., Any]) -> Compiled:
    """Decorates a function that numba is to compile; see `Compiled`.

    Raises:
        TypeError: it is no plain Python function.
    """
    if not isinstance(function, FunctionType):
        raise TypeError(f"compiled decorates plain functions, got {function!r}.")
    return Compiled(function)
