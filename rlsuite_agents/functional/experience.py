"""What a table agent remembers of a world that it takes for deterministic, and learns from again.

The rules of Dyna (S&B 2nd ed., section 8.2): they read and write `LastOutcomes`, and also run
compiled.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from registry.contracts import Transition
from rlsuite_agents.functional.exploration import n_allowed
from rlsuite_agents.functional.practice import step_size
from rlsuite_agents.functional.td import discount_of, q_learning_error_row

__all__ = ["LastOutcomes", "no_outcomes", "note_mask", "remember", "replay"]


class LastOutcomes(NamedTuple):
    """Model(s, a): what followed when a was last taken in s."""

    rewards: Any  # R, [S, A]
    follows: Any  # S', int64 [S, A]
    ends: Any  # whether the task ended there, bool [S, A]
    tried: Any  # whether a was ever taken in s, bool [S, A]
    allowed: Any  # the mask that was last seen in s, bool [S, A]
    seen: Any  # the states in which an action was taken, in that order, int64 [S]
    n_seen: Any  # how many, int64 [1]


def no_outcomes(n_states: int, n_actions: int) -> LastOutcomes:
    """Nothing seen yet: every action leads back to its state, with a reward of 0."""
    pairs = n_states, n_actions
    return LastOutcomes(
        rewards=np.zeros(pairs),
        follows=np.repeat(np.arange(n_states)[:, None], n_actions, axis=1),
        ends=np.zeros(pairs, bool),
        tried=np.zeros(pairs, bool),
        allowed=np.ones(pairs, bool),
        seen=np.zeros(n_states, np.int64),
        n_seen=np.zeros(1, np.int64),
    )


def note_mask(allowed: Any, s: int, mask: Any) -> None:
    """Keeps which actions are allowed in s, where a mask says it."""
    if mask is not None:
        for a in range(allowed.shape[1]):
            allowed[s, a] = mask[a] != 0


def remember(x: LastOutcomes, t: Transition, r: float) -> None:
    """Model(S, A) ← R, S', with the mask of S'; R is handed over, as it is learned from."""
    s, a = t.observation, t.action
    if not x.tried[s, a]:
        if n_allowed(x.tried.shape[1], x.tried[s]) == 0:
            x.seen[x.n_seen[0]] = s
            x.n_seen[0] += 1
        x.tried[s, a] = True
    x.rewards[s, a], x.follows[s, a], x.ends[s, a] = r, t.next_observation, t.terminated
    note_mask(x.allowed, t.next_observation, t.next_mask)


def replay(x: Any, s: int, a: int, bonus: float) -> None:
    """Q(s, a) ← Q(s, a) + α [ R + bonus + γ max_b Q(S', b) - Q(s, a) ], R and S' remembered.

    `x` holds `q`, `model`, `practice` and `gamma`. A step size that falls with the visits is that
    of a first visit where there was none.
    """
    m, alpha = x.model, x.practice.alpha
    s_next, discount = m.follows[s, a], discount_of(x.gamma, m.ends[s, a])
    r = m.rewards[s, a] + bonus
    delta = q_learning_error_row(x.q[s], a, r, discount, x.q[s_next], m.allowed[s_next])
    x.q[s, a] += (step_size(x.practice, s, a) if m.tried[s, a] else alpha) * delta
