"""Presets, and settings that are refused: nothing is accepted and ignored."""

from __future__ import annotations

import dataclasses

import gymnasium as gym
import pytest

import rlsuite
from registry.errors import SettingError, UnsupportedSpaceError
from rlsuite_agents.alignment import (
    best_of_n,
    dpo,
    gdpo,
    grpo,
    reward_model_trainer,
    rlhf_ppo,
    rloo,
    sft,
)
from rlsuite_agents.alignment.best_of_n import BestOfNConfig
from rlsuite_agents.alignment.dpo import DPOConfig
from rlsuite_agents.alignment.gdpo import GDPOConfig
from rlsuite_agents.alignment.grpo import GRPOConfig
from rlsuite_agents.alignment.rlhf_ppo import RLHFPPOConfig
from rlsuite_agents.alignment.rloo import RLOOConfig
from rlsuite_agents.parts.text_agent import filled

TASK = "rlsuite/TokenGeneration-v0"
MODULES = {
    "RLOO": rloo,
    "GRPO": grpo,
    "GDPO": gdpo,
    "RLHFPPO": rlhf_ppo,
    "BestOfN": best_of_n,
    "DPO": dpo,
    "SFT": sft,
    "RewardModelTrainer": reward_model_trainer,
}


def presets():
    for name, module in MODULES.items():
        for preset in module.PRESETS:
            yield name, preset


@pytest.mark.parametrize(("name", "preset"), list(presets()))
def test_every_preset_is_made_and_reads_all_that_it_sets(name, preset):
    module = MODULES[name]
    agent = rlsuite.make_agent(f"rlsuite/{name}-v0", TASK, preset=preset)
    readers = getattr(module, "READERS", {})
    for setting, value in module.PRESETS[preset].items():
        found = getattr(agent.settings, setting)
        other, values = readers.get(setting, ("preset", (preset,)))
        read = getattr(agent.settings, other) in values
        assert found == (value if read else None), setting
    assert agent.config.preset == preset  # None stays None where it was left out
    again = dataclasses.replace(agent.config, preset="exact")
    exact = filled(type(agent.config)(), module.PRESETS, readers)
    assert filled(again, module.PRESETS, readers) == exact


def test_presets_of_grpo_are_the_choices_of_their_papers():
    settings = {
        preset: filled(GRPOConfig(preset=preset), grpo.PRESETS, grpo.READERS)
        for preset in grpo.PRESETS
    }
    assert settings["exact"].kl_in == "reward"
    assert settings["exact"].baseline == "leave_one_out"
    assert settings["paper"].std == "unbiased"
    assert (settings["paper"].kl_in, settings["paper"].kl_estimator) == ("loss", "k3")
    assert settings["dr_grpo"].std is None
    assert settings["dr_grpo"].aggregate == "constant"
    assert settings["dapo"].clip_range == (0.2, 0.28)
    assert settings["dapo"].beta is None
    assert settings["gspo"].ratio_level == "sequence_mean"


