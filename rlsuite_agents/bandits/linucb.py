"""LinUCB with disjoint models (Li, Chu, Langford & Schapire 2010, algorithm 1).

    A_a = λ I + Σ x xᵀ,  θ_a = A_a⁻¹ Σ r x  over the pulls of arm a
    the arm of the largest  xᵀθ_a + α √(xᵀ A_a⁻¹ x)

A⁻¹ and θ are updated in place by Sherman & Morrison's formula, in float64; xᵀA⁻¹x is never taken to
be below 0.

Differs from the algorithm: λ, which is 1 there, is a setting; a constant feature is appended to x
unless `intercept` is off; ties are drawn evenly, as there; masked arms are never played.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.contracts import Callback, Transition
from registry.errors import InvalidObservationError
from registry.seeding import Stream, generator
from rlsuite_agents.functional.bandits import linear_value, quadratic_form, sherman_morrison
from rlsuite_agents.functional.exploration import greedy_probabilities, random_argmax
from rlsuite_agents.loops import Session, learn_online
from rlsuite_agents.parts.agent_checkpoint import load_agent_checkpoint, save_agent_checkpoint
from rlsuite_agents.parts.predict import mask_rows, predict_actions
from rlsuite_agents.parts.settings import check_flag, check_range
from rlsuite_agents.parts.spaces import box_size, discrete_size, on_cpu

__all__ = ["LinUCB", "LinUCBConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LinUCBConfig:
    """Settings of `LinUCB`."""

    alpha: float = 1.0  # α, multiplies the width √(xᵀA⁻¹x), at least 0
    lambda_: float = 1.0  # λ of the ridge, above 0
    intercept: bool = True  # append a feature that is always 1

    def __post_init__(self) -> None:
        check_range(self, "alpha", "[0, inf)")
        check_range(self, "lambda_", "(0, inf)")
        check_flag(self, "intercept")


DEFAULT = LinUCBConfig()


class LinUCB:
    """One ridge regression per arm; plays the largest confidence bound. Contexts are `Box`."""

    id = "rlsuite/LinUCB-v0"
    config_type = LinUCBConfig

    def __init__(
        self, env: Any, config: LinUCBConfig = DEFAULT, *, seed: int, device: str = "cpu"
    ) -> None:
        on_cpu(device, "LinUCB")
        self.n_arms = discrete_size(env.action_space, "LinUCB's action space")
        n_inputs = box_size(env.observation_space, "LinUCB's observation space")
        self.n_features = n_inputs + config.intercept
        self.env, self.config, self.num_timesteps = env, config, 0
        self.rng, self.prediction_rng = (generator(seed, Stream.AGENT, k) for k in (0, 1))
        self.session = Session(env, seed)
        self.forget()

    def forget(self) -> None:
        """Starts over with other arms."""
        d, diagonal = self.n_features, 1.0 / self.config.lambda_
        self._theta = [[0.0] * d for _ in range(self.n_arms)]  # rows of floats: fast one by one
        self._a_inv = [
            [[diagonal if i == j else 0.0 for j in range(d)] for i in range(d)]
            for _ in range(self.n_arms)
        ]

    @property
    def theta(self) -> NDArray[np.float64]:
        """A copy of θ, [A, d]."""
        return np.array(self._theta)

    @property
    def a_inv(self) -> NDArray[np.float64]:
        """A copy of A⁻¹, [A, d, d]."""
        return np.array(self._a_inv)

    def act(self, observation: Any, mask: Any, rng: np.random.Generator) -> tuple[int, Any]:
        """An arm of the largest confidence bound."""
        return random_argmax(self._bounds(self._features(observation)), mask, rng), {}

    def observe(self, transition: Transition) -> None:
        """Learns from one pull in the context `transition.observation`."""
        a, x = transition.action, self._features(transition.observation)
        sherman_morrison(self._a_inv[a], self._theta[a], x, transition.reward)

    def _features(self, observation: Any) -> list[float]:
        """X as floats, with the intercept."""
        flat = np.asarray(observation, np.float64).ravel()
        if flat.size != self.n_features - self.config.intercept or not np.isfinite(flat).all():
            raise InvalidObservationError(
                f"a context is {self.n_features - self.config.intercept} finite numbers, "
                f"got {observation!r:.120}."
            )
        x: list[float] = flat.tolist()
        return [*x, 1.0] if self.config.intercept else x

    def _bounds(self, x: list[float]) -> list[float]:
        alpha = self.config.alpha
        return [
            linear_value(theta, x) + alpha * math.sqrt(quadratic_form(a_inv, x))
            for theta, a_inv in zip(self._theta, self._a_inv, strict=True)
        ]

    def learn(self, total_timesteps: int, callback: Callback | None = None) -> LinUCB:
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
        """π(a|x): [B, A]. 0 and 1, ties shared; if deterministic the first arm of the best xᵀθ."""
        contexts = [self._features(observation) for observation in observations]
        if deterministic:
            values = [[linear_value(theta, x) for theta in self._theta] for x in contexts]
        else:
            values = [self._bounds(x) for x in contexts]
        return greedy_probabilities(values, mask_rows(observations, mask), deterministic)

    def save(self, path: str | PathLike[str]) -> None:
        """Writes all that is needed to go on bit for bit; see `parts.agent_checkpoint`."""
        save_agent_checkpoint(self, path, {"theta": self.theta, "a_inv": self.a_inv})

    @classmethod
    def load(cls, path: str | PathLike[str], env: Any = None, device: str = "cpu") -> LinUCB:
        """Reads a checkpoint; without `env` the agent can predict, but not learn."""
        agent, checkpoint = load_agent_checkpoint(cls, path, env, device)
        agent._theta = checkpoint.array("theta", agent.theta.shape).tolist()
        agent._a_inv = checkpoint.array("a_inv", agent.a_inv.shape).tolist()
        return agent
