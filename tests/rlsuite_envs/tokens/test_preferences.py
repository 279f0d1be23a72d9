"""Preferences and the Bradley-Terry fit."""

from __future__ import annotations

import numpy as np
import pytest

from registry.errors import DataError, SettingError
from rlsuite_envs.tokens.feature_reward import GOLD, all_feature_scores
from rlsuite_envs.tokens.preferences import (
    Preferences,
    read_preferences,
    sample_completions,
    sample_preferences,
)
from rlsuite_envs.tokens.proxies import fit_bradley_terry, n_features, text_features
from rlsuite_envs.tokens.reference_models import markov_reference
from rlsuite_envs.tokens.shapes import LETTER_TOKENS, TextShape
from rlsuite_envs.tokens.tables import EOS, PAD
from rlsuite_envs.tokens.tabulation import tabulate
from rlsuite_envs.tokens.token_generation import TokenGeneration
from rlsuite_envs.tokens.tree import prefix_tree

TREE = prefix_tree(3)
REFERENCE = tabulate(markov_reference(), "'markov'", TREE)


def test_features_by_hand():
    """Prompt ab, then c, a, EOS: positions (0, c), (1, a), bigrams bc, ca, two letters."""
    features = text_features(np.array([[0, 1, 2, 0, EOS, PAD, PAD]]), np.array([5]), np.array([2]))
    assert features.shape == (1, n_features()) == (1, 67)
    wanted = np.zeros(67)
    wanted[[2, 6 + 0, 30 + 6 * 1 + 2, 30 + 6 * 2 + 0]] = 1
    wanted[-1] = 2
    np.testing.assert_array_equal(features[0], wanted)


def test_gold_is_linear_in_the_features():
    weights = np.concatenate([np.ravel(GOLD.position), np.ravel(GOLD.bigram), [GOLD.length]])
    tokens, lengths = TREE.texts()
    np.testing.assert_allclose(
        text_features(tokens, lengths, np.full(len(tokens), 2)) @ weights,
        GOLD.score(tokens, lengths),
        atol=1e-14,
    )


def test_sampled_completions_by_hand():
    """After ab the reference is 6 5 8 7 1 7 1 over 35: u picks by inverse CDF."""
    uniforms = np.array([[0.0, 0.999, 0.5], [34.5 / 35, 0.5, 0.5], [33.5 / 35, 0.0, 0.0]])
    k = sample_completions(TREE, REFERENCE, np.zeros(3, np.int64), uniforms)
    tokens = TREE.texts()[0][k]
    # a, then EOS (the last 5 of 31); EOS at once; f, then a, then a
    assert tokens.tolist() == [
        [0, 1, 0, EOS, PAD],
        [0, 1, EOS, PAD, PAD],
        [0, 1, 5, 0, 0],
    ]


def test_a_token_of_probability_zero_is_never_sampled():
    table = REFERENCE.copy()
    table[..., 3:] = -np.inf
    k = sample_completions(TREE, table, np.zeros(1, np.int64), np.array([[1 - 2**-53] * 3]))
    assert TREE.completions[k].tolist() == [[2, 2, 2]]


def test_sampled_completions_follow_the_policy():
    """Frequencies of 9,331 texts are too thin: the chance of ending at once is EOS's own."""
    n = 20_000
    rng = np.random.default_rng(0)
    prompts = np.zeros(n, np.int64)
    k = sample_completions(TREE, REFERENCE, prompts, rng.random((n, 3)))
    p = 1 / 35
    assert abs(np.mean(k == 0) - p) < 4 * np.sqrt(p * (1 - p) / n)


def test_preferences_follow_bradley_terry():
    """Scores 0 and 1: the better of two different texts wins with probability σ(1)."""
    scores = np.zeros((TREE.n_prompts, TREE.n_texts))
    scores[:, ::2] = 1.0
    pairs = sample_preferences(TREE, REFERENCE, scores, 20_000, np.random.default_rng(3))
    difference = scores[pairs.prompts, pairs.preferred] - scores[pairs.prompts, pairs.rejected]
    decided = difference[difference != 0]
    p = 1 / (1 + np.exp(-1.0))
    assert abs(np.mean(decided > 0) - p) < 4 * np.sqrt(p * (1 - p) / len(decided))


def test_accuracy_by_hand():
    """Right, wrong, tied: (1 + 0 + ½) / 3."""
    scores = np.array([[0.0, 1.0, 1.0]])
    pairs = Preferences(np.zeros(3, np.int64), np.array([1, 0, 1]), np.array([0, 1, 2]))
    assert pairs.accuracy(scores) == pytest.approx(0.5)


def test_the_fit_solves_its_equation():
    """At the minimum λ w = Σ_i (1 - σ(w · x_i)) x_i."""
    x = np.random.default_rng(0).normal(size=(50, 4))
    w = fit_bradley_terry(x, ridge=0.5)
    surprise = 1 / (1 + np.exp(x @ w))
    np.testing.assert_allclose(0.5 * w, surprise @ x, atol=1e-10)


def test_the_fit_by_hand():
    """One feature, won 3 times and lost once, hardly any penalty: σ(w) = ¾, w = log 3."""
    x = np.array([[1.0], [1.0], [1.0], [-1.0]])
    np.testing.assert_allclose(fit_bradley_terry(x, ridge=1e-9), [np.log(3)], rtol=1e-8)


