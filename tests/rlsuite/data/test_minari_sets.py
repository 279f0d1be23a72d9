"""To Minari and back without a loss, through the real library, in a folder of the test's own."""

from __future__ import annotations

import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Discrete, MultiBinary

import rlsuite
from registry.logged_data import LoggedData
from rlsuite.data.minari_sets import from_minari, to_minari

pytest.importorskip("minari", reason="needs the extra minari")
pytest.importorskip("h5py", reason="needs the extra minari")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))


class Back:
    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return -0.3 * np.sign(observation[:1]), state


def collected(name, **keywords):
    env = gym.make(name)
    discrete = isinstance(env.action_space, Discrete)
    policy = rlsuite.make_agent("rlsuite/Random-v0", env) if discrete else Back()
    return rlsuite.collect(policy, name, **keywords)


def require_same(found, data):
    assert list(found.arrays()) == list(data.arrays())
    for name, array in data.arrays().items():
        np.testing.assert_array_equal(found.arrays()[name], array, strict=True)
    assert found.about == data.about


@pytest.mark.parametrize(
    ("name", "amount"),
    [
        ("rlsuite/CliffWalk-v0", {"steps": 250}),  # ends at the limit, and by the collecting
        ("rlsuite/Garnet-v0", {"episodes": 12}),
        ("Taxi-v4", {"steps": 230}),  # with masks
        ("rlsuite/LQR-v0", {"episodes": 2}),  # Box observations and actions, no probabilities
    ],
)
def test_there_and_back_it_is_the_same(name, amount):
    data = collected(name, seed=3, **amount)
    to_minari(data, "cliffs/random-v0")
    require_same(from_minari("cliffs/random-v0"), data)


def test_minari_itself_reads_the_episodes():
    import minari

    data = collected("rlsuite/CliffWalk-v0", steps=250)
    to_minari(data, "random-v0")
    dataset = minari.load_dataset("random-v0")
    assert dataset.total_steps == 250
    assert dataset.total_episodes == data.ends.sum()
    assert dataset.env_spec.id == "rlsuite/CliffWalk-v0"
    first = dataset[0]
    length = int(np.flatnonzero(data.ends)[0]) + 1
    assert len(first) == length
    np.testing.assert_array_equal(first.observations[:-1], data.observation[:length])
    assert first.observations[-1] == data.next_observation[length - 1]
    assert dataset.recover_environment().observation_space == Discrete(48)
    require_same(from_minari(dataset), data)


def foreign(observations, actions, truncated, **keywords):
    """A data set that Minari's own functions wrote: one episode of Discrete spaces."""
    import minari
    from minari.data_collector import EpisodeBuffer

    n = len(actions)
    one = EpisodeBuffer(
        observations=observations,
        actions=actions,
        rewards=[1.0] * n,
        terminations=[False] * n,
        truncations=[False] * (n - 1) + [truncated],
    )
    words = dict.fromkeys(("algorithm_name", "author", "author_email", "description"), "x")
    with pytest.warns(UserWarning):  # noqa: PT030  of what is not given
        return minari.create_dataset_from_buffers(
            "foreign-v1", [one], code_permalink="x", **words, **keywords
        )


@pytest.mark.parametrize("truncated", [True, False])
def test_data_sets_of_others_are_read(truncated):
    spaces = {"observation_space": Discrete(3), "action_space": Discrete(2)}
    foreign([0, 1, 2], [1, 0], truncated, **spaces)
    data = from_minari("foreign-v1")
    assert data.observation.tolist() == [0, 1]
    assert data.next_observation.tolist() == [1, 2]
    assert data.action.tolist() == [1, 0]
    assert data.truncated.tolist() == [False, True]  # cut off there, marked or not
    assert data.probability is None
    assert data.about == {"minari": "foreign-v1"}
    data.check_spaces(Discrete(3), Discrete(2))


def test_the_environment_of_others_is_known_and_other_spaces_are_refused():
    foreign([0, 0], [1], True, env="FrozenLake-v1")
    assert from_minari("foreign-v1").about["environment"]["id"] == "FrozenLake-v1"
    import minari

    minari.delete_dataset("foreign-v1")
    spaces = {"observation_space": MultiBinary(2), "action_space": Discrete(2)}
    foreign([np.zeros(2, np.int8)] * 2, [1], True, **spaces)
    with pytest.raises(rlsuite.DataError, match=r"'foreign-v1' has the observation_space MultiBin"):
        from_minari("foreign-v1")


def test_what_is_no_whole_episodes_is_refused_and_leaves_nothing(tmp_path):
    data = collected("rlsuite/CliffWalk-v0", steps=20)
    with pytest.raises(rlsuite.DataError, match="the last transition ends none"):
        to_minari(data.first(5), "a-v0")
    arrays = {name: array[::-1] for name, array in data.arrays().items()}
    ended = {**arrays, "truncated": [False] * 19 + [True]}
    with pytest.raises(rlsuite.DataError, match=r"transition 1 does not begin where transition 0"):
        to_minari(LoggedData(**ended, about=data.about), "a-v0")
    with pytest.raises(rlsuite.DataError, match="do not say which environment they come from"):
        to_minari(LoggedData(**data.arrays()), "a-v0")
    with pytest.raises(rlsuite.DataError, match=r"observation must be whole numbers in \[0, 16\)"):
        to_minari(data, "a-v0", env=gym.make("FrozenLake-v1"))
    assert list(tmp_path.iterdir()) == []
    to_minari(LoggedData(**data.arrays()), "a-v0", env=gym.make("rlsuite/CliffWalk-v0"))
    with pytest.raises(rlsuite.SettingError, match=r"there is a Minari data set 'a-v0' in .*alrea"):
        to_minari(data, "a-v0")


@pytest.mark.parametrize("name", ["a", "a-v", "a b-v0", "/a-v0", "../a-v0", ""])
def test_malformed_ids_are_refused(name, tmp_path):
    data = collected("rlsuite/CliffWalk-v0", steps=3)
    with pytest.raises(rlsuite.SettingError, match="the id of a Minari data set reads 'name-v0'"):
        to_minari(data, name)
    assert list(tmp_path.iterdir()) == []


def test_a_data_set_that_is_not_there_is_told():
    with pytest.raises(rlsuite.DataError, match=r"no Minari data set 'gone-v0' on this machine"):
        from_minari("gone-v0")


def test_without_minari_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(rlsuite.SettingError, match=r"pip install 'rlsuite\[minari\]'"):
        from_minari("a-v0")
