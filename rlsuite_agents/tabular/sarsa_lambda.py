"""Sarsa(λ): on-policy control with eligibility traces (Rummery & Niranjan 1994).

    δ = R + γ Q(S', A') - Q(S, A),    Q(s, a) ← Q(s, a) + δ e(s, a) for all s, a

Sutton & Barto, 2nd ed., sections 12.5 and 12.7, for a table. Traces e fade by γ λ at every step,
and then, with `traces`, that of the pair (S, A) becomes

    "accumulating"  e(S, A) + α
    "replacing"     α                                                      (Singh & Sutton 1996)
    "dutch"         e(S, A) + α (1 - e(S, A)): true online Sarsa(λ), with δ and Q(S, A) corrected
                    for what the last update did to Q(S, A)            (van Seijen et al. 2016)

With λ = 0 it is Sarsa, bit for bit. Differs from the book: α is a factor of the trace instead of
the update, so that it may fall with the visits of the pair; a trace below 10⁻¹² is dropped; ties
among greedy actions are drawn evenly while sampling; at a time limit the target bootstraps, because
S' is not terminal: A' is drawn, but not played.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from registry.contracts import Transition
from registry.seeding import Stream, generator
from rlsuite_agents.functional.practice import Practice, explore, step_size, visit
from rlsuite_agents.functional.td import discount_of, td_error
from rlsuite_agents.functional.traces import DUTCH, KINDS, Traces, mark, spread, traces_of
from rlsuite_agents.loops import Session, learn, learn_many
from rlsuite_agents.parts.agent_checkpoint import copy_of_q, load_tables, save_tables
from rlsuite_agents.parts.checkpoint import Checkpoint
from rlsuite_agents.parts.memory import restore_traces
from rlsuite_agents.parts.practice import action_probabilities, check_practice, practice_of
from rlsuite_agents.parts.predict import predict
from rlsuite_agents.parts.settings import check_choice, check_range
from rlsuite_agents.parts.spaces import table_sizes
from rlsuite_agents.parts.table_loop import Rules

__all__ = ["SarsaLambda", "SarsaLambdaConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SarsaLambdaConfig:
    """Settings of `SarsaLambda`."""

    lambda_: float = 0.8  # λ, in [0, 1]: 0 is Sarsa
    traces: Literal["accumulating", "replacing", "dutch"] = "dutch"  # what a visit does to its own
    step_size: float | str = 0.2  # α, in (0, 1], or "power(p)": n(s, a)^-p
    epsilon: float | str = 0.1  # ε, the probability of any action, in [0, 1], or its schedule
    gamma: float = 1.0  # γ, in [0, 1]
    exploration: str = "greedy"  # else: "greedy", "boltzmann(τ)", "ucb(c)", "count_bonus(β)"
    initial_value: float = 0.0  # Q before the first update; high values are optimistic

    def __post_init__(self) -> None:
        check_practice(self)
        check_range(self, "lambda_", "[0, 1]")
        check_choice(self, "traces", KINDS)


DEFAULT = SarsaLambdaConfig()


class Tables(NamedTuple):
    """What the rules read and write."""

    q: NDArray[np.float64]  # [S, A]
    planned: NDArray[np.int64]  # [1]: A', to be played next, or -1
    traces: Traces
    q_old: NDArray[np.float64]  # [1]: Q(S, A) before the last update
    practice: Practice
    gamma: float


def act(x: Tables, s: int, mask: Any, rng: Any) -> int:
    """The A' that `observe` has drawn for this state, else an exploring action."""
    planned, x.planned[0] = x.planned[0], -1
    if planned >= 0 and (mask is None or mask[planned]):
        return planned
    return explore(x.practice, x.q[s], s, mask, rng)


def observe(x: Tables, t: Transition, rng: Any) -> None:
    """One update of every pair with a trace; draws A', unless at an end."""
    s, a, s_next = t.observation, t.action, t.next_observation
    r, a_next = t.reward + visit(x.practice, s, a), 0
    if not t.terminated:
        a_next = explore(x.practice, x.q[s_next], s_next, t.next_mask, rng)
    q, q_next, alpha = x.q[s, a], x.q[s_next, a_next], step_size(x.practice, s, a)
    q_old = x.q_old[0] if x.traces.kind == DUTCH and x.traces.n_listed[0] > 0 else q
    delta = td_error(q_old, r, discount_of(x.gamma, t.terminated), q_next)
    over = t.terminated or t.truncated
    mark(x.traces, s, a, alpha)
    spread(x.traces, x.q, delta, 0.0 if over else x.traces.decay)
    x.q[s, a] += alpha * (q_old - q)
    x.q_old[0] = q_next
    x.planned[0] = -1 if over else a_next


def restore(x: Tables, checkpoint: Checkpoint) -> None:
    """Fills the tables and checks indices, which compiled rules do not."""
    restore_traces(x, checkpoint, planned=x.q.shape[1])


class SarsaLambda:
    """Sarsa(λ) on a table: observations and actions are `Discrete`."""

    id = "rlsuite/SarsaLambda-v0"
    config_type = SarsaLambdaConfig
    rules = Rules(act, observe)
    learn, learn_many = learn, classmethod(learn_many)
    predict, action_probabilities = predict, action_probabilities
    save, load = save_tables, load_tables(restore)
    q = property(copy_of_q)

    def __init__(
        self, env: Any, config: SarsaLambdaConfig = DEFAULT, *, seed: int, device: str = "cpu"
    ) -> None:
        shape = table_sizes(env, device, "SarsaLambda")
        self.env, self.config, self.num_timesteps = env, config, 0
        self.rng, self.prediction_rng = (generator(seed, Stream.AGENT, k) for k in (0, 1))
        self.session = Session(env, seed)
        self.tables = Tables(
            q=np.full(shape, float(config.initial_value)),
            planned=np.full(1, -1),
            traces=traces_of(config, shape),
            q_old=np.zeros(1),
            practice=practice_of(config, *shape),
            gamma=float(config.gamma),
        )

    def act(self, observation: Any, mask: Any, rng: np.random.Generator) -> tuple[int, Any]:
        """The A' that `observe` has drawn for this state, else an exploring action."""
        return int(act(self.tables, observation, mask, rng)), {}

    def observe(self, transition: Transition) -> None:
        """Learns from one transition; draws A' from the agent's own generator, unless at an end."""
        observe(self.tables, transition, self.rng)
