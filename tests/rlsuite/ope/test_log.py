"""Logs: what is kept, what is refused, and files and frames of them."""

from __future__ import annotations

import numpy as np
import pytest

import rlsuite
from registry.errors import DataError, SettingError
from rlsuite.ope import BanditLog, from_frame, read, write

GOOD = """\
context_0,action,reward,propensity,context_1
1.5,0,1,0.5,-1
0.5,2,0.25,0.25,2

2.5,1,0,1,3
"""


def small(**changes):
    values = {
        "context": [[1.0, 2.0], [3.0, 4.0]],
        "action": [0, 2],
        "reward": [1.0, 0.5],
        "propensity": [0.5, 0.25],
        **changes,
    }
    return BanditLog(**values)


def test_a_log_is_frozen_typed_and_copied():
    context = np.ones((2, 2), np.float32)
    log = small(context=context)
    context[0, 0] = 5
    assert log.context[0, 0] == 1
    assert (log.n_actions, len(log), log.context_names) == (3, 2, ("context_0", "context_1"))
    assert (log.action.dtype, log.context.dtype) == (np.int64, np.float64)
    np.testing.assert_array_equal(log.decision_id, [0, 1])
    np.testing.assert_array_equal(log.counts, [1, 0, 1])
    assert log.allowed.all()
    assert log.allowed.shape == (2, 3)
    for name in ("context", "action", "reward", "propensity", "decision_id"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(log, name)[0] = 1
    with pytest.raises(AttributeError):
        log.reward = 1


def test_contexts_may_be_missing():
    assert small(context=np.zeros((2, 0))).context_names == ()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"context": [[1, np.nan], [1, 2]]}, "decision 0: context holds NaN or infinity"),
        ({"reward": [0, np.inf]}, "decision 1: reward holds NaN"),
        ({"propensity": [0.5, 0.0]}, r"decision 1: the propensity is 0; it must be in \(0, 1\]"),
        ({"propensity": [1.5, 2.0]}, r"decision 0: the propensity is 1.5.*\(2 such decisions\)"),
        ({"propensity": [0.5, np.nan]}, "decision 1: propensity holds NaN"),
        ({"action": [0, 3], "n_actions": 3}, "decision 1: there is no action 3; the 3 actions"),
        ({"action": [-1, 0]}, "decision 0: there is no action -1"),
        ({"action": [0.5, 0]}, "decision 0: the action is 0.5; it must be a whole number"),
        ({"action": [[0], [1]]}, r"action is one entry for each decision, got the shape \(2, 1\)"),
        ({"action": [], "reward": []}, "the log is empty"),
        ({"reward": [1.0]}, r"reward has the shape \(1,\), and there are 2 actions"),
        ({"reward": 1.0}, "reward must be an array with an entry for each decision"),
        ({"reward": ["a", "b"]}, "reward must be numbers"),
        ({"context": [1.0, 2.0]}, r"context has the shape \(2,\).*must be \[2, columns\]"),
        ({"action_mask": [[1, 1, 0], [1, 1, 0]]}, "decision 1: the mask does not allow action 2"),
        ({"action_mask": [[1, 1], [1, 1]]}, "there is no action 2; the 2 actions"),
        (
            {"action_mask": np.ones((2, 3)), "probabilities": np.ones((2, 4)) / 4},
            r"need a column for each action, got \[3, 4\]",
        ),
        ({"probabilities": [[0.5, 0.5, 0.5]] * 2}, "decision 0: the probabilities of the actions"),
        (
            {"probabilities": [[0.5, 0.25, 0.25], [0.25, 0.25, 0.5]]},
            "decision 1: the propensity is 0.25, but the probability of action 2 is 0.5",
        ),
        (
            {"action_mask": [[1, np.nan, 1], [1, 1, 1]]},
            "decision 0: action_mask holds nan; it must",
        ),
        ({"action_mask": [["yes"] * 3] * 2}, "decision 0: action_mask holds yes; it must be 1"),
        (
            {"action": [0, 99]},
            "decision 1: the action is 99, and of the 100 .* only 2 occur; n_act",
        ),
        ({"decision_id": [1]}, "need an entry for each of the 2 decisions"),
        ({"extra": {"p": np.ones(3)}}, "need an entry for each of the 2 decisions"),
        ({"context_names": ("a",)}, "context has 2 columns, got 1 names"),
    ],
)
def test_what_is_refused(changes, sentence):
    with pytest.raises(DataError, match=sentence):
        small(**changes)


