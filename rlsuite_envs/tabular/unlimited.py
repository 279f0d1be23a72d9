"""Exact values of a finite MDP without a time limit, the traps of γ = 1 included.

With γ < 1 a policy's value is one sparse linear system, and policy iteration ends at the optimum.
With γ = 1 a policy may never end. Then I - P_π is singular, and what it is worth follows from the
classes of states that it never leaves: found by reachability, never by solving for a huge number.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.errors import OracleError
from rlsuite_envs.tabular.solvers import (
    Bools,
    Chain,
    Dynamics,
    Floats,
    Ints,
    action_values,
    chain_of_actions,
    lowest_best,
)

__all__ = ["evaluate_unlimited", "reachable_states", "solve_unlimited"]

MAX_SWEEPS = 50_000
"""Of value iteration, and two more for each state."""

MAX_IMPROVEMENTS = 1_000
"""Of policy iteration, which seldom needs more than twenty."""

SETTLED = 4e-15
"""Value iteration ends where a sweep changes the values by no more than this, relatively."""

SHRINKING = 0.9
"""Changes that shrink less than this in a window of sweeps would not settle in `MAX_SWEEPS`."""

CONSERVING = 1e-9
"""Actions within this of the optimal value, relatively, are conserving: q(s, a) = v*(s)."""


def evaluate_unlimited(chain: Chain, start: Floats, gamma: float) -> Floats:
    """v^π(s) without a time limit, shape [S].

    With γ = 1 it is -∞ (or +∞) in states from which π may get into a class of states that it never
    leaves and that costs (or pays) for ever, and 0 in a class without rewards. States that cannot
    be reached from `start` [S] are NaN then.

    Raises:
        OracleError: γ = 1, and the sum of rewards has no limit, finite or infinite.
    """
    if gamma < 1.0:
        return _solve(_matrix(chain) * gamma, chain.reward)
    p = _matrix(chain)
    reached = _closure(p, start > 0)
    v = np.full(len(start), np.nan)
    worth = _worth_of_closed_classes(chain, p, reached)
    known = ~np.isnan(worth)
    v[known] = worth[known]
    open_ = reached & ~known
    ends = {sign: _closure(p.T.tocsr(), known & (worth == sign * np.inf)) for sign in (-1, 1)}
    if (ends[-1] & ends[1] & reached).any():
        raise OracleError(
            "without a time limit this policy has no return: it may end up in states that pay for "
            "ever and in states that cost for ever. Give a horizon, or gamma below 1."
        )
    for sign, towards in ends.items():
        v[open_ & towards] = sign * np.inf
        open_ &= ~towards
    if open_.any():
        inside = np.flatnonzero(open_)
        v[inside] = _solve(p[inside][:, inside], chain.reward[inside])
    return v


def solve_unlimited(dynamics: Dynamics, start: Floats, gamma: float) -> tuple[Floats, Ints]:
    """v*(s) and an optimal action for each state, without a time limit: shapes [S] and [S].

    The policy attains v*: among equally good actions one is taken that leads towards the end of
    the episode, so that it does not loop for ever among them. With γ = 1, states that cannot be
    reached from `start` [S] have the value NaN and action 0.

    Raises:
        OracleError: γ = 1, and no finite optimum was found.
    """
    if gamma < 1.0:
        return _policy_iteration(dynamics, gamma)
    reached = reachable_states(dynamics, start)
    inside = np.flatnonzero(reached)
    position = np.zeros(len(start), np.int64)
    position[inside] = np.arange(len(inside))
    part = Dynamics(
        reward=dynamics.reward[inside],
        weight=dynamics.weight[inside],
        # ways of probability 0 may lead outside: their number is meaningless but valid
        next_state=position[dynamics.next_state[inside]],
        ending=dynamics.ending[inside],
    )
    v = _value_iteration(part)
    actions, exact = _improved(part, _actions_that_end(part, v))
    _check_optimal(part, v, exact)
    values, policy = np.full(len(start), np.nan), np.zeros(len(start), np.int64)
    values[inside], policy[inside] = exact, actions
    return values, policy


def reachable_states(dynamics: Dynamics | Chain, start: Floats) -> Bools:
    """States that some policy can be in after some number of steps, or that of the chain: [S]."""
    reached = start > 0
    while True:
        ways = dynamics.next_state[reached][dynamics.weight[reached] > 0]
        more = reached.copy()
        more[ways] = True
        if np.array_equal(more, reached):
            return reached
        reached = more


def _policy_iteration(dynamics: Dynamics, gamma: float) -> tuple[Floats, Ints]:
    """Howard's policy iteration (S&B §4.3). An action is left only for a strictly better one."""
    every = np.arange(len(dynamics.reward))
    actions = dynamics.reward.argmax(axis=-1)
    for _ in range(MAX_IMPROVEMENTS):
        chain = chain_of_actions(dynamics, actions)
        v = _solve(_matrix(chain) * gamma, chain.reward)
        q = action_values(dynamics, v, gamma)
        better = q.max(axis=-1) > q[every, actions] + 1e-12 * max(1.0, float(np.abs(q).max()))
        if not better.any():
            return v, lowest_best(q, 1e-11)
        actions = np.where(better, q.argmax(axis=-1), actions)
    raise OracleError(
        f"policy iteration did not settle within {MAX_IMPROVEMENTS:,} improvements at "
        f"gamma={gamma!r}: the values are too large for double precision. Scale the rewards down."
    )


