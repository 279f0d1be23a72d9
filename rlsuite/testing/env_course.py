"""Checks of an environment's course: determinism, fresh objects, copies, states, specs."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from multiprocessing.reduction import ForkingPickler
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec

from rlsuite.isolation import seed_global_streams
from rlsuite.testing.env_subject import EnvSubject
from rlsuite.testing.global_state import generators, require_light_plugin, require_unmoved
from rlsuite.testing.report import Failure, Skip, check, require
from rlsuite.testing.walks import Event, difference, require_same, seeded_walk, walk

__all__ = ["CHECKS"]


@check
def determinism(subject: EnvSubject) -> None:
    """One seed is one course: whole episodes, and the unseeded ones after them.

    The global generators are elsewhere the second time, so that drawing from them shows.
    """
    seed_global_streams(1)
    first = list(seeded_walk(subject.make(), subject.steps, 5))
    seed_global_streams(2)
    require_same(iter(first), seeded_walk(subject.make(), subject.steps, 5), "seed 5 twice")


@check
def seeded_reset_forgets(subject: EnvSubject) -> None:
    """A reset with a seed does not remember what was before it."""
    used, fresh = subject.make(), subject.make()
    for _ in seeded_walk(used, 37, 1):
        pass
    require_same(
        seeded_walk(used, 200, 2), seeded_walk(fresh, 200, 2), "used before, and not used before"
    )


@check
def seeds_differ(subject: EnvSubject) -> None:
    """Another seed puts the generator elsewhere."""
    env = subject.bare()
    states = []
    for seed in (1, 2):
        env.reset(seed=seed)
        states.append(env.np_random.bit_generator.state)
    require(states[0] != states[1], "seeds 1 and 2 leave np_random in the same state")


@check
def global_generators_unmoved(subject: EnvSubject) -> None:
    """Making, resetting, stepping and closing leave every global generator as it was."""
    subject.make().close()  # whatever it imports has been imported
    seed_global_streams(20_001)  # nobody's favourite seed, so that seeding shows as well
    before = generators()
    env = subject.make()
    for _ in seeded_walk(env, min(subject.steps, 300), 0):
        pass
    env.close()
    require_unmoved(before, generators(), "the environment")


@check
def fresh_objects(subject: EnvSubject) -> None:
    """No returned array or dictionary is returned again, changed later, or read back."""
    env = subject.make()
    kept = []
    for event in seeded_walk(env, 60, 3):
        parts = (event.observation, event.info)
        kept.append((parts, copy.deepcopy(parts)))
    for number, (parts, was) in enumerate(kept):
        apart = difference(parts, was, "(observation, info)")
        require(not apart, f"what event {number} returned was changed later: {apart}")
    _require_unshared([parts for parts, _ in kept])
    require_same(
        _spoiled(seeded_walk(subject.make(), 60, 3)),
        seeded_walk(subject.make(), 60, 3),
        "overwriting what was returned changed the course",
    )


def _require_unshared(returned: list[Any]) -> None:
    owners: dict[int, tuple[int, str]] = {}
    arrays: list[tuple[int, str, Any]] = []
    for number, parts in enumerate(returned):
        for path, value in _mutables(parts, "(observation, info)"):
            if isinstance(value, np.ndarray):
                arrays.append((number, path, value))
                continue
            earlier, where = owners.setdefault(id(value), (number, path))
            require(earlier == number, f"{path} of event {number} is {where} of event {earlier}")
    arrays.sort(key=lambda entry: np.lib.array_utils.byte_bounds(entry[2])[0])
    for (n, path, one), (m, where, other) in pairwise(arrays):
        shared = n != m and one.size and np.shares_memory(one, other)
        require(not shared, f"{path} of event {n} shares memory with {where} of event {m}")


def _mutables(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, np.ndarray):
        yield path, value
    elif isinstance(value, Mapping):
        yield path, value
        for key, item in value.items():
            yield from _mutables(item, f"{path}[{key!r}]")
    elif isinstance(value, tuple | list):
        if isinstance(value, list):
            yield path, value
        for number, item in enumerate(value):
            yield from _mutables(item, f"{path}[{number}]")


def _spoiled(events: Iterator[Event]) -> Iterator[Event]:
    """The events, whose arrays are overwritten before the environment moves on."""
    for event in events:
        yield copy.deepcopy(event)
        for _, value in _mutables((event.observation, event.info), ""):
            # masks stay: the walk still has to read them
            if isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.flags.writeable:
                value[...] = 77.0


@check
def deep_copies(subject: EnvSubject) -> None:
    """A deep copy in mid-episode goes on as the original does."""
    _go_on(subject, copy.deepcopy, "a deep copy")


@check
def pickling(subject: EnvSubject) -> None:
    """What another process would receive in mid-episode goes on as the original does."""
    _go_on(subject, lambda env: ForkingPickler.loads(ForkingPickler.dumps(env)), "a pickled copy")


def _go_on(subject: EnvSubject, duplicate: Callable[[Any], Any], what: str) -> None:
    for after in (0, 3):
        env = subject.bare()
        for _ in seeded_walk(env, after, 4):
            pass
        twin = duplicate(env)
        require_same(
            walk(env, 120, 2), walk(twin, 120, 2), f"{what} made after {after} steps goes elsewhere"
        )


@check
def state_round_trip(subject: EnvSubject) -> None:
    """`get_state`, through JSON, `set_state` in another instance: both go on identically."""
    env = subject.bare()
    if not (callable(getattr(env, "get_state", None)) and callable(getattr(env, "set_state", 0))):
        raise Skip("it offers no get_state and set_state")
    for after in (0, 1, 3, 30):
        env, twin = subject.bare(), subject.bare()
        for _ in seeded_walk(env, after, 4):
            pass
        state = env.get_state()
        try:
            text = json.dumps(state)
        except (TypeError, ValueError) as error:
            raise Failure(f"JSON cannot hold what get_state returned: {error}") from error
        twin.set_state(json.loads(text))
        apart = difference(twin.get_state(), state, "the state")
        require(not apart, f"set after {after} steps, it is another one: {apart}")
        apart = difference(env.get_state(), state, "the state")
        require(not apart, f"get_state moved the environment: {apart}")
        what = f"the state after {after} steps, set in another instance, goes elsewhere"
        require_same(walk(env, 120, 2), walk(twin, 120, 2), what)


@check
def json_spec(subject: EnvSubject) -> None:
    """The spec of a made environment survives JSON, and makes the same environment."""
    if callable(subject.spec.entry_point):
        raise Skip("its entry point is an object, not a string, so JSON cannot hold it")
    spec = subject.make().spec
    require(spec is not None, "the made environment has no spec")
    assert spec is not None
    text = spec.to_json()
    again = EnvSpec.from_json(text)
    require(
        json.loads(again.to_json()) == json.loads(text), f"{text:.200} comes back as another spec"
    )
    made = gym.make(again)
    require_same(
        seeded_walk(made, 100, 0),
        seeded_walk(subject.make(), 100, 0),
        "made from JSON, it goes elsewhere",
    )


@check
def plugin_import_weight(subject: EnvSubject) -> None:
    """Importing the plugin that registers the id imports no heavy library."""
    require_light_plugin("env", subject.id)


CHECKS = (
    determinism,
    seeded_reset_forgets,
    seeds_differ,
    global_generators_unmoved,
    fresh_objects,
    deep_copies,
    pickling,
    state_round_trip,
    json_spec,
    plugin_import_weight,
)
