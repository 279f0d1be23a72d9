"""Wrappers that make bandits harder as life does: late rewards, missing arms, noise.

Each keeps the answer key exact: it has an `oracle` of its own, made from the one below. They stack
in any order. Put time limits inside late rewards: around them they cut rewards off.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from registry.bandit_models import normal_quantile
from registry.errors import InvalidActionError, SettingError
from rlsuite_envs.bandits.arms import arm_index
from rlsuite_envs.bandits.late_rewards import BatchedFeedback, DelayedFeedback
from rlsuite_envs.bandits.oracle import BanditOracle
from rlsuite_envs.bandits.wrapper import BanditWrapper, Step
from rlsuite_envs.checks import check_count, check_real

__all__ = [
    "ArrivingArms",
    "BatchedFeedback",
    "DelayedFeedback",
    "MaskedArms",
    "RewardNoise",
    "RewardScale",
]

Bools = NDArray[np.bool_]


class RewardScale(BanditWrapper):
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

    def step(self, action: Any) -> Step:
        """Pulls an arm and scales what it pays."""
        step = _repaid(self.env.step(action), self._scaled)
        info = step[4]
        info["regret"] *= self._scale
        info["expected_reward"] = self._scaled(info["expected_reward"])
        return step

    def expected_rewards(self) -> NDArray[np.float64]:
        """What each arm pays on average at the coming decision, [K]; part of the answer key."""
        return self._scaled(super().expected_rewards())

    def _scaled(self, reward: Any) -> Any:
        return self._scale * reward + self._shift

    def _changed(self, oracle: BanditOracle) -> BanditOracle:
        # divergences between arms stay what they were, and gaps grow with the unit
        slope = oracle.lai_robbins
        slope = None if slope is None else self._scale * slope
        return replace(oracle, means=self._scaled(oracle.means), lai_robbins=slope)


class RewardNoise(BanditWrapper):
    """Adds normal noise to each reward, one uniform more for each: sd Φ⁻¹(u).

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

    def step(self, action: Any) -> Step:
        """Pulls an arm and adds the noise."""
        return _repaid(self.env.step(action), self._noisy)

    def _noisy(self, reward: float) -> float:
        return reward + self._sd * normal_quantile(self.np_random.random())

    def _changed(self, oracle: BanditOracle) -> BanditOracle:
        return replace(oracle, lai_robbins=None)  # of other distributions


class MaskedArms(BanditWrapper):
    """Some arms may not be pulled, at some steps: sleeping arms (Kleinberg et al. 2010).

    `info["action_mask"]`, int8 [K], tells at resets and steps which arms are available at the
    coming decision; `action_masks()` tells the same as bools. Others are refused, not replaced.
    Regret and `optimal_action` are those of the best available arm at this step.

    Args:
        env: A bandit.
        available: Bools, [K], or [S, K] with a row for each step, beginning anew after the last;
            at least one arm in each row. Where `env` has masks too, both hold.

    Attributes:
        available: The arms that this mask and those below leave, [S, K].

    Raises:
        SettingError: the table is not as said above, or the environment is no bandit of rlsuite.
    """

    def __init__(self, env: gym.Env[Any, Any], *, available: Any) -> None:
        super().__init__(env, available=available)
        self.available = _check_available(available, self.n_arms)
        if env.has_wrapper_attr("available"):
            both = _both(self.available, env.get_wrapper_attr("available"), _horizon(env))
            self.available = _check_available(both, self.n_arms)
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
        return self.available[self._t % len(self.available)].copy()

    def _changed(self, oracle: BanditOracle) -> BanditOracle:
        rows = self.available
        if len(rows) == 1:
            available = np.broadcast_to(rows[0], oracle.means.shape)
            means = oracle.means
        else:
            shape = (oracle.horizon, *oracle.means.shape[-2:])
            means = np.broadcast_to(oracle.means, shape)
            turns = rows[np.arange(oracle.horizon) % len(rows)]
            available = np.broadcast_to(turns[:, None], shape)
        return replace(oracle, means=means, available=available, lai_robbins=None, against=None)

    def _state(self) -> dict[str, Any]:
        return {"t": self._t}

    def _set_state(self, state: Mapping[str, Any]) -> None:
        self._t = check_count(f"{type(self).__name__}.set_state: 't'", state["t"], low=0)


class ArrivingArms(BanditWrapper):
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
        n_arms, horizon = int(env.action_space.n), _horizon(env)  # type: ignore[attr-defined]
        leave = [None] * n_arms if departures is None else _listed("departures", departures)
        come = [check_count("arrivals", step, low=0) for step in _listed("arrivals", arrivals)]
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


def _repaid(step: Any, change: Callable[[float], float]) -> Step:
    """What a step has returned, with every reward changed: its own, or those of its feedback."""
    observation, reward, terminated, truncated, info = step
    if "feedback" not in info:
        return observation, change(float(reward)), terminated, truncated, info
    rewards = [change(one) for one in info["feedback"]["reward"].tolist()]
    info["feedback"] = info["feedback"] | {"reward": np.array(rewards, np.float64)}
    return observation, math.fsum(rewards), terminated, truncated, info


def _horizon(env: gym.Env[Any, Any]) -> int:
    """Steps of an episode of the bandit."""
    return int(env.get_wrapper_attr("horizon"))


def _both(ours: Bools, below: Bools, horizon: int) -> Bools:
    """The arms that are in both tables, step by step, [S, K]."""
    steps = np.arange(min(math.lcm(len(ours), len(below)), horizon))
    both: Bools = ours[steps % len(ours)] & below[steps % len(below)]
    return both


def _listed(setting: str, steps: Any) -> list[Any]:
    """The steps of a timetable; raises `SettingError` where it is not a list."""
    if not isinstance(steps, Sequence | np.ndarray) or isinstance(steps, str):
        raise SettingError(f"{setting} must be a list with a step for each arm, got {steps!r}.")
    return list(steps)


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