def test_the_number_of_actions_is_whole():
    for number in (-1, 2.5):
        with pytest.raises(SettingError, match="n_actions must be a whole number of at least 1"):
            small(n_actions=number)
    assert small(action=[0, 99], n_actions=200).n_actions == 200


def test_columns_that_nobody_named_are_told(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("x0,x1,action,reward,propensity\n1,2,0,1,0.5\n", encoding="utf-8")
    assert read(path).unused == ("x0", "x1")
    assert read(path, extra=["x1"]).unused == ("x0",)
    assert read(path, context=["x0"]).unused == ()
    path.write_text(GOOD.replace("context_1", "action_mask_0").replace("-1", "1"), encoding="utf-8")
    with pytest.raises(DataError, match=r"line 3: action_mask holds 2\.0; it must be 1"):
        read(path)


def test_a_csv_file_whatever_the_order_of_its_columns(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(GOOD, encoding="utf-8")
    log = read(path)
    np.testing.assert_array_equal(log.context, [[1.5, -1], [0.5, 2], [2.5, 3]])
    np.testing.assert_array_equal(log.action, [0, 2, 1])
    np.testing.assert_array_equal(log.reward, [1, 0.25, 0])
    np.testing.assert_array_equal(log.propensity, [0.5, 0.25, 1])


def test_columns_of_other_names(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("age,arm,click,pscore,new_0,new_1\n30,1,true,0.5,0.9,0.1\n", encoding="utf-8")
    names = {"action": "arm", "reward": "click", "propensity": "pscore"}
    log = read(path, context=["age"], columns=names, extra=["new"], n_actions=2)
    assert (log.context_names, log.reward[0]) == (("age",), 1.0)
    assert list(log.extra) == ["new_0", "new_1"]
    with pytest.raises(DataError, match="there is no column 'prospensity'"):
        read(path, columns={"prospensity": "pscore"})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (GOOD.replace("0.25,0.25", "0.25,0"), "log.csv, line 3: the propensity is 0; it must be"),
        (GOOD.replace("2.5,1", "nan,1"), "log.csv, line 5: context holds NaN"),
        (
            GOOD.replace("0.5,2,", "0.5,red,"),
            "line 3: the column 'action' holds 'red', which is no",
        ),
        (GOOD.replace("0.5,2,", "0.5,,"), "line 3: the column 'action' is empty"),
        (GOOD.replace("0,1,0.5,-1", "0,1,0.5"), "line 2: 4 cells, but line 1 names 5 columns"),
        (
            GOOD.replace("propensity", "propensty"),
            "no column 'propensity'. Did you mean 'propensty'",
        ),
        (GOOD.replace("context_1", "reward"), "line 1: two columns have the same name"),
        (GOOD.splitlines()[0] + "\n", "the log is empty"),
        ("", "has no column 'action'"),
        (
            GOOD.replace("context_1", "action_mask_1"),
            "must be there for every action; got action_m",
        ),
    ],
)
def test_a_csv_file_is_refused_with_its_line(tmp_path, text, sentence):
    path = tmp_path / "log.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=sentence):
        read(path)


def test_files_that_are_none(tmp_path):
    with pytest.raises(DataError, match=r"log.csv cannot be read: No such file"):
        read(tmp_path / "log.csv")
    with pytest.raises(DataError, match=r"must end in .csv, .parquet or .npz"):
        read(tmp_path / "log.txt")
    (tmp_path / "log.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path / "log.csv")


def full_log():
    p = np.array([[0.5, 0.25, 0.25], [0.1, 0.0, 0.9]])
    return small(
        propensity=[0.5, 0.9],
        probabilities=p,
        action_mask=[[1, 1, 1], [1, 0, 1]],
        decision_id=[7, 9],
        extra={"new": [1 / 3, 0.0]},
    )


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_files_give_back_every_bit(tmp_path, ending):
    if ending == "parquet":
        pytest.importorskip("pyarrow", reason="needs the extra parquet")
    log, path = full_log(), tmp_path / f"log.{ending}"
    write(log, path)
    again = read(path, extra=["new"])
    for name in ("context", "action", "reward", "propensity", "action_mask", "probabilities"):
        np.testing.assert_array_equal(getattr(log, name), getattr(again, name), err_msg=name)
    np.testing.assert_array_equal(again.decision_id, [7, 9])
    np.testing.assert_array_equal(again.extra["new"], log.extra["new"])


def test_parquet_is_refused_with_its_row(tmp_path):
    pa = pytest.importorskip("pyarrow", reason="needs the extra parquet")
    from pyarrow import parquet

    path = tmp_path / "log.parquet"
    columns = {"action": [0, 1], "reward": [1.0, None], "propensity": [0.5, 0.5]}
    parquet.write_table(pa.table(columns), path)
    with pytest.raises(DataError, match=r"log.parquet, row 2: reward holds NaN"):
        read(path)
    path.write_bytes(b"no parquet")
    with pytest.raises(DataError, match="cannot be read"):
        read(path)


def test_where_a_log_cannot_be_written(tmp_path):
    with pytest.raises(DataError, match="was not written: No such file"):
        write(full_log(), tmp_path / "no" / "log.csv")
    with pytest.raises(DataError, match=r"must end in .csv or .parquet"):
        write(full_log(), tmp_path / "log.txt")


def test_data_frames_and_mappings():
    pandas = pytest.importorskip("pandas", reason="needs the extra frame")
    columns = {
        "action": [0, 1],
        "reward": [1.0, 0.0],
        "propensity": [0.5, 0.5],
        "context_x": [1, 2],
    }
    frame = from_frame(pandas.DataFrame(columns, index=[5, 6]))
    for log in (frame, from_frame({name: np.array(x) for name, x in columns.items()})):
        assert log.context_names == ("context_x",)
        np.testing.assert_array_equal(log.context, [[1], [2]])
    with pytest.raises(DataError, match="row 1: the propensity is 0"):
        from_frame({**columns, "propensity": [0.5, 0.0]})
    with pytest.raises(DataError, match="the frame has no column 'age'"):
        from_frame(columns, context=["age"])


def test_logged_data_of_collect(tmp_path):
    env = "rlsuite/ContextualBandit-v0"
    agent = rlsuite.make_agent("rlsuite/Random-v0", env)
    data = rlsuite.collect(agent, env, steps=50)
    data.save(tmp_path / "log.npz")
    log = read(tmp_path / "log.npz")
    np.testing.assert_array_equal(log.context, data.observation)
    np.testing.assert_array_equal(log.propensity, np.full(50, 0.2))
    with pytest.raises(DataError, match="has no named columns"):
        read(tmp_path / "log.npz", context=["age"])
    unknown = rlsuite.LoggedData(**{**data.arrays(), "probability": None}, about=data.about)
    with pytest.raises(DataError, match="these data hold no probability"):
        BanditLog.from_logged_data(unknown)


def test_masks_of_collect_are_those_of_the_state_before():
    mask = np.array([[True, False], [True, True], [False, True]])
    data = rlsuite.LoggedData(
        observation=np.zeros((3, 1)),
        action=np.array([1, 0, 1]),
        reward=np.zeros(3),
        next_observation=np.zeros((3, 1)),
        terminated=np.array([False, True, False]),
        truncated=np.array([False, False, True]),
        probability=np.ones(3) / 2,
        next_mask=mask,
    )
    log = BanditLog.from_logged_data(data)
    np.testing.assert_array_equal(log.action_mask, [[True, True], [True, False], [True, True]])
