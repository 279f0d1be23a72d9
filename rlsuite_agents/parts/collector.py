"""Collects rollouts: lanes, normalisation, episode totals, and the budget of `learn`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.contracts import Callback
from registry.errors import DivergenceError, InvalidObservationError, SettingError
from rlsuite_agents.loops import check_steps
from rlsuite_agents.parts.actor_critic import ActorCritic
from rlsuite_agents.parts.checkpoint import Checkpoint
from rlsuite_agents.parts.episodes import Episodes
from rlsuite_agents.parts.features import Encoder
from rlsuite_agents.parts.heads import Head
from rlsuite_agents.parts.lanes import lanes_of
from rlsuite_agents.parts.normalizer import ObservationNormalizer, RewardNormalizer
from rlsuite_agents.parts.optimizers import NoFiniteNorm
from rlsuite_agents.parts.rollout import EpisodeTotals, Rollout

__all__ = ["Collector", "learn_in_lanes"]

Floats = NDArray[np.float32]


class Collector:
    """Steps the environments with a policy and fills rollouts.

    Attributes:
        lanes: where the episodes run.
        rollout: the part collected so far.
        episodes: their totals, in rewards as the environment pays them.
    """

    def __init__(
        self,
        env: Any,
        config: Any,
        encoder: Encoder,
        head: Head,
        rollout: Rollout | Episodes,
        seed: int,
    ) -> None:
        """Resets nothing yet.

        Args:
            env: an environment or a vector of them.
            config: `num_envs`, `gamma`, `normalize_observations`, `normalize_rewards`, and
                `kl_beta` where the agent has it.
            encoder: of one observation.
            head: of the policy.
            rollout: empty.
            seed: of the environments.
        """
        n = config.num_envs
        self.lanes = lanes_of(env, n, encoder, seed)
        self.rollout = rollout
        self.episodes = EpisodeTotals(n)
        self.observations = (
            ObservationNormalizer(encoder.size) if config.normalize_observations else None
        )
        self.rewards = RewardNormalizer(n, config.gamma) if config.normalize_rewards else None
        self._head, self._kl_beta = head, getattr(config, "kl_beta", 0.0)

    def step(self, networks: ActorCritic, rng: np.random.Generator, number: int) -> int:
        """One step of every lane, added to the rollout; returns how many steps of experience.

        Raises:
            InvalidObservationError: an environment returned NaN, or what is outside its space.
            SettingError: `kl_beta` is set, but there is no `info["ref_logprob"]`.
        """
        seen, mask = self.lanes.observe()
        alive = self.lanes.alive
        if self.observations is not None:
            self.observations.update(seen[alive])
        features = self.scaled(seen)
        actions, log_prob = networks.act(features, mask, rng)
        taken = int(alive.sum())
        if taken:  # else every lane is only being reset
            self.rollout.add(features, mask, actions, log_prob, alive)
        stepped = self.lanes.step(self._head.played(actions), number)
        if not np.isfinite(stepped.features).all():
            raise InvalidObservationError(
                f"step {number + 1}: an environment returned an observation that holds NaN or "
                "infinity."
            )
        self.episodes.add(stepped, alive)
        rewards = stepped.rewards
        if self._kl_beta:
            rewards = rewards - self._kl_penalty(log_prob, alive)
        if self.rewards is not None:
            rewards = self.rewards(rewards, stepped.over, alive)
        if taken:
            self.rollout.finish(stepped, rewards, self.scaled(stepped.features))
        return taken

    def _kl_penalty(self, log_prob: Floats, alive: NDArray[np.bool_]) -> NDArray[np.float64]:
        """β (log π(A|S) - log ref(A|S)) of a step of every lane, [N]."""
        reference = self.lanes.told("ref_logprob")
        if not np.isfinite(reference[alive]).all():
            raise SettingError(
                f"kl_beta is {self._kl_beta}, which needs the reference's log-probability of "
                f'each action in info["ref_logprob"]; the environment gives {reference!r:.80}. '
                "Set kl_beta to 0 where there is no reference policy."
            )
        return np.where(alive, self._kl_beta * (log_prob - reference), 0.0)

    def scaled(self, features: Floats) -> Floats:
        """Normalised features, where that is set."""
        return features if self.observations is None else self.observations(features)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """For a checkpoint; the lanes are in the session."""
        parts = (self.rollout, self.episodes, self.observations, self.rewards)
        return {k: v for part in parts if part is not None for k, v in part.arrays().items()}

    def restore(self, found: Checkpoint, own: Mapping[str, Any]) -> None:
        """Goes on from `arrays`; raises `CheckpointError` where they do not fit."""
        self.rollout.restore(found, int(own["filled"]))
        for part in (self.episodes, self.observations, self.rewards):
            if part is not None:
                part.restore(found)


def learn_in_lanes(agent: Any, total_timesteps: int, callback: Callback | None) -> Any:
    """Lets an agent of several lanes take `total_timesteps` further steps, all lanes together.

    Steps too few for one of all lanes are kept for the next call, so that `learn(a); learn(b)`
    equals `learn(a + b)`. `callback(agent)` follows each step of all lanes; False stops.

    Args:
        agent: `step()` takes one step in every lane and returns how many; `unspent` is kept here.
        total_timesteps: at least 0.
        callback: or None.

    Raises:
        SettingError: the number of steps is not whole or is negative.
        DivergenceError: the gradient is not finite any more.
    """
    budget = check_steps(total_timesteps) + agent.unspent
    while budget >= agent.config.num_envs:
        try:
            budget -= agent.step()
        except NoFiniteNorm as error:
            raise DivergenceError(f"step {agent.num_timesteps}: {error}") from error
        if callback is not None and callback(agent) is False:
            budget = 0
    agent.unspent = budget
    return agent
