"""What has to be known about weights before an estimate that is made of them is believed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlsuite.ope.files import listed
from rlsuite.ope.log import BanditLog
from rlsuite.ope.policies import Target

__all__ = ["ActionCoverage", "Diagnostics", "diagnose", "effective_sample_size", "warnings_of"]

Floats = NDArray[np.float64]

FEW = 0.1
"""ESS / N below which intervals hold the truth less often than they say."""

FEWEST = 50.0
"""And ESS below which they do, however large its share."""

FAR = 0.2
"""How far from 1 the mean weight may be before it is said, however uncertain it is."""

SIGMAS = 3.0
"""And by how many standard errors."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ActionCoverage:
    """One action: how often it was logged, and how often the evaluated policy wants it.

    Attributes:
        action: its number.
        count: decisions with it in the log.
        logged: their share.
        wanted: mean probability under the evaluated policy; None where it is not known.
        ess: effective sample size of the weights of its decisions.
    """

    action: int
    count: int
    logged: float
    wanted: float | None
    ess: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnostics:
    """Figures of the weights w = π_e / π_b of a log.

    Attributes:
        n: decisions.
        ess: effective sample size, (Σ w)² / Σ w².
        ess_share: ESS / n.
        mean_weight: its expectation is 1 where the propensities are right and all is supported.
        mean_weight_error: standard error of that mean.
        max_weight: the largest weight.
        clipped_share: share of the weights above `clip`.
        propensity_floor: the smallest propensity in the log.
        unsupported: mean probability that π_e gives to actions that π_b could not take; a lower
            bound where the log tells no probabilities but those of the logged actions: then
            actions count that were never taken, or not allowed. None where π_e is only known of
            the logged actions.
        unsupported_actions: which they are.
        coverage: each action.
    """

    n: int
    ess: float
    ess_share: float
    mean_weight: float
    mean_weight_error: float
    max_weight: float
    clipped_share: float
    propensity_floor: float
    unsupported: float | None
    unsupported_actions: tuple[int, ...]
    coverage: tuple[ActionCoverage, ...]


def effective_sample_size(w: Floats) -> float:
    """(Σ w)² / Σ w² (Kish 1965): N equal weights count as N decisions; 0 where all are 0."""
    square = float(np.square(w).sum())
    return float(w.sum()) ** 2 / square if square > 0 else 0.0


def diagnose(log: BanditLog, target: Target, w: Floats, clip: float) -> Diagnostics:
    """All figures of one policy on one log; `w` [N] are its weights, unclipped."""
    n, ess = len(log), effective_sample_size(w)
    share, actions = _unsupported(log, target)
    return Diagnostics(
        n=n,
        ess=ess,
        ess_share=ess / n,
        mean_weight=float(w.mean()),
        mean_weight_error=float(w.std() / np.sqrt(n)),
        max_weight=float(w.max()),
        clipped_share=float((w > clip).mean()),
        propensity_floor=float(log.propensity.min()),
        unsupported=share,
        unsupported_actions=actions,
        coverage=tuple(
            ActionCoverage(
                action=a,
                count=int(count),
                logged=float(count / n),
                wanted=None if target.full is None else float(target.full[:, a].mean()),
                ess=effective_sample_size(w[log.action == a]),
            )
            for a, count in enumerate(log.counts)
        ),
    )


def _unsupported(log: BanditLog, target: Target) -> tuple[float | None, tuple[int, ...]]:
    """π_e's mean probability of actions that π_b could not take, and which they are."""
    if target.full is None:
        return None, ()
    missing = ~log.allowed
    if log.probabilities is None:
        missing |= log.counts == 0
    else:
        missing |= log.probabilities == 0
    lost = np.where(missing, target.full, 0.0)
    return float(lost.sum(axis=1).mean()), tuple(np.flatnonzero(lost.any(axis=0)).tolist())


def warnings_of(found: Diagnostics, log: BanditLog) -> tuple[str, ...]:
    """Why an estimate from these weights cannot be trusted, in sentences; none if it can."""
    said = []
    if found.ess_share < FEW:
        said.append(
            f"the effective sample size is {found.ess:,.1f} of {found.n:,} decisions "
            f"({found.ess_share:.1%}): a few of them decide, and below {FEW:.0%} intervals are too "
            "narrow. Evaluate a policy nearer to the one that logged, or log with more exploration."
        )
    elif found.ess < FEWEST:
        said.append(
            f"the effective sample size is {found.ess:,.1f} decisions: below {FEWEST:.0f} "
            "intervals are too narrow. Log more decisions."
        )
    off = abs(found.mean_weight - 1.0)
    if off > FAR or off > SIGMAS * found.mean_weight_error + 1e-9:
        said.append(
            f"the mean weight is {found.mean_weight:.3g} and should be 1 (standard error "
            f"{found.mean_weight_error:.2g}): the propensities are wrong, actions are not "
            "supported, or the weights that matter are too rare to be in the log."
        )
    if found.unsupported:
        actions = ", ".join(map(str, found.unsupported_actions[:10]))
        said.append(
            f"the policy takes actions that the log cannot speak of ({actions}), with probability "
            f"{found.unsupported:.3g} on average: weighting counts them as reward 0, and only the "
            "reward model guesses what they pay."
        )
    if log.unused and not log.context.shape[1]:
        said.append(
            f"the log has no context, and its columns {listed(log.unused)} were not used: name "
            "those that the policies saw with context=[...] (--context), or context=[] if none is."
        )
    if (log.propensity == 1.0).all() and log.n_actions > 1:
        said.append(
            "every propensity is 1: the policy that logged drew nothing, so the log says nothing "
            "about any other choice."
        )
    return tuple(said)
