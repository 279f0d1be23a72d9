"""Collects logged data: what a policy meets in an environment, for others to learn from.

Episode k resets its environment with a seed of its own, drawn from the root seed and k. These are
other episodes than those of an evaluation with the same root.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box, Discrete

from registry.errors import SettingError
from registry.logged_data import LoggedData
from registry.seeding import Stream, check_seed, integer_seed
from rlsuite.episodes import Seat, driver_for, stack
from rlsuite.evaluation import MAX_STEPS, Evaluator, check_whole
from rlsuite.isolation import global_streams

__all__ = ["Watched", "collect", "described"]

LARGEST_TABLE = 100_000
"""States up to which a policy is asked once for its probabilities in all of them."""


def collect(
    policy: Any,
    env: str | gym.Env[Any, Any],
    *,
    steps: int | None = None,
    episodes: int | None = None,
    seed: int = 0,
    epsilon: float = 0.0,
    deterministic: bool = False,
    max_steps: int = MAX_STEPS,
    about: Mapping[str, Any] | None = None,
) -> LoggedData:
    """Plays a policy and keeps every transition.

    Args:
        policy: Anything with `predict`. Where it has `action_probabilities`, the probability of
            each action is kept as well.
        env: Id of an environment, or one made by `gymnasium.make`. Observations and actions are
            `Discrete` or `Box`.
        steps: How many transitions, at least 1. The last one counts as truncated where it ends no
            episode.
        episodes: Or how many whole episodes, at least 1.
        seed: Root of all that is drawn, at least 0.
        epsilon: In [0, 1]; with this probability any allowed action is taken, each equally likely,
            instead of the policy's. Asks for `action_probabilities`.
        deterministic: Whether the policy acts greedily.
        max_steps: Where an episode that does not end is cut off, as truncated.
        about: More to be kept beside the environment, seed and so on.

    Raises:
        SettingError: neither or both of `steps` and `episodes`, a number outside its range, an
            `epsilon` for a policy that states no probabilities, or spaces that cannot be logged.
    """
    if (steps is None) == (episodes is None):
        raise SettingError(
            f"collect takes either steps or episodes, got steps={steps!r}, episodes={episodes!r}."
        )
    for name, value in (("steps", steps), ("episodes", episodes), ("max_steps", max_steps)):
        if value is not None:
            check_whole(name, value)
    number = isinstance(epsilon, int | float | np.number) and not isinstance(epsilon, bool)
    if not number or not 0 <= epsilon <= 1:
        raise SettingError(f"epsilon must be a number in [0, 1], got {epsilon!r}.")
    check_seed(seed)
    with Evaluator.of(env, policy) as evaluator, global_streams():
        played = evaluator.env
        for name, space in (
            ("observations", played.observation_space),
            ("actions", played.action_space),
        ):
            if not isinstance(space, Discrete | Box):
                raise SettingError(f"logged data hold {name} of Discrete and Box, got {space}.")
        behaviour = _Behaviour(policy, played, epsilon, deterministic)
        root = integer_seed(seed, Stream.DATA)
        greedy = deterministic and behaviour.stated is None  # else it is mixed in already
        walk = _transitions(behaviour.policy, played, root, greedy, max_steps)
        rows = _taken(walk, steps, episodes)
        nameless = {"class": type(played.unwrapped).__name__}
        known = {
            "environment": nameless if played.spec is None else described(played.spec),
            "policy": type(policy).__name__,
            "seed": int(seed),
            "epsilon": float(epsilon),
            "deterministic": bool(deterministic),
            "rlsuite": metadata.version("rlsuite"),
            **(about or {}),
        }
        first_action = int(getattr(played.action_space, "start", 0))
        return _data(rows, behaviour.stated, first_action, known)


class _Behaviour:
    """The policy with ε mixed in, and how it states its probabilities (None if it does not).

    Where observations are numbers and nothing is masked it is asked once, for all of them.
    """

    def __init__(
        self, policy: Any, env: gym.Env[Any, Any], epsilon: float, deterministic: bool
    ) -> None:
        states = isinstance(env.action_space, Discrete)
        self._pi = getattr(policy, "action_probabilities", None) if states else None
        self._epsilon, self._deterministic = epsilon, deterministic
        self._space = env.observation_space
        self._table: Any = None
        self.stated: Callable[..., Any] | None = self._stated if callable(self._pi) else None
        self.policy = self if self.stated else policy
        if epsilon and self.stated is None:
            raise SettingError(
                f"epsilon={epsilon:g} is mixed into a policy's action_probabilities, which "
                f"{type(policy).__name__} does not have for actions of {env.action_space}."
            )

    def action_probabilities(
        self, observations: Any, *, deterministic: bool, mask: Any = None
    ) -> Any:
        """Those of the behaviour, whose own greediness is mixed in already."""
        return self._stated(observations, mask)

    def _stated(self, observations: Any, mask: Any) -> Any:
        if mask is None and isinstance(self._space, Discrete) and self._space.n <= LARGEST_TABLE:
            if self._table is None:
                every = np.arange(self._space.n) + self._space.start
                self._table = self._mixed(every, None)
            return self._table[np.asarray(observations) - self._space.start]
        return self._mixed(observations, mask)

    def _mixed(self, observations: Any, mask: Any) -> Any:
        assert self._pi is not None
        keywords = {} if mask is None else {"mask": mask}
        pi = np.asarray(self._pi(observations, deterministic=self._deterministic, **keywords))
        allowed = np.ones(pi.shape) if mask is None else np.asarray(mask, np.float64)
        uniform = allowed / allowed.sum(axis=1, keepdims=True)
        return (1.0 - self._epsilon) * pi + self._epsilon * uniform


class _Row(NamedTuple):
    """A transition, with the actions allowed in S and in S'."""

    observation: Any
    mask: Any
    action: Any
    reward: float
    next_observation: Any
    terminated: bool
    truncated: bool
    next_mask: Any


