"""The loops that several algorithms share, as plain functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Discrete

from registry.contracts import Callback, Transition
from registry.errors import InvalidObservationError, SettingError
from registry.seeding import Stream, integer_seed
from rlsuite_agents.parts.env_state import Tape, layers
from rlsuite_agents.parts.spaces import observation_check
from rlsuite_agents.parts.table_loop import (
    can_learn_in_table,
    is_compiled,
    learn_in_tables,
    stand_for,
)
from rlsuite_agents.parts.world import same_worlds

__all__ = ["Session", "check_steps", "learn", "learn_many", "learn_online"]

WORTH_COMPILING = 10_000
"""Steps in one call from which on the compiled loop is looked for: to find it takes about ¼ s."""


class Session:
    """The running episode of a training environment, kept from one call of `learn` to the next."""

    def __init__(self, env: gym.Env[Any, Any], seed: int, member: int = 0) -> None:
        """`member`: which one of several side by side, each with a seed of its own."""
        self.env = env
        self.tape = Tape()  # holds the observation and what a checkpoint needs
        self.over = True  # the next step has to reset first
        self.seed: int | None = integer_seed(seed, Stream.ENVIRONMENT, member)  # first reset
        self.mask: Any = None
        self.unrestored: Any = None  # of a checkpoint that was loaded without an environment
        self.is_valid = observation_check(env.observation_space)
        self.read_mask = mask_reader(env)
        self.stand: Any = None  # the environment for the compiled loop, once it has been looked for
        self.looked = False

    def begin(self) -> Mapping[str, Any]:
        """Starts an episode, the first one with the seed. Returns its info."""
        observation, info = self.tape.reset(self.env, self.seed)
        if not self.is_valid(observation):
            what = f"reset returned the observation {observation!r:.80}"
            raise InvalidObservationError(f"{what}, which is not finite or not in its space.")
        self.over, self.seed, self.mask = False, None, self.read_mask(observation, info, False)
        return info

    def step(self, action: Any, extras: Mapping[str, Any], number: int) -> Transition:
        """Takes one action. `number` is the step's, for errors."""
        before, mask = self.tape.observation, self.mask
        self.over = True  # should anything fail, the next call starts afresh
        answer = self.env.step(action)
        try:
            after, reward, terminated, truncated, info = answer
            good = self.is_valid(after) and math.isfinite(reward)
        except (TypeError, ValueError):
            good = False
        if not good:
            raise wrong_step(answer, f"step {number}, action {action!r}: the environment returned")
        self.tape.add(action, after, info)
        ends = bool(terminated), bool(truncated)
        self.over = ends[0] or ends[1]
        self.mask = self.read_mask(after, info, self.over)
        learned = (before, action, float(reward), after, *ends, mask, self.mask, info, extras)
        return Transition(*learned)


def learn(agent: Any, total_timesteps: int, callback: Callback | None = None) -> Any:
    """`learn_online`, or the compiled loop with the same bits where it can be had and pays.

    That is where nobody calls back, the environment is a bare table (see `parts.world`), and there
    are steps enough, or the loop is compiled already.

    Raises:
        SettingError: `total_timesteps` is no whole number of at least 0.
        InvalidObservationError: the environment returned NaN, or what is outside its space.
    """
    steps = check_steps(total_timesteps)
    if steps and callback is None and can_learn_in_table(agent):
        if steps >= WORTH_COMPILING or is_compiled(agent):
            learn_in_tables([agent], steps)
            return agent
    return learn_online(agent, steps, callback)


