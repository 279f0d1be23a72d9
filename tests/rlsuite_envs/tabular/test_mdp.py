"""A table is checked at the door, and Gymnasium's tables are read as they are meant."""

from __future__ import annotations

import copy
import dataclasses
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.contracts import Model
from registry.errors import SettingError
from rlsuite_envs.tabular.cliff_walk import CliffWalk
from rlsuite_envs.tabular.mdp import TabularMDP


def arrays(**changes):
    """Two states, one action, two outcomes; `changes` replace arrays."""
    return {
        "next_state": np.array([[[1, 0]], [[1, 1]]]),
        "probability": np.array([[[0.25, 0.75]], [[1.0, 0.0]]]),
        "reward": np.array([[[1.0, 0.0]], [[0.0, 0.0]]]),
        "terminal": np.array([[[True, False]], [[True, True]]]),
        "start": np.array([1.0, 0.0]),
        **changes,
    }


def test_sizes_are_read_from_the_arrays():
    mdp = TabularMDP(**arrays())
    assert (mdp.n_states, mdp.n_actions, mdp.n_outcomes) == (2, 1, 2)
    model: Model = mdp
    assert model.start.tolist() == [1.0, 0.0]


def test_arrays_are_copies_and_cannot_be_written():
    given_arrays = arrays()
    mdp = TabularMDP(**given_arrays)
    given_arrays["reward"][0, 0, 0] = 99.0
    assert mdp.reward[0, 0, 0] == 1.0
    for name in ("next_state", "probability", "reward", "terminal", "start"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(mdp, name)[0] = 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        mdp.start = np.ones(2)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"next_state": np.zeros((2, 2), int)}, r"shape \[S, A, K\].*got \[2, 2\]"),
        ({"next_state": np.zeros((2, 0, 2), int)}, r"at least one state.*got \[2, 0, 2\]"),
        ({"next_state": [[[1, 2]], [[1]]]}, "next_state must be an array, got rows of different"),
        ({"next_state": np.ones((2, 1, 2))}, "next_state must be an array of whole numbers"),
        ({"next_state": np.full((2, 1, 2), 2)}, "states from 0 to 1, got values from 2 to 2"),
        ({"next_state": np.full((2, 1, 2), -1)}, "states from 0 to 1, got values from -1"),
        ({"probability": np.ones((2, 1))}, r"probability must have the shape \[2, 1, 2\]"),
        ({"probability": np.full((2, 1, 2), 0.4)}, r"sum to 1.*\[state, action\] \[0, 0\].*0\.8"),
        ({"probability": np.array([[[1.0, 0.0]], [[1.5, -0.5]]])}, r"at least 0.*\[1, 0\]"),
        ({"probability": np.full((2, 1, 2), np.nan)}, "probability must be at least 0"),
        ({"reward": np.full((2, 1, 2), np.inf)}, "reward must be finite"),
        ({"reward": np.full((2, 1, 2), "x")}, "reward must be an array of numbers"),
        ({"terminal": np.zeros((2, 1, 2))}, "terminal must be an array of booleans"),
        ({"terminal": np.zeros((2, 1, 3), bool)}, r"terminal must have the shape \[2, 1, 2\]"),
        ({"start": np.array([1.0])}, r"start must have the shape \[2\]"),
        ({"start": np.array([0.4, 0.4])}, r"start must be at least 0 and sum to 1.*0\.8"),
        ({"mask": np.ones((2, 2), bool)}, r"mask must have the shape \[2, 1\]"),
        ({"mask": np.array([[True], [False]])}, "at least one action in each state.*state 1"),
    ],
)
def test_a_malformed_table_gets_a_sentence(changes, sentence):
    with pytest.raises(SettingError, match=sentence):
        TabularMDP(**arrays(**changes))


def test_thirds_need_not_sum_to_one_exactly():
    third = np.full((2, 1, 3), 1 / 3)
    zeros = np.zeros((2, 1, 3))
    TabularMDP(
        next_state=zeros.astype(int),
        probability=third,
        reward=zeros,
        terminal=zeros.astype(bool),
        start=np.array([1.0, 0.0]),
    )


def test_merging_by_hand():
    """Of four outcomes two are equal and one is impossible."""
    mdp = TabularMDP(
        next_state=np.array([[[1, 0, 1, 0]], [[0, 1, 1, 1]]]),
        probability=np.array([[[0.25, 0.25, 0.5, 0.0]], [[0.5, 0.25, 0.125, 0.125]]]),
        reward=np.array([[[2.0, 3.0, 2.0, 9.0]], [[0.0, 1.0, 1.0, 5.0]]]),
        terminal=np.zeros((2, 1, 4), bool),
        start=np.array([1.0, 0.0]),
    )
    merged = mdp.merged()
    assert merged.next_state.tolist() == [[[0, 1, 0]], [[0, 1, 1]]]
    assert merged.probability.tolist() == [[[0.25, 0.75, 0.0]], [[0.5, 0.375, 0.125]]]
    assert merged.reward.tolist() == [[[3.0, 2.0, 0.0]], [[0.0, 1.0, 5.0]]]


