"""Updates folded into rows: by hand, against a slow twin, and exact after a restart."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlsuite.running.packing import decoded, encoded
from rlsuite.watching import updates
from rlsuite.watching.updates import UpdateLog, numbers_of


@dataclass(frozen=True)
class Metrics:
    num_timesteps: int
    loss: float
    note: str
    norm: np.float32


def log_of(rows):
    log = UpdateLog()
    for step, loss in rows:
        log.add({"num_timesteps": step, "loss": loss})
    return log


def test_numbers_of_a_dataclass_and_of_a_mapping():
    expected = {"num_timesteps": 3.0, "loss": 0.5, "norm": 2.0}
    assert numbers_of(Metrics(3, 0.5, "text", np.float32(2))) == expected
    assert numbers_of({"num_timesteps": 3, "loss": 0.5, "x": None}) == {
        "num_timesteps": 3.0,
        "loss": 0.5,
    }
    assert numbers_of("something else") == {}


def test_rows_by_hand(monkeypatch):
    """At most 4 rows: four single updates become two pairs, and the next ones are pairs too."""
    monkeypatch.setattr(updates, "MAX_ROWS", 4)
    curve = log_of([(10, 1.0), (20, 2.0), (30, math.nan), (40, 4.0), (50, 6.0)]).curve()
    assert curve.step.tolist() == [20, 40, 50]
    assert curve.updates.tolist() == [2, 2, 1]
    assert curve.values["loss"].tolist() == [1.5, 4.0, 6.0]  # NaN is left out of the mean
    assert curve.values["loss"].dtype == np.float32
    assert "num_timesteps" not in curve.values


def test_what_was_never_told_is_nan_and_what_is_too_large_is_infinite():
    curve = log_of([(1, math.nan), (2, 1e300)]).curve()
    np.testing.assert_array_equal(curve.values["loss"], np.float32([np.nan, np.inf]))


def test_nothing_gives_nothing():
    assert UpdateLog().curve() is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=900))
def test_rows_are_means_of_windows_of_equal_width(losses):
    """The slow twin: the width is the power of two that keeps fewer than 200 whole windows."""
    curve = log_of(enumerate(losses)).curve()
    width = 1
    while len(losses) // width >= updates.MAX_ROWS:
        width *= 2
    parts = [losses[k : k + width] for k in range(0, len(losses), width)]
    assert curve.updates.tolist() == [len(part) for part in parts]
    expected = [math.fsum(part) / len(part) for part in parts]
    np.testing.assert_allclose(curve.values["loss"], expected, rtol=1e-6, atol=1e-6)
    assert len(curve.step) <= updates.MAX_ROWS


@pytest.mark.parametrize("cut", [0, 1, 199, 200, 437])
def test_a_log_that_goes_on_has_the_same_bits(cut):
    rows = [(k, math.sin(k) if k % 7 else math.nan) for k in range(800)]
    other = UpdateLog()
    other.restore(decoded(encoded(log_of(rows[:cut]).state())))
    for step, loss in rows[cut:]:
        other.add({"num_timesteps": step, "loss": loss})
    whole = log_of(rows).curve()
    assert other.curve().step.tobytes() == whole.step.tobytes()
    assert other.curve().values["loss"].tobytes() == whole.values["loss"].tobytes()
