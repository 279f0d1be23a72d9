"""Iterative policy evaluation (Sutton & Barto, 2nd ed., section 4.1): prediction with a model.

    v(s) ← Σ_a π(a|s) [ r(s, a) + γ Σ_s' p(s'|s, a) v(s') ]                        (eq. 4.5)

Differs from the box: with a time limit the values are those of its first step, after one sweep for
each step; without one the sweeps in place alternate in direction and begin at a lower bound of v.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from os import PathLike
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from registry.contracts import Callback
from registry.seeding import Stream, generator
from rlsuite_agents.loops import Session
from rlsuite_agents.parts.planner import (
    check_planning,
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

__all__ = ["PolicyEvaluation", "PolicyEvaluationConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyEvaluationConfig:
    """Settings of `PolicyEvaluation`."""

    policy: str = "uniform"  # π: "uniform", or a NumPy file with an array `pi` [S, A]
    epsilon: float = 0.0  # ε, in [0, 1]: (1 - ε) π + ε / A is evaluated
    gamma: float = 1.0  # γ, in [0, 1]
    horizon: int | Literal["limit", "none"] = "none"  # "limit": the environment's; or H
    tolerance: float = 1e-12  # without a limit: the error that is small enough, in (0, 1]

    def __post_init__(self) -> None:
        check_range(self, "epsilon", "[0, 1]")
        check_planning(self)


DEFAULT = PolicyEvaluationConfig()


class PolicyEvaluation:
    """The values of a given policy, by sweeps over the states of a model. It acts by that policy.

    With an ε the policy is taken for (1 - ε) π + ε / A.
    """

    id = "rlsuite/PolicyEvaluation-v0"
    config_type = PolicyEvaluationConfig
    memoryless = True

    def __init__(
        self, env: Any, config: PolicyEvaluationConfig = DEFAULT, *, seed: int, device: str = "cpu"
    ) -> None:
        self.env, self.config, self.num_timesteps = env, config, 0
        self.rng, self.prediction_rng = (generator(seed, Stream.AGENT, k) for k in (0, 1))
        self.session = Session(env, seed)  # never begun: planning takes no step
        self.plan = make_plan(env, config, device, "PolicyEvaluation", greedy=False)
        pi = read_policy(env, config, "policy", self.plan.shape)
        self.pi = (1.0 - config.epsilon) * pi + config.epsilon / pi.shape[1]  # [S, A]

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

    def sweep(self) -> None:
        """One backup of every state; with a time limit, with one more step left."""
        self.plan.sweep(self.pi, math.inf)

    def learn(self, total_timesteps: int, callback: Callback | None = None) -> PolicyEvaluation:
        """Makes `total_timesteps` further sweeps; those after convergence cost nothing."""
        return learn_by_sweeps(self, total_timesteps, callback)

    def pi_rows(self, states: Any, left: Any) -> NDArray[np.float64]:
        """The policy in these states, whatever the time: [B, A]."""
        return self.pi[states]

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
        """Actions for one observation or a batch, and the state as it came: there is none."""
        return predict_planned(self, observation, state, episode_start, deterministic, mask, rngs)

    def action_probabilities(
        self, observations: Any, *, deterministic: bool, mask: Any = None
    ) -> NDArray[np.float64]:
        """π(a|s) of the policy that is evaluated, or its likeliest action: [B, A]."""
        stated = memoryless(self)
        return stated(observations, deterministic=deterministic, mask=mask)

    def state_values(self, observations: Any = None) -> NDArray[np.float64]:
        """v(s) of a batch of observations, or of all states: [B]."""
        return state_values(self, observations)

    def save(self, path: str | PathLike[str]) -> None:
        """Writes all that is needed to go on bit for bit."""
        save_planner(self, path, {"pi": self.pi})

    @classmethod
    def load(
        cls, path: str | PathLike[str], env: Any = None, device: str = "cpu"
    ) -> PolicyEvaluation:
        """Reads a checkpoint; without `env` the agent can predict, but not plan."""
        agent, found = load_planner(cls, path, env, device)
        agent.pi = found.array("pi", agent.plan.shape)
        return agent
