"""Q-learning from logged data: fitted Q iteration on a table (Ernst, Geurts & Wehenkel 2005).

    Q(s, a) ← mean of R + γ max_b Q(S', b) over the data from (s, a)  -  β / √n(s, a)

n(s, a) counts the transitions. Two kinds of caution about what the data do not show: the penalty, a
lower confidence bound (VI-LCB of Rashidinejad et al. 2021; PEVI of Jin, Yang & Wang 2021), and the
restriction to actions that the data hold often enough (Fujimoto, Meger & Precup 2019, section 4.1).
Differs from the sources: β is a setting, not a function of a confidence level; values are not
clipped to the range of returns; a time limit is no end, so the task that is solved has none.
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
from rlsuite_agents.functional.offline import Batch, batch_of, best_values, fitted_q
from rlsuite_agents.loops import Session
from rlsuite_agents.parts.offline import (
    check_data,
    load_offline,
    needed_data,
    read_data,
    save_offline,
    states_of,
)
from rlsuite_agents.parts.planner import make_sweeps
from rlsuite_agents.parts.predict import predict
from rlsuite_agents.parts.settings import check_count, check_range
from rlsuite_agents.parts.spaces import table_sizes

__all__ = ["OfflineQLearning", "OfflineQLearningConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class OfflineQLearningConfig:
    """Settings of `OfflineQLearning`."""

    data: str = ""  # a file that `rlsuite collect` wrote
    gamma: float = 1.0  # γ, in [0, 1]
    penalty: float = 0.0  # β, at least 0
    min_count: int = 1  # actions that the data hold less often are never taken; 0: all may be
    unseen_value: float = 0.0  # Q of actions, and v of states, of which the data tell nothing
    tolerance: float = 1e-12  # the error that is small enough, of the largest value, in (0, 1]

    def __post_init__(self) -> None:
        check_data(self)
        check_range(self, "gamma", "[0, 1]")
        check_range(self, "penalty", "[0, inf)")
        check_count(self, "min_count", 0)
        check_range(self, "unseen_value", "(-inf, inf)")
        check_range(self, "tolerance", "(0, 1]")


DEFAULT = OfflineQLearningConfig()


class OfflineQLearning:
    """Greedy control by a table of Q that is fitted to logged data; it takes no step."""

    id = "rlsuite/OfflineQLearning-v0"
    config_type = OfflineQLearningConfig
    predict = predict

    def __init__(
        self,
        env: Any,
        config: OfflineQLearningConfig = DEFAULT,
        *,
        seed: int,
        device: str = "cpu",
        data: LoggedData | None = None,
    ) -> None:
        shape = table_sizes(env, device, "OfflineQLearning")
        self.env, self.config, self.num_timesteps = env, config, 0
        self.rng, self.prediction_rng = (generator(seed, Stream.AGENT, k) for k in (0, 1))
        self.session = Session(env, seed)  # never begun: no step is taken
        self.data = read_data(env, config, data, "OfflineQLearning")
        self.digest = "" if self.data is None else self.data.digest()
        self.counts = np.zeros(shape, np.int64)  # n(s, a), [S, A]
        self._q = np.full(shape, float(config.unseen_value))
        self._change = np.full(1, np.inf)  # the largest one of the last sweep
        self._batch: Batch | None = None
        if self.data is not None:
            self._read(self.data)

    def _read(self, data: LoggedData) -> None:
        s, a = (x.astype(np.int64) for x in (data.observation, data.action))
        steps = s, a, data.reward, data.next_observation.astype(np.int64), data.terminated
        self._batch = batch_of(*steps, data.next_mask, self.config.gamma, self.counts.shape[1])
        np.add.at(self.counts, (s, a), 1)
        self._q[self.counts >= max(1, self.config.min_count)] = 0.0

    @property
    def q(self) -> NDArray[np.float64]:
        """A copy of Q, [S, A]; `unseen_value` where the data are too few."""
        return self._q.copy()

    @property
    def supported(self) -> NDArray[np.bool_]:
        """Whether an action may be taken in a state, [S, A]."""
        return self.counts >= self.config.min_count

    @property
    def converged(self) -> bool:
        """Whether further sweeps would change nothing that counts.

        Each is a γ-contraction, so the error is at most γ / (1 - γ) times the last change; where
        γ is 1 there is no such bound, and the last change stands for it.
        """
        gamma = self.config.gamma
        factor = gamma / (1.0 - gamma) if gamma < 1.0 else 1.0
        size = max(1.0, float(np.abs(self._q).max()))
        return bool(factor * self._change[0] <= self.config.tolerance * size)

    def sweep(self) -> None:
        """One iteration over all the data."""
        needed_data(self)
        assert self._batch is not None
        penalty = self.config.penalty / np.sqrt(np.maximum(self.counts, 1))
        value = self.config.unseen_value
        q = fitted_q(self._q, self._batch, self.supported, penalty, value)
        self._change[0] = np.abs(q - self._q).max()
        self._q = q

    def learn(self, total_timesteps: int, callback: Callback | None = None) -> Any:
        """Makes `total_timesteps` further sweeps; those after convergence cost nothing."""
        needed_data(self)
        return make_sweeps(self, total_timesteps, callback)

    def state_values(self, observations: Any = None) -> NDArray[np.float64]:
        """max_a Q(s, a) of a batch of observations, or of all states: [B]."""
        v = best_values(self._q, self.supported, self.config.unseen_value)
        return v if observations is None else v[states_of(self, observations)]

    def action_probabilities(
        self, observations: Any, *, deterministic: bool, mask: Any = None
    ) -> NDArray[np.float64]:
        """π(a|s) of the greedy policy, ties evenly unless deterministic: [B, A].

        Where the data support none of the allowed actions, all of them count as equal.
        """
        states = states_of(self, observations)
        q, usable = self._q[states], self.supported[states]
        allowed = np.ones(q.shape, bool) if mask is None else np.asarray(mask, bool)
        usable &= allowed
        known = usable.any(axis=1, keepdims=True)
        return greedy_probabilities(
            np.where(known, q, 0.0), np.where(known, usable, allowed), deterministic
        )

    def save(self, path: str | PathLike[str]) -> None:
        """Writes all that is needed to go on bit for bit; of the data only a digest."""
        arrays = {"q": self._q, "counts": self.counts, "change": self._change}
        save_offline(self, path, arrays)

    @classmethod
    def load(
        cls,
        path: str | PathLike[str],
        env: Any = None,
        device: str = "cpu",
        data: LoggedData | None = None,
    ) -> OfflineQLearning:
        """Reads a checkpoint; without `env` the agent can predict, but not learn."""
        agent, found = load_offline(cls, path, env, device, data)
        shape = agent.counts.shape
        agent._q = found.array("q", shape)
        agent.counts = found.array("counts", shape, np.int64)
        agent._change = found.array("change", (1,))
        restored: OfflineQLearning = agent
        return restored
