"""The bandits as vector environments."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from rlsuite_envs.bandits.adversarial import AdversarialBandit
from rlsuite_envs.bandits.base import Bandit
from rlsuite_envs.bandits.bernoulli import BernoulliBandit
from rlsuite_envs.bandits.classification import ClassificationBandit
from rlsuite_envs.bandits.contexts import Contexts
from rlsuite_envs.bandits.contextual import ContextualBandit
from rlsuite_envs.bandits.drifting import DriftingBandit
from rlsuite_envs.bandits.gaussian import GaussianBandit
from rlsuite_envs.bandits.oracle import BanditOracle
from rlsuite_envs.bandits.wheel import Disc, WheelBandit
from rlsuite_envs.bandits.worlds import Arms, ChangingArms
from rlsuite_envs.rendering.arms import Pulls
from rlsuite_envs.vector.bandit_kernels import (
    BINARY,
    EXACT,
    NORMAL,
    UNIFORM,
    pull,
    pull_in_context,
    pull_in_disc,
)
from rlsuite_envs.vector.base import RESET, STEP, Batch, Column, NativeVectorEnv
from rlsuite_envs.vector.checks import Bools, Ints
from rlsuite_envs.vector.pcg64 import generator, words

__all__ = [
    "BanditVectorEnv",
    "adversarial_bandit",
    "bernoulli_bandit",
    "classification_bandit",
    "contextual_bandit",
    "drifting_bandit",
    "gaussian_bandit",
    "vector_of",
    "wheel_bandit",
]

STEP_INFO: dict[str, Column] = {
    "regret": ((), np.float64),
    "expected_reward": ((), np.float64),
    "optimal_action": ((), np.int64),
}


class _Rows(Protocol):
    """The state of n sub-environments as arrays: the `World` of all of them."""

    reset_info: dict[str, Column]
    differs: bool

    def begin(self, fresh: Bools, reseeded: Bools, rng: NDArray[np.uint64]) -> Bools:
        """Draws instances in rows that are reset; tells in which. Not asked without reset info."""
        ...

    def advance(self, *common: Any) -> int:
        """Runs the kernel: `common` is what all kernels take, see `BanditVectorEnv._advance`."""
        ...

    def observations(self, rows: Any) -> NDArray[np.float32]:
        """The present observations of `rows`, a fresh array."""
        ...

    def get(self, i: int, started: bool) -> dict[str, Any]:
        """What `World.state` tells of row i."""
        ...

    def set(self, i: int, state: Mapping[str, Any]) -> None:
        """Takes over what `get` told."""
        ...


class BanditVectorEnv(NativeVectorEnv):
    """n bandits with the same keywords, pulled together.

    Arms that come from a prior are drawn for each row in Python.

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
        single: Bandit,
        num_envs: int = 1,
        *,
        max_episode_steps: int | None = None,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
    ) -> None:
        world: Any = single._world
        self._rows: _Rows = ROWS[type(world)](world, num_envs)
        super().__init__(
            single,
            num_envs,
            max_episode_steps=max_episode_steps,
            autoreset_mode=autoreset_mode,
            step_info=STEP_INFO,
            reset_info=self._rows.reset_info,
        )
        self._limit = min(self._limit, single.horizon)
        if self._limit == 1 and self.autoreset_mode is AutoresetMode.NEXT_STEP:
            warnings.warn(
                "episodes of one step, and every other call of step is a reset, which ignores the "
                "action and pays 0: take autoreset_mode='SameStep', or a longer horizon.",
                stacklevel=2,
            )
        self._tally = _Tally(single, num_envs)

    def oracle(self, horizon: int | None = None, *, row: int | None = None) -> BanditOracle:
        """The answer key; see `Bandit.oracle`.

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
        return self._rows.differs

    def _advance(self, todo: NDArray[np.uint8], actions: Ints, batch: Batch) -> int:
        if self._rows.reset_info:
            drawn = self._rows.begin(todo == RESET, self._reseeded, self._rng)
            batch.columns["new_instance"][:] = drawn
        ended = self._rows.advance(
            todo,
            actions,
            self._rng,
            self._clock,
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
        return self._rows.observations(slice(None))

    def _observation(self, i: int) -> NDArray[np.float32]:
        observation: NDArray[np.float32] = self._rows.observations(slice(i, i + 1))[0]
        return observation

    def _row(self, i: int) -> dict[str, Any]:
        return {"t": self._clock.item(i), **self._rows.get(i, self._started)}

    def _set_row(self, i: int, state: Mapping[str, Any]) -> None:
        self._tally.forget(i)
        self._clock[i] = state["t"]
        self._rows.set(i, state)


class _ArmRows:
    """Rows over `Arms`: means [n, 1, K], or over `ChangingArms`: one table [1, P, K] for all."""

    def __init__(self, world: Arms | ChangingArms, n: int) -> None:
        self._ones = np.ones((n, 1), np.float32)
        self._world = world if isinstance(world, Arms) else None
        self.differs = self._world is not None and self._world.draw is not None
        self.reset_info: dict[str, Column] = {}
        if self._world is None:
            assert isinstance(world, ChangingArms)
            table = world.table
            assert table.best is not None
            self._means, self._best = table.means[None], table.best[None]
            self._sd, self._kind = table.sd, BINARY if table.binary else EXACT
            return
        if self.differs:
            self.reset_info = {"new_instance": ((), np.bool_)}
        self._sd = np.array(self._world.sd)
        self._kind = BINARY if self._world.binary else NORMAL
        self._means = np.zeros((n, 1, world.n_arms))
        self._best = np.zeros((n, 1), np.int64)
        self._drawn = np.full(n, not self.differs)
        if self._world.means is not None:
            for i in range(n):
                self._use(i, self._world.means)

    def begin(self, fresh: Bools, reseeded: Bools, rng: NDArray[np.uint64]) -> Bools:
        assert self._world is not None
        assert self._world.draw is not None
        due = fresh & (reseeded | ~self._drawn | (self._world.redraw == "episode"))
        for i in np.flatnonzero(due).tolist():
            source = generator(rng[i])
            self._use(i, self._world.draw(source))
            self._drawn[i] = True
            rng[i] = words(source.bit_generator.state, "BanditVectorEnv")
        return due

    def advance(self, *common: Any) -> int:
        ended: int = pull(*common, self._means, self._best, self._sd, self._kind)
        return ended

    def observations(self, rows: Any) -> NDArray[np.float32]:
        return self._ones[rows].copy()

    def get(self, i: int, started: bool) -> dict[str, Any]:
        if self._world is None:
            return {}
        return {"means": self._means[i, 0].tolist() if self._drawn[i] else None}

    def set(self, i: int, state: Mapping[str, Any]) -> None:
        if self._world is not None:
            self._drawn[i] = state["means"] is not None
            if self._drawn[i]:
                self._use(i, state["means"])

    def _use(self, i: int, means: Any) -> None:
        self._means[i, 0] = means
        self._best[i, 0] = self._means[i, 0].argmax()


class _ContextRows:
    """Rows over `Contexts`: the number of the present context [n]."""

    differs = False
    reset_info: dict[str, Column] = {}  # noqa: RUF012  # nothing is told

    def __init__(self, world: Contexts, n: int) -> None:
        self._world = world
        self._kind = {"exact": EXACT, "bernoulli": BINARY, "uniform": UNIFORM}[world.payment]
        self._now = np.zeros(n, np.int64)

    def begin(self, fresh: Bools, reseeded: Bools, rng: NDArray[np.uint64]) -> Bools:
        return np.zeros_like(fresh)

    def advance(self, *common: Any) -> int:
        world = self._world
        ended: int = pull_in_context(
            *common, self._now, world.means, world.best, world.noise, self._kind
        )
        return ended

    def observations(self, rows: Any) -> NDArray[np.float32]:
        return self._world.contexts.take(self._now[rows], axis=0)

    def get(self, i: int, started: bool) -> dict[str, Any]:
        return {"context": self._now.item(i) if started else None}

    def set(self, i: int, state: Mapping[str, Any]) -> None:
        self._now[i] = 0 if state["context"] is None else state["context"]


class _DiscRows:
    """Rows over `Disc`: the present points [n, 2]."""

    differs = False
    reset_info: dict[str, Column] = {}  # noqa: RUF012  # nothing is told

    def __init__(self, world: Disc, n: int) -> None:
        self._world = world
        self._points = np.zeros((n, 2))

    def begin(self, fresh: Bools, reseeded: Bools, rng: NDArray[np.uint64]) -> Bools:
        return np.zeros_like(fresh)

    def advance(self, *common: Any) -> int:
        world = self._world
        ended: int = pull_in_disc(*common, self._points, world.means, world.best, world.delta)
        return ended

    def observations(self, rows: Any) -> NDArray[np.float32]:
        return self._points[rows].astype(np.float32)

    def get(self, i: int, started: bool) -> dict[str, Any]:
        return {"context": self._points[i].tolist() if started else None}

    def set(self, i: int, state: Mapping[str, Any]) -> None:
        self._points[i] = (0.0, 0.0) if state["context"] is None else state["context"]


ROWS: dict[type, Callable[[Any, int], _Rows]] = {
    Arms: _ArmRows,
    ChangingArms: _ArmRows,
    Contexts: _ContextRows,
    Disc: _DiscRows,
}


class _Tally:
    """What the episodes have shown of the arms, for the frames; nothing without a render mode."""

    def __init__(self, single: Bandit, num_envs: int) -> None:
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


def vector_of(
    bandit: Callable[..., Bandit],
    num_envs: int = 1,
    *,
    max_episode_steps: int | None = None,
    autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
    **keywords: Any,
) -> BanditVectorEnv:
    """The vector form of a bandit; other keywords are for `bandit`."""
    return BanditVectorEnv(
        bandit(**keywords),
        num_envs,
        max_episode_steps=max_episode_steps,
        autoreset_mode=autoreset_mode,
    )


def adversarial_bandit(num_envs: int = 1, **keywords: Any) -> BanditVectorEnv:
    """The vector form of `rlsuite/AdversarialBandit-v0`; keywords as for `vector_of`."""
    return vector_of(AdversarialBandit, num_envs, **keywords)


def bernoulli_bandit(num_envs: int = 1, **keywords: Any) -> BanditVectorEnv:
    """The vector form of `rlsuite/BernoulliBandit-v0`; keywords as for `vector_of`."""
    return vector_of(BernoulliBandit, num_envs, **keywords)


def classification_bandit(num_envs: int = 1, **keywords: Any) -> BanditVectorEnv:
    """The vector form of `rlsuite/ClassificationBandit-v0`; keywords as for `vector_of`."""
    return vector_of(ClassificationBandit, num_envs, **keywords)


def contextual_bandit(num_envs: int = 1, **keywords: Any) -> BanditVectorEnv:
    """The vector form of `rlsuite/ContextualBandit-v0`; keywords as for `vector_of`."""
    return vector_of(ContextualBandit, num_envs, **keywords)


def drifting_bandit(num_envs: int = 1, **keywords: Any) -> BanditVectorEnv:
    """The vector form of `rlsuite/DriftingBandit-v0`; keywords as for `vector_of`."""
    return vector_of(DriftingBandit, num_envs, **keywords)


def gaussian_bandit(num_envs: int = 1, **keywords: Any) -> BanditVectorEnv:
    """The vector form of `rlsuite/GaussianBandit-v0`; keywords as for `vector_of`."""
    return vector_of(GaussianBandit, num_envs, **keywords)


def wheel_bandit(num_envs: int = 1, **keywords: Any) -> BanditVectorEnv:
    """The vector form of `rlsuite/WheelBandit-v0`; keywords as for `vector_of`."""
    return vector_of(WheelBandit, num_envs, **keywords)
