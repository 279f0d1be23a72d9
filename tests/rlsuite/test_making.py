"""make_agent: ids, settings and spaces, each refusal with a sentence."""

from __future__ import annotations

from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv

import rlsuite
from registry.catalogue import registry
from registry.errors import PluginError, SettingError, UnknownIdError, UnsupportedSpaceError
from registry.specs import AgentSpec, Spaces, TaskSpec
from rlsuite.making import (
    build_agent,
    check_contract,
    make_config,
    make_environment,
    train_env,
)

HERE = "tests_making:Agent"  # never loaded: specs hold strings


@dataclass(frozen=True, kw_only=True, slots=True)
class PlainConfig:
    step_size: float = 0.5
    num_envs: int = 1
    layers: tuple[int, ...] = ()


class Plain:
    config_type = PlainConfig

    def __init__(self, env, config, *, seed, device):
        self.env, self.config, self.seed, self.device = env, config, seed, device

    def learn(self, total_timesteps, callback=None): ...

    def predict(self, observation): ...

    def save(self, path): ...

    @classmethod
    def load(cls, path, env=None, device="cpu"): ...


def spec(**meta):
    return AgentSpec(id="here/Plain-v0", entry_point=HERE, **meta)


def test_an_agent_is_made_from_ids():
    agent = rlsuite.make_agent("rlsuite/QLearning-v0", "rlsuite/GridWorld-v0", step_size=0.25)
    assert agent.config.step_size == 0.25
    assert agent.env.spec.id == "rlsuite/GridWorld-v0"


def test_an_agent_is_made_for_an_environment():
    with gym.make("rlsuite/GridWorld-v0") as env:
        agent = rlsuite.make_agent("rlsuite/QLearning-v0", env, seed=3)
        assert agent.env is env


def test_settings_go_over_those_of_the_id_and_lists_become_tuples():
    config = make_config(spec(settings={"step_size": 0.1, "num_envs": 2}), Plain, {"num_envs": 3})
    assert (config.step_size, config.num_envs) == (0.1, 3)
    assert make_config(spec(), Plain, {"layers": [8, 8]}).layers == (8, 8)


def test_an_unknown_setting_names_the_nearest_one():
    with pytest.raises(SettingError, match=r"no setting 'stepsize'. Did you mean 'step_size'"):
        rlsuite.make_agent("rlsuite/QLearning-v0", "rlsuite/GridWorld-v0", stepsize=0.1)


@pytest.mark.parametrize(
    ("agent", "name", "here"),
    [
        ("DQN", "exploration_fraction", "exploration_steps"),
        ("DQN", "lr", "learning_rate"),
        ("QLearning", "lr", "step_size"),
        ("QLearning", "learning_rate", "step_size"),
    ],
)
def test_what_a_setting_is_called_elsewhere_is_known(agent, name, here):
    task = "rlsuite/GridWorld-v0"
    with pytest.raises(SettingError, match=f"no setting '{name}'. Did you mean '{here}'"):
        rlsuite.make_agent(f"rlsuite/{agent}-v0", task, **{name: 0.1})


def test_an_unknown_setting_far_from_all_lists_them():
    with pytest.raises(SettingError, match=r"Its settings: step_size, num_envs, layers"):
        make_config(spec(), Plain, {"zzz": 1})


def test_a_class_without_settings_is_a_malformed_plugin():
    with pytest.raises(PluginError, match=r"config_type"):
        make_config(spec(), object, {})


def test_an_unknown_agent_names_the_nearest_one():
    with pytest.raises(UnknownIdError, match=r"Did you mean 'rlsuite/QLearning-v0'"):
        rlsuite.make_agent("rlsuite/QLerning-v0", "rlsuite/GridWorld-v0")


@pytest.mark.parametrize(
    ("wrong", "near"),
    [("rlsuite/GridWrld-v0", "rlsuite/GridWorld-v0"), ("CartPol-v1", "CartPole-v1")],
)
def test_an_unknown_environment_names_the_nearest_one(wrong, near):
    with pytest.raises(UnknownIdError, match=f"no environment '{wrong}'. Did you mean '{near}'"):
        make_environment(wrong)


def test_module_ids_are_left_to_gymnasium():
    with make_environment("rlsuite:rlsuite/GridWorld-v0") as env:
        assert env.spec.id == "rlsuite/GridWorld-v0"


def test_a_seed_is_a_whole_number():
    with pytest.raises(SettingError, match=r"seed is a whole number"):
        rlsuite.make_agent("rlsuite/QLearning-v0", "rlsuite/GridWorld-v0", seed=-1)


def test_spaces_are_checked():
    with pytest.raises(UnsupportedSpaceError, match=r"handles Discrete observations.*CartPole-v1"):
        rlsuite.make_agent("rlsuite/QLearning-v0", "CartPole-v1")
    with pytest.raises(UnsupportedSpaceError, match=r"handles Discrete actions"):
        rlsuite.make_agent("rlsuite/Random-v0", "Pendulum-v1")


