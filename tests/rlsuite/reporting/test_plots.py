"""Charts: ticks and thinning by hand, and drawings that are well-formed and hold their figures."""

from __future__ import annotations

import itertools
import math
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import SettingError
from rlsuite.reporting.axes import Reference, Scale, log_ticks, nice_ticks, thin
from rlsuite.reporting.plots import Series, interval_bar, line_chart
from rlsuite.reporting.strips import Dots, strip_chart
from rlsuite.reporting.svg import WIDTH, colour, compact, dash, marker
from rlsuite.statistics import student_t_interval

SVG = "{http://www.w3.org/2000/svg}"
WORDS = {"ident": "c", "title": "T", "description": "D", "x_label": "steps"}


def series(y, label="q", style=0, x=None, spread=None):
    y = np.asarray(y, dtype=float)
    half = np.full_like(y, np.nan) if spread is None else np.full_like(y, spread)
    x = np.arange(len(y), dtype=float) if x is None else np.asarray(x, dtype=float)
    return Series(label=label, style=style, x=x, y=y, low=y - half, high=y + half)


def lines(*drawn, **words):
    return ElementTree.fromstring(line_chart(drawn, **{**WORDS, "y_label": "return", **words}))


def texts(root):
    return [element.text for element in root.iter(f"{SVG}text")]


def test_ticks_by_hand():
    assert nice_ticks(0, 10) == [0, 2, 4, 6, 8, 10]
    assert nice_ticks(-0.03, 1.02, 4) == [0, 0.5, 1]
    assert nice_ticks(-1893, -13, 4) == [-1500, -1000, -500]
    assert nice_ticks(0, 20_000, 4) == [0, 5000, 10_000, 15_000, 20_000]


@given(
    st.floats(-1e9, 1e9, allow_nan=False),
    st.floats(1e-6, 1e9),
    st.integers(2, 10),
)
@settings(max_examples=200, deadline=None)
def test_ticks_are_round_inside_and_even(low, span, count):
    high = low + span
    if not low < high or span < 1e-9 * abs(low):
        return
    ticks = nice_ticks(low, high, count)
    assert 1 <= len(ticks) <= 2.5 * count + 2
    slack = 1e-6 * span
    assert all(low - slack <= tick <= high + slack for tick in ticks)
    steps = np.diff(ticks)
    if len(steps):
        np.testing.assert_allclose(steps, steps[0], rtol=1e-6)
        mantissa = steps[0] / 10 ** math.floor(math.log10(steps[0]) + 1e-9)
        assert min(abs(mantissa - m) for m in (1, 2, 5, 10)) < 1e-3


@pytest.mark.parametrize(
    ("value", "largest", "words"),
    [
        (0.25, None, "0.25"),
        (-1500, None, "−1,500"),
        (20_000, None, "20k"),
        (5_000, 20_000, "5k"),
        (0, 20_000, "0"),
        (1.5e6, None, "1.5M"),
        (2e9, None, "2G"),
    ],
)
def test_tick_labels(value, largest, words):
    assert compact(value, largest) == words


def test_thinning_keeps_the_ends():
    assert thin(5).tolist() == [0, 1, 2, 3, 4]
    kept = thin(10_001, 200)
    assert (len(kept), kept[0], kept[-1]) == (200, 0, 10_000)
    assert np.diff(kept).min() >= 50


def test_a_curve_is_where_its_figures_are():
    """From (0, 0) to (10, 1): the line runs over the whole width and from bottom to top."""
    root = lines(series([0.0, 1.0], x=[0.0, 10.0]), height=200)
    (path,) = root.iter(f"{SVG}polyline")
    (x0, y0), (x1, y1) = (map(float, pair.split(",")) for pair in path.get("points").split())
    top = y1 - 200 * 0.07 / 1.14
    assert x1 == WIDTH - 14
    assert x0 < x1
    # The margins are 7% of the range at each end: 1 / 1.14 of the height is the curve's.
    assert y0 - y1 == pytest.approx(200 / 1.14, abs=0.15)
    assert top > 0


