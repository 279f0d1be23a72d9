"""Rewards that show the way and leave the best policy where it is. Ng, Harada & Russell 1999."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Discrete
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from registry.errors import SettingError
from rlsuite_envs.checks import check_real
from rlsuite_envs.tabular.mdp import TabularMDP

__all__ = ["PotentialShaping", "shaped_mdp"]

Potential = Sequence[float] | NDArray[np.floating] | Callable[[Any], float]


class PotentialShaping(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Adds F(s, s') = γ Φ(s') - Φ(s) to each reward, with Φ = 0 where the episode has terminated.

    Along any path these terms add up to what its two ends are worth, so no policy can collect
    them by walking in circles: q*(s, a) becomes q*(s, a) - Φ(s), and the best actions stay the best
    (Ng, Harada & Russell, 1999, Theorem 1). That holds for the γ by which the learner discounts,
    and no other.

    A time limit ends no state's worth: at truncation Φ(s') counts in full, as learners bootstrap
    from there. Put the wrapper around the limit or inside it, the rewards are the same.

    Args:
        env: Any environment.
        potential: Φ: a number for each state, [S], where observations are `Discrete`; or a function
            of the observation.
        gamma: γ in [0, 1], that of the learner.

    Raises:
        SettingError: the potential is no list of finite numbers of that length and no function, or
            `gamma` is outside its range.
    """

    def __init__(self, env: gym.Env[Any, Any], *, potential: Potential, gamma: float) -> None:
        RecordConstructorArgs.__init__(self, potential=potential, gamma=gamma)
        super().__init__(env)
        self._gamma = check_real("gamma", gamma, "a number in [0, 1]", 0.0, 1.0)
        if callable(potential):
            self._potential = potential
        else:
            space = env.observation_space
            if not isinstance(space, Discrete):
                raise SettingError(
                    "potential must be a function of the observation, as observations here are "
                    f"{space}; a number for each state needs Discrete ones."
                )
            table, first = _table(potential, int(space.n)).tolist(), int(space.start)
            self._potential = lambda observation: table[int(observation) - first]
        self._here = 0.0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Resets the environment."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._here = float(self._potential(observation))
        return observation, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Steps the environment and adds F to the reward."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        before = self._here
        self._here = 0.0 if terminated else float(self._potential(observation))
        return (
            observation,
            float(reward) + self._gamma * self._here - before,
            terminated,
            truncated,
            info,
        )


def shaped_mdp(mdp: TabularMDP, potential: Any, gamma: float) -> TabularMDP:
    """The MDP that `PotentialShaping` makes of a table.

    Args:
        mdp: The table.
        potential: Φ, a number for each state, [S].
        gamma: γ in [0, 1].

    Raises:
        SettingError: the potential is no list of S finite numbers, or `gamma` is outside its range.
    """
    gamma = check_real("gamma", gamma, "a number in [0, 1]", 0.0, 1.0)
    phi = _table(potential, mdp.n_states)
    after = np.where(mdp.terminal, 0.0, phi[mdp.next_state])
    return replace(mdp, reward=mdp.reward + gamma * after - phi[:, None, None])


def _table(potential: Any, n_states: int) -> NDArray[np.float64]:
    """Φ as an array; raises `SettingError` unless it is a finite number for each state."""
    table = np.asarray(potential)
    if table.shape != (n_states,) or table.dtype.kind not in "fiub" or not np.isfinite(table).all():
        raise SettingError(
            f"potential must be {n_states} finite numbers, one for each state, or a function of "
            f"the observation; got {table.dtype} of shape {table.shape}."
        )
    return table.astype(np.float64)
