"""ε-greedy on sample means (Sutton & Barto, 2nd ed., sections 2.2 and 2.4).

    N(A) ← N(A) + 1,    Q(A) ← Q(A) + [ R - Q(A) ] / N(A)                     (box of section 2.4)

Differs from the box: ties among greedy arms are drawn evenly; masked arms are never played.
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.contracts import Callback, Transition
from registry.seeding import Stream, generator
from rlsuite_agents.functional.bandits import running_mean
from rlsuite_agents.functional.exploration import epsilon_greedy, epsilon_greedy_probabilities
from rlsuite_agents.loops import Session, learn_online
from rlsuite_agents.parts.agent_checkpoint import load_agent_checkpoint, save_agent_checkpoint
from rlsuite_agents.parts.predict import mask_rows, predict_actions, rows_of
from rlsuite_agents.parts.settings import check_range
from rlsuite_agents.parts.spaces import discrete_size, on_cpu

__all__ = ["EpsilonGreedy", "EpsilonGreedyConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class EpsilonGreedyConfig:
    """Settings of `EpsilonGreedy`."""

    epsilon: float = 0.1  # ε, the share of random pulls, in [0, 1]
    initial_value: float = 0.0  # Q of an arm that was never pulled; its first reward replaces it

    def __post_init__(self) -> None:
        check_range(self, "epsilon", "[0, 1]")
        check_range(self, "initial_value", "(-inf, inf)")


DEFAULT = EpsilonGreedyConfig()


class EpsilonGreedy:
    """The arm of the best sample mean, with probability ε any arm. Observations do not matter."""

    id = "rlsuite/EpsilonGreedy-v0"
    config_type = EpsilonGreedyConfig

    def __init__(
        self, env: Any, config: EpsilonGreedyConfig = DEFAULT, *, seed: int, device: str = "cpu"
    ) -> None:
        on_cpu(device, "EpsilonGreedy")
        self.n_arms = discrete_size(env.action_space, "EpsilonGreedy's action space")
        self.env, self.config, self.num_timesteps = env, config, 0
        self.rng, self.prediction_rng = (generator(seed, Stream.AGENT, k) for k in (0, 1))
        self.session = Session(env, seed)
        self.forget()

    def forget(self) -> None:
        """Starts over with other arms."""
        self.counts = [0] * self.n_arms  # N
        self.means = [float(self.config.initial_value)] * self.n_arms  # Q

    def act(self, observation: Any, mask: Any, rng: np.random.Generator) -> tuple[int, Any]:
        """An ε-greedy arm."""
        return epsilon_greedy(self.means, self.config.epsilon, mask, rng), {}

    def observe(self, transition: Transition) -> None:
        """Learns from one pull; the observation does not matter."""
        a = transition.action
        self.counts[a] += 1
        self.means[a] = running_mean(self.means[a], self.counts[a], transition.reward)

    def learn(self, total_timesteps: int, callback: Callback | None = None) -> EpsilonGreedy:
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
        """Arms for one observation or a batch, and the state as it came; learns nothing."""
        return predict_actions(self, observation, deterministic, mask, rngs), state

    def action_probabilities(
        self, observations: Any, *, deterministic: bool, mask: Any = None
    ) -> NDArray[np.float64]:
        """π(a): [B, A]. The greedy arms share 1 - ε, all allowed ones ε; or 1 for `greedy`."""
        mask = mask_rows(observations, mask)
        means = np.tile(self.means, (rows_of(observations), 1))
        return epsilon_greedy_probabilities(means, self.config.epsilon, mask, deterministic)

    def save(self, path: str | PathLike[str]) -> None:
        """Writes all that is needed to go on bit for bit; see `parts.agent_checkpoint`."""
        arrays = {"counts": np.array(self.counts), "means": np.array(self.means)}
        save_agent_checkpoint(self, path, arrays)

    @classmethod
    def load(cls, path: str | PathLike[str], env: Any = None, device: str = "cpu") -> EpsilonGreedy:
        """Reads a checkpoint; without `env` the agent can predict, but not learn."""
        agent, checkpoint = load_agent_checkpoint(cls, path, env, device)
        agent.counts = checkpoint.array("counts", (agent.n_arms,), np.int64).tolist()
        agent.means = checkpoint.array("means", (agent.n_arms,)).tolist()
        return agent
