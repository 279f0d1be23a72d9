"""Checks of how an agent learns: budgets, seeds, generators, checkpoints, settings."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from registry.errors import RlsuiteError
from rlsuite.isolation import seed_global_streams
from rlsuite.testing.agent_subject import AgentSubject, predict
from rlsuite.testing.global_state import (
    generators,
    process_settings,
    require_light_plugin,
    require_unmoved,
)
from rlsuite.testing.report import Failure, Skip, check, require
from rlsuite.testing.walks import difference

__all__ = ["CHECKS"]


def _require_same(
    subject: AgentSubject, one: tuple[Any, Any], other: tuple[Any, Any], what: str
) -> None:
    """The same actions in the same episodes, the same behaviour, the same checkpoint."""
    (agent, courses), (twin, twin_courses) = one, other
    for mine, theirs in zip(courses, twin_courses, strict=True):
        apart = difference(mine.events, theirs.events, "the training")
        require(not apart, f"{what}: {apart}")
    _require_equal_agents(subject, agent, twin, what)


def _require_equal_agents(subject: AgentSubject, agent: Any, twin: Any, what: str) -> None:
    apart = difference(subject.behaviour(agent), subject.behaviour(twin), "behaviour")
    require(not apart, f"{what}: {apart}")
    prints = subject.fingerprint(agent), subject.fingerprint(twin)
    require(prints[0] == prints[1], f"{what}: the checkpoints differ, though they behave alike")


@check
def exact_budget(subject: AgentSubject) -> None:
    """`learn(n)` takes exactly n steps (sweeps, examples), and `num_timesteps` counts them."""
    subject.require_learning()
    subject.require_promise("exact_budget")
    subject.require_budget()
    env, courses = subject.courses()
    agent = subject.build(env)
    expected = 0
    for steps in (0, 1, 7, 30, 64):
        expected += subject.whole(steps)
        answer = agent.learn(subject.whole(steps))
        taken = subject.taken(agent, courses)
        require(
            taken == expected,
            f"learn({subject.whole(steps)}) brought it to {taken} steps, not to {expected}",
        )
        require(
            agent.num_timesteps == expected,
            f"num_timesteps is {agent.num_timesteps} after {expected} steps",
        )
        require(answer is agent, "learn returns something else than the agent")


@check
def callbacks_stop(subject: AgentSubject) -> None:
    """A callback is called with the agent after each step, and False stops the training."""
    subject.require_learning()
    subject.require_budget()
    env, courses = subject.courses()
    agent = subject.build(env)
    seen: list[Any] = []

    def callback(learner: Any) -> bool:
        seen.append(learner)
        return len(seen) < 10

    try:
        agent.learn(subject.whole(100), callback=callback)
    except TypeError as error:
        if subject.is_class and not seen:
            raise Skip(f"its learn takes no callback of this kind ({error})") from error
        raise
    taken = subject.taken(agent, courses)
    require(
        len(seen) == 10, f"the callback was called {len(seen)} times, False was the 10th answer"
    )
    require(
        taken == subject.whole(10),
        f"stopped by the 10th call, it took {taken} steps and not {subject.whole(10)}",
    )
    require(
        all(one is agent for one in seen), "the callback is given something else than the agent"
    )


@check
def split_learning(subject: AgentSubject) -> None:
    """`learn(a); learn(b)` equals `learn(a + b)`, bit for bit."""
    subject.require_learning()
    subject.require_promise("split_learn")
    whole = subject.trained()
    env, courses = subject.courses()
    agent = subject.build(env)
    cuts = (1, subject.steps // 3, subject.steps - 1 - subject.steps // 3)
    for steps in cuts:
        agent.learn(subject.whole(steps))
    _require_same(subject, whole, (agent, courses), f"learn({subject.steps}) against {cuts}")


@check
def same_seed_same_run(subject: AgentSubject) -> None:
    """One seed is one run: training, behaviour and checkpoint, bit for bit.

    The global generators are elsewhere the second time, so that drawing from them shows.
    """
    subject.require_learning()
    seed_global_streams(1)
    first = subject.trained(seed=3)
    seed_global_streams(2)
    second = subject.trained(seed=3)
    _require_same(subject, first, second, "seed 3 twice")


@check
def seeds_differ(subject: AgentSubject) -> None:
    """Another seed is another run."""
    subject.require_learning()
    seed_global_streams(0)
    one, courses = subject.trained(seed=1)
    seed_global_streams(0)
    other, other_courses = subject.trained(seed=2)
    moved = any(
        [e[0] for e in a.events] != [e[0] for e in b.events]
        or [e[1] for e in a.events if e[0] == "step"] != [e[1] for e in b.events if e[0] == "step"]
        for a, b in zip(courses, other_courses, strict=True)
    )
    prints = subject.fingerprint(one), subject.fingerprint(other)
    require(
        moved or prints[0] != prints[1],
        f"seeds 1 and 2 take the same {subject.steps} actions and write the same checkpoint",
    )


@check
def own_generators_only(subject: AgentSubject) -> None:
    """Making, learning, predicting, saving and loading leave the global generators alone."""
    subject.require_promise("own_rng")
    subject.trained(1)  # whatever it imports has been imported
    seed_global_streams(20_001)  # nobody's favourite seed, so that seeding shows as well
    before = generators()
    agent, _ = subject.trained()
    require_unmoved(before, generators(), "learning")
    observations, _ = subject.observations()
    predict(agent, observations[0], deterministic=False)
    subject.behaviour(agent)
    require_unmoved(before, generators(), "predicting")
    with _saved(agent) as path:
        require_unmoved(before, generators(), "saving")
        type(agent).load(path)
        require_unmoved(before, generators(), "loading")


@check
def interleaved(subject: AgentSubject) -> None:
    """Two agents that take turns learn what each learns alone."""
    subject.require_learning()
    subject.require_promise("own_rng")
    subject.require_promise("split_learn")
    pairs = []
    for seed in (1, 2):
        env, courses = subject.courses()
        pairs.append((subject.build(env, seed), courses))
    for _ in range(6):
        for agent, _ in pairs:
            agent.learn(subject.whole(subject.steps // 6))
    for seed, pair in zip((1, 2), pairs, strict=True):
        alone = subject.trained(6 * (subject.steps // 6), seed=seed)
        _require_same(subject, pair, alone, f"seed {seed}, taking turns and alone")


@check
def process_settings_restored(subject: AgentSubject) -> None:
    """Thread counts, dtypes, error states and the environment variables end as they were."""
    subject.trained(1)
    before = process_settings()
    agent, _ = subject.trained()
    predict(agent, subject.observations()[0][0], deterministic=True)
    after = process_settings()
    changed = [name for name in before if before[name] != after.get(name)]
    require(not changed, f"it left {', '.join(changed)} changed")


@contextlib.contextmanager
def _saved(agent: Any) -> Iterator[Path]:
    """A checkpoint of the agent, in a folder that is gone afterwards."""
    if not callable(getattr(agent, "save", None)) or not callable(
        getattr(type(agent), "load", None)
    ):
        raise Skip("it offers no save and load")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "agent"
        agent.save(path)
        yield path


@check
def loads_without_environment(subject: AgentSubject) -> None:
    """A checkpoint loads without an environment, and predicts as the agent did."""
    subject.require_learning()
    agent, _ = subject.trained()
    with _saved(agent) as path:
        loaded = type(agent).load(path)
    apart = difference(subject.behaviour(agent), subject.behaviour(loaded), "behaviour")
    require(not apart, f"the loaded agent is another one: {apart}")
    require(
        loaded.num_timesteps == agent.num_timesteps,
        f"it loads num_timesteps={loaded.num_timesteps}, and had {agent.num_timesteps}",
    )
    if subject.config is not None:
        require(loaded.config == agent.config, f"it loads the settings {loaded.config}")


@check
def saves_itself_again(subject: AgentSubject) -> None:
    """Saving changes nothing, and a loaded agent writes the same checkpoint again."""
    subject.require_learning()
    agent, _ = _saved_in_between(subject)
    first = subject.fingerprint(agent)
    with _saved(agent) as path:
        if first is None:
            raise Skip("its checkpoints are never twice the same, so they cannot be compared")
        loaded = type(agent).load(path)
    require(subject.fingerprint(loaded) == first, "loaded and saved again, it is another one")


def _saved_in_between(subject: AgentSubject) -> tuple[Any, Any]:
    """An agent that was saved in the middle, after a check that this made no difference."""
    halves = subject.whole(subject.steps // 2)
    runs = []
    for saving in (True, False):
        env, courses = subject.courses()
        agent = subject.build(env)
        agent.learn(halves)
        if saving:
            with _saved(agent):
                pass
        agent.learn(halves)
        runs.append((agent, courses))
    for one, other in zip(runs[0][1], runs[1][1], strict=True):
        apart = difference(one.events, other.events, "the training")
        require(not apart, f"saving in between disturbed {apart}")
    saved, never_saved = (subject.behaviour(agent) for agent, _ in runs)
    apart = difference(saved, never_saved, "behaviour")
    require(not apart, f"saving in between changed it: {apart}")
    return runs[0]


@check
def continues_exactly(subject: AgentSubject) -> None:
    """Save, load, learn: as if it had never stopped, bit for bit."""
    subject.require_learning()
    subject.require_promise("resume")
    first, second = subject.steps // 2 + 3, subject.steps // 2
    whole_agent, whole_courses = subject.trained(first + second)
    agent, courses = subject.trained(first)
    env, new_courses = subject.courses()
    with _saved(agent) as path:
        loaded = type(agent).load(path, env=env)
    resumed_at = [len(course.events) for course in new_courses]
    loaded.learn(subject.whole(second))
    for whole, before, after, start in zip(
        whole_courses, courses, new_courses, resumed_at, strict=True
    ):
        joined = [*before.events, *after.events[start:]]
        apart = difference(whole.events, joined, "the training")
        require(not apart, f"saved after {first} steps: {apart}")
    _require_equal_agents(subject, whole_agent, loaded, f"saved after {first} steps")


@check
def settings_read(subject: AgentSubject) -> None:
    """Every setting is read by somebody after it was checked: none is accepted and ignored."""
    if subject.config is None or not dataclasses.is_dataclass(subject.config):
        raise Skip("it names no dataclass of settings in config_type")
    names = {f.name for f in dataclasses.fields(subject.config)}
    if not names:
        raise Skip("it has no settings")
    read: set[str] = set()
    for variant in _variants(subject.config):
        read |= _reads(subject, variant)
        if names <= read:
            return
    raise Failure(f"nothing reads {', '.join(sorted(names - read))}")


def _variants(config: Any) -> Iterator[Any]:
    """The settings, then with each choice and each switch the other way: some matter only there."""
    yield config
    hints = get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        hint = hints.get(field.name)
        others: tuple[Any, ...] = (not value,) if isinstance(value, bool) else ()
        for part in (hint, *get_args(hint)):  # a choice may stand in a union
            if get_origin(part) is Literal:
                others = tuple(other for other in get_args(part) if other != value)
        for other in others:
            with contextlib.suppress(RlsuiteError):
                yield dataclasses.replace(config, **{field.name: other})


def _reads(subject: AgentSubject, config: Any) -> set[str]:
    """The names that are read while an agent is made, learns and predicts."""
    names = {f.name for f in dataclasses.fields(config)}
    read: set[str] = set()
    env, _ = subject.courses()
    config = subject.with_data(config, env)  # before anybody watches
    kind = type(config)

    def noted(self: Any, name: str) -> Any:
        if name in names:
            read.add(name)
        return object.__getattribute__(self, name)

    # A class of its own instead of a proxy: `isinstance` and `dataclasses.fields` go on to work.
    watched_kind = type(kind.__name__, (kind,), {"__slots__": (), "__getattribute__": noted})
    watched: Any = object.__new__(watched_kind)
    for name in names:
        object.__setattr__(watched, name, getattr(config, name))
    read.clear()
    agent = subject.build(env, config=watched)
    agent.learn(subject.whole(subject.steps))
    observation = subject.observations()[0][0]
    for deterministic in (True, False):
        predict(agent, observation, deterministic=deterministic)
    return read


@check
def training_environment_untouched(subject: AgentSubject) -> None:
    """Predicting takes no step in the environment that it learns in, and resets nothing."""
    agent, courses = subject.trained()
    before = [len(course.events) for course in courses]
    subject.behaviour(agent)
    predict(agent, subject.observations()[0][0], deterministic=False)
    after = [len(course.events) for course in courses]
    require(before == after, f"it did {courses[0].events[before[0] :][:3]} while predicting")


@check
def plugin_import_weight(subject: AgentSubject) -> None:
    """Importing the plugin that registers the id imports no heavy library."""
    require_light_plugin("agent", subject.name)


CHECKS = (
    exact_budget,
    callbacks_stop,
    split_learning,
    same_seed_same_run,
    seeds_differ,
    own_generators_only,
    interleaved,
    process_settings_restored,
    loads_without_environment,
    saves_itself_again,
    continues_exactly,
    settings_read,
    training_environment_untouched,
    plugin_import_weight,
)
