"""Sarsa: on-policy TD control (Rummery & Niranjan 1994; Sutton & Barto, 2nd ed., section 6.4).

    Q(S, A) ← Q(S, A) + α [ R + γ Q(S', A') - Q(S, A) ]                             (eq. 6.7)

Differs from the box: ties among greedy actions are drawn evenly while sampling; at a time limit A'
is drawn as well, because S' is not terminal and the target bootstraps, but it is not played.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from registry.contracts import Transition
from registry.seeding import Stream, generator
from rlsuite_agents.functional.practice import Practice, explore, step_size, visit
from rlsuite_agents.functional.td import discount_of, sarsa_error_row
from rlsuite_agents.loops import Session, learn, learn_many
from rlsuite_agents.parts.agent_checkpoint import copy_of_q, load_tables, save_tables
from rlsuite_agents.parts.checkpoint import Checkpoint
from rlsuite_agents.parts.practice import action_probabilities, check_practice, practice_of
from rlsuite_agents.parts.predict import predict
from rlsuite_agents.parts.spaces import table_sizes
from rlsuite_agents.parts.table_loop import Rules
from rlsuite_agents.parts.tables import restore_arrays

__all__ = ["Sarsa", "SarsaConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SarsaConfig:
    """Settings of `Sarsa`."""

    step_size: float | str = 0.5  # α, in (0, 1], or "power(p)": n(s, a)^-p
    epsilon: float | str = 0.1  # ε, the probability of any action, in [0, 1], or its schedule
    gamma: float = 1.0  # γ, in [0, 1]
    exploration: str = "greedy"  # else: "greedy", "boltzmann(τ)", "ucb(c)", "count_bonus(β)"
    initial_value: float = 0.0  # Q before the first update; high values are optimistic

    def __post_init__(self) -> None:
        check_practice(self)


DEFAULT = SarsaConfig()


class Tables(NamedTuple):
    """What the rules read and write."""

    q: NDArray[np.float64]  # [S, A]
    planned: NDArray[np.int64]  # [1]: A', to be played next, or -1
    practice: Practice
    gamma: float


def act(x: Tables, s: int, mask: Any, rng: Any) -> int:
    """The A' that `observe` has drawn for this state, else an exploring action."""
    planned = x.planned[0]
    x.planned[0] = -1
    if planned >= 0 and (mask is None or mask[planned]):
        return planned
    return explore(x.practice, x.q[s], s, mask, rng)


def observe(x: Tables, t: Transition, rng: Any) -> None:
    """One update; draws A', unless at an end."""
    s, a, s_next = t.observation, t.action, t.next_observation
    r = t.reward + visit(x.practice, s, a)
    discount, a_next = discount_of(x.gamma, t.terminated), 0
    if not t.terminated:
        a_next = explore(x.practice, x.q[s_next], s_next, t.next_mask, rng)
    delta = sarsa_error_row(x.q[s], a, r, discount, x.q[s_next], a_next)
    x.q[s, a] += step_size(x.practice, s, a) * delta
    x.planned[0] = -1 if t.terminated or t.truncated else a_next


def restore(x: Tables, checkpoint: Checkpoint) -> None:
    """Fills the tables and checks indices, which compiled rules do not."""
    restore_arrays(x, checkpoint, index_below={"planned": x.q.shape[1]})


class Sarsa:
    """Sarsa on a table: observations and actions are `Discrete`."""

    id = "rlsuite/Sarsa-v0"
    config_type = SarsaConfig
    rules = Rules(act, observe)
    learn, learn_many = learn, classmethod(learn_many)
    predict, action_probabilities = predict, action_probabilities
    save, load = save_tables, load_tables(restore)
    q = property(copy_of_q)

    def __init__(
        self, env: Any, config: SarsaConfig = DEFAULT, *, seed: int, device: str = "cpu"
    ) -> None:
        n_states, n_actions = table_sizes(env, device, "Sarsa")
        self.env, self.config, self.num_timesteps = env, config, 0
        self.rng, self.prediction_rng = (generator(seed, Stream.AGENT, k) for k in (0, 1))
        self.session = Session(env, seed)
        self.tables = Tables(
            q=np.full((n_states, n_actions), float(config.initial_value)),
            planned=np.full(1, -1),
            practice=practice_of(config, n_states, n_actions),
            gamma=float(config.gamma),
        )

    def act(self, observation: Any, mask: Any, rng: np.random.Generator) -> tuple[int, Any]:
        """The A' that `observe` has drawn for this state, else an exploring action."""
        return int(act(self.tables, observation, mask, rng)), {}

    def observe(self, transition: Transition) -> None:
        """Learns from one transition; draws A' from the agent's own generator, unless at an end."""
        observe(self.tables, transition, self.rng)
