"""The shared loop: budgets, masks, bad numbers, instances that change."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete

from registry.errors import InvalidObservationError, SettingError
from registry.seeding import Stream, integer_seed
from rlsuite_agents.loops import check_steps, learn_online
from rlsuite_agents.random import Random


class Script(gym.Env):
    """Says what it is told to say: one (observation, reward, info) per step, ten steps a round."""

    action_space = Discrete(3)

    def __init__(self, space, first, *steps, episode=10, first_info=None):
        self.observation_space, self.first, self.steps = space, first, list(steps)
        self.first_info, self.episode, self.t, self.seeds = first_info or {}, episode, 0, []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seeds.append(seed)
        return self.first, dict(self.first_info)

    def step(self, action):
        self.t += 1
        self.action = action
        observation, reward, info = self.steps[(self.t - 1) % len(self.steps)]
        return observation, reward, False, self.t % self.episode == 0, info


class Watcher:
    """Remembers the transitions it is shown."""

    def __init__(self, env, seed=0):
        self.inner = Random(env, seed=seed)
        self.seen, self.forgotten = [], 0
        self.rng, self.session, self.num_timesteps = self.inner.rng, self.inner.session, 0
        self.act = self.inner.act

    def observe(self, transition):
        self.seen.append(transition)

    def forget(self):
        self.forgotten += 1


LINE = Box(-9, 9, (1,), np.float32)


def at(x):
    return np.array([x], np.float32)


def test_the_transitions_are_what_happened():
    env = Script(LINE, at(0), (at(1), 1, {"k": 1}), (at(2), 2, {}), episode=2)
    watcher = learn_online(Watcher(env), 3)
    got = [(t.observation[0], t.reward, t.next_observation[0], t.truncated) for t in watcher.seen]
    assert got == [(0, 1.0, 1, False), (1, 2.0, 2, True), (0, 1.0, 1, False)]
    assert [t.terminated for t in watcher.seen] == [False] * 3
    assert watcher.seen[0].info == {"k": 1}
    assert isinstance(watcher.seen[0].reward, float)
    assert watcher.seen[0].mask is None


def test_the_first_reset_is_seeded_and_no_other():
    env = Script(LINE, at(0), (at(1), 0, {}), episode=2)
    learn_online(Watcher(env, seed=5), 5)
    assert env.seeds == [integer_seed(5, Stream.ENVIRONMENT), None, None]


@pytest.mark.parametrize("where", ["info", "observation", "method"])
def test_masks_are_found(where):
    masks = [np.array(m, np.int8) for m in ([1, 0, 0], [0, 1, 1], [0, 0, 1])]
    space = Dict({"x": Discrete(2), "action_mask": Box(0, 1, (3,), np.int8)})

    def look(k):
        info = {"action_mask": masks[k]} if where == "info" else {}
        return {"x": 0, "action_mask": masks[k]} if where == "observation" else at(0), info

    first, first_info = look(0)
    steps = [(look(k)[0], 0.0, look(k)[1]) for k in (1, 2, 0)]
    env = Script(space if where == "observation" else LINE, first, *steps, first_info=first_info)
    if where == "method":
        env.action_masks = lambda: masks[env.t % 3]
    watcher = learn_online(Watcher(env), 3)
    for k, t in enumerate(watcher.seen):
        np.testing.assert_array_equal(t.mask, masks[k])
        np.testing.assert_array_equal(t.next_mask, masks[(k + 1) % 3])
        assert t.mask[t.action]


@pytest.mark.parametrize("mask", [[1, 1], [0, 0, 0], [[1, 1, 1]]])
def test_a_mask_that_fits_no_action(mask):
    env = Script(LINE, at(0), (at(0), 0, {}), first_info={"action_mask": np.array(mask)})
    with pytest.raises(InvalidObservationError, match=r"an action mask allows at least one of the"):
        learn_online(Watcher(env), 1)


def test_after_an_end_nothing_needs_to_be_allowed():
    nothing = {"action_mask": np.zeros(3, np.int8)}
    env = Script(LINE, at(0), (at(0), 0, nothing), episode=1)
    watcher = learn_online(Watcher(env), 2)
    assert [t.next_mask for t in watcher.seen] == [None, None]


@pytest.mark.parametrize(
    ("observation", "reward"),
    [(at(np.nan), 0.0), (at(np.inf), 0.0), (at(0), float("nan")), (at(0), float("inf"))],
)
def test_bad_numbers_name_the_step(observation, reward):
    env = Script(LINE, at(0), (at(0), 0.0, {}), (observation, reward, {}))
    watcher = Watcher(env)
    with pytest.raises(InvalidObservationError, match=r"^step 2, action [012]: .* not finite"):
        learn_online(watcher, 5)
    assert (watcher.num_timesteps, len(watcher.seen)) == (1, 1)  # nothing was learned from it
    env.steps = [(at(0), 0.0, {})]
    learn_online(watcher, 1)  # goes on with a new episode
    assert env.seeds[1:] == [None]
    assert watcher.seen[-1].observation[0] == 0


def test_bad_numbers_at_a_reset():
    with pytest.raises(
        InvalidObservationError, match=r"reset returned the observation .* not fini"
    ):
        learn_online(Watcher(Script(LINE, at(np.nan), (at(0), 0, {}))), 1)


@pytest.mark.parametrize("observation", [3, -1, 1.0, float("nan"), np.array([1]), None])
def test_discrete_observations_are_whole_numbers_in_range(observation):
    env = Script(Discrete(3), 0, (observation, 0.0, {}))
    with pytest.raises(InvalidObservationError, match="step 1, action"):
        learn_online(Watcher(env), 1)


@pytest.mark.parametrize("observation", [2, np.int64(2), np.array(2), np.uint8(2)])
def test_discrete_observations_come_in_many_coats(observation):
    learn_online(Watcher(Script(Discrete(3), 0, (observation, 0.0, {}))), 1)


def test_nan_inside_a_dictionary():
    space = Dict({"x": LINE, "n": Discrete(2)})
    env = Script(space, {"x": at(0), "n": 0}, ({"x": at(np.nan), "n": 0}, 0.0, {}))
    with pytest.raises(InvalidObservationError, match="step 1, action"):
        learn_online(Watcher(env), 1)


@pytest.mark.parametrize("steps", [-1, 1.5, "10", None, True, float("nan")])
def test_budgets_are_whole_numbers(steps):
    env = Script(LINE, at(0), (at(0), 0.0, {}))
    with pytest.raises(SettingError, match="total_timesteps must be a whole number of at least 0"):
        learn_online(Watcher(env), steps)
    assert env.seeds == []


def test_numpy_integers_are_whole_numbers():
    assert check_steps(np.int64(5)) == 5
    assert type(check_steps(np.uint8(5))) is int


def test_learning_nothing_touches_nothing():
    env = Script(LINE, at(0), (at(0), 0.0, {}))
    learn_online(Watcher(env), 0)
    assert env.seeds == []


def test_a_new_instance_asks_the_agent_to_forget():
    """Arms drawn anew: what was learned of the old ones is about other arms."""
    env = Script(LINE, at(0), (at(0), 0, {}), episode=2, first_info={"new_instance": True})
    assert learn_online(Watcher(env), 5).forgotten == 3
    env.first_info = {"new_instance": False}
    assert learn_online(Watcher(env), 5).forgotten == 0


class Answers(Script):
    """Answers this to the first action."""

    def __init__(self, answer, first=None):
        super().__init__(LINE, at(0))
        self.answer, self.first_answer = answer, first

    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed) if self.first_answer is None else self.first_answer

    def step(self, action):
        return self.answer


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ((at(1), 1.0, False, {}), "step 1, action .: the environment returned .*the five values"),
        (at(1), "returned array.*the five values observation, reward, terminated, truncated, info"),
        (None, "returned None; it should return the five values"),
        ((at(1), None, False, False, {}), "the reward None; it should be a single number"),
        ((at(1), np.zeros(2), False, False, {}), "the reward array.*it should be a single number"),
        ((at(1), "1", False, False, {}), "the reward '1'; it should be a single number"),
    ],
    ids=str,
)
def test_answers_to_an_action_that_are_none(answer, sentence):
    with pytest.raises(InvalidObservationError, match=sentence):
        learn_online(Watcher(Answers(answer)), 1)


@pytest.mark.parametrize("answer", [at(1), np.zeros(2), (at(1), {}, {}), (at(1), None)], ids=str)
def test_answers_to_a_reset_that_are_none(answer):
    with pytest.raises(InvalidObservationError, match=r"should return the pair \(observation, i"):
        learn_online(Watcher(Answers(None, answer)), 1)
