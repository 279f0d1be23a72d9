"""Every check before training passes healthy agents, and catches the fault planted for it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import gymnasium as gym
import numpy as np
import pytest
import torch

import rlsuite
from registry.errors import SettingError
from registry.specs import AgentSpec, Spaces
from rlsuite.testing import ALIGNMENT_CHECKS, alignment_subject, check_alignment
from rlsuite_agents.alignment.grpo import GRPO
from rlsuite_agents.alignment.rlhf_ppo import RLHFPPO
from rlsuite_agents.alignment.rloo import RLOO, RLOOConfig

TASK, PAD, EOS = "rlsuite/TokenGeneration-v0", 7, 6


class PromptOnly(gym.ObservationWrapper):
    """What was written is not in the state."""

    def observation(self, observation):
        start = int(observation["prompt_length"])
        tokens = np.where(np.arange(7) < start, observation["tokens"], PAD)
        return {**observation, "tokens": tokens, "length": np.int64(start)}


class PadIsEos(gym.ObservationWrapper):
    def observation(self, observation):
        tokens = observation["tokens"]
        return {**observation, "tokens": np.where(tokens == PAD, EOS, tokens)}


class NotANumber(gym.RewardWrapper):
    def reward(self, reward):
        return float("nan") if reward else reward


def zeros(tokens, lengths):
    return (np.asarray(tokens) == 0).sum(axis=1).astype(float)


def wrapped(wrapper, **keywords):
    identifier = f"test/{wrapper.__name__}Alignment-v0"
    gym.register(identifier, lambda **more: wrapper(gym.make(TASK, **more)))
    return {"env": identifier, **keywords}


PROMPT_ONLY, PADDED, BAD = (wrapped(w) for w in (PromptOnly, PadIsEos, NotANumber))
gym.register("test/CutAlignment-v0", lambda **more: gym.make(TASK, **more), max_episode_steps=3)


def rewarded(*rewards):
    return {"env_kwargs": {"reward": list(rewards), "no_eos": 0.0}}


class LastTokenOnly(RLOO):
    def __init__(self, *arguments, **keywords):
        super().__init__(*arguments, **keywords)
        ask = self.policy.log_probs

        def log_probs(tokens, lengths):
            last = np.take_along_axis(tokens, lengths[:, None] - 1, axis=1)
            return ask(last, np.ones_like(lengths))

        self.policy.log_probs = log_probs


class ValuesOfNothing(RLHFPPO):
    def __init__(self, *arguments, **keywords):
        super().__init__(*arguments, **keywords)
        ask = self.policy.evaluate

        def evaluate(*texts, **more):
            outputs = ask(*texts, **more)
            return replace(outputs, values=outputs.values * 0)

        self.policy.evaluate = evaluate


class LeftPadded(RLOO):
    """Texts at the right of their rows, and positions that count the padding."""

    def __init__(self, *arguments, **keywords):
        super().__init__(*arguments, **keywords)
        ask, self.policy.reference = self.policy.log_probs, None

        def log_probs(tokens, lengths):
            width = tokens.shape[1]
            rows = np.zeros_like(tokens)
            for row, text, n in zip(rows, tokens, lengths, strict=True):
                row[width - n :] = text[:n]
            return ask(rows, np.full(len(rows), width))

        self.policy.log_probs = log_probs


def with_sampler(change):
    class Sampling(RLOO):
        def __init__(self, *arguments, **keywords):
            super().__init__(*arguments, **keywords)
            sample = self.policy.sample
            self.policy.sample = lambda *texts, **more: change(sample, *texts, **more)

    return Sampling


def other_temperature(sample, *texts, **more):
    found = sample(*texts, **more)
    return replace(found, log_probs=found.log_probs * 0.9)


def ignored_eos(sample, prompts, lengths, uniforms, **more):
    return sample(prompts, lengths, uniforms * 0.7, **more)  # EOS is the last of the tokens


def too_unlikely(sample, *texts, **more):
    found = sample(*texts, **more)
    return replace(found, log_probs=found.log_probs - 1.0)


class OtherStart(RLOO):
    def __init__(self, *arguments, **keywords):
        super().__init__(*arguments, **keywords)
        for p in self.policy.parameters():
            torch.nn.init.normal_(p, std=0.1, generator=torch.Generator().manual_seed(0))


def discounting(gamma):
    class Discounting(RLHFPPO):
        def __init__(self, *arguments, **keywords):
            super().__init__(*arguments, **keywords)
            object.__setattr__(self.settings, "gamma", gamma)

    return Discounting


class EosMasked(RLOO):
    def update(self, batch):
        ends = batch.lengths - batch.prompt_lengths - 1
        mask = batch.mask & (
            (np.arange(batch.mask.shape[1]) != ends[:, None]) | (ends == 0)[:, None]
        )
        super().update(replace(batch, mask=mask))


class MixedGroups(RLOO):
    def __init__(self, *arguments, **keywords):
        super().__init__(*arguments, **keywords)
        self.course.group_size = 1


class BatchBaseline(GRPO):
    def advantages(self, texts):
        return texts.rewards - texts.rewards.mean()


class DeadByBatch(GRPO):
    def update(self, batch):
        super().update(batch)
        self.metrics = replace(self.metrics, dead_groups=float(np.std(batch.rewards) == 0))


class EachPartAlone(RLHFPPO):
    def update(self, batch):
        n = len(batch.rewards) // self.settings.microbatches
        first = {k: getattr(batch, k)[:n] for k in type(batch).__slots__}
        object.__setattr__(self.settings, "microbatches", 1)
        super().update(type(batch)(**first))


class WrongSign(RLOO):
    def update(self, batch):
        super().update(replace(batch, ref_log_probs=2 * batch.log_probs - batch.ref_log_probs))


@dataclass(frozen=True, kw_only=True, slots=True)
class TopKConfig(RLOOConfig):
    top_k: int | None = None


class TopK(RLOO):
    config_type = TopKConfig


PLANTED = [
    ("history_in_observations", RLOO, PROMPT_ONLY, "Look at PromptOnly"),
    ("pad_is_no_token", RLOO, PADDED, "Set PAD to vocabulary.size, 7"),
    ("texts_end", RLOO, {"env": "test/CutAlignment-v0"}, "max_episode_steps"),
    ("rewards_finite", RLOO, BAD, "Look at NotANumber"),
    ("rewards_do_not_cancel", RLOO, rewarded(zeros, lambda *t: 1 - zeros(*t)), "reward_scales"),
    ("rewards_differ", RLOO, rewarded(lambda *t: 0 * zeros(*t)), "Raise group_size"),
    ("history_in_policy", LastTokenOnly, {}, "Give its network the whole text"),
    ("history_in_values", ValuesOfNothing, {}, "Give its network the whole text"),
    ("padding_invariance", LeftPadded, {}, "Pad on the right"),
    ("sampler_agrees_with_trainer", with_sampler(other_temperature), {}, "Use one temperature"),
    ("samples_follow_policy", with_sampler(ignored_eos), {}, "Take top_k, top_p"),
    ("kl_zero_at_start", OtherStart, {}, "start='reference'"),
    ("kl_not_negative", with_sampler(too_unlikely), {}, "sampling filters"),
    ("gamma_is_one", RLHFPPO, {"settings": {"gamma": 0.9}}, "Set gamma=1"),
    ("first_token_credited", discounting(0.0), {}, "Set gamma=1"),
    ("first_token_credited", discounting(0.9), {}, "rewards are discounted. Set gamma=1"),
    ("eos_in_loss", EosMasked, {}, "EOS included"),
    ("groups_share_prompt", MixedGroups, {}, "Sample with group_size=8"),
    ("groups_stand_alone", BatchBaseline, {}, "group_size 8"),
    ("dead_groups_told", DeadByBatch, {}, "not of the batch"),
    ("accumulation_invariance", EachPartAlone, {}, "aggregate, microbatches"),
    ("kl_penalty_lowers_kl", WrongSign, {}, "kl_in, kl_estimator"),
    ("settings_used", TopK, {"settings": {"top_k": 50}}, "nothing reads top_k=50"),
    ("settings_used", RLOO, {"settings": {"clip_range": 0.1}}, "clip_range=0.1 clips nothing"),
    ("settings_used", RLHFPPO, {"settings": {"clip_range_vf": 0.2}}, "vf=0.2 clips nothing: with"),
]


def subject_of(agent, **more):
    if isinstance(agent, str):
        return alignment_subject(agent, **more)
    spec = AgentSpec(
        id=f"test/{agent.__name__}-v0",
        entry_point=f"{__name__}:{agent.__name__}",
        requires={"texts"},
        learns="policy",
        spaces=Spaces(observation=("Dict",), action=("Discrete",)),
    )
    return alignment_subject(agent, spec=spec, **more)


def run(name, subject):
    (check,) = [check for check in ALIGNMENT_CHECKS if check.name == name]
    return check.run(subject)


@pytest.mark.parametrize(
    ("name", "agent", "where", "says"), PLANTED, ids=[f"{p[0]}-{p[1].__name__}" for p in PLANTED]
)
def test_a_planted_fault_is_caught_and_the_setting_named(name, agent, where, says):
    result = run(name, subject_of(agent, **where))
    assert result.status == "failed"
    assert says in result.reason, result.reason


def test_a_watched_gradient_is_whole():
    agent = subject_of("rlsuite/RLOO-v0", settings={"minibatches": 4}).learner()
    assert (agent.settings.minibatches, agent.settings.max_grad_norm) == (1, 1e30)


def test_every_check_has_a_planted_fault():
    assert {check.name for check in ALIGNMENT_CHECKS} == {name for name, *_ in PLANTED}


@pytest.mark.parametrize("agent", ["RLOO", "GRPO", "RLHFPPO", "DPO", "SFT"])
def test_a_healthy_agent_fails_no_check(agent):
    report = check_alignment(f"rlsuite/{agent}-v0")
    assert report.ok, str(report)
    assert len(report.with_status("passed")) >= 11
    assert all(result.reason for result in report.with_status("skipped"))


@pytest.mark.parametrize("agent", ["BestOfN", "GDPO"])
def test_no_other_agent_fails_a_check(agent):
    settings = {"preset": "paper"}
    report = check_alignment(
        f"rlsuite/{agent}-v0", env="rlsuite/TwoVerifiers-v0", settings=settings
    )
    assert report.ok, str(report)


@pytest.mark.parametrize("preset", ["paper", "dr_grpo", "dapo", "gspo"])
def test_every_choice_of_a_preset_is_read(preset):
    result = run("settings_used", subject_of("rlsuite/GRPO-v0", settings={"preset": preset}))
    assert result.status == "passed", result.reason


def test_an_agent_without_gamma_1_is_told_so_and_passes_with_it():
    results = {
        gamma: run("first_token_credited", subject_of("rlsuite/PPO-v0", settings={"gamma": gamma}))
        for gamma in (0.0, 1.0)
    }
    assert results[1.0].status == "passed"
    assert "Set gamma=1 (it is 0.0)" in results[0.0].reason


def test_what_an_agent_of_single_steps_does_not_show_is_skipped_with_a_reason():
    subject = subject_of("rlsuite/PPO-v0", settings={"gamma": 1.0})
    for name in ("eos_in_loss", "kl_zero_at_start", "sampler_agrees_with_trainer"):
        assert "it acts step by step" in run(name, subject).reason
    for name in ("history_in_policy", "history_in_values", "padding_invariance", "gamma_is_one"):
        assert run(name, subject).status == "passed"


def test_a_state_of_the_prompt_alone_is_told_once():
    subject = subject_of("rlsuite/PPO-v0", **PROMPT_ONLY)
    assert "history_in_observations" in run("history_in_policy", subject).reason
    assert run("history_in_values", subject).status == "skipped"


@pytest.mark.slow
def test_stable_baselines_passes():
    report = check_alignment("sb3/PPO-v0", settings={"gamma": 1.0})
    assert report.ok, str(report)


def test_a_local_model_folder(tmp_path):
    sft = rlsuite.make_agent("rlsuite/SFT-v0", TASK, n_texts=64)
    folder = str(tmp_path / "model")
    sft.learn(64).save_model(folder)
    subject = subject_of(
        "rlsuite/RLOO-v0", env_kwargs={"reference": folder}, settings={"start": folder}
    )
    for name in ("kl_zero_at_start", "padding_invariance", "samples_follow_policy", "eos_in_loss"):
        assert run(name, subject).status == "passed"
    other = subject_of("rlsuite/RLOO-v0", settings={"start": folder})
    assert "need not be the reference" in run("kl_zero_at_start", other).reason


def test_an_agent_without_a_policy_is_asked_nothing_about_one():
    result = run("history_in_policy", subject_of("rlsuite/RewardModelTrainer-v0"))
    assert (result.status, result.reason) == ("skipped", "it learns no policy")


def test_an_agent_that_refuses_the_task_says_so_once():
    with pytest.raises(SettingError, match="no gold reward to prefer by"):
        check_alignment("rlsuite/RewardModelTrainer-v0", env="rlsuite/TwoVerifiers-v0")


def test_an_environment_without_texts_is_refused():
    with pytest.raises(SettingError, match="need a token task, such as 'rlsuite/TokenGeneration"):
        check_alignment("rlsuite/PPO-v0", env="CartPole-v1")
