"""How a table agent practises: which actions it tries, and how far each update goes.

These rules take the whole table's `Practice` and one row `q` [A] of a state s, draw with `random`
alone, and also run compiled. An agent calls `explore` for an action, `visit` once per step, and
`step_size` per update; `policy` is what `explore` draws from. Time t is the number of steps before.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from rlsuite_agents.functional.chance import random
from rlsuite_agents.functional.exploration import n_allowed, random_argmax, uniform

__all__ = [
    "BOLTZMANN",
    "CONSTANT",
    "COUNT_BONUS",
    "EXPONENTIAL",
    "GREEDY",
    "INVERSE",
    "LINEAR",
    "UCB",
    "Practice",
    "Schedule",
    "expected_value",
    "explore",
    "policy",
    "scheduled",
    "step_size",
    "visit",
]

CONSTANT, LINEAR, EXPONENTIAL, INVERSE = range(4)
GREEDY, BOLTZMANN, UCB, COUNT_BONUS = range(4)


class Schedule(NamedTuple):
    """A number that changes with time; see `scheduled`."""

    kind: int
    first: float
    last: float
    steps: float


class Practice(NamedTuple):
    """What the rules below read and write."""

    epsilon: Schedule  # ε
    rule: int  # where the coin of ε does not fall: GREEDY, BOLTZMANN, UCB or COUNT_BONUS
    scale: Schedule  # temperature τ, width c of UCB, or weight β of the bonus
    alpha: float  # α, or α₁ if it falls
    power: float  # p of α n(s, a)^-p; 0 if α is constant
    clock: Any  # t, int64 [1]
    counts: Any  # n(s, a), int64 [S, A]; [0, 0] where nothing needs it
    scratch_row: Any  # [A]


def scheduled(x: Schedule, t: int) -> float:
    """The value at time t: constant, or from `first` to `last` in one of three ways.

    LINEAR arrives after `steps` steps. EXPONENTIAL is first · e^(-t / steps) and INVERSE is
    first / (1 + t / steps), both never below `last`.
    """
    if x.kind == LINEAR:
        return x.last if t >= x.steps else x.first + (x.last - x.first) * (t / x.steps)
    if x.kind == EXPONENTIAL:
        return max(x.last, x.first * math.exp(-t / x.steps))
    if x.kind == INVERSE:
        return max(x.last, x.first / (1.0 + t / x.steps))
    return x.first


def visit(x: Practice, s: int, a: int) -> float:
    """Notes that a was taken in s, and returns the bonus to learn from beside the reward.

    The bonus is β / √n(s, a) with COUNT_BONUS (Strehl & Littman 2008, eq. 6), n counting this visit
    too, else 0.
    """
    bonus = 0.0
    if x.counts.shape[0] > 0:
        x.counts[s, a] += 1
        if x.rule == COUNT_BONUS:
            bonus = scheduled(x.scale, x.clock[0]) / math.sqrt(x.counts[s, a])
    x.clock[0] += 1
    return bonus


def step_size(x: Practice, s: int, a: int) -> float:
    """α, or α n(s, a)^-p with n the visits so far, this one included (S&B section 2.5)."""
    if x.power == 0.0:
        return x.alpha
    return x.alpha * math.pow(x.counts[s, a], -x.power)


def explore(x: Practice, q: Any, s: int, mask: Any, rng: Any) -> int:
    """An action for s: with probability ε any allowed one, else what the rule chooses by q.

    GREEDY and COUNT_BONUS choose the largest value, UCB the largest upper bound, BOLTZMANN draws
    in proportion to e^(q / τ). Draws one uniform for the coin, one for a tie or a draw.
    """
    t = x.clock[0]
    if random(rng) < scheduled(x.epsilon, t):
        return uniform(len(q), mask, rng)
    if x.rule == BOLTZMANN:
        return _boltzmann(q, scheduled(x.scale, t), mask, rng)
    if x.rule == UCB:
        _upper_bounds(q, x.counts[s], scheduled(x.scale, t), x.scratch_row)
        return random_argmax(x.scratch_row, mask, rng)
    return random_argmax(q, mask, rng)


def policy(x: Practice, q: Any, s: int, mask: Any, out: Any) -> None:
    """Writes π(·|s), the probabilities of what `explore` would choose now, into `out` [A]."""
    t, values = x.clock[0], q
    if x.rule == BOLTZMANN:
        _softmax(q, scheduled(x.scale, t), mask, out)
    else:
        if x.rule == UCB:
            _upper_bounds(q, x.counts[s], scheduled(x.scale, t), out)
            values = out
        _share_among_best(values, mask, out)
    epsilon = scheduled(x.epsilon, t)
    share = epsilon / n_allowed(len(q), mask)
    for a in range(len(q)):
        if mask is None or mask[a]:
            out[a] = (1.0 - epsilon) * out[a] + share


def expected_value(x: Practice, q: Any, s: int, mask: Any, taken: int, value: float) -> float:
    """Σ_a π(a|s) q(a) of what `explore` would choose, where `value` stands for q of `taken`.

    Of no action where `taken` is -1. This is a node of a tree backup (S&B section 7.5).
    """
    pi, expected = x.scratch_row, 0.0
    policy(x, q, s, mask, pi)
    for a in range(len(q)):
        expected += pi[a] * (value if a == taken else q[a])
    return expected


def _largest(q: Any, mask: Any) -> float:
    top = -math.inf
    for a in range(len(q)):
        if (mask is None or mask[a]) and q[a] > top:
            top = q[a]
    return top


def _share_among_best(q: Any, mask: Any, out: Any) -> None:
    """The probabilities of `random_argmax`; `out` may be `q`."""
    top, ties = _largest(q, mask), 0
    for a in range(len(q)):
        ties += 1 if (mask is None or mask[a]) and q[a] == top else 0
    share = 1.0 / ties
    for a in range(len(q)):
        out[a] = share if (mask is None or mask[a]) and q[a] == top else 0.0


def _softmax(q: Any, temperature: float, mask: Any, out: Any) -> None:
    """e^(q / τ) over its sum, masked actions 0; the largest value is taken off first."""
    top, total = _largest(q, mask), 0.0
    for a in range(len(q)):
        out[a] = 0.0
        if mask is None or mask[a]:
            out[a] = math.exp((q[a] - top) / temperature)
            total += out[a]
    for a in range(len(q)):
        out[a] /= total


def _boltzmann(q: Any, temperature: float, mask: Any, rng: Any) -> int:
    """An action drawn in proportion to e^(q / τ), by inverse CDF from one uniform."""
    top, total = _largest(q, mask), 0.0
    for a in range(len(q)):
        if mask is None or mask[a]:
            total += math.exp((q[a] - top) / temperature)
    u, last = random(rng) * total, 0
    for a in range(len(q)):
        if mask is None or mask[a]:
            weight = math.exp((q[a] - top) / temperature)
            if weight > 0.0:
                last = a
            u -= weight
            if u < 0.0:
                break
    return last


def _upper_bounds(q: Any, n: Any, c: float, out: Any) -> None:
    """Q(s, a) + c √(ln n(s) / n(s, a)), infinite where a was never tried (S&B eq. 2.10)."""
    total = 0
    for a in range(len(n)):
        total += n[a]
    for a in range(len(n)):
        out[a] = q[a] + c * math.sqrt(math.log(total) / n[a]) if n[a] > 0 else math.inf
