"""Off-policy evaluation: what a policy would have earned, from a log of another one."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.errors import SettingError, did_you_mean
from rlsuite.ope.diagnostics import Diagnostics, diagnose, warnings_of
from rlsuite.ope.estimators import (
    Terms,
    direct_method,
    doubly_robust,
    dros,
    ipw,
    model_values,
    replay,
    self_normalized_dr,
    snipw,
    switch_dr,
    weights,
)
from rlsuite.ope.intervals import bernstein_interval, bootstrap_intervals
from rlsuite.ope.log import BanditLog
from rlsuite.ope.policies import Target, target_of
from rlsuite.ope.reward_model import cross_fitted, greedy
from rlsuite.ope.tuning import chosen, grid
from rlsuite.statistics.scores import Interval

__all__ = ["ESTIMATORS", "Estimate", "OffPolicyEvaluation", "evaluate"]

Floats = NDArray[np.float64]

ESTIMATORS = {
    "replay": "Replay",
    "ipw": "IPW",
    "snipw": "SNIPW",
    "dm": "DM",
    "dr": "DR",
    "sndr": "SNDR",
    "switch-dr": "Switch-DR",
    "dros": "DRos",
}
"""The names of the estimators, and how they are written."""

NOT_COVERED = "bias not covered"
"""Said beside each estimate whose intervals are about its mean alone."""

WITH_MODEL = ("dm", "dr", "sndr", "switch-dr", "dros")


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """One estimator's answer.

    Attributes:
        name: of the estimator, one of `ESTIMATORS`.
        interval: value and bootstrap interval.
        bernstein: the empirical Bernstein interval; wide, and good for every n.
        gain: value minus the mean reward of the log, with its bootstrap interval.
        biased: whether its mean need not be the value however long the log is: weights are cut, or
            a model or a replay of other odds is trusted. All its intervals are then about its mean,
            and do not cover the bias.
        setting: its threshold λ, and whether it was chosen from the data; or a remark; or empty.
    """

    name: str
    interval: Interval
    bernstein: Interval
    gain: Interval
    biased: bool
    setting: str = ""

    @property
    def value(self) -> float:
        """V̂."""
        return self.interval.estimate

    @property
    def remark(self) -> str:
        """What is printed beside it."""
        return "; ".join(filter(None, (self.setting, NOT_COVERED if self.biased else "")))


@dataclass(frozen=True, kw_only=True, slots=True)
class OffPolicyEvaluation:
    """What a log says about a policy.

    Attributes:
        estimates: one for each estimator that could be asked.
        left_out: estimators that could not, each with the reason.
        logging: mean reward of the log, the value of the policy that made it.
        diagnostics: figures of the weights.
        warnings: why the estimates cannot be trusted; empty where nothing speaks against them.
        reward_range: the bounds of rewards that the Bernstein intervals rest on.
        weight_bound: the bound of weights that they rest on.
    """

    estimates: tuple[Estimate, ...]
    left_out: tuple[tuple[str, str], ...]
    logging: Interval
    diagnostics: Diagnostics
    warnings: tuple[str, ...]
    reward_range: tuple[float, float]
    weight_bound: float

    def __getitem__(self, name: str) -> Estimate:
        """The estimate of one estimator.

        Raises:
            KeyError: it was not asked, or could not be.
        """
        for estimate in self.estimates:
            if estimate.name == name:
                return estimate
        raise KeyError(name)

    def as_json(self) -> dict[str, Any]:
        """Everything as JSON can hold it, once NaN and infinity are None."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        lines = [
            f"{ESTIMATORS[e.name]:10s}{_bounds(e.interval)}" + (f"  {e.remark}" if e.remark else "")
            for e in self.estimates
        ]
        d = self.diagnostics
        lines += [
            f"{'logged':10s}{_bounds(self.logging)}",
            f"n {d.n:,}, ESS {d.ess:,.0f} ({d.ess_share:.1%}), mean weight {d.mean_weight:.3f}, "
            f"largest {d.max_weight:.3g}",
        ]
        return "\n".join(lines + [f"Warning: {text}" for text in self.warnings])


def _bounds(interval: Interval) -> str:
    if interval.low is None or interval.high is None:
        return f"{interval.estimate:9.4f}  ({interval.note})"
    return f"{interval.estimate:9.4f}  [{interval.low:.4f}, {interval.high:.4f}]"


