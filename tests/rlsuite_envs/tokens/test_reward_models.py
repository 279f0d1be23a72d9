"""Reward models: gold by hand, the learned one's promises, users' models, what is refused."""

from __future__ import annotations

import math
from contextlib import nullcontext

import gymnasium as gym
import numpy as np
import pytest

import rlsuite  # noqa: F401  (registers the models)
from registry.catalogue import registry
from registry.errors import InvalidObservationError, SettingError, UnknownIdError
from registry.specs import Entry, Provenance
from registry.texts import LetterVocabulary
from rlsuite_envs.tokens.feature_reward import GOLD, FeatureReward, all_feature_scores
from rlsuite_envs.tokens.learned import fitted_reward, learned_reward
from rlsuite_envs.tokens.preferences import sample_preferences
from rlsuite_envs.tokens.reference_models import MarkovReference, markov_reference
from rlsuite_envs.tokens.reward_models import (
    FunctionReward,
    TableReward,
    gold_reward,
    resolve_reward,
)
from rlsuite_envs.tokens.scoring import Judge, scores_of
from rlsuite_envs.tokens.shapes import DEFAULT_SHAPE, LETTER_TOKENS, TextShape
from rlsuite_envs.tokens.tables import BIGRAM, EOS, PAD, POSITION
from rlsuite_envs.tokens.tabulation import tabulate
from rlsuite_envs.tokens.tree import prefix_tree

TREE = prefix_tree(5)
REFERENCE = tabulate(markov_reference(), "'markov'", TREE)


def resolve(reward):
    """What the keyword stands for in the default task."""

    def learn(name):
        return fitted_reward(name, REFERENCE, DEFAULT_SHAPE)

    return resolve_reward(reward, LETTER_TOKENS, DEFAULT_SHAPE, learn)


def text(*tokens):
    return np.array([tokens]), np.array([len(tokens)])


def test_gold_by_hand():
    """Prompt ab, then c, a: pos[0,c] + big[b,c] - .05 + pos[1,a] + big[c,a] - .05."""
    wanted = -0.25 + 0.25 - 0.05 - 0.5 + 0.0 - 0.05
    assert GOLD.score(*text(0, 1, 2, 0, EOS)) == pytest.approx(wanted)
    assert GOLD.score(*text(0, 1, EOS)) == 0.0


def test_gold_against_the_sum_written_out():
    tokens, lengths = TREE.texts()
    rows = np.random.default_rng(0).integers(len(tokens), size=200)
    for row in rows:
        terms, previous = [], int(tokens[row, 1])
        for t, letter in enumerate(tokens[row, 2 : lengths[row]]):
            if letter != EOS:
                terms += [POSITION[t][letter], BIGRAM[previous][letter], -0.05]
                previous = int(letter)
        assert GOLD.score(tokens[row : row + 1], lengths[row : row + 1])[0] == math.fsum(terms)


def test_padding_changes_nothing():
    wide = np.array([[0, 1, 2, EOS, PAD, PAD, PAD, PAD, PAD]])
    assert GOLD.score(wide, np.array([4])) == GOLD.score(*text(0, 1, 2, EOS))


def test_gold_refuses_what_it_cannot_score():
    with pytest.raises(SettingError, match=r"texts of at most 5 letters .* got 6: 'aaaaaa'"):
        GOLD.score(*text(0, 1, 0, 0, 0, 0, 0, 0))
    with pytest.raises(InvalidObservationError, match="token 9 at place 2"):
        GOLD.score(*text(0, 1, 9))


def test_learned_ranks_fresh_pairs_nearly_as_well_as_gold():
    gold = all_feature_scores(GOLD, DEFAULT_SHAPE)
    learned = all_feature_scores(learned_reward(), DEFAULT_SHAPE)
    fresh = sample_preferences(TREE, REFERENCE, gold, 2000, np.random.default_rng(2))
    assert fresh.accuracy(learned) >= 0.9 * fresh.accuracy(gold)
    assert fresh.accuracy(gold) == pytest.approx(0.716)
    assert fresh.accuracy(learned) == pytest.approx(0.689)


def test_learned_weights_are_the_same_on_every_machine():
    """Rounded to four decimals; a few of them, literally."""
    model = learned_reward()
    assert model.position[0] == (0.1943, -0.0909, -0.2752, 0.1683, -0.4924, 0.4479)
    assert model.bigram[5] == (0.4455, 0.235, -0.4791, -0.1961, 0.109, 0.2322)
    assert model.length == 0.0928
    for row in (*model.position, *model.bigram):
        assert row == tuple(round(weight, 4) for weight in row)


def test_learned_is_fitted_once_per_process_and_task():
    assert learned_reward() is fitted_reward("learned", REFERENCE, DEFAULT_SHAPE)
    other = tabulate(MarkovReference(np.ones((6, 7))), "uniform", TREE)
    assert fitted_reward("learned", other, DEFAULT_SHAPE) != learned_reward()


def test_learned_knows_nothing_of_positions_it_never_saw():
    reference = tabulate(markov_reference(), "'markov'", prefix_tree(2))
    model = fitted_reward("learned", reference, TextShape(max_new_tokens=2))
    assert np.count_nonzero(model.position[:2]) > 0
    assert np.count_nonzero(model.position[2:]) == 0


