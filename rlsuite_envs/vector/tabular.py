"""Every table as a vector environment: the built-in ones, Gymnasium's toy text, your own."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Dict, Space
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import TimeLimit
from numpy.typing import NDArray

from registry.errors import SettingError
from rlsuite_envs.compiled import compiled
from rlsuite_envs.tabular.cliff_walk import CliffWalk
from rlsuite_envs.tabular.deep_sea import DeepSea
from rlsuite_envs.tabular.env import ObservationForm, StateNumbers, TabularEnv
from rlsuite_envs.tabular.garnet import Garnet
from rlsuite_envs.tabular.goal_grid import GoalGrid
from rlsuite_envs.tabular.grid_world import GridWorld, Planes
from rlsuite_envs.tabular.mdp import TabularMDP, refuse_wrappers
from rlsuite_envs.tabular.oracle import TabularOracle
from rlsuite_envs.tabular.random_walk import RandomWalk
from rlsuite_envs.tabular.windy_grid import WindyGrid
from rlsuite_envs.vector.base import RESET, SKIP, Batch, Column, NativeVectorEnv
from rlsuite_envs.vector.checks import Ints
from rlsuite_envs.vector.pcg64 import advance, generator, uniform, words

__all__ = [
    "TabularVectorEnv",
    "cliff_walk",
    "deep_sea",
    "garnet",
    "goal_grid",
    "grid_world",
    "random_walk",
    "run",
    "tables_of",
    "windy_grid",
]

OUTCOME = np.dtype(
    [
        ("below", np.float64),
        ("reward", np.float64),
        ("probability", np.float64),
        ("next_state", np.int32),
        ("terminal", np.int32),
    ]
)
"""One outcome of an action, 32 bytes: what a step reads lies side by side."""

FEW = 8
"""Up to so many outcomes are counted without a jump, which the processor would guess wrong."""

START = np.dtype([("below", np.float64), ("probability", np.float64), ("state", np.int64)])


class TabularVectorEnv(NativeVectorEnv):
    """n copies of a finite MDP, stepped together.

    Observations, draws and infos are those of `TabularEnv`: one uniform for each reset and each
    step; `info` holds `prob`. A GridWorld with `redraw` draws its layouts in Python, with the
    generator of the row; its steps are compiled like all others.

    Args:
        env: The MDP, or a `TabularEnv` such as GridWorld: its model and its form of observations.
            It is copied, so that the one given stays as it is.
        num_envs: n, at least 1.
        max_episode_steps: Steps after which an episode is truncated; None or -1: no limit.
        autoreset_mode: `"NextStep"`, `"SameStep"` or `"Disabled"`.
        as_gymnasium: Draws and informs as Gymnasium's toy-text environments do, see
            `from_gymnasium`.

    Raises:
        SettingError: a keyword is outside its range.
    """

    def __init__(
        self,
        env: TabularEnv | TabularMDP,
        num_envs: int = 1,
        *,
        max_episode_steps: int | None = None,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        as_gymnasium: bool = False,
    ) -> None:
        single = TabularEnv(env) if isinstance(env, TabularMDP) else env
        if not isinstance(single, TabularEnv):
            raise SettingError(
                "env must be a TabularMDP or a TabularEnv, without wrappers; got "
                f"{type(env).__name__}. TabularVectorEnv.from_gymnasium takes others."
            )
        if single is env:
            single = copy.deepcopy(single)
        self._redraws = isinstance(single, GridWorld) and single.redraw
        mdp = single.table
        self._allowed = None
        info: dict[str, Column] = {"prob": ((), np.float64)}
        if as_gymnasium and mdp.mask is not None:
            info["action_mask"] = ((mdp.n_actions,), np.int8)
            self._allowed = mdp.mask.astype(np.int8)
        super().__init__(
            single,
            num_envs,
            max_episode_steps=max_episode_steps,
            autoreset_mode=autoreset_mode,
            step_info=info,
            reset_info=info,
        )
        self._as_gymnasium, self._form = as_gymnasium, single.form
        self._n_states = mdp.n_states
        self._state = np.zeros(num_envs, np.int64)
        self._base = np.zeros(num_envs, np.int64)
        self._starts = _start_table(mdp, as_gymnasium)
        self._outcomes = _outcome_table(mdp, as_gymnasium)
        self._show = _shows(single, num_envs)
        if self._redraws:
            # rows differ: a table and a picture for each
            self._base = np.arange(num_envs) * mdp.n_states
            self._outcomes = np.tile(self._outcomes, (num_envs, 1))
            self._obstacles: list[Any] = [None] * num_envs

    @classmethod
    def from_gymnasium(
        cls,
        env: str | gym.Env[Any, Any],
        num_envs: int = 1,
        *,
        max_episode_steps: int | None = None,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
    ) -> TabularVectorEnv:
        """Gymnasium's FrozenLake, CliffWalking or Taxi, or any environment with the same tables.

        Equal to `SyncVectorEnv` of that environment for the same seed, bit for bit, Taxi's
        `action_mask` included, but for one defect that is not copied: FrozenLake and CliffWalking
        give the int 1 as `prob` at a reset, so that upstream `prob` is int64 at a reset, and at
        every step at which sub-environment 0 is reset, where the probabilities of all others become
        0. Here `prob` is float64 always, 1.0 at a reset.

        Args:
            env: An id, or an environment; its keywords and its `TimeLimit` are taken over.
            num_envs: n, at least 1.
            max_episode_steps: Another limit instead of the environment's; -1 for none.
            autoreset_mode: `"NextStep"`, `"SameStep"` or `"Disabled"`.

        Raises:
            SettingError: the environment has no table, or is in a wrapper that may change it (see
                `TabularMDP.from_gymnasium`), or a keyword is outside its range.
        """
        made = gym.make(env) if isinstance(env, str) else env
        refuse_wrappers(made)
        if max_episode_steps is None:
            max_episode_steps = _limit_of(made)
        ours = isinstance(made.unwrapped, TabularEnv)
        return cls(
            made.unwrapped if ours else TabularMDP.from_gymnasium(made),  # type: ignore[arg-type]
            num_envs,
            max_episode_steps=max_episode_steps,
            autoreset_mode=autoreset_mode,
            as_gymnasium=not ours,
        )

    @property
    def model(self) -> TabularMDP:
        """The dynamics, without the time limit.

        Raises:
            OracleError: with `redraw` and more than one row each row has a model of its own.
        """
        model: TabularMDP = self._single_of(None).model
        return model

    def oracle(
        self,
        horizon: int | None = None,
        gamma: float = 1.0,
        *,
        limit: bool = True,
        row: int | None = None,
    ) -> TabularOracle:
        """The answer key; see `TabularEnv.oracle`.

        Args:
            horizon: The time limit; None: that of this vector environment.
            gamma: γ in [0, 1].
            limit: False for the task without a time limit.
            row: The sub-environment whose layout is meant; needed with `redraw` alone.

        Raises:
            OracleError: the rows differ, and none is named; or none has been reset yet.
            SettingError: a keyword is outside its range.
        """
        single = self._single_of(row)
        if limit and horizon is None:
            horizon = self.max_episode_steps
        oracle: TabularOracle = single.oracle(horizon, gamma, limit=limit and horizon is not None)
        return oracle

    @property
    def _differs(self) -> bool:
        return self._redraws

    def _advance(self, todo: NDArray[np.uint8], actions: Ints, batch: Batch) -> int:
        prob = batch.columns["prob"]
        acted = todo
        if self._redraws and (todo == RESET).any():
            todo = todo.copy()
            for i in np.flatnonzero(todo == RESET).tolist():
                prob[i] = self._redraw(i)
                todo[i] = SKIP
        ended: int = run(
            todo,
            actions,
            self._rng,
            self._state,
            self._clock,
            self._base,
            self._outcomes,
            self._starts,
            self._n_actions,
            self._limit,
            batch.reward,
            batch.terminated,
            batch.truncated,
            prob,
        )
        if self._allowed is not None:
            mask = batch.columns["action_mask"]
            np.copyto(mask, self._allowed[self._state], where=(acted != SKIP)[:, None])
        return ended

    def _observations(self) -> Any:
        return self._show(self._state)

    def _observation(self, i: int) -> Any:
        state = self._state.item(i)
        if isinstance(self._show, _Pictures):
            return self._show.one(i, state)
        return self._form.one(state)

    def _some_observations(self, rows: Ints) -> list[Any]:
        if isinstance(self._form, StateNumbers):
            return self._state[rows].tolist()
        return super()._some_observations(rows)

    def _row(self, i: int) -> dict[str, Any]:
        state = self._state.item(i) if self._started else None
        row = {"t": self._clock.item(i), "state": state}
        if self._redraws:
            row["obstacles"] = self._obstacles[i]
        return row

    def _set_row(self, i: int, state: Mapping[str, Any]) -> None:
        self._clock[i] = state["t"]
        self._state[i] = 0 if state["state"] is None else state["state"]
        if self._redraws and state["obstacles"] is not None:
            single = self._single
            single.set_state({**state})  # type: ignore[attr-defined]
            self._take_layout(i)

    def _redraw(self, i: int) -> float:
        """Lets the single environment draw a layout with the generator of row i; returns `prob`."""
        single = self._single
        single.np_random = generator(self._rng[i])
        _, info = single.reset()
        self._rng[i] = words(single.np_random.bit_generator.state, type(self).__name__)
        self._clock[i] = 0
        self._state[i] = single.get_state()["state"]  # type: ignore[attr-defined]
        self._take_layout(i)
        return float(info["prob"])

    def _take_layout(self, i: int) -> None:
        single: Any = self._single
        rows = self._n_states * self._n_actions
        table = _outcome_table(single.table, self._as_gymnasium)
        self._outcomes[i * rows : (i + 1) * rows] = table
        assert isinstance(self._show, _Pictures)
        self._show.empty[i] = single.form.empty
        self._obstacles[i] = sorted(single.layout.obstacles)


class _Pictures:
    """GridWorld's pictures of all rows: a copy of the empty one each, with the agent put in."""

    def __init__(self, empty: NDArray[np.float32], num_envs: int, *, differ: bool) -> None:
        self._rows = np.arange(num_envs)
        shape = (num_envs, len(empty))
        self.empty = np.zeros(shape, np.float32) if differ else np.broadcast_to(empty, shape)

    def __call__(self, states: Ints) -> NDArray[np.float32]:
        pictures = np.array(self.empty)
        pictures[self._rows, 3 * states] = 1.0
        return pictures

    def one(self, i: int, state: int) -> NDArray[np.float32]:
        picture = self.empty[i].copy()
        picture[3 * state] = 1.0
        return picture


