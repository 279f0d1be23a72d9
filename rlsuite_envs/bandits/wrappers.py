"""Wrappers that make bandits harder as life does: late rewards, missing arms, noise.

Each keeps the answer key exact: it has an `oracle` of its own, made from the one below. Put time
limits around them, not inside.
"""

from __future__ import annotations

import math
from collections import UserDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, RecordEpisodeStatistics, TimeLimit
from numpy.typing import NDArray

from registry.bandit_models import normal_quantile
from registry.contracts import HasOracle
from registry.errors import InvalidActionError, OracleError, SettingError
from rlsuite_envs.bandits.arms import arm_index
from rlsuite_envs.bandits.oracle import BanditOracle
from rlsuite_envs.checks import check_count, check_real

__all__ = [
    "ArrivingArms",
    "BatchedFeedback",
    "DelayedFeedback",
    "MaskedArms",
    "RewardNoise",
    "RewardScale",
]

HARMLESS = (OrderEnforcing, PassiveEnvChecker, RecordEpisodeStatistics)

Bools = NDArray[np.bool_]
Pending = tuple[int, int, int, float, NDArray[Any]]
"""When a reward is due, number of the decision, arm, reward, what was observed before it."""


class _BanditWrapper(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
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


class RewardScale(_BanditWrapper):
    """Pays scale · reward + shift. What `info` and the oracle tell is scaled as well.

    Args:
        env: A bandit.
        scale: Above 0, so that the best arms stay the best.
        shift: Any finite number.

    Raises:
        SettingError: a number is outside its range, or the environment is no bandit of rlsuite.
    """

    def __init__(self, env: gym.Env[Any, Any], *, scale: float = 1.0, shift: float = 0.0) -> None:
        super().__init__(env, scale=scale, shift=shift)
        self._scale = check_real("scale", scale, "a number from 1e-12 to 1e12", 1e-12, 1e12)
        self._shift = check_real("shift", shift, "a finite number", -math.inf, math.inf)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Pulls an arm and scales what it pays."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        info["regret"] *= self._scale
        info["expected_reward"] = self._scale * info["expected_reward"] + self._shift
        return observation, self._scale * float(reward) + self._shift, terminated, truncated, info

    def expected_rewards(self) -> NDArray[np.float64]:
        """What each arm pays on average at the coming decision, [K]; part of the answer key."""
        return self._scale * super().expected_rewards() + self._shift

    def _changed(self, oracle: BanditOracle) -> BanditOracle:
        # the constant is for arms of 0 and 1, and changes with the unit of the others
        return replace(oracle, means=self._scale * oracle.means + self._shift, lai_robbins=None)


class RewardNoise(_BanditWrapper):
    """Adds normal noise to each reward, one uniform more per step: sd Φ⁻¹(u).

    Regrets and expected rewards stay without noise, as the answer key does.

    Args:
        env: A bandit.
        sd: Standard deviation of the noise, at least 0.

    Raises:
        SettingError: `sd` is outside its range, or the environment is no bandit of rlsuite.
    """

    def __init__(self, env: gym.Env[Any, Any], *, sd: float) -> None:
        super().__init__(env, sd=sd)
        self._sd = check_real("sd", sd, "a finite number of at least 0", 0.0, math.inf)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Pulls an arm and adds the noise."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        noise = self._sd * normal_quantile(self.np_random.random())
        return observation, float(reward) + noise, terminated, truncated, info

    def _changed(self, oracle: BanditOracle) -> BanditOracle:
        return replace(oracle, lai_robbins=None)  # of other distributions


class MaskedArms(_BanditWrapper):
    """Some arms may not be pulled, at some steps: sleeping arms (Kleinberg et al. 2010).

    `info["action_mask"]`, int8 [K], tells at resets and steps which arms are available at the
    coming decision; `action_masks()` tells the same as bools. Others are refused, not replaced.
    Regret and `optimal_action` are those of the best available arm at this step.

    Args:
        env: A bandit.
        available: Bools, [K], or [S, K] with a row for each step, beginning anew after the last;
            at least one arm in each row.

    Raises:
        SettingError: the table is not as said above, or the environment is no bandit of rlsuite.
    """

    def __init__(self, env: gym.Env[Any, Any], *, available: Any) -> None:
        super().__init__(env, available=available)
        self._available = _check_available(available, self.n_arms)
        self._t = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Resets the bandit."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._t = 0
        return observation, {**info, "action_mask": self.action_masks().astype(np.int8)}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Pulls an arm.

        Raises:
            InvalidActionError: there is no such arm, or it is not available now.
        """
        arm, mask = arm_index(action, self.n_arms), self.action_masks()
        if not mask[arm]:
            raise InvalidActionError(
                f"arm {arm} is not available at step {self._t}; available are "
                f"{np.flatnonzero(mask).tolist()}, see info['action_mask']."
            )
        means = np.where(mask, self.expected_rewards(), -np.inf)
        best = int(means.argmax())
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._t += 1
        info["regret"] = float(means[best] - means[arm])
        info["optimal_action"] = best
        info["action_mask"] = self.action_masks().astype(np.int8)
        return observation, reward, terminated, truncated, info

    def action_masks(self) -> Bools:
        """Which arms are available at the coming decision, [K]."""
        return self._available[self._t % len(self._available)].copy()

    def _changed(self, oracle: BanditOracle) -> BanditOracle:
        rows = self._available
        if len(rows) == 1:
            available = np.broadcast_to(rows[0], oracle.means.shape)
            means = oracle.means
        else:
            shape = (oracle.horizon, *oracle.means.shape[-2:])
            means = np.broadcast_to(oracle.means, shape)
            turns = rows[np.arange(oracle.horizon) % len(rows)]
            available = np.broadcast_to(turns[:, None], shape)
        if oracle.available is not None:
            available = available & oracle.available
        return replace(oracle, means=means, available=available, lai_robbins=None, against=None)

    def _state(self) -> dict[str, Any]:
        return {"t": self._t}

    def _set_state(self, state: Mapping[str, Any]) -> None:
        self._t = check_count(f"{type(self).__name__}.set_state: 't'", state["t"], low=0)


class ArrivingArms(_BanditWrapper):
    """Arms come while the bandit is played, and may go: `MaskedArms` by a timetable.

    Args:
        env: A bandit.
        arrivals: For each arm the step, counted from 0, from which on it is available.
        departures: For each arm the step from which on it is no longer, or None if it stays; None:
            all stay. At each step at least one arm must be there.

    Raises:
        SettingError: the timetable is not as said above, or the environment is no bandit of
            rlsuite.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        *,
        arrivals: Sequence[int],
        departures: Sequence[int | None] | None = None,
    ) -> None:
        n_arms, horizon = int(env.action_space.n), int(env.get_wrapper_attr("horizon"))  # type: ignore[attr-defined]
        come = [check_count("arrivals", step, low=0) for step in arrivals]
        leave = [None] * n_arms if departures is None else departures
        go = [horizon if step is None else check_count("departures", step) for step in leave]
        if not len(come) == len(go) == n_arms:
            raise SettingError(
                f"arrivals and departures must have a step for each of the {n_arms} arms, got "
                f"{len(come)} and {len(go)}."
            )
        clock = np.arange(horizon)[:, None]
        masked = MaskedArms(env, available=(clock >= come) & (clock < go))
        super().__init__(masked, arrivals=arrivals, departures=departures)
        self._masked = masked

    def action_masks(self) -> Bools:
        """Which arms are available at the coming decision, [K]."""
        return self._masked.action_masks()


