"""The environment of a compiled loop: its table, and where in it the running episode stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit
from numpy.typing import NDArray

from registry.contracts import Model
from rlsuite_agents.parts import pcg64
from rlsuite_agents.parts.env_state import layers

__all__ = ["Place", "Stand", "World", "place_of", "put_at", "same_worlds", "stand_of"]

OUTCOME = np.dtype(
    [("below", np.float64), ("reward", np.float64), ("next", np.int32), ("ends", np.int32)]
)
"""One outcome of an action, 24 bytes: what a step reads lies side by side."""


class World(NamedTuple):
    """A table as a loop reads it: row s · A + a of K outcomes."""

    outcomes: Any  # OUTCOME [S · A, K]; below: cumulative probability, 1 from the last possible on
    starts: Any  # states an episode may start in, int64 [N]
    starts_below: Any  # their cumulative probability, float64 [N]
    n_actions: int
    limit: int  # of the TimeLimit, or -1


class Place(NamedTuple):
    """Where an environment stands, for the loop to read and to leave behind."""

    state: Any  # int64 [1]
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
        self.world = _world(self.model, steps)

    @property
    def ready(self) -> bool:
        """Whether it still is what it was, and its recorder takes blocks."""
        listens = self.recorder is None or self.recorder.takes_blocks
        same = self.base.follows_model and self.base.model is self.model
        return listens and same and pcg64.can_step(self.base.np_random)


def stand_of(env: gym.Env[Any, Any]) -> Stand | None:
    """The environment for a compiled loop, or None where it has to be stepped.

    It follows its model and masks no actions, and around it are at most one `TimeLimit`, at most
    one recorder of blocks, and wrappers that leave every step as it is: those of `gym.make`, and
    classes that say `changes_nothing = True` themselves.
    """
    *wrappers, base = layers(env)
    limits = [layer for layer in wrappers if type(layer) is TimeLimit]
    others = [layer for layer in wrappers if type(layer) is not TimeLimit]
    recorders = [layer for layer in others if callable(getattr(type(layer), "record", None))]
    known = all(_changes_nothing(type(layer)) for layer in others)
    if not known or len(limits) > 1 or len(recorders) > 1:
        return None
    if not getattr(base, "follows_model", False) or hasattr(base, "action_masks"):
        return None
    return Stand(base, *[next(iter(found), None) for found in (limits, recorders)])


def same_worlds(stands: Sequence[Any]) -> bool:
    """Whether environments are all the same table with the same limit."""
    pairs = (zip(stands[0].world, stand.world, strict=True) for stand in stands[1:])
    return all(np.array_equal(one, other) for pair in pairs for one, other in pair)


def place_of(stand: Stand) -> Place:
    """Where the running episode stands."""
    state = stand.base.get_state()
    total = 0.0 if stand.recorder is None else stand.recorder.state()[0]
    return Place(
        state=np.array([state["state"]], np.int64),
        elapsed=np.array([state["t"]], np.int64),
        over=np.zeros(1, bool),
        total=np.array([total]),
        rng=pcg64.words(stand.base.np_random),
    )


def put_at(stand: Stand, place: Place) -> None:
    """Puts the environment and its wrappers where a loop has come."""
    elapsed = int(place.elapsed[0])
    generator = stand.base.np_random
    pcg64.put_back(generator, place.rng)
    rng = generator.bit_generator.state
    stand.base.set_state({"rng": rng, "t": elapsed, "state": int(place.state[0])})
    if stand.limit is not None:
        stand.limit._elapsed_steps = elapsed
    if stand.recorder is not None:
        stand.recorder.restore((float(place.total[0]), elapsed))


def _changes_nothing(kind: type) -> bool:
    # said by the class itself: a subclass may change something
    return kind in (OrderEnforcing, PassiveEnvChecker) or vars(kind).get("changes_nothing") is True


def _world(model: Model, limit: int) -> World:
    n_states, n_actions, n_outcomes = model.next_state.shape
    outcomes = np.zeros((n_states * n_actions, n_outcomes), OUTCOME)
    rows = outcomes.shape
    outcomes["below"] = _cumulative(model.probability.reshape(rows))
    outcomes["reward"] = model.reward.reshape(rows)
    outcomes["next"] = model.next_state.reshape(rows)
    outcomes["ends"] = model.terminal.reshape(rows)
    starts = np.flatnonzero(model.start)
    return World(outcomes, starts, _cumulative(model.start[None, starts])[0], n_actions, limit)


def _cumulative(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cumulative over the last axis, exactly 1 from the last possible outcome on: [N, K]."""
    below = np.cumsum(probability, axis=-1)
    n_outcomes = probability.shape[-1]
    last = n_outcomes - 1 - np.argmax(probability[:, ::-1] > 0, axis=-1)
    below[np.arange(n_outcomes) >= last[:, None]] = 1.0
    return below
