"""Reward models: losses and calibration by hand, what they learn, what they leave behind."""

import dataclasses
import json
import math

import gymnasium as gym
import numpy as np
import pytest

from registry.catalogue import registry
from registry.errors import CheckpointError, PluginError, SettingError, TakenIdError
from registry.specs import Entry, Provenance, TaskSpec
from registry.texts import PreferencePairs
from rlsuite.identity import key_of
from rlsuite.running.payloads import payload_of
from rlsuite.suite import Grid, Suite, choices
from rlsuite_agents.alignment.reward_model_trainer import (
    RewardModelTrainer,
    RewardModelTrainerConfig,
    report_of,
)
from rlsuite_agents.alignment.sft import SFT, SFTConfig
from rlsuite_agents.parts.text_models import load_text_reward

TASK = "rlsuite/TokenGeneration-v0"
SMALL = {"n_pairs": 64, "width": 16, "layers": 1, "batch_size": 8}


def agent(seed=0, env=None, **settings):
    config = RewardModelTrainerConfig(**{**SMALL, **settings})
    return RewardModelTrainer(env or gym.make(TASK), config, seed=seed)


def test_a_report_by_hand():
    """Differences ln 3 (σ = 3/4) twice right, once wrong; one tie.

    Accuracy (2 + ½) / 4. In the bin of 3/4: |3 · 3/4 - 2| = 1/4; in that of 1/2: |½ - ½| = 0.
    """
    d = math.log(3.0)
    report = report_of(np.array([d, d, -d, 0.0]))
    assert report.n == 4
    assert report.accuracy == pytest.approx(2.5 / 4)
    assert report.calibration_error == pytest.approx(0.25 / 4)
    wanted = -(2 * math.log(0.75) + math.log(0.25) + math.log(0.5)) / 4
    assert report.log_loss == pytest.approx(wanted)


def test_it_knows_nothing_at_first():
    model = agent()
    report = model.report(model.pairs)
    assert report.accuracy == 0.5
    assert report.log_loss == pytest.approx(math.log(2))
    model.update(np.arange(8))
    assert model.metrics.loss == pytest.approx(math.log(2))  # before its step
    assert model.metrics.difference == 0


def test_the_paper_s_head_is_drawn():
    """N(0, 1 / (d + 1)), d = 255: a mean square of 1/256, four standard errors of it allowed."""
    model = agent(preset="paper", width=255, heads=1)
    head = model.reward.head.detach().numpy()
    assert head[-1] == 0
    assert np.mean(head[:-1] ** 2) * 256 == pytest.approx(1.0, abs=4 * math.sqrt(2 / 255))
    other = agent(preset="paper", width=255, heads=1, seed=1).reward.head.detach().numpy()
    assert not np.array_equal(head, other)
    assert model.report(model.pairs).log_loss != pytest.approx(math.log(2))


def test_the_margin_is_in_the_loss():
    """All scores 0 and a margin of 1: -log σ(-1)."""
    model = agent(margin=1.0)
    model.update(np.arange(8))
    assert model.metrics.loss == pytest.approx(math.log(1 + math.e), rel=1e-6)


def test_centring_holds_the_scores_near_zero():
    loose, centred = (agent(center=center).learn(2_000) for center in (0.0, 1.0))
    p = loose.pairs

    def offset(model):
        chosen = model.reward.score(p.chosen, p.chosen_lengths)
        return np.mean((chosen + model.reward.score(p.rejected, p.rejected_lengths)) ** 2)

    assert offset(centred) < 0.5 * offset(loose)


