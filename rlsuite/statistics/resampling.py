"""Replicates of a statistic: whole runs drawn with replacement, task by task.

Two streams of draws. `rlsuite`: counter-based (see `kernels`), so that a replicate depends on the
seed, the member and its number alone; the compiled loops and the loops in NumPy draw the same runs.
`rliable`: NumPy's legacy generator, as the published reference implementation uses it.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from registry.errors import SettingError
from registry.seeding import Stream, check_seed, sequence
from rlsuite.statistics.aggregates import TRIM, iqm, mean, median, optimality_gap
from rlsuite.statistics.scores import Floats, Statistic

__all__ = [
    "CHUNK",
    "DrawStream",
    "check_stream",
    "compiling_from",
    "draws",
    "key_of",
    "legacy_draws",
    "member_of",
    "pack",
    "refuse_missing",
    "replicates",
]

DrawStream = Literal["rlsuite", "rliable"]
"""Where the draws of a bootstrap come from."""

CHUNK = 4_000_000  # numbers held at once while resampling
_compiled_from = 1_000_000  # draws; below, importing numba costs more than it saves

Indices = NDArray[np.intp]


def check_stream(stream: str) -> None:
    """Refuses what is no stream."""
    if stream not in get_args(DrawStream):
        raise SettingError(f"stream must be one of {get_args(DrawStream)}, got {stream!r}.")


def member_of(name: str) -> int:
    """The stream of an agent, from its name alone: it does not matter who else is compared."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")


def key_of(seed: int, member: int = 0) -> np.uint64:
    """The key of the counter-based draws."""
    return np.uint64(sequence(seed, Stream.BOOTSTRAP, member).generate_state(1, np.uint64)[0])


