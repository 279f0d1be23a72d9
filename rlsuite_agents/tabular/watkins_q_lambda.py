"""Watkins's Q(λ): Q-learning with eligibility traces (Watkins 1989).

    δ = R + γ max_a Q(S', a) - Q(S, A),    Q(s, a) ← Q(s, a) + δ e(s, a) for all s, a

Sutton & Barto, 2nd ed., section 12.10. Traces e fade by γ λ at every step, and all of them are cut
before a step whose action is not greedy, because what follows it says nothing of the greedy policy.
Then that of the pair (S, A) rises to α ("replacing") or by α ("accumulating").

With λ = 0 it is Q-learning, bit for bit. Differs from the book: whether an action is greedy is seen
by the Q that it was chosen by, after the update of the step before, and one that ties for the
largest value is; α is a factor of the trace instead of the update, so that it may fall with the
visits of the pair; a trace below 10⁻¹² is dropped; ties among greedy actions are drawn evenly while
sampling; at a time limit the target bootstraps, because S' is not terminal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from registry.contracts import Transition
from registry.seeding import Stream, generator
from rlsuite_agents.functional.exploration import greedy
from rlsuite_agents.functional.practice import Practice, explore, step_size, visit
from rlsuite_agents.functional.td import discount_of, td_error
from rlsuite_agents.functional.traces import KINDS, Traces, mark, spread, traces_of
from rlsuite_agents.loops import Session, learn, learn_many
from rlsuite_agents.parts.agent_checkpoint import copy_of_q, load_tables, save_tables
from rlsuite_agents.parts.memory import restore_traces
from rlsuite_agents.parts.practice import action_probabilities, check_practice, practice_of
from rlsuite_agents.parts.predict import predict
from rlsuite_agents.parts.settings import check_choice, check_range
from rlsuite_agents.parts.spaces import table_sizes
from rlsuite_agents.parts.table_loop import Rules

__all__ = ["WatkinsQLambda", "WatkinsQLambdaConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class WatkinsQLambdaConfig:
    """Settings of `WatkinsQLambda`."""

    lambda_: float = 0.8  # λ, in [0, 1]: 0 is Q-learning
    traces: Literal["accumulating", "replacing"] = "replacing"  # what a visit does to its own
    step_size: float | str = 0.5  # α, in (0, 1], or "power(p)": n(s, a)^-p
    epsilon: float | str = 0.1  # ε, the probability of any action, in [0, 1], or its schedule
    gamma: float = 1.0  # γ, in [0, 1]
    exploration: str = "greedy"  # else: "greedy", "boltzmann(τ)", "ucb(c)", "count_bonus(β)"
    initial_value: float = 0.0  # Q before the first update; high values are optimistic

    def __post_init__(self) -> None:
        check_practice(self)
        check_range(self, "lambda_", "[0, 1]")
        check_choice(self, "traces", KINDS[:2])


DEFAULT = WatkinsQLambdaConfig()


class Tables(NamedTuple):
    """What the rules read and write."""

    q: NDArray[np.float64]  # [S, A]
    traces: Traces
    practice: Practice
    gamma: float


def act(x: Tables, s: int, mask: Any, rng: Any) -> int:
    """An exploring action."""
    return explore(x.practice, x.q[s], s, mask, rng)


def observe(x: Tables, t: Transition, rng: Any) -> None:
    """One update of every pair with a trace, of one alone after an exploring action."""
    s, a, s_next = t.observation, t.action, t.next_observation
    r = t.reward + visit(x.practice, s, a)
    if x.q[s, a] < x.q[s, greedy(x.q[s], t.mask)]:
        spread(x.traces, x.q, 0.0, 0.0)
    best = x.q[s_next, greedy(x.q[s_next], t.next_mask)]
    delta = td_error(x.q[s, a], r, discount_of(x.gamma, t.terminated), best)
    mark(x.traces, s, a, step_size(x.practice, s, a))
    spread(x.traces, x.q, delta, 0.0 if t.terminated or t.truncated else x.traces.decay)


class WatkinsQLambda:
    """Watkins's Q(λ) on a table: observations and actions are `Discrete`."""

    id = "rlsuite/WatkinsQLambda-v0"
    config_type = WatkinsQLambdaConfig
    rules = Rules(act, observe)
    learn, learn_many = learn, classmethod(learn_many)
    predict, action_probabilities = predict, action_probabilities
    save, load = save_tables, load_tables(restore_traces)
    q = property(copy_of_q)

    def __init__(
        self, env: Any, config: WatkinsQLambdaConfig = DEFAULT, *, seed: int, device: str = "cpu"
    ) -> None:
        shape = table_sizes(env, device, "WatkinsQLambda")
        self.env, self.config, self.num_timesteps = env, config, 0
        self.rng, self.prediction_rng = (generator(seed, Stream.AGENT, k) for k in (0, 1))
        self.session = Session(env, seed)
        self.tables = Tables(
            q=np.full(shape, float(config.initial_value)),
            traces=traces_of(config, shape),
            practice=practice_of(config, *shape),
            gamma=float(config.gamma),
        )

    def act(self, observation: Any, mask: Any, rng: np.random.Generator) -> tuple[int, Any]:
        """An exploring action."""
        return int(act(self.tables, observation, mask, rng)), {}

    def observe(self, transition: Transition) -> None:
        """Learns from one transition, for all pairs with a trace."""
        observe(self.tables, transition, self.rng)