class _Looks:
    """What every state looks like, looked up; arrays or dictionaries of them."""

    def __init__(self, form: ObservationForm) -> None:
        self._every = _typed(form.space, form.every())

    def __call__(self, states: Ints) -> Any:
        return _rows_of(self._every, states)


def _limit_of(env: gym.Env[Any, Any]) -> int | None:
    """The shortest `TimeLimit` around the environment: its spec tells that of the outermost."""
    limits, layer = [], env
    while isinstance(layer, gym.Wrapper):
        if isinstance(layer, TimeLimit):
            limits.append(layer._max_episode_steps)
        layer = layer.env
    return min(limits, default=None)


def _shows(single: TabularEnv, num_envs: int) -> Callable[[Ints], Any]:
    form = single.form
    if isinstance(form, StateNumbers):
        return np.copy
    if isinstance(form, Planes):
        differ = isinstance(single, GridWorld) and single.redraw
        return _Pictures(form.empty, num_envs, differ=differ)
    return _Looks(form)


def _typed(space: Space[Any], every: Any) -> Any:
    if isinstance(space, Dict):
        return {key: _typed(part, every[key]) for key, part in space.items()}
    return np.asarray(every, space.dtype)


def _rows_of(every: Any, states: Ints) -> Any:
    if isinstance(every, dict):
        return {key: _rows_of(part, states) for key, part in every.items()}
    return every.take(states, axis=0)


