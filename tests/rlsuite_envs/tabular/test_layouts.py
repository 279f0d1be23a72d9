"""Layouts: from a picture, from a seed, and always with a path."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import SettingError
from rlsuite_envs.tabular.layouts import (
    Layout,
    arrivals,
    grid_mdp,
    parse_map,
    random_layout,
    slippery,
)


def picture(layout):
    symbols = ["."] * layout.n_cells
    for cell in layout.obstacles:
        symbols[cell] = "#"
    for cell in layout.goals:
        symbols[cell] = "G"
    symbols[layout.start] = "S"
    lines = np.array(symbols).reshape(layout.rows, layout.columns)
    return ["".join(line) for line in lines]


def path_length(layout):
    """Steps of the shortest path by flooding, None if there is none: a twin written otherwise."""
    reached = np.zeros((layout.rows, layout.columns), bool)
    free = np.ones_like(reached)
    free.flat[list(layout.obstacles)] = False
    reached.flat[layout.start] = True
    for step in range(layout.n_cells + 1):
        if reached.flat[list(layout.goals)].any():
            return step
        wider = np.pad(reached, 1)
        around = wider[2:, 1:-1] | wider[:-2, 1:-1] | wider[1:-1, 2:] | wider[1:-1, :-2]
        reached = (reached | around) & free
    return None


def test_moves_on_two_by_three_cells_by_hand():
    """0 1 2 over 3 4 5, with an obstacle in 4: up, right, down, left."""
    assert arrivals(2, 3, frozenset({4})).tolist() == [
        [0, 1, 3, 0],
        [1, 2, 1, 0],
        [2, 2, 5, 1],
        [0, 3, 3, 3],
        [1, 5, 4, 3],
        [2, 5, 5, 5],
    ]


def test_a_slip_goes_to_either_side():
    target, probability = slippery(arrivals(3, 3), 0.2)
    # from the middle, 4: up to 1, right to 5, down to 7, left to 3
    assert target[4].tolist() == [[1, 5, 3], [5, 7, 1], [7, 3, 5], [3, 1, 7]]
    np.testing.assert_allclose(probability[4], np.tile([0.8, 0.1, 0.1], (4, 1)))


def test_without_slip_there_is_one_outcome():
    target, probability = slippery(arrivals(3, 3), 0.0)
    assert target.shape == (9, 4, 1)
    assert (probability == 1.0).all()


@given(
    st.integers(1, 6),
    st.integers(2, 6),
    st.floats(0.0, 0.6),
    st.integers(0, 1000),
)
@settings(max_examples=80, deadline=None)
def test_drawn_layouts_have_their_obstacles_and_a_path(rows, columns, share, seed):
    n_obstacles = int(share * (rows - 1) * (columns - 1))
    layout = random_layout(np.random.default_rng(seed), rows, columns, n_obstacles, 10_000)
    assert len(layout.obstacles) == n_obstacles
    assert layout.start == 0
    assert layout.goals == {rows * columns - 1}
    assert not layout.obstacles & {layout.start, *layout.goals}
    assert path_length(layout) is not None
    assert parse_map(picture(layout)) == layout


def test_a_layout_without_a_path_is_drawn_again_from_the_same_generator():
    """On 3 x 3 cells every second choice of 4 obstacles or so walls one corner in."""
    rng, twin = np.random.default_rng(2), np.random.default_rng(2)
    layout = random_layout(rng, 3, 3, 4, 1000)
    for _ in range(1000):
        u = twin.random(7)
        chosen = frozenset((1 + np.argsort(u)[:4]).tolist())
        found = Layout(rows=3, columns=3, start=0, goals=frozenset({8}), obstacles=chosen)
        if path_length(found) is not None:
            break
    assert layout == found
    assert rng.bit_generator.state == twin.bit_generator.state


def test_some_seed_needs_a_second_draw():
    """Otherwise the test above would prove nothing."""
    rng = np.random.default_rng(2)
    random_layout(rng, 3, 3, 4, 1000)
    once = np.random.default_rng(2)
    once.random(7)
    assert rng.bit_generator.state != once.bit_generator.state


def test_too_many_obstacles_are_refused():
    with pytest.raises(SettingError, match="n_obstacles=23 is too many for 5 x 5 cells: 7 layouts"):
        random_layout(np.random.default_rng(0), 5, 5, 23, 7)


def test_a_map_is_read_as_it_looks():
    layout = parse_map(
        """
        S.#
        ..G
        """
    )
    assert layout == Layout(
        rows=2, columns=3, start=0, goals=frozenset({5}), obstacles=frozenset({2})
    )
    assert parse_map(["S.#", "..G"]) == layout
    assert parse_map("S.#\n..G") == layout


def test_a_map_may_have_several_goals():
    assert parse_map("GSG").goals == {0, 2}
    assert parse_map("SG#G").goals == {1, 3}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("S.\n...G", "rectangle: line 1 has 2 cells, line 2 has 4"),
        ("S.\n\n.G", "rectangle: line 1 has 2 cells, line 2 has 0"),
        ("...\n..G", "exactly one start 'S', got 0"),
        ("S.S\n..G", "exactly one start 'S', got 2"),
        ("S..\n...", "at least one goal 'G', got none"),
        ("S.x\n..G", "unknown symbol 'x'; known are S start, G goal, # obstacle, . free"),
        ("S#.\n#.G", "no goal can be reached from the start"),
        ("", "map is empty"),
        ([], "map is empty"),
        (7, "map must be a text or a list of lines, got 7"),
        (["S.G", 3], "map must be a text or a list of lines"),
    ],
)
def test_a_malformed_map_gets_a_sentence(text, sentence):
    with pytest.raises(SettingError, match=sentence):
        parse_map(text)


def test_the_mdp_of_a_layout_by_hand():
    mdp = grid_mdp(parse_map("S.G"), 0.0, at_goal=5.0, elsewhere=-2.0)
    assert mdp.next_state[:, :, 0].tolist() == [[0, 1, 0, 0], [1, 2, 1, 0], [2, 2, 2, 2]]
    assert mdp.reward[:, :, 0].tolist() == [[-2.0] * 4, [-2.0, 5.0, -2.0, -2.0], [0.0] * 4]
    assert mdp.terminal[:, :, 0].tolist() == [[False] * 4, [False, True, False, False], [True] * 4]
    assert mdp.start.tolist() == [1.0, 0.0, 0.0]
