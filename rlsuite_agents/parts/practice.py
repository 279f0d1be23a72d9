"""Settings of how a table agent practises: numbers, or texts such as `"linear(1, 0.05, 10000)"`.

A setting holds a number or the text of one of the dataclasses below, so that it can stand in a
file; the dataclass itself is taken too, and becomes its text.
"""

from __future__ import annotations

import ast
import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.errors import SettingError
from rlsuite_agents.functional import practice as rules
from rlsuite_agents.functional.exploration import epsilon_greedy_probabilities, greedy_probabilities
from rlsuite_agents.functional.practice import Practice, Schedule
from rlsuite_agents.parts.settings import check_range
from rlsuite_agents.parts.spaces import table_rows

__all__ = [
    "UCB",
    "Boltzmann",
    "CountBonus",
    "Exponential",
    "Inverse",
    "Linear",
    "Power",
    "action_probabilities",
    "check_epsilon",
    "check_practice",
    "check_soft",
    "check_step_size",
    "practice_of",
    "probabilities",
    "schedule_of",
]


class _Text:
    """Writes a dataclass as it is written in a file: `linear(1, 0.05, 10000)`."""

    __slots__ = ()

    def __str__(self) -> str:
        values = (getattr(self, field.name) for field in dataclasses.fields(self))  # type: ignore[arg-type]
        return f"{NAMES[type(self)]}({', '.join(_number_text(value) for value in values)})"


@dataclass(frozen=True, slots=True)
class Linear(_Text):
    """From `first` in a straight line to `last`, where it is after `steps` steps and stays."""

    first: float
    last: float
    steps: float


@dataclass(frozen=True, slots=True)
class Exponential(_Text):
    """first · e^(-t / steps), never below `last`."""

    first: float
    last: float
    steps: float


@dataclass(frozen=True, slots=True)
class Inverse(_Text):
    """first / (1 + t / steps), never below `last`."""

    first: float
    last: float
    steps: float


@dataclass(frozen=True, slots=True)
class Power(_Text):
    """A step size that falls with the visits of the pair: first · n(s, a)^-exponent."""

    exponent: float
    first: float = 1.0


@dataclass(frozen=True, slots=True)
class Boltzmann(_Text):
    """Actions in proportion to e^(Q / τ); the temperature τ is a number or a schedule."""

    temperature: float | Linear | Exponential | Inverse


@dataclass(frozen=True, slots=True)
class UCB(_Text):
    """The largest Q(s, a) + c √(ln n(s) / n(s, a)); the width c is a number or a schedule."""

    width: float | Linear | Exponential | Inverse


@dataclass(frozen=True, slots=True)
class CountBonus(_Text):
    """Learns from R + β / √n(s, a); the weight β is a number or a schedule."""

    weight: float | Linear | Exponential | Inverse


NAMES: Mapping[type, str] = {
    Linear: "linear",
    Exponential: "exponential",
    Inverse: "inverse",
    Power: "power",
    Boltzmann: "boltzmann",
    UCB: "ucb",
    CountBonus: "count_bonus",
}
KINDS = {name: kind for kind, name in NAMES.items()}
SCHEDULES = {
    Linear: rules.LINEAR,
    Exponential: rules.EXPONENTIAL,
    Inverse: rules.INVERSE,
}
RULES = {Boltzmann: rules.BOLTZMANN, UCB: rules.UCB, CountBonus: rules.COUNT_BONUS}
OR_A_SCHEDULE = "Or a schedule: 'linear(first, last, steps)', 'exponential(...)', 'inverse(...)'."


def check_practice(config: Any) -> None:
    """Checks the settings that table agents share; a dataclass is replaced by its text.

    They are `step_size` (if there is one), `epsilon`, `exploration`, `gamma` and `initial_value`.

    Raises:
        SettingError: one is not what it may be.
    """
    if hasattr(config, "step_size"):
        check_step_size(config)
    check_epsilon(config)
    _check_exploration(config)
    check_range(config, "gamma", "[0, 1]")
    check_range(config, "initial_value", "(-inf, inf)")


def check_epsilon(config: Any) -> None:
    """Raises `SettingError` unless `epsilon` is a probability, or a schedule of some."""
    _keep_text(config, "epsilon")
    if not _is_schedule(_read(config.epsilon), 0.0, 1.0):
        raise SettingError(
            f"{type(config).__name__}.epsilon must be a number in [0, 1], got {config.epsilon!r}. "
            f"{OR_A_SCHEDULE}"
        )


def check_step_size(config: Any) -> None:
    """Raises `SettingError` unless `step_size` is in (0, 1], or `"power(p)"` with p in (0, 1]."""
    _keep_text(config, "step_size")
    value = _read(config.step_size)
    parts = [value.exponent, value.first] if isinstance(value, Power) else [value]
    if not all(_is_number(part) and 0 < part <= 1 for part in parts):
        raise SettingError(
            f"{type(config).__name__}.step_size must be a number in (0, 1], got "
            f"{config.step_size!r}. Or 'power(p)', which is n^-p after n visits, with p in (0, 1]."
        )


