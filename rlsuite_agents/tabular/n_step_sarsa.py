"""n-step Sarsa: on-policy control from n rewards at a time (Sutton & Barto, 2nd ed., section 7.2).

    G_{t:t+n} = R_{t+1} + γ R_{t+2} + ... + γ^(n-1) R_{t+n} + γ^n Q(S_{t+n}, A_{t+n})   (eq. 7.4)
    Q(S_t, A_t) ← Q(S_t, A_t) + α [ G_{t:t+n} - Q(S_t, A_t) ]                           (eq. 7.5)

With n = 1 it is Sarsa, bit for bit. Differs from the box: ties among greedy actions are drawn
evenly while sampling; at a time limit Q(S_T, A') follows the rewards that are left, because S_T is
not terminal: A' is drawn, but not played.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from registry.contracts import Transition
from registry.seeding import Stream, generator
from rlsuite_agents.functional.practice import Practice, explore, step_size, visit
from rlsuite_agents.functional.recent import Recent, drop, place, recent_of, remember
from rlsuite_agents.loops import Session, learn, learn_many
from rlsuite_agents.parts.agent_checkpoint import copy_of_q, load_tables, save_tables
from rlsuite_agents.parts.checkpoint import Checkpoint
from rlsuite_agents.parts.memory import restore_recent
from rlsuite_agents.parts.practice import action_probabilities, check_practice, practice_of
from rlsuite_agents.parts.predict import predict
from rlsuite_agents.parts.settings import check_count
from rlsuite_agents.parts.spaces import table_sizes
from rlsuite_agents.parts.table_loop import Rules

__all__ = ["NStepSarsa", "NStepSarsaConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class NStepSarsaConfig:
    """Settings of `NStepSarsa`."""

    n: int = 4  # rewards in a target, at least 1
    step_size: float | str = 0.2  # α, in (0, 1], or "power(p)": n(s, a)^-p
    epsilon: float | str = 0.1  # ε, the probability of any action, in [0, 1], or its schedule
    gamma: float = 1.0  # γ, in [0, 1]
    exploration: str = "greedy"  # else: "greedy", "boltzmann(τ)", "ucb(c)", "count_bonus(β)"
    initial_value: float = 0.0  # Q before the first update; high values are optimistic

    def __post_init__(self) -> None:
        check_practice(self)
        check_count(self, "n", 1)


DEFAULT = NStepSarsaConfig()


class Tables(NamedTuple):
    """What the rules read and write."""

    q: NDArray[np.float64]  # [S, A]
    planned: NDArray[np.int64]  # [1]: A', to be played next, or -1
    recent: Recent  # the steps that Q has not learned from yet, at most n
    practice: Practice
    gamma: float


def act(x: Tables, s: int, mask: Any, rng: Any) -> int:
    """The A' that `observe` has drawn for this state, else an exploring action."""
    planned, x.planned[0] = x.planned[0], -1
    if planned >= 0 and (mask is None or mask[planned]):
        return planned
    return explore(x.practice, x.q[s], s, mask, rng)


def observe(x: Tables, t: Transition, rng: Any) -> None:
    """Learns from the step n steps back, at an end from all that are left; draws A' before."""
    s, a, s_next = t.observation, t.action, t.next_observation
    remember(x.recent, s, a, t.reward + visit(x.practice, s, a))
    tail, a_next = 0.0, 0
    if not t.terminated:
        a_next = explore(x.practice, x.q[s_next], s_next, t.next_mask, rng)
        tail = x.q[s_next, a_next]
    over = t.terminated or t.truncated
    while x.recent.kept[0] == len(x.recent.states) or (over and x.recent.kept[0] > 0):
        learn_oldest(x, tail)
    x.planned[0] = -1 if over else a_next


def learn_oldest(x: Tables, g: float) -> None:
    """An update of the oldest pair, by the rewards that are kept and `g`, which follows them."""
    for k in range(x.recent.kept[0] - 1, -1, -1):
        g = x.recent.rewards[place(x.recent, k)] + x.gamma * g
    s, a = x.recent.states[x.recent.oldest[0]], x.recent.actions[x.recent.oldest[0]]
    x.q[s, a] += step_size(x.practice, s, a) * (g - x.q[s, a])
    drop(x.recent)


def restore(x: Tables, checkpoint: Checkpoint) -> None:
    """Fills the tables and checks indices, which compiled rules do not."""
    restore_recent(x, checkpoint, planned=x.q.shape[1])


class NStepSarsa:
    """n-step Sarsa on a table: observations and actions are `Discrete`."""

    id = "rlsuite/NStepSarsa-v0"
    config_type = NStepSarsaConfig
    rules = Rules(act, observe)
    learn, learn_many = learn, classmethod(learn_many)
    predict, action_probabilities = predict, action_probabilities
    save, load = save_tables, load_tables(restore)
    q = property(copy_of_q)

    def __init__(
        self, env: Any, config: NStepSarsaConfig = DEFAULT, *, seed: int, device: str = "cpu"
    ) -> None:
        shape = table_sizes(env, device, "NStepSarsa")
        self.env, self.config, self.num_timesteps = env, config, 0
        self.rng, self.prediction_rng = (generator(seed, Stream.AGENT, k) for k in (0, 1))
        self.session = Session(env, seed)
        self.tables = Tables(
            q=np.full(shape, float(config.initial_value)),
            planned=np.full(1, -1),
            recent=recent_of(config.n),
            practice=practice_of(config, *shape),
            gamma=float(config.gamma),
        )

    def act(self, observation: Any, mask: Any, rng: np.random.Generator) -> tuple[int, Any]:
        """The A' that `observe` has drawn for this state, else an exploring action."""
        return int(act(self.tables, observation, mask, rng)), {}

    def observe(self, transition: Transition) -> None:
        """Learns from one transition; draws A' from the agent's own generator, unless at an end."""
        observe(self.tables, transition, self.rng)
