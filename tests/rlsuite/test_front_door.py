"""The front door is exactly what it says it is."""

from __future__ import annotations

import inspect

import rlsuite


def test_the_front_door_is_exactly_what_we_say():
    public = {n for n, v in vars(rlsuite).items() if n[0] != "_" and not inspect.ismodule(v)}
    assert set(rlsuite.__all__) == public
    assert sorted(rlsuite.__all__) == list(rlsuite.__all__)


def test_everything_at_the_front_door_is_documented():
    for name in rlsuite.__all__:
        assert inspect.getdoc(getattr(rlsuite, name)), name