class _Mailbox:
    """Rewards on their way."""

    def __init__(self) -> None:
        self.t = 0  # the decision that comes next
        self._pending: list[Pending] = []
        self._seen: Any = None

    def begin(self, observation: Any) -> None:
        """A new episode; what was still to come is forgotten."""
        self.t, self._pending, self._seen = 0, [], observation

    def post(
        self, due: int, action: Any, step: tuple[Any, Any, bool, bool, dict[str, Any]]
    ) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """What the bandit has answered, with what arrives now instead of the reward.

        Args:
            due: The step with which this reward arrives, at the latest the last one.
            action: The arm that was pulled.
            step: What the step of the bandit has returned.
        """
        observation, reward, terminated, truncated, info = step
        entry = (due, self.t, int(action), float(reward), np.asarray(self._seen))
        last = math.inf if terminated or truncated else self.t
        waiting = [*self._pending, entry]
        here = [one for one in waiting if one[0] <= last]
        self._pending = [one for one in waiting if one[0] > last]
        info["decision_id"], info["feedback"] = self.t, _feedback(here, np.asarray(observation))
        self.t, self._seen = self.t + 1, observation
        total = math.fsum(one[3] for one in here)
        return observation, total, terminated, truncated, info

    def state(self) -> dict[str, Any]:
        """As JSON can hold it."""
        seen = None if self._seen is None else np.asarray(self._seen).tolist()
        waiting = [[*one[:4], one[4].tolist()] for one in self._pending]
        return {"t": self.t, "seen": seen, "pending": waiting}

    def restore(self, state: Mapping[str, Any], dtype: Any) -> None:
        """Goes on from a state; observations are of type `dtype`."""
        self.t = check_count("set_state: 't'", state["t"], low=0)
        self._seen = None if state["seen"] is None else np.array(state["seen"], dtype)
        self._pending = [
            (due, number, arm, reward, np.array(seen, dtype))
            for due, number, arm, reward, seen in state["pending"]
        ]


