"""The real path: a model of transformers and its tokenizer are tuned, saved, and started from."""

import json
import shutil
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch

import rlsuite
from registry.errors import SettingError
from rlsuite_agents.alignment.reward_model_trainer import (
    RewardModelTrainer,
    RewardModelTrainerConfig,
)
from rlsuite_agents.alignment.sft import SFT, SFTConfig

transformers = pytest.importorskip(
    "transformers", reason="models of Hugging Face need the extra `llm`"
)

TASK = "rlsuite/TokenGeneration-v0"
PROMPTS = ["the cat", "a dog and a cat"]
TEXTS = ["the cat sat on the mat", "a dog and a cat sat there", "the dog ran"] * 20


def short(tokens, lengths):
    """A verifier: texts of few tokens are good."""
    return -np.asarray(lengths, float)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A GPT-2 of one layer, with rows that no token of its BPE tokenizer needs."""
    import tokenizers

    transformers.utils.logging.disable_progress_bar()
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=290, special_tokens=["<end>"], show_progress=False, initial_alphabet=alphabet
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    config = transformers.GPT2Config(
        vocab_size=300, n_positions=24, n_embd=16, n_layer=1, n_head=2,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.GPT2LMHeadModel(config)
    path = tmp_path_factory.mktemp("model")
    model.save_pretrained(path)
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")
    fast.save_pretrained(path)
    return str(path)


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    file = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    rows = [
        '{"prompt": "the cat", "completion": " sat"}',
        '{"prompt": "a dog and a cat", "completion": " ran"}',
    ]
    file.write_text("\n".join(rows * 8))
    return str(file)


def env(reference):
    return gym.make(TASK, reference=reference, reward=short, prompts=PROMPTS, max_new_tokens=6)


def test_a_model_is_tuned_and_is_a_reference_again(folder, lines, tmp_path):
    sft = SFT(env(folder), SFTConfig(texts=lines, start=folder, held_out=0, batch_size=8), seed=0)
    before = sft.perplexity(sft.texts)
    sft.learn(800)
    assert sft.perplexity(sft.texts) < before / 20
    sft.save_model(tmp_path / "tuned")
    tuned = env(str(tmp_path / "tuned")).unwrapped
    batch = tuned.rollout(tuned.reference_model, 2, rng=np.random.default_rng(0), prompts=[0, 1])
    wrote = [
        tuned.vocabulary.decode(row[start:length].tolist())
        for row, start, length in zip(
            batch.tokens, batch.prompt_lengths, batch.lengths, strict=True
        )
    ]
    assert wrote == [" sat", " ran"]


def test_an_agent_starts_as_the_reference_and_learns(folder):
    """KL 0 in the first batch, to float32 precision: two programs, one model."""
    made = env(folder)
    agent = rlsuite.make_agent(
        "rlsuite/RLOO-v0", made, seed=0, start=folder, beta=0.01, n_groups=4, group_size=4
    )
    kls = []
    agent.on_update = lambda metrics: kls.append((metrics.kl, metrics.kl_max))
    agent.learn(300)
    assert max(map(abs, kls[0])) < 1e-4
    assert len(kls) > 1


def test_a_checkpoint_of_a_tuned_model(folder, lines, tmp_path):
    config = SFTConfig(texts=lines, start=folder, batch_size=8)
    whole = SFT(env(folder), config, seed=0).learn(40)
    half = SFT(env(folder), config, seed=0).learn(20)
    half.save(tmp_path / "half")
    again = SFT.load(tmp_path / "half", env=env(folder)).learn(20)
    assert again.perplexity() == whole.perplexity()


def test_a_reward_model_does_not_start_from_it(folder):
    with pytest.raises(SettingError, match="starts from 'random' or a model of ours"):
        RewardModelTrainer(env(folder), RewardModelTrainerConfig(start=folder), seed=0)


def test_a_model_of_fewer_tokens_is_refused(folder, tmp_path):
    letters = gym.make(TASK)
    SFT(letters, SFTConfig(n_texts=8), seed=0).save_model(tmp_path / "letters")
    with pytest.raises(SettingError, match="has 7 tokens, but the task's vocabulary has 2"):
        SFT(env(folder), SFTConfig(start=str(tmp_path / "letters"), n_texts=8), seed=0)


def test_tokens_of_another_tokenizer_are_refused(folder, tmp_path):
    """Of the same number, and with one of them spelt otherwise; or with no tokenizer at all."""
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    spelling = other / "tokenizer.json"
    rows = json.loads(spelling.read_text(encoding="utf-8"))
    words = rows["model"]["vocab"]
    words["!"], words['"'] = words['"'], words["!"]
    spelling.write_text(json.dumps(rows), encoding="utf-8")
    with pytest.raises(SettingError, match=r"other tokens than the task: token \d+ is '.' there"):
        SFT(env(folder), SFTConfig(start=str(other), n_texts=8), seed=0)
    for file in other.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(SettingError, match="holds no tokenizer, so nobody knows"):
        SFT(env(folder), SFTConfig(start=str(other), n_texts=8), seed=0)


def test_a_model_of_more_tokens_is_refused(folder):
    with pytest.raises(SettingError, match="has 280 tokens, but the task's vocabulary has 7"):
        rlsuite.make_agent("rlsuite/GRPO-v0", TASK, start=folder)
