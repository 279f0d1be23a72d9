"""UCB1: the largest upper confidence bound (Auer, Cesa-Bianchi & Fischer 2002, figure 1).

    every arm once, in order; then the arm of the largest  μ̂_a + √(2 ln t / n_a)

with t the pulls of all arms so far. The regret bound of the paper holds for rewards in [0, 1].

Differs from the figure: the 2 is a setting; ties are drawn evenly; with masks, both rules hold for
the allowed arms, so that an arm may wait for its first pull until it is allowed.
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.contracts import Callback, Transition
from registry.seeding import Stream, generator
from rlsuite_agents.functional.bandits import first_unpulled, running_mean, ucb1_indices
from rlsuite_agents.functional.exploration import greedy_probabilities, random_argmax
from rlsuite_agents.loops import Session, learn_online
from rlsuite_agents.parts.agent_checkpoint import load_agent_checkpoint, save_agent_checkpoint
from rlsuite_agents.parts.predict import context_free, predict_actions
from rlsuite_agents.parts.settings import check_range
from rlsuite_agents.parts.spaces import discrete_size, on_cpu

__all__ = ["UCB1", "UCB1Config"]


@dataclass(frozen=True, kw_only=True, slots=True)
class UCB1Config:
    """Settings of `UCB1`."""

    exploration: float = 2.0  # c of the width √(c ln t / n), at least 0; ½ is a greedier policy

    def __post_init__(self) -> None:
        check_range(self, "exploration", "[0, inf)")


DEFAULT = UCB1Config()


class UCB1:
    """The arm of the largest upper confidence bound. Observations do not matter."""

    id = "rlsuite/UCB1-v0"
    config_type = UCB1Config

    def __init__(
        self, env: Any, config: UCB1Config = DEFAULT, *, seed: int, device: str = "cpu"
    ) -> None:
        on_cpu(device, "UCB1")
        self.n_arms = discrete_size(env.action_space, "UCB1's action space")
        self.env, self.config, self.num_timesteps = env, config, 0
        self.rng, self.prediction_rng = (generator(seed, Stream.AGENT, k) for k in (0, 1))
        self.session = Session(env, seed)
        self.forget()

    def forget(self) -> None:
        """Starts over with other arms."""
        self.counts = [0] * self.n_arms  # n
        self.means = [0.0] * self.n_arms  # μ̂
        self._indices = [0.0] * self.n_arms

    def act(self, observation: Any, mask: Any, rng: np.random.Generator) -> tuple[int, Any]:
        """The first allowed arm never pulled, else one of the largest index."""
        arm = first_unpulled(self.counts, mask)
        if arm < 0:
            ucb1_indices(self.means, self.counts, self.config.exploration, self._indices)
            arm = random_argmax(self._indices, mask, rng)
        return arm, {}

    def observe(self, transition: Transition) -> None:
        """Learns from one pull; the observation does not matter."""
        a = transition.action
        self.counts[a] += 1
        self.means[a] = running_mean(self.means[a], self.counts[a], transition.reward)

    def learn(self, total_timesteps: int, callback: Callback | None = None) -> UCB1:
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
        """π(a): [B, A]. 0 and 1, ties shared; if deterministic the first arm of the best mean."""
        return context_free(observations, mask, lambda allowed: self._row(allowed, deterministic))

    def _row(self, mask: Any, deterministic: bool) -> NDArray[np.float64]:
        allowed = None if mask is None else mask[None]
        arm = first_unpulled(self.counts, mask)
        if deterministic:
            return greedy_probabilities([self.means], allowed, True)[0]
        if arm >= 0:
            return np.eye(self.n_arms)[arm]
        ucb1_indices(self.means, self.counts, self.config.exploration, self._indices)
        return greedy_probabilities([self._indices], allowed, False)[0]

    def save(self, path: str | PathLike[str]) -> None:
        """Writes all that is needed to go on bit for bit; see `parts.agent_checkpoint`."""
        arrays = {"counts": np.array(self.counts), "means": np.array(self.means)}
        save_agent_checkpoint(self, path, arrays)

    @classmethod
    def load(cls, path: str | PathLike[str], env: Any = None, device: str = "cpu") -> UCB1:
        """Reads a checkpoint; without `env` the agent can predict, but not learn."""
        agent, checkpoint = load_agent_checkpoint(cls, path, env, device)
        agent.counts = checkpoint.array("counts", (agent.n_arms,), np.int64).tolist()
        agent.means = checkpoint.array("means", (agent.n_arms,)).tolist()
        return agent
