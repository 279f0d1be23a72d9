"""Data sets are checked at the door, written whole, and equal to the byte where they are equal."""

from __future__ import annotations

import dataclasses
import json
import zipfile

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiBinary
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import DataError
from registry.logged_data import LoggedData

THREE = {
    "observation": [0, 1, 0],
    "action": [1, 0, 1],
    "reward": [0.0, 1.5, -2.0],
    "next_observation": [1, 2, 1],
    "terminated": [False, True, False],
    "truncated": [False, False, True],
}


def three(**changed):
    return LoggedData(**{**THREE, **changed})


def test_ends_and_lengths_by_hand():
    data = three()
    assert len(data) == 3
    assert data.ends.tolist() == [False, True, True]
    assert data.reward.dtype == np.float64
    assert data.first(2).reward.tolist() == [0.0, 1.5]
    with pytest.raises(DataError, match=r"3 transitions: n must be up to that, got 4"):
        data.first(4)


def test_nobody_can_write_into_it():
    source = np.array([0, 1, 0])
    data = three(observation=source)
    source[0] = 2
    assert data.observation[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        data.reward[0] = 1.0


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"reward": [0.0, 1.0]}, r"arrays of one length of at least 1, .* 'reward': 2"),
        ({name: [] for name in THREE}, r"must be an array|one length of at least 1"),
        ({"reward": [0.0, np.nan, 1.0]}, r"reward holds NaN or infinity, first in transition 1"),
        ({"reward": [[0.0]] * 3}, r"reward is one entry for each transition, got shape \(3, 1\)"),
        ({"reward": ["a", "b", "c"]}, r"reward must be an array of numbers"),
        ({"terminated": [0, 1, 0]}, r"terminated must be an array of True and False"),
        ({"action": None}, r"need the array 'action'"),
        ({"action": 1}, r"action must be an array .* of shape \(\)"),
        ({"next_observation": [[1], [2], [1]]}, r"are alike, got the shapes \(3,\) and \(3, 1\)"),
        ({"probability": [0.5, 0.0, 1.0]}, r"probability must be in \(0, 1\], .* got 0 to 1"),
        ({"probability": [1, 1, 1]}, r"probability must be an array of real numbers"),
        ({"about": {"env": object()}}, r"about must be a mapping that JSON can hold"),
        ({"about": 3}, r"about must be a mapping"),
    ],
)
def test_what_does_not_fit_is_refused(changed, sentence):
    with pytest.raises(DataError, match=sentence):
        three(**changed)


@pytest.mark.parametrize(
    ("changed", "spaces", "sentence"),
    [
        ({}, (Discrete(2), Discrete(2)), r"next_observation must be whole .* \[0, 2\), got 2 in t"),
        ({}, (Discrete(3), Discrete(1)), r"action must be whole numbers in \[0, 1\), got 1 in tra"),
        ({"action": [1.0, 0.0, 1.0]}, (Discrete(3), Discrete(2)), r"action must be .* got float64"),
        ({}, (Box(0, 9, (2,)), Discrete(2)), r"observation has the shape \(\) in each transition"),
        ({}, (MultiBinary(2), Discrete(2)), r"numbers of Discrete and Box spaces"),
        (
            {"next_mask": [[True]] * 3},
            (Discrete(3), Discrete(2)),
            r"next_mask has the shape \(3, 1",
        ),
    ],
)
def test_spaces_are_compared(changed, spaces, sentence):
    with pytest.raises(DataError, match=sentence):
        three(**changed).check_spaces(*spaces)


