"""Monte-Carlo prediction, first-visit and every-visit (Sutton & Barto, 2nd ed., section 5.1).

    V(S_t) ← V(S_t) + α [ G_t - V(S_t) ],   t = 0, ..., T - 1                       (eq. 6.1)

α = 1 / n, n counting the returns of the state, is the mean of them all, as in the box. Differs from
the box: states are updated in the order in which they came, which a constant α tells apart; at a
time limit what follows is estimated by V, because the task goes on there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from registry.contracts import Transition
from registry.seeding import Stream, generator
from rlsuite_agents.functional.practice import Practice
from rlsuite_agents.functional.prediction import follow, move_towards
from rlsuite_agents.functional.recent import Recent, recent_of, remember
from rlsuite_agents.loops import Session, learn, learn_many
from rlsuite_agents.parts.agent_checkpoint import load_tables, save_tables
from rlsuite_agents.parts.memory import restore_recent
from rlsuite_agents.parts.planner import read_policy
from rlsuite_agents.parts.predict import predict
from rlsuite_agents.parts.prediction import (
    action_probabilities,
    check_prediction,
    state_practice,
    state_values,
)
from rlsuite_agents.parts.settings import check_choice, check_count
from rlsuite_agents.parts.spaces import table_sizes
from rlsuite_agents.parts.table_loop import Rules

__all__ = ["MonteCarloPrediction", "MonteCarloPredictionConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class MonteCarloPredictionConfig:
    """Settings of `MonteCarloPrediction`."""

    policy: str = "uniform"  # π: "uniform", or a NumPy file with an array `pi` [S, A]
    visits: Literal["first", "every"] = "first"  # of a state in an episode: which are learned from
    step_size: float | str = "power(1)"  # α, in (0, 1], or "power(p)": n(s)^-p
    gamma: float = 1.0  # γ, in [0, 1]
    initial_value: float = 0.0  # V before the first update
    longest_episode: int = 10_000  # a longer one is learned from in parts of so many steps

    def __post_init__(self) -> None:
        check_prediction(self)
        check_count(self, "longest_episode", 1)
        check_choice(self, "visits", ("first", "every"))


DEFAULT = MonteCarloPredictionConfig()


class Tables(NamedTuple):
    """What the rules read and write; L is `longest_episode`."""

    v: NDArray[np.float64]  # [S]
    pi: NDArray[np.float64]  # π(a|s), [S, A]
    practice: Practice
    recent: Recent  # the running episode, at most L steps
    scratch_returns: NDArray[np.float64]  # G_0, G_1, ..., [L]
    scratch_first: NDArray[np.int64]  # the step of the first visit, [S]
    first_visits: bool
    gamma: float


def act(x: Tables, s: int, mask: Any, rng: Any) -> int:
    """An action of the policy."""
    return follow(x.pi[s], mask, rng)


def observe(x: Tables, t: Transition, rng: Any) -> None:
    """Keeps the step, and learns at the end of the episode."""
    remember(x.recent, t.observation, t.action, t.reward)
    if t.terminated or t.truncated or x.recent.kept[0] == len(x.recent.states):
        learn_episode(x, 0.0 if t.terminated else x.v[t.next_observation])


def learn_episode(x: Tables, g: float) -> None:
    """An update for each visit, or for each first one; `g` is what follows the last step."""
    recent, length = x.recent, x.recent.kept[0]
    for t in range(length - 1, -1, -1):
        g = recent.rewards[t] + x.gamma * g
        x.scratch_returns[t] = g
        x.scratch_first[recent.states[t]] = t  # what is written last is the first visit
    for t in range(length):
        if not x.first_visits or x.scratch_first[recent.states[t]] == t:
            move_towards(x, recent.states[t], x.scratch_returns[t])
    recent.kept[0] = 0


class MonteCarloPrediction:
    """Monte-Carlo prediction on a table: observations and actions are `Discrete`."""

    id = "rlsuite/MonteCarloPrediction-v0"
    config_type = MonteCarloPredictionConfig
    rules = Rules(act, observe)
    learn, learn_many = learn, classmethod(learn_many)
    predict, action_probabilities = predict, action_probabilities
    save, load = save_tables, load_tables(restore_recent)
    state_values = state_values

    def __init__(
        self,
        env: Any,
        config: MonteCarloPredictionConfig = DEFAULT,
        *,
        seed: int,
        device: str = "cpu",
    ) -> None:
        shape = table_sizes(env, device, "MonteCarloPrediction")
        self.env, self.config, self.num_timesteps = env, config, 0
        self.rng, self.prediction_rng = (generator(seed, Stream.AGENT, k) for k in (0, 1))
        self.session = Session(env, seed)
        self.tables = Tables(
            v=np.full(shape[0], float(config.initial_value)),
            pi=read_policy(env, config, "policy", shape),
            practice=state_practice(config, shape[0]),
            recent=recent_of(config.longest_episode),
            scratch_returns=np.zeros(config.longest_episode),
            scratch_first=np.zeros(shape[0], np.int64),
            first_visits=config.visits == "first",
            gamma=float(config.gamma),
        )

    def act(self, observation: Any, mask: Any, rng: np.random.Generator) -> tuple[int, Any]:
        """An action of the policy."""
        return int(act(self.tables, observation, mask, rng)), {}

    def observe(self, transition: Transition) -> None:
        """Keeps one transition; learns from the episode where it is over."""
        observe(self.tables, transition, self.rng)
