"""Studies as text, as rows of tables, and as charts of a report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from rlsuite.records import RunRecord
from rlsuite.reporting.formatting import interval_text, number
from rlsuite.reporting.plots import Series, line_chart
from rlsuite.reporting.report_views import Cell
from rlsuite.studies.figures import (
    Difference,
    PolicyFigures,
    figures_of,
    paired_differences,
    studied,
)
from rlsuite.studies.study import StudyResult

__all__ = [
    "COLUMNS",
    "PAIR_COLUMNS",
    "caption",
    "pair_rows",
    "policy_rows",
    "slope_sentence",
    "study_text",
    "study_views",
]

COLUMNS = ("policy", "mean regret", "median", "5% to 95%", "simple", "optimal", "stuck", "runs")
PAIR_COLUMNS = ("pair", "difference in regret", "lower")
READ = (
    "Regret is pseudo-regret: the expected reward lost. Simple: the regret of the arm that is "
    "believed to be the best at the end. Optimal: the share of pulls without regret. Stuck: runs "
    "that believed in a worse arm both at half of the horizon and at its end."
)


def caption(policies: Sequence[PolicyFigures]) -> str:
    """What a table of policies is about."""
    first = policies[0]
    return f"{first.problem}, {first.block.horizon:,} decisions"


def policy_rows(policies: Sequence[PolicyFigures]) -> list[tuple[str, ...]]:
    """A row for each policy, under `COLUMNS`, lowest mean regret first."""
    return [
        (
            f.policy,
            interval_text(f.regret),
            number(f.median),
            f"{number(f.quantiles[0])} to {number(f.quantiles[-1])}",
            number(None if f.simple_regret is None else f.simple_regret.estimate),
            f"{f.optimal.estimate:.1%}",
            "–" if f.stuck is None else f"{f.stuck.estimate:.2%}",
            f"{f.runs:,}",
        )
        for f in sorted(policies, key=lambda f: f.regret.estimate)
    ]


def pair_rows(differences: Iterable[Difference]) -> list[tuple[str, str, str]]:
    """A row for each pair, under `PAIR_COLUMNS`."""
    return [
        (f"{d.first} − {d.second}", interval_text(d.interval), d.better or "not clear")
        for d in differences
    ]


def slope_sentence(policies: Sequence[PolicyFigures]) -> str:
    """What Lai and Robbins say of the problem; empty where they say nothing."""
    slope = policies[0].slope
    if slope is None:
        return ""
    return (
        f"Asymptotic slope of Lai and Robbins: {slope:.4g} for each unit of ln t, as t grows; "
        "regret may lie below at any finite t."
    )


def study_text(result: StudyResult) -> str:
    """Plain text: tables, differences, notes."""
    parts = []
    for problem, policies in result.problems.items():
        parts.append(_aligned(caption(policies), COLUMNS, policy_rows(policies)))
        pairs = pair_rows(d for d in result.differences if d.problem == problem)
        if pairs:
            parts.append(_aligned("Paired differences", PAIR_COLUMNS, pairs))
        parts.append(slope_sentence(policies))
    parts += [*result.notes, f"Results: {result.store_path}"]
    return "\n\n".join(part for part in parts if part)


def _aligned(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [tuple(columns), *rows]
    widths = [max(len(line[k]) for line in lines) for k in range(len(columns))]
    text = ["  ".join(w.ljust(n) for w, n in zip(ws, widths, strict=True)).rstrip() for ws in lines]
    return "\n".join([title, *text])


def study_views(records: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """The studies among the records of a report, problem by problem."""
    problems: dict[tuple[str, int, int], list[PolicyFigures]] = {}
    for record, block in studied(records):
        problems.setdefault((record.task, block.horizon, record.seed), []).append(
            figures_of(record, block)
        )
    return [
        _view(policies, f"study-{index}")
        for index, policies in enumerate(problems[key] for key in sorted(problems))
    ]


def _view(policies: Sequence[PolicyFigures], ident: str) -> dict[str, Any]:
    ordered = sorted(policies, key=lambda f: f.regret.estimate)
    pairs = paired_differences(ordered)
    return {
        "anchor": ident,
        "caption": caption(ordered),
        "read": READ,
        "columns": [(name, "text" if k == 0 else "number") for k, name in enumerate(COLUMNS)],
        "rows": [_row(f, words) for f, words in zip(ordered, policy_rows(ordered), strict=True)],
        "pair_columns": [(name, "text") for name in PAIR_COLUMNS],
        "pairs": [[Cell(word, kind="text") for word in row] for row in pair_rows(pairs)],
        "charts": _charts(ordered, ident),
    }


def _row(figures: PolicyFigures, words: Sequence[str]) -> list[Cell]:
    sorts = (figures.policy.casefold(), figures.regret.estimate, figures.median)
    more: list[Any] = [None] * (len(words) - len(sorts))
    return [
        Cell(word, sort, kind="text" if k == 0 else "number")
        for k, (word, sort) in enumerate(zip(words, (*sorts, *more), strict=True))
    ]


def _charts(policies: Sequence[PolicyFigures], ident: str) -> list[dict[str, str]]:
    """Regret on both kinds of time, the moving average of rewards, optimal pulls."""
    window = policies[0].curve.window
    slope = slope_sentence(policies)
    band = "The band is the interval of the mean at each step by itself."
    panels: tuple[tuple[str, str, str, str, bool], ...] = (
        ("regret", "Mean pseudo-regret", "regret", f"Flat is optimal. {band}", False),
        ("log", "Mean pseudo-regret on logarithmic time", "regret", slope or band, True),
        ("reward", "Reward", "mean reward", f"A moving average of {window} steps.", False),
        ("optimal", "Optimal pulls", "share of runs", "Runs that pull an optimal arm.", False),
    )
    return [
        {
            "caption": title,
            "read": read,
            "svg": line_chart(
                _series(policies, kind),
                ident=f"{ident}-{kind}",
                title=f"{title}: {caption(policies)}",
                description=f"{title} over runs, a line for each policy.",
                x_label="decisions (logarithmic)" if log else "decisions",
                y_label=label,
                log_x=log,
            ),
        }
        for kind, title, label, read, log in panels
    ]


def _series(policies: Sequence[PolicyFigures], kind: str) -> list[Series]:
    found = []
    for style, figures in enumerate(policies):
        curve = figures.curve
        at = _spread(len(curve.step), kind == "log")
        nothing = np.full(len(at), np.nan)
        known = kind in ("regret", "log")
        y = curve.regret if known else getattr(curve, kind)
        found.append(
            Series(
                label=figures.policy,
                style=style,
                x=curve.step[at].astype(np.float64),
                y=y[at],
                low=curve.low[at] if known else nothing,
                high=curve.high[at] if known else nothing,
            )
        )
    slope = policies[0].slope
    if kind == "log" and slope is not None:
        x = found[0].x
        y, none = slope * np.log(x), np.full(len(x), np.nan)
        label = f"asymptotic slope {slope:.3g} ln t"
        found.append(Series(label=label, style=len(found), x=x, y=y, low=none, high=none))
    return found


def _spread(steps: int, log: bool, points: int = 200) -> Any:
    """At most so many steps, evenly spread over time or over its logarithm."""
    if log:
        return np.unique(np.geomspace(1, steps, points).round().astype(int)) - 1
    return np.unique(np.linspace(0, steps - 1, min(points, steps)).round().astype(int))