def test_what_fits_its_spaces_passes():
    three(next_mask=[[True, False]] * 3).check_spaces(Discrete(3), Discrete(2))
    moved = three(observation=[1, 2, 1], next_observation=[2, 3, 2])
    moved.check_spaces(Discrete(3, start=1), Discrete(2))
    rows = np.zeros((3, 4), np.float32)
    three(observation=rows, next_observation=rows).check_spaces(Box(-1, 1, (4,)), Discrete(2))


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.floats(-1e6, 1e6), st.booleans(), st.floats(0.01, 1.0)),
        min_size=1,
        max_size=20,
    )
)
def test_saved_and_loaded_it_is_the_same(tmp_path_factory, rows):
    s, r, ends, p = (list(column) for column in zip(*rows, strict=True))
    data = LoggedData(
        observation=s,
        action=s,
        reward=r,
        next_observation=s,
        terminated=ends,
        truncated=[not end for end in ends],
        probability=p,
        next_mask=np.ones((len(s), 5), bool),
        about={"seed": 3, "environment": {"id": "a/B-v0"}},
    )
    path = tmp_path_factory.mktemp("data") / "some.npz"
    data.save(path)
    found = LoggedData.load(path)
    assert found.about == data.about
    assert list(found.arrays()) == list(data.arrays())
    for name, array in data.arrays().items():
        np.testing.assert_array_equal(found.arrays()[name], array, strict=True)
    assert found.digest() == data.digest()


def test_equal_data_give_equal_files(tmp_path):
    files = [tmp_path / name for name in ("a.npz", "b.npz")]
    for file in files:
        three(about={"b": 1, "a": 2}).save(file)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "b.npz"]


def test_the_digest_is_that_of_the_arrays():
    assert three().digest() == three(about={"seed": 1}).digest()
    assert three().digest() != three(reward=[0.0, 1.5, -2.5]).digest()
    assert three().digest() != three(probability=[1.0, 1.0, 1.0]).digest()


def test_files_that_are_no_data_set_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"there is no data set .*gone.npz; `rlsuite collect`"):
        LoggedData.load(tmp_path / "gone.npz")
    whole = tmp_path / "whole.npz"
    three().save(whole)
    content = whole.read_bytes()
    broken = tmp_path / "broken.npz"
    for damaged in (b"", b"text", content[: len(content) // 2]):
        broken.write_bytes(damaged)
        with pytest.raises(DataError, match=r"broken.npz is damaged, or no data set"):
            LoggedData.load(broken)
    with broken.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(DataError, match=r"broken.npz is damaged, or no data set"):
        LoggedData.load(broken)
    np.savez(broken, **THREE)
    with pytest.raises(DataError, match=r"damaged, or no data set .*about"):
        LoggedData.load(broken)
    np.savez(broken, **THREE, about=np.array("{}"), more=np.zeros(3))
    with pytest.raises(DataError, match=r"holds the arrays .*'more'"):
        LoggedData.load(broken)
    np.savez(broken, **{**THREE, "reward": [0.0, np.inf, 0.0]}, about=np.array("{}"))
    with pytest.raises(DataError, match="reward holds NaN or infinity"):
        LoggedData.load(broken)


def test_a_changed_byte_shows_unless_it_means_nothing(tmp_path):
    """Dates and the like in the archive mean nothing; all else is under a checksum."""
    whole, broken = tmp_path / "whole.npz", tmp_path / "broken.npz"
    data = three(about={"seed": 3})
    data.save(whole)
    content, told = whole.read_bytes(), 0
    for place in range(0, len(content), 3):
        broken.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        try:
            found = LoggedData.load(broken)
        except DataError:
            told += 1
        else:
            assert (found.digest(), found.about) == (data.digest(), data.about)
    assert told > len(content) / 6


def test_nothing_in_a_file_is_run(tmp_path):
    path = tmp_path / "objects.npz"
    np.savez(path, **THREE, about=np.array([json, None], dtype=object)[1:])
    with pytest.raises(DataError, match="damaged, or no data set"):
        LoggedData.load(path)


def test_a_place_that_cannot_be_written_is_told_and_nothing_is_left(tmp_path):
    with pytest.raises(DataError, match=r"was not written: .*Give a path in a folder"):
        three().save(tmp_path / "no" / "folder.npz")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(DataError, match="was not written"):
        three().save(tmp_path / "folder.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.npz"]


def test_a_file_holds_arrays_and_json_alone(tmp_path):
    path = tmp_path / "some.npz"
    three().save(path)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == [f"{name}.npy" for name in (*THREE, "about")]
    fields = {f.name for f in dataclasses.fields(LoggedData)}
    assert fields == {*THREE, "probability", "next_mask", "about"}
