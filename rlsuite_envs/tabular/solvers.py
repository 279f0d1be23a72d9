"""Exact sums over a finite MDP: backward induction and policy evaluation with a time limit.

Notation: S states, A actions, K outcomes of an action, H steps. A time limit is a cut-off worth
nothing, v_H = 0, and nothing is worth anything after a terminal outcome:

    q_t(s, a) = Σ_k p(k|s, a) [ r_k + γ (1 - terminal_k) v_{t+1}(s'_k) ]     (S&B 2nd ed., eq. 3.20)

Memory is linear in the number of states; no [S, S] matrix is ever made.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from registry.contracts import Model

__all__ = [
    "Chain",
    "Dynamics",
    "action_values",
    "backward_induction",
    "chain_of_actions",
    "chain_of_policy",
    "evaluate_clocked_policy",
    "evaluate_with_limit",
    "greedy_actions",
    "lowest_best",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

TIE = 1e-12
"""Action values this close, relative to the largest one, are equal: their order is rounding."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Dynamics:
    """A model, summed up as far as the backup allows.

    Attributes:
        reward: Σ_k p_k r_k, shape [S, A].
        weight: p_k (1 - terminal_k), shape [S, A, K].
        next_state: s'_k, shape [S, A, K].
        ending: Whether the action can end the episode, shape [S, A].
    """

    reward: Floats
    weight: Floats
    next_state: Ints
    ending: Bools

    @classmethod
    def of(cls, model: Model) -> Dynamics:
        """Sums up a model."""
        return cls(
            reward=np.einsum("sak,sak->sa", model.probability, model.reward),
            weight=np.where(model.terminal, 0.0, model.probability),
            next_state=model.next_state,
            ending=np.any(model.terminal & (model.probability > 0), axis=-1),
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Chain:
    """What is left of the dynamics once a stationary policy is fixed; M ways out of each state.

    Attributes:
        reward: Expected reward of a step, shape [S].
        weight: Probability of each way on, shape [S, M]; what is missing to 1 ends the episode.
        next_state: Where each way leads, shape [S, M].
        ending: Whether a step can end the episode, shape [S].
    """

    reward: Floats
    weight: Floats
    next_state: Ints
    ending: Bools


def chain_of_policy(dynamics: Dynamics, pi: Floats) -> Chain:
    """The chain under π(a|s), shape [S, A]."""
    states = len(pi)
    return Chain(
        reward=np.einsum("sa,sa->s", pi, dynamics.reward),
        weight=(pi[:, :, None] * dynamics.weight).reshape(states, -1),
        next_state=dynamics.next_state.reshape(states, -1),
        ending=np.any((pi > 0) & dynamics.ending, axis=-1),
    )


def chain_of_actions(dynamics: Dynamics, actions: NDArray[np.integer]) -> Chain:
    """The chain under a deterministic policy, `actions` [S]."""
    every = np.arange(len(actions))
    return Chain(
        reward=dynamics.reward[every, actions],
        weight=dynamics.weight[every, actions],
        next_state=dynamics.next_state[every, actions],
        ending=dynamics.ending[every, actions],
    )


def action_values(dynamics: Dynamics, v: Floats, gamma: float) -> Floats:
    """q(s, a) where the next state is worth v [S]: shape [S, A]."""
    return dynamics.reward + gamma * np.einsum(
        "sak,sak->sa", dynamics.weight, v[dynamics.next_state]
    )


def lowest_best(q: Floats, tolerance: float = TIE) -> Ints:
    """The first of the best actions of each state [S]; values within rounding count as equal."""
    slack = tolerance * max(1.0, float(np.abs(q).max()))
    return (q >= q.max(axis=-1, keepdims=True) - slack).argmax(axis=-1)


def backward_induction(dynamics: Dynamics, horizon: int, gamma: float) -> Floats:
    """v_t(s) = max_a q_t(s, a), the optimal values with t steps gone: shape [H + 1, S], last row 0.

    Once two successive rows are the same bits, so are all earlier ones, and they are copied.
    """
    values = np.zeros((horizon + 1, len(dynamics.reward)))
    for t in range(horizon - 1, -1, -1):
        action_values(dynamics, values[t + 1], gamma).max(axis=-1, out=values[t])
        if np.array_equal(values[t], values[t + 1]):
            values[:t] = values[t]
            break
    return values


def greedy_actions(dynamics: Dynamics, values: Floats, gamma: float) -> Ints:
    """The optimal action at every time, shape [H, S], from the `values` of backward induction."""
    horizon = len(values) - 1
    actions = np.zeros((horizon, values.shape[1]), np.int64)
    for t in range(horizon - 1, -1, -1):
        actions[t] = lowest_best(action_values(dynamics, values[t + 1], gamma))
        if t + 2 <= horizon and np.array_equal(values[t + 1], values[t + 2]):
            actions[:t] = actions[t]
            break
    return actions


def evaluate_with_limit(chain: Chain, horizon: int, gamma: float) -> Floats:
    """v_0^π(s) of a stationary policy over H steps, shape [S]."""
    v = np.zeros_like(chain.reward)
    for _ in range(horizon):
        before = v
        v = chain.reward + gamma * np.einsum("sm,sm->s", chain.weight, v[chain.next_state])
        if np.array_equal(v, before):
            break
    return v


def evaluate_clocked_policy(dynamics: Dynamics, pi: Floats, gamma: float) -> Floats:
    """v_0^π(s) of a policy that depends on the time, `pi` [H, S, A]: shape [S]."""
    v = np.zeros(len(dynamics.reward))
    for pi_t in pi[::-1]:
        v = np.einsum("sa,sa->s", pi_t, action_values(dynamics, v, gamma))
    return v
