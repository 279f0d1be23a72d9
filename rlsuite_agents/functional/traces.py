"""Eligibility traces: how much of each TD error every pair that was visited gets.

A trace e(s, a) holds the step size of the visits that raised it, so that Q ← Q + δ e is the whole
update. Pairs whose trace is not 0 are listed, and a step costs as much as the list is long. A trace
that has fallen below 10⁻¹² is dropped. The rules also run compiled.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

__all__ = ["ACCUMULATING", "DUTCH", "KINDS", "REPLACING", "Traces", "mark", "spread", "traces_of"]

KINDS = ("accumulating", "replacing", "dutch")
ACCUMULATING, REPLACING, DUTCH = range(3)
FLOOR = 1e-12
"""Traces below it count as 0: what they would still add is below 10⁻¹² |δ| / (1 - γ λ)."""


class Traces(NamedTuple):
    """What the rules below read and write."""

    trace: Any  # e(s, a), float64 [S, A]
    listed: Any  # the pairs s A + a of a trace that is not 0, int64 [S A]
    n_listed: Any  # how many there are, int64 [1]
    kind: int  # ACCUMULATING, REPLACING or DUTCH
    decay: float  # γ λ


def traces_of(config: Any, shape: tuple[int, int]) -> Traces:
    """Traces of a table [S, A], all 0, by the settings `traces`, `gamma` and `lambda_`."""
    listed, n_listed = np.zeros(shape[0] * shape[1], np.int64), np.zeros(1, np.int64)
    kind, decay = KINDS.index(config.traces), float(config.gamma * config.lambda_)
    return Traces(np.zeros(shape), listed, n_listed, kind, decay)


def mark(x: Traces, s: int, a: int, alpha: float) -> None:
    """Notes a visit of (s, a) that learns with step size α; e has decayed since the last step.

    e ← α + e, accumulating (S&B eq. 12.5); α, replacing (12.12); α + (1 - α) e, dutch (12.11).
    """
    e = x.trace[s, a]
    if e == 0.0:
        x.listed[x.n_listed[0]] = s * x.trace.shape[1] + a
        x.n_listed[0] += 1
    stays = 1.0 if x.kind == ACCUMULATING else 0.0 if x.kind == REPLACING else 1.0 - alpha
    x.trace[s, a] = alpha + stays * e


def spread(x: Traces, q: Any, delta: float, decay: float) -> None:
    """Q ← Q + δ e for every pair; then e fades by `decay`, with 0 at once. `q` is [S, A].

    For state values `q` is [S], and A is 1.
    """
    trace, values, i = x.trace.reshape(-1), q.reshape(-1), 0
    while i < x.n_listed[0]:
        pair = x.listed[i]
        values[pair] += delta * trace[pair]
        trace[pair] *= decay
        if trace[pair] < FLOOR:
            trace[pair] = 0.0
            x.n_listed[0] -= 1
            x.listed[i] = x.listed[x.n_listed[0]]  # the last one of the list takes its place
        else:
            i += 1
