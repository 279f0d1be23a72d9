"""A good environment, and one for every fault that a check of environments is to catch."""

from __future__ import annotations

import copy
import random
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from registry.errors import InvalidActionError
from rlsuite_envs.tabular.mdp import TabularMDP

LIMIT = 20


class Good(gym.Env):
    """Three places; action 1 goes right with probability 0.8, action 0 left; 1 at the end."""

    metadata = {"render_modes": ["ansi", "rgb_array"], "render_fps": 4}  # noqa: RUF012
    advance = 0.8

    def __init__(self, render_mode=None):
        self.observation_space, self.action_space = Discrete(3), Discrete(2)
        self.render_mode = render_mode
        self.s = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.s = 0
        return self.s, {"action_mask": self.action_masks(), "prob": 1.0}

    def step(self, action):
        if action not in (0, 1):
            raise InvalidActionError(f"action {action!r} is not 0 or 1")
        u = self.np_random.random()
        prob = 1.0 if action == 0 else (self.advance if u < self.advance else 1 - self.advance)
        self.s = max(self.s - 1, 0) if action == 0 else self.s + (u < self.advance)
        over = self.s == 2
        info = {"action_mask": self.action_masks(), "prob": prob, "regret": float(action == 0)}
        return int(self.s), float(over), over, False, info

    def action_masks(self):
        return np.array([self.s != 0, 1], np.int8)

    def get_state(self):
        return {"s": int(self.s), "rng": self.np_random.bit_generator.state}

    def set_state(self, state):
        self.s = state["s"]
        rng = np.random.Generator(np.random.PCG64())
        rng.bit_generator.state = state["rng"]
        self.np_random = rng

    @property
    def model(self):
        p = np.array([[[1, 0], [0.8, 0.2]]] * 3)
        goes = np.array([[[0, 0], [1, 0]], [[0, 0], [2, 1]], [[1, 1], [2, 2]]])
        mask = np.array([[False, True], [True, True], [True, True]])
        end = (goes == 2) & (p > 0)
        end[2] = True
        reward = np.where(end, 1.0, 0.0)
        tables = {"next_state": goes, "probability": p, "reward": reward, "terminal": end}
        return TabularMDP(**tables, start=np.eye(3)[0], mask=mask)

    def oracle(self, horizon=None):
        return self.model.oracle(horizon=LIMIT if horizon is None else horizon)

    def render(self):
        if self.render_mode == "ansi":
            return "." * self.s + "x"
        frame = np.zeros((8, 24, 3), np.uint8)
        frame[:, 8 * self.s : 8 * self.s + 8] = 255
        return frame


def good_vector(num_envs, max_episode_steps=None, autoreset_mode=AutoresetMode.NEXT_STEP):
    spec = spec_of(Good)
    make = [lambda: gym.make(spec, max_episode_steps=max_episode_steps)] * num_envs
    return SyncVectorEnv(make, autoreset_mode=autoreset_mode)


def spec_of(cls, **more):
    keywords = {"vector_entry_point": f"{__name__}:good_vector", **more}
    return EnvSpec(
        id=f"test/{cls.__name__}-v0",
        entry_point=f"{__name__}:{cls.__name__}",
        max_episode_steps=LIMIT,
        **keywords,
    )


class OutsideItsSpace(Good):
    def reset(self, *, seed=None, options=None):
        _, info = super().reset(seed=seed)
        return 7, info


class NumpyReward(Good):
    def step(self, action):
        s, reward, *rest = super().step(action)
        return s, np.float32(reward), *rest


class NotANumber(Good):
    def step(self, action):
        s, _, over, *rest = super().step(action)
        return s, float("nan") if over else 0.0, over, *rest


class NumpyFlag(Good):
    def step(self, action):
        s, reward, over, *rest = super().step(action)
        return s, reward, np.bool_(over), *rest


