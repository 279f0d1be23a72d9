"""Dyna-Q: Q-learning, and more of it on remembered steps (Sutton 1990; S&B 2nd ed., section 8.2).

    Q(S, A) ← Q(S, A) + α [ R + γ max_a Q(S', a) - Q(S, A) ]      after a step, and then n times
                                                                  for an S, A, R, S' of the model

The model is the box's: it holds what followed when A was last taken in S, as if the world were
deterministic.

Differs from the box: ties among greedy actions are drawn evenly while sampling; the maximum is over
the actions allowed in S'; at a time limit the target bootstraps, because S' is not terminal. With a
bonus for what was seldom tried, the model holds the reward with the bonus of its last visit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from registry.contracts import Transition
from registry.seeding import Stream, generator
from rlsuite_agents.functional.chance import random
from rlsuite_agents.functional.experience import LastOutcomes, no_outcomes, remember, replay
from rlsuite_agents.functional.exploration import uniform
from rlsuite_agents.functional.practice import Practice, explore, visit
from rlsuite_agents.loops import Session, learn, learn_many
from rlsuite_agents.parts.agent_checkpoint import copy_of_q, load_tables, save_tables
from rlsuite_agents.parts.checkpoint import Checkpoint
from rlsuite_agents.parts.practice import action_probabilities, check_practice, practice_of
from rlsuite_agents.parts.predict import predict
from rlsuite_agents.parts.settings import check_count
from rlsuite_agents.parts.spaces import table_sizes
from rlsuite_agents.parts.table_loop import Rules
from rlsuite_agents.parts.tables import restore_arrays

__all__ = ["DynaQ", "DynaQConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class DynaQConfig:
    """Settings of `DynaQ`."""

    planning_steps: int = 5  # n, updates by the model after each step; 0 is Q-learning
    step_size: float | str = 0.5  # α, in (0, 1], or "power(p)": n(s, a)^-p
    epsilon: float | str = 0.1  # ε, the probability of any action, in [0, 1], or its schedule
    gamma: float = 1.0  # γ, in [0, 1]
    exploration: str = "greedy"  # else: "greedy", "boltzmann(τ)", "ucb(c)", "count_bonus(β)"
    initial_value: float = 0.0  # Q before the first update; high values are optimistic

    def __post_init__(self) -> None:
        check_practice(self)
        check_count(self, "planning_steps", 0)


DEFAULT = DynaQConfig()


class Tables(NamedTuple):
    """What the rules read and write."""

    q: NDArray[np.float64]  # [S, A]
    model: LastOutcomes
    practice: Practice
    gamma: float
    planning_steps: int


def act(x: Tables, s: int, mask: Any, rng: Any) -> int:
    """An exploring action."""
    return explore(x.practice, x.q[s], s, mask, rng)


def observe(x: Tables, t: Transition, rng: Any) -> None:
    """One update by what just happened, n by what happened before."""
    s, a = t.observation, t.action
    remember(x.model, t, t.reward + visit(x.practice, s, a))
    replay(x, s, a, 0.0)
    for _ in range(x.planning_steps):
        s = x.model.seen[int(random(rng) * x.model.n_seen[0])]
        replay(x, s, uniform(x.q.shape[1], x.model.tried[s], rng), 0.0)


def restore(x: Tables, checkpoint: Checkpoint) -> None:
    """Fills the tables and checks indices, which compiled rules do not."""
    n = len(x.q)
    restore_arrays(x, checkpoint, {"follows": n, "seen": n, "n_seen": n + 1})


class DynaQ:
    """Dyna-Q on a table: observations and actions are `Discrete`."""

    id = "rlsuite/DynaQ-v0"
    config_type = DynaQConfig
    rules = Rules(act, observe)
    learn, learn_many = learn, classmethod(learn_many)
    predict, action_probabilities = predict, action_probabilities
    save, load = save_tables, load_tables(restore)
    q = property(copy_of_q)

    def __init__(
        self, env: Any, config: DynaQConfig = DEFAULT, *, seed: int, device: str = "cpu"
    ) -> None:
        n_states, n_actions = table_sizes(env, device, "DynaQ")
        self.env, self.config, self.num_timesteps = env, config, 0
        self.rng, self.prediction_rng = (generator(seed, Stream.AGENT, k) for k in (0, 1))
        self.session = Session(env, seed)
        self.tables = Tables(
            q=np.full((n_states, n_actions), float(config.initial_value)),
            model=no_outcomes(n_states, n_actions),
            practice=practice_of(config, n_states, n_actions),
            gamma=float(config.gamma),
            planning_steps=config.planning_steps,
        )

    def act(self, observation: Any, mask: Any, rng: np.random.Generator) -> tuple[int, Any]:
        """An exploring action."""
        return act(self.tables, observation, mask, rng), {}

    def observe(self, transition: Transition) -> None:
        """Learns from one transition, and from remembered ones that it draws by itself."""
        observe(self.tables, transition, self.rng)
