"""TD(0): prediction from one step to the next (Sutton 1988; Sutton & Barto, 2nd ed., section 6.1).

    V(S) ← V(S) + α [ R + γ V(S') - V(S) ]                                          (eq. 6.2)

Differs from the box: at a time limit the target bootstraps, because S' is not terminal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from registry.contracts import Transition
from registry.seeding import Stream, generator
from rlsuite_agents.functional.practice import Practice
from rlsuite_agents.functional.prediction import follow, next_step_size
from rlsuite_agents.functional.td import discount_of, td_error
from rlsuite_agents.loops import Session, learn, learn_many
from rlsuite_agents.parts.agent_checkpoint import load_tables, save_tables
from rlsuite_agents.parts.planner import read_policy
from rlsuite_agents.parts.predict import predict
from rlsuite_agents.parts.prediction import (
    action_probabilities,
    check_prediction,
    state_practice,
    state_values,
)
from rlsuite_agents.parts.spaces import table_sizes
from rlsuite_agents.parts.table_loop import Rules

__all__ = ["TD0", "TD0Config"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TD0Config:
    """Settings of `TD0`."""

    policy: str = "uniform"  # π: "uniform", or a NumPy file with an array `pi` [S, A]
    step_size: float | str = 0.1  # α, in (0, 1], or "power(p)": n(s)^-p
    gamma: float = 1.0  # γ, in [0, 1]
    initial_value: float = 0.0  # V before the first update

    def __post_init__(self) -> None:
        check_prediction(self)


DEFAULT = TD0Config()


class Tables(NamedTuple):
    """What the rules read and write."""

    v: NDArray[np.float64]  # [S]
    pi: NDArray[np.float64]  # π(a|s), [S, A]
    practice: Practice
    gamma: float


def act(x: Tables, s: int, mask: Any, rng: Any) -> int:
    """An action of the policy."""
    return follow(x.pi[s], mask, rng)


def observe(x: Tables, t: Transition, rng: Any) -> None:
    """One update."""
    s = t.observation
    discount = discount_of(x.gamma, t.terminated)
    delta = td_error(x.v[s], t.reward, discount, x.v[t.next_observation])
    x.v[s] += next_step_size(x, s) * delta


class TD0:
    """TD(0) on a table: the values of a fixed policy; observations and actions are `Discrete`."""

    id = "rlsuite/TD0-v0"
    config_type = TD0Config
    rules = Rules(act, observe)
    learn, learn_many = learn, classmethod(learn_many)
    predict, action_probabilities = predict, action_probabilities
    save, load = save_tables, load_tables()
    state_values = state_values

    def __init__(
        self, env: Any, config: TD0Config = DEFAULT, *, seed: int, device: str = "cpu"
    ) -> None:
        shape = table_sizes(env, device, "TD0")
        self.env, self.config, self.num_timesteps = env, config, 0
        self.rng, self.prediction_rng = (generator(seed, Stream.AGENT, k) for k in (0, 1))
        self.session = Session(env, seed)
        self.tables = Tables(
            v=np.full(shape[0], float(config.initial_value)),
            pi=read_policy(env, config, "policy", shape),
            practice=state_practice(config, shape[0]),
            gamma=float(config.gamma),
        )

    def act(self, observation: Any, mask: Any, rng: np.random.Generator) -> tuple[int, Any]:
        """An action of the policy."""
        return int(act(self.tables, observation, mask, rng)), {}

    def observe(self, transition: Transition) -> None:
        """Learns from one transition."""
        observe(self.tables, transition, self.rng)