def test_a_chart_names_itself_and_its_series():
    root = lines(
        series([0, 1], "q"), series([1, 2], "sarsa", 1), references=[Reference("optimal", 2)]
    )
    assert root.find(f"{SVG}title").text == "T"
    assert root.find(f"{SVG}desc").text == "D"
    assert root.get("aria-labelledby") == "c-title c-desc"
    assert {"q", "sarsa", "steps", "return", "optimal 2.000"} <= set(texts(root))
    assert len(list(root.iter(f"{SVG}polyline"))) == 2


def test_a_band_is_drawn_only_where_there_is_one():
    with_band = series([0, 1, 2], spread=0.5)
    assert len([p for p in lines(with_band).iter(f"{SVG}polygon") if p.get("opacity")]) == 1
    assert not [p for p in lines(series([0, 1, 2])).iter(f"{SVG}polygon") if p.get("opacity")]
    with_band.low[1] = np.nan
    assert len([p for p in lines(with_band).iter(f"{SVG}polygon") if p.get("opacity")]) == 2


def test_long_curves_are_thinned_and_carry_one_marker():
    root = lines(series(np.sin(np.arange(5000) / 300)))
    (path,) = root.iter(f"{SVG}polyline")
    assert len(path.get("points").split()) == 200
    assert len(list(root.iter(f"{SVG}circle"))) == 2  # in the legend and at the end


def test_missing_points_are_left_out():
    root = lines(series([0.0, np.nan, 2.0]))
    (path,) = root.iter(f"{SVG}polyline")
    assert len(path.get("points").split()) == 2


def test_a_far_reference_is_named_at_the_edge_instead_of_pressing_the_curves_flat():
    words = texts(
        lines(series([-20, -13]), references=[Reference("optimal", -13), Reference("base", -1893)])
    )
    assert "optimal −13.00" in words
    assert "base −1,893.0 ↓" in words
    assert "top 99.00 ↑" in texts(lines(series([0, 1]), references=[Reference("top", 99)]))


def test_far_references_on_one_side_stand_below_each_other():
    names = ("a", "b", "c", "d")
    far = [Reference(name, value) for name, value in zip(names, (-90, -80, 80, 90), strict=True)]
    root = lines(series([0, 0.1]), references=far)
    arrows = [e for e in root.iter(f"{SVG}text") if e.text[-1] in "↓↑"]
    places = {e.text[0]: float(e.get("y")) for e in arrows}
    assert sorted(places) == list(names)
    assert all(abs(one - other) >= 12 for one, other in itertools.combinations(places.values(), 2))


@pytest.mark.parametrize("y", [[0.0], [-13.0, -13.0], [1e-9, 2e-9], [1e12, 3e12], [0.0, 0.0]])
def test_awkward_ranges_are_drawn(y):
    root = lines(series(y, spread=0.0))
    assert all(math.isfinite(float(e.get("x"))) for e in root.iter(f"{SVG}text"))


def test_a_strip_holds_every_run_and_the_mean():
    values = [0.1, 0.5, 0.5, 0.9]
    rows = [
        Dots(
            label="q",
            style=0,
            points=tuple((f"seed {i}", v) for i, v in enumerate(values)),
            mean=student_t_interval(values),
        ),
        Dots(label="gone", style=1, points=(), note="3 of 3 failed"),
    ]
    root = ElementTree.fromstring(
        strip_chart(rows, references=[Reference("optimal", 1.0)], **WORDS)
    )
    dots = list(root.iter(f"{SVG}circle"))
    assert len(dots) == 4
    assert len({(dot.get("cx"), dot.get("cy")) for dot in dots}) == 4  # none hides another
    assert dots[0].find(f"{SVG}title").text == "q, seed 0: 0.100"
    assert {"q", "0.500", "gone", "3 of 3 failed", "optimal 1.000"} <= set(texts(root))


def test_a_strip_names_references_off_its_scale():
    row = Dots(label="q", style=0, points=(("seed 0", -13.0), ("seed 1", -14.0)))
    drawn = strip_chart([row], references=[Reference("baseline", -1893.2)], **WORDS)
    assert "off scale: baseline −1,893.2" in drawn


