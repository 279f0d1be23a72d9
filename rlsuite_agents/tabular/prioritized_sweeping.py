"""Prioritized sweeping: planning goes first where it changes most (S&B 2nd ed., section 8.4).

    δ(s, a) = r̂(s, a) + γ Σ_s' p̂(s'|s, a) max_b Q(s', b) - Q(s, a)

r̂ and p̂ are the means and frequencies of all that was seen. After each step, and for all pairs that
lead into a state whose values have changed, (s, a) is queued with priority |δ| if that exceeds θ.
Then n times the first pair of the queue is taken out and updated: Q(s, a) ← Q(s, a) + δ(s, a).

Differs from the box: expected updates by counts, as the text after it describes, where the box
replays the last outcome of a deterministic world (Moore & Atkeson 1993 and Peng & Williams 1993 use
counts too); so there is no step size. The priority of a predecessor is its whole error. The maximum
is over the actions allowed in s', and untried ones keep their initial value. A time limit is not an
end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from registry.contracts import Transition
from registry.seeding import Stream, generator
from rlsuite_agents.functional.experience import note_mask
from rlsuite_agents.functional.exploration import greedy
from rlsuite_agents.functional.outcome_counts import OutcomeCounts, count, expected_error, no_counts
from rlsuite_agents.functional.practice import Practice, explore, visit
from rlsuite_agents.functional.priority_queue import Queue, empty_queue, pop, push
from rlsuite_agents.loops import Session, learn, learn_many
from rlsuite_agents.parts.agent_checkpoint import copy_of_q, load_tables, save_tables
from rlsuite_agents.parts.checkpoint import Checkpoint
from rlsuite_agents.parts.practice import action_probabilities, check_practice, practice_of
from rlsuite_agents.parts.predict import predict
from rlsuite_agents.parts.settings import check_count, check_range
from rlsuite_agents.parts.spaces import table_sizes
from rlsuite_agents.parts.table_loop import Rules
from rlsuite_agents.parts.tables import restore_arrays

__all__ = ["PrioritizedSweeping", "PrioritizedSweepingConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PrioritizedSweepingConfig:
    """Settings of `PrioritizedSweeping`."""

    planning_steps: int = 5  # n, updates after each step, at least 1
    threshold: float = 1e-4  # θ, the error that is let be, at least 0
    max_outcomes: int = 32  # different next states that one pair may have
    epsilon: float | str = 0.1  # ε, the probability of any action, in [0, 1], or its schedule
    gamma: float = 1.0  # γ, in [0, 1]
    exploration: str = "greedy"  # else: "greedy", "boltzmann(τ)", "ucb(c)", "count_bonus(β)"
    initial_value: float = 0.0  # Q before the first update; high values are optimistic

    def __post_init__(self) -> None:
        check_practice(self)
        check_count(self, "planning_steps", 1)
        check_range(self, "threshold", "[0, inf)")
        check_count(self, "max_outcomes", 1)


DEFAULT = PrioritizedSweepingConfig()


class Tables(NamedTuple):
    """What the rules read and write."""

    q: NDArray[np.float64]  # [S, A]
    values: NDArray[np.float64]  # max_b Q(s, b) over the allowed actions, [S]
    model: OutcomeCounts
    queue: Queue  # of pairs s A + a
    practice: Practice
    bonus: NDArray[np.float64]  # of the last visit, [S, A]
    gamma: float
    threshold: float
    planning_steps: int


def act(x: Tables, s: int, mask: Any, rng: Any) -> int:
    """An exploring action."""
    return explore(x.practice, x.q[s], s, mask, rng)


def observe(x: Tables, t: Transition, rng: Any) -> None:
    """Counts one step, then updates the pairs of the largest errors."""
    s, a, s_next, n_actions = t.observation, t.action, t.next_observation, x.q.shape[1]
    x.bonus[s, a] = visit(x.practice, s, a)
    count(x.model, s, a, t.reward, s_next, t.terminated)
    note_mask(x.model.allowed, s_next, t.next_mask)
    refresh(x, s_next)
    consider(x, s * n_actions + a)
    for _ in range(x.planning_steps):
        if x.queue.n_queued[0] == 0:
            break
        pair = pop(x.queue)
        s, a = pair // n_actions, pair % n_actions
        x.q[s, a] += expected_error(x, s, a)
        refresh(x, s)


def refresh(x: Tables, s: int) -> None:
    """Brings max_b Q(s, b) up to date, and considers what leads to s if that has changed."""
    best = x.q[s, greedy(x.q[s], x.model.allowed[s])]
    if best == x.values[s]:
        return
    x.values[s] = best
    slot, room, n_actions = x.model.latest_into[s], x.model.outcome.shape[2], x.q.shape[1]
    while slot >= 0:
        pair = slot // room
        consider(x, pair)
        slot = x.model.earlier_into[pair // n_actions, pair % n_actions, slot % room]


def consider(x: Tables, pair: int) -> None:
    """Queues the pair s A + a if its error exceeds θ."""
    s, a = pair // x.q.shape[1], pair % x.q.shape[1]
    error = abs(expected_error(x, s, a))
    if error > x.threshold:
        push(x.queue, pair, error)


def restore(x: Tables, checkpoint: Checkpoint) -> None:
    """Fills the tables and checks indices, which compiled rules do not."""
    n_states, n_actions, room = x.model.outcome.shape
    pairs = n_states * n_actions
    limits = {"outcome": n_states, "n_outcomes": room + 1, "heap": pairs, "place": pairs}
    limits |= {"n_queued": pairs + 1, "latest_into": pairs * room, "earlier_into": pairs * room}
    restore_arrays(x, checkpoint, index_below=limits)


class PrioritizedSweeping:
    """Prioritized sweeping on a table: observations and actions are `Discrete`."""

    id = "rlsuite/PrioritizedSweeping-v0"
    config_type = PrioritizedSweepingConfig
    rules = Rules(act, observe)
    learn, learn_many = learn, classmethod(learn_many)
    predict, action_probabilities = predict, action_probabilities
    save, load = save_tables, load_tables(restore)
    q = property(copy_of_q)

    def __init__(
        self,
        env: Any,
        config: PrioritizedSweepingConfig = DEFAULT,
        *,
        seed: int,
        device: str = "cpu",
    ) -> None:
        n_states, n_actions = table_sizes(env, device, "PrioritizedSweeping")
        self.env, self.config, self.num_timesteps = env, config, 0
        self.rng, self.prediction_rng = (generator(seed, Stream.AGENT, k) for k in (0, 1))
        self.session = Session(env, seed)
        self.tables = Tables(
            q=np.full((n_states, n_actions), float(config.initial_value)),
            values=np.full(n_states, float(config.initial_value)),
            model=no_counts(n_states, n_actions, config.max_outcomes),
            queue=empty_queue(n_states * n_actions),
            practice=practice_of(config, n_states, n_actions),
            bonus=np.zeros((n_states, n_actions)),
            gamma=float(config.gamma),
            threshold=float(config.threshold),
            planning_steps=config.planning_steps,
        )

    def act(self, observation: Any, mask: Any, rng: np.random.Generator) -> tuple[int, Any]:
        """An exploring action."""
        return act(self.tables, observation, mask, rng), {}

    def observe(self, transition: Transition) -> None:
        """Learns from one transition, and plans."""
        observe(self.tables, transition, self.rng)