def test_it_learns_what_is_preferred_and_is_a_reward_of_the_task(tmp_path):
    """More than half way from knowing nothing (log 2) to the gold reward itself, on new pairs."""
    env = gym.make(TASK)
    model = RewardModelTrainer(env, RewardModelTrainerConfig(n_pairs=8_000), seed=0).learn(21_600)
    task, fresh = env.unwrapped, env.unwrapped.preferences(2_000, rng=np.random.default_rng(99))
    report = model.report(fresh)
    gold = report_of(
        task.score(fresh.chosen, fresh.chosen_lengths)
        - task.score(fresh.rejected, fresh.rejected_lengths)
    )
    assert report.log_loss < (math.log(2) + gold.log_loss) / 2
    assert report.calibration_error < 0.06
    digest = model.save_model(tmp_path / "reward")
    other = gym.make(TASK, reward=str(tmp_path / "reward"), no_eos=0.0).unwrapped
    p = model.pairs
    scores = [other.score(p.chosen, p.chosen_lengths), other.score(p.rejected, p.rejected_lengths)]
    assert np.mean(scores) == pytest.approx(0.0, abs=1e-4), "what is saved has mean 0"
    gap = model.reward.score(p.chosen, p.chosen_lengths) - scores[0]
    np.testing.assert_allclose(gap, gap[0], atol=1e-4)
    assert len(digest) == 64


def test_an_ensemble_by_name(tmp_path, monkeypatch):
    """Two that were trained apart, one of them registered, and the gold reward: their mean."""
    env, rng = gym.make(TASK, no_eos=0.0), np.random.default_rng(0)
    folders = [str(tmp_path / "one"), str(tmp_path / "two")]
    models = [agent(seed, env).learn(60) for seed in (1, 2)]
    for model, folder in zip(models, folders, strict=True):
        model.save_model(folder, zero_mean=False)
    entry = Entry(
        kind="reward_model",
        id="mine/Second-v0",
        entry_point="mine:second",
        provenance=Provenance(distribution="mine", version="1"),
    )
    load = Entry.load
    monkeypatch.setitem(registry._entries["reward_model"], entry.id, entry)
    monkeypatch.setattr(
        Entry,
        "load",
        lambda self: (lambda: load_text_reward(folders[1])) if self is entry else load(self),
    )
    names = ["gold", folders[0], entry.id]
    task = gym.make(TASK, reward=names, reward_scales=[1 / 3] * 3, no_eos=0.0).unwrapped
    batch = task.rollout(task.reference_model, 50, rng=rng)
    texts = batch.tokens, batch.lengths
    parts = [env.unwrapped.score(*texts), *(model.reward.score(*texts) for model in models)]
    assert np.ptp(parts, axis=0).min() > 0, "the test wants three that differ"
    np.testing.assert_allclose(batch.scores, np.transpose(parts) / 3, atol=1e-5)
    np.testing.assert_allclose(batch.rewards, np.mean(parts, axis=0), atol=1e-5)
    np.testing.assert_allclose(task.score(*texts), batch.rewards, atol=1e-5)
    prompt, answer = batch.tokens[0, :2], batch.tokens[0, 2 : batch.lengths[0]]
    task.reset(options={"prompt": tuple(prompt)})
    *_, (_, reward, _, _, info) = [task.step(token) for token in answer]
    np.testing.assert_allclose(info["scores"], batch.scores[0], atol=1e-5)
    assert reward == pytest.approx(batch.rewards[0], abs=1e-5)