def test_a_table_scores_what_is_in_it():
    model = TableReward({"ab": 1, "": -2.0, "bc:ab": 3.5})
    tokens = np.array(
        [[0, 1, 0, 1, EOS], [1, 2, 0, 1, EOS], [0, 1, EOS, PAD, PAD], [0, 1, 2, 2, 2]]
    )
    np.testing.assert_array_equal(
        model.score(tokens, np.array([5, 5, 3, 5])), [1.0, 3.5, -2.0, 0.0]
    )


def test_a_table_with_the_empty_completion_of_one_prompt():
    model = TableReward({"ab:": 1.0})
    np.testing.assert_array_equal(
        model.score(np.array([[0, 1, EOS], [1, 2, EOS]]), np.array([3, 3])), [1.0, 0.0]
    )


@pytest.mark.parametrize("key", ["xyz", "abcdef", "ac:a", "a:b:c", ":", 3])
def test_a_table_with_a_key_that_is_no_completion(key):
    with pytest.raises(SettingError, match="the keys of a reward table are completions of at most"):
        TableReward({key: 1.0})


@pytest.mark.parametrize("score", [math.nan, math.inf, "high", None, True])
def test_a_table_with_a_score_that_is_no_number(score):
    with pytest.raises(SettingError, match=f"must give finite numbers, got {score!r} for 'ab'"):
        TableReward({"ab": score})


def test_what_the_keyword_stands_for():
    class Mine:
        def score(self, tokens, lengths):
            return np.zeros(len(tokens))

    mine = Mine()
    assert resolve("gold") == (GOLD, "'gold'")
    assert resolve("learned") == (learned_reward(), "'learned'")
    assert resolve("rlsuite/GoldReward-v0")[0] is gold_reward()
    assert resolve("rlsuite/LearnedReward-v0")[0] is learned_reward()
    assert resolve(mine) == (mine, "Mine")
    assert resolve(mine.score) == (FunctionReward(mine.score), "score")
    assert isinstance(resolve({"a": 1})[0], TableReward)


@pytest.mark.parametrize("value", ["goldd", 3, None, FeatureReward])
def test_a_keyword_that_stands_for_nothing(value):
    with pytest.raises(SettingError, match="reward must be 'gold', 'learned'"):
        resolve(value)


def test_an_unknown_id_gets_a_hint():
    with pytest.raises(UnknownIdError, match="Did you mean 'rlsuite/GoldReward-v0'"):
        resolve("rlsuite/GoldRewrd-v0")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            [[0.0], [0.0]],
            r"one number per text, shape \(2,\); it returned float64 of shape \(2, 1\)",
        ),
        ([0.0], r"it returned float64 of shape \(1,\)"),
        (0.0, r"it returned float64 of shape \(\)"),
        (None, "it returned object"),
        (["a", "b"], "it returned <U1"),
        ([0.0, math.nan], "it scored the completion 'cd' of the prompt 'bc' with nan"),
        ([-math.inf, 0.0], "it scored the completion '' of the prompt 'ab' with -inf"),
    ],
)
def test_malformed_scores_name_the_model(answer, message):
    tokens = np.array([[0, 1, EOS, PAD], [1, 2, 2, 3]])
    model = FunctionReward(lambda tokens, lengths: answer)
    with pytest.raises(SettingError, match=f"the reward model mine must return .*{message}"):
        scores_of(model, "mine", tokens, np.array([3, 4]))


def test_all_texts_are_scored_in_blocks():
    sizes = []

    def count(tokens, lengths):
        sizes.append(len(tokens))
        return tokens[:, 2].astype(float)

    scores = Judge(FunctionReward(count), "count").all_scores(TREE)
    assert scores.shape == (4, 9331)
    assert max(sizes) <= 4096
    np.testing.assert_array_equal(scores.ravel(), TREE.texts()[0][:, 2])


@pytest.mark.parametrize(
    ("says", "message"),
    [
        (
            {"vocab_size": 300},
            "Reader reads 300 tokens, and this task writes 7 tokens",
        ),
        (
            {"vocab_size": 7, "vocabulary": LetterVocabulary("ghijkl")},
            r"reads 7 tokens \(the letters 'ghijkl', EOS\), and this task writes .* 'abcdef', EOS",
        ),
        (
            {"vocab_size": 7, "context": 6},
            "at most 6 tokens, and those of this task have up to 7",
        ),
        ({"vocab_size": 7, "context": 7, "vocabulary": LETTER_TOKENS}, None),
    ],
)
def test_a_model_of_another_task_is_refused(says, message):
    reader = type("Reader", (), {"score": lambda self, t, n: np.zeros(len(t)), **says})()
    with nullcontext() if message is None else pytest.raises(SettingError, match=message):
        resolve(reader)


def test_a_registered_factory_may_return_a_function(monkeypatch):
    """What a callable keyword may be, a registered model may be as well."""
    entry = Entry(
        kind="reward_model",
        id="mine/Function-v0",
        entry_point="m:f",
        provenance=Provenance(distribution="mine", version="1"),
    )
    monkeypatch.setitem(registry._entries["reward_model"], entry.id, entry)
    monkeypatch.setattr(
        Entry, "load", lambda _: lambda: lambda tokens, lengths: np.full(len(tokens), 2.5)
    )
    env = gym.make("rlsuite/TokenGeneration-v0", reward=entry.id)
    env.reset(seed=0)
    assert env.step(6)[1] == 2.5
    monkeypatch.setattr(Entry, "load", lambda _: lambda: "gold")
    with pytest.raises(SettingError, match="must return a model, a table or a function"):
        gym.make("rlsuite/TokenGeneration-v0", reward=entry.id)
