"""Plays episodes of an evaluation: N are started, N are finished, each with its own seed.

Episode k of root seed r resets its environment with `integer_seed(r, Stream.EVALUATION, k)`, and a
policy that states its probabilities draws with `generator(r, Stream.POLICY, k)`. A result therefore
depends neither on the order of the episodes nor on how many environments play side by side: a
batch of observations is always padded to `WIDTH` rows, because the last bits of a network's output
change with the width of the batch.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Tuple
from numpy.typing import NDArray

from registry.errors import InvalidActionError, InvalidObservationError, SettingError
from registry.seeding import Stream, generator, integer_seed
from rlsuite.isolation import seed_global_streams
from rlsuite.records import EpisodeRecord

__all__ = ["WIDTH", "Driver", "Seat", "driver_for", "play"]

WIDTH = 16
"""Rows of every batch that a policy is asked about; part of the identity of stored results."""

SUM_TOLERANCE = 1e-5
STANDARD = ("state", "episode_start", "deterministic")


class Seat:
    """One environment, and the episode that is being played in it."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        self.env = env
        self.asks_for_masks = env.has_wrapper_attr("action_masks")

    def start(self, index: int, root: int) -> None:
        """Begins episode `index`."""
        self.index = index
        self.seed = integer_seed(root, Stream.EVALUATION, index)
        self.rng = generator(root, Stream.POLICY, index)
        self.state: Any = None
        self.total, self.length = 0.0, 0
        observation, info = self.env.reset(seed=self.seed)
        self._see(observation, info)

    def step(self, action: Any, cap: int) -> EpisodeRecord | None:
        """Takes one step; the record of the episode where it ends."""
        action = self._checked(action)
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.length += 1
        self.total += self._checked_reward(reward)
        self._see(observation, info)
        capped = self.length >= cap and not (terminated or truncated)
        if not (terminated or truncated or capped):
            return None
        return EpisodeRecord(
            index=self.index,
            seed=self.seed,
            episode_return=self.total,
            length=self.length,
            terminated=bool(terminated),
            truncated=bool(truncated),
            capped=capped,
        )

    def _see(self, observation: Any, info: Mapping[str, Any]) -> None:
        check_observation(observation, self._where)
        self.observation = observation
        mask = info.get("action_mask")
        if mask is None and isinstance(observation, Mapping):
            mask = observation.get("action_mask")
        if mask is None and self.asks_for_masks:
            mask = self.env.get_wrapper_attr("action_masks")()
        self.mask = mask

    def _checked(self, action: Any) -> Any:
        """The action in the form that the space wants."""
        space = self.env.action_space
        if isinstance(space, Discrete):
            try:
                action = np.int64(operator.index(np.asarray(action).item()))
            except (TypeError, ValueError):
                raise self._outside(action) from None
        elif isinstance(space, Box):
            action = np.asarray(action, dtype=space.dtype)
        if not space.contains(action):
            raise self._outside(action)
        return action

    def _outside(self, action: Any) -> InvalidActionError:
        return InvalidActionError(
            f"the policy answered {action!r} {self._where()}, which is not in the action space "
            f"{self.env.action_space}."
        )

    def _checked_reward(self, reward: Any) -> float:
        value = float(reward)
        if not np.isfinite(value):
            raise InvalidObservationError(
                f"the environment paid {value!r} {self._where()}: a reward must be finite."
            )
        return value

    def _where(self) -> str:
        return f"in episode {self.index} after {self.length} steps"


def check_observation(observation: Any, where: Callable[[], str]) -> None:
    """Raises `InvalidObservationError` where a number is NaN or infinite; `where()` says when."""
    if isinstance(observation, int):
        return
    if isinstance(observation, dict):
        for part in observation.values():
            check_observation(part, where)
    elif isinstance(observation, tuple):
        for part in observation:
            check_observation(part, where)
    elif isinstance(observation, np.ndarray | float | np.floating):
        array = np.asarray(observation)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InvalidObservationError(
                f"the observation {where()} is not finite: {_brief(array)}."
            )


def _brief(array: NDArray[Any]) -> str:
    text = np.array2string(array, threshold=8, precision=4)
    return " ".join(text.split())


class Driver(Protocol):
    """How a policy is asked. `width`: how many episodes it can play side by side."""

    width: int
    invariant: bool
    note: str

    def start(self, seat: Seat, root: int) -> None:
        """An episode begins in this seat."""
        ...

    def actions(self, seats: Sequence[Seat]) -> Sequence[Any]:
        """One action for each seat."""
        ...


