"""Value iteration (Bellman 1957; Sutton & Barto, 2nd ed., section 4.4).

    v(s) ← max_a [ r(s, a) + γ Σ_s' p(s'|s, a) v(s') ]                            (eq. 4.10)

Differs from the box: with a time limit the sweeps are backward induction, and the policy looks at
the clock; without one they are in place, in alternating directions, from a lower bound of v*. Among
equally good actions one is taken that leads towards the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from registry.contracts import Callback
from registry.seeding import Stream, generator
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
    save_planner,
    state_values,
)

__all__ = ["ValueIteration", "ValueIterationConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ValueIterationConfig:
    """Settings of `ValueIteration`."""

    gamma: float = 1.0  # γ, in [0, 1]
    horizon: int | Literal["limit", "none"] = "limit"  # "limit": the environment's; or H
    tolerance: float = 1e-12  # without a limit: the error that is small enough, in (0, 1]

    def __post_init__(self) -> None:
        check_planning(self)


DEFAULT = ValueIterationConfig()


class ValueIteration:
    """The optimal policy of a model, by sweeps over its states."""

    id = "rlsuite/ValueIteration-v0"
    config_type = ValueIterationConfig

    def __init__(
        self, env: Any, config: ValueIterationConfig = DEFAULT, *, seed: int, device: str = "cpu"
    ) -> None:
        self.env, self.config, self.num_timesteps = env, config, 0
        self.rng, self.prediction_rng = (generator(seed, Stream.AGENT, k) for k in (0, 1))
        self.session = Session(env, seed)  # never begun: planning takes no step
        self.plan = make_plan(env, config, device, "ValueIteration")

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
        """One backup of every state; with a time limit, with one more step left."""
        self.plan.sweep(np.ones((1, self.plan.shape[1])), 0.0)

    def learn(self, total_timesteps: int, callback: Callback | None = None) -> ValueIteration:
        """Makes `total_timesteps` further sweeps; those after convergence cost nothing."""
        return learn_by_sweeps(self, total_timesteps, callback)

    def pi_rows(self, states: Any, left: Any) -> NDArray[np.float64]:
        """The greedy policy in these states, so many steps before the limit: [B, A]."""
        return np.eye(self.plan.shape[1])[self.plan.actions(states, left)]

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
        save_planner(self, path)

    @classmethod
    def load(
        cls, path: str | PathLike[str], env: Any = None, device: str = "cpu"
    ) -> ValueIteration:
        """Reads a checkpoint; without `env` the agent can predict, but not plan."""
        return load_planner(cls, path, env, device)[0]
