"""Many runs of one bandit policy, as sums: what compiled runs return and studies add up.

Notation: R runs of T decisions, C marks (steps at which single runs are looked at).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from registry.bandit_models import BanditModel, ContextualModel
from registry.errors import SettingError

__all__ = ["BanditBlock", "RunsBandits", "RunsContextual", "merged"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BanditBlock:
    """What R runs of a policy came to: sums over the runs for each step, and rows for each run.

    Attributes:
        runs: R.
        horizon: T.
        regret_sum: Of the pseudo-regret summed up to and with each step, over runs, [T].
        regret_squares: Of its square, [T].
        optimal_sum: Runs that pulled an arm without regret at each step, [T]: one that is as good
            as the arm it is measured against, or better, which in an adversarial table can be.
        reward_sum: Of the reward of each step, [T].
        reward_squares: Of its square, [T].
        marks: Steps, counted from 1 and rising; the last one is T, [C].
        regret_at: Pseudo-regret of each run up to and with each mark, [R, C].
        simple_regret_at: Regret of the arm that is believed to be the best at each mark, [R, C].
        reward_total: Rewards of each run, [R].
        optimal_total: Pulls without regret of each run, [R].
        compiled: Whether compiled code made them; a plain loop gives the same numbers.
    """

    runs: int
    horizon: int
    regret_sum: Floats
    regret_squares: Floats
    optimal_sum: Floats
    reward_sum: Floats
    reward_squares: Floats
    marks: NDArray[np.int64]
    regret_at: Floats
    simple_regret_at: Floats
    reward_total: Floats
    optimal_total: Floats
    compiled: bool


SUMS = ("regret_sum", "regret_squares", "optimal_sum", "reward_sum", "reward_squares")
ROWS = ("regret_at", "simple_regret_at", "reward_total", "optimal_total")


def merged(blocks: Sequence[BanditBlock]) -> BanditBlock:
    """Blocks of one policy on one problem as one: sums added in order, rows one after the other.

    Raises:
        SettingError: there is no block, or they differ in horizon or marks.
    """
    if not blocks:
        raise SettingError("merged needs at least one block of runs.")
    first = blocks[0]
    for other in blocks:
        if other.horizon != first.horizon or not np.array_equal(other.marks, first.marks):
            raise SettingError(
                "blocks of runs can be merged where they have the same horizon and marks; got "
                f"{first.horizon} steps, {first.marks.tolist()} and {other.horizon} steps, "
                f"{other.marks.tolist()}."
            )
    values: dict[str, Any] = {f.name: getattr(first, f.name) for f in fields(first)}
    for name in SUMS:
        values[name] = np.sum([getattr(block, name) for block in blocks], axis=0)
    for name in ROWS:
        values[name] = np.concatenate([getattr(block, name) for block in blocks])
    values["runs"] = sum(block.runs for block in blocks)
    values["compiled"] = all(block.compiled for block in blocks)
    return BanditBlock(**values)


@runtime_checkable
class RunsBandits(Protocol):
    """A policy class that plays many whole runs in one call."""

    def run_bandits(
        self,
        models: BanditModel | Sequence[BanditModel],
        *,
        seed: int,
        runs: range,
        config: Any = None,
        marks: Sequence[int] | None = None,
    ) -> BanditBlock:
        """Plays the runs of those numbers; called on the class.

        Run r meets the luck of `generator(seed, Stream.ENVIRONMENT, r)`, one uniform for each arm
        at each step whatever is pulled, and the policy draws from `generator(seed, Stream.AGENT,
        r)`: run r is the same in whatever block it is played, and policies meet the same luck.

        Args:
            models: The problem of all runs, or one for each.
            seed: Root of all streams.
            runs: Numbers of the runs, from 0.
            config: Settings of the policy; None for the default.
            marks: Steps at which single runs are looked at; the horizon is always added.
        """
        ...


@runtime_checkable
class RunsContextual(Protocol):
    """A policy class that plays many whole runs with contexts in one call."""

    def run_contextual(
        self,
        draw: Callable[[np.random.Generator], ContextualModel],
        *,
        seed: int,
        runs: range,
        config: Any = None,
        marks: Sequence[int] | None = None,
    ) -> BanditBlock:
        """Plays the runs of those numbers; called on the class.

        Run r is `draw(generator(seed, Stream.ENVIRONMENT, r))`, whatever the policy, which draws
        from `generator(seed, Stream.AGENT, r)`. Simple regret is that of the arm believed to be the
        best in the context of the mark.

        Args:
            draw: Draws the contexts and potential outcomes of a run, all of one shape, such as
                `env.unwrapped.contextual_model`.
            seed: Root of all streams.
            runs: Numbers of the runs, from 0.
            config: Settings of the policy; None for the default.
            marks: Steps at which single runs are looked at; the horizon is always added.
        """
        ...
