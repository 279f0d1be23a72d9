"""Tracks: a marker where a number is, and at the end what is beyond it."""

from __future__ import annotations

import numpy as np

from rlsuite_envs.rendering.canvas import BLUE, ORANGE
from rlsuite_envs.rendering.tracks import FROM, MARGIN, ROW, TO, Track, frame, text


def columns_of(picture, row, color):
    """Where a colour is in a track, from the left."""
    part = picture[MARGIN + ROW * row : MARGIN + ROW * (row + 1)]
    return np.flatnonzero((part == color).all(axis=-1).any(axis=0))


def test_balls_stand_where_the_numbers_are():
    for share in (-1.0, -0.5, 0.0, 0.5, 1.0):
        picture = frame([Track(name="x", value=3.0 * share, limit=3.0)])
        found = columns_of(picture, 0, BLUE)
        middle = (FROM + TO) / 2 + share * (TO - FROM) / 2
        assert abs((found.min() + found.max() + 1) / 2 - middle) <= 0.5
    beyond = frame([Track(name="x", value=50.0, limit=3.0)])
    assert (columns_of(beyond, 0, BLUE) == columns_of(picture, 0, BLUE)).all()


def test_actions_are_arrows_from_zero():
    for value in (-1.0, 1.0):
        track = Track(name="a", value=value, limit=1.0, is_action=True)
        found = columns_of(frame([track]), 0, ORANGE)
        ends = sorted(((FROM + TO) / 2, (FROM + TO) / 2 + value * (TO - FROM) / 2))
        assert abs(found.min() - ends[0]) <= 3
        assert abs(found.max() - ends[1]) <= 3
    still = frame([Track(name="a", value=0.0, limit=1.0, is_action=True)])
    assert len(columns_of(still, 0, ORANGE)) == 0


def test_what_is_not_known_is_not_drawn():
    unknown = Track(name="x", value=None, limit=1.0)
    assert len(columns_of(frame([unknown]), 0, BLUE)) == 0
    assert text([unknown]) == "  x " + "-" * 20 + "|" + "-" * 20 + "\n"
    flat = Track(name="x", value=2.0, limit=0.0)
    assert text([flat], "step 1").splitlines()[0] == "  x " + "-" * 20 + "o" + "-" * 20 + " 2"


def test_a_track_for_each_number():
    tracks = [Track(name=f"x{i}", value=0.1 * i, limit=1.0) for i in range(4)]
    assert frame(tracks).shape[0] == frame(tracks[:3]).shape[0] + ROW
    assert len(text(tracks, "a caption").splitlines()) == 5
