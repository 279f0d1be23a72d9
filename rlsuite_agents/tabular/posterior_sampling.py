"""Posterior sampling for reinforcement learning, PSRL (Strens 2000; Osband et al. 2013, alg. 1).

Before each episode a world is drawn from the posterior, and the policy that would be optimal in it
is played till the end: what might be good is tried as often as it is likely to be the best.

    p(·|s, a) ~ Dirichlet(w / (S + 1) + counts)        S next states and the end
    r(s, a)   ~ Normal, with a normal prior and noise of known size

Differs from the paper: the drawn world is solved with a discount instead of a horizon, so that the
policy needs no clock; an episode cut off by a time limit ends without its last state being an end;
in tasks without ends another world is drawn after `resample_after` steps; masked actions are not
considered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from registry.contracts import Transition
from registry.errors import SettingError
from registry.seeding import Stream, generator
from rlsuite_agents.functional.experience import note_mask
from rlsuite_agents.functional.exploration import greedy, greedy_probabilities
from rlsuite_agents.functional.posterior import (
    Prior,
    mean_world,
    optimal_action_values,
    sample_world,
)
from rlsuite_agents.loops import Session, learn, learn_many
from rlsuite_agents.parts.agent_checkpoint import load_tables, save_tables
from rlsuite_agents.parts.predict import predict
from rlsuite_agents.parts.settings import check_count, check_range
from rlsuite_agents.parts.spaces import table_rows, table_sizes
from rlsuite_agents.parts.threads import one_blas_thread

__all__ = ["PosteriorSampling", "PosteriorSamplingConfig"]

MOST_COUNTS = 2**26
"""Half a GiB of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PosteriorSamplingConfig:
    """Settings of `PosteriorSampling`."""

    gamma: float = 0.99  # γ of the policies that are played, in [0, 1)
    prior_weight: float = 1.0  # w, observations that the prior counts for; less would underflow
    reward_mean: float = 0.0  # of the prior of a pair's mean reward
    reward_scale: float = 1.0  # standard deviation of that prior, above 0
    reward_noise: float = 0.1  # standard deviation of a reward about its mean, above 0
    resample_after: int = 50  # steps after which a policy is given up within an episode

    def __post_init__(self) -> None:
        check_range(self, "gamma", "[0, 1)")
        check_range(self, "prior_weight", "[0.1, inf)")
        check_range(self, "reward_mean", "(-inf, inf)")
        check_range(self, "reward_scale", "(0, inf)")
        check_range(self, "reward_noise", "(0, inf)")
        check_count(self, "resample_after", 1)


DEFAULT = PosteriorSamplingConfig()


class Tables(NamedTuple):
    """What has been seen, and the world that is believed in now."""

    counts: NDArray[np.float64]  # of the next states and, last, of the end, [S, A, S + 1]
    reward_sum: NDArray[np.float64]  # [S, A]
    allowed: NDArray[np.bool_]  # the mask that was last seen in s, [S, A]
    q: NDArray[np.float64]  # of the world that was drawn, [S, A]
    age: NDArray[np.int64]  # steps since that, [1]


class PosteriorSampling:
    """Posterior sampling on a table: observations and actions are `Discrete`."""

    id = "rlsuite/PosteriorSampling-v0"
    config_type = PosteriorSamplingConfig
    learn, learn_many = learn, classmethod(learn_many)
    predict = predict
    save, load = save_tables, load_tables()

    def __init__(
        self, env: Any, config: PosteriorSamplingConfig = DEFAULT, *, seed: int, device: str = "cpu"
    ) -> None:
        n_states, n_actions = table_sizes(env, device, "PosteriorSampling")
        if n_states * n_actions * (n_states + 1) > MOST_COUNTS:
            raise SettingError(
                "PosteriorSampling counts every next state of every pair, at most "
                f"{MOST_COUNTS}: {n_states} states and {n_actions} actions are too many."
            )
        self.env, self.config, self.num_timesteps = env, config, 0
        self.rng, self.prediction_rng = (generator(seed, Stream.AGENT, k) for k in (0, 1))
        self.session = Session(env, seed)
        self.tables = Tables(
            counts=np.zeros((n_states, n_actions, n_states + 1)),
            reward_sum=np.zeros((n_states, n_actions)),
            allowed=np.ones((n_states, n_actions), bool),
            q=np.zeros((n_states, n_actions)),
            age=np.zeros(1, np.int64),
        )
        self.prior = Prior(
            config.prior_weight, config.reward_mean, config.reward_scale, config.reward_noise
        )
        self.mean_q: NDArray[np.float64] | None = None  # of the posterior mean, once asked for
        self.resample()

    @property
    def q(self) -> NDArray[np.float64]:
        """A copy of q* of the world that was drawn, [S, A]."""
        return self.tables.q.copy()

    def resample(self) -> None:
        """Draws a world from the posterior, and solves it."""
        x = self.tables
        x.q[...] = self.solve(*sample_world(x.counts, x.reward_sum, self.prior, self.rng))
        x.age[0] = 0

    def solve(self, r: NDArray[np.float64], p: NDArray[np.float64]) -> NDArray[np.float64]:
        """q* of a world, [S, A]."""
        x = self.tables
        start = np.where(x.allowed, x.q, -np.inf).argmax(axis=1)
        with one_blas_thread():
            return optimal_action_values(r, p[:, :, :-1], self.config.gamma, x.allowed, start)

    def act(self, observation: Any, mask: Any, rng: np.random.Generator) -> tuple[int, Any]:
        """What is optimal in the world that was drawn; draws nothing."""
        return greedy(self.tables.q[observation], mask), {}

    def observe(self, transition: Transition) -> None:
        """Counts one transition; draws another world if an episode is over, or has lasted long."""
        x, t = self.tables, transition
        x.counts[t.observation, t.action, -1 if t.terminated else t.next_observation] += 1
        x.reward_sum[t.observation, t.action] += t.reward
        note_mask(x.allowed, t.observation, t.mask)
        note_mask(x.allowed, t.next_observation, t.next_mask)
        x.age[0] += 1
        self.mean_q = None
        if t.terminated or t.truncated or x.age[0] >= self.config.resample_after:
            self.resample()

    def action_probabilities(
        self, observations: Any, *, deterministic: bool, mask: Any = None
    ) -> NDArray[np.float64]:
        """π(a|s) of `act`, or of the policy optimal in the posterior mean if deterministic."""
        x = self.tables
        q: Any = x.q
        if deterministic:
            if self.mean_q is None:
                self.mean_q = self.solve(*mean_world(x.counts, x.reward_sum, self.prior))
            q = self.mean_q
        rows = np.array(table_rows(q, observations)).reshape(-1, x.q.shape[1])
        return greedy_probabilities(rows, mask, True)
