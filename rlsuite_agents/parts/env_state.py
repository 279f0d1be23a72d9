"""The state of a training environment: captured with an agent, restored before it learns on.

Two ways, tried in this order:

1. *direct*: the environment offers `get_state()` and `set_state(state)`, or a registered provider
   of models answers for it, and it stands under wrappers that are known to hold no state of their
   own beyond `TimeLimit`'s clock;
2. *replay*: the random generator is put where it stood when the running episode began, the
   environment is reset, and the actions of the episode are taken again. The observation and the
   generator have to arrive where they were.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit

from registry.catalogue import registry
from registry.errors import CheckpointError, InvalidObservationError
from rlsuite_agents.parts.checkpoint import generator_state, restore_generator

__all__ = ["Tape", "capture", "decode", "encode", "layers", "restore"]

REFUSALS = (
    AssertionError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    gym.error.Error,
)
"""What an environment may raise at a seed, a state or an action that is not its own."""


class Tape:
    """What is needed to get back to the present moment of an environment.

    The loop resets through `reset` and reports each step with `add`. `observation` and `info` are
    the latest ones. Actions are kept only where replay would need them.
    """

    __slots__ = ("actions", "direct", "info", "observation", "seed", "start")

    def __init__(self) -> None:
        self.seed: int | None = None  # of the first reset
        self.start: dict[str, Any] | None = None  # generator at the latest reset, before it
        self.actions: list[Any] = []
        self.direct = False
        self.observation: Any = None
        self.info: Mapping[str, Any] | None = None  # None until the first reset

    def reset(self, env: gym.Env[Any, Any], seed: int | None = None) -> tuple[Any, dict[str, Any]]:
        """Resets the environment and begins a new tape. Pass the seed at the first reset only."""
        if seed is not None or self.info is None:
            self.seed, self.start = seed, None
            self.direct = _stateful(env) is not None
        elif not self.direct:
            self.start = generator_state(_generator(env))
        answer: Any = env.reset(seed=seed)
        if not (isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[1], Mapping)):
            raise InvalidObservationError(
                f"reset returned {answer!r:.200}; it should return the pair (observation, info)."
            )
        observation, info = answer
        self.actions = []
        self.observation, self.info = observation, info
        return observation, info

    def add(self, action: Any, observation: Any, info: Mapping[str, Any]) -> None:
        """Notes one step: the action as it was handed to the environment, and what came back."""
        if not self.direct:
            self.actions.append(action)
        self.observation, self.info = observation, info


def capture(env: gym.Env[Any, Any], tape: Tape) -> dict[str, Any] | None:
    """The present state of `env` as a dictionary that JSON can hold; None before its first reset.

    The environment is not touched.
    """
    if tape.info is None:
        return None
    state: dict[str, Any] = {
        "seed": tape.seed,
        "observation": encode(tape.observation),
        "action_mask": encode(tape.info.get("action_mask")),
    }
    stateful = _stateful(env)
    if tape.direct and stateful is not None:
        clocks = [layer._elapsed_steps for layer in layers(env) if isinstance(layer, TimeLimit)]
        return {**state, "method": "direct", "state": stateful.get_state(), "clocks": clocks}
    return {
        **state,
        "method": "replay",
        "start": tape.start,
        "actions": [encode(action) for action in tape.actions],
        "generator": generator_state(_generator(env)),
    }


def restore(
    env: gym.Env[Any, Any], state: Mapping[str, Any], tape: Tape | None = None
) -> tuple[Any, dict[str, Any]]:
    """Puts a fresh environment where `capture` found another one like it.

    Args:
        env: an environment made like the captured one, wrappers included.
        state: what `capture` returned.
        tape: filled so that recording goes on from here.

    Returns:
        The observation and the info (its `action_mask`, if there was one) of that moment.

    Raises:
        CheckpointError: the state is damaged, or this environment does not arrive there: it is a
            different one, or draws from elsewhere than `np_random`.
    """
    tape = Tape() if tape is None else tape
    try:
        observation = decode(state["observation"])
        mask = decode(state["action_mask"])
        tape.reset(env, seed=state["seed"])
        if state["method"] == "direct":
            _restore_directly(env, state)
        else:
            _replay(env, state, tape)
    except CheckpointError:
        raise
    except REFUSALS as error:
        raise CheckpointError(
            f"the environment {_name(env)} cannot be put back where it was: "
            f"the saved state does not fit it ({type(error).__name__}: {error})."
        ) from error
    tape.observation = observation
    tape.info = {} if mask is None else {"action_mask": mask}
    return observation, dict(tape.info)


def layers(env: Any) -> list[Any]:
    """The environment and everything it wraps, from the outside in.

    Walks `.env`: `unwrapped` would stop at a view that hides what it wraps.
    """
    found = [env]
    while isinstance(found[-1], gym.Wrapper):
        found.append(found[-1].env)
    return found


def encode(value: Any) -> Any:
    """An observation, action or mask as JSON: arrays keep their dtype and shape."""
    if isinstance(value, np.ndarray | np.generic):
        return {"dtype": value.dtype.str, "shape": list(value.shape), "data": value.tolist()}
    if isinstance(value, Mapping):
        return {"items": {str(key): encode(item) for key, item in value.items()}}
    if isinstance(value, tuple | list):
        return {"tuple": [encode(item) for item in value]}
    return value


def decode(value: Any) -> Any:
    """The inverse of `encode`; a list comes back as a tuple."""
    if not isinstance(value, Mapping):
        return value
    if "dtype" in value:
        array = np.array(value["data"], dtype=np.dtype(value["dtype"]))
        return array.reshape(value["shape"]) if value["shape"] else array[()]
    if "tuple" in value:
        return tuple(decode(item) for item in value["tuple"])
    return {key: decode(item) for key, item in value["items"].items()}


def _stateful(env: Any) -> Any:
    """The layer whose get_state says everything, or None where replay is the only way."""
    for layer in layers(env):
        if _is_stateless(layer) or isinstance(layer, TimeLimit):
            continue
        if callable(getattr(layer, "get_state", None)) and callable(
            getattr(layer, "set_state", None)
        ):
            return layer
        return None if isinstance(layer, gym.Wrapper) else registry.provided("model", layer)
    return None


def _is_stateless(layer: Any) -> bool:
    if not isinstance(layer, gym.Wrapper):
        return False
    return isinstance(layer, OrderEnforcing | PassiveEnvChecker) or bool(
        getattr(type(layer), "stateless", False)
    )


def _generator(env: Any) -> np.random.Generator:
    innermost: gym.Env[Any, Any] = layers(env)[-1]
    return innermost.np_random


def _name(env: Any) -> str:
    spec = getattr(layers(env)[-1], "spec", None)
    return repr(spec.id) if spec is not None else type(layers(env)[-1]).__name__


def _restore_directly(env: Any, state: Mapping[str, Any]) -> None:
    stateful = _stateful(env)
    if stateful is None:
        raise CheckpointError(
            f"the checkpoint holds a state for `set_state`, which {_name(env)} does not offer "
            "under these wrappers. Give an environment made like the one that was trained in."
        )
    limits = [layer for layer in layers(env) if isinstance(layer, TimeLimit)]
    if len(limits) != len(state["clocks"]):
        raise CheckpointError(
            f"the checkpoint holds {len(state['clocks'])} clocks of time limits, but {_name(env)} "
            f"has {len(limits)}. Give an environment made like the one that was trained in."
        )
    stateful.set_state(state["state"])
    for limit, elapsed in zip(limits, state["clocks"], strict=True):
        limit._elapsed_steps = elapsed


def _replay(env: Any, state: Mapping[str, Any], tape: Tape) -> None:
    """Takes the actions of the running episode again and checks where they lead."""
    observation = tape.observation
    if state["start"] is not None:  # a later episode than the first
        restore_generator(_generator(env), state["start"])
        observation, _ = env.reset()
    for action in state["actions"]:
        observation, *_ = env.step(decode(action))
    same = _equal(encode(observation), state["observation"])
    if not same or generator_state(_generator(env)) != state["generator"]:
        raise CheckpointError(
            f"replaying the running episode of {_name(env)} did not lead back to where it was: "
            f"{len(state['actions'])} steps ended in another "
            f"{'state of the random generator' if same else 'observation'}. The environment is a "
            "different one, or draws random numbers from elsewhere than `np_random`."
        )
    tape.start = state["start"]
    tape.actions = [decode(action) for action in state["actions"]]


def _equal(one: Any, other: Any) -> bool:
    """Equality of two encoded values, by value: 3 and an integer array of 3 are the same."""
    return _values(one) == _values(other)


def _values(value: Any) -> Any:
    if isinstance(value, Mapping):
        if "dtype" in value:
            return value["data"]
        if "tuple" in value:
            return [_values(item) for item in value["tuple"]]
        return {key: _values(item) for key, item in value["items"].items()}
    return value
