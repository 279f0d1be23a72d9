"""Behaviour cloning: imitation by counting (Pomerleau 1989; Ross & Bagnell 2010, section 1).

    π(a|s) = (n(s, a) + α) / (n(s) + α A)

n counts the examples: without smoothing (α = 0) the likeliest policy given the data. In states that
the data do not show it is uniform.
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.contracts import Callback
from registry.logged_data import LoggedData
from registry.seeding import Stream, generator
from rlsuite_agents.functional.exploration import greedy_probabilities
from rlsuite_agents.loops import Session, check_steps
from rlsuite_agents.parts.offline import (
    check_data,
    load_offline,
    needed_data,
    read_data,
    save_offline,
    states_of,
)
from rlsuite_agents.parts.predict import predict
from rlsuite_agents.parts.settings import check_range
from rlsuite_agents.parts.spaces import table_sizes

__all__ = ["BehaviourCloning", "BehaviourCloningConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class BehaviourCloningConfig:
    """Settings of `BehaviourCloning`."""

    data: str = ""  # a file that `rlsuite collect` wrote
    smoothing: float = 0.0  # α, at least 0: examples of each action that are added in each state

    def __post_init__(self) -> None:
        check_data(self)
        check_range(self, "smoothing", "[0, inf)")


DEFAULT = BehaviourCloningConfig()


class BehaviourCloning:
    """Acts as often in each way as the policy that made the data; it takes no step."""

    id = "rlsuite/BehaviourCloning-v0"
    config_type = BehaviourCloningConfig
    predict = predict

    def __init__(
        self,
        env: Any,
        config: BehaviourCloningConfig = DEFAULT,
        *,
        seed: int,
        device: str = "cpu",
        data: LoggedData | None = None,
    ) -> None:
        shape = table_sizes(env, device, "BehaviourCloning")
        self.env, self.config, self.num_timesteps = env, config, 0
        self.rng, self.prediction_rng = (generator(seed, Stream.AGENT, k) for k in (0, 1))
        self.session = Session(env, seed)  # never begun: no step is taken
        self.data = read_data(env, config, data, "BehaviourCloning")
        self.digest = "" if self.data is None else self.data.digest()
        self.counts = np.zeros(shape, np.int64)  # n(s, a), [S, A]

    def learn(self, total_timesteps: int, callback: Callback | None = None) -> BehaviourCloning:
        """Reads `total_timesteps` further examples, in the order of the data.

        `num_timesteps` counts them; after the last one there is nothing more to read.
        `callback(self)` follows each; False stops.
        """
        data, total = needed_data(self), check_steps(total_timesteps)
        for n in (total,) if callback is None else (1,) * total:
            some = slice(self.num_timesteps, self.num_timesteps + n)
            np.add.at(self.counts, (data.observation[some], data.action[some]), 1)
            self.num_timesteps += n
            if callback is not None and callback(self) is False:
                break
        return self

    def action_probabilities(
        self, observations: Any, *, deterministic: bool, mask: Any = None
    ) -> NDArray[np.float64]:
        """π(a|s), or of the commonest action if deterministic: [B, A].

        Where no example shows an allowed action, all of them are equally likely.
        """
        weights = self.counts[states_of(self, observations)] + float(self.config.smoothing)
        allowed = np.ones(weights.shape, bool) if mask is None else np.asarray(mask, bool)
        weights = np.where(allowed, weights, 0.0)
        weights = np.where(weights.any(axis=1, keepdims=True), weights, allowed)
        if deterministic:
            return greedy_probabilities(weights, allowed, True)
        return weights / weights.sum(axis=1, keepdims=True)

    def save(self, path: str | PathLike[str]) -> None:
        """Writes all that is needed to go on bit for bit; of the data only a digest."""
        save_offline(self, path, {"counts": self.counts})

    @classmethod
    def load(
        cls,
        path: str | PathLike[str],
        env: Any = None,
        device: str = "cpu",
        data: LoggedData | None = None,
    ) -> BehaviourCloning:
        """Reads a checkpoint; without `env` the agent can predict, but not learn."""
        agent, found = load_offline(cls, path, env, device, data)
        agent.counts = found.array("counts", agent.counts.shape, np.int64)
        restored: BehaviourCloning = agent
        return restored
