"""Monte-Carlo control off policy, by weighted importance sampling (Sutton & Barto, 2nd ed., 5.7).

    C(S_t, A_t) ← C(S_t, A_t) + W
    Q(S_t, A_t) ← Q(S_t, A_t) + W / C(S_t, A_t) [ G_t - Q(S_t, A_t) ],   t = T - 1, ..., 0
    W ← W / b(A_t|S_t), if A_t is greedy; else no earlier step is learned from

at the end of each episode that the exploring policy b played (eqs. 5.6, 5.8); the greedy policy is
what is learned. b has to give every action a chance, so that `epsilon` must stay above 0, unless
exploration is Boltzmann's. There is no step size: each return has its weight.

Differs from the box: of greedy actions the lowest index is the target's, and b's are drawn evenly.
A time limit is not an end: there max_a Q(S_T, a) follows the last reward. An episode longer than
`longest_episode` is cut into pieces that end likewise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from registry.contracts import Transition
from registry.seeding import Stream, generator
from rlsuite_agents.functional.exploration import greedy
from rlsuite_agents.functional.practice import Practice, policy, visit
from rlsuite_agents.functional.prediction import follow
from rlsuite_agents.functional.recent import Recent, recent_of, remember
from rlsuite_agents.loops import Session, learn, learn_many
from rlsuite_agents.parts.agent_checkpoint import copy_of_q, load_tables, save_tables
from rlsuite_agents.parts.memory import restore_recent
from rlsuite_agents.parts.practice import (
    action_probabilities,
    check_practice,
    check_soft,
    practice_of,
)
from rlsuite_agents.parts.predict import predict
from rlsuite_agents.parts.settings import check_count
from rlsuite_agents.parts.spaces import table_sizes
from rlsuite_agents.parts.table_loop import Rules

__all__ = ["OffPolicyMonteCarlo", "OffPolicyMonteCarloConfig"]

HEAVIEST = 1e300
"""A weight beside which no other return counts: no step before it is learned from."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OffPolicyMonteCarloConfig:
    """Settings of `OffPolicyMonteCarlo`."""

    epsilon: float | str = 0.1  # ε, the probability of any action, in [0, 1], or its schedule
    gamma: float = 1.0  # γ, in [0, 1]
    exploration: str = "greedy"  # else: "greedy", "boltzmann(τ)", "ucb(c)", "count_bonus(β)"
    initial_value: float = 0.0  # Q before the first update; high values are optimistic
    longest_episode: int = 10_000  # a longer one is learned from in pieces of so many steps

    def __post_init__(self) -> None:
        check_practice(self)
        check_count(self, "longest_episode", 1)
        check_soft(self)


USUAL = OffPolicyMonteCarloConfig()


class Tables(NamedTuple):
    """What the rules read and write."""

    q: NDArray[np.float64]  # [S, A]
    recent: Recent  # the running episode
    behaviour: NDArray[np.float64]  # b(·|S_t) of its steps, [L, A]
    weights: NDArray[np.float64]  # C(s, a), the sum of the weights so far, [S, A]
    practice: Practice
    gamma: float


def act(x: Tables, s: int, mask: Any, rng: Any) -> int:
    """An action of the exploring policy b, whose probabilities are kept with the step."""
    policy(x.practice, x.q[s], s, mask, x.behaviour[x.recent.kept[0]])
    return follow(x.behaviour[x.recent.kept[0]], mask, rng)


def observe(x: Tables, t: Transition, rng: Any) -> None:
    """Keeps the step that `act` chose, and learns at the end; draws nothing."""
    s, a, s_next = t.observation, t.action, t.next_observation
    remember(x.recent, s, a, t.reward + visit(x.practice, s, a))
    if t.terminated or t.truncated or x.recent.kept[0] == len(x.recent.states):
        best = greedy(x.q[s_next], t.next_mask)
        learn_episode(x, 0.0 if t.terminated else x.q[s_next, best])


def learn_episode(x: Tables, g: float) -> None:
    """Weighted updates, backwards until an action is not greedy; `g` follows the last step."""
    recent, weight = x.recent, 1.0
    for k in range(recent.kept[0] - 1, -1, -1):
        s, a, g = recent.states[k], recent.actions[k], recent.rewards[k] + x.gamma * g
        x.weights[s, a] += weight
        x.q[s, a] += weight / x.weights[s, a] * (g - x.q[s, a])
        if a != greedy(x.q[s], x.behaviour[k]) or weight > HEAVIEST:  # b > 0 if allowed
            break
        weight /= x.behaviour[k, a]
    recent.kept[0] = 0


class OffPolicyMonteCarlo:
    """Off-policy Monte-Carlo control on a table: observations and actions are `Discrete`."""

    id = "rlsuite/OffPolicyMonteCarlo-v0"
    config_type = OffPolicyMonteCarloConfig
    rules = Rules(act, observe)
    learn, learn_many = learn, classmethod(learn_many)
    predict, action_probabilities = predict, action_probabilities
    save, load = save_tables, load_tables(restore_recent)
    q = property(copy_of_q)

    def __init__(
        self, env: Any, config: OffPolicyMonteCarloConfig = USUAL, *, seed: int, device: str = "cpu"
    ) -> None:
        shape = table_sizes(env, device, "OffPolicyMonteCarlo")
        self.env, self.config, self.num_timesteps = env, config, 0
        self.rng, self.prediction_rng = (generator(seed, Stream.AGENT, k) for k in (0, 1))
        self.session = Session(env, seed)
        self.tables = Tables(
            q=np.full(shape, float(config.initial_value)),
            recent=recent_of(config.longest_episode),
            behaviour=np.zeros((config.longest_episode, shape[1])),
            weights=np.zeros(shape),
            practice=practice_of(config, *shape),
            gamma=float(config.gamma),
        )

    def act(self, observation: Any, mask: Any, rng: np.random.Generator) -> tuple[int, Any]:
        """An exploring action."""
        return int(act(self.tables, observation, mask, rng)), {}

    def observe(self, transition: Transition) -> None:
        """Keeps one transition, and learns from the episode at its end."""
        observe(self.tables, transition, self.rng)
