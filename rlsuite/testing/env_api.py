"""Checks of an environment's outside: the upstream checkers, types, schemas, ends, refusals."""

from __future__ import annotations

import copy
import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from gymnasium.utils.passive_env_checker import (
    env_reset_passive_checker,
    env_step_passive_checker,
)
from gymnasium.wrappers import TimeLimit

from registry.contracts import ANSWER_KEY_INFO
from rlsuite.testing.env_subject import EnvSubject
from rlsuite.testing.report import Failure, Skip, check, require
from rlsuite.testing.walks import difference, mask_of, seeded_walk

__all__ = ["CHECKS"]

EPISODES = 3
LIMITS = (1, 3)
MASK_TRIALS, MASK_TRIALS_BY_COPY = 100, 12  # events whose actions are all tried
_ANSI = re.compile(r"\x1b\[\d+m")
NOT_IN_SB3 = (spaces.Tuple, spaces.Text, spaces.Sequence, spaces.Graph, spaces.OneOf)


@contextmanager
def _no_warnings() -> Iterator[None]:
    """Turns every warning inside into a failure that quotes it."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        yield
    said = [_ANSI.sub("", f"{w.category.__name__}: {w.message}") for w in heard]
    require(not said, f"it warned: {' | '.join(dict.fromkeys(said))}")


@check
def gymnasium_checker(subject: EnvSubject) -> None:
    """Gymnasium's `check_env` raises nothing and warns of nothing."""
    env = subject.bare()
    with _no_warnings():
        gymnasium_check_env(env, skip_render_check=True)  # rendering has a check of its own


@check
def sb3_checker(subject: EnvSubject) -> None:
    """Stable-Baselines3's `check_env` raises nothing and warns of nothing."""
    from stable_baselines3.common.env_checker import check_env as sb3_check_env

    env = subject.make()
    for space in (env.observation_space, env.action_space):
        if isinstance(space, NOT_IN_SB3):
            raise Skip(f"Stable-Baselines3 does not handle {type(space).__name__} spaces")
    with _no_warnings():
        sb3_check_env(env)
        sb3_check_env(env.unwrapped)


class _EveryStep(gym.Wrapper[Any, Any, Any, Any]):
    """`PassiveEnvChecker` looks at the first step alone; this one at all of them."""

    def reset(self, **keywords: Any) -> Any:
        """A checked reset."""
        return env_reset_passive_checker(self.env, **keywords)

    def step(self, action: Any) -> Any:
        """A checked step."""
        return env_step_passive_checker(self.env, action)


@check
def passive_checker(subject: EnvSubject) -> None:
    """What `PassiveEnvChecker` asks of the first step holds in whole episodes."""
    with _no_warnings():
        env = _EveryStep(subject.make(disable_env_checker=False))
        for _ in seeded_walk(env, subject.steps, 0):
            pass
        env.close()


@check
def python_types(subject: EnvSubject) -> None:
    """Observations are in their space, rewards finite numbers, flags `bool`, info a `dict`."""
    env = subject.bare()
    for number, event in enumerate(seeded_walk(env, min(subject.steps, 300), 0)):
        where = f"event {number}"
        require(
            event.observation in env.observation_space,
            f"{where}: {event.observation!r:.80} is not in {env.observation_space}",
        )
        require(type(event.info) is dict, f"{where}: info is {type(event.info).__name__}, no dict")
        if event.action is None:
            continue
        flags = type(event.terminated), type(event.truncated)
        require(flags == (bool, bool), f"{where}: the flags are {flags}, they should be bool")
        _require_real(event.reward, where)


def _require_real(reward: Any, where: str) -> None:
    kind = type(reward).__name__
    real = isinstance(reward, int | float) and not isinstance(reward, bool)
    require(real, f"{where}: the reward {reward!r} is {kind}, it should be a Python number")
    require(math.isfinite(reward), f"{where}: the reward is {reward!r}")


@check
def reward_schema(subject: EnvSubject) -> None:
    """Rewards keep one type for ever, because a vector makes one array of them."""
    env = subject.make()
    events = [event for event in seeded_walk(env, subject.steps, 0) if event.action is not None]
    kinds = sorted({type(event.reward).__name__ for event in events})
    require(len(kinds) == 1, f"rewards are now {' and now '.join(kinds)}")


@check
def info_schema(subject: EnvSubject) -> None:
    """`info` keeps its keys, and every key its type, from reset to reset and step to step."""
    env = subject.make()
    kinds: dict[str, Any] = {}
    keys: dict[str, frozenset[str]] = {}
    for number, event in enumerate(seeded_walk(env, subject.steps, 0)):
        what = "reset" if event.action is None else "step"
        found = frozenset(event.info)
        expected = keys.setdefault(what, found)
        require(
            found == expected,
            f"the info of a {what} has the keys {sorted(found)} at event {number}, but "
            f"{sorted(expected)} before",
        )
        for key, value in event.info.items():
            kind = kinds.setdefault(key, _schema(value))
            require(
                kind == _schema(value),
                f"info[{key!r}] is {_schema(value)} at event {number} (a {what}), but {kind} "
                "before; a vector makes one array of it, of the type it meets first",
            )


