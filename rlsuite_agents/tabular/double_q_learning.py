"""Double Q-learning: one table selects, the other one values (van Hasselt 2010).

    Q₁(S, A) ← Q₁(S, A) + α [ R + γ Q₂(S', argmax_a Q₁(S', a)) - Q₁(S, A) ]        (eq. 6.10)

or the same with Q₁ and Q₂ exchanged, each with probability ½ (Sutton & Barto, 2nd ed., section
6.7). The agent acts by (Q₁ + Q₂) / 2. The maximum of one noisy table overestimates; the value that
the other table gives to the same action does not.

Differs from the box: ties among greedy actions are drawn evenly while sampling, in the argmax the
lowest index wins, among the actions allowed in S'; at a time limit the target bootstraps, because
S' is not terminal; a falling step size counts the visits of a pair, not the updates of each table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from registry.contracts import Transition
from registry.seeding import Stream, generator
from rlsuite_agents.functional.chance import random
from rlsuite_agents.functional.practice import Practice, explore, step_size, visit
from rlsuite_agents.functional.td import discount_of, double_q_learning_error_row
from rlsuite_agents.loops import Session, learn, learn_many
from rlsuite_agents.parts.agent_checkpoint import load_tables, save_tables
from rlsuite_agents.parts.practice import action_probabilities, check_practice, practice_of
from rlsuite_agents.parts.predict import predict
from rlsuite_agents.parts.spaces import table_sizes
from rlsuite_agents.parts.table_loop import Rules

__all__ = ["DoubleQLearning", "DoubleQLearningConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class DoubleQLearningConfig:
    """Settings of `DoubleQLearning`."""

    step_size: float | str = 0.5  # α, in (0, 1], or "power(p)": n(s, a)^-p
    epsilon: float | str = 0.1  # ε, the probability of any action, in [0, 1], or its schedule
    gamma: float = 1.0  # γ, in [0, 1]
    exploration: str = "greedy"  # else: "greedy", "boltzmann(τ)", "ucb(c)", "count_bonus(β)"
    initial_value: float = 0.0  # Q₁, Q₂ before the first update; high values are optimistic

    def __post_init__(self) -> None:
        check_practice(self)


DEFAULT = DoubleQLearningConfig()


class Tables(NamedTuple):
    """What the rules read and write."""

    pair: NDArray[np.float64]  # Q₁ and Q₂, [2, S, A]
    q: NDArray[np.float64]  # (Q₁ + Q₂) / 2, [S, A]
    practice: Practice
    gamma: float


def act(x: Tables, s: int, mask: Any, rng: Any) -> int:
    """An exploring action."""
    return explore(x.practice, x.q[s], s, mask, rng)


def observe(x: Tables, t: Transition, rng: Any) -> None:
    """One update of one table; draws which."""
    s, a, s_next = t.observation, t.action, t.next_observation
    r = t.reward + visit(x.practice, s, a)
    discount, alpha = discount_of(x.gamma, t.terminated), step_size(x.practice, s, a)
    k = int(random(rng) * 2)
    one, other = x.pair[k], x.pair[1 - k]
    delta = double_q_learning_error_row(
        one[s], a, r, discount, other[s_next], one[s_next], t.next_mask
    )
    one[s, a] += alpha * delta
    x.q[s, a] = (one[s, a] + other[s, a]) / 2.0


class DoubleQLearning:
    """Double Q-learning on a table: observations and actions are `Discrete`."""

    id = "rlsuite/DoubleQLearning-v0"
    config_type = DoubleQLearningConfig
    rules = Rules(act, observe)
    learn, learn_many = learn, classmethod(learn_many)
    predict, action_probabilities = predict, action_probabilities
    save, load = save_tables, load_tables()

    def __init__(
        self, env: Any, config: DoubleQLearningConfig = DEFAULT, *, seed: int, device: str = "cpu"
    ) -> None:
        n_states, n_actions = table_sizes(env, device, "DoubleQLearning")
        self.env, self.config, self.num_timesteps = env, config, 0
        self.rng, self.prediction_rng = (generator(seed, Stream.AGENT, k) for k in (0, 1))
        self.session = Session(env, seed)
        first = float(config.initial_value)
        self.tables = Tables(
            pair=np.full((2, n_states, n_actions), first),
            q=np.full((n_states, n_actions), first),
            practice=practice_of(config, n_states, n_actions),
            gamma=float(config.gamma),
        )

    @property
    def q(self) -> NDArray[np.float64]:
        """A copy of (Q₁ + Q₂) / 2, by which the agent acts: [S, A]."""
        return self.tables.q.copy()

    def act(self, observation: Any, mask: Any, rng: np.random.Generator) -> tuple[int, Any]:
        """An exploring action."""
        return act(self.tables, observation, mask, rng), {}

    def observe(self, transition: Transition) -> None:
        """Learns from one transition; draws the table from the agent's own generator."""
        observe(self.tables, transition, self.rng)