class DelayedFeedback(_BanditWrapper):
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
            P(D = k) = p (1 - p)^k with p = 1 / (1 + delay), from one uniform more per step.

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
        self._mailbox = _Mailbox()
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

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Resets the bandit; what was still to come is forgotten."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._mailbox.begin(observation)
        return observation, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Pulls an arm, and hands over what arrives at this step."""
        answer = self.env.step(action)
        return self._mailbox.post(self._mailbox.t + self._delay(), action, answer)

    def _state(self) -> dict[str, Any]:
        return self._mailbox.state()

    def _set_state(self, state: Mapping[str, Any]) -> None:
        self._mailbox.restore(state, self.observation_space.dtype)

    def _delay(self) -> int:
        if self._log_stay == 0.0:
            return self._steps
        return int(math.log(1.0 - self.np_random.random()) / self._log_stay)


class BatchedFeedback(_BanditWrapper):
    """Rewards arrive together, after every so many decisions; else as `DelayedFeedback`.

    Args:
        env: A bandit.
        every: Decisions of a batch, at least 1; the last one of an episode may be shorter.

    Raises:
        SettingError: `every` is outside its range, or the environment is no bandit of rlsuite.
    """

    def __init__(self, env: gym.Env[Any, Any], *, every: int) -> None:
        super().__init__(env, every=every)
        self._mailbox = _Mailbox()
        self._every = check_count("every", every)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Resets the bandit; what was still to come is forgotten."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._mailbox.begin(observation)
        return observation, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Pulls an arm, and hands over what arrives at this step."""
        batch = self._mailbox.t // self._every
        return self._mailbox.post((batch + 1) * self._every - 1, action, self.env.step(action))

    def _state(self) -> dict[str, Any]:
        return self._mailbox.state()

    def _set_state(self, state: Mapping[str, Any]) -> None:
        self._mailbox.restore(state, self.observation_space.dtype)


def _feedback(arrived: list[Pending], like: NDArray[Any]) -> UserDict[str, NDArray[Any]]:
    """The columns of `info["feedback"]`. No dict: vector environments would take it apart."""
    seen = [one[4] for one in arrived]
    return UserDict(
        decision_id=np.array([one[1] for one in arrived], np.int64),
        action=np.array([one[2] for one in arrived], np.int64),
        reward=np.array([one[3] for one in arrived], np.float64),
        observation=np.stack(seen) if seen else np.zeros((0, *like.shape), like.dtype),
    )


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


def _check_available(available: Any, n_arms: int) -> Bools:
    """The table [S, K]; raises `SettingError` unless it is one, with an arm in each row."""
    table = np.atleast_2d(np.asarray(available))
    if table.dtype != np.bool_ or table.ndim != 2 or table.shape[1] != n_arms:
        raise SettingError(
            f"available must be bools, [{n_arms}] or [S, {n_arms}], one for each arm; got "
            f"{table.dtype} of shape {np.shape(available)}."
        )
    empty = np.flatnonzero(~table.any(axis=1))
    if len(empty):
        raise SettingError(f"at each step some arm must be available; at step {empty[0]} none is.")
    return table
