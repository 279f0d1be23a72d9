"""The environment of a compiled loop: its table, and where in it the running episode stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit
from numpy.typing import NDArray

from registry.catalogue import registry
from rlsuite_agents.parts import pcg64
from rlsuite_agents.parts.env_state import layers

__all__ = [
    "Place",
    "Stand",
    "World",
    "changes_nothing",
    "place_of",
    "put_at",
    "same_worlds",
    "stand_of",
]

OUTCOME = np.dtype(
    [("below", np.float64), ("reward", np.float64), ("next", np.int32), ("ends", np.int32)]
)
"""One outcome of an action, 24 bytes: what a step reads lies side by side."""


class World(NamedTuple):
    """A table as a loop reads it: row s · A + a of K outcomes."""

    outcomes: Any  # OUTCOME [S · A, K]; below: cumulative probability, 1 from the last possible on
    starts: Any  # states an episode may start in, int64 [N]
    starts_below: Any  # their cumulative probability, float64 [N]
    masks: Any  # actions that are allowed, int8 [S, A]; [0, 0] where nothing says so
    n_actions: int
    limit: int  # of the TimeLimit, or -1


class Place(NamedTuple):
    """Where an environment stands, for the loop to read and to leave behind."""

    state: Any  # int64 [1]
    action: Any  # the latest one, or -1, int64 [1]
    elapsed: Any  # steps since the reset, int64 [1]
    over: Any  # whether a reset comes next, bool [1]
    total: Any  # return of the episode so far, float64 [1]
    rng: Any  # the environment's generator, uint64 [4]


class Stand:
    """An environment that a compiled loop may step: its layers, told apart."""

    def __init__(self, base: Any, limit: Any, recorder: Any) -> None:
        self.base, self.limit, self.recorder = base, limit, recorder
        self.model = base.model
        steps = -1 if limit is None else int(limit._max_episode_steps)
        self.world = _world(base, steps)

    @property
    def masked(self) -> bool:
        """Whether it says which actions are allowed."""
        return len(self.world.masks) > 0

    def mask(self, state: int) -> Any:
        """The actions allowed in a state, int8 [A], or None."""
        return self.world.masks[state].copy() if self.masked else None

    @property
    def ready(self) -> bool:
        """Whether it still is what it was, and its recorder takes blocks."""
        listens = self.recorder is None or self.recorder.takes_blocks
        same = self.base.follows_model and self.base.model is self.model
        return listens and same and pcg64.can_step(self.base.np_random)


def stand_of(env: gym.Env[Any, Any]) -> Stand | None:
    """The environment for a compiled loop, or None where it has to be stepped.

    It follows its model, or a registered provider says that it does, and masks are told by `info`
    alone. Around it are at most one `TimeLimit`, at most one recorder of blocks, and wrappers that
    leave every step as it is: those of `gym.make`, and classes that say `changes_nothing = True`
    themselves.
    """
    *wrappers, base = layers(env)
    limits = [layer for layer in wrappers if type(layer) is TimeLimit]
    others = [layer for layer in wrappers if type(layer) is not TimeLimit]
    recorders = [layer for layer in others if callable(getattr(type(layer), "record", None))]
    known = all(changes_nothing(type(layer)) for layer in others)
    if not known or len(limits) > 1 or len(recorders) > 1:
        return None
    if hasattr(base, "action_masks"):
        return None
    if not hasattr(base, "follows_model"):
        base = registry.provided("model", base)
    if not getattr(base, "follows_model", False):
        return None
    return Stand(base, *[next(iter(found), None) for found in (limits, recorders)])


def same_worlds(stands: Sequence[Any]) -> bool:
    """Whether environments are all the same table with the same limit."""
    pairs = (zip(stands[0].world, stand.world, strict=True) for stand in stands[1:])
    return all(np.array_equal(one, other) for pair in pairs for one, other in pair)


def place_of(stand: Stand) -> Place:
    """Where the running episode stands."""
    state = stand.base.get_state()
    total, length = (0.0, 0) if stand.recorder is None else stand.recorder.state()
    clock = length if stand.limit is None else stand.limit._elapsed_steps
    action = state.get("action")
    return Place(
        state=np.array([state["state"]], np.int64),
        action=np.array([-1 if action is None else action], np.int64),
        elapsed=np.array([state.get("t", clock)], np.int64),
        over=np.zeros(1, bool),
        total=np.array([total]),
        rng=pcg64.words(stand.base.np_random),
    )


def put_at(stand: Stand, place: Place) -> None:
    """Puts the environment and its wrappers where a loop has come."""
    elapsed = int(place.elapsed[0])
    generator = stand.base.np_random
    pcg64.put_back(generator, place.rng)
    now = {
        "rng": generator.bit_generator.state,
        "t": elapsed,
        "state": int(place.state[0]),
        "action": int(place.action[0]),
    }
    stand.base.set_state({key: now[key] for key in stand.base.get_state()})
    if stand.limit is not None:
        stand.limit._elapsed_steps = elapsed
    if stand.recorder is not None:
        stand.recorder.restore((float(place.total[0]), elapsed))


def changes_nothing(kind: type) -> bool:
    """Whether a wrapper of this class leaves every step as it is."""
    # said by the class itself: a subclass may change something
    return kind in (OrderEnforcing, PassiveEnvChecker) or vars(kind).get("changes_nothing") is True


def _world(base: Any, limit: int) -> World:
    model, first = base.model, getattr(base, "rest_to_first", False)
    n_states, n_actions, n_outcomes = model.next_state.shape
    rows = n_states * n_actions, n_outcomes
    below = _cumulative(model.probability.reshape(rows), first)
    outcomes = np.zeros(below.shape, OUTCOME)
    outcomes["below"] = below
    columns = {"reward": model.reward, "next": model.next_state, "ends": model.terminal}
    for name, column in columns.items():
        outcomes[name][:, :n_outcomes] = column.reshape(rows)
        outcomes[name][:, n_outcomes:] = column.reshape(rows)[:, :1]  # what is left to the first
    starts = np.flatnonzero(model.start)
    starts_below = _cumulative(model.start[None, starts], first)[0]
    if first:
        starts = np.append(starts, 0)
    masks = getattr(base, "masks", None)
    masks = np.zeros((0, 0), np.int8) if masks is None else masks
    return World(outcomes, starts, starts_below, masks, n_actions, limit)


def _cumulative(
    probability: NDArray[np.float64], rest_to_first: bool = False
) -> NDArray[np.float64]:
    """Cumulative over the last axis, exactly 1 from the last possible outcome on: [N, K].

    With `rest_to_first` as it is summed, and 1 in a further column: [N, K + 1].
    """
    below = np.cumsum(probability, axis=-1)
    if rest_to_first:
        return np.append(below, np.ones((len(below), 1)), axis=-1)
    n_outcomes = probability.shape[-1]
    last = n_outcomes - 1 - np.argmax(probability[:, ::-1] > 0, axis=-1)
    below[np.arange(n_outcomes) >= last[:, None]] = 1.0
    return below
