"""On-policy first-visit Monte-Carlo control (Sutton & Barto, 2nd ed., section 5.4).

    G <- γ G + R;    Q(S, A) <- Q(S, A) + α [ G - Q(S, A) ]    backwards, at the first visit alone

Differs from the box: a constant step size instead of the average of all returns, because the policy
changes meanwhile; and where a time limit cut the episode off, G starts with max_a Q(S_T, a),
because S_T is not terminal. All values start at 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from registry.contracts import Callback, Transition
from registry.errors import SettingError
from registry.seeding import Stream, generator
from rlsuite_agents.functional.exploration import epsilon_greedy, epsilon_greedy_probabilities
from rlsuite_agents.loops import Session, learn_online
from rlsuite_agents.parts.agent_checkpoint import load_agent_checkpoint, save_agent_checkpoint
from rlsuite_agents.parts.predict import predict_actions
from rlsuite_agents.parts.spaces import discrete_size, on_cpu

__all__ = ["MonteCarlo", "MonteCarloConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class MonteCarloConfig:
    """Settings of `MonteCarlo`: frozen, and checked at the door."""

    step_size: float = 0.1  # α, in (0, 1]
    epsilon: float = 0.1  # ε of the ε-greedy policy, in [0, 1]
    gamma: float = 1.0  # γ, in [0, 1]

    def __post_init__(self) -> None:
        for name in ("step_size", "epsilon", "gamma"):
            value = getattr(self, name)
            if not 0 <= value <= 1 or (name == "step_size" and value == 0):
                where = "(0, 1]" if name == "step_size" else "[0, 1]"
                raise SettingError(f"MonteCarloConfig.{name} must be in {where}, got {value!r}.")


class MonteCarlo:
    """Monte-Carlo control on a table. Observations and actions are `Discrete`.

    There is no parent class: the contract is the methods below. `act` and `observe` are the
    algorithm; the rest hands over to functions that rlsuite's own agents use too.
    """

    id = "racetrack/MonteCarlo-v0"  # written into checkpoints
    config_type = MonteCarloConfig

    def __init__(
        self,
        env: gym.Env[Any, Any],
        config: MonteCarloConfig = MonteCarloConfig(),
        *,
        seed: int,
        device: str = "cpu",
    ) -> None:
        on_cpu(device, "MonteCarlo")
        n_states = discrete_size(env.observation_space, "MonteCarlo's observation space")
        n_actions = discrete_size(env.action_space, "MonteCarlo's action space")
        self.env, self.config, self.num_timesteps = env, config, 0
        self.rng = generator(seed, Stream.AGENT, 0)  # exploration while learning
        self.prediction_rng = generator(seed, Stream.AGENT, 1)  # sampling in `predict`
        self.session = Session(env, seed)  # the running episode
        self.q = np.zeros((n_states, n_actions))
        self.trajectory: list[tuple[int, int, float]] = []  # (S_t, A_t, R_{t+1}) so far

    def act(self, observation: Any, mask: Any, rng: np.random.Generator) -> tuple[int, Any]:
        """An ε-greedy action."""
        return epsilon_greedy(self.q[observation], self.config.epsilon, mask, rng), {}

    def observe(self, transition: Transition) -> None:
        """Remembers the step; learns when the episode is over."""
        t = transition
        self.trajectory.append((int(t.observation), int(t.action), t.reward))
        if t.terminated or t.truncated:
            self._learn_from_episode(0.0 if t.terminated else self.q[t.next_observation].max())
            self.trajectory = []

    def _learn_from_episode(self, g: float) -> None:
        first: dict[tuple[int, int], int] = {}
        for k, (s, a, _) in enumerate(self.trajectory):
            first.setdefault((s, a), k)
        for k, (s, a, reward) in reversed(list(enumerate(self.trajectory))):
            g = self.config.gamma * g + reward
            if first[s, a] == k:
                self.q[s, a] += self.config.step_size * (g - self.q[s, a])

    def learn(self, total_timesteps: int, callback: Callback | None = None) -> MonteCarlo:
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
        """Actions for one observation or a batch, in kind."""
        return predict_actions(self, observation, deterministic, mask, rngs), state

    def action_probabilities(
        self, observations: Any, *, deterministic: bool, mask: Any = None
    ) -> NDArray[np.float64]:
        """π(a|s): [B, A] for observations [B]. With it rlsuite scores the agent exactly."""
        rows = self.q[np.asarray(observations)]
        return epsilon_greedy_probabilities(rows, self.config.epsilon, mask, deterministic)

    def save(self, path: str | PathLike[str]) -> None:
        """Writes all that is needed to go on bit for bit: arrays and JSON, no pickle."""
        save_agent_checkpoint(self, path, {"q": self.q}, {"trajectory": self.trajectory})

    @classmethod
    def load(
        cls, path: str | PathLike[str], env: gym.Env[Any, Any] | None = None, device: str = "cpu"
    ) -> MonteCarlo:
        """Reads a checkpoint; without `env` the agent can predict, but not learn."""
        agent, checkpoint = load_agent_checkpoint(cls, path, env, device)
        agent.q = checkpoint.array("q", agent.q.shape)
        steps = checkpoint.value("trajectory", list)
        agent.trajectory = [(int(s), int(a), float(r)) for s, a, r in steps]
        return agent