def _schema(value: Any) -> Any:
    """Types all the way down, of arrays also dtype and shape; what a vector leaves whole, by name.

    It takes dictionaries apart, and no other mapping.
    """
    if isinstance(value, dict):
        return {key: _schema(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)}"
    return type(value).__name__


@check
def answer_key_info(subject: EnvSubject) -> None:
    """The answer key in `info` is typed, and regret is never negative.

    It may be where one action is the measure of all steps of an episode, and the class says so:
    `compares_with_one_arm = True`. `optimal_action` is then that action throughout.
    """
    kinds = {"regret": float, "expected_reward": float, "optimal_action": int, "gold": float}
    seen = set()
    env = subject.make()
    one_arm = getattr(env.unwrapped, "compares_with_one_arm", False)
    least = -math.inf if one_arm else 0.0
    measures: set[int] = set()
    for event in seeded_walk(env, min(subject.steps, 300), 0):
        for key in set(ANSWER_KEY_INFO) & set(event.info):
            value = event.info[key]
            seen.add(key)
            require(
                type(value) is kinds[key],
                f"info[{key!r}] is {value!r} ({type(value).__name__}), it should be a "
                f"{kinds[key].__name__}",
            )
        regret = event.info.get("regret", 0.0)
        require(regret >= least, f"info['regret'] is {regret}")
        if event.action is None:
            measures.clear()
        elif "optimal_action" in event.info:
            measures.add(event.info["optimal_action"])
        require(
            len(measures) < 2 or not one_arm,
            f"it compares with one arm, but in one episode info['optimal_action'] is {measures}",
        )
    if not seen:
        raise Skip(f"its info holds none of {', '.join(ANSWER_KEY_INFO)}")


@check
def episodes_end(subject: EnvSubject) -> None:
    """Episodes end, and can be begun again, three times over."""
    env = subject.make()
    budget = EPISODES * max(subject.steps, subject.spec.max_episode_steps or 0)
    ends = 0
    for event in seeded_walk(env, budget, 0):
        ends += event.over
        if ends == EPISODES:
            return
    if subject.spec.max_episode_steps is None:
        raise Skip(
            f"it has no time limit, and random play ended {ends} episodes in {budget:,} steps"
        )
    raise Failure(f"only {ends} episodes ended in {budget:,} steps")


@check
def time_limit(subject: EnvSubject) -> None:
    """At the limit an episode is truncated, terminated or not; before it, only if it says so."""
    registered = subject.spec.max_episode_steps
    affordable = registered is not None and registered <= subject.steps
    for limit in (*LIMITS, registered) if affordable else LIMITS:
        assert limit is not None
        env = subject.make(max_episode_steps=limit)
        bare_cuts = _cuts_itself(subject, limit)
        length = 0
        for event in seeded_walk(env, max(3 * limit, 50), 0):
            length = 0 if event.action is None else length + 1
            require(length <= limit, f"with a limit of {limit}, step {length} was still taken")
            if length == limit:
                require(event.truncated, f"step {length} of a limit of {limit} is not truncated")
            elif event.truncated:
                require(bare_cuts, f"step {length} is truncated, though the limit is {limit} steps")
    if registered is None:
        tried = " and ".join(str(limit) for limit in LIMITS)
        raise Skip(f"no limit is registered for it; limits of {tried} put around it were kept")
    limit_wrappers = [w for w in _wrappers(subject.make()) if isinstance(w, TimeLimit)]
    require(
        len(limit_wrappers) == 1,
        f"max_episode_steps={registered} is registered, but {len(limit_wrappers)} TimeLimit "
        "wrappers stand around the environment",
    )


def _cuts_itself(subject: EnvSubject, limit: int) -> bool:
    """Whether the environment truncates without a limit around it."""
    env = subject.make(max_episode_steps=-1)
    return any(event.truncated for event in seeded_walk(env, max(3 * limit, 50), 0))


def _wrappers(env: Any) -> list[Any]:
    found = []
    while isinstance(env, gym.Wrapper):
        found.append(env)
        env = env.env
    return found


@check
def invalid_actions_refused(subject: EnvSubject) -> None:
    """A `Discrete` action outside the space is refused, and changes nothing."""
    env = subject.bare()
    space = env.action_space
    if not isinstance(space, spaces.Discrete):
        raise Skip(f"its actions are {type(space).__name__}, which are usually clipped")
    env.reset(seed=0)
    stateful = callable(getattr(env, "get_state", None))
    before = env.get_state() if stateful else None
    for action in (int(space.start + space.n), int(space.start) - 1):
        try:
            env.step(action)
        except Exception:
            if stateful:
                apart = difference(env.get_state(), before, "the state")
                require(not apart, f"refusing the action {action} moved it: {apart}")
            continue
        raise Failure(f"the action {action} was taken, though the space is {space}")