def test_its_product_is_registered(tmp_path, monkeypatch):
    """Under an id, for this process and for workers; the key of a cell knows the weights."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(registry._entries, "reward_model", dict(registry._entries["reward_model"]))
    model = agent().learn(60)
    assert len(model.register("mine/Helpful-v0", "reward")) == 64
    p = model.pairs
    by_id, by_path = (
        gym.make(TASK, reward=reward).unwrapped.score(p.chosen, p.chosen_lengths)
        for reward in ("mine/Helpful-v0", "./reward")
    )
    np.testing.assert_array_equal(by_id, by_path)
    task = TaskSpec(id=TASK, env_id=TASK, env_kwargs={"reward": "mine/Helpful-v0"})
    grid = Grid(tasks=(task,), agents=choices(["rlsuite/RLOO-v0"]), seeds=(0,))
    (cell,) = Suite("one", (grid,)).cells()
    ((name, (_, (file, _), (weights, before))),) = key_of(cell).identity["named"]
    assert (name, file, weights) == ("mine/Helpful-v0", "config.json", "model.safetensors")
    payload = json.loads(payload_of(cell, key_of(cell), settings={}, fingerprint={}))
    (carried,) = (e for e in payload["catalogue"] if e["id"] == "mine/Helpful-v0")
    assert carried["meta"] == {"folder": str(tmp_path / "reward")}
    model.learn(64).save_model("reward")
    assert key_of(cell).identity["named"][0][1][2][1] != before
    with pytest.raises(TakenIdError, match="'mine/Helpful-v0' is taken"):
        model.register("mine/Helpful-v0", "other")
    assert not (tmp_path / "other").exists()
    with pytest.raises(PluginError, match="an id reads 'namespace/Name-vN'"):
        model.register("helpful", "other")


def test_it_starts_from_what_sft_saved(tmp_path):
    env = gym.make(TASK)
    SFT(env, SFTConfig(n_texts=64, width=16), seed=0).save_model(tmp_path / "model")
    config = RewardModelTrainerConfig(start=str(tmp_path / "model"), n_pairs=64)
    model = RewardModelTrainer(env, config, seed=0)
    assert model.reward.network.width == 16
    assert model.report(model.pairs).accuracy == 0.5
    before = model.reward.network.tokens.detach().clone()
    model.learn(200)  # at the first step the head is 0, and nothing reaches the network
    assert not np.array_equal(before, model.reward.network.tokens.detach())


def test_as_an_agent_it_is_the_reference():
    env = gym.make(TASK)
    observation = {"tokens": np.array([[0, 1, 7, 7, 7, 7, 7]]), "length": np.array([2])}
    got = agent(env=env).action_probabilities(observation, deterministic=False)
    wanted = env.unwrapped.reference_model.log_probs(observation["tokens"], observation["length"])
    np.testing.assert_allclose(got, np.exp(wanted), rtol=1e-12)


def test_a_checkpoint_goes_on_in_the_middle_of_a_minibatch(tmp_path):
    whole = agent().learn(101)
    half = agent().learn(43)
    half.save(tmp_path / "half")
    again = RewardModelTrainer.load(tmp_path / "half", env=gym.make(TASK)).learn(58)
    assert again.report() == whole.report()
    for name, weights in whole.reward.arrays().items():
        np.testing.assert_array_equal(again.reward.arrays()[name], weights)


def test_preferences_of_a_file_and_other_ones(tmp_path):
    file = tmp_path / "pairs.jsonl"
    line = '{"prompt": "ab", "chosen": "c", "rejected": "f"}\n'
    file.write_text(line)
    model = agent(preferences=str(file), n_pairs=None, learning_rate=0.01).learn(100)
    score = model.reward.score(np.array([[0, 1, 2, 6], [0, 1, 5, 6]]), np.array([4, 4]))
    assert score[0] > score[1] + 1
    with pytest.raises(SettingError, match="no pair was held out"):
        model.report()
    model.save(tmp_path / "agent")
    file.write_text(line.replace('"c"', '"d"'))
    with pytest.raises(CheckpointError, match="has learned from other preferences"):
        RewardModelTrainer.load(tmp_path / "agent", env=gym.make(TASK))


def test_padding_is_never_scored():
    model = agent().learn(64)
    wide = {
        f.name: np.pad(value, ((0, 0), (0, 3)), constant_values=7) if value.ndim == 2 else value
        for f in dataclasses.fields(PreferencePairs)
        for value in [getattr(model.pairs, f.name)]
    }
    one, other = model.report(model.pairs), model.report(PreferencePairs(**wide))
    assert one == other


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"start": "reference"}, "start must be 'random' or a folder"),
        ({"margin": -1.0}, r"margin must be a number in \[0, inf\)"),
        ({"center": -1.0}, r"center must be a number in \[0, inf\)"),
        ({"n_pairs": 0}, "n_pairs must be a whole number of at least 1"),
        ({"preferences": "x.jsonl", "n_pairs": 3}, "n_pairs is read only where preferences is"),
        ({"head": "ones"}, "head must be one of 'zero', 'normal', got 'ones'"),
        ({"start": "folder", "heads": 2}, "heads is the shape of a new transformer"),
    ],
)
def test_settings_that_are_refused(settings, what):
    with pytest.raises(SettingError, match=what):
        RewardModelTrainerConfig(**settings)
