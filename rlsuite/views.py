"""What stands between a training environment and the agent: a recorder, and a view without answers.

    gym.make(task) -> task wrappers -> EpisodeRecorder -> AgentView -> agent

The recorder counts every step and every episode; several environments may share one log. The view
takes the answer key away. Both hold no state that a checkpoint would need (`stateless = True`), and
leave observations, rewards and ends as they are (`changes_nothing = True`), so that a compiled loop
may step what they wrap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from registry.contracts import ANSWER_KEY_INFO
from registry.errors import InvalidObservationError
from rlsuite.episodes import check_observation
from rlsuite.training import TrainingLog

__all__ = ["AgentView", "EpisodeRecorder", "recorders_of"]

HIDDEN = frozenset({"oracle", "model"})
PASSED_ON = frozenset({"action_masks", "get_state", "set_state"})


class EpisodeRecorder(gym.Wrapper[Any, Any, Any, Any]):
    """Counts every step and finished episode of one environment into a log.

    Args:
        env: The environment.
        log: Where to count; a vector of environments shares one.
        first_seed: Seeds the first reset if the agent does not, so that agents which never seed
            their environment are repeatable too.
    """

    stateless = True
    changes_nothing = True

    def __init__(
        self, env: gym.Env[Any, Any], log: TrainingLog, first_seed: int | None = None
    ) -> None:
        super().__init__(env)
        self.log = log
        self._first_seed = first_seed
        self._return, self._length = 0.0, 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begins an episode; one that had not ended is not counted."""
        if seed is None:
            seed = self._first_seed
        self._first_seed = None
        self._return, self._length = 0.0, 0
        observation, info = self.env.reset(seed=seed, options=options)
        check_observation(observation, self._where)
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Takes a step and counts it.

        Raises:
            InvalidObservationError: a reward or an observation is NaN or infinite.
        """
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._length += 1
        self._return += float(reward)
        if not math.isfinite(self._return):
            raise InvalidObservationError(
                f"the environment paid {reward!r} {self._where()}: a reward must be finite."
            )
        check_observation(observation, self._where)
        log = self.log
        log.count(info.get("regret"))
        if terminated or truncated:
            log.finish(self._return, self._length)
        if log.on_step is not None:
            log.on_step(log.steps)
        return observation, reward, terminated, truncated, info

    @property
    def takes_blocks(self) -> bool:
        """Whether `record` may stand for many steps: nobody waits for each, and none has regret."""
        return self.log.on_step is None and self.log.regret is None

    def record(
        self,
        steps: int,
        ends: NDArray[np.int64],
        returns: NDArray[np.float64],
        lengths: NDArray[np.int64],
    ) -> None:
        """Counts a block of steps, taken by a compiled loop; see `registry.contracts`."""
        self.log.add_block(steps, ends, returns, lengths)

    def state(self) -> tuple[float, int]:
        """Return and length of the running episode so far."""
        return self._return, self._length

    def restore(self, state: Sequence[Any]) -> None:
        """Goes on from a `state`, in an environment that was put back there."""
        self._first_seed = None
        self._return, self._length = float(state[0]), int(state[1])

    def _where(self) -> str:
        return f"in training episode {self.log.episodes} after {self._length} steps"


class AgentView(gym.Wrapper[Any, Any, Any, Any]):
    """What an agent sees of an environment: everything but the answer key.

    The keys `regret`, `optimal_action` and `expected_reward` are missing from `info`; `oracle` and
    `model` are not to be found, and `unwrapped` is the view itself. `get_state`, `set_state` and
    `action_masks` are passed on where the environment has them.

    Args:
        env: The environment.
        model: Whether the `model` is shown, to agents that declare that they plan.
    """

    stateless = True
    changes_nothing = True

    def __init__(self, env: gym.Env[Any, Any], *, model: bool = False) -> None:
        super().__init__(env)
        self._hidden = HIDDEN - {"model"} if model else HIDDEN

    @property
    def unwrapped(self) -> gym.Env[Any, Any]:
        """The view itself."""
        return self

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Resets, and hides the answers."""
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, _without_answers(info)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Steps, and hides the answers."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward, terminated, truncated, _without_answers(info)

    def __getattr__(self, name: str) -> Any:
        """`get_state`, `set_state`, `action_masks`, and `model` for planners."""
        passed_on = name in PASSED_ON or (name == "model" and name not in self._hidden)
        if name.startswith("_") or not passed_on:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return self.env.get_wrapper_attr(name)

    def get_wrapper_attr(self, name: str) -> Any:
        """An attribute of the environment, unless it belongs to the answer key."""
        if name in self._hidden:
            raise AttributeError(
                f"{name!r} belongs to the answer key, which agents do not see while they learn."
            )
        return super().get_wrapper_attr(name)

    def has_wrapper_attr(self, name: str) -> bool:
        """Whether `get_wrapper_attr` would find it."""
        return name not in self._hidden and super().has_wrapper_attr(name)


def recorders_of(env: Any) -> list[EpisodeRecorder]:
    """The recorder of a training environment, or those of the environments of a vector."""
    return [view.env for view in getattr(env, "envs", (env,))]


def _without_answers(info: dict[str, Any]) -> dict[str, Any]:
    if not any(key in info for key in ANSWER_KEY_INFO):
        return info
    return {key: value for key, value in info.items() if key not in ANSWER_KEY_INFO}
