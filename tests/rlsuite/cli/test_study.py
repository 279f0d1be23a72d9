"""`rlsuite study`: a small study as a shell sees it, and what it refuses."""

from __future__ import annotations

import json

import pytest

SMALL = ("--policies", "UCB1,EpsilonGreedy:epsilon=0.05", "--runs", "20", "--horizon", "30")


def test_help_says_what_is_measured_and_how_to_call_it(cli):
    shown = cli("study", "--help")
    assert shown.code == 0
    for words in (
        "[PROBLEM]",
        "--policies",
        "--width",
        "--report",
        "meet the same luck",
        "Example:",
    ):
        assert words in shown.out


def test_a_study_with_progress_tables_picture_and_report(cli, tmp_path):
    files = ("--plot", "a.png", "--report", "a.html", "--store", "s.sqlite")
    shown = cli("study", *SMALL, *files)
    assert shown.code == 0, shown.err
    lines = shown.out.splitlines()
    assert lines[:2] == [
        "study: 20 of 40 runs; UCB1",
        "study: 40 of 40 runs; EpsilonGreedy epsilon=0.05",
    ]
    assert "rlsuite/BernoulliBandit-v0 (horizon=30), 30 decisions" in shown.out
    assert "Paired differences" in shown.out
    assert "Asymptotic slope of Lai and Robbins: 3.121" in shown.out
    assert lines[-2:] == ["Wrote a.png", "Wrote a.html"]
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    for words in (
        "Mean pseudo-regret on logarithmic time",
        "asymptotic slope 3.12 ln t",
        "A moving average of",
        "Optimal pulls",
        "difference in regret",
        "UCB1",
    ):
        assert words in page
    again = cli("study", *SMALL, "--store", "s.sqlite")
    assert "study: " not in again.out  # all is stored: nothing is played
    assert again.out.splitlines()[0] == lines[2]


def test_one_json_object(cli):
    shown = cli("study", "rlsuite/GaussianBandit-v0", *SMALL, "--json")
    assert shown.code == 0, shown.err
    found = json.loads(shown.out)
    assert [policy["policy"] for policy in found["policies"]] == [
        "UCB1",
        "EpsilonGreedy epsilon=0.05",
    ]
    assert found["differences"][0]["first"] == "UCB1"


def test_keywords_of_the_environment(cli):
    shown = cli("study", *SMALL, "--env-set", "means=[0.1, 0.2]")
    assert shown.code == 0, shown.err
    assert "(means=[0.1, 0.2], horizon=30)" in shown.out


def test_settings_may_hold_commas(cli):
    named = "EpsilonGreedy:epsilon=inverse(1, 0, 10),UCB1"
    shown = cli("study", "--policies", named, "--runs", "5", "--horizon", "20", "--json")
    assert shown.code == 0, shown.err
    assert [policy["policy"] for policy in json.loads(shown.out)["policies"]] == [
        "EpsilonGreedy epsilon=inverse(1, 0, 10)",
        "UCB1",
    ]


def test_a_policy_that_fails_is_named_and_the_exit_code_tells(cli):
    names = ("--policies", "UCB1,ThompsonSampling", "--runs", "5", "--horizon", "20")
    shown = cli("study", "rlsuite/GaussianBandit-v0", *names)
    assert shown.code == 1
    assert "ThompsonSampling failed on rlsuite/GaussianBandit-v0" in shown.out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--policies", "UCB2"), "UCB2"),
        (("--policies", "UCB1,UCB1"), "names 'UCB1' twice; name it once"),
        (("--policies", "EpsilonGreedy:epsilon"), "--policies"),
        (("--policies", "EpsilonGreedy:epsilon=2"), r"epsilon must be"),
        (("--policies", ""), "a study needs a policy"),
        (("--runs", "0"), "runs is a whole number of at least 1, got 0"),
        (("--horizon", "-3"), "horizon is a whole number of at least 1, got -3"),
        (("--width", "0"), "width is a number above 0, got 0"),
        (("--level", "95"), "level must be in"),
        (("--workers", "0"), "workers"),
        (("--plot", "a.gif"), ".png or .svg file"),
        (("--env-set", "nothing=1"), "no keyword 'nothing'"),
        (("rlsuite/GridWorld-v0",), "scored by the regret of learning"),
        (("rlsuite/BernouliBandit-v0",), "Did you mean 'rlsuite/BernoulliBandit-v0'?"),
    ],
)
def test_bad_input_is_one_sentence(cli, words, sentence):
    shown = cli("study", *words)
    assert shown.code == 2
    assert sentence in shown.err
    assert "Traceback" not in shown.err
    assert shown.out == ""
