"""Models of texts as folders: round trips, damage, and policies that start from them."""

import json

import gymnasium as gym
import numpy as np
import pytest
import torch

from registry.errors import CheckpointError, SettingError, UnsupportedSpaceError
from registry.texts import LetterVocabulary
from rlsuite_agents.parts.text_models import (
    load_text_model,
    load_text_reward,
    save_text_model,
    save_text_reward,
    starting_policy,
    text_task,
)
from rlsuite_agents.parts.text_policy import TextPolicy
from rlsuite_agents.parts.text_reward import TextReward
from rlsuite_agents.parts.transformer import Transformer, TransformerConfig

LETTERS = LetterVocabulary("abcdef")
TOKENS = np.array([[0, 1, 2, 7], [3, 4, 6, 7]])
LENGTHS = np.array([3, 3])


class Task:
    """What `starting_policy` looks at."""

    vocabulary, prompts, max_new_tokens = LETTERS, ((0, 1), (2,)), 5

    class reference_model:
        @staticmethod
        def log_probs(tokens, lengths):
            return np.tile(np.log(np.arange(1, 8) / 28), (len(tokens), 1))


def network(seed=0, context=8):
    config = TransformerConfig(vocabulary=7, context=context, layers=1, width=8, heads=2)
    return Transformer(config, np.random.default_rng(seed))


def start(what, task=Task, **keywords):
    made = {"layers": 1, "width": 8, "heads": 2, "device": torch.device("cpu"), **keywords}
    return starting_policy(what, task, rng=np.random.default_rng(1), **made)


def test_a_policy_survives_its_folder(tmp_path):
    policy = TextPolicy(network(), temperature=0.5)
    digest = save_text_model(policy, tmp_path / "new" / "model", LETTERS)
    loaded = load_text_model(tmp_path / "new" / "model")
    np.testing.assert_array_equal(
        loaded.log_probs(TOKENS, LENGTHS), policy.log_probs(TOKENS, LENGTHS)
    )
    assert (loaded.vocabulary, loaded.vocab_size, loaded.context) == (LETTERS, 7, 8)
    assert loaded.digest == digest == save_text_model(policy, tmp_path / "again", LETTERS)
    assert json.loads((tmp_path / "again" / "config.json").read_text()) == {
        "rlsuite": "text_model",
        "format": 1,
        "size": 7,
        "eos": 6,
        "letters": "abcdef",
    }


def test_a_reward_model_survives_its_folder(tmp_path):
    reward = TextReward(network(), shift=0.25)
    assert np.all(reward.score(TOKENS, LENGTHS) == -0.25), "it starts at 0"
    with torch.no_grad():
        reward.head += torch.linspace(-1, 1, 9)
    digest = save_text_reward(reward, tmp_path, LETTERS)
    loaded = load_text_reward(tmp_path)
    np.testing.assert_array_equal(loaded.score(TOKENS, LENGTHS), reward.score(TOKENS, LENGTHS))
    assert (loaded.vocabulary, loaded.vocab_size, loaded.context) == (LETTERS, 7, 8)
    assert loaded.digest == digest


def test_a_score_is_read_at_the_last_token():
    """Padding changes nothing, the last token and those before it do."""
    reward = TextReward(network())
    with torch.no_grad():
        reward.head += torch.linspace(-1, 1, 9)
    score = reward.score(TOKENS, LENGTHS)
    other = TOKENS.copy()
    other[:, 3] = 5
    np.testing.assert_array_equal(reward.score(other, LENGTHS), score)
    for place in range(3):
        other = TOKENS.copy()
        other[:, place] = 5
        assert np.all(reward.score(other, LENGTHS) != score)


def test_a_policy_starts_as_the_reference_at_random_or_from_a_folder(tmp_path):
    reference = start("reference", temperature=2.0, value_head=True)
    wanted = np.sqrt(np.arange(1, 8))
    np.testing.assert_allclose(
        np.exp(reference.log_probs(TOKENS, LENGTHS)), np.tile(wanted / wanted.sum(), (2, 1)), 1e-5
    )
    assert reference.value_head
    random = start("random")
    assert random.reference is None
    assert np.ptp(random.log_probs(TOKENS, LENGTHS)) > 0
    save_text_model(random, tmp_path, LETTERS)
    again = start(str(tmp_path))
    np.testing.assert_array_equal(
        again.log_probs(TOKENS, LENGTHS), random.log_probs(TOKENS, LENGTHS)
    )


def test_what_cannot_be_a_model(tmp_path):
    with pytest.raises(SettingError, match="is no model alone"):
        save_text_model(start("reference"), tmp_path, LETTERS)
    with pytest.raises(CheckpointError, match="there is no folder 'nowhere'"):
        start("nowhere")
    with pytest.raises(CheckpointError, match=r"no model in .*config\.json cannot be read"):
        start(str(tmp_path))
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be made"):
        save_text_model(start("random"), tmp_path / "file", LETTERS)


def test_models_that_do_not_fit_the_task(tmp_path):
    save_text_model(TextPolicy(network(context=6)), tmp_path / "short", LETTERS)
    with pytest.raises(SettingError, match="reads texts of at most 6 tokens, but the task's have"):
        start(str(tmp_path / "short"))
    save_text_model(TextPolicy(network()), tmp_path / "other", LETTERS)

    class Longer(Task):
        vocabulary = LetterVocabulary("abcdefgh")

    with pytest.raises(SettingError, match="has 7 tokens, but the task's vocabulary has 9"):
        start(str(tmp_path / "other"), Longer)

    class Other(Task):
        vocabulary = LetterVocabulary("abcxef")

    with pytest.raises(SettingError, match="token 3 is 'd' there and 'x' here"):
        start(str(tmp_path / "other"), Other)


def test_damage_is_seen(tmp_path):
    save_text_model(TextPolicy(network()), tmp_path, LETTERS)
    file = tmp_path / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match="do not match its checksum"):
        load_text_model(tmp_path)
    with pytest.raises(CheckpointError, match=r"is damaged"):
        load_text_reward(tmp_path)
    file.unlink()
    with pytest.raises(CheckpointError, match="does not exist"):
        load_text_model(tmp_path)


def test_a_policy_is_no_reward_model(tmp_path):
    save_text_model(TextPolicy(network()), tmp_path, LETTERS)
    with pytest.raises(CheckpointError, match="is a checkpoint of 'rlsuite/TextModel-v0'"):
        load_text_reward(tmp_path)


def test_an_environment_without_texts():
    env = gym.make("CartPole-v1")
    with pytest.raises(UnsupportedSpaceError, match="SFT learns on token tasks"):
        text_task(env, "SFT")
    env.close()