def _value_iteration(dynamics: Dynamics) -> Floats:
    """Value iteration from v = 0, the fixed point that is right for gains and for costs alike."""
    v = np.zeros(len(dynamics.reward))
    # News of the end travels through all states in one window; from then on changes must shrink.
    window = len(v) + 500
    change = before = np.inf
    for sweep in range(1, MAX_SWEEPS + 2 * len(v)):
        updated = action_values(dynamics, v, 1.0).max(axis=-1)
        change, v = float(np.abs(updated - v).max()), updated
        if change <= SETTLED * max(1.0, float(np.abs(v).max())):
            return v
        if sweep % window == 0:
            if change > SHRINKING * before:
                break
            before = change
    raise OracleError(
        "without a time limit and with gamma=1 this task has no finite optimum that could be "
        f"found: after {sweep:,} sweeps the values still change by {change:.3g} a sweep "
        "(rewards that can be collected for ever, or costs that no policy can end). Give a "
        "horizon, or gamma below 1."
    )


def _actions_that_end(dynamics: Dynamics, v: Floats) -> Ints:
    """Conserving actions that lead towards the end, found backwards from it; else the first one."""
    q = action_values(dynamics, v, 1.0)
    conserving = q >= v[:, None] - CONSERVING * max(1.0, float(np.abs(v).max()))
    actions = lowest_best(q)
    ready = np.zeros(len(v), bool)
    ways = dynamics.weight > 0
    while True:
        leads = dynamics.ending | (ways & ready[dynamics.next_state]).any(axis=-1)
        usable = conserving & leads & ~ready[:, None]
        fresh = usable.any(axis=-1)
        if not fresh.any():
            return actions
        actions[fresh] = usable[fresh].argmax(axis=-1)
        ready |= fresh


def _improved(dynamics: Dynamics, actions: Ints) -> tuple[Ints, Floats]:
    """Policy iteration with γ = 1 from a policy that ends; the last policy and its exact value.

    Conserving actions are told within a tolerance, and over a long way to the end what is given
    away at each step adds up.
    """
    every = np.arange(len(actions))
    for _ in range(MAX_IMPROVEMENTS):
        v = evaluate_unlimited(chain_of_actions(dynamics, actions), np.ones(len(actions)), 1.0)
        if not np.isfinite(v).all():
            break
        q = action_values(dynamics, v, 1.0)
        scale = max(1.0, float(np.abs(v).max()))
        better = q.max(axis=-1) > q[every, actions] + 0.1 * CONSERVING * scale
        if not better.any():
            break
        actions = np.where(better, q.argmax(axis=-1), actions)
    return actions, v