@check
def unknown_keyword_refused(subject: EnvSubject) -> None:
    """A keyword that it does not know is a `TypeError`, and not ignored."""
    try:
        subject.make(no_such_keyword=1)
    except TypeError:
        return
    raise Failure("it was made with no_such_keyword=1: a misspelt setting would be ignored")


@check
def action_masks_truthful(subject: EnvSubject) -> None:
    """Masks agree wherever they are given, allow something, and say what actions can do.

    Every allowed action is tried on a copy. Masked ones are tried too: they are all refused, or all
    without effect, or all mere rules of the task; a mixture means that the mask is wrong somewhere.
    """
    env = subject.make()
    first = next(seeded_walk(env, 0, 0))
    if mask_of(env, first.observation, first.info) is None:
        raise Skip("it gives no action masks")
    if not isinstance(env.action_space, spaces.Discrete):
        raise Skip(f"masks are checked for Discrete actions, not {type(env.action_space).__name__}")
    twins, trials = _twins(subject, env)
    effects: dict[str, str] = {}
    for number, event in enumerate(seeded_walk(env, trials, 0)):
        if event.over:
            continue
        mask = _one_mask(env, event, number)
        best = event.info.get("optimal_action") if event.action is None else None
        require(best is None or mask[best], f"event {number}: the optimal action {best} is masked")
        _try_actions(twins, mask, number, effects)
    require(
        len(effects) <= 1,
        "masked actions are not of one kind: " + "; ".join(effects.values()),
    )


def _one_mask(env: Any, event: Any, number: int) -> Any:
    """The mask that all sources agree on."""
    n = int(env.action_space.n)
    sources: dict[str, Callable[[], Any]] = {
        "info": lambda: event.info.get("action_mask"),
        "observation": lambda: (
            event.observation.get("action_mask") if isinstance(event.observation, Mapping) else None
        ),
    }
    if env.has_wrapper_attr("action_masks"):
        sources["action_masks()"] = env.get_wrapper_attr("action_masks")
    given = {name: mask for name, read in sources.items() if (mask := read()) is not None}
    require(given, f"event {number} gives no mask, though the first reset did")
    for name, mask in given.items():
        array = np.asarray(mask)
        where = f"event {number}: the mask of {name}"
        require(array.shape == (n,), f"{where} has shape {array.shape}, it should be ({n},)")
        require(np.isin(array, (0, 1)).all(), f"{where} is {array}, it should hold 0 and 1")
        require(array.any(), f"{where} allows nothing, though the episode goes on")
        apart = np.flatnonzero(array != np.asarray(next(iter(given.values()))))
        require(
            not apart.size, f"{where} differs from that of {next(iter(given))} at {apart.tolist()}"
        )
    return np.asarray(next(iter(given.values())), bool)


def _twins(subject: EnvSubject, env: Any) -> tuple[Callable[[], Any], int]:
    """A function that gives a copy of the environment as it stands now, and how far to walk."""
    original, twin = env.unwrapped, subject.bare()
    if not callable(getattr(twin, "get_state", None)):
        return (lambda: copy.deepcopy(original)), MASK_TRIALS_BY_COPY

    def restored() -> Any:
        twin.reset(seed=0)
        twin.set_state(original.get_state())
        return twin

    return restored, MASK_TRIALS


def _try_actions(twins: Callable[[], Any], mask: Any, number: int, effects: dict[str, str]) -> None:
    for action, allowed in enumerate(mask):
        trial = twins()
        before = _state_of(trial)
        chosen = np.int64(action + trial.action_space.start)
        try:
            outcome = trial.step(chosen)
        except Exception as error:
            require(
                not allowed,
                f"event {number}: action {action} is allowed, but raised {type(error).__name__}: "
                f"{error}",
            )
            kind = "refused"
        else:
            moved = outcome[2] or bool(difference(before, _state_of(trial)))
            kind = "taken, with an effect" if moved else "without effect"
        if not allowed:
            effects.setdefault(kind, f"action {action} at event {number} is {kind}")


def _state_of(env: Any) -> Any:
    """What can be seen of the state, without clock and generator."""
    if hasattr(env, "s"):  # Gymnasium's toy-text environments
        return int(env.s)
    if callable(getattr(env, "get_state", None)):
        state = env.get_state()
        return {key: value for key, value in state.items() if key not in ("rng", "t")}
    kept = {key: value for key, value in vars(env).items() if not key.startswith("_")}
    return copy.deepcopy({key: value for key, value in kept.items() if _is_data(value)})


def _is_data(value: Any) -> bool:
    return isinstance(value, bool | int | float | str | np.ndarray | tuple | list)


CHECKS = (
    gymnasium_checker,
    sb3_checker,
    passive_checker,
    python_types,
    reward_schema,
    info_schema,
    answer_key_info,
    episodes_end,
    time_limit,
    invalid_actions_refused,
    unknown_keyword_refused,
    action_masks_truthful,
)
