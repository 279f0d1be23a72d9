"""Policy iteration (Howard 1960; Sutton & Barto, 2nd ed., section 4.3), modified or to the end.

Two phases take turns, from the uniform policy on; each pass over the states is one sweep:

    evaluation     v(s) ← Σ_a π(a|s) [ r(s, a) + γ Σ_s' p(s'|s, a) v(s') ], some times or many
    improvement    π(s) ← argmax_a [ r(s, a) + γ Σ_s' p(s'|s, a) v(s') ]

Differs from the box: an action is left only for a strictly better one, so it cannot go round among
equals (exercise 4.4), and of several better ones it takes one that leads towards the end. With a
time limit there is a policy for each step, and one sweep evaluates it exactly.
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
from rlsuite_agents.parts.plan import TIE, Limited, Unlimited
from rlsuite_agents.parts.planner import (
    check_planning,
    clocked,
    learn_by_sweeps,
    load_planner,
    make_plan,
    memoryless,
    predict_planned,
    save_planner,
    state_values,
)
from rlsuite_agents.parts.settings import check_count

__all__ = ["PolicyIteration", "PolicyIterationConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyIterationConfig:
    """Settings of `PolicyIteration`."""

    gamma: float = 1.0  # γ, in [0, 1]
    horizon: int | Literal["limit", "none"] = "limit"  # "limit": the environment's; or H
    tolerance: float = 1e-12  # without a limit: the error that is small enough, in (0, 1]
    evaluation_sweeps: int = 10  # at most so many in a row without a limit; 0: until v settles

    def __post_init__(self) -> None:
        check_count(self, "evaluation_sweeps", 0)
        check_planning(self)


DEFAULT = PolicyIterationConfig()


class PolicyIteration:
    """The optimal policy of a model, by evaluation and improvement in turn."""

    id = "rlsuite/PolicyIteration-v0"
    config_type = PolicyIterationConfig

    def __init__(
        self, env: Any, config: PolicyIterationConfig = DEFAULT, *, seed: int, device: str = "cpu"
    ) -> None:
        self.env, self.config, self.num_timesteps = env, config, 0
        self.rng, self.prediction_rng = (generator(seed, Stream.AGENT, k) for k in (0, 1))
        self.session = Session(env, seed)  # never begun: planning takes no step
        self.plan = make_plan(env, config, device, "PolicyIteration")
        self.policy = np.full(self.plan.shape[0], -1)  # actions [S]; -1 is uniform
        self.improving, self.in_a_row, self.stable = False, 0, False

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
        """Whether the values have settled and no action can be improved."""
        return self.stable

    @property
    def memoryless(self) -> bool:
        """Whether the policy needs no clock."""
        return not isinstance(self.plan, Limited)

    def sweep(self) -> None:
        """One pass over the states, to evaluate or to improve."""
        plan = self.plan
        if isinstance(plan, Limited):
            if self.improving:
                self.stable = plan.improve()
            else:
                plan.evaluate()
            self.improving = not self.improving
        elif self.improving:
            self._improve(plan)
        else:
            plan.sweep(self._pi(), math.inf)
            self.in_a_row += 1
            settled = plan.settled(self.config.tolerance)
            self.improving = settled or self.in_a_row == self.config.evaluation_sweeps

    def _improve(self, plan: Unlimited) -> None:
        best, every = plan.best, np.arange(plan.shape[0])
        slack = TIE * max(1.0, float(np.abs(plan.v).max()))
        kept = (self.policy >= 0) & (plan.q[every, self.policy] >= plan.q.max(axis=1) - slack)
        self.stable = bool(kept.all()) and plan.settled(self.config.tolerance)
        # at the end all ties are broken towards the end, not only those met on the way
        self.policy = best if self.stable else np.where(kept, self.policy, best)
        self.improving, self.in_a_row = False, 0

    def _pi(self) -> NDArray[np.float64]:
        """The present policy, [S, A] or [1, A]."""
        actions = self.plan.shape[1]
        if self.policy[0] < 0:
            return np.full((1, actions), 1.0 / actions)
        return np.eye(actions)[self.policy]

    def learn(self, total_timesteps: int, callback: Callback | None = None) -> PolicyIteration:
        """Makes `total_timesteps` further sweeps; those after convergence cost nothing."""
        return learn_by_sweeps(self, total_timesteps, callback)

    def pi_rows(self, states: Any, left: Any) -> NDArray[np.float64]:
        """The present policy in these states, so many steps before the limit: [B, A]."""
        actions, plan = self.plan.shape[1], self.plan
        if isinstance(plan, Limited) and plan.best_of:
            return np.eye(actions)[plan.actions(states, left)]
        if not isinstance(plan, Limited) and self.policy[0] >= 0:
            return np.eye(actions)[self.policy[states]]
        return np.full((len(states), actions), 1.0 / actions)

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
        phase = {"improving": self.improving, "in_a_row": self.in_a_row, "stable": self.stable}
        save_planner(self, path, {"policy": self.policy}, {"phase": phase})

    @classmethod
    def load(
        cls, path: str | PathLike[str], env: Any = None, device: str = "cpu"
    ) -> PolicyIteration:
        """Reads a checkpoint; without `env` the agent can predict, but not plan."""
        agent, found = load_planner(cls, path, env, device)
        agent.policy = found.array("policy", agent.plan.shape[:1], np.int64)
        phase = found.value("phase", dict)
        agent.improving, agent.in_a_row = phase["improving"], phase["in_a_row"]
        agent.stable = phase["stable"]
        return agent