def evaluate(
    log: BanditLog,
    policy: Any,
    *,
    estimators: Sequence[str] = tuple(ESTIMATORS),
    clip: float = math.inf,
    threshold: float | None = None,
    shrinkage: float | None = None,
    model: Any = "ridge",
    q: Floats | None = None,
    folds: int = 3,
    deterministic: bool = False,
    level: float = 0.95,
    resamples: int = 1000,
    reward_range: tuple[float, float] | None = None,
    seed: int = 0,
) -> OffPolicyEvaluation:
    """Estimates what a policy would earn per decision, from decisions of another one.

    Args:
        log: the decisions, with their propensities.
        policy: see `target_of`; or `"greedy"`, which takes the action of the largest reward that
            `model` predicts, fitted without the decision's fold.
        estimators: which, from `ESTIMATORS`.
        clip: λ of IPW, above 0; weights above count as λ. Infinity: nothing is clipped.
        threshold: λ of Switch-DR, above 0; None: chosen from the data (`tuning.chosen`).
        shrinkage: λ of DRos, above 0; None: chosen likewise.
        model: of rewards, for the direct method and all that build on it: a scikit-learn regressor,
            or `"ridge"`, `"forest"`, `"boosting"`.
        q: predicted rewards [N, K] instead of a model, fitted on other data.
        folds: of the cross-fitting, at least 2.
        deterministic: whether an agent is evaluated in its greedy form.
        level: nominal coverage of intervals, in (0, 1).
        resamples: of the bootstrap, at least 100.
        reward_range: the least and the largest reward that there can be, for the Bernstein
            intervals; default: those in the log, and then those intervals hold only as far as the
            log shows them.
        seed: of folds and resamples.

    Raises:
        SettingError: a setting outside of its range, an unknown estimator, or no scikit-learn.
        DataError: the policy's answers are no probabilities.
    """
    low, high = _checked_range(log, reward_range)
    names = _checked_names(estimators)
    predict = partial(cross_fitted, log, model, folds=folds, seed=seed, bounds=(low, high))
    if q is not None:
        q = _checked_q(q, log)
    if isinstance(policy, str) and policy == "greedy":
        q = predict() if q is None else q
        policy = greedy(q, log)
    target = target_of(policy, log, deterministic=deterministic)
    left_out = _left_out(names, target)
    asked = [name for name in names if name not in left_out]
    if not asked:
        reasons = "; ".join(f"{name}: {why}" for name, why in left_out.items())
        raise SettingError(f"no estimator is left for this policy ({reasons}).")
    if q is None and set(asked) & set(WITH_MODEL):
        q = predict()
    if q is not None:  # predictions of the user's own may go beyond the rewards
        low, high = min(low, float(q.min())), max(high, float(q.max()))
    limits = {"ipw": clip, "switch-dr": threshold, "dros": shrinkage}
    parts = _Parts.of(log, target, q)
    made = {name: parts.terms(name, limits.get(name)) for name in asked}
    plain = Terms(base=log.reward, numerator=np.zeros(len(log)))
    gains = [terms.less(log.reward) for terms, _ in made.values()]
    first, *intervals = bootstrap_intervals(
        [plain, *(terms for terms, _ in made.values()), *gains],
        level=level,
        resamples=resamples,
        seed=seed,
    )
    bound = _weight_bound(log, target)
    found = diagnose(log, target, parts.w, clip)
    return OffPolicyEvaluation(
        estimates=tuple(
            Estimate(
                name=name,
                interval=intervals[j],
                gain=intervals[len(made) + j],
                bernstein=bernstein_interval(
                    terms, *_term_range(name, low, high, _bounded(name, bound, limit)), level=level
                ),
                biased=_biased(name, limit, bound, log),
                setting=_setting(name, limit, limits.get(name), log),
            )
            for j, (name, (terms, limit)) in enumerate(made.items())
        ),
        left_out=tuple(left_out.items()),
        logging=first,
        diagnostics=found,
        warnings=warnings_of(found, log),
        reward_range=(low, high),
        weight_bound=bound,
    )


@dataclass(frozen=True, slots=True)
class _Parts:
    """What estimators are made of, each [N]: weights, rewards, q(x, a), q(x, π_e)."""

    w: Floats
    reward: Floats
    predicted: Floats
    values: Floats

    @classmethod
    def of(cls, log: BanditLog, target: Target, q: Floats | None) -> _Parts:
        """Without a model, or without π_e of all actions, predictions are 0 and not to be used."""
        w, nothing = weights(target.taken, log.propensity), np.zeros(len(log))
        if q is None or target.full is None:
            return cls(w, log.reward, nothing, nothing)
        predicted = q[np.arange(len(log)), log.action]
        return cls(w, log.reward, predicted, model_values(q, target.full))

    def terms(self, name: str, limit: float | None) -> tuple[Terms, float]:
        """The terms of an estimator, and its threshold: chosen here where none is given."""
        four = (self.w, self.reward, self.predicted, self.values)
        if name == "ipw":
            limit = math.inf if limit is None else limit
            return ipw(self.w, self.reward, limit), limit
        if name in ("switch-dr", "dros"):
            make = partial(switch_dr if name == "switch-dr" else dros, *four)
            if limit is None:
                limit = chosen(make, grid(self.w, square=name == "dros"))
            return make(limit), limit
        plain: dict[str, Callable[[], Terms]] = {
            "replay": lambda: replay(self.w > 0, self.reward),
            "snipw": lambda: snipw(self.w, self.reward),
            "dm": lambda: direct_method(self.values),
            "dr": lambda: doubly_robust(*four),
            "sndr": lambda: self_normalized_dr(*four),
        }
        return plain[name](), math.inf


