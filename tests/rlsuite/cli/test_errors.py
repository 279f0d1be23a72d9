"""Bad input gets one sentence and exit code 2; a defect of ours keeps its traceback."""

from __future__ import annotations

import errno

import gymnasium as gym
import pytest

from registry.errors import SettingError, StoreError
from rlsuite.cli.errors import sentence
from rlsuite.cli.main import main


def test_refusals_have_a_sentence_on_one_line():
    assert sentence(SettingError("epsilon must be\n in [0, 1].")) == "epsilon must be in [0, 1]."
    assert sentence(StoreError("the store is newer.")) == "the store is newer."
    assert sentence(gym.error.NameNotFound("no such name")) == "no such name"


def test_a_refusal_of_the_system_names_the_path():
    full = OSError(errno.ENOSPC, "No space left on device", "/data/report.html")
    assert "'/data/report.html': No space left on device" in (sentence(full) or "")
    assert "No space left" in (sentence(OSError(errno.ENOSPC, "No space left on device")) or "")


@pytest.mark.parametrize("error", [ValueError("ours"), KeyError("x"), OSError("no number")])
def test_a_defect_has_none(error):
    assert sentence(error) is None


@pytest.fixture
def failing(monkeypatch):
    """`rlsuite doctor` raises what it is told to."""

    def fail_with(error: BaseException) -> None:
        def diagnose() -> None:
            raise error

        monkeypatch.setattr("rlsuite.diagnosis.diagnose", diagnose)

    return fail_with


def test_a_refusal_is_one_line_on_standard_error_and_code_2(cli, failing):
    failing(SettingError("the step size must be positive."))
    shown = cli("doctor")
    assert shown.code == 2
    assert shown.err == "Error: the step size must be positive.\n"
    assert shown.out == ""


@pytest.mark.parametrize("words", [["--debug", "doctor"], ["doctor", "--debug"]])
def test_debug_shows_the_traceback(failing, words):
    failing(SettingError("the step size must be positive."))
    with pytest.raises(SettingError, match="the step size"):
        main(words)


def test_the_environment_variable_shows_the_traceback_too(failing, monkeypatch):
    monkeypatch.setenv("RLSUITE_DEBUG", "1")
    failing(SettingError("the step size must be positive."))
    with pytest.raises(SettingError, match="the step size"):
        main(["doctor"])


def test_a_defect_keeps_its_traceback(failing):
    failing(ZeroDivisionError("ours"))
    with pytest.raises(ZeroDivisionError, match="ours"):
        main(["doctor"])


def test_ctrl_c_is_130(cli, failing):
    failing(KeyboardInterrupt())
    assert cli("doctor").code == 130


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["train", "rlsuite/QLearning-v0"], "Missing argument"),
        (["train", "a/B-v0", "c/D-v0", "--steps", "many"], "Invalid value for '--steps'"),
        (["train", "a/B-v0", "c/D-v0", "--stpes", "5"], "No such option: --stpes"),
        (["evaluate", "a/B-v0"], "Missing option"),
        (
            ["bench", "run", "quick", "--seeds", "0"],
            "--seeds is a whole number of at least 1, got 0",
        ),
    ],
)
def test_wrong_usage_is_code_2_with_a_sentence(cli, words, said):
    shown = cli(*words)
    assert shown.code == 2
    assert said in shown.err
    assert "Traceback" not in shown.err
