"""Sarsa: on-policy TD control (Rummery & Niranjan 1994; Sutton & Barto, 2nd ed., section 6.4).

    Q(S, A) ← Q(S, A) + α [ R + γ Q(S', A') - Q(S, A) ]                             (eq. 6.7)

Differs from the box: ties among greedy actions are drawn evenly while sampling; at a time limit A'
is drawn as well, because S' is not terminal and the target bootstraps, but it is not played.
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
from rlsuite_agents.functional.td import discount_of, sarsa_error_row
from rlsuite_agents.loops import Session, learn_online
from rlsuite_agents.parts.agent_checkpoint import load_agent_checkpoint, save_agent_checkpoint
from rlsuite_agents.parts.predict import predict_actions
from rlsuite_agents.parts.settings import check_range
from rlsuite_agents.parts.spaces import table_rows, table_sizes

__all__ = ["Sarsa", "SarsaConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SarsaConfig:
    """Settings of `Sarsa`."""

    step_size: float = 0.5  # α, in (0, 1]
    epsilon: float = 0.1  # ε of the ε-greedy behaviour policy, in [0, 1]
    gamma: float = 1.0  # γ, in [0, 1]

    def __post_init__(self) -> None:
        check_range(self, "step_size", "(0, 1]")
        check_range(self, "epsilon", "[0, 1]")
        check_range(self, "gamma", "[0, 1]")


DEFAULT = SarsaConfig()


class Sarsa:
    """Sarsa on a table: observations and actions are `Discrete`."""

    id = "rlsuite/Sarsa-v0"
    config_type = SarsaConfig

    def __init__(
        self, env: Any, config: SarsaConfig = DEFAULT, *, seed: int, device: str = "cpu"
    ) -> None:
        n_states, n_actions = table_sizes(env, device, "Sarsa")
        self.env, self.config, self.num_timesteps = env, config, 0
        self.rng, self.prediction_rng = (generator(seed, Stream.AGENT, k) for k in (0, 1))
        self.session = Session(env, seed)
        self._q = [[0.0] * n_actions for _ in range(n_states)]  # rows of floats: fast one by one
        self._planned: int | None = None  # A', to be played next

    @property
    def q(self) -> NDArray[np.float64]:
        """A copy of Q, [S, A]."""
        return np.array(self._q)

    def act(self, observation: Any, mask: Any, rng: np.random.Generator) -> tuple[int, Any]:
        """The A' that `observe` has drawn for this state, else an ε-greedy action."""
        planned, self._planned = self._planned, None
        if planned is not None and (mask is None or mask[planned]):
            return planned, {}
        return epsilon_greedy(self._q[observation], self.config.epsilon, mask, rng), {}

    def observe(self, transition: Transition) -> None:
        """Learns from one transition; draws A' from the agent's own generator, unless at an end."""
        t = transition
        q, q_next, a_next = self._q[t.observation], self._q[t.next_observation], 0
        if not t.terminated:
            a_next = epsilon_greedy(q_next, self.config.epsilon, t.next_mask, self.rng)
        discount = discount_of(self.config.gamma, t.terminated)
        delta = sarsa_error_row(q, t.action, t.reward, discount, q_next, a_next)
        q[t.action] += self.config.step_size * delta
        self._planned = None if t.terminated or t.truncated else a_next

    def learn(self, total_timesteps: int, callback: Callback | None = None) -> Sarsa:
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
        save_agent_checkpoint(self, path, {"q": self.q}, {"planned": self._planned})

    @classmethod
    def load(cls, path: str | PathLike[str], env: Any = None, device: str = "cpu") -> Sarsa:
        """Reads a checkpoint; without `env` the agent can predict, but not learn."""
        agent, checkpoint = load_agent_checkpoint(cls, path, env, device)
        agent._q = checkpoint.array("q", agent.q.shape).tolist()
        agent._planned = checkpoint.index("planned", len(agent._q[0]))
        return agent
