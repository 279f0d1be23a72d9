"""`rlsuite ope`: from a log to estimates, tables, JSON and refusals."""

from __future__ import annotations

import json

import pytest

ENV = "rlsuite/ContextualBandit-v0"
QUICK = ("--estimators", "ipw,snipw,replay", "--resamples", "100")


@pytest.fixture
def log(cli):
    made = cli("collect", "rlsuite/Random-v0", ENV, "--steps", "400", "--out", "log.npz")
    assert made.code == 0, made.err
    return "log.npz"


def test_all_that_is_to_be_known_is_printed(cli, log):
    pytest.importorskip("sklearn", reason="needs the extra ope")
    shown = cli("ope", log, "--policy", "greedy", "--resamples", "100")
    assert shown.code == 0, shown.err
    for name in ("Replay", "IPW", "SNIPW", "DM", "DR", "SNDR", "Switch-DR", "DRos"):
        assert f"\n{name} " in shown.out
    rows = {line.split(" ")[0]: line for line in shown.out.splitlines()}
    assert rows["DM"].endswith("  bias not covered")
    assert rows["DR"].endswith("]")
    assert "\nBias not covered: the intervals of such a row are about the mean" in shown.out
    for figure in (
        "effective sample size",
        "mean weight (should be 1)",
        "largest weight",
        "clipped by IPW",
        "smallest propensity",
        "wanted but unsupported",
        "Logged policy: ",
        "95% Bernstein",
    ):
        assert figure in shown.out
    assert len(shown.out.partition("\nActions\n")[2].splitlines()) == 6


def test_one_json_object(cli, log):
    shown = cli("ope", log, "--policy", "action:2", *QUICK, "--json")
    found = json.loads(shown.out)
    assert [e["name"] for e in found["estimates"]] == ["ipw", "snipw", "replay"]
    assert found["diagnostics"]["n"] == 400
    assert found["estimates"][0]["interval"]["low"] < found["estimates"][0]["interval"]["high"]


def test_a_saved_agent_is_evaluated(cli, log):
    trained = cli("train", "rlsuite/LinUCB-v0", ENV, "--steps", "300", "--save", "agent")
    assert trained.code == 0, trained.err
    words = ("ope", log, "--policy", "rlsuite/LinUCB-v0", "--checkpoint", "agent", "--greedy")
    shown = cli(*words, *QUICK, "--json")
    assert shown.code == 0, shown.err
    estimates = {e["name"]: e["interval"] for e in json.loads(shown.out)["estimates"]}
    assert estimates["replay"]["low"] > 0.2  # the uniform policy earns 0


def test_a_csv_file_with_names_of_its_own(cli, tmp_path):
    rows = "".join(f"{i % 7},{i % 2},{i % 3},0.5,{0.9 if i % 2 else 0.1}\n" for i in range(200))
    (tmp_path / "log.csv").write_text("age,action,reward,pscore,new\n" + rows, encoding="utf-8")
    words = ("--context", "age", "--column", "propensity=pscore", "--policy", "column:new")
    shown = cli("ope", "log.csv", *words, "--resamples", "100")
    assert shown.code == 0, shown.err
    assert "No DM: only the probabilities of the logged actions are known." in shown.out
    assert "unknown" in shown.out


def test_columns_that_are_not_used_are_told(cli, tmp_path):
    rows = "".join(f"{i % 7},{i % 5},{i % 2},{i % 3},0.5\n" for i in range(200))
    (tmp_path / "log.csv").write_text("x0,x1,action,reward,propensity\n" + rows, encoding="utf-8")
    blind = cli("ope", "log.csv", *QUICK)
    assert "Warning: the log has no context, and its columns x0, x1 were not used" in blind.err
    (tmp_path / "log.csv").write_text(
        "context_0,x1,action,reward,propensity\n" + rows, encoding="utf-8"
    )
    shown = cli("ope", "log.csv", *QUICK)
    assert "\nColumns not used: x1.\n" in shown.out
    assert "Warning" not in shown.err


def test_warnings_go_to_the_other_stream(cli, log):
    shown = cli("ope", log, *QUICK, "--actions", "6")
    assert "Warning: the policy takes actions that the log cannot speak of (5)" in shown.err
    assert "Warning" not in shown.out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--policy", "best"), "--policy is uniform, greedy, action:NUMBER, column:NAME"),
        (("--policy", "action:9"), "there is no action 9; the log has the 5 actions"),
        (("--policy", "rlsuite/LinUBC-v0"), "Did you mean 'rlsuite/LinUCB-v0'?"),
        (("--policy", "rlsuite/LinUCB-v0"), "name its file with --checkpoint FILE"),
        (("--checkpoint", "a"), "--checkpoint goes with the id of an agent"),
        (("--estimators", "ips"), "there is no estimator 'ips'"),
        (("--column", "propensity"), "--column takes NAME=COLUMN"),
        (("--clip", "0"), "clip must be a number above 0"),
    ],
)
def test_what_is_refused(cli, log, words, sentence):
    refused = cli("ope", log, *QUICK[2:], *words)
    assert refused.code == 2
    assert sentence in refused.err


def test_a_bad_line_is_named(cli, tmp_path):
    (tmp_path / "log.csv").write_text("action,reward,propensity\n0,1,0.5\n1,1,0\n")
    refused = cli("ope", "log.csv")
    assert refused.code == 2
    assert "log.csv, line 3: the propensity is 0; it must be in (0, 1]" in refused.err
    assert (
        "there is no file" in cli("ope", "no.csv").err
        or "cannot be read" in cli("ope", "no.csv").err
    )
