"""How many threads NumPy's linear algebra takes."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager

from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

__all__ = ["one_blas_thread"]


def one_blas_thread() -> AbstractContextManager[object]:
    """One thread of NumPy's BLAS inside, the former number afterwards.

    Small matrices are slower on two threads than on one, many times so on a busy machine, and
    another number of threads gives other last bits.
    """
    limited: AbstractContextManager[object] = _libraries().limit(limits=1, user_api="blas")
    return limited


@functools.cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()  # looks through what is loaded, which takes a while