class NowAnInt(Good):
    def step(self, action):
        s, _, over, *rest = super().step(action)
        return s, 1 if over else 0.0, over, *rest


class KeyAtTheEnd(Good):
    def step(self, action):
        *rest, over, cut, info = super().step(action)
        return *rest, over, cut, {**info, "success": True} if over else info


class NowAnIntInInfo(Good):
    """Gymnasium's FrozenLake: the probability is 1 at a reset, and a float later."""

    def reset(self, *, seed=None, options=None):
        s, info = super().reset(seed=seed)
        return s, {**info, "prob": 1}


class NegativeRegret(Good):
    def step(self, action):
        *rest, info = super().step(action)
        return *rest, {**info, "regret": -0.5}


class NotOneArm(Good):
    compares_with_one_arm = True

    def step(self, action):
        *rest, info = super().step(action)
        return *rest, {**info, "regret": -0.5, "optimal_action": self.s}


class OnlyOneEpisode(Good):
    def reset(self, *, seed=None, options=None):
        if self.s == 2:
            raise RuntimeError("one episode is enough")
        return super().reset(seed=seed)


class SwallowsTheLimit(gym.Wrapper):
    def step(self, action):
        *rest, _, info = self.env.step(action)
        return *rest, False, info


class AcceptsAnything(Good):
    def step(self, action):
        return super().step(int(action) % 2)


class MovedByARefusal(Good):
    def step(self, action):
        self.np_random.random()
        return super().step(action)


class IgnoresKeywords(Good):
    def __init__(self, render_mode=None, **ignored):
        super().__init__(render_mode)


class MaskOfTheWrongAction(Good):
    def action_masks(self):
        return super().action_masks()[::-1].copy() if self.s == 0 else np.ones(2, np.int8)


class MaskThatForbidsNothing(Good):
    def step(self, action):
        if self.s == 0 and action == 0:
            raise InvalidActionError("there is no way to the left")
        return super().step(action)

    def action_masks(self):
        return np.ones(2, np.int8)


class TwoMasks(Good):
    def step(self, action):
        *rest, info = super().step(action)
        return *rest, {**info, "action_mask": np.ones(2, np.int8)}


class DrawsGlobally(Good):
    @property
    def np_random(self):
        return np.random.mtrand._rand

    @np_random.setter
    def np_random(self, value):
        pass


class RemembersEpisodes(Good):
    episodes = 0

    def reset(self, *, seed=None, options=None):
        self.episodes += 1
        s, info = super().reset(seed=seed)
        return s, {**info, "episode_number": self.episodes}


class IgnoresTheSeed(Good):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=None if seed is None else 0)


class DrawsFromRandom(Good):
    def step(self, action):
        random.random()
        return super().step(action)


class SharesItsMask(Good):
    def __init__(self, render_mode=None):
        super().__init__(render_mode)
        self.mask = np.ones(2, np.int8)

    def action_masks(self):
        self.mask[0] = self.s != 0
        return self.mask


class ReadsItsObservationBack(Good):
    """Gymnasium's MountainCarContinuous: the observation is the state itself."""

    def __init__(self, render_mode=None):
        super().__init__(render_mode)
        self.observation_space = gym.spaces.Box(-1.0, 100.0, (1,), np.float32)
        self.place = np.zeros(1, np.float32)

    def reset(self, *, seed=None, options=None):
        s, info = super().reset(seed=seed)
        self.place = np.array([s], np.float32)
        return self.place, info

    def step(self, action):
        self.s = int(self.place[0])
        s, *rest = super().step(action)
        self.place = np.array([s], np.float32)
        return self.place, *rest


class CopiesForgetTheGenerator(Good):
    def __deepcopy__(self, memo):
        twin = type(self)()
        twin.s = self.s
        return twin


class PicklesForgetTheState(Good):
    def __reduce__(self):
        return type(self), ()


