"""Letters drawn by strokes."""

from __future__ import annotations

import numpy as np
import pytest

from rlsuite_envs.rendering.font import GLYPHS, coverage_of_strokes, glyph, text_mask, text_width

PRINTABLE = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def test_letters_and_digits_are_all_there_and_all_different():
    masks = {letter: glyph(letter, 24.0, 0.13) for letter in PRINTABLE}
    assert set(PRINTABLE) <= set(GLYPHS)
    assert len({mask.tobytes() + bytes(mask.shape) for mask in masks.values()}) == len(PRINTABLE)


@pytest.mark.parametrize("size", [6, 9, 22])
def test_a_line_is_as_wide_as_it_says(size):
    assert text_mask("step 12", size).shape[1] == text_width("step 12", size)
    assert text_mask("", size).shape[1] == text_width("", size) == 0


@pytest.mark.parametrize("letter", sorted(set(GLYPHS) - {" "}))
def test_every_letter_leaves_ink_and_keeps_to_its_room(letter):
    """Nothing touches the edge of the mask, so neighbours never cut each other."""
    mask = glyph(letter, 24.0, 0.1)
    assert mask.max() == 1.0
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    assert border.max() < 1.0


def test_an_unknown_letter_is_an_empty_frame():
    mask = glyph("\N{SNOWMAN}", 24.0, 0.13)
    assert mask[10, 10] == 0.0
    assert mask.max() == 1.0


def test_a_horizontal_stroke_by_hand():
    """From (1, 2) to (3, 2), radius 1: pixels whose centres are half a pixel inside are full."""
    found = coverage_of_strokes([np.array([[1.0, 2.0], [3.0, 2.0]])], 1.0, 4, 4)
    # centres of rows 1 and 2 are 0.5 from the line, those of rows 0 and 3 are 1.5 from it
    np.testing.assert_allclose(found[:, 1], [0.0, 1.0, 1.0, 0.0])
