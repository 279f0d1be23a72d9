from __future__ import annotations

import inspect

import pytest

from registry import errors


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("rlsuite/GridWrld-v0", "rlsuite/GridWorld-v0"),
        ("gridworld", "rlsuite/GridWorld-v0"),
        ("GridWorld-v0", "rlsuite/GridWorld-v0"),
        ("rlsuite/gridworld-v1", "rlsuite/GridWorld-v0"),
        ("ppo", "sb3/PPO-v0"),
    ],
)
def test_did_you_mean_finds_the_nearest(given, meant):
    known = ["rlsuite/GridWorld-v0", "rlsuite/CliffWalk-v0", "sb3/PPO-v0"]
    assert errors.did_you_mean(given, known) == f" Did you mean {meant!r}?"


def test_did_you_mean_stays_silent_when_nothing_is_near():
    assert errors.did_you_mean("zzz", ["rlsuite/GridWorld-v0"]) == ""
    assert errors.did_you_mean("x", []) == ""


def test_every_error_is_of_the_family_and_drawn_in_the_tree():
    classes = {
        name: value
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, Exception)
    }
    assert set(errors.__all__) == {*classes, "did_you_mean"}
    for name, value in classes.items():
        assert issubclass(value, errors.RlsuiteError)
        assert name in (errors.__doc__ or "")
