"""Shapes: what is inside, what is outside, and the half-covered edge."""

from __future__ import annotations

import numpy as np
import pytest

from rlsuite_envs.rendering.canvas import BLUE, HEAT, INK, PAPER, Canvas, heat, readable_on


def area(canvas: Canvas) -> float:
    """Pixels of ink on paper, half-covered ones counted by half."""
    red = canvas.pixels[..., 0].astype(float)
    return float(((255 - red) / (255 - INK[0])).sum())


def test_the_canvas_begins_as_paper():
    assert Canvas(2, 3).pixels.tolist() == [[[255, 255, 255]] * 3] * 2


def test_a_box_of_whole_pixels_is_exact():
    canvas = Canvas(6, 8)
    canvas.box(2, 1, 4, 3, INK)
    inked = np.argwhere((canvas.pixels == INK).all(axis=-1))
    assert inked.min(axis=0).tolist() == [1, 2]
    assert inked.max(axis=0).tolist() == [3, 5]
    assert len(inked) == 12


@pytest.mark.parametrize(
    ("draw", "wanted"),
    [
        (lambda c: c.disc(20, 20, 10, INK), np.pi * 100),
        (lambda c: c.box(5, 5, 20, 12, INK, radius=4), 240 - (4 - np.pi) * 16),
        (lambda c: c.box(5, 5, 20, 12, INK, line=2), 240 - 16 * 8),
        (lambda c: c.line([(10, 20), (30, 20)], 4, INK), 80 + np.pi * 4),
        (lambda c: c.polygon([(10, 10), (30, 10), (10, 30)], INK), 200),
        (lambda c: c.fill(3, 4, 5, 6, INK), 30),
    ],
)
def test_areas_are_those_of_geometry(draw, wanted):
    canvas = Canvas(40, 40)
    draw(canvas)
    assert area(canvas) == pytest.approx(wanted, rel=0.03)


def test_what_lies_outside_is_not_drawn():
    canvas = Canvas(10, 10)
    canvas.disc(-50, 5, 3, INK)
    canvas.fill(-5, -5, 3, 3, INK)
    canvas.text(400, 5, "far away", 8)
    canvas.box(20, 20, 5, 5, INK)
    assert (canvas.pixels == 255).all()
    canvas.disc(0, 0, 4, INK)
    assert (canvas.pixels[0, 0] == INK).all()


def test_an_arrow_points_where_it_goes():
    canvas = Canvas(40, 60)
    canvas.arrow(10, 20, 30, 0, 4, INK)
    columns = (canvas.pixels[..., 0] < 128).sum(axis=0)
    assert columns[38] >= 1
    assert columns[44:].sum() == 0
    assert columns[30:36].max() > columns[15]  # the head is wider than the shaft


def test_an_arrow_of_no_length_is_none():
    canvas = Canvas(10, 10)
    canvas.arrow(5, 5, 0, 0, 4, INK)
    assert (canvas.pixels == 255).all()


def test_opacity_mixes():
    canvas = Canvas(4, 4)
    canvas.box(0, 0, 4, 4, (0, 0, 0), opacity=0.5)
    assert canvas.pixels[2, 2].tolist() == [128, 128, 128]


def test_a_canvas_on_a_frame_leaves_the_frame_alone():
    frame = Canvas(4, 4).pixels
    Canvas.on(frame).fill(0, 0, 4, 4, BLUE)
    assert (frame == 255).all()


def test_heat_runs_from_dark_to_light():
    colors = [heat(share) for share in (-1.0, 0.0, 0.25, 0.5, 0.75, 1.0, 7.0)]
    assert colors[0] == colors[1] == tuple(HEAT[0])
    assert colors[2] == tuple(HEAT[1])
    assert colors[5] == colors[6] == tuple(HEAT[-1])
    brightness = [0.299 * r + 0.587 * g + 0.114 * b for r, g, b in colors[1:6]]
    assert brightness == sorted(brightness)


def test_text_on_any_heat_can_be_read():
    assert readable_on(heat(0.0)) == PAPER
    assert readable_on(heat(1.0)) == INK
