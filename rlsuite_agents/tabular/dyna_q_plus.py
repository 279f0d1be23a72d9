"""Dyna-Q+: Dyna-Q that suspects change where it has not been for long (S&B 2nd ed., section 8.3).

    Q(s, a) ← Q(s, a) + α [ R + κ √τ + γ max_b Q(S', b) - Q(s, a) ]      n times after each step,

R and S' being what followed when a was last taken in s, τ steps ago. The update by the step itself
has no bonus: its τ is 0. As the footnote on p. 168 has it, planning considers actions that were
never tried, too, in states where some action was; their model leads back to s with a reward of 0.
Their τ is counted from the agent's first step.

Differs from the box: ties among greedy actions are drawn evenly while sampling; masked actions are
neither considered nor part of a maximum; at a time limit the target bootstraps, because S' is not
terminal. With a bonus for what was seldom tried, the model holds the reward with the bonus of its
last visit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from registry.contracts import Transition
from registry.seeding import Stream, generator
from rlsuite_agents.functional.chance import random
from rlsuite_agents.functional.experience import (
    LastOutcomes,
    no_outcomes,
    note_mask,
    remember,
    replay,
)
from rlsuite_agents.functional.exploration import uniform
from rlsuite_agents.functional.practice import Practice, explore, visit
from rlsuite_agents.loops import Session, learn, learn_many
from rlsuite_agents.parts.agent_checkpoint import copy_of_q, load_tables, save_tables
from rlsuite_agents.parts.checkpoint import Checkpoint
from rlsuite_agents.parts.practice import action_probabilities, check_practice, practice_of
from rlsuite_agents.parts.predict import predict
from rlsuite_agents.parts.settings import check_count, check_range
from rlsuite_agents.parts.spaces import table_sizes
from rlsuite_agents.parts.table_loop import Rules
from rlsuite_agents.parts.tables import restore_arrays

__all__ = ["DynaQPlus", "DynaQPlusConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class DynaQPlusConfig:
    """Settings of `DynaQPlus`."""

    planning_steps: int = 5  # n, updates by the model after each step; 0 is Q-learning
    kappa: float = 0.001  # κ, weight of the time since the last try, at least 0
    step_size: float | str = 0.5  # α, in (0, 1], or "power(p)": n(s, a)^-p
    epsilon: float | str = 0.1  # ε, the probability of any action, in [0, 1], or its schedule
    gamma: float = 0.95  # γ, in [0, 1]; with 1 the values of the bonus have no bound
    exploration: str = "greedy"  # else: "greedy", "boltzmann(τ)", "ucb(c)", "count_bonus(β)"
    initial_value: float = 0.0  # Q before the first update; high values are optimistic

    def __post_init__(self) -> None:
        check_practice(self)
        check_count(self, "planning_steps", 0)
        check_range(self, "kappa", "[0, inf)")


DEFAULT = DynaQPlusConfig()


class Tables(NamedTuple):
    """What the rules read and write."""

    q: NDArray[np.float64]  # [S, A]
    model: LastOutcomes
    practice: Practice
    last: NDArray[np.int64]  # after how many steps a was last taken in s, [S, A]
    gamma: float
    kappa: float
    planning_steps: int


def act(x: Tables, s: int, mask: Any, rng: Any) -> int:
    """An exploring action."""
    return explore(x.practice, x.q[s], s, mask, rng)


def observe(x: Tables, t: Transition, rng: Any) -> None:
    """One update by what just happened, n by what might be found where it has not been for long."""
    s, a = t.observation, t.action
    remember(x.model, t, t.reward + visit(x.practice, s, a))
    note_mask(x.model.allowed, s, t.mask)
    now = x.practice.clock[0]
    x.last[s, a] = now
    replay(x, s, a, 0.0)
    for _ in range(x.planning_steps):
        s = x.model.seen[int(random(rng) * x.model.n_seen[0])]
        a = uniform(x.q.shape[1], x.model.allowed[s], rng)
        replay(x, s, a, x.kappa * math.sqrt(now - x.last[s, a]))


def restore(x: Tables, checkpoint: Checkpoint) -> None:
    """Fills the tables and checks indices, which compiled rules do not."""
    n = len(x.q)
    restore_arrays(x, checkpoint, {"follows": n, "seen": n, "n_seen": n + 1})


class DynaQPlus:
    """Dyna-Q+ on a table: observations and actions are `Discrete`."""

    id = "rlsuite/DynaQPlus-v0"
    config_type = DynaQPlusConfig
    rules = Rules(act, observe)
    learn, learn_many = learn, classmethod(learn_many)
    predict, action_probabilities = predict, action_probabilities
    save, load = save_tables, load_tables(restore)
    q = property(copy_of_q)

    def __init__(
        self, env: Any, config: DynaQPlusConfig = DEFAULT, *, seed: int, device: str = "cpu"
    ) -> None:
        n_states, n_actions = table_sizes(env, device, "DynaQPlus")
        self.env, self.config, self.num_timesteps = env, config, 0
        self.rng, self.prediction_rng = (generator(seed, Stream.AGENT, k) for k in (0, 1))
        self.session = Session(env, seed)
        self.tables = Tables(
            q=np.full((n_states, n_actions), float(config.initial_value)),
            model=no_outcomes(n_states, n_actions),
            practice=practice_of(config, n_states, n_actions),
            last=np.zeros((n_states, n_actions), np.int64),
            gamma=float(config.gamma),
            kappa=float(config.kappa),
            planning_steps=config.planning_steps,
        )

    def act(self, observation: Any, mask: Any, rng: np.random.Generator) -> tuple[int, Any]:
        """An exploring action."""
        return act(self.tables, observation, mask, rng), {}

    def observe(self, transition: Transition) -> None:
        """Learns from one transition, and from imagined ones that it draws by itself."""
        observe(self.tables, transition, self.rng)
