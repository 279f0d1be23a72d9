"""Reference policies: the Markov table, users' models, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import rlsuite  # noqa: F401  (registers the models)
from registry.errors import InvalidObservationError, SettingError, UnknownIdError
from rlsuite_envs.tokens.reference_models import (
    MarkovReference,
    as_array,
    markov_reference,
    resolve_reference,
)
from rlsuite_envs.tokens.tables import EOS, PAD, REFERENCE_WEIGHTS
from rlsuite_envs.tokens.tabulation import tabulate
from rlsuite_envs.tokens.tree import prefix_tree


class Answers:
    """A model that returns what it was made with."""

    def __init__(self, answer):
        self.answer = answer

    def log_probs(self, tokens, lengths):
        return self.answer


def test_the_reference_by_hand():
    """After the letter a the weights are 6 3 1 1 7 8 5, of sum 31."""
    tokens = np.array([[1, 0, PAD, PAD], [0, 1, 2, 0]])
    got = markov_reference().log_probs(tokens, np.array([2, 4]))
    wanted = np.log(np.array([6, 3, 1, 1, 7, 8, 5]) / 31)
    np.testing.assert_allclose(got, [wanted, wanted], rtol=1e-15)


def test_no_token_follows_eos():
    with pytest.raises(InvalidObservationError, match="row 1 ended with EOS"):
        markov_reference().log_probs(np.array([[0, 1, 2], [0, 1, EOS]]), np.array([3, 3]))


def test_weights_and_probabilities_are_the_same_table():
    weights = np.array(REFERENCE_WEIGHTS)
    tokens, lengths = np.array([[0, 1]]), np.array([2])
    by_weight = MarkovReference(weights).log_probs(tokens, lengths)
    by_share = MarkovReference(weights / weights.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(by_share.log_probs(tokens, lengths), by_weight, rtol=1e-14)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones((6, 8)), r"shape \(6, 7\), a row per last letter"),
        ([[1, 2], [3]], "a row per last letter"),
        ([["a"] * 7] * 6, "a row per last letter"),
        (np.full((6, 7), -1.0), "at least 0 and with a positive sum"),
        (np.zeros((6, 7)), "with a positive sum in each row"),
        (np.full((6, 7), np.nan), "finite, at least 0"),
        (np.full((6, 7), np.inf), "finite, at least 0"),
    ],
)
def test_malformed_tables_are_refused(weights, message):
    with pytest.raises(SettingError, match=message):
        MarkovReference(weights)


def test_a_table_is_renormalised_over_the_whole_tree():
    """float32 log-probabilities are a little off; the table sums to 1 in float64."""
    tree = prefix_tree(2)
    exact = tabulate(markov_reference(), "'markov'", tree)

    class Rough:
        def log_probs(self, tokens, lengths):
            return markov_reference().log_probs(tokens, lengths).astype(np.float32)

    rough = tabulate(Rough(), "mine", tree)
    np.testing.assert_allclose(np.exp(rough).sum(axis=-1), 1.0, rtol=1e-15)
    np.testing.assert_allclose(rough, exact, atol=1e-6)


def test_a_token_of_probability_zero_is_minus_infinity():
    weights = np.ones((6, 7))
    weights[:, 3] = 0
    table = tabulate(MarkovReference(weights), "table", prefix_tree(2))
    assert np.all(table[..., 3] == -np.inf)
    np.testing.assert_allclose(np.exp(table).sum(axis=-1), 1.0, rtol=1e-15)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (np.zeros((3, 7)), r"log-probabilities of shape \(4, 7\)"),
        (np.zeros((4, 7), np.int64), "returned int64"),
        (None, "returned object"),
        (np.zeros((4, 7)), "they sum to values from 7 to 7"),
        (np.full((4, 7), np.nan), "values from nan to nan"),
    ],
)
def test_malformed_answers_name_the_model(answer, message):
    with pytest.raises(SettingError, match=f"mine must return .*{message}"):
        tabulate(Answers(answer), "mine", prefix_tree(2))


def test_torch_tensors_are_taken_as_they_are():
    torch = pytest.importorskip("torch")
    tensor = torch.ones(2, dtype=torch.bfloat16, requires_grad=True)
    assert as_array(tensor).tolist() == [1.0, 1.0]


def test_ragged_answers_become_no_numbers():
    assert as_array([[1, 2], [3]]).dtype == object


def test_what_the_keyword_stands_for():
    mine = Answers(None)
    assert resolve_reference(mine) == (mine, "Answers")
    for value in ("markov", "rlsuite/MarkovReference-v0", REFERENCE_WEIGHTS):
        model, _ = resolve_reference(value)
        assert isinstance(model, MarkovReference)


@pytest.mark.parametrize("value", ["gpt", 3, None, Answers])
def test_a_keyword_that_stands_for_nothing(value):
    with pytest.raises(SettingError, match="reference must be 'markov', the id of a registered"):
        resolve_reference(value)


def test_an_unknown_id_gets_a_hint():
    with pytest.raises(UnknownIdError, match="Did you mean 'rlsuite/MarkovReference-v0'"):
        resolve_reference("rlsuite/MarkovRefrence-v0")