def _check_optimal(dynamics: Dynamics, v: Floats, exact: Floats) -> None:
    """Holds the policy's exact value against value iteration and against Bellman's equation."""
    scale = max(1.0, float(np.abs(v).max()))
    attained = np.isfinite(exact).all() and np.abs(exact - v).max() <= 1e-6 * scale
    if attained:
        gain = action_values(dynamics, exact, 1.0).max(axis=-1) - exact
        attained = bool(gain.max() <= CONSERVING * scale)
    if not attained:
        raise OracleError(
            "without a time limit and with gamma=1 no stationary policy was found that attains "
            "the optimal values of value iteration. Give a horizon, or gamma below 1."
        )


def _worth_of_closed_classes(chain: Chain, p: Any, reached: Bools) -> Floats:
    """0 or ±∞ for states in classes that are never left, NaN for all others: shape [S]."""
    from scipy.sparse.csgraph import connected_components

    count, label = connected_components(p, directed=True, connection="strong")
    left = np.zeros(count, bool)
    left[label[chain.ending]] = True
    ways = p.tocoo()
    crossing = label[ways.row] != label[ways.col]
    left[label[ways.row[crossing]]] = True
    worth = np.full(len(reached), np.nan)
    for closed in np.unique(label[reached]):
        if not left[closed]:
            states = np.flatnonzero(label == closed)
            worth[states] = _worth_for_ever(p[states][:, states], chain.reward[states])
    return worth


def _worth_for_ever(p: Any, reward: Floats) -> float:
    """The sum of rewards in a class that is never left: 0 or ±∞, by the sign of its average."""
    if not reward.any():
        return 0.0
    if (reward <= 0).all() or (reward >= 0).all():
        return float(np.sign(reward.sum()) * np.inf)
    average = float(_stationary_distribution(p) @ reward)
    if abs(average) <= 1e-9 * float(np.abs(reward).max()):
        raise OracleError(
            "without a time limit this policy has no return: it goes round for ever among rewards "
            "that cancel out, so their sum has no limit. Give a horizon, or gamma below 1."
        )
    return float(np.sign(average) * np.inf)


def _stationary_distribution(p: Any) -> Floats:
    """μ with μ P = μ and Σ μ = 1, for an irreducible chain; shape [S]."""
    from scipy.sparse import eye, vstack

    n = p.shape[0]
    # one of the n equations follows from the others; Σ μ = 1 takes its place
    equations = vstack([(p.T - eye(n)).tocsr()[:-1], np.ones((1, n))])
    return _linear(equations, np.append(np.zeros(n - 1), 1.0))


def _matrix(chain: Chain) -> Any:
    """P_π, sparse [S, S], with the probabilities of going on alone."""
    from scipy.sparse import csr_matrix

    states, ways = chain.weight.shape
    used = chain.weight.ravel() > 0
    rows = np.repeat(np.arange(states), ways)[used]
    return csr_matrix(
        (chain.weight.ravel()[used], (rows, chain.next_state.ravel()[used])),
        shape=(states, states),
    )


def _closure(p: Any, states: Bools) -> Bools:
    """All states that the ways of a sparse matrix lead to from `states`, those included."""
    reached = states.copy()
    while True:
        more = reached | (p.T @ reached.astype(np.float64) > 0)
        if np.array_equal(more, reached):
            return reached
        reached = more


def _solve(p: Any, reward: Floats) -> Floats:
    """Solves v = reward + P v."""
    from scipy.sparse import eye

    return _linear(eye(p.shape[0]) - p, reward)


def _linear(matrix: Any, right: NDArray[np.float64]) -> Floats:
    from scipy.sparse import csc_matrix
    from scipy.sparse.linalg import spsolve

    return np.atleast_1d(spsolve(csc_matrix(matrix), right))