@pytest.mark.slow
def test_many_preferences_lead_back_to_gold():
    """The model is well specified: with 200,000 pairs the scores are gold's up to a constant."""
    tree = prefix_tree(5)
    gold = all_feature_scores(GOLD, tree.shape)
    table = tabulate(markov_reference(), "'markov'", tree)
    pairs = sample_preferences(tree, table, gold, 200_000, np.random.default_rng(4))
    texts = pairs.pairs(tree)
    starts = texts.prompt_lengths
    x = text_features(texts.chosen, texts.chosen_lengths, starts)
    x -= text_features(texts.rejected, texts.rejected_lengths, starts)
    weights = fit_bradley_terry(x, ridge=1e-3)
    tokens, lengths = tree.texts()
    scores = (text_features(tokens, lengths, np.full(len(tokens), 2)) @ weights).reshape(gold.shape)
    for p in range(tree.n_prompts):
        assert np.corrcoef(scores[p], gold[p])[0, 1] > 0.998


# Read from a file --------------------------------------------------------------------------------

GOOD = '{"prompt": "ab", "chosen": "c", "rejected": "defab"}'


def read(tmp_path, *lines, limit=5):
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return read_preferences(path, LETTER_TOKENS, TextShape(max_new_tokens=limit))


def test_preferences_from_a_file(tmp_path):
    """EOS is added, but to an answer that the limit cut off."""
    pairs = read(tmp_path, GOOD, "", '{"rejected": "a", "chosen": "", "prompt": "b"}')
    assert pairs.prompt_lengths.tolist() == [2, 1]
    assert pairs.chosen.tolist() == [[0, 1, 2, EOS, PAD, PAD, PAD], [1, EOS, *[PAD] * 5]]
    assert pairs.rejected.tolist() == [[0, 1, 3, 4, 5, 0, 1], [1, 0, EOS, *[PAD] * 4]]
    assert (pairs.chosen_lengths.tolist(), pairs.rejected_lengths.tolist()) == ([4, 2], [7, 3])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2 of .*pairs.jsonl': this is no JSON"),
        (
            "[]",
            "line 2 of .* an object with the keys .* got list",
        ),
        ('{"prompt": "ab", "chosen": "a"}', r"got \['chosen', 'prompt'\]"),
        ('{"prompt": "ab", "chosen": 3, "rejected": ""}', "'chosen' must be a text, got 3"),
        ('{"prompt": "ab", "chosen": "xyz", "rejected": ""}', "line 2 .* the letters of this task"),
        ('{"prompt": "", "chosen": "a", "rejected": ""}', "line 2 .* at least one"),
        ('{"prompt": "abc", "chosen": "a", "rejected": ""}', "at most 2 tokens; got 3"),
        ('{"prompt": "ab", "chosen": "a", "rejected": "abcdef"}', "'rejected' has 6 tokens"),
        ('{"prompt": "ab", "chosen": "a", "rejected": "a"}', "line 2 .* are both 'a'"),
    ],
)
def test_a_malformed_line_is_named(tmp_path, line, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, GOOD, line)


def test_further_keys_are_not_looked_at(tmp_path):
    """Not even a separator of lines in one of them, which JSON allows within a text."""
    line = GOOD.replace("{", '{"id": 3, "note": "one\u2028two\x85three", ')
    pairs = read(tmp_path, line, GOOD)
    np.testing.assert_array_equal(pairs.chosen[0], pairs.chosen[1])
    with pytest.raises(DataError, match="line 2 of"):
        read(tmp_path, line, "{")


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match="holds no preferences"):
        read(tmp_path, "", "")
    with pytest.raises(DataError, match=r"missing.jsonl' cannot be read"):
        read_preferences(tmp_path / "missing.jsonl", LETTER_TOKENS, TextShape())


def test_a_reward_learned_from_a_file(tmp_path):
    """Everybody prefers c to d as the first letter."""
    lines = ['{"prompt": "ab", "chosen": "c", "rejected": "d"}'] * 50
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    for name in ("linear", "learned", "mlp", "tabular"):
        env = TokenGeneration(reward=name, preferences=str(path))
        scores = env.score(np.array([[0, 1, 2, EOS], [0, 1, 3, EOS]]), np.array([4, 4]))
        assert scores[0] > scores[1] + 1
    env = TokenGeneration()
    pairs = env.preferences(rng=np.random.default_rng(0), source=str(path))
    assert len(pairs.chosen) == 50


def test_sampled_preferences_follow_the_reward():
    """The share of pairs whose better text is preferred is the mean of σ(|difference|)."""
    env = TokenGeneration()
    for source in ("gold", "reward"):
        pairs = env.preferences(4000, rng=np.random.default_rng(0), source=source)
        better = env.score(pairs.chosen, pairs.chosen_lengths)
        worse = env.score(pairs.rejected, pairs.rejected_lengths)
        np.testing.assert_array_equal(pairs.chosen[:, :2], pairs.rejected[:, :2])
        gap = np.abs(better - worse)[better != worse]
        wanted = 1 / (1 + np.exp(-gap))
        error = np.sqrt(np.sum(wanted * (1 - wanted))) / len(gap)
        assert abs(np.mean((better > worse)[better != worse]) - wanted.mean()) < 4 * error


def test_a_task_without_gold_has_no_gold_preferences():
    env = TokenGeneration(reward=["gold", "gold"])
    with pytest.raises(SettingError, match="no gold reward to prefer by: use source='reward'"):
        env.preferences(rng=np.random.default_rng(0))
