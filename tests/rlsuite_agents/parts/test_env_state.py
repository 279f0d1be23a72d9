"""A training environment goes on where it was: by its own state, or by replaying the episode."""

from __future__ import annotations

import json

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import FrameStackObservation, OrderEnforcing, TimeLimit
from hypothesis import given
from hypothesis import strategies as st

import rlsuite  # noqa: F401  (registers who answers for FrozenLake)
from registry.catalogue import registry
from registry.errors import CheckpointError
from rlsuite_agents.parts.env_state import Tape, capture, decode, encode, layers, restore


class Walk(gym.Env):
    """A random walk with get_state; its state never shows in the observation."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = self.np_random.random()
        return self.look(), {"action_mask": np.array([1, 0], np.int8)}

    def step(self, action):
        self.x += action + self.np_random.random()
        return self.look(), self.x, False, False, {}

    def look(self):
        return np.array([self.x, 1], np.float32)

    def get_state(self):
        return {"x": self.x, "rng": self.np_random.bit_generator.state}

    def set_state(self, state):
        self.x = state["x"]
        self.np_random.bit_generator.state = state["rng"]


class Stubborn(Walk):
    """Draws from a generator of its own, which nobody can restore."""

    get_state = None

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = next(self.hidden)
        return self.look(), {}

    hidden = iter(np.random.default_rng(0).random(10_000))


class View(gym.Wrapper):
    """Like the view that hides the answer key: `unwrapped` is itself."""

    stateless = True

    @property
    def unwrapped(self):
        return self

    def get_state(self):
        raise AssertionError("the view is walked past")

    set_state = get_state


def make_walk():
    return View(TimeLimit(OrderEnforcing(Walk()), 40))


def make_cartpole():
    return gym.make("CartPole-v1")


def make_frozen_lake():
    return gym.make("FrozenLake-v1")


def make_stacked():
    return FrameStackObservation(gym.make("CartPole-v1"), 3)


def run(env, tape, steps, policy):
    """Drives an environment as a loop would; returns all that it said."""
    heard = []
    over = tape.info is None
    for _ in range(steps):
        if over:
            tape.reset(env, 7 if tape.info is None else None)
        action = int(policy.integers(2))
        observation, reward, terminated, truncated, info = env.step(action)
        tape.add(action, observation, info)
        over = terminated or truncated
        heard.append((encode(observation), float(reward), terminated, truncated))
    return heard, over


@pytest.mark.parametrize("make", [make_walk, make_cartpole, make_frozen_lake, make_stacked])
@pytest.mark.parametrize("steps", [1, 2, 17, 75])
def test_goes_on_as_if_it_had_never_stopped(make, steps):
    env, tape = make(), Tape()
    over = True
    while over:  # stop in the middle of an episode
        _, over = run(env, tape, steps, np.random.default_rng(steps))
        steps += over
        if over:
            env, tape = make(), Tape()
    state = json.loads(json.dumps(capture(env, tape)))
    direct = make in (make_walk, make_frozen_lake)
    assert state["method"] == ("direct" if direct else "replay")
    other, other_tape = make(), Tape()
    observation, _ = restore(other, state, other_tape)
    np.testing.assert_array_equal(observation, tape.observation)
    assert json.dumps(capture(other, other_tape)) == json.dumps(state)
    for _ in range(3):  # the rest of this episode and two more
        ends = []
        for e, t in ((env, tape), (other, other_tape)):
            policy, rest, over = np.random.default_rng(1), [], False
            while not over:
                heard, over = run(e, t, 1, policy)
                rest += heard
            t.reset(e)
            ends.append(rest)
        assert ends[0] == ends[1]


def test_mask_comes_back():
    env, tape = make_walk(), Tape()
    tape.reset(env, 1)
    _, info = restore(make_walk(), json.loads(json.dumps(capture(env, tape))))
    np.testing.assert_array_equal(info["action_mask"], [1, 0])
    assert info["action_mask"].dtype == np.int8


def test_the_time_limit_goes_on():
    env, tape = make_walk(), Tape()
    run(env, tape, 39, np.random.default_rng(0))
    other = make_walk()
    restore(other, capture(env, tape))
    assert other.step(0)[3]


def test_nothing_to_capture_before_the_first_reset():
    assert capture(make_walk(), Tape()) is None


def test_capturing_does_not_touch_the_environment():
    env, tape = make_cartpole(), Tape()
    run(env, tape, 5, np.random.default_rng(0))
    assert capture(env, tape) == capture(env, tape)


def test_direct_tapes_stay_empty():
    env, tape = make_walk(), Tape()
    run(env, tape, 30, np.random.default_rng(0))
    assert tape.actions == []


def test_a_view_hides_nothing_from_us():
    env = make_walk()
    assert env.unwrapped is env
    assert [type(layer).__name__ for layer in layers(env)] == [
        "View",
        "TimeLimit",
        "OrderEnforcing",
        "Walk",
    ]


def test_an_episode_that_was_saved_for_replay_is_replayed(monkeypatch):
    """Also where somebody answers for the environment by now."""
    env, tape = make_frozen_lake(), Tape()
    with monkeypatch.context() as context:
        context.setattr(registry, "provided", lambda kind, env: None)
        run(env, tape, 3, np.random.default_rng(3))
        state = capture(env, tape)
    assert state["method"] == "replay"
    assert len(state["actions"]) > 0
    other = make_frozen_lake()
    restore(other, state)
    assert (other.unwrapped.s, other.unwrapped.lastaction) == (env.unwrapped.s, tape.actions[-1])


def test_replay_in_another_environment():
    env, tape = gym.make("CartPole-v1"), Tape()
    run(env, tape, 8, np.random.default_rng(0))
    state = capture(env, tape)
    with pytest.raises(CheckpointError, match=r"'Acrobot-v1' did not lead back .* observation"):
        restore(gym.make("Acrobot-v1"), state)


def test_replay_where_randomness_is_hidden():
    env, tape = Stubborn(), Tape()
    run(env, tape, 4, np.random.default_rng(0))
    state = capture(env, tape)
    with pytest.raises(CheckpointError, match="draws random numbers from elsewhere"):
        restore(Stubborn(), state)


def test_direct_state_for_an_environment_without_set_state():
    env, tape = Walk(), Tape()
    tape.reset(env, 0)
    with pytest.raises(CheckpointError, match="a state for `set_state`, which 'CartPole-v1' does"):
        restore(make_cartpole(), capture(env, tape))


def test_direct_state_under_other_time_limits():
    env, tape = make_walk(), Tape()
    tape.reset(env, 0)
    with pytest.raises(CheckpointError, match="1 clocks of time limits, but Walk has 0"):
        restore(Walk(), capture(env, tape))


@pytest.mark.parametrize(
    "change", [{"state": {}}, {"seed": "x"}, {"observation": {"dtype": "f4"}}, {"clocks": None}]
)
def test_damaged_state(change):
    env, tape = make_walk(), Tape()
    tape.reset(env, 0)
    with pytest.raises(CheckpointError, match="cannot be put back where it was"):
        restore(make_walk(), {**capture(env, tape), **change})


plain = st.recursive(
    st.one_of(
        st.integers(-5, 5),
        st.booleans(),
        st.text(max_size=3),
        st.none(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.just(np.float32([0.1, 0.2])),
        st.just(np.zeros((0, 2), np.int8)),
        st.just(np.int64(3)),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple), st.dictionaries(st.text(max_size=3), inner)
    ),
    max_leaves=6,
)


@given(value=plain)
def test_encoding_survives_json(value):
    back = decode(json.loads(json.dumps(encode(value))))
    assert encode(back) == encode(value)
    assert type(back) is type(value)
