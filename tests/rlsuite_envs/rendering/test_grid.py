"""Grids: the right thing in the right cell."""

from __future__ import annotations

import numpy as np
import pytest

from registry.errors import SettingError
from rlsuite_envs.rendering.canvas import BLUE, CELL, VERMILLION, WALL, heat
from rlsuite_envs.rendering.grid import Overlay, Scene, frame, number, text, tiles
from rlsuite_envs.rendering.tabular import checked_overlay, digit_keys, direction_keys

SCENE = Scene(
    rows=2,
    columns=3,
    starts=frozenset({0}),
    goals=frozenset({5}),
    obstacles=frozenset({1}),
    cliff=frozenset({4}),
)
SIDE, MARGIN = 96, 12


def pixel(picture: np.ndarray, cell: int, x: float, y: float) -> tuple[int, ...]:
    """The colour at the place (x, y) of a cell, both from 0 to 1."""
    row, column = divmod(cell, 3)
    return tuple(picture[MARGIN + int((row + y) * SIDE), MARGIN + int((column + x) * SIDE)])


def test_each_cell_shows_what_is_there():
    picture = frame(SCENE, 2)
    assert picture.dtype == np.uint8
    assert picture.shape == (2 * SIDE + 12 + 36, 3 * SIDE + 24, 3)
    assert pixel(picture, 0, 0.1, 0.1) == CELL
    assert pixel(picture, 1, 0.5, 0.5) == WALL
    assert pixel(picture, 2, 0.5, 0.7) == BLUE
    stripes = {pixel(picture, 4, x, 0.5) for x in np.linspace(0.1, 0.9, 20)}
    assert VERMILLION in stripes
    assert len(stripes) == 2
    assert pixel(picture, 5, 0.5, 0.35) == (0, 158, 115)  # the flag


def test_the_agent_is_drawn_where_it_is_and_nowhere_else():
    nobody, somebody = frame(SCENE, None), frame(SCENE, 3)
    rows, columns = np.nonzero((nobody != somebody).any(axis=-1))
    assert rows.min() >= MARGIN + SIDE
    assert columns.max() < MARGIN + SIDE


def test_frames_are_fresh_and_always_the_same():
    first, second = frame(SCENE, 2, "step 1"), frame(SCENE, 2, "step 1")
    assert first.tobytes() == second.tobytes()
    first[:] = 0
    assert frame(SCENE, 2, "step 1").tobytes() == second.tobytes()


def test_values_are_a_heat_map_between_their_extremes():
    values = np.array([0.0, 99.0, 2.0, 4.0, 99.0, 99.0])
    picture = frame(SCENE, None, overlay=Overlay(values=values))
    assert pixel(picture, 0, 0.1, 0.1) == heat(0.0)
    assert pixel(picture, 2, 0.1, 0.1) == heat(0.5)
    assert pixel(picture, 3, 0.1, 0.1) == heat(1.0)
    assert pixel(picture, 1, 0.5, 0.5) == WALL  # values of walls, cliffs and goals do not count
    assert picture.shape == frame(SCENE, None).shape


def test_a_pocket_behind_obstacles_takes_no_colours():
    """Cell 2 cannot be reached: its value stretches neither colours nor legend."""
    overlays = [Overlay(values=np.array([0.25, 0, low, 1.0, 0, 0])) for low in (-1.0, 0.25)]
    with_pocket, without = (frame(SCENE, None, overlay=overlay) for overlay in overlays)
    assert pixel(with_pocket, 0, 0.1, 0.1) == pixel(with_pocket, 2, 0.1, 0.1) == heat(0.0)
    assert pixel(with_pocket, 3, 0.1, 0.1) == heat(1.0)
    np.testing.assert_array_equal(with_pocket[-30:], without[-30:])


def test_where_no_reachable_value_is_known_the_others_have_the_colours():
    values = np.array([np.nan, 0, 3.0, np.nan, 0, 0])
    assert pixel(frame(SCENE, None, overlay=Overlay(values=values)), 2, 0.1, 0.1) == heat(0.5)


def test_rows_do_not_touch_around_the_edges():
    """The last cell of a row is no neighbour of the first of the next."""
    scene = Scene(rows=2, columns=3, starts=frozenset({2}), obstacles=frozenset({1, 5}))
    values = np.array([9.0, 0, 1.0, 9.0, 9.0, 0])
    assert pixel(frame(scene, None, overlay=Overlay(values=values)), 2, 0.1, 0.1) == heat(0.5)


def test_a_value_that_is_not_known_leaves_the_cell_as_it_was():
    values = np.array([np.nan, 0, 1.0, np.nan, 0, 0])
    picture = frame(SCENE, None, overlay=Overlay(values=values))
    assert pixel(picture, 3, 0.1, 0.1) == CELL
    blank = frame(SCENE, None, overlay=Overlay(values=np.full(6, np.nan)))
    assert blank.tobytes() == frame(SCENE, None).tobytes()