def test_a_planner_needs_a_model():
    planner = spec(requires={"model"}, spaces=Spaces(action=("any",)))
    with gym.make("CartPole-v1") as env, pytest.raises(UnsupportedSpaceError, match=r"no `model`"):
        build_agent(planner, Plain, PlainConfig(), env, seed=0, device="cpu")
    with gym.make("rlsuite/GridWorld-v0") as env:
        assert build_agent(planner, Plain, PlainConfig(), env, seed=0, device="cpu").env is env


def test_a_vectorized_agent_is_given_so_many_environments():
    many = spec(vectorized=True)
    config = PlainConfig(num_envs=3)
    made = []

    def make(k):
        made.append(k)
        return gym.make("CartPole-v1")

    env = train_env(many, config, make)
    assert isinstance(env, SyncVectorEnv)
    assert env.num_envs == 3
    assert made == [0, 1, 2]
    assert build_agent(many, Plain, config, env, seed=0, device="cpu").env is env
    with pytest.raises(SettingError, match=r"num_envs=1 learns in 1 environments, got 3"):
        build_agent(many, Plain, PlainConfig(), env, seed=0, device="cpu")
    with pytest.raises(UnsupportedSpaceError, match=r"one environment at a time"):
        build_agent(spec(), Plain, config, env, seed=0, device="cpu")
    env.close()


def test_a_single_environment_is_copied():
    """What the class does by itself, bit for bit; sub-environment 0 is the one that was given."""
    settings = {"num_envs": 3, "n_steps": 8, "batch_size": 8, "n_epochs": 1}
    env = gym.make("CartPole-v1", max_episode_steps=9)
    agent = rlsuite.make_agent("rlsuite/PPO-v0", env, seed=0, **settings).learn(24)
    assert agent.env.envs[0] is env
    assert [one.spec.max_episode_steps for one in agent.env.envs] == [9] * 3
    config = type(agent.config)(**settings)
    twin = type(agent)(gym.make("CartPole-v1", max_episode_steps=9), config, seed=0).learn(24)
    vectors = (one.networks.parameters.vector for one in (agent, twin))
    np.testing.assert_array_equal(*vectors)
    env.unwrapped.spec = None
    with pytest.raises(SettingError, match=r"num_envs is 3, but .* has no spec to make copies"):
        rlsuite.make_agent("rlsuite/PPO-v0", env.unwrapped, **settings)


@pytest.mark.parametrize("env", [None, object(), gym.make])
def test_what_is_no_environment_is_refused(env):
    with pytest.raises(
        SettingError, match=r"PPO-v0' learns in an environment: give a gymnasium\.E"
    ):
        rlsuite.make_agent("rlsuite/PPO-v0", env)


def test_every_registered_agent_can_be_made(tmp_path):
    data, grid = tmp_path / "data.npz", "rlsuite/GridWorld-v0"
    rlsuite.collect(rlsuite.make_agent("rlsuite/Random-v0", grid), grid, steps=10).save(data)
    for entry in registry.entries("agent"):
        requires = entry.meta.get("requires", ())
        env = "rlsuite/TokenGeneration-v0" if "texts" in requires else grid
        if hasattr(registry.agent_spec(entry.id).load(), "run_contextual"):
            env = "rlsuite/ContextualBandit-v0"
        env = {
            "rlsuite/GDPO-v0": "rlsuite/TwoVerifiers-v0",
            "rlsuite/ThompsonSampling-v0": "rlsuite/BernoulliBandit-v0",
            "sb3/SAC-v0": "rlsuite/LQR-v0",
        }.get(entry.id, env)
        settings = {"data": str(data)} if "data" in requires else {}
        assert callable(rlsuite.make_agent(entry.id, env, **settings).predict)


class NoSave:
    """Learns and predicts, but cannot be kept."""

    def learn(self, total_timesteps, callback=None): ...

    def predict(self, observation): ...


class NoCallback(NoSave):
    """Complete, but for the callback of `learn`."""

    def learn(self, total_timesteps): ...

    def save(self, path): ...

    @classmethod
    def load(cls, path, env=None, device="cpu"): ...


def test_the_contract_of_a_registered_agent_is_checked_before_it_is_made():
    spec = AgentSpec(id="mine/Agent-v0", entry_point="m:Agent")
    with pytest.raises(PluginError, match="agent 'mine/Agent-v0' has no method save: a registered"):
        check_contract(spec, NoSave)
    with pytest.raises(PluginError, match=r"learn must take a callback.*got learn\(self, total_t"):
        check_contract(spec, NoCallback)


def test_an_id_with_a_module_in_front_is_made_like_any_other():
    env = make_environment("rlsuite:rlsuite/GridWorld-v0")
    assert env.spec.id == "rlsuite/GridWorld-v0"
    env = make_environment(TaskSpec(id="mine/Task-v0", env_id="rlsuite:rlsuite/GridWorld-v0"))
    assert env.spec.id == "rlsuite/GridWorld-v0"
