"""n-step TD: prediction from n steps at a time (Sutton & Barto, 2nd ed., section 7.1).

    G_{t:t+n} = R_{t+1} + γ R_{t+2} + ... + γ^(n-1) R_{t+n} + γ^n V(S_{t+n})        (eq. 7.1)
    V(S_t) ← V(S_t) + α [ G_{t:t+n} - V(S_t) ]                                      (eq. 7.2)

At the end of an episode fewer rewards are left, and nothing follows them. Differs from the box: a
time limit is not an end, and there V(S_T) follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from registry.contracts import Transition
from registry.seeding import Stream, generator
from rlsuite_agents.functional.practice import Practice
from rlsuite_agents.functional.prediction import follow, move_towards
from rlsuite_agents.functional.recent import Recent, drop, place, recent_of, remember
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
from rlsuite_agents.parts.settings import check_count
from rlsuite_agents.parts.spaces import table_sizes
from rlsuite_agents.parts.table_loop import Rules

__all__ = ["NStepTD", "NStepTDConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class NStepTDConfig:
    """Settings of `NStepTD`."""

    policy: str = "uniform"  # π: "uniform", or a NumPy file with an array `pi` [S, A]
    n: int = 4  # rewards in a target, at least 1
    step_size: float | str = 0.1  # α, in (0, 1], or "power(p)": n(s)^-p
    gamma: float = 1.0  # γ, in [0, 1]
    initial_value: float = 0.0  # V before the first update

    def __post_init__(self) -> None:
        check_prediction(self)
        check_count(self, "n", 1)


DEFAULT = NStepTDConfig()


class Tables(NamedTuple):
    """What the rules read and write."""

    v: NDArray[np.float64]  # [S]
    pi: NDArray[np.float64]  # π(a|s), [S, A]
    practice: Practice
    recent: Recent  # the steps that V has not learned from yet, at most n
    gamma: float


def act(x: Tables, s: int, mask: Any, rng: Any) -> int:
    """An action of the policy."""
    return follow(x.pi[s], mask, rng)


def observe(x: Tables, t: Transition, rng: Any) -> None:
    """An update of the state n steps back; at an end, of all that are left."""
    remember(x.recent, t.observation, t.action, t.reward)
    tail, over = 0.0 if t.terminated else x.v[t.next_observation], t.terminated or t.truncated
    while x.recent.kept[0] == len(x.recent.states) or (over and x.recent.kept[0] > 0):
        learn_oldest(x, tail)


def learn_oldest(x: Tables, g: float) -> None:
    """An update of the oldest state by the rewards that are kept and `g`, which follows them."""
    for k in range(x.recent.kept[0] - 1, -1, -1):
        g = x.recent.rewards[place(x.recent, k)] + x.gamma * g
    move_towards(x, x.recent.states[x.recent.oldest[0]], g)
    drop(x.recent)


class NStepTD:
    """n-step TD on a table: the values of a fixed policy; `Discrete` observations and actions."""

    id = "rlsuite/NStepTD-v0"
    config_type = NStepTDConfig
    rules = Rules(act, observe)
    learn, learn_many = learn, classmethod(learn_many)
    predict, action_probabilities = predict, action_probabilities
    save, load = save_tables, load_tables(restore_recent)
    state_values = state_values

    def __init__(
        self, env: Any, config: NStepTDConfig = DEFAULT, *, seed: int, device: str = "cpu"
    ) -> None:
        shape = table_sizes(env, device, "NStepTD")
        self.env, self.config, self.num_timesteps = env, config, 0
        self.rng, self.prediction_rng = (generator(seed, Stream.AGENT, k) for k in (0, 1))
        self.session = Session(env, seed)
        self.tables = Tables(
            v=np.full(shape[0], float(config.initial_value)),
            pi=read_policy(env, config, "policy", shape),
            practice=state_practice(config, shape[0]),
            recent=recent_of(config.n),
            gamma=float(config.gamma),
        )

    def act(self, observation: Any, mask: Any, rng: np.random.Generator) -> tuple[int, Any]:
        """An action of the policy."""
        return int(act(self.tables, observation, mask, rng)), {}

    def observe(self, transition: Transition) -> None:
        """Learns from one transition and the n - 1 before it."""
        observe(self.tables, transition, self.rng)