def pack(x: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """The runs of each task first, in their order, then NaN; and how many there are, [M]."""
    missing = np.isnan(x)
    order = np.argsort(missing, axis=0, kind="stable")
    return np.take_along_axis(x, order, axis=0), (~missing).sum(axis=0)


def draws(
    key: np.uint64, shape: tuple[int, int], counts: NDArray[np.int64], start: int, stop: int
) -> Indices:
    """Which run each place of the replicates `start .. stop - 1` takes, `[b, N, M]`.

    Places beyond a task's number of runs hold a run of it too; nobody is to look at them.
    """
    slots, tasks = shape
    words = (slots * tasks + 1) // 2
    index = np.arange(start * words, stop * words, dtype=np.uint64)
    z = key + (index + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    halves = np.stack([z & np.uint64(0xFFFFFFFF), z >> np.uint64(32)], axis=-1)
    ours = halves.reshape(stop - start, -1)[:, : slots * tasks].reshape(-1, slots, tasks)
    return ((ours * counts.astype(np.uint64)) >> np.uint64(32)).astype(np.intp)


def refuse_missing(x: Floats) -> None:
    """The reference knows no missing runs."""
    if np.isnan(x).any():
        raise SettingError(
            "the stream 'rliable' is for tables without missing runs, as the reference is; use "
            "stream='rlsuite'."
        )


def legacy_draws(
    seed: int, shapes: Sequence[tuple[int, int]], resamples: int, size: int
) -> Iterator[list[Indices]]:
    """Batches of draws `[b, N, M]` for each table, as the reference makes them.

    Replicate by replicate, and within it table by table, `choice(N, (N, M))` of the legacy
    generator: with tables of one shape the same integers come in one call.
    """
    # np.random.RandomState is nobody's global generator: it is made here and dropped here
    rng = np.random.RandomState(check_seed(seed))
    for start in range(0, resamples, size):
        batch = min(size, resamples - start)
        if len(set(shapes)) == 1:
            both = rng.randint(0, shapes[0][0], size=(batch, len(shapes), *shapes[0]))
            yield [both[:, table] for table in range(len(shapes))]
        else:
            rows = [[rng.randint(0, n, size=(n, m)) for n, m in shapes] for _ in range(batch)]
            yield [np.array(table) for table in zip(*rows, strict=True)]


@contextmanager
def compiling_from(count: int) -> Iterator[None]:
    """Inside, bootstraps of `count` draws and more run in compiled loops.

    For thousands of small bootstraps, such as simulations, where importing numba pays at once.
    """
    global _compiled_from
    before, _compiled_from = _compiled_from, count
    try:
        yield
    finally:
        _compiled_from = before


def replicates(
    x: Floats,
    statistic: Statistic,
    *,
    seed: int,
    resamples: int,
    member: int = 0,
    stream: DrawStream = "rlsuite",
) -> Floats:
    """The statistic of `resamples` stratified resamples of `x [N, M]`, `[resamples]`.

    Replicates of other members of the same seed are independent of these. From a million draws on
    the statistics of this package are computed in compiled loops; their last bits may differ from
    those of the loops in NumPy, the runs drawn do not.
    """
    if stream == "rliable":
        return _legacy_replicates(x, statistic, seed, resamples)
    packed, counts = pack(x)
    key = key_of(seed, member)
    kernel = _kernel(statistic, packed, counts) if resamples * x.size >= _compiled_from else None
    if kernel is not None:
        out = np.empty(resamples)
        kernel(key, out)
        return out
    size = max(1, CHUNK // x.size)
    parts = []
    for start in range(0, resamples, size):
        index = draws(key, packed.shape, counts, start, min(start + size, resamples))
        parts.append(np.asarray(statistic(_taken(packed, counts, index))))
    return np.concatenate(parts)


def _taken(packed: Floats, counts: NDArray[np.int64], index: Indices) -> Floats:
    batch = packed[index, np.arange(packed.shape[1])]
    gone = np.arange(len(packed))[:, None] >= counts
    if gone.any():
        batch[:, gone] = np.nan
    return np.asarray(batch)


def _legacy_replicates(x: Floats, statistic: Statistic, seed: int, resamples: int) -> Floats:
    refuse_missing(x)
    columns = np.arange(x.shape[1])
    batches = legacy_draws(seed, [x.shape], resamples, max(1, CHUNK // x.size))
    return np.concatenate([np.asarray(statistic(x[index, columns])) for (index,) in batches])


def _kernel(
    statistic: Any, packed: Floats, counts: NDArray[np.int64]
) -> Callable[[np.uint64, Floats], None] | None:
    """The compiled loop for one of our statistics, its table bound; None for any other."""
    gamma = 1.0
    if isinstance(statistic, functools.partial) and statistic.func is optimality_gap:
        if statistic.args or set(statistic.keywords) > {"gamma"}:
            return None
        gamma = statistic.keywords.get("gamma", 1.0)
        statistic = optimality_gap
    if statistic not in (iqm, mean, median, optimality_gap):
        return None
    from rlsuite.statistics import kernels

    if statistic is iqm:
        return functools.partial(kernels.iqm_kernel, *_ranked(packed, counts))
    if statistic is optimality_gap:
        return functools.partial(_gaps, np.minimum(packed, gamma), counts, gamma)
    loop = kernels.mean_kernel if statistic is mean else kernels.median_kernel
    return functools.partial(loop, packed, counts)


def _gaps(
    capped: Floats, counts: NDArray[np.int64], gamma: float, key: np.uint64, out: Floats
) -> None:
    from rlsuite.statistics import kernels

    kernels.mean_kernel(capped, counts, key, out)
    np.subtract(gamma, out, out=out)


def _ranked(packed: Floats, counts: NDArray[np.int64]) -> tuple[Any, ...]:
    """Ranks [N, M], the scores in rising order [n], run counts, and how many are cut."""
    flat = packed.ravel()
    order = np.argsort(flat, kind="stable")  # NaN last
    ranks = np.empty(len(flat), dtype=np.int64)
    ranks[order] = np.arange(len(flat))
    total = int(counts.sum())
    return ranks.reshape(packed.shape), flat[order[:total]], counts, int(TRIM * total)
