"""N episodes side by side, from single environments or from a Gymnasium `VectorEnv` as it is.

An algorithm sees one thing, whatever is below: `observe()` gives a row of features for each lane,
`step(actions)` takes one step in each, and what it returns as S' is the last observation of an
episode that ended, never the first of the next. In a `NEXT_STEP` vector a lane whose episode has
just ended is not `alive` for one step: that step resets it, and is no experience.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper
from numpy.typing import NDArray

from registry.errors import CheckpointError, InvalidObservationError, SettingError
from registry.seeding import Stream, integer_seed
from rlsuite_agents.loops import Session
from rlsuite_agents.parts.agent_checkpoint import resume_session, session_state
from rlsuite_agents.parts.env_state import decode, encode
from rlsuite_agents.parts.features import Encoder
from rlsuite_agents.parts.heads import EVERYTHING
from rlsuite_agents.parts.spaces import Detached

__all__ = ["Lanes", "Members", "Stepped", "Vector", "lanes_of", "members_of"]

Floats = NDArray[np.float32]
NOTHING: Mapping[str, Any] = {}
OUTCOME = ("rewards", "terminated", "truncated")


@dataclass(frozen=True, slots=True, eq=False)
class Stepped:
    """One step of every lane: arrays [N], and the features of S', [N, d]."""

    rewards: NDArray[np.float64]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]  # and not terminated
    features: Floats

    @property
    def over(self) -> NDArray[np.bool_]:
        """Where an episode ended."""
        return self.terminated | self.truncated


