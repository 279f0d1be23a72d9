"""Thompson sampling with Beta posteriors (Thompson 1933; Russo et al. 2018, algorithm 3.2).

    θ_a ~ Beta(α_a, β_a) for each arm,    A = argmax θ_a,    (α_A, β_A) ← (α_A + R, β_A + 1 - R)

Differs from the source: a reward between 0 and 1 counts as that fraction of a success, where
Agrawal & Goyal (2012) toss a coin of that probability; both treat rewards of 0 and 1 alike. Masked
arms are neither drawn nor played.
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.contracts import Callback, Transition
from registry.errors import InvalidObservationError
from registry.seeding import Stream, generator
from rlsuite_agents.functional.bandits import beta_best_probabilities, thompson_beta
from rlsuite_agents.functional.exploration import greedy_probabilities
from rlsuite_agents.loops import Session, learn_online
from rlsuite_agents.parts.agent_checkpoint import load_agent_checkpoint, save_agent_checkpoint
from rlsuite_agents.parts.predict import context_free, predict_actions
from rlsuite_agents.parts.settings import check_range
from rlsuite_agents.parts.spaces import discrete_size, on_cpu

__all__ = ["ThompsonSampling", "ThompsonSamplingConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ThompsonSamplingConfig:
    """Settings of `ThompsonSampling`. Beta(1, 1) is the uniform prior, Beta(½, ½) Jeffreys'."""

    prior_alpha: float = 1.0  # α of the prior of every arm, in [0.5, 1e6]
    prior_beta: float = 1.0  # β of the prior of every arm, in [0.5, 1e6]

    def __post_init__(self) -> None:
        check_range(self, "prior_alpha", "[0.5, 1e6]")
        check_range(self, "prior_beta", "[0.5, 1e6]")


DEFAULT = ThompsonSamplingConfig()


class ThompsonSampling:
    """Each arm as often as it is believed to be the best. Rewards lie in [0, 1]."""

    id = "rlsuite/ThompsonSampling-v0"
    config_type = ThompsonSamplingConfig

    def __init__(
        self, env: Any, config: ThompsonSamplingConfig = DEFAULT, *, seed: int, device: str = "cpu"
    ) -> None:
        on_cpu(device, "ThompsonSampling")
        self.n_arms = discrete_size(env.action_space, "ThompsonSampling's action space")
        self.env, self.config, self.num_timesteps = env, config, 0
        self.rng, self.prediction_rng = (generator(seed, Stream.AGENT, k) for k in (0, 1))
        self.session = Session(env, seed)
        self.forget()

    def forget(self) -> None:
        """Starts over with other arms."""
        self.alpha = [float(self.config.prior_alpha)] * self.n_arms
        self.beta = [float(self.config.prior_beta)] * self.n_arms
        self._marginals: dict[Any, NDArray[np.float64]] = {}  # by mask, until the next pull

    def act(self, observation: Any, mask: Any, rng: np.random.Generator) -> tuple[int, Any]:
        """The arm of the largest draw from the posteriors."""
        return thompson_beta(self.alpha, self.beta, mask, rng), {}

    def observe(self, transition: Transition) -> None:
        """Learns from one pull; the observation does not matter.

        Raises:
            InvalidObservationError: the reward is outside [0, 1].
        """
        a, r = transition.action, transition.reward
        if not 0.0 <= r <= 1.0:
            raise InvalidObservationError(
                f"ThompsonSampling with Beta posteriors takes rewards in [0, 1], got {r!r} from "
                f"arm {a}; rescale them with gymnasium.wrappers.TransformReward."
            )
        self.alpha[a] += r
        self.beta[a] += 1.0 - r
        self._marginals.clear()

    def learn(self, total_timesteps: int, callback: Callback | None = None) -> ThompsonSampling:
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
        """π(a): [B, A]. The probability that a is the best; or the first arm of the best mean.

        By quadrature over the posteriors, so that it is the probability with which `act` plays an
        arm before its draws are known.
        """
        return context_free(observations, mask, lambda allowed: self._row(allowed, deterministic))

    def _row(self, mask: Any, deterministic: bool) -> NDArray[np.float64]:
        if deterministic:
            means = [a / (a + b) for a, b in zip(self.alpha, self.beta, strict=True)]
            return greedy_probabilities([means], None if mask is None else mask[None], True)[0]
        key = None if mask is None else mask.tobytes()
        if key not in self._marginals:
            self._marginals[key] = beta_best_probabilities(self.alpha, self.beta, mask)
        return self._marginals[key]

    def save(self, path: str | PathLike[str]) -> None:
        """Writes all that is needed to go on bit for bit; see `parts.agent_checkpoint`."""
        arrays = {"alpha": np.array(self.alpha), "beta": np.array(self.beta)}
        save_agent_checkpoint(self, path, arrays)

    @classmethod
    def load(
        cls, path: str | PathLike[str], env: Any = None, device: str = "cpu"
    ) -> ThompsonSampling:
        """Reads a checkpoint; without `env` the agent can predict, but not learn."""
        agent, checkpoint = load_agent_checkpoint(cls, path, env, device)
        agent.alpha = checkpoint.array("alpha", (agent.n_arms,)).tolist()
        agent.beta = checkpoint.array("beta", (agent.n_arms,)).tolist()
        return agent