@pytest.mark.parametrize(
    ("config", "settings", "sentence"),
    [
        (RLOOConfig, {"preset": "other"}, "preset must be one of 'exact', 'paper', got 'other'"),
        (RLOOConfig, {"kl_in": "loss"}, "kl_in must be one of 'reward', 'none', got 'loss'"),
        (RLOOConfig, {"kl_in": "none", "beta": 0.1}, "beta is read only where kl_in is 'reward'"),
        (RLOOConfig, {"kl_in": "none", "kl_estimator": "k1"}, "kl_estimator is read only where"),
        (RLOOConfig, {"group_size": 1}, "group_size must be a whole number of at least 2, got 1"),
        (RLOOConfig, {"beta": -0.1}, r"beta must be a number in \[0, inf\], got -0.1"),
        (RLOOConfig, {"clip_range": 0.0}, "clip_range must be a number in"),
        (RLOOConfig, {"ratio_level": "word"}, "ratio_level must be one of"),
        (RLOOConfig, {"learning_rate": "lin_0.1"}, "set total_timesteps"),
        (RLOOConfig, {"total_timesteps": 9}, "total_timesteps is read only where a rate falls"),
        (RLOOConfig, {"start": "some/folder", "width": 64}, "width is the shape of a new"),
        (RLOOConfig, {"precision": "int8"}, "precision must be one of"),
        (
            RLOOConfig,
            {"group_size": 2, "n_groups": 2, "minibatches": 2, "microbatches": 3},
            "minibatches times microbatches must be at most the 4 texts",
        ),
        (GRPOConfig, {"kl_level": "token"}, "kl_level is read only where kl_in is 'loss'"),
        (GRPOConfig, {"std": "biased"}, "std is read only where scale_advantage is 'group' or"),
        (GRPOConfig, {"preset": "dapo", "beta": 0.1}, "beta is read only where kl_in"),
        (
            GRPOConfig,
            {"kl_in": "loss", "kl_estimator": "k1"},
            "'k1' in the loss has an expected gradient of 0",
        ),
        (
            GRPOConfig,
            {"scale_advantage": "group"},
            "'leave_one_out' is G / .* scale_advantage='group'",
        ),
        (GRPOConfig, {"clip_range": (0.2,)}, "or a pair .low, high. of them, got"),
        (GRPOConfig, {"clip_range": (0.2, -0.1)}, "clip_range must be a number above 0"),
        (GRPOConfig, {"clip_range": True}, "clip_range must be a number above 0"),
        (GRPOConfig, {"preset": "paper", "std_eps": -1.0}, "std_eps must be a number in"),
        (GRPOConfig, {"drop_dead_groups": 1}, "drop_dead_groups must be True or False"),
        (GRPOConfig, {"kl_in": "loss", "kl_corrected": 1}, "kl_corrected must be True or False"),
        (GDPOConfig, {"whiten_over": "sequence"}, "whiten_over divides by a standard deviation"),
        (GDPOConfig, {"preset": "paper", "n_groups": 1}, "n_groups must be at least 2 where"),
        (GDPOConfig, {"kl_in": "loss", "kl_estimator": "k1"}, "an expected gradient of 0"),
        (GDPOConfig, {"weights": ()}, "weights is a tuple of finite numbers"),
        (GDPOConfig, {"weights": (1.0, float("nan"))}, "weights is a tuple of finite numbers"),
        (GDPOConfig, {"std_eps": 0.1}, "std_eps is read only where std is 'unbiased' or 'biased'"),
        (RLHFPPOConfig, {"gamma": 0}, "gamma must be above 0: at 0 no token but the last"),
        (RLHFPPOConfig, {"gamma": 1.1}, "gamma must be a number in"),
        (RLHFPPOConfig, {"lambda_": 1.1}, "lambda_ must be a number in"),
        (RLHFPPOConfig, {"kl_target": 3.0}, "kl_target is read only where kl_control is 'adapt"),
        (RLHFPPOConfig, {"kl_control": "adaptive", "kl_target": 0.0}, "kl_target must be a number"),
        (RLHFPPOConfig, {"clip_range_vf": 0.0}, "clip_range_vf must be a number in"),
        (RLHFPPOConfig, {"vf_coef": 0.0}, "vf_coef must be a number in"),
        (RLHFPPOConfig, {"n_texts": 2, "minibatches": 3}, "at most the 2 texts of an update"),
        (DPOConfig, {"beta": 0}, "beta must be above 0: it scales the margin"),
        (DPOConfig, {"variant": "ipo", "label_smoothing": 0.1}, "label_smoothing is read only"),
        (DPOConfig, {"label_smoothing": 0.5}, "label_smoothing must be a number in"),
        (DPOConfig, {"preferences": "a.jsonl", "n_pairs": 3}, "n_pairs is read only where"),
        (DPOConfig, {"batch_size": 4, "microbatches": 5}, "at most the 4 pairs of a gradient"),
        (BestOfNConfig, {"sample_from": "both"}, "sample_from must be one of"),
    ],
)
def test_settings_that_mean_nothing_are_refused(config, settings, sentence):
    with pytest.raises(SettingError, match=sentence):
        config(**settings)


def test_weights_are_as_many_as_the_rewards():
    with pytest.raises(SettingError, match=r"weights must be one per reward, 1 of them, got"):
        rlsuite.make_agent("rlsuite/GDPO-v0", TASK, weights=(1.0, 2.0))


@pytest.mark.parametrize("name", MODULES)
def test_an_environment_without_texts_is_refused(name):
    with pytest.raises(UnsupportedSpaceError, match=rf"rlsuite/{name}-v0' handles Dict obs"):
        rlsuite.make_agent(f"rlsuite/{name}-v0", "CartPole-v1")
    agent_type = getattr(MODULES[name], name)
    with pytest.raises(UnsupportedSpaceError, match=f"{name} learns on token tasks"):
        agent_type(gym.make("CartPole-v1"), seed=0)


def test_a_beta_of_0_is_refused_where_it_scales_something():
    free = gym.make(TASK, beta=0.0)
    with pytest.raises(SettingError, match=r"DPO's beta must be above 0, .* the task's own is 0"):
        rlsuite.make_agent("rlsuite/DPO-v0", free)
    for env, settings in ((free, {}), (gym.make(TASK), {"beta": 0.0})):
        with pytest.raises(SettingError, match="kl_control 'adaptive' multiplies beta, and 0 stay"):
            rlsuite.make_agent("rlsuite/RLHFPPO-v0", env, kl_control="adaptive", **settings)


def test_beta_is_the_task_s_own_unless_it_is_given():
    env = gym.make(TASK, beta=0.7)
    assert rlsuite.make_agent("rlsuite/RLOO-v0", env).beta == 0.7
    assert rlsuite.make_agent("rlsuite/RLOO-v0", env, beta=0.2).beta == 0.2
    assert rlsuite.make_agent("rlsuite/RLOO-v0", env, preset="paper").beta == 0.03
    assert rlsuite.make_agent("rlsuite/RLOO-v0", env, kl_in="none").beta == 0.0
