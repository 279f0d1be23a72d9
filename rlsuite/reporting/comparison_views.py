"""How sure a leaderboard is: pairs of agents, ranks, and profiles of all runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlsuite.reporting.boards import Leaderboard
from rlsuite.reporting.comparing import MOST_AGENTS, BoardComparison
from rlsuite.reporting.formatting import interval_text, number
from rlsuite.reporting.plots import Series, line_chart
from rlsuite.reporting.report_views import places_text, styles_of
from rlsuite.reporting.tables import main_heading
from rlsuite.statistics import Interval, Pair, PerformanceProfile

__all__ = ["PairCell", "comparison_views"]

MOST_RANKS = 8
"""Columns of the table of ranks; further ranks are added up in a last one."""


@dataclass(frozen=True, slots=True)
class PairCell:
    """One agent against another: the difference, what it says, and whether it is clear.

    `kind` is `better`, `worse`, `open` or `same` (an agent against itself).
    """

    text: str
    sub: str
    kind: str
    words: str


SAME = PairCell("", "", "same", "the same agent")


def comparison_views(
    boards: Sequence[Leaderboard], compared: Sequence[BoardComparison]
) -> list[dict[str, Any]]:
    """For each board its ranks, its pairs and its profiles, or why there is no comparison."""
    return [
        {
            "family": board.family,
            "anchor": f"comparison-{index}",
            "board": f"board-{index}",
            "why_not": found.why_not,
            "left_out": _left_out(found),
            **_of_board(board, found, f"comparison-{index}"),
        }
        for index, (board, found) in enumerate(zip(boards, compared, strict=True))
    ]


def _left_out(found: BoardComparison) -> str:
    count = len(found.left_out)
    if not count:
        return ""
    named = ", ".join(found.left_out[:5]) + (", …" if count > 5 else "")
    return (
        f"Not compared: {named}. An agent needs a rank, and at most the {MOST_AGENTS} best are "
        "compared in pairs."
    )


def _of_board(board: Leaderboard, found: BoardComparison, ident: str) -> dict[str, Any]:
    if found.comparison is None:
        return {"what": "", "ranks": None, "pairs": None, "chart": None, "single": ""}
    pairs = {(pair.first, pair.second): pair for pair in found.comparison.pairs}
    single = (
        ""
        if any(p.p_value is not None for p in pairs.values())
        else (
            "With a single run of a task nothing is known of how much runs differ, so no "
            "difference has an interval and no rank a range: add seeds."
        )
    )
    return {
        "what": main_heading(board),
        "lower_is_better": board.ascending,
        "ranks": _ranks(found),
        "pairs": _matrix(found.comparison.agents, pairs, board.ascending),
        "chart": _profile_chart(board, found.profiles, ident),
        "single": single,
    }


def _ranks(found: BoardComparison) -> dict[str, Any] | None:
    """How often each agent took each rank among the resamples, beside the ranks left to it."""
    ranks = found.ranks
    if ranks is None or ranks.probability is None or found.comparison is None:
        return None
    count = len(ranks.agents)
    shown = count if count <= MOST_RANKS else MOST_RANKS - 1
    heads = [str(rank + 1) for rank in range(shown)]
    if shown < count:
        heads.append(f"{shown + 1}–{count}")
    row_of = {agent: index for index, agent in enumerate(ranks.agents)}
    rows = []
    for agent in found.comparison.agents:
        shares = ranks.probability[row_of[agent]]
        parts = [*shares[:shown], *([shares[shown:].sum()] if shown < count else [])]
        rows.append(
            {
                "agent": agent,
                "places": places_text(found, agent),
                "shares": [(_percent(float(p)), round(float(p), 2)) for p in parts],
            }
        )
    return {"heads": heads, "rows": rows, "resamples": f"{ranks.resamples:,}"}


def _percent(share: float) -> str:
    if share == 0.0:
        return ""
    return "<1%" if share < 0.01 else ">99%" if 0.99 < share < 1.0 else f"{share:.0%}"


def _matrix(
    agents: Sequence[str], pairs: Mapping[tuple[str, str], Pair], ascending: bool
) -> dict[str, Any]:
    rows = []
    for one in agents:
        cells = []
        for two in agents:
            if one == two:
                cells.append(SAME)
            elif (one, two) in pairs:
                cells.append(_pair_cell(one, two, pairs[one, two], ascending, 1.0))
            else:
                cells.append(_pair_cell(one, two, pairs[two, one], ascending, -1.0))
        rows.append((one, cells))
    return {"agents": agents, "rows": rows}


def _pair_cell(one: str, two: str, pair: Pair, ascending: bool, sign: float) -> PairCell:
    """The row's agent minus the column's: the interval at the level of Holm's step."""
    difference = _turned(pair.corrected or pair.difference, sign)
    improvement = pair.improvement.estimate
    chance = improvement if sign > 0 else 1.0 - improvement
    wins = (difference.estimate > 0) != ascending
    kind = ("better" if wins else "worse") if pair.clear else "open"
    verdict = {"better": "clearly better than", "worse": "clearly worse than"}
    p = "unknown" if pair.p_holm is None else f"{number(pair.p_holm)}"
    bounds = interval_text(
        pair.improvement if sign > 0 else _turned(pair.improvement, -1.0, around=1.0)
    )
    words = (
        f"{one} is {verdict.get(kind, 'not clearly different from')} {two}: p {p} after Holm's "
        f"correction; a run of it is the better one with probability {bounds}"
    )
    return PairCell(_signed(difference), f"P {chance:.2f}", kind, words)


def _turned(interval: Interval, sign: float, around: float = 0.0) -> Interval:
    """The interval of the same pair the other way round: `around` minus it."""
    if sign > 0:
        return interval
    low, high = interval.low, interval.high
    return Interval(
        estimate=around - interval.estimate,
        low=None if high is None else around - high,
        high=None if low is None else around - low,
        method=interval.method,
        level=interval.level,
        n=interval.n,
    )


def _signed(interval: Interval) -> str:
    text = interval_text(interval)
    return text if text.startswith("-") or interval.estimate == 0.0 else f"+{text}"


def _profile_chart(
    board: Leaderboard, profiles: Sequence[tuple[str, PerformanceProfile]], ident: str
) -> dict[str, str] | None:
    if not profiles:
        return None
    styles = styles_of(board)
    series = [_profile_series(agent, styles[agent], profile) for agent, profile in profiles]
    where = f"{len(board.aggregate_tasks)} tasks" if len(board.tasks) > 1 else board.tasks[0]
    read = (
        "How many of all runs reach more than a score: a curve that is higher everywhere belongs "
        "to the better agent, one that falls late to an agent that rarely fails. Bands are 95% "
        "at each score."
    )
    drawn = line_chart(
        series,
        ident=f"{ident}-profile",
        title=f"Performance profiles, {where}",
        description=read,
        x_label="score τ (0 baseline, 1 optimal)",
        y_label="share of runs above τ",
    )
    return {"caption": "Performance profiles", "svg": drawn, "read": read}


def _profile_series(agent: str, style: int, profile: PerformanceProfile) -> Series:
    blank = np.full(len(profile.fraction), np.nan)
    return Series(
        label=agent,
        style=style,
        x=profile.thresholds,
        y=profile.fraction,
        low=blank if profile.low is None else profile.low,
        high=blank if profile.high is None else profile.high,
    )
