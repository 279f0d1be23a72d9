"""Rewards that arrive later than they were earned: one by one, or in batches."""

from __future__ import annotations

import math
from collections import UserDict
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from registry.errors import OracleError, SettingError
from rlsuite_envs.bandits.oracle import BanditOracle
from rlsuite_envs.bandits.wrapper import BanditWrapper, Step
from rlsuite_envs.checks import check_count, check_real

__all__ = ["BatchedFeedback", "DelayedFeedback"]

Pending = tuple[int, int, int, float, NDArray[Any]]
"""When a reward is due, number of the decision, arm, reward, what was observed before it."""


class _Late:
    """Keeps rewards until they arrive; a wrapper derives from this and from `BanditWrapper`."""

    env: Any
    observation_space: Any
    _due: Callable[[], int]  # with which step a reward arrives, at the latest the last one

    def __init__(self, env: gym.Env[Any, Any], **keywords: Any) -> None:
        super().__init__(env, **keywords)  # type: ignore[call-arg]
        self._t = 0  # the decision that comes next
        self._pending: list[Pending] = []
        self._seen: Any = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Resets the bandit; what was still to come is forgotten."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._t, self._pending, self._seen = 0, [], np.array(observation)
        return observation, info

    def step(self, action: Any) -> Step:
        """Pulls an arm, and hands over what arrives at this step instead of the reward.

        Where rewards are late already, those that come with this step are late once more.
        """
        observation, reward, terminated, truncated, info = self.env.step(action)
        new = [(self._t, int(action), float(reward), self._seen)]
        if "feedback" in info:
            late = info["feedback"]
            columns = (late[name].tolist() for name in ("decision_id", "action", "reward"))
            new = list(zip(*columns, late["observation"], strict=True))
        last = math.inf if terminated or truncated else self._t
        waiting = sorted([*self._pending, *((self._due(), *one) for one in new)], key=itemgetter(1))
        here = [one for one in waiting if one[0] <= last]
        self._pending = [one for one in waiting if one[0] > last]
        info["decision_id"], info["feedback"] = self._t, _feedback(here, self._seen)
        self._t, self._seen = self._t + 1, np.array(observation)
        return observation, math.fsum(one[3] for one in here), terminated, truncated, info

    def oracle(self, horizon: int | None = None) -> BanditOracle:
        """The answer key of whole episodes; see `Bandit.oracle`.

        Raises:
            OracleError: there is an unknown wrapper below, which may change the task, or a time
                limit of `horizon` steps cuts rewards off.
        """
        oracle: BanditOracle = super().oracle()  # type: ignore[misc]
        if horizon is not None and horizon < oracle.horizon:
            raise OracleError(
                f"a time limit of {horizon} steps around late rewards, whose episodes have "
                f"{oracle.horizon}, cuts off those that are still to come: put it inside."
            )
        return oracle

    def _state(self) -> dict[str, Any]:
        seen = None if self._seen is None else self._seen.tolist()
        waiting = [[*one[:4], one[4].tolist()] for one in self._pending]
        return {"t": self._t, "seen": seen, "pending": waiting}

    def _set_state(self, state: Mapping[str, Any]) -> None:
        dtype = self.observation_space.dtype
        self._t = check_count(f"{type(self).__name__}.set_state: 't'", state["t"], low=0)
        self._seen = None if state["seen"] is None else np.array(state["seen"], dtype)
        self._pending = [
            (due, number, arm, reward, np.array(seen, dtype))
            for due, number, arm, reward, seen in state["pending"]
        ]


class DelayedFeedback(_Late, BanditWrapper):
    """The reward of a decision arrives some steps later (Joulani, György & Szepesvári 2013).

    `info["decision_id"]` is the number of the decision just taken, from 0 in each episode.
    `info["feedback"]` is what arrives with this step, by columns: `decision_id` int64 [m], `action`
    int64 [m], `reward` float64 [m] and `observation` [m, ...], what was seen before the decision;
    oldest decisions first, and m may be 0. The `reward` of the step is the sum of what arrives, and
    all that is still out arrives with the last step, so that returns stay what they were. Agents
    learn from `feedback`, where there is one, and then take no notice of `reward`.

    `regret`, `expected_reward` and `optimal_action` belong to the decision just taken.

    Args:
        env: A bandit.
        delay: Steps that a reward is late, at least 0; 0 is at once. The mean, if they are drawn.
        distribution: `"fixed"`, or `"geometric"`: each reward is late by D steps,
            P(D = k) = p (1 - p)^k with p = 1 / (1 + delay), from one uniform more for each.

    Raises:
        SettingError: a keyword is outside its range, or the environment is no bandit of rlsuite.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        *,
        delay: float,
        distribution: Literal["fixed", "geometric"] = "fixed",
    ) -> None:
        super().__init__(env, delay=delay, distribution=distribution)
        if distribution not in ("fixed", "geometric"):
            raise SettingError(
                f"distribution must be 'fixed' or 'geometric', got {distribution!r}."
            )
        self._steps, self._log_stay = 0, 0.0
        if distribution == "fixed":
            self._steps = check_count("delay", delay, low=0)
        else:
            mean = check_real("delay", delay, "a number from 1e-9 to 1e9", 1e-9, 1e9)
            self._log_stay = math.log(mean / (1.0 + mean))

    def _due(self) -> int:
        if self._log_stay == 0.0:
            return self._t + self._steps
        return self._t + int(math.log(1.0 - self.np_random.random()) / self._log_stay)


class BatchedFeedback(_Late, BanditWrapper):
    """Rewards arrive together, after every so many decisions; else as `DelayedFeedback`.

    Args:
        env: A bandit.
        every: Decisions of a batch, at least 1; the last one of an episode may be shorter.

    Raises:
        SettingError: `every` is outside its range, or the environment is no bandit of rlsuite.
    """

    def __init__(self, env: gym.Env[Any, Any], *, every: int) -> None:
        super().__init__(env, every=every)
        self._every = check_count("every", every)

    def _due(self) -> int:
        return (self._t // self._every + 1) * self._every - 1


def _feedback(arrived: list[Pending], like: NDArray[Any]) -> UserDict[str, NDArray[Any]]:
    """The columns of `info["feedback"]`. No dict: vector environments would take it apart."""
    seen = [one[4] for one in arrived]
    return UserDict(
        decision_id=np.array([one[1] for one in arrived], np.int64),
        action=np.array([one[2] for one in arrived], np.int64),
        reward=np.array([one[3] for one in arrived], np.float64),
        observation=np.stack(seen) if seen else np.zeros((0, *like.shape), like.dtype),
    )
