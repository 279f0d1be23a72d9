"""What the floors promise each other: Protocols, so that nobody needs a base class of ours.

Environments answer `Oracle` and `HasModel`, agents answer `Policy`, `Agent` and `StepAgent`; they
meet here and nowhere else. Notation: B observations, S states, A actions, K outcomes, H steps, T
tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ANSWER_KEY_INFO",
    "Agent",
    "AgentFactory",
    "BlockRecorder",
    "Callback",
    "ClockedPolicy",
    "FollowsModel",
    "HasModel",
    "HasOracle",
    "Model",
    "ModelProvider",
    "Oracle",
    "OracleProvenance",
    "OracleProvider",
    "Policy",
    "ProbabilisticPolicy",
    "StepAgent",
    "Transition",
]

ANSWER_KEY_INFO = ("regret", "optimal_action", "expected_reward", "gold")
"""Keys of `info` that belong to the answer key: recorded in training, never shown to an agent."""

OracleProvenance = Literal["exact", "bound", "none"]


class Policy(Protocol):
    """π: what is scored. One observation or a batch in, actions in kind out; never learns."""

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """Actions for `observation`, and the state of a recurrent policy (None for the others)."""
        ...


@runtime_checkable
class ProbabilisticPolicy(Protocol):
    """A policy that states π(a|s). It promises to be memoryless, so it can be scored exactly."""

    def action_probabilities(
        self, observations: Any, *, deterministic: bool, mask: Any = None
    ) -> NDArray[np.float64]:
        """π(a|s) for a batch of B observations: shape [B, A], rows sum to 1.

        With `deterministic` the lowest-index greedy action has probability 1. `mask` is [B, A] or
        None.
        """
        ...


@runtime_checkable
class ClockedPolicy(Protocol):
    """A policy that looks at the clock, and else at no past, so that it can be scored exactly.

    It offers no `action_probabilities`. The state of its `predict` is the number of steps gone by.
    """

    def clocked_probabilities(
        self, observations: Any, *, horizon: int, deterministic: bool, mask: Any = None
    ) -> NDArray[np.float64]:
        """π_t(a|s) for t = 0 ... horizon - 1 and B observations: [H, B, A], rows sum to 1."""
        ...


class Agent(Policy, Protocol):
    """What learns. Owns its settings and its random generators.

    Called as `Agent(env, config, *, seed, device)`. `num_timesteps` counts the environment steps
    taken.
    """

    num_timesteps: int

    def learn(self, total_timesteps: int, callback: Callback | None = None) -> Any:
        """Takes `total_timesteps` further steps; may be called again. Returns the agent."""
        ...

    def save(self, path: str | PathLike[str]) -> None:
        """Writes all that is needed to go on: weights, counters, generators, environment state."""
        ...

    @classmethod
    def load(cls, path: str | PathLike[str], env: Any = None, device: str = "cpu") -> Any:
        """Reads a checkpoint. Without `env` the agent predicts; with it, it also learns on."""
        ...


Callback = Callable[[Any], "bool | None"]
"""Called with the agent after each environment step (or batch of them); False ends the training."""

AgentFactory = Callable[..., Any]
"""A class or function called as `factory(env, seed=seed)`, once per cell of a benchmark."""


@dataclass(frozen=True, slots=True)
class Transition:
    """One step of experience, (S, A, R, S') with what belongs to it.

    `observation`, `next_observation`: S and S'; after an end S' is the last observation of the
    episode, never the first of the next. `terminated`: S' is terminal. `truncated`: the episode was
    cut off.
    `mask`, `next_mask`: actions allowed in S and S', shape [A], or None. `extras`: what `act`
    returned.
    """

    observation: Any
    action: Any
    reward: float
    next_observation: Any
    terminated: bool
    truncated: bool
    mask: Any = None
    next_mask: Any = None
    info: Mapping[str, Any] = field(default_factory=dict)
    extras: Mapping[str, Any] = field(default_factory=dict)


class StepAgent(Agent, Protocol):
    """What somebody else's loop can drive: a seat in a game, a service whose rewards come later."""

    def act(
        self, observation: Any, mask: Any, rng: np.random.Generator
    ) -> tuple[Any, Mapping[str, Any]]:
        """An exploring action, and what `observe` will want to know about it."""
        ...

    def observe(self, transition: Transition) -> None:
        """Learns from one transition."""
        ...


class Oracle(Protocol):
    """The answer key of an environment: exact returns, the time limit included.

    `provenance` is `"exact"`, or `"bound"` or `"none"` where no exact answer is known. `scope` is
    `"task"` where the answers hold for every episode, `"instance"` where they hold only for the
    current layout or arms (then no score is given).
    """

    provenance: OracleProvenance
    scope: Literal["task", "instance"]

    @property
    def optimal_return(self) -> float:
        """J*: the largest expected return of an episode."""
        ...

    @property
    def baseline_return(self) -> float:
        """J of the uniform random policy, or of the reference policy of a token task."""
        ...

    @property
    def best_stationary_return(self) -> float | None:
        """The best return found among stationary policies, where J* needs a clock; else None."""
        ...

    def observations(self) -> Any:
        """All decision states as one batch, in the environment's own form of observation."""
        ...

    def policy_return(self, pi: Any) -> float:
        """J(π), exactly. `pi`: [S, A], [H, S, A], or a callable from observations to [S, A]."""
        ...

    def policy_metrics(self, pi: Any) -> Mapping[str, float]:
        """Further exact figures of π that are shown beside J, such as E[r] and KL; often empty."""
        ...


@runtime_checkable
class HasOracle(Protocol):
    """An environment that ships its answer key."""

    def oracle(self, horizon: int | None = None, **kwargs: Any) -> Oracle:
        """The oracle for a limit of `horizon` steps; None means the limit registered for the id."""
        ...


OracleProvider = Callable[[Any, "int | None"], "Oracle | None"]
"""Answers for environments without an oracle: `provider(env, horizon)`, None if not its own."""


class Model(Protocol):
    """A finite MDP: K outcomes for each of A actions in each of S states; read-only."""

    @property
    def next_state(self) -> NDArray[np.int64]:
        """Where an outcome leads, shape [S, A, K]."""
        ...

    @property
    def probability(self) -> NDArray[np.float64]:
        """Of each outcome, summing to 1 over the last axis; shape [S, A, K]."""
        ...

    @property
    def reward(self) -> NDArray[np.float64]:
        """What an outcome pays, shape [S, A, K]."""
        ...

    @property
    def terminal(self) -> NDArray[np.bool_]:
        """Whether an outcome ends the episode, shape [S, A, K]."""
        ...

    @property
    def start(self) -> NDArray[np.float64]:
        """Probability of each state at reset, shape [S]."""
        ...


@runtime_checkable
class HasModel(Protocol):
    """An environment whose dynamics can be read as a `Model`, for planning and compiled loops."""

    @property
    def model(self) -> Model:
        """The dynamics, without the time limit."""
        ...


class FollowsModel(HasModel, Protocol):
    """An environment that a compiled loop may step by its `model`, or who answers for it.

    It also offers `np_random`, and `get_state` and `set_state` with `rng` (of a PCG64), `state`
    (the number of the state) and, if it keeps them, `t` (steps since the reset) and `action` (the
    latest one).

    It may say `rest_to_first = True`: where rounding leaves a sum of probabilities short of 1, a
    uniform above it takes state 0, or the first outcome, instead of the last possible one. And it
    may have `masks`, int8 [S, A]: the actions allowed in each state, as `info["action_mask"]` tells
    at every reset and step; None where it tells nothing.
    """

    @property
    def follows_model(self) -> bool:
        """Whether there is nothing more to it than the model, in this instance and for good.

        Each reset and each step draws one uniform, with `np_random.random()`, and takes the first
        state or outcome whose cumulative probability is larger, the last possible one counting as
        1; the observation is the number of the state; `info` holds nothing to learn from but masks.
        """
        ...


ModelProvider = Callable[[Any], "FollowsModel | None"]
"""Answers for tables that do not say themselves that they are: `provider(env)`, None if none."""


@runtime_checkable
class BlockRecorder(Protocol):
    """A wrapper that counts steps and episodes, and can be told of many at once."""

    @property
    def takes_blocks(self) -> bool:
        """False where it has to see every step as it happens."""
        ...

    def record(
        self,
        steps: int,
        ends: NDArray[np.int64],
        returns: NDArray[np.float64],
        lengths: NDArray[np.int64],
    ) -> None:
        """Counts a block of steps in which n episodes ended.

        Args:
            steps: How many.
            ends: With which of them, from 1, each episode ended; [n], rising.
            returns: Undiscounted, [n].
            lengths: In steps, [n].
        """
        ...

    def state(self) -> tuple[float, int]:
        """Return and length of the running episode so far."""
        ...

    def restore(self, state: Sequence[Any]) -> None:
        """Goes on from a `state`."""
        ...