def learn_many(
    agent_type: Any,
    make_env: Callable[[], gym.Env[Any, Any]],
    seeds: Sequence[int],
    total_timesteps: int,
    config: Any = None,
) -> list[Any]:
    """Trains an agent for each seed; each ends with the bits of its own `learn`.

    In environments that are the same bare table, all are trained in one compiled loop.

    Args:
        agent_type: a class whose agents have `rules` and `tables` (see `parts.table_loop`).
        make_env: makes one environment; called once per seed.
        seeds: of the agents, as in `agent_type(env, config, seed=seed)`.
        total_timesteps: of each agent.
        config: their settings; None for the default.

    Returns:
        The agents, in the order of the seeds.

    Raises:
        SettingError: `make_env` gives the same environment twice, or `total_timesteps` is no whole
            number of at least 0.
    """
    steps = check_steps(total_timesteps)
    settings = () if config is None else (config,)
    agents = [agent_type(make_env(), *settings, seed=seed) for seed in seeds]
    if len({id(layers(agent.env)[-1]) for agent in agents}) < len(agents):
        raise SettingError(
            "learn_many: make_env gave the same environment twice; each agent learns in its own."
        )
    if steps and agents and all(can_learn_in_table(agent) for agent in agents):
        if same_worlds([stand_for(agent) for agent in agents]):
            learn_in_tables(agents, steps)
            return agents
    return [learn(agent, steps) for agent in agents]


def learn_online(agent: Any, total_timesteps: int, callback: Callback | None = None) -> Any:
    """Lets a `StepAgent` take exactly `total_timesteps` further steps: act, step, observe.

    A running episode goes on from one call to the next, so that `learn(a); learn(b)` equals
    `learn(a + b)`. `callback(agent)` follows every step; False stops. An agent with `forget()` is
    asked to start over where `info["new_instance"]` says that the task is another one than before.

    Raises:
        SettingError: `total_timesteps` is no whole number of at least 0.
        InvalidObservationError: the environment returned NaN, or what is outside its space.
    """
    session, rng = agent.session, agent.rng
    for _ in range(check_steps(total_timesteps)):
        if session.over and session.begin().get("new_instance") and hasattr(agent, "forget"):
            agent.forget()
        action, extras = agent.act(session.tape.observation, session.mask, rng)
        transition = session.step(action, extras, agent.num_timesteps + 1)
        agent.observe(transition)
        agent.num_timesteps += 1
        if callback is not None and callback(agent) is False:
            break
    return agent


def check_steps(total_timesteps: object) -> int:
    """The number of steps as an int; raises `SettingError` unless it is whole and at least 0."""
    whole = isinstance(total_timesteps, int | np.integer) and not isinstance(total_timesteps, bool)
    if not whole or total_timesteps < 0:  # type: ignore[operator]
        raise SettingError(
            f"total_timesteps must be a whole number of at least 0, got {total_timesteps!r}."
        )
    return int(total_timesteps)  # type: ignore[call-overload]


def wrong_step(answer: Any, what: str) -> InvalidObservationError:
    """What an environment should not have answered to an action, as a sentence."""
    if not (isinstance(answer, tuple) and len(answer) == 5):
        return InvalidObservationError(
            f"{what} {answer!r:.200}; it should return the five values observation, reward, "
            "terminated, truncated, info."
        )
    after, reward, *_ = answer
    if np.ndim(reward) or not isinstance(reward, SupportsFloat):
        return InvalidObservationError(
            f"{what} the reward {reward!r:.80}; it should be a single number."
        )
    return InvalidObservationError(
        f"{what} the observation {after!r:.80} and the reward {reward!r}; one is not finite or not "
        "in its space."
    )


def mask_reader(env: gym.Env[Any, Any]) -> Callable[[Any, Mapping[str, Any], bool], Any]:
    """A function of (observation, info, over) that finds the action mask, or None without one.

    It looks in `info["action_mask"]`, in `observation["action_mask"]` and for the environment's
    method `action_masks()`. Where an episode is over and nothing is allowed, there is no mask.
    """
    method = env.get_wrapper_attr("action_masks") if env.has_wrapper_attr("action_masks") else None
    shape = (int(env.action_space.n),) if isinstance(env.action_space, Discrete) else None

    def read(observation: Any, info: Mapping[str, Any], over: bool) -> Any:
        mask = info.get("action_mask")
        if mask is None and isinstance(observation, Mapping):
            mask = observation.get("action_mask")
        if mask is None and method is not None:
            mask = method()
        if mask is None or shape is None:
            return mask
        if np.shape(mask) != shape or not (over or np.any(mask)):
            raise InvalidObservationError(
                f"an action mask allows at least one of the actions {shape}, got {mask!r:.80}."
            )
        return mask if np.any(mask) else None

    return read
