"""The bandits as vector environments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from rlsuite_envs.bandits.bernoulli import BernoulliBandit
from rlsuite_envs.bandits.contextual import ContextualBandit
from rlsuite_envs.bandits.oracle import BanditOracle
from rlsuite_envs.compiled import compiled
from rlsuite_envs.rendering.arms import Pulls
from rlsuite_envs.vector.base import RESET, SKIP, STEP, Batch, Column, NativeVectorEnv
from rlsuite_envs.vector.checks import Ints
from rlsuite_envs.vector.pcg64 import bit_state, uniform, words

__all__ = ["BernoulliVectorEnv", "ContextualVectorEnv", "bernoulli_bandit", "contextual_bandit"]

STEP_INFO: dict[str, Column] = {
    "regret": ((), np.float64),
    "expected_reward": ((), np.float64),
    "optimal_action": ((), np.int64),
}


class _Tally:
    """What the episodes have shown of the arms, for the frames; nothing without a render mode."""

    def __init__(self, single: BernoulliBandit | ContextualBandit, num_envs: int) -> None:
        self._display = single.display
        count = 0 if self._display is None else num_envs
        self._pulls = [Pulls.none(single.n_arms) for _ in range(count)]

    def follow(self, todo: NDArray[np.uint8], actions: Ints, reward: NDArray[np.float64]) -> None:
        for i, pulls in enumerate(self._pulls):
            if todo[i] == STEP:
                pulls.saw(actions.item(i), reward.item(i))
            elif todo[i] == RESET:
                pulls.forget()

    def forget(self, i: int) -> None:
        if self._pulls:
            self._pulls[i].forget()

    def show(self, i: int) -> None:
        if self._display is not None:
            self._display.remember(self._pulls[i])


class BernoulliVectorEnv(NativeVectorEnv):
    """n Bernoulli bandits, pulled together. Arms from a prior are drawn for each row in Python.

    Args:
        single: The bandit; its keywords hold for every row.
        num_envs: n, at least 1.
        max_episode_steps: A limit beside the bandit's own horizon; the shorter one holds.
        autoreset_mode: `"NextStep"`, `"SameStep"` or `"Disabled"`.

    Raises:
        SettingError: a keyword is outside its range.
    """

    def __init__(
        self,
        single: BernoulliBandit,
        num_envs: int = 1,
        *,
        max_episode_steps: int | None = None,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
    ) -> None:
        means = single.get_state()["means"]
        self._draws = means is None
        super().__init__(
            single,
            num_envs,
            max_episode_steps=max_episode_steps,
            autoreset_mode=autoreset_mode,
            step_info=STEP_INFO,
            reset_info={"new_instance": ((), np.bool_)} if self._draws else {},
        )
        self._limit = min(self._limit, single.horizon)
        self._tally = _Tally(single, num_envs)
        self._every_episode = single.redraw == "episode"
        self._drawn = np.full(num_envs, not self._draws)
        self._means = np.zeros((num_envs, single.n_arms))
        self._best_arm = np.zeros(num_envs, np.int64)
        if means is not None:
            for i in range(num_envs):
                self._use_arms(i, means)

    def oracle(self, horizon: int | None = None, *, row: int | None = None) -> BanditOracle:
        """The answer key of the present arms; see `BernoulliBandit.oracle`.

        Args:
            horizon: A time limit; None: that of this vector environment.
            row: The sub-environment whose arms are meant; needed where they are drawn.

        Raises:
            OracleError: the rows differ, and none is named; or no arms have been drawn yet.
            SettingError: a keyword is outside its range.
        """
        limit = self.max_episode_steps if horizon is None else horizon
        oracle: BanditOracle = self._single_of(row).oracle(limit)
        return oracle

    @property
    def _differs(self) -> bool:
        return self._draws

    def _advance(self, todo: NDArray[np.uint8], actions: Ints, batch: Batch) -> int:
        if self._draws:
            fresh = (todo == RESET) & (self._reseeded | ~self._drawn | self._every_episode)
            for i in np.flatnonzero(fresh).tolist():
                self._draw_arms(i)
            batch.columns["new_instance"][:] = fresh
        ended: int = _pull(
            todo,
            actions,
            self._rng,
            self._clock,
            self._means,
            self._best_arm,
            self._limit,
            batch.reward,
            batch.truncated,
            *(batch.columns[key] for key in STEP_INFO),
        )
        self._tally.follow(todo, actions, batch.reward)
        return ended

    def _put_into_single(self, i: int) -> Any:
        single = super()._put_into_single(i)
        self._tally.show(i)
        return single

    def _observations(self) -> NDArray[np.float32]:
        return np.ones((self.num_envs, 1), np.float32)

    def _observation(self, i: int) -> NDArray[np.float32]:
        return np.ones(1, np.float32)

    def _row(self, i: int) -> dict[str, Any]:
        means = self._means[i].tolist() if self._drawn[i] else None
        return {"t": self._clock.item(i), "means": means}

    def _set_row(self, i: int, state: Mapping[str, Any]) -> None:
        self._tally.forget(i)
        self._clock[i], self._drawn[i] = state["t"], state["means"] is not None
        if state["means"] is not None:
            self._use_arms(i, state["means"])

    def _draw_arms(self, i: int) -> None:
        """Lets the single environment draw arms with the generator of row i."""
        single: Any = self._single
        single.set_state({"rng": bit_state(self._rng[i]), "t": 0, "means": None})
        single.reset()
        state = single.get_state()
        self._rng[i] = words(state["rng"], type(self).__name__)
        self._drawn[i] = True
        self._use_arms(i, state["means"])

    def _use_arms(self, i: int, means: list[float]) -> None:
        self._means[i] = means
        self._best_arm[i] = means.index(max(means))


class ContextualVectorEnv(NativeVectorEnv):
    """n contextual bandits with the same θ, pulled together.

    Args:
        single: The bandit; its keywords hold for every row.
        num_envs: n, at least 1.
        max_episode_steps: A limit beside the bandit's own horizon; the shorter one holds.
        autoreset_mode: `"NextStep"`, `"SameStep"` or `"Disabled"`.

    Raises:
        SettingError: a keyword is outside its range.
    """

    def __init__(
        self,
        single: ContextualBandit,
        num_envs: int = 1,
        *,
        max_episode_steps: int | None = None,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
    ) -> None:
        super().__init__(
            single,
            num_envs,
            max_episode_steps=max_episode_steps,
            autoreset_mode=autoreset_mode,
            step_info=STEP_INFO,
            reset_info={},
        )
        self._limit = min(self._limit, single.horizon)
        self._tally = _Tally(single, num_envs)
        self._noise = single.noise
        tables = single.oracle()
        self._contexts, self._means = tables.contexts, tables.means
        self._best_arm = self._means.argmax(axis=1)
        self._context = np.zeros(num_envs, np.int64)

    def oracle(self, horizon: int | None = None, *, row: int | None = None) -> BanditOracle:
        """The answer key; see `ContextualBandit.oracle`.

        Args:
            horizon: A time limit; None: that of this vector environment.
            row: Any sub-environment; the answers are the same for all.

        Raises:
            SettingError: a keyword is outside its range.
        """
        limit = self.max_episode_steps if horizon is None else horizon
        oracle: BanditOracle = self._single_of(row).oracle(limit)
        return oracle

    def _advance(self, todo: NDArray[np.uint8], actions: Ints, batch: Batch) -> int:
        ended: int = _pull_in_context(
            todo,
            actions,
            self._rng,
            self._clock,
            self._context,
            self._means,
            self._best_arm,
            self._noise,
            self._limit,
            batch.reward,
            batch.truncated,
            *(batch.columns[key] for key in STEP_INFO),
        )
        self._tally.follow(todo, actions, batch.reward)
        return ended

    def _put_into_single(self, i: int) -> Any:
        single = super()._put_into_single(i)
        self._tally.show(i)
        return single

    def _observations(self) -> NDArray[np.float32]:
        return self._contexts.take(self._context, axis=0)

    def _observation(self, i: int) -> NDArray[np.float32]:
        return self._contexts[self._context[i]].copy()

    def _row(self, i: int) -> dict[str, Any]:
        context = self._context.item(i) if self._started else None
        return {"t": self._clock.item(i), "context": context}

    def _set_row(self, i: int, state: Mapping[str, Any]) -> None:
        self._tally.forget(i)
        self._clock[i] = state["t"]
        self._context[i] = 0 if state["context"] is None else state["context"]


def bernoulli_bandit(
    num_envs: int = 1,
    *,
    max_episode_steps: int | None = None,
    autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
    **keywords: Any,
) -> BernoulliVectorEnv:
    """The vector form of `rlsuite/BernoulliBandit-v0`; other keywords as for `BernoulliBandit`."""
    return BernoulliVectorEnv(
        BernoulliBandit(**keywords),
        num_envs,
        max_episode_steps=max_episode_steps,
        autoreset_mode=autoreset_mode,
    )


def contextual_bandit(
    num_envs: int = 1,
    *,
    max_episode_steps: int | None = None,
    autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
    **keywords: Any,
) -> ContextualVectorEnv:
    """The vector form of `rlsuite/ContextualBandit-v0`; the rest is for `ContextualBandit`."""
    return ContextualVectorEnv(
        ContextualBandit(**keywords),
        num_envs,
        max_episode_steps=max_episode_steps,
        autoreset_mode=autoreset_mode,
    )


@compiled
def _pull(  # type: ignore[no-untyped-def]  # numba infers the types
    todo,
    actions,
    rng,
    clock,
    means,
    best_arm,
    limit,
    reward,
    truncated,
    regret,
    expected_reward,
    optimal_action,
):
    """Pulls the arms; returns how many of the rows stepped have ended."""
    ended = 0
    for i in range(len(clock)):
        if todo[i] == SKIP:
            continue
        if todo[i] == RESET:
            clock[i] = 0
            continue
        mean = means[i, actions[i]]
        if uniform(rng, i) < mean:
            reward[i] = 1.0
        best = best_arm[i]
        regret[i] = means[i, best] - mean
        expected_reward[i] = mean
        optimal_action[i] = best
        clock[i] += 1
        late = clock[i] >= limit
        truncated[i] = late
        ended += late
    return ended


@compiled
def _pull_in_context(  # type: ignore[no-untyped-def]  # numba infers the types
    todo,
    actions,
    rng,
    clock,
    context,
    means,
    best_arm,
    noise,
    limit,
    reward,
    truncated,
    regret,
    expected_reward,
    optimal_action,
):
    """Pulls the arms and draws the next contexts; returns how many rows stepped have ended."""
    ended = 0
    n_contexts = len(means)
    for i in range(len(clock)):
        if todo[i] == SKIP:
            continue
        if todo[i] == RESET:
            clock[i] = 0
        else:
            now = context[i]
            mean = means[now, actions[i]]
            best = best_arm[now]
            regret[i] = means[now, best] - mean
            expected_reward[i] = mean
            optimal_action[i] = best
            reward[i] = mean + noise * (2.0 * uniform(rng, i) - 1.0)
            clock[i] += 1
            late = clock[i] >= limit
            truncated[i] = late
            ended += late
        context[i] = int(n_contexts * uniform(rng, i))
    return ended
