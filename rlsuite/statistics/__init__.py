"""Means, intervals, comparisons and plans over training runs: arrays in, frozen values out.

Scores are an array `x [N, M]`, run n of task m; a vector `x [N]` is one task. **The unit is the
training run**: the episodes of one trained policy are nested in it and never counted as runs. NaN
is a missing run, so tasks may have different numbers of runs; a task without any run is an error.
One run gives no interval, and the result says so. Randomness comes from the seed given and from
nowhere else.

| question | function |
| --- | --- |
| one number for many runs | `iqm`, `mean`, `median`, `optimality_gap`, `area_under_curve` |
| how sure of it | `student_t_interval` (one task), `bootstrap_interval` (several) |
| how often it succeeds | `wilson_interval` (one policy), `success_interval` (runs) |
| the whole distribution | `performance_profile`, `tolerance_interval` |
| is A better than B | `difference_interval`, `probability_of_improvement` |
| all pairs, all ranks | `compare_agents`, `rank_distribution` |
| how many runs does it take | `power`, `power_table`, `runs_needed`, `plan_runs` |
| may I stop now | `sequential_comparison` |

How each is computed, from which source, and how often its intervals hold the truth: see
docs/statistics.md; `python -m rlsuite.statistics.simulation` measures it again.
"""

from __future__ import annotations

from rlsuite.statistics.aggregates import area_under_curve, iqm, mean, median, optimality_gap
from rlsuite.statistics.comparison import (
    Comparison,
    Pair,
    RankDistribution,
    compare_agents,
    holm,
    rank_distribution,
)
from rlsuite.statistics.differences import difference_interval
from rlsuite.statistics.improvement import probability_of_improvement
from rlsuite.statistics.intervals import Method, bootstrap_interval, student_t_interval
from rlsuite.statistics.planning import RunPlan, plan_runs, power, power_table, runs_needed
from rlsuite.statistics.proportions import (
    PerformanceProfile,
    performance_profile,
    success_interval,
    wilson_interval,
)
from rlsuite.statistics.resampling import DrawStream
from rlsuite.statistics.scores import Interval, Statistic
from rlsuite.statistics.sequential import (
    PairDecision,
    SequentialDecision,
    sequential_comparison,
)
from rlsuite.statistics.tolerance import ToleranceInterval, tolerance_interval

__all__ = [
    "Comparison",
    "DrawStream",
    "Interval",
    "Method",
    "Pair",
    "PairDecision",
    "PerformanceProfile",
    "RankDistribution",
    "RunPlan",
    "SequentialDecision",
    "Statistic",
    "ToleranceInterval",
    "area_under_curve",
    "bootstrap_interval",
    "compare_agents",
    "difference_interval",
    "holm",
    "iqm",
    "mean",
    "median",
    "optimality_gap",
    "performance_profile",
    "plan_runs",
    "power",
    "power_table",
    "probability_of_improvement",
    "rank_distribution",
    "runs_needed",
    "sequential_comparison",
    "student_t_interval",
    "success_interval",
    "tolerance_interval",
    "wilson_interval",
]