def test_equal_values_have_the_middle_colour():
    picture = frame(SCENE, None, overlay=Overlay(values=np.ones(6)))
    assert pixel(picture, 0, 0.1, 0.1) == heat(0.5)


@pytest.mark.parametrize(
    ("action", "tip"), [(0, (0.5, 0.36)), (1, (0.64, 0.5)), (2, (0.5, 0.64)), (3, (0.36, 0.5))]
)
def test_arrows_point_up_right_down_left(action, tip):
    policy = np.eye(4)[[action] * 6]
    picture = frame(SCENE, None, overlay=Overlay(policy=policy))
    assert pixel(picture, 3, *tip) != CELL
    assert pixel(picture, 3, 1 - tip[0] if tip[0] != 0.5 else 0.36, 0.36) == CELL


def test_small_cells_are_drawn_without_details():
    scene = Scene(rows=60, columns=70, goals=frozenset({4199}), obstacles=frozenset({1}))
    n = scene.n_cells
    overlay = Overlay(values=np.arange(n, dtype=float), policy=np.full((n, 4), 0.25))
    picture = frame(scene, 0, "step 0", overlay)
    assert picture.shape == (60 * 8 + 48, 70 * 8 + 24, 3)
    assert tuple(picture[14, 14]) == BLUE
    assert tuple(frame(scene, None)[-37, -13]) == (0, 158, 115)


def test_text_marks_the_agents_cell_and_the_policy():
    assert text(SCENE, 2, "step 3") == " S  # [.]\n .  C  G\nstep 3\n"
    policy = np.eye(4)[[1, 0, 2, 3, 0, 0]]
    assert text(SCENE, None, overlay=Overlay(policy=policy)) == " >  #  v\n <  C  G\n"


def test_states_that_are_no_places_are_numbered_tiles():
    scene = tiles(5)
    assert (scene.rows, scene.columns, scene.empty) == (2, 3, frozenset({5}))
    assert text(scene, 4) == " 0  1  2\n 3 [4]\n"
    picture = frame(scene, 4)
    assert pixel(picture, 5, 0.5, 0.5) == (255, 255, 255)
    assert (frame(scene, 3) != picture).any()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"),
        (-13.0, "−13"),
        (0.925, "0.93"),
        (12.34, "12.3"),
        (123.4, "123"),
        (1.5e6, "1.5e6"),
        (-0.00025, "−2.5e−4"),
    ],
)
def test_numbers_are_short(value, shown):
    assert number(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(1.0, "1.00"), (-13.0, "−13.0"), (100.0, "100"), (0.5, "0.50")]
)
def test_the_ends_of_a_legend_have_the_decimals_of_the_cells(value, shown):
    assert number(value, whole=False) == shown


def test_an_overlay_takes_actions_or_probabilities():
    by_action = checked_overlay(None, [1, 0, 3], (3, 4), places=True)
    by_table = checked_overlay(None, np.eye(4)[[1, 0, 3]], (3, 4), places=True)
    np.testing.assert_array_equal(by_action.policy, by_table.policy)
    assert by_action.values is None


@pytest.mark.parametrize("values", [[1.0, 2.0], [1.0, np.inf, 0.0], [["a"] * 3], np.zeros((3, 1))])
def test_values_that_do_not_fit_are_refused(values):
    with pytest.raises(SettingError, match="values must be 3 numbers"):
        checked_overlay(values, None, (3, 4), places=True)


@pytest.mark.parametrize(
    "policy", [[0, 1], [0, 1, 4], [0, 1, -1], np.full((3, 4), 0.3), np.full((3, 4), "a"), [0.5] * 3]
)
def test_a_policy_that_does_not_fit_is_refused(policy):
    with pytest.raises(SettingError, match=r"policy must be probabilities of shape \(3, 4\)"):
        checked_overlay(None, policy, (3, 4), places=True)


def test_arrows_need_a_grid():
    with pytest.raises(SettingError, match="no places of a grid"):
        checked_overlay(None, [0, 0, 0], (3, 4), places=False)


def test_keys_are_pygames():
    pygame = pytest.importorskip("pygame")
    keys = direction_keys()
    arrows = (pygame.K_UP, pygame.K_RIGHT, pygame.K_DOWN, pygame.K_LEFT)
    assert [keys[(key,)] for key in arrows] == [0, 1, 2, 3]
    assert [keys[(key,)] for key in "wdsa"] == [0, 1, 2, 3]
    assert digit_keys(12) == {(str(a),): a for a in range(10)}
