"""Q-learning: off-policy TD control (Watkins 1989; Sutton & Barto, 2nd ed., section 6.5).

    Q(S, A) ← Q(S, A) + α [ R + γ max_a Q(S', a) - Q(S, A) ]                        (eq. 6.8)

Differs from the box: ties among greedy actions are drawn evenly while sampling; the maximum is over
the actions allowed in S'; at a time limit the target bootstraps, because S' is not terminal.
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.contracts import Callback, Transition
from registry.seeding import Stream, generator
from rlsuite_agents.functional.exploration import epsilon_greedy, epsilon_greedy_probabilities
from rlsuite_agents.functional.td import discount_of, q_learning_error_row
from rlsuite_agents.loops import Session, learn_online
from rlsuite_agents.parts.agent_checkpoint import load_agent_checkpoint, save_agent_checkpoint
from rlsuite_agents.parts.predict import predict_actions
from rlsuite_agents.parts.settings import check_range
from rlsuite_agents.parts.spaces import table_rows, table_sizes

__all__ = ["QLearning", "QLearningConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class QLearningConfig:
    """Settings of `QLearning`."""

    step_size: float = 0.5  # α, in (0, 1]
    epsilon: float = 0.1  # ε of the ε-greedy behaviour policy, in [0, 1]
    gamma: float = 1.0  # γ, in [0, 1]

    def __post_init__(self) -> None:
        check_range(self, "step_size", "(0, 1]")
        check_range(self, "epsilon", "[0, 1]")
        check_range(self, "gamma", "[0, 1]")


DEFAULT = QLearningConfig()


class QLearning:
    """Q-learning on a table: observations and actions are `Discrete`."""

    id = "rlsuite/QLearning-v0"
    config_type = QLearningConfig

    def __init__(
        self, env: Any, config: QLearningConfig = DEFAULT, *, seed: int, device: str = "cpu"
    ) -> None:
        n_states, n_actions = table_sizes(env, device, "QLearning")
        self.env, self.config, self.num_timesteps = env, config, 0
        self.rng, self.prediction_rng = (generator(seed, Stream.AGENT, k) for k in (0, 1))
        self.session = Session(env, seed)
        self._q = [[0.0] * n_actions for _ in range(n_states)]  # rows of floats: fast one by one

    @property
    def q(self) -> NDArray[np.float64]:
        """A copy of Q, [S, A]."""
        return np.array(self._q)

    def act(self, observation: Any, mask: Any, rng: np.random.Generator) -> tuple[int, Any]:
        """An ε-greedy action."""
        return epsilon_greedy(self._q[observation], self.config.epsilon, mask, rng), {}

    def observe(self, transition: Transition) -> None:
        """Learns from one transition."""
        t = transition
        q, q_next = self._q[t.observation], self._q[t.next_observation]
        if t.next_mask is not None and not t.terminated:
            q_next = [value for value, ok in zip(q_next, t.next_mask, strict=True) if ok]
        discount = discount_of(self.config.gamma, t.terminated)
        delta = q_learning_error_row(q, t.action, t.reward, discount, q_next)
        q[t.action] += self.config.step_size * delta

    def learn(self, total_timesteps: int, callback: Callback | None = None) -> QLearning:
        """Takes exactly `total_timesteps` further steps; may be called again."""
        return learn_online(self, total_timesteps, callback)

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
        return predict_actions(self, observation, deterministic, mask, rngs), state

    def action_probabilities(
        self, observations: Any, *, deterministic: bool, mask: Any = None
    ) -> NDArray[np.float64]:
        """π(a|s) of the ε-greedy policy, or the greedy one if deterministic: [B, A]."""
        rows = table_rows(self._q, observations)
        return epsilon_greedy_probabilities(rows, self.config.epsilon, mask, deterministic)

    def save(self, path: str | PathLike[str]) -> None:
        """Writes all that is needed to go on bit for bit; see `parts.agent_checkpoint`."""
        save_agent_checkpoint(self, path, {"q": self.q})

    @classmethod
    def load(cls, path: str | PathLike[str], env: Any = None, device: str = "cpu") -> QLearning:
        """Reads a checkpoint; without `env` the agent can predict, but not learn."""
        agent, checkpoint = load_agent_checkpoint(cls, path, env, device)
        agent._q = checkpoint.array("q", agent.q.shape).tolist()
        return agent
