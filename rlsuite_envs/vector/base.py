"""What all native vector environments share: autoreset, infos, seeds, checks, saved states."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from registry.errors import InvalidActionError, OracleError, SettingError
from rlsuite_envs.checks import check_count, check_state
from rlsuite_envs.vector.checks import (
    SHOWN,
    Bools,
    Ints,
    all_valid,
    check_limit,
    check_mode,
    check_seeds,
    not_a_batch,
    rows_text,
    split_options,
    whole_numbers,
)
from rlsuite_envs.vector.pcg64 import bit_state, generator, seeded, words

__all__ = ["RESET", "SKIP", "STEP", "Batch", "NativeVectorEnv"]

STEP, RESET, SKIP = 0, 1, 2
"""What a kernel does with a sub-environment."""

NO_LIMIT = np.iinfo(np.int64).max
INT64 = np.dtype(np.int64)
Column = tuple[tuple[int, ...], Any]
"""Shape and type of one sub-environment's entry in an info."""


@dataclass(slots=True)
class Batch:
    """What one call fills in: fresh arrays with a row per sub-environment, zero at first.

    Attributes:
        reward: float64 [n].
        terminated: [n].
        truncated: [n].
        columns: Every info key, [n, ...]. A kernel writes the keys of a step in rows that it
            steps, and those of a reset in rows that it resets.
    """

    reward: NDArray[np.float64]
    terminated: Bools
    truncated: Bools
    columns: dict[str, NDArray[Any]]


