"""Supervised fine-tuning: its loss by hand, what it converges to, and what it leaves behind."""

import math

import gymnasium as gym
import numpy as np
import pytest
import torch

import rlsuite  # noqa: F401  registers the task
from registry.errors import CheckpointError, SettingError, UnsupportedSpaceError
from rlsuite_agents.alignment.sft import SFT, SFTConfig
from rlsuite_agents.parts.text_data import TextData
from rlsuite_agents.parts.text_policy import completion_mask

TASK = "rlsuite/TokenGeneration-v0"
SMALL = {"n_texts": 64, "width": 16, "layers": 1, "batch_size": 8}


def agent(seed=0, env=None, **settings):
    return SFT(env or gym.make(TASK), SFTConfig(**{**SMALL, **settings}), seed=seed)


def test_the_loss_is_the_mean_over_new_tokens():
    """The slow twin: one next-token distribution after the other, prompts left out, EOS in."""
    sft = agent()
    sft.update(np.arange(5))
    texts, log_likelihood, count = sft.texts.rows(np.arange(5)), 0.0, 0
    fresh = agent()
    for tokens, length, start in zip(
        texts.tokens, texts.lengths, texts.prompt_lengths, strict=True
    ):
        for t in range(start, length):
            log_pi = fresh.policy.log_probs(tokens[None, :t], np.array([t]))
            log_likelihood, count = log_likelihood + log_pi[0, tokens[t]], count + 1
    assert sft.metrics.tokens == count
    assert sft.metrics.loss == pytest.approx(-log_likelihood / count, rel=1e-5)
    assert sft.metrics.perplexity == pytest.approx(math.exp(sft.metrics.loss))


def test_stopping_is_learned(tmp_path):
    """One text, with its EOS: after it is learned, the policy writes exactly this."""
    file = tmp_path / "texts.jsonl"
    file.write_text('{"prompt": "ab", "completion": "cad"}\n')
    sft = agent(texts=str(file), n_texts=None, held_out=0.5, learning_rate=0.01)
    assert len(sft.texts) == 1, "the last text is never held out"
    sft.learn(200)
    wrote = sft.policy.sample(np.array([[0, 1]]), np.array([2]), np.full((1, 5), 0.5), eos=6, pad=7)
    assert wrote.tokens.tolist() == [[0, 1, 2, 0, 3, 6, 7]]
    assert sft.metrics.perplexity < 1.05
    with pytest.raises(SettingError, match="no text was held out"):
        sft.perplexity()


def test_it_comes_near_the_reference_and_a_folder_of_it_is_one(tmp_path):
    """Perplexity on held-out texts within 2 % of the reference's own on the same texts."""
    env = gym.make(TASK)
    sft = SFT(env, SFTConfig(), seed=0).learn(15_000)
    held, task = sft.held_out, env.unwrapped
    rows, new = np.nonzero(completion_mask(held.lengths, held.prompt_lengths, 5))
    places = held.prompt_lengths[rows] + new
    log_ref = task.reference_model.log_probs(held.tokens[rows], places)
    own = log_ref[np.arange(len(rows)), held.tokens[rows, places]]
    assert sft.perplexity() < 1.02 * math.exp(-own.mean())
    digest = sft.save_model(tmp_path / "model")
    other = gym.make(TASK, reference=str(tmp_path / "model")).unwrapped
    assert other.reference_model.digest == digest
    follower = agent(env=gym.make(TASK, reference=str(tmp_path / "model")), start="random")
    assert follower.task.reference_model.digest == digest
    started = SFT(env, SFTConfig(start=str(tmp_path / "model")), seed=5)
    observation = {"tokens": held.tokens[:3], "length": np.array([2, 2, 2])}
    np.testing.assert_allclose(
        started.action_probabilities(observation, deterministic=False),
        sft.action_probabilities(observation, deterministic=False),
        rtol=1e-6,
    )


@pytest.mark.parametrize(("preset", "same"), [("exact", True), ("paper", False)])
def test_the_mean_gradient_of_minibatches_is_that_of_all_texts(preset, same):
    """A constant divisor: each text weighs the same. That of tokens: less beside long ones."""
    sft = agent(preset=preset, n_texts=64, held_out=0.0, max_grad_norm=1e9)
    gradients = []

    def note(closure=None):
        parts = [p.grad.ravel() for p in sft.policy.parameters() if p.grad is not None]
        gradients.append(torch.cat(parts).numpy().copy())

    sft.optimizer.step = note
    for rows in [np.arange(64), *np.argsort(sft.texts.lengths, kind="stable").reshape(4, 16)]:
        sft.update(rows)
    whole, *parts = gradients
    apart = np.abs(np.mean(parts, axis=0) - whole).max() / np.abs(whole).max()
    assert bool(apart < 1e-4) is same


def test_the_best_of_many_are_better():
    env = gym.make(TASK)
    rewards = []
    for best_of in (1, 8):
        sft = agent(env=env, n_texts=1_000, best_of=best_of).learn(4_000)
        batch = env.unwrapped.rollout(sft.policy, 500, rng=np.random.default_rng(0))
        rewards.append(batch.rewards.mean())
    assert rewards[1] > rewards[0] + 0.5


def test_a_checkpoint_goes_on_in_the_middle_of_a_minibatch(tmp_path):
    whole = agent().learn(101)
    half = agent().learn(43)
    half.save(tmp_path / "half")
    again = SFT.load(tmp_path / "half", env=gym.make(TASK)).learn(58)
    for name, weights in whole.policy.arrays().items():
        np.testing.assert_array_equal(again.policy.arrays()[name], weights)
    assert again.perplexity() == whole.perplexity()


def test_other_texts_are_refused(tmp_path):
    file = tmp_path / "texts.jsonl"
    file.write_text('{"prompt": "ab", "completion": "cad"}\n')
    agent(texts=str(file), n_texts=None).save(tmp_path / "agent")
    file.write_text('{"prompt": "ab", "completion": "cab"}\n')
    with pytest.raises(CheckpointError, match="has learned from other texts than these"):
        SFT.load(tmp_path / "agent", env=gym.make(TASK))


def test_handed_over_texts():
    sft = agent()
    texts = TextData(np.array([[0, 1, 6]]), np.array([3]), np.array([2]))
    log_pi = sft.policy.log_probs(np.array([[0, 1]]), np.array([2]))[0, 6]
    assert sft.perplexity(texts) == pytest.approx(math.exp(-log_pi), rel=1e-5)


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"start": "reference"}, "start must be 'random' or a folder"),
        ({"texts": "x.jsonl", "best_of": 2}, "best_of is read only where texts is 'reference'"),
        ({"texts": "x.jsonl", "n_texts": 9}, "n_texts is read only where texts is 'reference'"),
        ({"aggregate": "sequence"}, "aggregate must be one of 'constant', 'token', got 'seq"),
        ({"held_out": 1.0}, r"held_out must be a number in \[0, 1\)"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1"),
        ({"start": "folder", "width": 8}, "width is the shape of a new transformer"),
    ],
)
def test_settings_that_are_refused(settings, what):
    with pytest.raises(SettingError, match=what):
        SFTConfig(**settings)


def test_where_there_are_no_texts():
    with pytest.raises(UnsupportedSpaceError, match="SFT learns on token tasks"):
        SFT(gym.make("CartPole-v1"), seed=0)


def test_it_tells_each_update():
    sft, told = agent(), []
    sft.on_update = told.append
    sft.learn(24)
    assert [m.num_timesteps for m in told] == [8, 16, 24]
    assert all(torch.isfinite(torch.tensor(m.loss)) for m in told)
