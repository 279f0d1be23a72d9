"""The evaluated policy, in every form that it may have."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from registry.errors import DataError, SettingError
from rlsuite.ope import BanditLog, target_of

MASK = [[1, 1, 1], [1, 0, 1]]


def log(**changes):
    values = {
        "context": [[1.0, 2.0], [3.0, 4.0]],
        "action": [0, 2],
        "reward": [1.0, 0.5],
        "propensity": [0.5, 0.25],
        **changes,
    }
    return BanditLog(**values)


class Fixed:
    """An agent that remembers what it was asked."""

    def __init__(self, space=None):
        self.env = None if space is None else SimpleNamespace(observation_space=space)

    def action_probabilities(self, observations, *, deterministic, mask=None):
        self.asked = observations, deterministic, mask
        return np.tile([0.5, 0.25, 0.25], (len(observations), 1))


def test_uniform_over_what_is_allowed():
    target = target_of("uniform", log(action_mask=MASK))
    np.testing.assert_allclose(target.full, [[1 / 3, 1 / 3, 1 / 3], [0.5, 0, 0.5]])
    np.testing.assert_allclose(target.taken, [1 / 3, 0.5])
    assert not target.deterministic


def test_one_action_and_chosen_actions():
    for policy in (2, np.int64(2), [2, 2], np.array([2, 2]), lambda x: np.array([2, 2])):
        target = target_of(policy, log())
        np.testing.assert_array_equal(target.full, [[0, 0, 1], [0, 0, 1]])
        np.testing.assert_array_equal(target.taken, [0, 1])
        assert target.deterministic


def test_probabilities_of_all_or_of_the_logged_actions():
    p = np.array([[0.2, 0.3, 0.5], [0.0, 0.0, 1.0]])
    np.testing.assert_array_equal(target_of(p, log()).taken, [0.2, 1.0])
    np.testing.assert_array_equal(target_of(lambda x: p, log()).taken, [0.2, 1.0])
    target = target_of([0.2, 1.0], log())
    assert target.full is None
    np.testing.assert_array_equal(target.taken, [0.2, 1.0])


def test_data_frames_by_position_and_by_the_numbers_of_their_columns():
    pandas = pytest.importorskip("pandas", reason="needs the extra frame")
    p = np.array([[0.2, 0.3, 0.5], [0.0, 0.0, 1.0]])
    plain = pandas.DataFrame(p, index=[7, 3], columns=["low", "high", "best"])
    np.testing.assert_array_equal(target_of(plain, log()).full, p)
    mixed = pandas.DataFrame({"p_1": p[:, 1], "p_2": p[:, 2], "p_0": p[:, 0]})
    np.testing.assert_array_equal(target_of(mixed, log()).full, p)
    assert target_of(pandas.Series([0.2, 1.0]), log()).full is None
    np.testing.assert_array_equal(target_of(pandas.Series([0, 2]), log()).taken, [1, 1])
    with pytest.raises(DataError, match=r"got float64 of shape \(2, 2\)"):
        target_of(plain[["low", "high"]], log())


def test_columns_of_the_log():
    p = np.array([[0.2, 0.3, 0.5], [0.0, 0.0, 1.0]])
    extra = {"one": [0.2, 1.0], "all_0": p[:, 0], "all_1": p[:, 1], "all_2": p[:, 2]}
    assert target_of("one", log(extra=extra)).full is None
    np.testing.assert_array_equal(target_of("all", log(extra=extra)).full, p)
    with pytest.raises(SettingError, match=r"neither a column 'onne' nor .*Did you mean 'one'"):
        target_of("onne", log(extra=extra))


def test_an_agent_is_asked_in_the_form_of_its_observations():
    agent = Fixed(Box(-9, 9, (1, 2), np.float32))
    target = target_of(agent, log(action_mask=MASK), deterministic=True)
    observations, deterministic, mask = agent.asked
    assert (observations.shape, observations.dtype, deterministic) == ((2, 1, 2), np.float32, True)
    np.testing.assert_array_equal(mask, np.array(MASK, bool))
    np.testing.assert_array_equal(target.taken, [0.5, 0.25])
    agent = Fixed(Discrete(5))
    target_of(agent, log(context=[[3], [4]]))
    assert agent.asked[0].tolist() == [3, 4]
    assert agent.asked[2] is None
    with pytest.raises(DataError, match=r"made for observations of 3 numbers .* the log have 2"):
        target_of(Fixed(Box(-9, 9, (3,))), log())


@pytest.mark.parametrize(
    ("policy", "error", "sentence"),
    [
        (3, SettingError, "there is no action 3; the log has the 3 actions"),
        (-1, SettingError, "there is no action -1"),
        (object(), SettingError, "a policy to evaluate is 'uniform'.*got object"),
        (True, SettingError, "got bool"),
        ([0, 5], DataError, "decision 1: the policy takes action 5, of 3 actions"),
        ([0.5, 1.5], DataError, r"decision 1: .*the probability 1.5; it must be in \[0, 1\]"),
        (np.ones((2, 3)), DataError, "decision 0: the policy's probabilities sum to 3"),
        (np.ones((2, 4)) / 4, DataError, r"got float64 of shape \(2, 4\).*n_actions"),
        (np.full((2, 3), np.nan), DataError, "decision 0: the policy's probabilities sum to nan"),
        (["a", "b"], DataError, "a policy's probabilities are numbers"),
    ],
)
def test_what_is_no_policy(policy, error, sentence):
    with pytest.raises(error, match=sentence):
        target_of(policy, log())