class NativeVectorEnv(VectorEnv[Any, Any, Any], abc.ABC):
    """n sub-environments in one compiled step, bit for bit those of `SyncVectorEnv`.

    For the same seed and actions every number, dtype, info key and mask is what
    `gymnasium.vector.SyncVectorEnv` gives for n of the single environments, each in a `TimeLimit`,
    in all three autoreset modes. Every array that is returned is fresh. An invalid batch of actions
    is refused before anything moves.

    A subclass keeps the sub-environments as arrays and answers the methods marked abstract. The
    single environment that it is built from checks the keywords, and serves for all that is not
    hot: saved states, the answer key, frames.

    Args:
        single: One environment of the kind, without wrappers.
        num_envs: n, at least 1.
        max_episode_steps: Steps after which an episode is truncated, as `TimeLimit` does; None or
            -1: no limit.
        autoreset_mode: A member of `gymnasium.vector.AutoresetMode` or its value: `"NextStep"`,
            `"SameStep"`, `"Disabled"`.
        step_info: Keys that a step's info holds.
        reset_info: Keys that a reset's info holds.

    Raises:
        SettingError: a keyword is outside its range.
    """

    def __init__(
        self,
        single: gym.Env[Any, Any],
        num_envs: int,
        *,
        max_episode_steps: int | None,
        autoreset_mode: str | AutoresetMode,
        step_info: Mapping[str, Column],
        reset_info: Mapping[str, Column],
    ) -> None:
        n = check_count("num_envs", num_envs)
        if single.render_mode == "human":
            raise SettingError(
                "a native vector environment has no window: use render_mode='rgb_array' or 'ansi', "
                "or vectorization_mode='sync', which opens a window for each sub-environment."
            )
        self.num_envs = n
        self.max_episode_steps = check_limit(max_episode_steps)
        self.autoreset_mode = check_mode(autoreset_mode)
        self.metadata = {**single.metadata, "autoreset_mode": self.autoreset_mode}
        self.render_mode = single.render_mode
        self.single_observation_space = single.observation_space
        self.observation_space = batch_space(single.observation_space, n)
        self.single_action_space = single.action_space
        self.action_space = batch_space(single.action_space, n)
        self._n_actions = int(getattr(single.action_space, "n", 0))
        self._single = single
        self._step_info, self._reset_info = dict(step_info), dict(reset_info)
        self._columns = {**step_info, **reset_info}
        self._limit = NO_LIMIT if self.max_episode_steps is None else self.max_episode_steps
        self._rng = np.zeros((n, 4), np.uint64)
        self._seeds: list[int | None] = [None] * n
        self._clock = np.zeros(n, np.int64)
        self._over, self._n_over = np.zeros(n, np.bool_), 0
        self._reseeded = np.zeros(n, np.bool_)
        self._idle = np.zeros(n, np.int64)
        self._started = False

    # what a subclass answers

    @abc.abstractmethod
    def _advance(self, todo: NDArray[np.uint8], actions: Ints, batch: Batch) -> int:
        """Does `todo` [n] (`STEP`, `RESET`, `SKIP`) in every row, and fills in the batch.

        Returns:
            How many of the rows stepped have ended.
        """

    @abc.abstractmethod
    def _observations(self) -> Any:
        """The present observations of all rows, in fresh arrays."""

    @abc.abstractmethod
    def _observation(self, i: int) -> Any:
        """The present observation of row i, as the single environment returns it."""

    def _some_observations(self, rows: Ints) -> list[Any]:
        """The present observations of some rows, each as the single environment returns it."""
        return [self._observation(i) for i in rows.tolist()]

    @abc.abstractmethod
    def _row(self, i: int) -> dict[str, Any]:
        """Row i as `get_state` of the single environment tells it, without `rng`."""

    @abc.abstractmethod
    def _set_row(self, i: int, state: Mapping[str, Any]) -> None:
        """Takes over what `_row` told; the single environment has accepted it."""

    @property
    def _differs(self) -> bool:
        """Whether each row has an instance (layout, arms) of its own."""
        return False

    def _check_options(self, options: dict[str, Any]) -> None:
        """Keeps the options of the reset that follows, or raises."""

    # Gymnasium's interface

    def reset(
        self, *, seed: Any = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Resets all sub-environments, or some of them.

        Args:
            seed: A whole number: sub-environment i is seeded with `seed + i`. A list of n numbers
                and Nones: each with its own, None goes on with its generator. None: all go on.
            options: `{"reset_mask": bool [n]}` resets only the rows where the mask is True; the
                others keep their episodes and generators. All other options go to each
                sub-environment reset. The dictionary is not changed.

        Returns:
            Observations of all rows; infos of the rows reset.

        Raises:
            SettingError: a seed or an option is malformed.
            ResetNeeded: a mask leaves rows out that were never reset.
            TypeError: the mask is no bool array.
            ValueError: the mask has another shape, or is False everywhere.
        """
        mask, rest = split_options(options, self.num_envs)
        seeds = check_seeds(seed, self.num_envs)
        if not self._started and not mask.all():
            raise ResetNeeded(
                "the first reset must reset every sub-environment; reset_mask leaves out "
                f"{rows_text(~mask)}."
            )
        self._check_options(rest)
        self._seed_rows(seeds, mask)
        batch = self._batch()
        self._advance(np.where(mask, np.uint8(RESET), np.uint8(SKIP)), self._idle, batch)
        self._reseeded[:] = False
        self._check_options({})
        self._over = self._over & ~mask
        self._n_over = int(np.count_nonzero(self._over))
        self._started = True
        infos: dict[str, Any] = {}
        for key in self._reset_info:
            infos[key], infos[f"_{key}"] = batch.columns[key], mask.copy()
        return self._observations(), infos

    def step(self, actions: Any) -> tuple[Any, NDArray[np.float64], Bools, Bools, dict[str, Any]]:
        """Steps all sub-environments.

        Args:
            actions: Whole numbers, shape [n]. In `NEXT_STEP` those of rows that are about to be
                reset are not looked at.

        Returns:
            Observations, rewards (float64), terminated, truncated and infos, in fresh arrays.

        Raises:
            InvalidActionError: an action is not in the action space; nothing has moved.
            ResetNeeded: before the first reset; in `DISABLED` also where an episode is over.
        """
        self._check_running()
        actions = self._accepted(actions)
        batch = self._batch()
        if self.autoreset_mode is AutoresetMode.SAME_STEP:
            infos = self._step_and_reset(actions, batch)
        else:
            over, resets = self._over, self._n_over
            self._n_over = self._advance(over.view(np.uint8), actions, batch)
            self._over = batch.terminated | batch.truncated
            infos = self._infos(batch.columns, over, resets)
        return self._observations(), batch.reward, batch.terminated, batch.truncated, infos

    def render(self) -> tuple[Any, ...]:
        """A frame of every sub-environment, in the `render_mode` it was made with."""
        frames = []
        for i in range(self.num_envs):
            self._put_into_single(i)
            frames.append(self._single.render())
        return tuple(frames)

    def close_extras(self, **kwargs: Any) -> None:
        """Closes the single environment behind the frames."""
        self._single.close()

    @property  # type: ignore[misc]  # upstream's can be set
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]
        """Copies of the generators, one for each row: drawing from them changes nothing here."""
        self._seed_rows([None] * self.num_envs, np.ones(self.num_envs, np.bool_))
        return tuple(generator(row) for row in self._rng)

    @property
    def np_random_seed(self) -> tuple[int | None, ...]:  # type: ignore[override]
        """The seed of each row: -1 where a state was set, None before the first reset."""
        return tuple(self._seeds)

    # saved states

    def get_state(self) -> dict[str, Any]:
        """All sub-environments, as JSON can hold them.

        `envs` lists what `get_state` of the single environments would return, so that one of them
        can go on from an entry, and this environment from theirs; `over` tells whose episode has
        ended, `started` whether there was a reset.
        """
        self._seed_rows([None] * self.num_envs, np.ones(self.num_envs, np.bool_))
        return {
            "started": self._started,
            "over": self._over.tolist(),
            "envs": [self._whole_row(i) for i in range(self.num_envs)],
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `get_state` returned, in an environment with the same keywords.

        Raises:
            SettingError: it is not such a state; nothing has changed then.
        """
        name = type(self).__name__
        check_state(name, state, ("started", "over", "envs"))
        envs, over, n = state["envs"], state["over"], self.num_envs
        lists = all(isinstance(part, Sequence) and len(part) == n for part in (envs, over))
        if not lists or not all(isinstance(flag, bool) for flag in (state["started"], *over)):
            raise SettingError(
                f"{name}.set_state: 'envs' and 'over' must be lists with an entry for each of the "
                f"{n} sub-environments, those of 'over' and 'started' True or False; got "
                f"{envs!r:.60}, {over!r:.60} and {state['started']!r}."
            )
        ended = np.array(over, np.bool_)
        if self.autoreset_mode is AutoresetMode.SAME_STEP and ended.any():
            raise SettingError(
                f"{name}.set_state: 'over' must be False everywhere with autoreset_mode='SameStep',"
                f" where no episode stays over after a step; it is True for {rows_text(ended)}."
            )
        rows = []
        for i, one in enumerate(envs):
            set_state: Any = self._single.set_state  # type: ignore[attr-defined]
            set_state(one)
            missing = [key for key, value in one.items() if value is None]
            if state["started"] and missing:
                raise SettingError(
                    f"{name}.set_state: 'started' is True, so every sub-environment must have been "
                    f"reset; in the entry of sub-environment {i}, {missing[0]!r} is None."
                )
            rows.append(words(one["rng"], f"{name}.set_state"))
        for i, one in enumerate(envs):
            self._set_row(i, one)
        self._rng[:] = rows
        self._seeds = [-1] * n
        self._over, self._n_over = ended, int(np.count_nonzero(ended))
        self._started = state["started"]

    def _whole_row(self, i: int) -> dict[str, Any]:
        return {"rng": bit_state(self._rng[i]), **self._row(i)}

    def _put_into_single(self, i: int) -> Any:
        """The single environment, in the state of row i."""
        set_state: Any = self._single.set_state  # type: ignore[attr-defined]
        set_state(self._whole_row(i))
        return self._single

    def _single_of(self, row: int | None) -> Any:
        """The single environment whose answer key is asked for.

        Raises:
            OracleError: the rows differ, and none is named.
            SettingError: there is no such row.
        """
        if row is None and self._differs and self.num_envs > 1:
            raise OracleError(
                "each sub-environment has an instance of its own, and each instance its own answer "
                f"key: name one of them, row=0 to {self.num_envs - 1}."
            )
        i = 0 if row is None else check_count("row", row, low=0)
        if i >= self.num_envs:
            raise SettingError(f"row must be from 0 to {self.num_envs - 1}, got {row!r}.")
        return self._put_into_single(i) if self._started else self._single

    # inside

    def _batch(self) -> Batch:
        n = self.num_envs
        columns = {
            key: np.zeros((n, *shape), dtype) if shape else np.zeros(n, dtype)
            for key, (shape, dtype) in self._columns.items()
        }
        return Batch(np.zeros(n), np.zeros(n, np.bool_), np.zeros(n, np.bool_), columns)

    def _step_and_reset(self, actions: Ints, batch: Batch) -> dict[str, Any]:
        """The `SAME_STEP` way: rows that end are reset at once, what they ended with is `final`."""
        nothing_over = self._over
        ended = self._advance(nothing_over.view(np.uint8), actions, batch)
        if not ended:
            return self._infos(batch.columns, nothing_over, 0)
        over = batch.terminated | batch.truncated
        final = self._final(over, batch)
        todo = np.where(over, np.uint8(RESET), np.uint8(SKIP))
        self._advance(todo, self._idle, batch)
        return self._infos(batch.columns, over, ended) | final

    def _final(self, over: Bools, batch: Batch) -> dict[str, Any]:
        """Takes what the steps that ended have told out of the columns."""
        rows = np.flatnonzero(over)
        info: dict[str, Any] = {}
        for key in self._step_info:
            column = batch.columns[key]
            info[key] = np.zeros_like(column)
            info[key][rows] = column[rows]
            column[rows] = 0
            info[f"_{key}"] = over.copy()
        observations = np.full(self.num_envs, None, object)
        for i, observation in zip(rows.tolist(), self._some_observations(rows), strict=True):
            observations[i] = observation
        return {
            "final_obs": observations,
            "_final_obs": over.copy(),
            "final_info": info,
            "_final_info": over.copy(),
        }

    def _infos(
        self, columns: Mapping[str, NDArray[Any]], reset: Bools, n_reset: int
    ) -> dict[str, Any]:
        """Packs the columns as Gymnasium does: a key is there if any row has it, with its mask."""
        n, infos = self.num_envs, {}
        for key, column in columns.items():
            if key not in self._reset_info:
                if n_reset == n:
                    continue
                mask = ~reset if n_reset else np.ones(n, np.bool_)
            elif key in self._step_info:
                mask = np.ones(n, np.bool_)
            elif n_reset:
                mask = reset.copy()
            else:
                continue
            infos[key], infos[f"_{key}"] = column, mask
        return infos

    def _check_running(self) -> None:
        """Raises `ResetNeeded` where a step needs a reset first."""
        if not self._started:
            raise ResetNeeded("there is no episode before the first reset: call reset() first.")
        if self._n_over and self.autoreset_mode is AutoresetMode.DISABLED:
            raise ResetNeeded(
                f"the episodes of {rows_text(self._over)} are over, and autoreset is disabled: "
                'call reset(options={"reset_mask": terminated | truncated}) first.'
            )

    def _accepted(self, actions: Any) -> Ints:
        """The actions as int64 [n], all valid where they count."""
        # the plain case is told apart first: the tests below cost as much as a tenth of a step
        plain = type(actions) is np.ndarray and actions.dtype is INT64 and actions.flags.carray
        if not plain:
            actions = whole_numbers(actions, self.num_envs)
        if actions.shape != (self.num_envs,):
            raise not_a_batch(self.num_envs, actions)
        if not all_valid(actions, self._n_actions, self._over):
            wrong = ((actions < 0) | (actions >= self._n_actions)) & ~self._over
            raise InvalidActionError(
                f"the actions of {rows_text(wrong)} are not in the action space: they must be "
                f"whole numbers from 0 to {self._n_actions - 1}, got "
                f"{', '.join(map(str, actions[wrong][:SHOWN].tolist()))}. No sub-environment has "
                "moved."
            )
        return actions

    def _seed_rows(self, seeds: Sequence[int | None], mask: Bools) -> None:
        """Seeds the rows that have a seed, and from the system those that never had one."""
        for i in np.flatnonzero(mask).tolist():
            seed = seeds[i]
            if seed is not None or self._seeds[i] is None:
                self._rng[i], self._seeds[i] = seeded(seed)
                self._reseeded[i] = seed is not None