class Watched(gym.Wrapper[Any, Any, Any, Any]):
    """Keeps the last step: the action as it was taken, and what came of it; and the last info."""

    last: tuple[Any, ...] = ()
    info: Mapping[str, Any] = {}

    def reset(self, **keywords: Any) -> tuple[Any, dict[str, Any]]:
        """Resets, and keeps the info."""
        observation, info = self.env.reset(**keywords)
        self.info = info
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Steps, and keeps it."""
        outcome = self.env.step(action)
        observation, reward, terminated, truncated, self.info = outcome
        self.last = (action, float(reward), np.array(observation), bool(terminated), truncated)
        return outcome


def _transitions(
    policy: Any, env: gym.Env[Any, Any], root: int, deterministic: bool, cap: int
) -> Iterator[_Row]:
    """One transition after the other, for ever."""
    watched = Watched(env)
    seat = Seat(watched)
    driver = driver_for(policy, watched, deterministic)
    episode, over = 0, True
    while True:
        if over:
            seat.start(episode, root)
            driver.start(seat, root)
            episode += 1
        before, mask = np.array(seat.observation), seat.mask
        (action,) = driver.actions([seat])
        record = seat.step(action, cap)
        taken, reward, after, terminated, truncated = watched.last
        over = record is not None
        cut = bool(truncated) or (over and not terminated)
        next_mask = None if terminated else seat.mask
        yield _Row(before, mask, taken, reward, after, terminated, cut, next_mask)


def _taken(walk: Iterator[_Row], steps: int | None, episodes: int | None) -> list[_Row]:
    """So many steps, the last of which ends its episode, or so many episodes."""
    rows: list[_Row] = []
    ended = 0
    for row in walk:
        rows.append(row)
        ended += row.terminated or row.truncated
        if len(rows) == steps or ended == episodes:
            break
    rows[-1] = rows[-1]._replace(truncated=rows[-1].truncated or not rows[-1].terminated)
    return rows


def _data(
    rows: list[_Row],
    stated: Callable[..., Any] | None,
    first_action: int,
    about: Mapping[str, Any],
) -> LoggedData:
    columns: dict[str, Any] = dict(zip(_Row._fields, zip(*rows, strict=True), strict=True))
    mask, next_mask = (_masks(columns.pop(name)) for name in ("mask", "next_mask"))
    columns["observation"] = stack(columns["observation"])
    probability = None
    if stated is not None:
        pi = np.asarray(stated(columns["observation"], mask))
        taken = pi[np.arange(len(rows)), np.asarray(columns["action"]) - first_action]
        probability = np.minimum(taken, 1.0)  # a row sums to 1 but for rounding
    return LoggedData(**columns, next_mask=next_mask, probability=probability, about=about)


def _masks(masks: Sequence[Any]) -> Any:
    """Masks [N, A], all actions where one step has none; None where no step has any."""
    given = next((mask for mask in masks if mask is not None), None)
    if given is None:
        return None
    return np.array([np.ones(len(given)) if m is None else m for m in masks]).astype(bool)


def described(spec: EnvSpec) -> dict[str, Any]:
    """What `gymnasium.make` needs to make it again; keywords that are not JSON as text."""
    known = {"id": spec.id, "kwargs": spec.kwargs, "max_episode_steps": spec.max_episode_steps}
    described: dict[str, Any] = json.loads(json.dumps(known, default=str))
    return described
