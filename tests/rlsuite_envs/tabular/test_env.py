"""The environment draws what the table says, one uniform at a time."""

from __future__ import annotations

import copy
import json
import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from hypothesis import given, settings
from hypothesis import strategies as st

import rlsuite  # noqa: F401  registers the ids
from registry.contracts import HasModel, HasOracle
from registry.errors import InvalidActionError, OracleError, SettingError
from rlsuite_envs.tabular.env import TabularEnv
from rlsuite_envs.tabular.mdp import TabularMDP

NEARLY_ONE = 1.0 - 2.0**-53  # the largest number that random() can return


class Scripted:
    """A generator that returns given numbers."""

    def __init__(self, *numbers):
        self.numbers = list(numbers)

    def random(self):
        return self.numbers.pop(0)


def scripted(mdp, *numbers):
    env = TabularEnv(mdp)
    env._np_random = Scripted(*numbers)
    return env


@pytest.fixture(scope="module")
def lottery():
    """Three outcomes, the middle one impossible, and two starts."""
    return TabularMDP(
        next_state=np.array([[[0, 2, 1]], [[1, 1, 1]], [[2, 2, 2]]]),
        probability=np.array([[[0.25, 0.0, 0.75]], [[1.0, 0.0, 0.0]], [[1.0, 0.0, 0.0]]]),
        reward=np.array([[[1.0, 2.0, 3.0]], [[0.0] * 3], [[0.0] * 3]]),
        terminal=np.array([[[False, False, True]], [[True] * 3], [[True] * 3]]),
        start=np.array([0.5, 0.0, 0.5]),
    )


@pytest.mark.parametrize(
    ("u", "outcome"),
    [
        (0.0, (0, 1.0, False, False, {"prob": 0.25})),
        (0.2499, (0, 1.0, False, False, {"prob": 0.25})),
        (0.25, (1, 3.0, True, False, {"prob": 0.75})),
        (NEARLY_ONE, (1, 3.0, True, False, {"prob": 0.75})),
    ],
)
def test_the_outcome_is_the_first_whose_cumulative_probability_is_larger(lottery, u, outcome):
    env = scripted(lottery, 0.0, u)
    assert env.reset() == (0, {"prob": 0.5})
    assert env.step(0) == outcome


@pytest.mark.parametrize(("u", "state"), [(0.0, 0), (0.4999, 0), (0.5, 2), (NEARLY_ONE, 2)])
def test_the_start_is_drawn_in_the_same_way(lottery, u, state):
    assert scripted(lottery, u).reset() == (state, {"prob": 0.5})


def test_seven_sevenths_are_one():
    """Their sum in floating point is less: a uniform above it must not fall back to outcome 0."""
    assert np.cumsum(np.full(7, 1 / 7))[-1] <= NEARLY_ONE
    mdp = TabularMDP(
        next_state=np.broadcast_to(np.arange(7), (7, 1, 7)),
        probability=np.full((7, 1, 7), 1 / 7),
        reward=np.zeros((7, 1, 7)),
        terminal=np.zeros((7, 1, 7), bool),
        start=np.full(7, 1 / 7),
    )
    env = scripted(mdp, NEARLY_ONE, NEARLY_ONE)
    assert env.reset()[0] == 6
    assert env.step(0)[0] == 6


def test_every_reset_and_every_step_draws_one_uniform(deterministic):
    """Where there is only one possibility too."""
    env = TabularEnv(deterministic({0: [(0, -1.0, False)]}))
    rng = np.random.Generator(np.random.PCG64(3))
    env.reset(seed=3)
    rng.random()
    for _ in range(5):
        assert env.np_random.bit_generator.state["state"] == rng.bit_generator.state["state"]
        env.step(0)
        rng.random()


@pytest.mark.parametrize(
    "identifier", ["FrozenLake-v1", "CliffWalking-v1", "CliffWalkingSlippery-v1", "Taxi-v4"]
)
def test_gymnasiums_own_tables_are_walked_as_gymnasium_walks_them(identifier):
    """The same seed gives the same course, to the last outcome."""
    theirs = gym.make(identifier).unwrapped
    ours = TabularEnv(TabularMDP.from_gymnasium(theirs))
    assert ours.reset(seed=9)[0] == theirs.reset(seed=9)[0]
    rng = np.random.default_rng(0)
    for action in rng.integers(int(theirs.action_space.n), size=3000).tolist():
        state, reward, terminated, truncated, info = ours.step(action)
        expected = theirs.step(action)
        assert (state, reward, terminated, truncated) == expected[:4]
        assert info["prob"] == expected[4]["prob"]
        if terminated:
            assert ours.reset()[0] == theirs.reset()[0]