def _vector_form(of: Callable[..., TabularEnv]) -> Callable[..., TabularVectorEnv]:
    """The vector entry point of an environment; its other keywords are those of `of`."""

    def make(
        num_envs: int = 1,
        *,
        max_episode_steps: int | None = None,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        **keywords: Any,
    ) -> TabularVectorEnv:
        return TabularVectorEnv(
            of(**keywords),
            num_envs,
            max_episode_steps=max_episode_steps,
            autoreset_mode=autoreset_mode,
        )

    return make


cliff_walk = _vector_form(CliffWalk)
deep_sea = _vector_form(DeepSea)
garnet = _vector_form(Garnet)
goal_grid = _vector_form(GoalGrid)
grid_world = _vector_form(GridWorld)
random_walk = _vector_form(RandomWalk)
windy_grid = _vector_form(WindyGrid)


@compiled
def run(  # type: ignore[no-untyped-def]  # numba infers the types
    todo,
    actions,
    rng,
    state,
    clock,
    base,
    outcomes,
    starts,
    n_actions,
    limit,
    reward,
    terminated,
    truncated,
    prob,
):
    """Steps and resets the rows; returns how many of those stepped have ended."""
    ended = 0
    n_outcomes = outcomes.shape[1]
    for i in range(len(state)):
        if todo[i] == SKIP:
            continue
        if todo[i] == RESET:
            k = _first_above(starts, uniform(rng, i))
            state[i] = starts[k].state
            prob[i] = starts[k].probability
            clock[i] = 0
            continue
        row = outcomes[(base[i] + state[i]) * n_actions + actions[i]]
        k = 0
        if n_outcomes == 1:
            advance(rng, i)  # a uniform is drawn where there is only one possibility too
        else:
            u = uniform(rng, i)
            if n_outcomes <= FEW:
                for j in range(n_outcomes):
                    k += u >= row[j].below
            else:
                while k < n_outcomes and u >= row[k].below:
                    k += 1
            if k == n_outcomes:
                k = 0
        state[i] = row[k].next_state
        reward[i] = row[k].reward
        prob[i] = row[k].probability
        clock[i] += 1
        over = row[k].terminal != 0
        late = clock[i] >= limit
        terminated[i] = over
        truncated[i] = late
        ended += over | late
    return ended


