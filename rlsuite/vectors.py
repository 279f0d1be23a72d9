"""Makes vector environments from ids, in any autoreset mode, whatever serves the id."""

from __future__ import annotations

import inspect
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import VectorizeMode
from gymnasium.vector import AutoresetMode, VectorEnv

from registry.catalogue import registry
from registry.errors import SettingError
from registry.specs import load_entry_point
from rlsuite.evaluation import check_whole
from rlsuite.making import check_environment_id, check_keywords

__all__ = ["make_vec"]


def make_vec(
    id: str,
    num_envs: int = 1,
    *,
    autoreset_mode: str | AutoresetMode = "NextStep",
    vectorization_mode: str | None = None,
    **keywords: Any,
) -> VectorEnv[Any, Any, Any]:
    """Makes a vector environment.

    Gymnasium hands the autoreset mode to a native vector environment as a keyword, and to
    `SyncVectorEnv` in `vector_kwargs`; each refuses the other's way. Here one keyword serves both.

    Args:
        id: Id of an environment, such as `"rlsuite/GridWorld-v0"`.
        num_envs: How many sub-environments, at least 1.
        autoreset_mode: `"NextStep"`, `"SameStep"`, `"Disabled"`, or a member of
            `gymnasium.vector.AutoresetMode`. `docs/vector_envs.md` shows what each does.
        vectorization_mode: `"vector_entry_point"` for the native form, `"sync"` or `"async"`. None:
            the native form where the id was registered with rlsuite and has one (all built-in
            ids), else `"sync"`. Gymnasium's own native forms do not know all modes and draw other
            numbers than their single environments, so they have to be asked for by name.
        **keywords: Those of the environment, and `max_episode_steps`.

    Raises:
        UnknownIdError: no environment has this id; the nearest one is named.
        SettingError: a keyword or its value is wrong.
    """
    if not isinstance(id, str):
        raise SettingError(f"make_vec takes the id of an environment, got {id!r:.80}.")
    id = check_environment_id(id)
    mode = _mode(autoreset_mode)
    way = _way(id, vectorization_mode)
    num_envs = check_whole("num_envs", num_envs)
    if keywords.get("max_episode_steps", 0) is None:
        del keywords["max_episode_steps"]  # to `gymnasium.make` None is the registered limit
    elif keywords.get("max_episode_steps", -1) != -1:
        check_whole("max_episode_steps", keywords["max_episode_steps"])
    check_keywords(id, keywords)
    # the mode as a string, so that the spec of what is made can be written as JSON
    if way is not VectorizeMode.VECTOR_ENTRY_POINT:
        own = {"autoreset_mode": mode.value}
        return gym.make_vec(id, num_envs, vectorization_mode=way, vector_kwargs=own, **keywords)
    if _takes_mode(id):
        keywords["autoreset_mode"] = mode.value
    elif mode is not AutoresetMode.NEXT_STEP:
        raise SettingError(
            f"the native form of {id!r} has no autoreset_mode: it resets at the next step, and "
            f"{mode.value!r} needs vectorization_mode='sync'."
        )
    return gym.make_vec(id, num_envs, vectorization_mode=way, **keywords)


def _takes_mode(identifier: str) -> bool:
    """Whether the native form has the keyword `autoreset_mode`; Gymnasium's own have none."""
    native = gym.spec(identifier).vector_entry_point
    factory = load_entry_point(native) if isinstance(native, str) else native
    parameters = inspect.signature(factory).parameters if factory is not None else {}
    return "autoreset_mode" in parameters or any(
        p.kind is p.VAR_KEYWORD for p in parameters.values()
    )


def _mode(mode: object) -> AutoresetMode:
    try:
        return AutoresetMode(mode)
    except ValueError:
        known = ", ".join(repr(member.value) for member in AutoresetMode)
        raise SettingError(f"autoreset_mode must be one of {known}, got {mode!r}.") from None


def _way(identifier: str, asked: str | None) -> VectorizeMode:
    entry = registry.find("env", identifier)
    if asked is None:
        native = entry is not None and entry.meta.get("vector_entry_point") is not None
        return VectorizeMode.VECTOR_ENTRY_POINT if native else VectorizeMode.SYNC
    try:
        way = VectorizeMode(asked)
    except ValueError:
        known = ", ".join(repr(member.value) for member in VectorizeMode)
        raise SettingError(f"vectorization_mode must be one of {known}, got {asked!r}.") from None
    if way is VectorizeMode.VECTOR_ENTRY_POINT and gym.spec(identifier).vector_entry_point is None:
        raise SettingError(
            f"{identifier!r} has no native vector form; leave vectorization_mode out, or take "
            "'sync'."
        )
    return way