def _check_exploration(config: Any) -> None:
    """Raises `SettingError` unless `exploration` is one of the rules."""
    _keep_text(config, "exploration")
    if config.exploration == "greedy":
        return
    value = _read(config.exploration)
    if type(value) not in RULES:
        raise SettingError(
            f"{type(config).__name__}.exploration must be 'greedy', 'boltzmann(temperature)', "
            f"'ucb(width)' or 'count_bonus(weight)', got {config.exploration!r}."
        )
    scale = _argument(value)
    if not _is_schedule(scale, 0.0, math.inf) or (
        isinstance(value, Boltzmann) and _least(scale) == 0
    ):
        low = "above 0" if isinstance(value, Boltzmann) else "of at least 0"
        raise SettingError(
            f"{type(config).__name__}.exploration: {dataclasses.fields(value)[0].name} must be a "
            f"number {low}, got {config.exploration!r}. {OR_A_SCHEDULE}"
        )


def check_soft(config: Any) -> None:
    """Raises `SettingError` unless the exploring policy always gives every action a chance."""
    x = practice_of(config, 1, 1)
    if x.rule != rules.BOLTZMANN and min(rules.scheduled(x.epsilon, t) for t in (0, 10**18)) == 0:
        raise SettingError(
            f"{type(config).__name__}.epsilon must stay above 0, so that every action has a "
            f"chance, got {config.epsilon!r}. Only beside 'boltzmann(temperature)' it may be 0."
        )


def practice_of(config: Any, n_states: int, n_actions: int) -> Practice:
    """The rules' data for the settings `epsilon`, `exploration` and `step_size` of an agent."""
    alpha, chosen = _read(getattr(config, "step_size", 1.0)), _read(config.exploration)
    falls = isinstance(alpha, Power)
    counted = falls or isinstance(chosen, UCB | CountBonus)
    return Practice(
        epsilon=_schedule(_read(config.epsilon)),
        rule=RULES.get(type(chosen), rules.GREEDY),
        scale=_schedule(_argument(chosen) if type(chosen) in RULES else 0.0),
        alpha=float(alpha.first if falls else alpha),
        power=float(alpha.exponent) if falls else 0.0,
        clock=np.zeros(1, np.int64),
        counts=np.zeros((n_states, n_actions) if counted else (0, 0), np.int64),
        scratch_row=np.zeros(n_actions),
    )


def probabilities(
    tables: Any, observations: Any, mask: Any, deterministic: bool
) -> NDArray[np.float64]:
    """π(a|s) of `explore` by the `q` and the `practice` of tables, or the greedy one: [B, A]."""
    x, q = tables.practice, tables.q
    rows = np.array(table_rows(q, observations)).reshape(-1, q.shape[1])
    if deterministic:
        return greedy_probabilities(rows, mask, True)
    if x.rule in (rules.GREEDY, rules.COUNT_BONUS):
        epsilon = rules.scheduled(x.epsilon, int(x.clock[0]))
        return epsilon_greedy_probabilities(rows, epsilon, mask, False)
    out = np.zeros(rows.shape)
    for k, s in enumerate(np.asarray(observations).tolist()):
        rules.policy(x, rows[k], s, None if mask is None else mask[k], out[k])
    return out


def action_probabilities(
    agent: Any, observations: Any, *, deterministic: bool, mask: Any = None
) -> NDArray[np.float64]:
    """π(a|s) of the exploring policy, or of the greedy one if deterministic: [B, A].

    The method of an agent whose tables hold `q` and `practice`.
    """
    return probabilities(agent.tables, observations, mask, deterministic)


def _keep_text(config: Any, name: str) -> None:
    value = getattr(config, name)
    if type(value) in NAMES:
        object.__setattr__(config, name, str(value))


def _read(value: Any) -> Any:
    """The number, or the dataclass that a text names; what is neither comes back as it is."""
    if not isinstance(value, str):
        return value
    try:
        return _built(ast.parse(value, mode="eval").body)
    except (SyntaxError, TypeError, ValueError, KeyError):
        return value


def _built(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        return KINDS[node.func.id](*(_built(argument) for argument in node.args))
    return ast.literal_eval(node)


def _argument(value: Any) -> Any:
    return getattr(value, dataclasses.fields(value)[0].name)


def _schedule(value: Any) -> Schedule:
    if type(value) in SCHEDULES:
        numbers = (float(x) for x in (value.first, value.last, value.steps))
        return Schedule(SCHEDULES[type(value)], *numbers)
    return Schedule(rules.CONSTANT, float(value), 0.0, 1.0)


def schedule_of(setting: float | str) -> Schedule:
    """The schedule that a setting names; a number is a constant one."""
    return _schedule(_read(setting))


def _is_schedule(value: Any, low: float, high: float) -> bool:
    """Whether it is a number from low to high, or a schedule that stays there."""
    if type(value) not in SCHEDULES:
        return _is_number(value) and low <= value <= high
    ends = (value.first, value.last)
    steps = _is_number(value.steps) and value.steps > 0
    return steps and all(_is_number(end) and low <= end <= high for end in ends)


def _least(value: Any) -> float:
    return float(min(value.first, value.last) if type(value) in SCHEDULES else value)


def _is_number(value: Any) -> bool:
    real = isinstance(value, int | float) and not isinstance(value, bool)
    return real and math.isfinite(value)


def _number_text(value: Any) -> str:
    return str(value)
