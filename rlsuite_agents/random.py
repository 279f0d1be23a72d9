"""Random: every allowed action with the same probability. The baseline of every task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from registry.bandit_models import BanditModel
from registry.bandit_runs import BanditBlock
from registry.contracts import Callback, Transition
from registry.seeding import Stream, generator
from rlsuite_agents.functional.exploration import greedy, greedy_probabilities, uniform
from rlsuite_agents.loops import Session, learn_online
from rlsuite_agents.parts.agent_checkpoint import load_agent_checkpoint, save_agent_checkpoint
from rlsuite_agents.parts.bandit import BanditRules
from rlsuite_agents.parts.predict import mask_rows, predict_actions, rows_of
from rlsuite_agents.parts.spaces import discrete_size, on_cpu

__all__ = ["Random", "RandomConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RandomConfig:
    """`Random` has no settings."""


DEFAULT = RandomConfig()


class NoBeliefs(NamedTuple):
    """What is known of the arms of a bandit: nothing."""

    values: Any  # 0, [K]


def start(config: RandomConfig, n_arms: int) -> NoBeliefs:
    """Nothing is known, and nothing will be."""
    return NoBeliefs(np.zeros(n_arms))


def choose(x: NoBeliefs, mask: Any, rng: Any) -> int:
    """Any allowed arm."""
    return uniform(len(x.values), mask, rng)


def update(x: NoBeliefs, arm: int, reward: float) -> None:
    """Learns nothing."""


def probabilities(x: NoBeliefs, mask: Any) -> NDArray[np.float64]:
    """Even over the allowed arms, [K]."""
    return greedy_probabilities([x.values], None if mask is None else [mask], False)[0]


def best(x: NoBeliefs, mask: Any) -> int:
    """The first allowed arm."""
    return greedy(x.values, mask)


class Random:
    """Draws evenly among the allowed actions and learns nothing. Actions are `Discrete`.

    `deterministic` asks for the lowest-index greedy action; where nothing is known all actions are
    greedy, so that is the first allowed one.
    """

    id = "rlsuite/Random-v0"
    config_type = RandomConfig
    rules = BanditRules(start, choose, update, probabilities, best)
    unit_rewards, draws_uniforms_alone = False, True

    def __init__(
        self, env: Any, config: RandomConfig = DEFAULT, *, seed: int, device: str = "cpu"
    ) -> None:
        on_cpu(device, "Random")
        self.n_actions = discrete_size(env.action_space, "Random's action space")
        self.env, self.config, self.num_timesteps = env, config, 0
        self.rng, self.prediction_rng = (generator(seed, Stream.AGENT, k) for k in (0, 1))
        self.session = Session(env, seed)

    def act(self, observation: Any, mask: Any, rng: np.random.Generator) -> tuple[int, Any]:
        """Any allowed action."""
        return uniform(self.n_actions, mask, rng), {}

    def observe(self, transition: Transition) -> None:
        """Learns nothing."""

    def learn(self, total_timesteps: int, callback: Callback | None = None) -> Random:
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
        """π(a|s): [B, A], even over the allowed actions; or the first of them."""
        values = np.zeros((rows_of(observations), self.n_actions))
        return greedy_probabilities(values, mask_rows(observations, mask), deterministic)

    def save(self, path: str | PathLike[str]) -> None:
        """Writes all that is needed to go on bit for bit; see `parts.agent_checkpoint`."""
        save_agent_checkpoint(self, path, {})

    @classmethod
    def run_bandits(
        cls,
        models: BanditModel | Sequence[BanditModel],
        *,
        seed: int,
        runs: range,
        config: Any = None,
        marks: Sequence[int] | None = None,
    ) -> BanditBlock:
        """Many whole runs of a bandit, compiled; see `RunsBandits`."""
        from rlsuite_agents.parts.bandit_runs import compiled_runs

        return compiled_runs(cls, models, seed=seed, runs=runs, config=config, marks=marks)

    @classmethod
    def load(cls, path: str | PathLike[str], env: Any = None, device: str = "cpu") -> Random:
        """Reads a checkpoint; without `env` the agent can predict, but not learn."""
        return load_agent_checkpoint(cls, path, env, device)[0]
