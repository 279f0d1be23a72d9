"""Data sets as bandits: the digits, arrays, CSV and Parquet files, and what cannot be used."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from registry.errors import DataError, SettingError
from rlsuite_envs.bandits.classification import ClassificationBandit, load_digits

X = [[0.0, 5.0, 1.0], [4.0, 5.0, 3.0], [1.0, 5.0, 2.0]]
Y = ["b", "a", "b"]


def test_the_digits():
    """1,797 images of 8 x 8 pixels from 0 to 16, as published; 174 to 183 of each digit."""
    pixels, digits = load_digits()
    assert (pixels.shape, pixels.min(), pixels.max()) == ((1797, 64), 0, 16)
    assert np.bincount(digits).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert digits[:10].tolist() == list(range(10))


def test_the_digits_are_those_of_scikit_learn():
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed")
    theirs, (pixels, digits) = datasets.load_digits(), load_digits()
    np.testing.assert_array_equal(pixels, theirs.data)
    np.testing.assert_array_equal(digits, theirs.target)


def test_by_hand():
    env = ClassificationBandit((X, Y))
    assert env.classes == ["a", "b"]
    observation, info = env.reset(seed=5)
    assert info == {}
    u = np.random.Generator(np.random.PCG64(5)).random(21)
    unit = [[0.0, 0.0, 0.0], [1.0, 0.0, 1.0], [0.25, 0.0, 0.5]]
    for t in range(20):
        row = int(3 * u[t])
        assert observation.tolist() == unit[row]
        right = ["a", "b"].index(Y[row])
        observation, reward, _, _, info = env.step(t % 2)
        hit = float(right == t % 2)
        assert (reward, info["regret"], info["optimal_action"]) == (hit, 1 - hit, right)


def test_the_answer_key_goes_through_all_examples():
    oracle = ClassificationBandit((X, Y)).oracle()
    assert oracle.optimal_return == pytest.approx(1000.0)
    assert oracle.baseline_return == pytest.approx(500.0)
    always_b = np.array([[0.0, 1.0]] * 3)
    assert oracle.policy_return(always_b) == pytest.approx(2000 / 3)
    digits = ClassificationBandit().oracle()
    assert digits.means.shape == (1797, 10)
    assert digits.regret_per_step() == pytest.approx(0.9)


def test_no_scale_and_an_order_of_classes():
    env = ClassificationBandit((np.array(X), np.array([2, 1, 2])), scale="none", classes=[3, 2, 1])
    np.testing.assert_array_equal(env.oracle().observations(), np.array(X, np.float32))
    assert env.oracle().means.tolist() == [[0, 1, 0], [0, 0, 1], [0, 1, 0]]
    assert env.action_space.n == 3


def test_files(tmp_path):
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    from pyarrow import parquet

    (tmp_path / "data.csv").write_text("x,kind,y,z\n0,b,5,1\n4,a,5,3\n1,b,5,2\n", encoding="utf-8")
    columns = {"x": [0, 4, 1], "y": [5, 5, 5], "z": [1, 3, 2], "kind": Y}
    parquet.write_table(pa.table(columns), tmp_path / "data.parquet")
    expected = ClassificationBandit((X, Y)).oracle()
    for name in ("data.csv", "data.parquet"):
        env = ClassificationBandit(tmp_path / name, label="kind")
        assert env.classes == ["a", "b"]
        np.testing.assert_array_equal(env.oracle().means, expected.means)
        np.testing.assert_array_equal(env.oracle().contexts, expected.contexts)


def test_labels_of_data_frames():
    """Text is of the type object there, and whole numbers with a gap somewhere are floats."""
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pd.DataFrame({"x": [0.0, 4.0, 1.0], "y": [5, 5, 5], "kind": Y})
    for kind in ("object", "category", "string"):
        env = ClassificationBandit((frame[["x", "y"]], frame["kind"].astype(kind)))
        assert env.classes == ["a", "b"]
        assert env.oracle().means.tolist() == [[0, 1], [1, 0], [0, 1]]
    for kind in (float, object, int):
        env = ClassificationBandit((frame[["x", "y"]], pd.Series([10, 2, 10]).astype(kind)))
        assert env.classes == [2, 10]
        assert all(type(name) is int for name in env.classes)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["10", "2", "0"], [0, 2, 10]),
        (["10.0", "2.0", "0.0"], [0, 2, 10]),
        (["-1", "0", "1"], [-1, 0, 1]),
        (["010", "2", "0"], ["0", "010", "2"]),
        (["1.5", "2", "0"], ["0", "1.5", "2"]),
    ],
)
def test_labels_of_csv_files(tmp_path, labels, classes):
    """Whole numbers are numbers, in every kind of file; 010 is a name."""
    path = tmp_path / "data.csv"
    path.write_text("x,label\n" + "".join(f"1,{name}\n" for name in labels), encoding="utf-8")
    assert ClassificationBandit(path).classes == classes
    assert ClassificationBandit(path, classes=classes[::-1]).classes == classes[::-1]


def test_a_run_drawn_beforehand():
    env = ClassificationBandit((X, Y), horizon=50)
    run = env.contextual_model(np.random.default_rng(0))
    np.testing.assert_array_equal(run.rewards, run.means)
    assert run.contexts.shape == (50, 3)
    assert set(run.rewards.sum(axis=1)) == {1.0}


def test_goes_on_identically():
    env, twin = ClassificationBandit((X, Y)), ClassificationBandit((X, Y))
    env.reset(seed=9)
    env.step(1)
    twin.set_state(json.loads(json.dumps(env.get_state())))
    for arm in (0, 1, 1, 0):
        left, right = env.step(arm), twin.step(arm)
        assert left[0].tolist() == right[0].tolist()
        assert left[1:] == right[1:]


@pytest.mark.parametrize(
    ("data", "keywords", "error", "sentence"),
    [
        (
            ([[1.0], [float("nan")]], [0, 1]),
            {},
            DataError,
            "example 1 has nan as feature 0 (1 such",
        ),
        (([[1.0], [np.inf]], [0, 1]), {}, DataError, "example 1 has inf as feature 0"),
        (([["a"], ["b"]], [0, 1]), {}, DataError, "the features must be numbers"),
        (([1.0, 2.0], [0, 1]), {}, DataError, "got the shapes (2,) and (2,)"),
        (([[1.0], [2.0]], [0]), {}, DataError, "got the shapes (2, 1) and (1,)"),
        (([[1.0], [2.0]], [0.5, 1.0]), {}, DataError, "labels must be whole numbers or strings"),
        (([[1.0], [2.0]], [1.0, 0.5]), {}, DataError, "but that of example 1 is 0.5"),
        (([[1.0], [2.0]], ["a", None]), {}, DataError, "but that of example 1 is None"),
        (([[1.0], [2.0]], [1, None]), {}, DataError, "but that of example 1 is None"),
        (([[1.0], [2.0]], [1.0, np.nan]), {}, DataError, "but that of example 1 is nan"),
        (([[1.0], [2.0]], [1, 1]), {}, SettingError, "at least two different labels, got [1]"),
        ((X, Y), {"classes": ["a", "c"]}, DataError, "do not cover the labels of the data: 'b'"),
        ((X, Y), {"classes": ["a", "a", "b"]}, SettingError, "at least two different labels"),
        ((X, Y), {"label": "kind"}, SettingError, "label='kind' names a column of a file"),
        ((X, Y), {"scale": "z"}, SettingError, "scale must be 'unit' or 'none', got 'z'"),
        (3, {}, SettingError, "data must be 'digits', a pair (features, labels), or the path"),
        ("data.txt", {}, SettingError, "must be 'digits' or end in .csv or .parquet"),
        ("missing.csv", {}, DataError, "missing.csv cannot be read"),
    ],
)
def test_what_cannot_be_used_gets_a_sentence(data, keywords, error, sentence):
    with pytest.raises(error, match=re.escape(sentence)):
        ClassificationBandit(data, **keywords)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x,label\n1,a\n2\n", "line 3 has another number of fields than the header"),
        ("x,kind\n1,a\n", "has no column 'label', whose values are the classes"),
        ("x,label\none,a\n2,b\n", "the features must be numbers"),
        ("x,y,label\n1,2,a\n3,,b\n", "has '' in the column 'y'"),
        ("x,y,label\n1,2,a\n3,,b\n", "but line 3 of"),
        ("", "has no column 'label'"),
        ("label\na\nb\n", "a table [n, d] of at least one number"),
    ],
)
def test_files_that_cannot_be_used_get_a_sentence(tmp_path, text, sentence):
    path = tmp_path / "data.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=re.escape(sentence)):
        ClassificationBandit(str(path))