def test_drawn_outcomes_have_the_frequencies_of_the_table(random_mdp):
    """χ² of one state-action; 18.47 is the 0.999 quantile of 4 degrees of freedom."""
    mdp = random_mdp(5, states=6, actions=1, outcomes=5)
    s = int(np.argmax(np.count_nonzero(mdp.probability, axis=-1)[:, 0]))
    expected = np.zeros(mdp.n_states)
    np.add.at(expected, mdp.next_state[s, 0], mdp.probability[s, 0])
    env = TabularEnv(mdp)
    env.reset(seed=0)
    counts = np.zeros(mdp.n_states)
    for _ in range(20_000):
        env._state = s
        counts[env.step(0)[0]] += 1
    possible = expected > 0
    assert counts[~possible].sum() == 0
    expected = 20_000 * expected[possible]
    assert ((counts[possible] - expected) ** 2 / expected).sum() < 18.47


def test_it_is_an_environment_with_model_and_oracle(random_mdp):
    mdp = random_mdp(0)
    env = TabularEnv(mdp)
    assert isinstance(env, HasModel)
    assert isinstance(env, HasOracle)
    assert env.model is mdp
    assert (env.observation_space.n, env.action_space.n) == (5, 3)


@given(st.integers(0, 1000), st.integers(0, 25), st.integers(0, 25))
@settings(max_examples=40, deadline=None)
def test_a_saved_state_goes_on_identically(random_mdp, seed, before, after):
    env, twin = (TabularEnv(random_mdp(seed, ending=0.0)) for _ in range(2))
    actions = np.random.default_rng(seed).integers(3, size=before + after).tolist()
    env.reset(seed=seed)
    for action in actions[:before]:
        env.step(action)
    state = env.get_state()
    assert state["t"] == before
    twin.set_state(json.loads(json.dumps(state)))
    assert twin.get_state() == state
    for action in actions[before:]:
        assert env.step(action) == twin.step(action)
    assert env.get_state() == twin.get_state()
    assert env.reset() == twin.reset()


@pytest.mark.parametrize("go_on", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_copies_go_on_identically(random_mdp, go_on):
    env = TabularEnv(random_mdp(0, ending=0.0))
    env.reset(seed=0)
    env.step(1)
    twin = go_on(env)
    for action in (0, 1, 2) * 10:
        assert env.step(action) == twin.step(action)


def test_a_state_can_be_saved_before_the_first_reset(random_mdp):
    env, twin = TabularEnv(random_mdp(0)), TabularEnv(random_mdp(0))
    twin.set_state(env.get_state())
    assert env.reset() == twin.reset()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"state": 5}, "'state' must be less than the number of states, 5"),
        ({"state": -1}, "'state' must be a whole number of at least 0"),
        ({"t": -1}, "'t' must be a whole number of at least 0"),
        ({"rng": {"bit_generator": "MT19937"}}, "'rng' must be the state of a PCG64 generator"),
        ({"arms": 3}, "a dictionary with the keys rng, state, t"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(random_mdp, changes, sentence):
    env = TabularEnv(random_mdp(0))
    env.reset(seed=0)
    state = env.get_state()
    with pytest.raises(SettingError, match=sentence):
        env.set_state({**state, **changes})
    assert env.get_state() == state


@pytest.mark.parametrize("action", [3, -1, 1.0, None, "1", np.array([1]), np.float64(1)])
def test_an_action_outside_the_space_is_refused_before_anything_is_drawn(random_mdp, action):
    env = TabularEnv(random_mdp(0))
    env.reset(seed=0)
    state = env.get_state()
    with pytest.raises(InvalidActionError, match="must be a whole number from 0 to 2"):
        env.step(action)
    assert env.get_state() == state


@pytest.mark.parametrize("action", [2, np.int64(2), np.uint8(2), np.array(2)])
def test_actions_come_as_python_or_numpy_numbers(random_mdp, action):
    env, plain = TabularEnv(random_mdp(0)), TabularEnv(random_mdp(0))
    env.reset(seed=0)
    plain.reset(seed=0)
    assert env.step(action) == plain.step(2)


def test_a_step_before_the_first_reset_is_refused(random_mdp):
    with pytest.raises(ResetNeeded, match="call reset"):
        TabularEnv(random_mdp(0)).step(0)


def test_without_an_id_there_is_no_limit(random_mdp):
    env = TabularEnv(random_mdp(0))
    assert env.oracle(gamma=0.9).horizon is None
    assert env.oracle(7).horizon == 7
    assert env.oracle(7).policy_return(np.full((5, 3), 1 / 3)) == env.oracle(7).baseline_return


def test_the_limit_of_the_oracle_is_the_registered_one_unless_said(random_mdp):
    made = gym.make("rlsuite/CliffWalk-v0", max_episode_steps=30)
    assert made.unwrapped.oracle().horizon == 200
    assert made.unwrapped.oracle(horizon=made.spec.max_episode_steps).horizon == 30
    assert made.unwrapped.oracle(limit=False).horizon is None
    assert TabularEnv(random_mdp(0), id="rlsuite/CliffWalk-v0").oracle().horizon == 200
    with pytest.raises(SettingError, match="give horizon or limit=False, not both; got horizon=5"):
        made.unwrapped.oracle(5, limit=False)
    with pytest.raises(OracleError, match="'nobody/Nothing-v0' is not known: no such id"):
        TabularEnv(random_mdp(0), id="nobody/Nothing-v0").oracle()