def play(
    driver: Driver,
    envs: Iterator[gym.Env[Any, Any]],
    *,
    episodes: Sequence[int],
    seed: int,
    cap: int,
) -> tuple[EpisodeRecord, ...]:
    """Plays exactly the episodes named, each to its end or to `cap` steps, in the order of k.

    The next episode goes to the next free seat. `envs` gives as many environments as there are
    seats to fill; fewer are enough.
    """
    todo = iter(episodes)
    seats: list[Seat] = []
    finished: list[EpisodeRecord] = []
    for _, env in zip(range(min(driver.width, len(episodes))), envs, strict=False):
        seats.append(Seat(env))
        _begin(driver, seats[-1], next(todo), seed)
    while seats:
        still: list[Seat] = []
        for seat, action in zip(seats, driver.actions(seats), strict=True):
            record = seat.step(action, cap)
            if record is None:
                still.append(seat)
                continue
            finished.append(record)
            following = next(todo, None)
            if following is not None:
                _begin(driver, seat, following, seed)
                still.append(seat)
        seats = still
    return tuple(sorted(finished, key=lambda record: record.index))


def _begin(driver: Driver, seat: Seat, index: int, root: int) -> None:
    seat.start(index, root)
    driver.start(seat, root)


def driver_for(policy: Any, env: gym.Env[Any, Any], deterministic: bool) -> Driver:
    """The best way to ask this policy.

    Probabilities are drawn from here, row by row; a `predict` that accepts `rngs` is handed one
    generator per row; any other `predict` is asked one observation at a time.

    Raises:
        SettingError: the object has no `predict`, or is a class.
    """
    if isinstance(policy, type):
        raise SettingError(
            f"evaluate takes a policy, got the class {policy.__name__}: make an instance of it."
        )
    batches = _batchable(env.observation_space)
    probabilities = getattr(policy, "action_probabilities", None)
    if callable(probabilities) and batches and isinstance(env.action_space, Discrete):
        return _Probabilities(probabilities, env.action_space, deterministic)
    predict = getattr(policy, "predict", None)
    if not callable(predict):
        raise SettingError(
            f"a policy has predict(observation, state=None, episode_start=None, "
            f"deterministic=False); {type(policy).__name__} has none."
        )
    names = _parameters(predict)
    if "rngs" in names and batches:
        return _Rows(predict, names, deterministic)
    return _Single(predict, names, deterministic)


class _Probabilities:
    """Asks for π(a|s) and draws from it by the inverse distribution function."""

    width, invariant, note = WIDTH, True, ""

    def __init__(self, probabilities: Any, space: Discrete[Any], deterministic: bool) -> None:
        self.probabilities = probabilities
        self.space = space
        self.deterministic = deterministic

    def start(self, seat: Seat, root: int) -> None:
        """Nothing: the seat's generator is fresh."""

    def actions(self, seats: Sequence[Seat]) -> Sequence[Any]:
        """Row k of the batch, drawn with the generator of seat k."""
        observations, mask = _batch(seats)
        keywords = {} if mask is None else {"mask": mask}
        table = np.asarray(
            self.probabilities(observations, deterministic=self.deterministic, **keywords)
        )
        self._check(table)
        first = int(self.space.start)
        return [self._draw(row, seat) + first for row, seat in zip(table, seats, strict=False)]

    def _draw(self, row: NDArray[np.float64], seat: Seat) -> int:
        if self.deterministic:
            return int(row.argmax())
        cumulative = np.cumsum(row)
        u = seat.rng.random() * cumulative[-1]
        chosen = int(np.searchsorted(cumulative, u, side="right"))
        return min(chosen, int(np.flatnonzero(row)[-1]))  # u may round up to the total

    def _check(self, table: NDArray[Any]) -> None:
        wanted = (WIDTH, int(self.space.n))
        if table.shape != wanted:
            raise InvalidActionError(
                f"action_probabilities answered shape {table.shape} to {WIDTH} observations; "
                f"wanted {wanted}."
            )
        # written so that NaN is refused as well
        if not ((table >= 0).all() and (abs(table.sum(axis=1) - 1) <= SUM_TOLERANCE).all()):
            raise InvalidActionError(
                "action_probabilities answered rows that are no probabilities (at least 0, summing "
                f"to 1): {_brief(table)}."
            )


