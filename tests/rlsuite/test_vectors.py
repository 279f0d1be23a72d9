"""`rlsuite.make_vec`: one way to make any vector environment."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import rlsuite
from registry.errors import SettingError, UnknownIdError
from rlsuite.vectors import make_vec

MODES = ("NextStep", "SameStep", "Disabled")


@pytest.mark.parametrize("mode", [*MODES, *AutoresetMode])
@pytest.mark.parametrize(
    ("identifier", "native"), [("rlsuite/GridWorld-v0", True), ("CartPole-v1", False)]
)
def test_the_mode_reaches_native_and_sync_alike(identifier, native, mode):
    envs = make_vec(identifier, 2, autoreset_mode=mode)
    assert isinstance(envs, SyncVectorEnv) is not native
    assert envs.metadata["autoreset_mode"] is AutoresetMode(mode)
    assert envs.num_envs == 2
    envs.close()


@pytest.mark.parametrize("mode", MODES)
def test_sync_can_be_asked_for(mode):
    native = make_vec("rlsuite/CliffWalk-v0", 3, autoreset_mode=mode, slip=0.1)
    sync = make_vec(
        "rlsuite/CliffWalk-v0", 3, autoreset_mode=mode, slip=0.1, vectorization_mode="sync"
    )
    assert isinstance(sync, SyncVectorEnv)
    assert np.array_equal(native.reset(seed=1)[0], sync.reset(seed=1)[0])
    for _ in range(20):
        one, two = (envs.step(np.array([1, 2, 3])) for envs in (native, sync))
        assert np.array_equal(one[0], two[0])
        assert np.array_equal(one[1], two[1])


@pytest.mark.parametrize("native", [True, False])
def test_the_time_limit(native):
    way = None if native else "sync"
    for given, limit in ((3, 3), (None, 100), (-1, None)):
        envs = make_vec(
            "rlsuite/GridWorld-v0", 1, max_episode_steps=given, vectorization_mode=way, map="S.G"
        )
        envs.reset(seed=0)
        ends = [t for t in range(1, 102) if envs.step(np.array([3]))[3][0]]
        assert ends[:1] == ([] if limit is None else [limit])


def test_the_spec_can_be_written_and_made_again():
    envs = make_vec("rlsuite/GridWorld-v0", 4, autoreset_mode=AutoresetMode.SAME_STEP, slip=0.1)
    again = gym.make_vec(gym.envs.registration.EnvSpec.from_json(envs.spec.to_json()))
    assert again.num_envs == 4
    assert again.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP


def test_what_is_wrong_is_a_sentence():
    with pytest.raises(UnknownIdError, match="Did you mean 'rlsuite/GridWorld-v0'"):
        make_vec("rlsuite/GridWord-v0", 2)
    with pytest.raises(SettingError, match=r"has no keyword 'slipp'\. Did you mean 'slip'"):
        make_vec("rlsuite/GridWorld-v0", 2, slipp=0.1)
    with pytest.raises(SettingError, match=r"autoreset_mode must be one of 'NextStep'.*'never'"):
        make_vec("rlsuite/GridWorld-v0", 2, autoreset_mode="never")
    with pytest.raises(SettingError, match=r"vectorization_mode must be one of.*'threads'"):
        make_vec("rlsuite/GridWorld-v0", 2, vectorization_mode="threads")
    with pytest.raises(SettingError, match="'Acrobot-v1' has no native vector form"):
        make_vec("Acrobot-v1", 2, vectorization_mode="vector_entry_point")
    for bad in (0, True, 2.0):
        with pytest.raises(SettingError, match="num_envs must be a whole number of at least 1"):
            make_vec("rlsuite/GridWorld-v0", bad)


def test_it_is_at_the_front_door():
    assert rlsuite.make_vec is make_vec


def test_a_native_form_of_gymnasiums_own_is_made_by_name():
    envs = make_vec("CartPole-v1", 2, vectorization_mode="vector_entry_point")
    assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    envs.close()
    with pytest.raises(
        SettingError, match="the native form of 'CartPole-v1' has no autoreset_mode"
    ):
        make_vec(
            "CartPole-v1",
            2,
            vectorization_mode="vector_entry_point",
            autoreset_mode="SameStep",
        )


def test_the_spec_of_a_sync_vector_is_json():
    spec = make_vec("CartPole-v1", np.int64(2)).spec
    again = gym.make_vec(type(spec).from_json(spec.to_json()))
    assert again.num_envs == 2
    again.close()


@pytest.mark.parametrize("limit", [0, "5", True, 2.5])
@pytest.mark.parametrize("identifier", ["rlsuite/GridWorld-v0", "CartPole-v1"])
def test_a_time_limit_is_a_whole_number(identifier, limit):
    with pytest.raises(SettingError, match="max_episode_steps must be a whole number of at least"):
        make_vec(identifier, 2, max_episode_steps=limit)


def test_what_is_no_id_is_refused():
    with pytest.raises(SettingError, match=r"make_vec takes the id of an environment, got EnvSpec"):
        make_vec(gym.spec("CartPole-v1"), 2)  # type: ignore[arg-type]