class Members:
    """Single environments, stepped one after the other.

    Each is a `Session`, so that it is checked, and put back from a checkpoint, as everywhere.
    """

    def __init__(self, envs: Sequence[gym.Env[Any, Any]], encoder: Encoder, seed: int) -> None:
        self.num_envs, self.encoder = len(envs), encoder
        self.sessions = [Session(env, seed, k) for k, env in enumerate(envs)]
        self.alive = np.ones(self.num_envs, np.bool_)
        self.unrestored: Any = None
        self._features = np.zeros((self.num_envs, encoder.size), encoder.dtype)
        self._infos: list[Mapping[str, Any]] = [NOTHING] * self.num_envs
        self._action_space = envs[0].action_space

    def observe(self) -> tuple[Floats, NDArray[np.bool_]]:
        """Features [N, d] and allowed actions [N, A], or [0, 0]; begins what is over.

        Raises:
            InvalidObservationError: an observation or a mask is not what it should be.
        """
        for k, session in enumerate(self.sessions):
            if session.over:
                session.begin()
                self.encoder.into(session.tape.observation, self._features[k])
        return self._features, _masks([s.mask for s in self.sessions], self._action_space)

    def step(self, actions: NDArray[Any], number: int) -> Stepped:
        """Takes one action in each environment. `number`: steps taken before, for errors."""
        n, features = self.num_envs, self._features
        rewards, terminated, truncated = np.empty(n), np.empty(n, np.bool_), np.empty(n, np.bool_)
        chosen = actions.tolist() if actions.ndim == 1 else list(actions)
        for k, (session, action) in enumerate(zip(self.sessions, chosen, strict=True)):
            t = session.step(action, NOTHING, number + k + 1)
            rewards[k], terminated[k] = t.reward, t.terminated
            truncated[k] = t.truncated and not t.terminated
            self.encoder.into(t.next_observation, features[k])
            self._infos[k] = t.info
        return Stepped(rewards, terminated, truncated, features.copy())

    def reached_mask(self) -> NDArray[np.bool_]:
        """Allowed actions in S' of the latest step, [N, A], or [0, 0]."""
        return _masks([s.mask for s in self.sessions], self._action_space)

    def told(self, name: str) -> NDArray[np.float64]:
        """A number in the `info` of the latest step, [N]; NaN where there is none."""
        return np.array([info.get(name) for info in self._infos], np.float64)

    def capture(self) -> dict[str, Any]:
        """Where all of them stand, as JSON."""
        return {"members": [session_state(session) for session in self.sessions]}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Puts fresh environments there; raises `CheckpointError`, `KeyError` or `TypeError`."""
        found = saved["members"]
        if len(found) != self.num_envs:
            raise CheckpointError(
                f"the checkpoint holds {len(found)} environments, got {self.num_envs}."
            )
        for k, (session, state) in enumerate(zip(self.sessions, found, strict=True)):
            resume_session(session, state)
            if not session.over:
                self.encoder.into(session.tape.observation, self._features[k])


class Vector:
    """A Gymnasium `VectorEnv`, in any autoreset mode."""

    def __init__(self, env: VectorEnv[Any, Any, Any], encoder: Encoder, seed: int) -> None:
        self.env, self.num_envs, self.encoder = env, int(env.num_envs), encoder
        self.mode = AutoresetMode(env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP))
        self.seed: int | None = integer_seed(seed, Stream.ENVIRONMENT)
        self.alive = np.ones(self.num_envs, np.bool_)
        self.unrestored: Any = None
        self._over = np.zeros(self.num_envs, np.bool_)
        self._observations: Any = None  # None until the first reset
        self._mask: NDArray[np.bool_] = EVERYTHING
        self._reached_mask: NDArray[np.bool_] = EVERYTHING
        self._features = np.zeros((self.num_envs, encoder.size), encoder.dtype)
        self._infos: Mapping[str, Any] = NOTHING
        self._ask_masks = mask_asker(env)
        self._unasked = False  # a mask was gone before it could be asked for

    def observe(self) -> tuple[Floats, NDArray[np.bool_]]:
        """Features [N, d] and allowed actions [N, A], or [0, 0]; resets what has to be reset.

        Raises:
            InvalidObservationError: an observation is not what it should be.
        """
        if self._observations is None:
            self._see(*self.env.reset(seed=self.seed))
        elif self.mode is AutoresetMode.DISABLED and self._over.any():
            self._see(*self.env.reset(options={"reset_mask": self._over.copy()}))
            self._over[:] = False
        return self._features, self._mask

    def step(self, actions: NDArray[Any], number: int) -> Stepped:
        """Takes one action in each environment. `number`: steps taken before, for errors.

        Raises:
            InvalidObservationError: what came back is not finite, or not one for each environment.
        """
        observations, *outcome, infos = self.env.step(actions)
        rewards, terminated, truncated = (
            self._each(what, values, dtype, number)
            for what, values, dtype in zip(OUTCOME, outcome, (np.float64, bool, bool), strict=True)
        )
        if not np.isfinite(rewards).all():
            raise InvalidObservationError(
                f"step {number + 1}: the environments returned the rewards {rewards!r:.200}; "
                "one is not finite."
            )
        over = terminated | truncated
        self._see(observations, infos)
        self._unasked = False
        reached, self._reached_mask = self._features, self._mask
        if self.mode is AutoresetMode.SAME_STEP and over.any():
            reached, self._reached_mask = reached.copy(), self._mask.copy()
            for k in np.flatnonzero(over).tolist():
                reached[k] = self.encoder.one(_part(infos["final_obs"], k))
                if len(self._mask):
                    last = _masks([_final_mask(infos, k)], self.env.single_action_space)
                    self._reached_mask[k] = last[0] if len(last) else True
                    self._unasked |= not len(last) and not terminated[k]
        self._over, self._infos = over, infos
        if self.mode is AutoresetMode.NEXT_STEP:
            self.alive = ~over
        return Stepped(rewards, terminated, truncated & ~terminated, reached)

    def reached_mask(self) -> NDArray[np.bool_]:
        """Allowed actions in S' of the latest step, [N, A], or [0, 0].

        Raises:
            SettingError: nobody can tell them of an episode that a time limit ended.
        """
        if self._unasked and self._ask_masks is not None:
            raise SettingError(
                f"{self.env} begins the next episode within the step, so that action_masks() of "
                "one that a time limit ended cannot be asked any more. Use AutoresetMode.NEXT_STEP "
                'or a SyncVectorEnv, or tell the masks in info["action_mask"].'
            )
        return self._reached_mask

    def told(self, name: str) -> NDArray[np.float64]:
        """A number in the `info` of the latest step, [N]; NaN where there is none."""
        found = np.full(self.num_envs, np.nan)
        for infos in (self._infos, self._infos.get("final_info", NOTHING)):
            if name in infos:
                there = infos.get(f"_{name}", True)
                found = np.where(there, np.asarray(infos[name], np.float64), found)
        return found

    def _see(self, observations: Any, infos: Mapping[str, Any]) -> None:
        self._observations = observations
        self._features, single = self.encoder.rows(observations)
        if single or len(self._features) != self.num_envs:
            came = "one without a leading axis" if single else f"{len(self._features)}"
            raise InvalidObservationError(
                f"{self.env} should return {self.num_envs} observations, got {came}."
            )
        mask = infos.get("action_mask")
        if mask is None and isinstance(observations, Mapping):
            mask = observations.get("action_mask")
        if mask is None and self._ask_masks is not None:
            mask = self._ask_masks()
        rows = None if mask is None else list(np.asarray(mask))
        space: Any = self.env.single_action_space
        self._mask = EVERYTHING if rows is None else _masks(rows, space)
        if len(self._mask) and self._mask.shape != (self.num_envs, space.n):
            raise InvalidObservationError(
                f"{self.env} should tell masks of shape ({self.num_envs}, {space.n}), got "
                f"{mask!r:.200}."
            )

    def _each(self, what: str, values: Any, dtype: Any, number: int) -> NDArray[Any]:
        """The values as an array [N]."""
        found = np.array(values, dtype)
        if found.shape != (self.num_envs,):
            raise InvalidObservationError(
                f"step {number + 1}: {self.env} should return {what} of shape "
                f"({self.num_envs},), one for each environment; got {values!r:.200}."
            )
        return found

    def capture(self) -> dict[str, Any]:
        """Where it stands, as JSON; without the environment's state where it cannot tell it."""
        begun = self._observations is not None
        tells = callable(getattr(self.env, "get_state", None))
        return {
            "vector": encode(self._observations),
            "mask": encode(self._mask),
            "over": encode(self._over),
            "alive": encode(self.alive),
            "seed": self.seed,
            "state": self.env.get_state() if begun and tells else None,  # type: ignore[attr-defined]
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Puts a fresh vector there; raises `CheckpointError`, `KeyError` or `TypeError`."""
        observations, self.seed = decode(saved["vector"]), saved["seed"]
        if observations is None:
            return
        if saved["state"] is None:
            below = hasattr(self.env.unwrapped, "get_state")
            resumes = f"in {self.env.unwrapped} without wrappers" if below else "in a SyncVectorEnv"
            raise CheckpointError(
                f"{self.env} cannot be put back where it was: it offers no get_state. To resume, "
                f"train {resumes}; to predict, load without an environment."
            )
        self.env.reset(seed=self.seed)
        self.env.set_state(saved["state"])  # type: ignore[attr-defined]
        self._see(observations, NOTHING)
        self._mask, self._over = decode(saved["mask"]), decode(saved["over"])
        self.alive = decode(saved["alive"])


Lanes = Members | Vector


def lanes_of(env: Any, num_envs: int, encoder: Encoder, seed: int) -> Lanes:
    """The lanes of an environment: `num_envs` of them.

    Raises:
        SettingError: the environment brings another number, or cannot be copied.
    """
    if isinstance(env, VectorEnv) and type(env) is not SyncVectorEnv:
        _check_number(env.num_envs, num_envs)
        return Vector(env, encoder, seed)
    return Members(members_of(env, num_envs), encoder, seed)


def members_of(env: Any, num_envs: int) -> list[gym.Env[Any, Any]]:
    """Single environments: those of a `SyncVectorEnv`, or one and copies made from its spec.

    Raises:
        SettingError: there are others than `num_envs`, or a copy cannot be made.
    """
    if isinstance(env, SyncVectorEnv):
        _check_number(len(env.envs), num_envs)
        return list(env.envs)
    if isinstance(env, Detached):  # an agent that was loaded to predict
        return [env] * num_envs
    if num_envs > 1 and env.spec is None:
        raise SettingError(
            f"num_envs is {num_envs}, but {env} has no spec to make copies from; make it with "
            "gym.make, or give a SyncVectorEnv."
        )
    return [env, *(gym.make(env.spec) for _ in range(num_envs - 1))]


def mask_asker(env: VectorEnv[Any, Any, Any]) -> Callable[[], Any] | None:
    """`action_masks()` of a vector, or of all its environments; None where there is no such method.

    Wrappers of vectors do not pass on what they do not know: it is looked for below them.
    """
    below: Any = env
    while isinstance(below, VectorWrapper) and not hasattr(below, "action_masks"):
        below = below.env
    if hasattr(below, "action_masks"):
        asked: Callable[[], Any] = below.action_masks
        return asked
    has_one = hasattr(below, "call") and any(below.call("has_wrapper_attr", "action_masks"))
    return partial(below.call, "action_masks") if has_one else None


def _check_number(brought: int, num_envs: int) -> None:
    if brought != num_envs:
        raise SettingError(
            f"num_envs is {num_envs}, but the environment brings {brought}; set it to that."
        )


def _masks(rows: Sequence[Any], space: spaces.Space[Any]) -> NDArray[np.bool_]:
    """Masks [N, A] of rows of which some may be None; a row that allows nothing allows all."""
    if all(row is None for row in rows) or not isinstance(space, spaces.Discrete):
        return EVERYTHING
    free = np.ones(int(space.n), np.bool_)
    return np.array([free if row is None or not np.any(row) else row for row in rows], np.bool_)


def _part(values: Any, k: int) -> Any:
    """Row k of final observations, which may lie in a dictionary of arrays."""
    if isinstance(values, Mapping):
        return {name: _part(value, k) for name, value in values.items()}
    return values[k]


def _final_mask(infos: Mapping[str, Any], k: int) -> Any:
    """The mask of lane k's last observation, or None."""
    masks = infos.get("final_info", NOTHING).get("action_mask")
    if masks is not None:
        return masks[k]
    last = _part(infos["final_obs"], k)
    return last.get("action_mask") if isinstance(last, Mapping) else None
