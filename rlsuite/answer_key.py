"""Finds the answer key of an environment, and says when its answers do not hold."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, RecordEpisodeStatistics, TimeLimit

from registry.catalogue import registry
from registry.contracts import HasOracle, Oracle
from registry.errors import OracleError

__all__ = ["AnswerKey", "find_answer_key", "layers", "time_limit"]

HARMLESS = (OrderEnforcing, PassiveEnvChecker, RecordEpisodeStatistics, TimeLimit)
"""Wrappers that change neither what is observed nor what is paid; `TimeLimit` is the horizon."""

TOO_CLOSE = 1e-12
"""Where optimal and baseline return are nearer than this, a score means nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerKey:
    """The oracle of an environment as it stands, under its wrappers; None where there is none.

    `exact`: the oracle can also say what any memoryless policy is worth. `why_not` is a sentence
    for the reader where the environment has answers that do not hold here, or not for every
    episode.
    """

    oracle: Oracle | None = None
    exact: bool = False
    why_not: str = ""

    @property
    def scores(self) -> bool:
        """Whether returns can be compared with the optimal one."""
        return self.oracle is not None and self.oracle.scope == "task"

    def score(self, mean_return: float) -> float | None:
        """(J - baseline) / (optimal - baseline); None where the two coincide."""
        if self.oracle is None or not self.scores:
            return None
        return normalised(mean_return, self.oracle.baseline_return, self.oracle.optimal_return)


def normalised(value: float, zero: float, one: float) -> float | None:
    """(value - zero) / (one - zero), or None where `one` and `zero` coincide."""
    if abs(one - zero) <= TOO_CLOSE * max(1.0, abs(one), abs(zero)):
        return None
    return (value - zero) / (one - zero)


def layers(env: Any) -> list[Any]:
    """The environment and everything it wraps, from the outside in."""
    found = [env]
    while isinstance(found[-1], gym.Wrapper):
        found.append(found[-1].env)
    return found


def time_limit(env: Any) -> int | None:
    """The shortest `TimeLimit` around the environment, or None."""
    limits = [layer._max_episode_steps for layer in layers(env) if isinstance(layer, TimeLimit)]
    return min(limits, default=None)


def find_answer_key(env: gym.Env[Any, Any]) -> AnswerKey:
    """The environment's own oracle, else that of the first registered provider that has one.

    An unknown wrapper may change the task, so there is no answer under it, unless it has an
    `oracle` of its own; under one that changes only observations the optimal return still holds,
    but policies are not scored exactly. Without a `TimeLimit` the answers are those of the task
    without a limit, where they exist. The environment has been reset before, since arms and layouts
    may be drawn there.
    """
    found = layers(env)
    if env.unwrapped is not found[-1]:  # a view that hides what it wraps
        return AnswerKey()
    # a wrapper that changes the task may have an answer key of its own
    answers = (i for i, layer in enumerate(found) if isinstance(layer, HasOracle))
    innermost = next(answers, len(found) - 1)
    wrappers, inner = found[:innermost], found[innermost]
    strange = [layer for layer in wrappers if not is_harmless(layer)]
    changing = [layer for layer in strange if not isinstance(layer, gym.ObservationWrapper)]
    if changing:
        name = type(changing[0]).__name__
        return _without(inner, f"the wrapper {name} may change the task")
    try:
        oracle = _oracle_of(inner, time_limit(env))
        if oracle is None or oracle.provenance == "none":
            return AnswerKey()
        bounds = (oracle.optimal_return, oracle.baseline_return)
    except OracleError as error:
        return _without(inner, " ".join(str(error).split()).rstrip("."))
    if not all(math.isfinite(bound) for bound in bounds):
        return _without(inner, "without a time limit the return is infinite")
    if strange:
        name = type(strange[0]).__name__
        return AnswerKey(oracle=oracle, why_not=f"sampled: {name} changes what is observed")
    exact = oracle.provenance == "exact" and oracle.scope == "task"
    sampled = getattr(oracle, "sampled_because", "")
    reservation = _reservation(oracle) or (f"sampled: {sampled}" if sampled else "")
    return AnswerKey(oracle=oracle, exact=exact and not sampled, why_not=reservation)


def _reservation(oracle: Oracle) -> str:
    if oracle.scope == "instance":
        return "no score: the answer key holds only for the layout or arms of one episode"
    return "the optimal return is a bound, not exact" if oracle.provenance == "bound" else ""


def is_harmless(layer: Any) -> bool:
    """Whether a wrapper leaves the task as it is: known ones, and those that say `stateless`."""
    return isinstance(layer, HARMLESS) or bool(getattr(type(layer), "stateless", False))


def _without(inner: Any, reason: str) -> AnswerKey:
    """No answers, with the reason if the environment has some elsewhere."""
    if isinstance(inner, HasOracle) or registry.provided("oracle", inner, None) is not None:
        return AnswerKey(why_not=f"no answer key: {reason}")
    return AnswerKey()


def _oracle_of(inner: Any, horizon: int | None) -> Oracle | None:
    if not isinstance(inner, HasOracle):
        return registry.provided("oracle", inner, horizon)
    if horizon is None and "limit" in inspect.signature(inner.oracle).parameters:
        return inner.oracle(limit=False)  # None alone would mean the limit registered for the id
    if horizon is None and _registered_limit(inner) is not None:
        raise OracleError("its registered time limit was taken off")
    return inner.oracle(horizon=horizon)


def _registered_limit(inner: Any) -> int | None:
    """The time limit that Gymnasium registered for the id of this environment."""
    spec = getattr(inner, "spec", None)
    registered = gym.registry.get(spec.id) if spec is not None else None
    return registered.max_episode_steps if registered is not None else None