@compiled
def _first_above(starts, u):  # type: ignore[no-untyped-def]  # numba infers the types
    """The first entry with a cumulative probability above u, by bisection; 0 if there is none."""
    low, high = 0, len(starts)
    while low < high:
        middle = (low + high) // 2
        if u < starts[middle].below:
            high = middle
        else:
            low = middle + 1
    return low if low < len(starts) else 0


def tables_of(models: Sequence[TabularMDP]) -> tuple[NDArray[Any], NDArray[Any]]:
    """What `run` takes as `starts`, of the first model, and `outcomes`, of one after the other."""
    outcomes = [_outcome_table(model, as_gymnasium=False) for model in models]
    return _start_table(models[0], as_gymnasium=False), np.concatenate(outcomes)


def _start_table(mdp: TabularMDP, as_gymnasium: bool) -> NDArray[Any]:
    """The states that an episode may start in, as `TabularEnv` lists them; Gymnasium lists all."""
    states = np.arange(mdp.n_states) if as_gymnasium else np.flatnonzero(mdp.start)
    table = np.zeros(len(states), START)
    table["below"] = np.cumsum(mdp.start[states])
    table["state"] = states
    table["probability"] = 1.0 if as_gymnasium else mdp.start[states]
    if not as_gymnasium:
        table["below"][-1] = 1.0
    return table


def _outcome_table(mdp: TabularMDP, as_gymnasium: bool) -> NDArray[Any]:
    """The outcomes of all actions, [S * A, K], with cumulative probabilities.

    Those of the last possible outcome and of all after it are 1, since rounding may leave the sum
    short of it. Gymnasium leaves them so, and takes outcome 0 for a uniform above the sum.
    """
    table = np.zeros(mdp.probability.shape, OUTCOME)
    below = np.cumsum(mdp.probability, axis=-1)
    if not as_gymnasium:
        possible = mdp.probability > 0
        last = mdp.n_outcomes - 1 - np.argmax(possible[..., ::-1], axis=-1)
        below[np.arange(mdp.n_outcomes) >= last[..., None]] = 1.0
    table["below"] = below
    for name in ("reward", "probability", "next_state", "terminal"):
        table[name] = getattr(mdp, name)
    return table.reshape(-1, mdp.n_outcomes)
