"""Checks of a native vector environment: bit for bit what `SyncVectorEnv` gives, in each mode."""

from __future__ import annotations

import copy
import functools
import inspect
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import load_env_creator
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from rlsuite.testing.env_subject import EnvSubject
from rlsuite.testing.report import Check, Failure, Skip, check, require
from rlsuite.testing.walks import Player, difference

__all__ = ["CHECKS"]

NUMBER = 3
STEPS = 150
RESET = ("observations", "infos")
STEP = ("observations", "rewards", "terminations", "truncations", "infos")


def _vector_check(mode: AutoresetMode) -> Check:
    def compare(subject: EnvSubject) -> None:
        for limit in (None, 1, 4):
            more = {} if limit is None else {"max_episode_steps": limit}
            native = _native(subject, mode, more)
            make = functools.partial(subject.make, **more)
            sync = SyncVectorEnv([make] * NUMBER, autoreset_mode=mode)
            what = f"{mode.value}" if limit is None else f"{mode.value}, limit {limit}"
            try:
                _require_equal(native, sync, what)
            finally:
                native.close()
                sync.close()

    compare.__name__ = f"vector_{mode.name.lower()}"
    compare.__doc__ = f"The native vector environment equals `SyncVectorEnv` in {mode.name}."
    return check(compare)


def _native(
    subject: EnvSubject, mode: AutoresetMode, more: dict[str, Any]
) -> VectorEnv[Any, Any, Any]:
    entry_point: Any = subject.spec.vector_entry_point
    if entry_point is None:
        raise Skip("it registers no vector_entry_point")
    creator = load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point
    keywords: dict[str, Any] = {**subject.kwargs, **more}
    if _takes(creator, "autoreset_mode"):
        keywords["autoreset_mode"] = mode
    envs = gym.make_vec(
        subject.spec, num_envs=NUMBER, vectorization_mode="vector_entry_point", **keywords
    )
    offered = envs.metadata.get("autoreset_mode")
    if offered != mode:
        envs.close()
        if "autoreset_mode" in keywords:
            raise Failure(f"made with {mode}, its metadata say {offered}")
        raise Skip(f"it takes no autoreset_mode, and offers {offered} alone")
    return envs


def _takes(creator: Any, name: str) -> bool:
    parameters = inspect.signature(creator).parameters.values()
    return any(p.name == name or p.kind is p.VAR_KEYWORD for p in parameters)


def _require_equal(native: Any, sync: Any, what: str) -> None:
    spaces = (
        "single_observation_space",
        "single_action_space",
        "observation_space",
        "action_space",
    )
    for name in spaces:
        one, other = getattr(native, name), getattr(sync, name)
        require(one == other, f"{what}: {name} is {one} against {other} of SyncVectorEnv")
    pair = _Pair(native, sync)
    players = [Player(native.single_action_space, k) for k in range(NUMBER)]
    infos = pair.do(f"{what}, reset(seed=7)", "reset", seed=7)[-1]
    for number in range(STEPS):
        masks = infos.get("action_mask", [None] * NUMBER)
        drawn = [player.choose(mask) for player, mask in zip(players, masks, strict=True)]
        empty: Any = gym.vector.utils.create_empty_array(native.single_action_space, NUMBER)
        actions = gym.vector.utils.concatenate(native.single_action_space, drawn, empty)
        where = f"{what}, step {number}"
        _, _, terminated, truncated, infos = pair.do(where, "step", actions)
        ended = terminated | truncated
        if native.metadata["autoreset_mode"] is AutoresetMode.DISABLED and ended.any():
            options = {"reset_mask": ended}
            infos = pair.do(f"{where}, reset of the ended", "reset", options=options)[-1]
    pair.do(f"{what}, unseeded reset", "reset")


class _Pair:
    """A native vector environment and its twin, which are told and asked the same."""

    def __init__(self, native: Any, sync: Any) -> None:
        self._both = native, sync
        self._last: tuple[Any, Any] = (None, None)  # what the native one returned, and a copy

    def do(self, where: str, method: str, *arguments: Any, **keywords: Any) -> Any:
        """Calls the method of both and compares what they return, which is what twin returned."""
        one, other = (
            getattr(envs, method)(*copy.deepcopy(arguments), **copy.deepcopy(keywords))
            for envs in self._both
        )
        names = RESET if method == "reset" else STEP
        for name, mine, theirs in zip(names, one, other, strict=True):
            apart = difference(mine, theirs, name)
            require(not apart, f"{where}: {apart} of SyncVectorEnv")
        apart = difference(*self._last, "what was returned before")
        require(not apart, f"{where} changed {apart}")
        self._last = one, copy.deepcopy(one)
        return other


CHECKS = tuple(_vector_check(mode) for mode in AutoresetMode)
