"""The flat tree against lists of texts written out by hand or by itertools."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import InvalidObservationError
from rlsuite_envs.tokens.shapes import check_texts
from rlsuite_envs.tokens.tables import EOS, PAD, PROMPTS
from rlsuite_envs.tokens.tree import prefix_tree


def test_one_new_token_by_hand():
    """Only the prompts are decision states; a text is EOS at once, or one letter."""
    tree = prefix_tree(1)
    assert (tree.n_prefixes, tree.n_texts, tree.width) == (1, 7, 3)
    tokens, lengths = tree.prefixes()
    assert tokens.tolist() == [[p, p + 1, PAD] for p in range(4)]
    assert lengths.tolist() == [2] * 4
    tokens, lengths = tree.texts()
    assert tokens[:7].tolist() == [[0, 1, EOS], *([0, 1, letter] for letter in range(6))]
    assert lengths.tolist() == [3] * 28


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5])
def test_the_tree_lists_every_prefix_and_every_text_once(limit):
    tree = prefix_tree(limit)
    prefixes, texts = [], []
    for prompt in PROMPTS:
        for t in range(limit):
            prefixes += [(*prompt, *word) for word in itertools.product(range(6), repeat=t)]
        texts += [(*prefix, EOS) for prefix in prefixes if prefix[:2] == prompt]
        texts += [(*prompt, *word) for word in itertools.product(range(6), repeat=limit)]
    for (tokens, lengths), wanted in ((tree.prefixes(), prefixes), (tree.texts(), texts)):
        rows = zip(tokens.tolist(), lengths.tolist(), strict=True)
        assert [tuple(row[:length]) for row, length in rows] == wanted
        assert np.all(tokens[np.arange(tree.width) >= lengths[:, None]] == PAD)


def test_the_default_tree_has_6220_decision_states():
    tree = prefix_tree(5)
    assert tree.n_prompts * tree.n_prefixes == 6220
    assert tree.n_prompts * tree.n_texts == 37_324


@given(st.lists(st.integers(0, 5), max_size=5))
def test_appending_letter_a_to_completion_k_gives_6k_plus_1_plus_a(word):
    tree = prefix_tree(5)
    k = 0
    for letter in word:
        k = 6 * k + 1 + letter
    assert tree.completions[k, : len(word)].tolist() == word
    assert tree.depths[k] == len(word)
    first, last = tree.level(len(word))
    assert first <= k < last


def test_what_stands_beyond_the_length_is_not_looked_at():
    tokens, lengths = check_texts(np.array([[0, 1, 2, 99]]), np.array([3]))
    assert tokens.dtype == lengths.dtype == np.int64


@pytest.mark.parametrize(
    ("tokens", "lengths", "message"),
    [
        ([[0, 1, 2.5]], [3], r"whole numbers: .* got float64 of shape \(1, 3\)"),
        ([0, 1, 2], [3], r"got int64 of shape \(3,\)"),
        ([[0, 1, 2]], [3, 3], r"int64 of shape \(2,\)"),
        ([[0, 1, 2]], [1], "lengths from 1 to 1"),
        ([[0, 1, 2]], [4], "at most the 3 of the row; got lengths from 4 to 4"),
        ([[0, 1, 9]], [3], "token 9 at place 2 of row 0"),
        ([[0, 1, -1]], [3], "token -1 at place 2"),
        ([[0, 1, PAD]], [3], "token 7 at place 2"),
        ([[0, 1, 2, 3], [0, 1, EOS, 2]], [4, 4], "token 6 at place 2 of row 1"),
        ([[0, EOS, 2]], [2], "token 6 at place 1 of row 0"),
    ],
)
def test_malformed_texts_are_refused(tokens, lengths, message):
    with pytest.raises(InvalidObservationError, match=message):
        check_texts(np.array(tokens), np.array(lengths))
