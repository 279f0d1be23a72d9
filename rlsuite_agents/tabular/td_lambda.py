"""TD(λ): prediction with eligibility traces (Sutton 1988; Sutton & Barto, 2nd ed., chapter 12).

    δ = R + γ V(S') - V(S),    V(s) ← V(s) + δ z(s) for all s                  (eqs. 12.6, 12.7)

where z fades by γ λ at every step and then, with `traces`, z(S) becomes

    "accumulating"  z(S) + α                                                       (eq. 12.5)
    "replacing"     α                                       (Singh & Sutton 1996; eq. 12.12)
    "dutch"         z(S) + α (1 - z(S)): true online TD(λ), with δ and V(S) corrected for what the
                    last update did to V(S)           (van Seijen et al. 2016; eq. 12.11)

Differs from the book: α is a factor of the trace instead of the update, so that it may fall with
the visits of the state that the trace is of (van Seijen & Sutton 2014). Only traces other than 0
are kept up, and one below 10⁻¹² is dropped. At a time limit the last target bootstraps, because S'
is not terminal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from registry.contracts import Transition
from registry.seeding import Stream, generator
from rlsuite_agents.functional.practice import Practice
from rlsuite_agents.functional.prediction import follow, next_step_size
from rlsuite_agents.functional.td import discount_of, td_error
from rlsuite_agents.functional.traces import DUTCH, KINDS, Traces, mark, spread, traces_of
from rlsuite_agents.loops import Session, learn, learn_many
from rlsuite_agents.parts.agent_checkpoint import load_tables, save_tables
from rlsuite_agents.parts.memory import restore_traces
from rlsuite_agents.parts.planner import read_policy
from rlsuite_agents.parts.predict import predict
from rlsuite_agents.parts.prediction import (
    action_probabilities,
    check_prediction,
    state_practice,
    state_values,
)
from rlsuite_agents.parts.settings import check_choice, check_range
from rlsuite_agents.parts.spaces import table_sizes
from rlsuite_agents.parts.table_loop import Rules

__all__ = ["TDLambda", "TDLambdaConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TDLambdaConfig:
    """Settings of `TDLambda`."""

    policy: str = "uniform"  # π: "uniform", or a NumPy file with an array `pi` [S, A]
    lambda_: float = 0.8  # λ, in [0, 1]: 0 is TD(0)
    traces: Literal["accumulating", "replacing", "dutch"] = "dutch"  # what a visit does to its own
    step_size: float | str = 0.1  # α, in (0, 1], or "power(p)": n(s)^-p
    gamma: float = 1.0  # γ, in [0, 1]
    initial_value: float = 0.0  # V before the first update

    def __post_init__(self) -> None:
        check_prediction(self)
        check_range(self, "lambda_", "[0, 1]")
        check_choice(self, "traces", KINDS)


DEFAULT = TDLambdaConfig()


class Tables(NamedTuple):
    """What the rules read and write."""

    v: NDArray[np.float64]  # [S]
    pi: NDArray[np.float64]  # π(a|s), [S, A]
    practice: Practice
    traces: Traces  # of states: [S, 1]
    v_old: NDArray[np.float64]  # [1]: what V(S) was before the last update
    gamma: float


def act(x: Tables, s: int, mask: Any, rng: Any) -> int:
    """An action of the policy."""
    return follow(x.pi[s], mask, rng)


def observe(x: Tables, t: Transition, rng: Any) -> None:
    """One update of every state with a trace; at an end all traces vanish."""
    s, v, v_next = t.observation, x.v[t.observation], x.v[t.next_observation]
    v_old = x.v_old[0] if x.traces.kind == DUTCH and x.traces.n_listed[0] > 0 else v
    alpha = next_step_size(x, s)
    delta = td_error(v_old, t.reward, discount_of(x.gamma, t.terminated), v_next)
    mark(x.traces, s, 0, alpha)
    fades = 0.0 if t.terminated or t.truncated else x.traces.decay
    spread(x.traces, x.v, delta, fades)
    x.v[s] += alpha * (v_old - v)
    x.v_old[0] = v_next


class TDLambda:
    """TD(λ) on a table: the values of a fixed policy; `Discrete` observations and actions."""

    id = "rlsuite/TDLambda-v0"
    config_type = TDLambdaConfig
    rules = Rules(act, observe)
    learn, learn_many = learn, classmethod(learn_many)
    predict, action_probabilities = predict, action_probabilities
    save, load = save_tables, load_tables(restore_traces)
    state_values = state_values

    def __init__(
        self, env: Any, config: TDLambdaConfig = DEFAULT, *, seed: int, device: str = "cpu"
    ) -> None:
        shape = table_sizes(env, device, "TDLambda")
        self.env, self.config, self.num_timesteps = env, config, 0
        self.rng, self.prediction_rng = (generator(seed, Stream.AGENT, k) for k in (0, 1))
        self.session = Session(env, seed)
        self.tables = Tables(
            v=np.full(shape[0], float(config.initial_value)),
            pi=read_policy(env, config, "policy", shape),
            practice=state_practice(config, shape[0]),
            traces=traces_of(config, (shape[0], 1)),
            v_old=np.zeros(1),
            gamma=float(config.gamma),
        )

    def act(self, observation: Any, mask: Any, rng: np.random.Generator) -> tuple[int, Any]:
        """An action of the policy."""
        return int(act(self.tables, observation, mask, rng)), {}

    def observe(self, transition: Transition) -> None:
        """Learns from one transition, for all states with a trace."""
        observe(self.tables, transition, self.rng)
