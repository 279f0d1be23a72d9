"""Monte-Carlo control on policy, first-visit and every-visit (Sutton & Barto, 2nd ed., 5.4).

    Q(S_t, A_t) ← Q(S_t, A_t) + α [ G_t - Q(S_t, A_t) ],   t = T - 1, ..., 0

at the end of each episode, where G_t is the whole return. α = "power(1)", one over the number of
returns of the pair, gives their mean, as in the box; a constant α forgets returns of old policies.

Differs from the box: α is constant by default; ties among greedy actions are drawn evenly while
sampling. A time limit is not an end: there Q(S_T, A') follows the last reward, with A' drawn, but
not played. An episode longer than `longest_episode` is cut into pieces that end likewise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from registry.contracts import Transition
from registry.seeding import Stream, generator
from rlsuite_agents.functional.practice import Practice, explore, visit
from rlsuite_agents.functional.recent import Recent, recent_of, remember
from rlsuite_agents.loops import Session, learn, learn_many
from rlsuite_agents.parts.agent_checkpoint import copy_of_q, load_tables, save_tables
from rlsuite_agents.parts.memory import restore_recent
from rlsuite_agents.parts.practice import action_probabilities, check_practice, practice_of
from rlsuite_agents.parts.predict import predict
from rlsuite_agents.parts.settings import check_choice, check_count
from rlsuite_agents.parts.spaces import table_sizes
from rlsuite_agents.parts.table_loop import Rules

__all__ = ["MonteCarloControl", "MonteCarloControlConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class MonteCarloControlConfig:
    """Settings of `MonteCarloControl`."""

    visits: Literal["first", "every"] = "first"  # of a pair in an episode: which are learned from
    step_size: float | str = 0.1  # α, in (0, 1], or "power(p)": n^-p, n its returns
    epsilon: float | str = 0.1  # ε, the probability of any action, in [0, 1], or its schedule
    gamma: float = 1.0  # γ, in [0, 1]
    exploration: str = "greedy"  # else: "greedy", "boltzmann(τ)", "ucb(c)", "count_bonus(β)"
    initial_value: float = 0.0  # Q before the first update; high values are optimistic
    longest_episode: int = 10_000  # a longer one is learned from in pieces of so many steps

    def __post_init__(self) -> None:
        check_practice(self)
        check_choice(self, "visits", ("first", "every"))
        check_count(self, "longest_episode", 1)


DEFAULT = MonteCarloControlConfig()


class Tables(NamedTuple):
    """What the rules read and write."""

    q: NDArray[np.float64]  # [S, A]
    recent: Recent  # the running episode
    n_returns: NDArray[np.int64]  # how many returns Q(s, a) has learned from, [S, A]
    scratch_first: NDArray[np.int64]  # the step of the first visit, [S, A]
    first_visits: bool
    practice: Practice
    gamma: float


def act(x: Tables, s: int, mask: Any, rng: Any) -> int:
    """An exploring action."""
    return explore(x.practice, x.q[s], s, mask, rng)


def observe(x: Tables, t: Transition, rng: Any) -> None:
    """Keeps the step, and learns at the end; draws A' there, unless it is terminal."""
    s, a, s_next = t.observation, t.action, t.next_observation
    remember(x.recent, s, a, t.reward + visit(x.practice, s, a))
    if t.terminated or t.truncated or x.recent.kept[0] == len(x.recent.states):
        tail = 0.0
        if not t.terminated:
            tail = x.q[s_next, explore(x.practice, x.q[s_next], s_next, t.next_mask, rng)]
        learn_episode(x, tail)


def learn_episode(x: Tables, g: float) -> None:
    """An update for each visit, or for each first one; `g` is what follows the last step."""
    recent, length = x.recent, x.recent.kept[0]
    for k in range(length - 1, -1, -1):  # what is written last is the first visit
        x.scratch_first[recent.states[k], recent.actions[k]] = k
    for k in range(length - 1, -1, -1):
        s, a = recent.states[k], recent.actions[k]
        g = recent.rewards[k] + x.gamma * g
        if not x.first_visits or x.scratch_first[s, a] == k:
            x.n_returns[s, a] += 1
            alpha = x.practice.alpha * math.pow(x.n_returns[s, a], -x.practice.power)
            x.q[s, a] += alpha * (g - x.q[s, a])
    recent.kept[0] = 0


class MonteCarloControl:
    """Monte-Carlo control on a table: observations and actions are `Discrete`."""

    id = "rlsuite/MonteCarloControl-v0"
    config_type = MonteCarloControlConfig
    rules = Rules(act, observe)
    learn, learn_many = learn, classmethod(learn_many)
    predict, action_probabilities = predict, action_probabilities
    save, load = save_tables, load_tables(restore_recent)
    q = property(copy_of_q)

    def __init__(
        self, env: Any, config: MonteCarloControlConfig = DEFAULT, *, seed: int, device: str = "cpu"
    ) -> None:
        shape = table_sizes(env, device, "MonteCarloControl")
        self.env, self.config, self.num_timesteps = env, config, 0
        self.rng, self.prediction_rng = (generator(seed, Stream.AGENT, k) for k in (0, 1))
        self.session = Session(env, seed)
        self.tables = Tables(
            q=np.full(shape, float(config.initial_value)),
            recent=recent_of(config.longest_episode),
            n_returns=np.zeros(shape, np.int64),
            scratch_first=np.zeros(shape, np.int64),
            first_visits=config.visits == "first",
            practice=practice_of(config, *shape),
            gamma=float(config.gamma),
        )

    def act(self, observation: Any, mask: Any, rng: np.random.Generator) -> tuple[int, Any]:
        """An exploring action."""
        return int(act(self.tables, observation, mask, rng)), {}

    def observe(self, transition: Transition) -> None:
        """Keeps one transition, and learns from the episode at its end."""
        observe(self.tables, transition, self.rng)