class _Rows:
    """Asks `predict` about a batch, with one generator per row."""

    width, invariant, note = WIDTH, True, ""

    def __init__(self, predict: Any, names: frozenset[str], deterministic: bool) -> None:
        self.predict, self.names, self.deterministic = predict, names, deterministic
        self.spare = np.random.Generator(np.random.PCG64(0))  # padding draws from it

    def start(self, seat: Seat, root: int) -> None:
        """Nothing: the seat's generator is fresh."""

    def actions(self, seats: Sequence[Seat]) -> Sequence[Any]:
        """One action per seat."""
        observations, mask = _batch(seats)
        rngs = [seat.rng for seat in seats] + [self.spare] * (WIDTH - len(seats))
        keywords: dict[str, Any] = {"deterministic": self.deterministic, "rngs": rngs}
        if mask is not None and "mask" in self.names:
            keywords["mask"] = mask
        if "state" in self.names:
            keywords |= _states_of(seats)
        answer = self.predict(observations, **keywords)
        answered = _actions_of(answer)
        if len(answered) != WIDTH:
            raise InvalidActionError(
                f"predict answered {len(answered)} actions to {WIDTH} observations."
            )
        if answer[1] is not None:
            for seat, state in zip(seats, answer[1], strict=False):
                seat.state = state
        return list(answered)[: len(seats)]


def _states_of(seats: Sequence[Seat]) -> dict[str, Any]:
    """The states of a batch, one row a seat, and which rows begin an episode; none before any."""
    known = [seat.state for seat in seats if seat.state is not None]
    if not known:
        return {}
    # rows that begin an episode, and padding, borrow a state that nobody reads
    rows = [known[0] if seat.state is None else seat.state for seat in seats]
    rows += [known[0]] * (WIDTH - len(seats))
    fresh = [seat.length == 0 for seat in seats] + [True] * (WIDTH - len(seats))
    return {"state": np.stack(rows), "episode_start": np.array(fresh)}


class _Single:
    """Asks `predict` about one observation at a time, as Stable-Baselines3's is asked."""

    width = 1

    def __init__(self, predict: Any, names: frozenset[str], deterministic: bool) -> None:
        self.predict, self.names, self.deterministic = predict, names, deterministic
        self.invariant = deterministic and "deterministic" in names
        self.note = "" if self.invariant else _why_not_invariant(deterministic)

    def start(self, seat: Seat, root: int) -> None:
        """Seeds the global generators, in case the policy draws from them."""
        seed_global_streams(integer_seed(root, Stream.POLICY, seat.index))

    def actions(self, seats: Sequence[Seat]) -> Sequence[Any]:
        """The action of the one seat; a recurrent policy's state goes with the seat."""
        (seat,) = seats
        offered = {
            "state": seat.state,
            "episode_start": np.array([seat.length == 0]),
            "deterministic": self.deterministic,
            "mask": seat.mask,
            "action_masks": seat.mask,
        }
        keywords = {
            name: value
            for name, value in offered.items()
            if name in self.names and not (name in ("mask", "action_masks") and value is None)
        }
        answer = self.predict(seat.observation, **keywords)
        action = _actions_of(answer)
        seat.state = answer[1]
        return [action]


def _why_not_invariant(deterministic: bool) -> str:
    if deterministic:
        return "not invariant: predict knows no `deterministic`, so it may draw as it likes"
    return (
        "not invariant: predict draws from generators of its own, so episodes depend on what was "
        "played before (offer action_probabilities, or accept rngs= in predict)"
    )


def _actions_of(answer: Any) -> Any:
    """The actions out of `(actions, state)`."""
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise InvalidActionError(
            "predict answers a pair (actions, state), as in Stable-Baselines3, with state None for "
            f"a policy without memory; got {type(answer).__name__}."
        )
    return answer[0]


def _parameters(predict: Any) -> frozenset[str]:
    """Names of the keywords that `predict` takes; `**kwargs` stands for the standard ones."""
    try:
        parameters = inspect.signature(predict).parameters.values()
    except (TypeError, ValueError):  # written in C: believe the contract
        return frozenset(STANDARD)
    names = {p.name for p in parameters}
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
        names |= set(STANDARD)
    return frozenset(names)


def _batchable(space: Space[Any]) -> bool:
    if isinstance(space, Dict):
        return all(_batchable(part) for part in space.spaces.values())
    if isinstance(space, Tuple):
        return all(_batchable(part) for part in space.spaces)
    return isinstance(space, Box | Discrete | MultiBinary | MultiDiscrete)


def _batch(seats: Sequence[Seat]) -> tuple[Any, NDArray[Any] | None]:
    """Observations and masks of the seats as batches of `WIDTH` rows, the first row repeated."""
    padding = [seats[0]] * (WIDTH - len(seats))
    rows = [*seats, *padding]
    masks = None if seats[0].mask is None else np.stack([np.asarray(s.mask) for s in rows])
    return stack([seat.observation for seat in rows]), masks


def stack(observations: Sequence[Any]) -> Any:
    """Observations as one batch: dictionaries and tuples part by part."""
    first = observations[0]
    if isinstance(first, Mapping):
        return {key: stack([one[key] for one in observations]) for key in first}
    if isinstance(first, tuple):
        return tuple(stack(parts) for parts in zip(*observations, strict=True))
    return np.stack([np.asarray(one) for one in observations])
