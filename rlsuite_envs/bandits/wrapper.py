"""What the wrappers of bandits have in common: the answer key and saved states go through them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, RecordEpisodeStatistics, TimeLimit
from numpy.typing import NDArray

from registry.contracts import HasOracle
from registry.errors import OracleError, SettingError
from rlsuite_envs.bandits.oracle import BanditOracle

__all__ = ["BanditWrapper", "Step"]

HARMLESS = (OrderEnforcing, PassiveEnvChecker, RecordEpisodeStatistics)

Step = tuple[Any, float, bool, bool, dict[str, Any]]


class BanditWrapper(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """A wrapper around a bandit of rlsuite: oracle and saved states go through it.

    Raises:
        SettingError: what it wraps is no such bandit.
    """

    def __init__(self, env: gym.Env[Any, Any], **keywords: Any) -> None:
        RecordConstructorArgs.__init__(self, **keywords)
        super().__init__(env)
        if not env.has_wrapper_attr("expected_rewards"):
            raise SettingError(
                f"{type(self).__name__} wraps the bandits of rlsuite_envs.bandits, which tell what "
                f"each arm pays on average; {type(env.unwrapped).__name__} is none of them."
            )
        self.n_arms: int = env.action_space.n  # type: ignore[attr-defined]

    def expected_rewards(self) -> NDArray[np.float64]:
        """What each arm pays on average at the coming decision, [K]; part of the answer key."""
        means: NDArray[np.float64] = self.env.get_wrapper_attr("expected_rewards")()
        return means

    def oracle(self, horizon: int | None = None) -> BanditOracle:
        """The answer key with this wrapper; see `Bandit.oracle`.

        Raises:
            OracleError: there is an unknown wrapper below, which may change the task.
        """
        return self._changed(_oracle_below(self.env, horizon))

    def get_state(self) -> dict[str, Any]:
        """The state of the bandit and of the wrapper, as JSON can hold it."""
        return {"env": self.env.get_wrapper_attr("get_state")(), **self._state()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `get_state` returned, in the same wrapper around the same bandit."""
        self.env.get_wrapper_attr("set_state")(state["env"])
        self._set_state(state)

    def _changed(self, oracle: BanditOracle) -> BanditOracle:
        return oracle

    def _state(self) -> dict[str, Any]:
        return {}

    def _set_state(self, state: Mapping[str, Any]) -> None:
        pass


def _oracle_below(env: Any, horizon: int | None) -> BanditOracle:
    """The answer key of the nearest layer that has one, within the time limits on the way."""
    while not isinstance(env, HasOracle):
        if isinstance(env, TimeLimit):
            limit = env._max_episode_steps
            horizon = limit if horizon is None else min(limit, horizon)
        elif not isinstance(env, HARMLESS):
            raise OracleError(
                f"the wrapper {type(env).__name__} may change the task, so there is no answer key "
                "above it."
            )
        env = env.env
    oracle: Any = env.oracle(horizon)
    return oracle  # that of a bandit, as all below is