def test_what_ends_is_never_merged_with_what_goes_on():
    changes = {
        "next_state": np.ones((2, 1, 2), int),
        "reward": np.zeros((2, 1, 2)),
        "terminal": np.array([[[True, False]], [[True, True]]]),
    }
    assert TabularMDP(**arrays(**changes)).merged().n_outcomes == 2


def distribution(mdp, s, a):
    found = {}
    for k in range(mdp.n_outcomes):
        if p := mdp.probability[s, a, k]:
            key = (mdp.next_state[s, a, k], mdp.reward[s, a, k], mdp.terminal[s, a, k])
            found[key] = found.get(key, 0.0) + p
    return found


@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 3), st.integers(1, 9))
@settings(max_examples=50, deadline=None)
def test_merging_changes_no_distribution(random_mdp, seed, states, actions, outcomes):
    mdp = random_mdp(seed, states, actions, outcomes)
    merged = mdp.merged()
    assert merged.n_outcomes <= outcomes
    for s in range(states):
        for a in range(actions):
            expected = distribution(mdp, s, a)
            got = distribution(merged, s, a)
            assert got == pytest.approx(expected, abs=1e-15)
            assert np.count_nonzero(merged.probability[s, a]) == len(expected)


@pytest.mark.parametrize(
    "identifier", ["FrozenLake-v1", "CliffWalking-v1", "CliffWalkingSlippery-v1", "Taxi-v4"]
)
def test_gymnasiums_tables_are_read_in_their_order(identifier):
    env = gym.make(identifier)
    mdp = TabularMDP.from_gymnasium(env)
    table = env.unwrapped.P
    assert mdp.next_state.shape[:2] == (env.observation_space.n, env.action_space.n)
    for s in range(mdp.n_states):
        for a in range(mdp.n_actions):
            for k, (p, s_next, r, ends) in enumerate(table[s][a]):
                assert mdp.probability[s, a, k] == p
                assert mdp.next_state[s, a, k] == s_next
                assert mdp.reward[s, a, k] == r
                assert mdp.terminal[s, a, k] == ends
            assert not mdp.probability[s, a, len(table[s][a]) :].any()
    np.testing.assert_array_equal(mdp.start, env.unwrapped.initial_state_distrib)


def test_duplicates_stay_for_sampling_and_go_for_the_oracle():
    """In FrozenLake's top left corner, moving left stays twice: by the move and by a slip."""
    mdp = TabularMDP.from_gymnasium(gym.make("FrozenLake-v1"))
    assert mdp.next_state[0, 0].tolist() == [0, 0, 4]
    merged = mdp.merged()
    assert merged.next_state[0, 0, :2].tolist() == [0, 4]
    np.testing.assert_allclose(merged.probability[0, 0, :2], [2 / 3, 1 / 3])


def test_taxi_brings_its_masks():
    env = gym.make("Taxi-v4")
    mask = TabularMDP.from_gymnasium(env).mask
    assert mask.shape == (500, 6)
    assert mask[123].tolist() == env.unwrapped.action_mask(123).astype(bool).tolist()


def test_an_environment_of_ours_answers_with_its_model():
    import rlsuite  # noqa: F401  registers the ids

    env = gym.make("rlsuite/CliffWalk-v0")
    assert TabularMDP.from_gymnasium(env) is env.unwrapped.model


def test_wrappers_that_may_change_the_table_are_refused():
    class Pennies(gym.wrappers.TimeLimit):
        """Pays something else: a subclass of a plain wrapper is not plain."""

    cliff = gym.make("CliffWalking-v1")
    for env, name in (
        (gym.wrappers.TransformReward(cliff, lambda r: r / 100), "TransformReward"),
        (gym.wrappers.TimeAwareObservation(gym.make("Taxi-v4")), "TimeAwareObservation"),
        (Pennies(cliff, 9), "Pennies"),
        (gym.wrappers.TransformReward(CliffWalk(), lambda r: r / 100), "TransformReward"),
    ):
        with pytest.raises(SettingError, match=f"the wrapper {name}.* may change what its table"):
            TabularMDP.from_gymnasium(env)
    plain = gym.wrappers.TimeLimit(gym.wrappers.PassiveEnvChecker(cliff), 9)
    assert TabularMDP.from_gymnasium(plain).reward.min() == -100


def test_a_deep_copy_cannot_be_written_either():
    mdp = TabularMDP.from_gymnasium(gym.make("CliffWalking-v1"))
    assert not copy.deepcopy(mdp).reward.flags.writeable


def test_an_environment_without_tables_is_refused():
    with pytest.raises(SettingError, match="CartPoleEnv has no tables 'P'"):
        TabularMDP.from_gymnasium(gym.make("CartPole-v1"))
    half = SimpleNamespace(unwrapped=SimpleNamespace(P={0: {0: []}}))
    with pytest.raises(SettingError, match="has no tables 'P' and 'initial_state_distrib'"):
        TabularMDP.from_gymnasium(half)


def test_a_fickle_passenger_is_refused():
    with pytest.raises(SettingError, match="fickle_passenger=True is not its dynamics"):
        TabularMDP.from_gymnasium(gym.make("Taxi-v4", fickle_passenger=True))
