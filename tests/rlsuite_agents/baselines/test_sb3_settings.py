"""Settings of Stable-Baselines3's agents: their defaults are theirs, every wrong value is named."""

from __future__ import annotations

import inspect
from dataclasses import fields

import pytest
import stable_baselines3

from registry.errors import SettingError
from rlsuite_agents.baselines.sb3_settings import A2CConfig, DQNConfig, PPOConfig, SACConfig
from rlsuite_agents.parts.schedules import linear_start

OURS = {
    "num_envs",
    "total_timesteps",
    "net_arch",
    "activation",
    "normalize_observations",
    "normalize_rewards",
}
PAIRS = [
    (PPOConfig, stable_baselines3.PPO),
    (A2CConfig, stable_baselines3.A2C),
    (DQNConfig, stable_baselines3.DQN),
    (SACConfig, stable_baselines3.SAC),
]
each_pair = pytest.mark.parametrize(
    ("config_type", "theirs"), PAIRS, ids=lambda value: value.__name__
)


@each_pair
def test_names_and_defaults_are_theirs(config_type, theirs):
    parameters = inspect.signature(theirs.__init__).parameters
    for field in fields(config_type):
        if field.name not in OURS:
            assert parameters[field.name].default == field.default, field.name


WRONG = {
    "num_envs": (0, 1.5, True),
    "total_timesteps": (0, 1.5),
    "learning_rate": (0, -1.0, "lin_0", "lin_x", "exp_1", float("nan"), float("inf")),
    "n_steps": (0,),
    "batch_size": (0, "64"),
    "n_epochs": (0,),
    "gamma": (-0.1, 1.1),
    "gae_lambda": (1.1,),
    "clip_range": (0.0, "lin_-1"),
    "clip_range_vf": (0.0, "x"),
    "normalize_advantage": (1,),
    "ent_coef": (-0.1,),
    "vf_coef": (-0.1, None),
    "max_grad_norm": (0,),
    "target_kl": (0,),
    "rms_prop_eps": (0,),
    "use_rms_prop": ("yes",),
    "buffer_size": (0,),
    "learning_starts": (-1,),
    "tau": (0, 1.1),
    "train_freq": (0, (1, "episode")),
    "gradient_steps": (-2,),
    "target_update_interval": (0,),
    "exploration_fraction": (0, 1.1),
    "exploration_initial_eps": (1.1,),
    "exploration_final_eps": (-0.1,),
    "net_arch": ((0,), 64, (64, 1.5)),
    "activation": ("gelu",),
    "normalize_observations": (1,),
    "normalize_rewards": ("no",),
    "target_entropy": ("x", None),
}


@each_pair
def test_every_wrong_value_is_named(config_type, theirs):
    for field in fields(config_type):
        for value in WRONG[field.name]:
            with pytest.raises(SettingError, match=rf"{config_type.__name__}.{field.name} must be"):
                config_type(**{field.name: value})


def test_combinations_without_meaning_are_refused():
    with pytest.raises(SettingError, match="batch_size must be at least 2"):
        PPOConfig(batch_size=1)
    with pytest.raises(SettingError, match="PPOConfig: advantages of a rollout of one step"):
        PPOConfig(n_steps=1)
    with pytest.raises(SettingError, match="A2CConfig: advantages of a rollout of one step"):
        A2CConfig(n_steps=1, normalize_advantage=True)
    with pytest.raises(SettingError, match="read only where use_rms_prop is True"):
        A2CConfig(use_rms_prop=False, rms_prop_eps=1e-3)
    assert A2CConfig(n_steps=1).n_steps == 1
    assert PPOConfig(n_steps=1, num_envs=2).num_envs == 2


@pytest.mark.parametrize("wrong", ["car", "auto_", "auto_x", "auto_0", "auto_-1", -0.1, None])
def test_a_temperature_is_a_number_or_learned_from_one(wrong):
    with pytest.raises(SettingError, match=r'at least 0, "auto", or "auto_x" with x above 0, got'):
        SACConfig(ent_coef=wrong)
    assert SACConfig(ent_coef="auto_0.1", target_entropy=-2).ent_coef == "auto_0.1"
    with pytest.raises(SettingError, match="target_entropy is read only where ent_coef is learned"):
        SACConfig(ent_coef=0.2, target_entropy=-1.0)


def test_linear_rates():
    assert linear_start("lin_1e-3") == 0.001
    assert PPOConfig(learning_rate="lin_1e-3", clip_range="lin_0.2").clip_range == "lin_0.2"
    assert PPOConfig(net_arch=[8, 8]).net_arch == (8, 8)
