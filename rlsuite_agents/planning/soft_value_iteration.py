"""Soft value iteration: control as inference (Levine 2018; Todorov 2006; Ziebart 2010).

    q(s, a) = r(s, a) + γ Σ_s' p(s'|s, a) v(s')
    v(s) ← τ log Σ_a π_ref(a|s) exp(q(s, a) / τ)
    π(a|s) = π_ref(a|s) exp((q(s, a) - v(s)) / τ)

This is the form that leaves the dynamics alone: v is the largest E[Σ r] - τ KL(π || π_ref) of any
policy. Differs from the messages of the graphical model where the dynamics are stochastic: there
τ log E[exp(v(S') / τ)] stands for E[v(S')], as if luck could be chosen (Levine 2018, section 2.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from registry.contracts import Callback
from registry.seeding import Stream, generator
from rlsuite_agents.functional.planning import boltzmann
from rlsuite_agents.loops import Session
from rlsuite_agents.parts.plan import Limited
from rlsuite_agents.parts.planner import (
    check_planning,
    clocked,
    is_converged,
    learn_by_sweeps,
    load_planner,
    make_plan,
    memoryless,
    predict_planned,
    read_policy,
    save_planner,
    state_values,
)
from rlsuite_agents.parts.settings import check_range

__all__ = ["SoftValueIteration", "SoftValueIterationConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SoftValueIterationConfig:
    """Settings of `SoftValueIteration`."""

    temperature: float = 1.0  # τ, above 0: what a nat of KL costs
    reference: str = "uniform"  # π_ref: "uniform", or a NumPy file with an array `pi` [S, A]
    gamma: float = 1.0  # γ, in [0, 1]
    horizon: int | Literal["limit", "none"] = "limit"  # "limit": the environment's; or H
    tolerance: float = 1e-12  # without a limit: the error that is small enough, in (0, 1]

    def __post_init__(self) -> None:
        check_range(self, "temperature", "(0, inf)")
        check_planning(self)


DEFAULT = SoftValueIterationConfig()


class SoftValueIteration:
    """The Boltzmann policy of soft values, by sweeps over the states of a model."""

    id = "rlsuite/SoftValueIteration-v0"
    config_type = SoftValueIterationConfig

    def __init__(
        self,
        env: Any,
        config: SoftValueIterationConfig = DEFAULT,
        *,
        seed: int,
        device: str = "cpu",
    ) -> None:
        self.env, self.config, self.num_timesteps = env, config, 0
        self.rng, self.prediction_rng = (generator(seed, Stream.AGENT, k) for k in (0, 1))
        self.session = Session(env, seed)  # never begun: planning takes no step
        self.plan = make_plan(env, config, device, "SoftValueIteration", greedy=False)
        self.reference = read_policy(env, config, "reference", self.plan.shape)

    @property
    def v(self) -> NDArray[np.float64]:
        """State values at the start of an episode, [S]."""
        return self.plan.v.copy()

    @property
    def q(self) -> NDArray[np.float64]:
        """Action values at the start of an episode, [S, A]."""
        return self.plan.q.copy()

    @property
    def converged(self) -> bool:
        """Whether further sweeps would change nothing that counts."""
        return is_converged(self)

    @property
    def memoryless(self) -> bool:
        """Whether the policy needs no clock."""
        return not isinstance(self.plan, Limited)

    def sweep(self) -> None:
        """One soft backup of every state; with a time limit, with one more step left."""
        self.plan.sweep(self.reference, self.config.temperature)

    def learn(self, total_timesteps: int, callback: Callback | None = None) -> SoftValueIteration:
        """Makes `total_timesteps` further sweeps; those after convergence cost nothing."""
        return learn_by_sweeps(self, total_timesteps, callback)

    def pi_rows(self, states: Any, left: Any) -> NDArray[np.float64]:
        """The Boltzmann policy in these states, so many steps before the limit: [B, A]."""
        q = self.plan.q_rows(states, left)
        return boltzmann(q, self.reference[states], self.config.temperature)

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
        *,
        mask: Any = None,
        rngs: Any = None,
    ) -> tuple[Any, Any]:
        """Actions for one observation or a batch; with a time limit the state is the clock."""
        return predict_planned(self, observation, state, episode_start, deterministic, mask, rngs)

    @property
    def action_probabilities(self) -> Any:
        """π(a|s), as `registry.contracts.ProbabilisticPolicy` says; only if `memoryless`."""
        return memoryless(self)

    @property
    def clocked_probabilities(self) -> Any:
        """π_t(a|s), as `registry.contracts.ClockedPolicy` says; only if not `memoryless`."""
        return clocked(self)

    def state_values(self, observations: Any = None) -> NDArray[np.float64]:
        """v(s) of a batch of observations, or of all states: [B]."""
        return state_values(self, observations)

    def save(self, path: str | PathLike[str]) -> None:
        """Writes all that is needed to go on bit for bit."""
        save_planner(self, path, {"reference": self.reference})

    @classmethod
    def load(
        cls, path: str | PathLike[str], env: Any = None, device: str = "cpu"
    ) -> SoftValueIteration:
        """Reads a checkpoint; without `env` the agent can predict, but not plan."""
        agent, found = load_planner(cls, path, env, device)
        agent.reference = found.array("reference", agent.plan.shape)
        return agent