class StateWithoutGenerator(Good):
    def get_state(self):
        return {"s": int(self.s)}

    def set_state(self, state):
        self.s = state["s"]


class StateThatIsNoJSON(Good):
    def get_state(self):
        return {**super().get_state(), "mask": self.action_masks()}


class KeysOfNumbers(Good):
    def __init__(self, render_mode=None, gains=None):
        super().__init__(render_mode)
        self.gains = gains

    def step(self, action):
        s, reward, *rest = super().step(action)
        return s, reward + self.gains.get(1, 0.0), *rest


class AnotherModel(Good):
    advance = 0.7


class ImpossibleOutcomes(Good):
    def step(self, action):
        s, reward, *rest = super().step(action)
        return s, reward - 0.01, *rest


class FalseOracle(Good):
    wrong = {}  # noqa: RUF012

    def oracle(self, horizon=None):
        right = super().oracle(horizon)
        names = ("provenance", "scope", "optimal_return", "baseline_return")
        names += ("best_stationary_return", "observations", "policy_return", "policy_metrics")
        return SimpleNamespace(**{name: getattr(right, name) for name in names} | self.wrong)


class OptimumBelowBaseline(FalseOracle):
    wrong = {"optimal_return": -1.0}  # noqa: RUF012


class GenerousOracle(FalseOracle):
    def oracle(self, horizon=None):
        oracle, right = super().oracle(horizon), Good.oracle(self, horizon)
        oracle.policy_return = lambda pi: right.policy_return(pi) - 0.4
        return oracle


class FalseBaseline(FalseOracle):
    wrong = {"baseline_return": 0.5}  # noqa: RUF012


class OracleOfAnotherLimit(Good):
    def oracle(self, horizon=None):
        return super().oracle(3 if horizon is None else horizon)


class FloatFrames(Good):
    def render(self):
        frame = super().render()
        return frame / 255.0 if isinstance(frame, np.ndarray) else frame


class SameFrame(Good):
    frame = np.zeros((8, 8, 3), np.uint8)

    def render(self):
        return self.frame if self.render_mode == "rgb_array" else "x"


class RenderingDraws(Good):
    def render(self):
        self.np_random.random()
        return super().render()


class NoFramesPerSecond(Good):
    metadata = {"render_modes": ["ansi"]}  # noqa: RUF012


class Float32Rewards(SyncVectorEnv):
    def step(self, actions):
        observations, rewards, *rest = super().step(actions)
        return observations, rewards.astype(np.float32), *rest


def other_type(num_envs, max_episode_steps=None, autoreset_mode=AutoresetMode.NEXT_STEP):
    spec = spec_of(Good)
    make = [lambda: gym.make(spec, max_episode_steps=max_episode_steps)] * num_envs
    return Float32Rewards(make, autoreset_mode=autoreset_mode)


class SharedBuffers(SyncVectorEnv):
    """The same arrays at every step."""

    kept = None

    def step(self, actions):
        found = super().step(actions)
        if self.kept is None:
            self.kept = copy.deepcopy(found[1])
        self.kept[:] = found[1]
        return found[0], self.kept, *found[2:]


def shared_buffers(num_envs, max_episode_steps=None, autoreset_mode=AutoresetMode.NEXT_STEP):
    spec = spec_of(Good)
    make = [lambda: gym.make(spec, max_episode_steps=max_episode_steps)] * num_envs
    return SharedBuffers(make, autoreset_mode=autoreset_mode)


def without_modes(num_envs, max_episode_steps=None):
    return good_vector(num_envs, max_episode_steps)


def deaf_to_modes(num_envs, max_episode_steps=None, autoreset_mode=None):
    return good_vector(num_envs, max_episode_steps)


class NeedsALibrary(Good):
    def __init__(self, render_mode=None):
        raise gym.error.DependencyNotInstalled("install nothing-v9")


class CannotBeMade(Good):
    def __init__(self, render_mode=None):
        raise RuntimeError("not today")
