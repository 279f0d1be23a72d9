"""Tasks of other vocabularies, prompts and lengths, with an exact answer and without."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from registry.errors import InvalidObservationError, OracleError, SettingError
from registry.texts import LetterVocabulary
from rlsuite_envs.tokens.shapes import check_prompts
from rlsuite_envs.tokens.token_generation import TokenGeneration
from rlsuite_envs.vector.tokens import token_generation


class Digits:
    """Three digits, and EOS between them: token 1."""

    size, eos = 4, 1

    def encode(self, text):
        return [{"0": 0, "1": 2, "2": 3}[digit] for digit in text]

    def decode(self, tokens):
        return "".join({0: "0", 2: "1", 3: "2"}.get(token, "") for token in tokens)


class DigitReference:
    """Prefers to repeat the last token; never writes 2 after 0."""

    vocabulary, vocab_size, context = Digits(), 4, 30

    def log_probs(self, tokens, lengths):
        last = tokens[np.arange(len(tokens)), lengths - 1]
        weights = np.ones((len(tokens), 4)) + 2.0 * (np.arange(4) == last[:, None])
        weights[last == 0, 3] = 0.0
        with np.errstate(divide="ignore"):
            return np.log(weights / weights.sum(axis=1, keepdims=True))


def digit_reward(tokens, lengths):
    return np.array([row[:n].sum() - n for row, n in zip(tokens, lengths, strict=True)], float)


SMALL = {
    "reference": DigitReference(),
    "reward": digit_reward,
    "prompts": ["0", "12"],
    "max_new_tokens": 3,
}
LARGE = {**SMALL, "max_new_tokens": 12}


def test_the_oracle_of_another_vocabulary_is_the_enumeration():
    env, total = TokenGeneration(**SMALL), []
    model = DigitReference()
    for prompt in ((0,), (2, 3)):
        mass = []
        for n in range(4):
            for word in itertools.product((0, 2, 3), repeat=n):
                text = [*prompt, *word, *([1] if n < 3 else [])]
                log_ref = sum(
                    model.log_probs(np.array([text[:t]]), np.array([t]))[0, text[t]]
                    for t in range(len(prompt), len(text))
                )
                reward = sum(text) - len(text) - (0.5 if n == 3 else 0.0)
                mass.append(math.exp(log_ref + reward / 0.4))
        total.append(0.4 * math.log(math.fsum(mass)))
    assert env.oracle().optimal_return == pytest.approx(sum(total) / 2, abs=1e-10)


@pytest.mark.parametrize("keywords", [SMALL, LARGE], ids=["table", "asked"])
def test_an_episode_of_another_vocabulary(keywords):
    env = TokenGeneration(**keywords)
    assert env.world.tabulated == (keywords is SMALL)
    check_env(env, skip_render_check=True)
    observation, info = env.reset(seed=0, options={"prompt": "12"})
    width = 2 + env.max_new_tokens
    assert observation["tokens"].tolist() == [2, 3, *[4] * (width - 2)]
    assert info["action_mask"].tolist() == [1, 1, 1, 1]
    observation, _, _, _, info = env.step(0)
    assert observation["action_mask"].tolist() == [1, 1, 1, 0]
    assert info["ref_logprob"] == pytest.approx(math.log(1 / 6))
    assert "gold" not in info
    observation, reward, ended, _, info = env.step(1)
    assert ended
    assert reward == info["score"] == 2 + 3 + 0 + 1 - 4
    assert env.action_masks().tolist() == [1] * 4


def test_a_task_without_a_table_takes_other_prompts():
    env = TokenGeneration(**LARGE)
    observation, _ = env.reset(seed=0, options={"prompt": [3, 0]})
    assert observation["tokens"][:3].tolist() == [3, 0, 4]
    env.step(2)
    state = json.loads(json.dumps(env.get_state()))
    assert state["prompt"] == [3, 0]
    other = TokenGeneration(**LARGE)
    other.set_state(state)
    assert other.get_state() == state
    np.testing.assert_array_equal(other.step(0)[0]["tokens"], env.step(0)[0]["tokens"])
    vector = token_generation(2, **LARGE)
    vector.reset(seed=0, options={"prompt": [3, 0]})
    assert vector._row(1) == {"prompt": [3, 0], "written": []}
    env.reset(options={"prompt": [1, 2]})  # EOS begins texts here, as it does in GPT-2
    observation, reward, *_ = env.step(1)
    text = observation["tokens"][None], np.array([observation["length"]])
    assert env.score(*text, np.array([2])) == reward == 1 + 2 + 1 - 3
    with pytest.raises(SettingError, match="a prompt of this task has at most 2 tokens; got 3"):
        env.reset(options={"prompt": [3, 0, 0]})
    with pytest.raises(SettingError, match="from 0 to 3, those of the vocabulary"):
        env.reset(options={"prompt": [4]})


def test_too_many_texts_have_no_exact_answer():
    env = TokenGeneration(reward=digit_reward, max_new_tokens=30)
    with pytest.raises(OracleError, match=r"this task has 10\^\d+ texts, .* sample estimates"):
        env.oracle()


def test_the_pictures_of_a_long_text():
    for mode in ("ansi", "rgb_array"):
        env = TokenGeneration(**LARGE, render_mode=mode)
        env.reset(seed=0)
        for token in (0, 2, 0, 2, 0, 2, 0, 2, 1):
            env.step(token)
            assert env.render() is not None
    assert TokenGeneration(**SMALL).get_keys_to_action() == {("\r",): 1}


def test_scores_of_prompts_of_unlike_lengths_need_them():
    env = TokenGeneration(**SMALL)
    tokens, lengths = np.array([[0, 2, 1, 4, 4]]), np.array([3])
    with pytest.raises(SettingError, match="of unlike lengths: pass prompt_lengths"):
        env.score(tokens, lengths)
    assert env.score(tokens, lengths, np.array([1])).tolist() == [0.0]
    with pytest.raises(InvalidObservationError, match="token 1 at place 1 of row 0"):
        env.score(np.array([[0, 1, 1, 4, 4]]), lengths, np.array([1]))


def test_longer_limits_for_rewards_of_ones_own():
    env = TokenGeneration(reward={"abcabc": 1.0}, max_new_tokens=6)
    assert not env.world.has_gold
    assert env.oracle(beta=0).optimal_return == 1.0 - 0.5
    with pytest.raises(SettingError, match="max_new_tokens must be from 1 to 5 for reward='mlp'"):
        TokenGeneration(reward="mlp", max_new_tokens=6)


class Wide(DigitReference):
    vocab_size = 5


class Short(DigitReference):
    context = 4


def reference_of(size, eos):
    """A reference model whose vocabulary says this of itself."""
    model = DigitReference()
    model.vocabulary = Digits()
    model.vocabulary.size, model.vocabulary.eos = size, eos
    return model


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompts": None}, r"has a vocabulary of its own: name the prompts"),
        ({"prompts": "12"}, "prompts must be a list of texts or of token lists, got '12'"),
        ({"prompts": []}, "prompts must be at least one, and all of them different"),
        ({"prompts": ["0", [0]]}, "all of them different"),
        ({"prompts": [[]]}, "a text or a list of token numbers, at least one"),
        ({"prompts": [[0.5]]}, "a list of token numbers"),
        ({"prompts": [[0, 4]]}, "whole numbers from 0 to 3, those of the vocabulary"),
        ({"reward": "gold"}, "scores the letters abcdef alone"),
        ({"reward": {"0": 1.0}}, "a reward table spells completions in letters"),
        ({"reward": []}, "at least one reward model, got an empty list"),
        ({"reward_scales": [1, 2]}, "reward_scales must be 1 finite numbers"),
        ({"reward_scales": [math.nan]}, "finite numbers, one per reward"),
        ({"reward_scales": "1"}, "finite numbers, one per reward"),
        ({"preferences": 10}, "preferences are what a learned reward is fitted to"),
        ({"reference": Wide()}, "gives 5 tokens, its vocabulary has 4"),
        (
            {"reference": reference_of(4, 4)},
            "EOS is one of the tokens of the reference model DigitReference, 0 to 3, and never "
            "PAD, which is 4; its vocabulary has eos=4",
        ),
        ({"reference": reference_of(4, -1)}, "its vocabulary has eos=-1"),
        ({"reference": reference_of(4, None)}, "needs whole numbers.*got size=4, eos=None"),
        ({"reference": reference_of(1, 0)}, "at least 2.*got size=1, eos=0"),
        ({"reference": Short()}, "a prompt of this task has at most 1 tokens; got 2"),
        ({"reference": Short(), "max_new_tokens": 4}, "leaves no room for a prompt"),
    ],
)
def test_malformed_tasks(change, message):
    with pytest.raises(SettingError, match=message):
        TokenGeneration(**{**SMALL, **change})


def test_letters_that_are_not_of_the_task():
    with pytest.raises(SettingError, match=r"the letters of this task are 'ab'; got \['c', 'd'\]"):
        check_prompts(["acd"], LetterVocabulary("ab"))


def test_models_that_agents_save_are_named_by_their_folder():
    for keyword, name in (("reference", "TextModel"), ("reward", "TextReward")):
        with pytest.raises(SettingError, match="reads models that agents have saved: name the fol"):
            TokenGeneration(**{keyword: f"rlsuite/{name}-v0"})