def test_an_interval_bar_stays_on_its_axis():
    bar = interval_bar(student_t_interval([0.0, 1.0]), 0, 0.0, 1.0, 1.0)
    root = ElementTree.fromstring(bar.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" '))
    places = [float(e.get(k)) for e in root.iter(f"{SVG}line") for k in ("x1", "x2")]
    assert min(places) >= 4
    assert max(places) <= 116
    assert root.get("aria-hidden") == "true"
    interval_bar(student_t_interval([0.5]), 0, 0.0, 1.0)


def test_sixteen_series_look_different():
    looks = {(colour(s), dash(s), marker(0, 0, s, 3)) for s in range(16)}
    assert len(looks) == 16
    assert len({colour(s) for s in range(8)}) == 8


def test_labels_cannot_leave_the_drawing():
    nasty = "</title><script>alert(1)</script>\"'&"
    words = {"title": nasty, "description": nasty, "x_label": nasty, "ident": 'c"><x'}
    chart = line_chart(
        [series([0, 1], nasty, spread=1)],
        y_label=nasty,
        references=[Reference(nasty, 0.5)],
        **words,
    )
    strip = strip_chart(
        [Dots(label=nasty, style=2, points=((nasty, 0.0),), note=nasty)],
        references=[Reference(nasty, 100.0)],
        **words,
    )
    for drawn in (chart, strip):
        assert "<script" not in drawn
        ElementTree.fromstring(drawn)


def test_what_is_refused():
    with pytest.raises(SettingError, match="limit must be at least 2"):
        thin(10, 1)
    with pytest.raises(SettingError, match="a range low < high"):
        nice_ticks(1.0, 1.0)
    with pytest.raises(SettingError, match="at least one series of finite points"):
        lines(series([np.nan]))
    with pytest.raises(SettingError, match="at least one run"):
        strip_chart([], **WORDS)
    with pytest.raises(SettingError, match="an axis needs low < high"):
        interval_bar(student_t_interval([0.0, 1.0]), 0, 1.0, 1.0)


def test_logarithmic_ticks_by_hand():
    assert log_ticks(0.4, 60.0) == [0.5, 1, 2, 5, 10, 20, 50]
    assert log_ticks(1.0, 1e4) == [1, 10, 100, 1000, 10_000]
    assert log_ticks(0.1, 0.2) == [0.1, 0.2]
    for low, high in ((0.0, 1.0), (-1.0, 1.0), (2.0, 2.0), (1.0, math.inf)):
        with pytest.raises(SettingError, match="a logarithmic axis needs 0 < low < high"):
            log_ticks(low, high)


def test_a_logarithmic_scale_by_hand():
    scale = Scale(1.0, 100.0, 0.0, 200.0, log=True)
    assert [scale(v) for v in (1.0, 10.0, 100.0)] == pytest.approx([0.0, 100.0, 200.0])
    assert scale.clipped(1000.0) == pytest.approx(200.0)


def test_equal_factors_are_equally_far_apart_on_a_logarithmic_axis():
    root = lines(series([0.0, 1.0, 2.0], x=[0.1, 1.0, 10.0]), log_x=True)
    (path,) = root.iter(f"{SVG}polyline")
    places = [float(pair.split(",")[0]) for pair in path.get("points").split()]
    assert places[1] - places[0] == pytest.approx(places[2] - places[1], abs=0.15)
    assert {"0.1", "1", "10"} <= set(texts(root))
    lines(series([1.0, 2.0], x=[3.0, 3.0]), log_x=True)  # a single moment


def test_a_crowd_of_dots_is_smaller_and_drawn_in_lanes():
    points = tuple((f"seed {k}", k / 100) for k in range(100))
    drawn = strip_chart([Dots(label="q", style=0, points=points, runs=100)], **strip_words())
    circles = list(ElementTree.fromstring(drawn).iter(f"{SVG}circle"))
    assert len(circles) == 100
    assert {circle.get("r") for circle in circles} == {"2.2"}
    assert len({circle.get("cy") for circle in circles}) == 5


def strip_words():
    return {key: value for key, value in WORDS.items() if key != "y_label"} | {"x_label": "return"}
