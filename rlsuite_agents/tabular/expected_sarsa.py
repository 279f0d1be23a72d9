"""Expected Sarsa: TD control by the mean over the next action (van Seijen et al. 2009).

    Q(S, A) ← Q(S, A) + α [ R + γ Σ_a π(a|S') Q(S', a) - Q(S, A) ]                  (eq. 6.9)

Sutton & Barto, 2nd ed., section 6.6, on policy: π is the policy that explores, as it is when the
step is observed.

Differs from the book: ties among greedy actions are drawn evenly while sampling; at a time limit
the target bootstraps, because S' is not terminal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from registry.contracts import Transition
from registry.seeding import Stream, generator
from rlsuite_agents.functional.practice import Practice, explore, policy, step_size, visit
from rlsuite_agents.functional.td import discount_of, expected_sarsa_error_row
from rlsuite_agents.loops import Session, learn, learn_many
from rlsuite_agents.parts.agent_checkpoint import copy_of_q, load_tables, save_tables
from rlsuite_agents.parts.practice import action_probabilities, check_practice, practice_of
from rlsuite_agents.parts.predict import predict
from rlsuite_agents.parts.spaces import table_sizes
from rlsuite_agents.parts.table_loop import Rules

__all__ = ["ExpectedSarsa", "ExpectedSarsaConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ExpectedSarsaConfig:
    """Settings of `ExpectedSarsa`."""

    step_size: float | str = 0.5  # α, in (0, 1], or "power(p)": n(s, a)^-p
    epsilon: float | str = 0.1  # ε, the probability of any action, in [0, 1], or its schedule
    gamma: float = 1.0  # γ, in [0, 1]
    exploration: str = "greedy"  # else: "greedy", "boltzmann(τ)", "ucb(c)", "count_bonus(β)"
    initial_value: float = 0.0  # Q before the first update; high values are optimistic

    def __post_init__(self) -> None:
        check_practice(self)


DEFAULT = ExpectedSarsaConfig()


class Tables(NamedTuple):
    """What the rules read and write."""

    q: NDArray[np.float64]  # [S, A]
    practice: Practice
    gamma: float


def act(x: Tables, s: int, mask: Any, rng: Any) -> int:
    """An exploring action."""
    return explore(x.practice, x.q[s], s, mask, rng)


def observe(x: Tables, t: Transition, rng: Any) -> None:
    """One update; draws nothing."""
    s, a, s_next = t.observation, t.action, t.next_observation
    r = t.reward + visit(x.practice, s, a)
    discount, pi_next = discount_of(x.gamma, t.terminated), x.practice.scratch_row
    if not t.terminated:
        policy(x.practice, x.q[s_next], s_next, t.next_mask, pi_next)
    delta = expected_sarsa_error_row(x.q[s], a, r, discount, x.q[s_next], pi_next)
    x.q[s, a] += step_size(x.practice, s, a) * delta


class ExpectedSarsa:
    """Expected Sarsa on a table: observations and actions are `Discrete`."""

    id = "rlsuite/ExpectedSarsa-v0"
    config_type = ExpectedSarsaConfig
    rules = Rules(act, observe)
    learn, learn_many = learn, classmethod(learn_many)
    predict, action_probabilities = predict, action_probabilities
    save, load = save_tables, load_tables()
    q = property(copy_of_q)

    def __init__(
        self, env: Any, config: ExpectedSarsaConfig = DEFAULT, *, seed: int, device: str = "cpu"
    ) -> None:
        n_states, n_actions = table_sizes(env, device, "ExpectedSarsa")
        self.env, self.config, self.num_timesteps = env, config, 0
        self.rng, self.prediction_rng = (generator(seed, Stream.AGENT, k) for k in (0, 1))
        self.session = Session(env, seed)
        self.tables = Tables(
            q=np.full((n_states, n_actions), float(config.initial_value)),
            practice=practice_of(config, n_states, n_actions),
            gamma=float(config.gamma),
        )

    def act(self, observation: Any, mask: Any, rng: np.random.Generator) -> tuple[int, Any]:
        """An exploring action."""
        return act(self.tables, observation, mask, rng), {}

    def observe(self, transition: Transition) -> None:
        """Learns from one transition."""
        observe(self.tables, transition, self.rng)
