"""The environment that is checked: how to make it, and what the checks ask of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from registry.catalogue import registry
from registry.errors import RlsuiteError, SettingError, UnknownIdError
from registry.specs import imported_id
from rlsuite.making import check_environment_id, check_keywords

__all__ = ["EnvSubject", "env_subject", "refuse_render_mode"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvSubject:
    """An environment id or spec with its keywords.

    `steps` is the length of a walk that several checks take, `samples` the number of steps and of
    episodes' steps in statistical ones.
    """

    id: str
    spec: EnvSpec
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    steps: int = 1_000
    samples: int = 20_000

    def make(self, **more: Any) -> gym.Env[Any, Any]:
        """A new environment, as `gymnasium.make` wraps it."""
        return gym.make(self.spec, **{**self.kwargs, **more})

    def bare(self, **more: Any) -> Any:
        """A new environment without wrappers."""
        return self.make(**more).unwrapped

    @property
    def metric(self) -> str:
        """What the task of this id is scored by."""
        return registry.task_spec(self.id).metric


def env_subject(
    env: str | EnvSpec | EnvSubject, env_kwargs: Mapping[str, Any] | None = None
) -> EnvSubject:
    """The subject of an id (`module:id` imports the module first) or of a spec.

    Raises:
        UnknownIdError: Gymnasium knows no environment of this id.
        SettingError: neither an id nor a spec; a keyword that the environment does not take, or
            not with this value; or a `render_mode`, since the kit tries all of them itself.
        gymnasium.error.Error: it needs a library that is not installed.
    """
    if isinstance(env, EnvSubject):
        return env
    kwargs = dict(env_kwargs or {})
    refuse_render_mode(kwargs)
    if isinstance(env, EnvSpec):
        if env.kwargs.get("render_mode") == "human":  # a window in each of thousands of steps
            refuse_render_mode(env.kwargs)
        return _makeable(EnvSubject(id=env.id, spec=env, kwargs=kwargs))
    if not isinstance(env, str):
        raise SettingError(
            f"check_env takes the id or the EnvSpec of an environment, got {env!r:.80} "
            f"({type(env).__name__}): register it with gymnasium.register, since the checks make "
            "many of them."
        )
    identifier = imported_id(env)
    if identifier not in gym.registry and registry.find("agent", identifier) is not None:
        raise UnknownIdError(
            f"{identifier!r} is an agent, not an environment: `rlsuite check agent {identifier}`."
        )
    check_environment_id(identifier)
    check_keywords(identifier, kwargs)
    return _makeable(EnvSubject(id=identifier, spec=gym.spec(identifier), kwargs=kwargs))


def refuse_render_mode(keywords: Mapping[str, Any]) -> None:
    """Raises `SettingError` if a render mode is among the keywords."""
    if "render_mode" in keywords:
        raise SettingError(
            f"the conformance kit takes no render_mode, got {keywords['render_mode']!r}: it tries "
            "every mode that the environment declares by itself, and the other checks draw nothing."
        )


def _makeable(subject: EnvSubject) -> EnvSubject:
    """The subject, unless making it is refused with a sentence; all else is for the checks."""
    try:
        subject.make().close()
    except (RlsuiteError, gym.error.Error):
        raise
    except Exception:
        return subject
    return subject