def _uniform(log: BanditLog) -> bool:
    return np.allclose(log.propensity, 1.0 / log.allowed.sum(axis=1))


def _biased(name: str, limit: float, bound: float, log: BanditLog) -> bool:
    """Whether an estimate with threshold λ is off in expectation; `bound`: of the weights."""
    if name == "replay":
        return not _uniform(log)
    return name == "dm" or limit < (math.inf if name == "dros" else bound)


def _setting(name: str, limit: float, given: float | None, log: BanditLog) -> str:
    if name == "replay" and not _uniform(log):
        return "biased: the log is not uniform"
    if name not in ("ipw", "switch-dr", "dros") or (name == "ipw" and math.isinf(limit)):
        return ""
    shown = "∞" if math.isinf(limit) else f"{limit:.4g}"
    return f"λ = {shown}" + (" (chosen)" if given is None else "")


def _bounded(name: str, bound: float, limit: float) -> float:
    """The largest weight that an estimator with threshold λ gives to a decision."""
    if name == "dros":  # λ w / (w² + λ) is at most √λ / 2
        return min(bound, math.sqrt(limit) / 2.0)
    return min(bound, limit)


def _term_range(name: str, low: float, high: float, bound: float) -> tuple[float, float]:
    """Between which numbers a term of an estimator is, for rewards in [low, high]."""
    if name == "ipw":
        return min(0.0, bound * low), max(0.0, bound * high)
    if name in ("replay", "dm"):
        return low, high
    return low - bound * (high - low), high + bound * (high - low)


def _weight_bound(log: BanditLog, target: Target) -> float:
    """The largest weight that there can be, as far as the log shows its contexts.

    With the probabilities of all actions: of any action in any logged context. Else the largest
    π_e over the smallest propensity.
    """
    if log.probabilities is not None and target.full is not None:
        supported = log.probabilities > 0
        return float((target.full[supported] / log.probabilities[supported]).max())
    largest = target.taken if target.full is None else target.full
    return float(largest.max() / log.propensity.min())


def _left_out(names: Sequence[str], target: Target) -> dict[str, str]:
    """Estimators that cannot be asked about this policy, with the reason."""
    found = {}
    for name in names:
        if name in WITH_MODEL and target.full is None:
            found[name] = "only the probabilities of the logged actions are known"
        elif name == "replay" and not target.deterministic:
            found[name] = "the policy is not deterministic"
        elif name == "replay" and not target.taken.any():
            found[name] = "the policy never takes a logged action"
        elif name in ("snipw", "sndr") and not target.taken.any():
            found[name] = "all weights are 0"
    return found


def _checked_names(estimators: Sequence[str]) -> list[str]:
    if isinstance(estimators, str):
        raise SettingError(
            f"estimators is a list of names, like ['ipw', 'dr']; got the text {estimators!r}."
        )
    names = list(dict.fromkeys(estimators))
    for name in names:
        if name not in ESTIMATORS:
            raise SettingError(
                f"there is no estimator {name!r}.{did_you_mean(name, ESTIMATORS)} There are "
                f"{', '.join(ESTIMATORS)}."
            )
    if not names:
        raise SettingError(f"name at least one estimator of {', '.join(ESTIMATORS)}.")
    return names


def _checked_range(log: BanditLog, given: tuple[float, float] | None) -> tuple[float, float]:
    seen = float(log.reward.min()), float(log.reward.max())
    if given is None:
        return seen
    try:
        low, high = (float(bound) for bound in given)
    except (TypeError, ValueError) as error:
        raise SettingError(
            f"reward_range is two numbers, the least and the largest reward; got {given!r}."
        ) from error
    if not low <= seen[0] <= seen[1] <= high:
        raise SettingError(
            f"reward_range must hold all rewards of the log, which go from {seen[0]:g} to "
            f"{seen[1]:g}; got {low:g} to {high:g}."
        )
    return low, high


def _checked_q(q: Floats, log: BanditLog) -> Floats:
    found = np.asarray(q, np.float64)
    if found.shape != (len(log), log.n_actions) or not np.isfinite(found).all():
        raise SettingError(
            f"q must be a predicted reward for each decision and action, finite numbers of shape "
            f"{(len(log), log.n_actions)}; got the shape {found.shape}."
        )
    return found
