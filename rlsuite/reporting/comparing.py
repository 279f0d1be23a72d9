"""What a leaderboard leaves open: which differences are clear, who may rank where, all the runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rlsuite.records import RunRecord
from rlsuite.reporting.boards import Leaderboard
from rlsuite.reporting.leaderboard import resamples_for, score_table
from rlsuite.statistics import (
    Comparison,
    PerformanceProfile,
    RankDistribution,
    mean,
    performance_profile,
)
from rlsuite.statistics.comparison import RANKED, Drawn

__all__ = ["MOST_AGENTS", "BoardComparison", "compare_board", "compare_boards"]

MOST_AGENTS = 24
"""How many agents of a board are compared in pairs: the best ones."""

THRESHOLDS = 101


@dataclass(frozen=True, kw_only=True, slots=True)
class BoardComparison:
    """Agents of one board in pairs; `left_out` are those without a rank or beyond the 24 best.

    `why_not` says why there is no comparison. `profiles` are by agent, best first, and there are
    none where the board is not ranked by scores.
    """

    comparison: Comparison | None = None
    ranks: RankDistribution | None = None
    profiles: tuple[tuple[str, PerformanceProfile], ...] = ()
    left_out: tuple[str, ...] = ()
    why_not: str = ""


def compare_boards(
    boards: Sequence[Leaderboard], records: Sequence[RunRecord], *, seed: int = 0
) -> list[BoardComparison]:
    """`compare_board` for each of several boards, from the records of all of them."""
    families: dict[str, list[RunRecord]] = {}
    for record in records:
        families.setdefault(record.family, []).append(record)
    return [compare_board(board, families[board.family], seed=seed) for board in boards]


def compare_board(
    board: Leaderboard, records: Sequence[RunRecord], *, seed: int = 0
) -> BoardComparison:
    """Compares the agents of a board in the figure that ranks them.

    Args:
        board: the leaderboard.
        records: those of its family, as `distinct_records` gives them.
        seed: of the bootstrap, that of the board.
    """
    if board.aggregate == "average rank":
        return BoardComparison(why_not="the tasks have no scores, so returns have no common scale")
    ranked = [row.agent for row in board.rows if row.aggregate is not None]
    compared, beyond = ranked[:MOST_AGENTS], ranked[MOST_AGENTS:]
    if len(compared) < 2:
        return BoardComparison(why_not="fewer than two agents have a rank")
    higher = not board.ascending
    unranked = [row.agent for row in board.rows if row.aggregate is None]
    drawn = _drawn(board, compared, records, seed)
    return BoardComparison(
        comparison=drawn.comparison(higher_is_better=higher),
        ranks=drawn.ranks(higher_is_better=higher),
        profiles=_profiles(drawn) if board.main == "score" else (),
        left_out=(*beyond, *unranked),
    )


def _drawn(
    board: Leaderboard, agents: Sequence[str], records: Sequence[RunRecord], seed: int
) -> Drawn:
    """The agents' figures on the tasks of the board's main column, and their replicates."""
    if board.drawn is not None:
        return board.drawn.only(agents)
    (task,) = board.aggregate_tasks
    runs: dict[str, list[RunRecord]] = {agent: [] for agent in agents}
    for record in records:
        if record.task == task and record.agent in runs:
            runs[record.agent].append(record)
    tables = {agent: score_table([found], board.main) for agent, found in runs.items()}
    resamples = min(RANKED, resamples_for(len(records)))  # ranks alone are made of them
    return Drawn.make(tables, mean, seed=seed, resamples=resamples)


def _profiles(drawn: Drawn) -> tuple[tuple[str, PerformanceProfile], ...]:
    """From the lowest score, or 0, to the highest, or 1; at most as far below 0 as 1 above."""
    tables = {name: arm.values for name, arm in drawn.arms.items()}
    low = min(0.0, *(float(np.nanmin(x)) for x in tables.values()))
    high = max(1.0, *(float(np.nanmax(x)) for x in tables.values()))
    thresholds = np.linspace(max(low, -1.0), min(high, 2.0), THRESHOLDS)
    return tuple((agent, performance_profile(x, thresholds)) for agent, x in tables.items())
