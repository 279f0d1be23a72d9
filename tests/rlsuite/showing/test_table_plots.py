"""Figures of tables: the right colours in the right cells, the same bytes every time."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from registry.errors import SettingError
from rlsuite.showing.state_tables import Board, StateTable, state_table
from rlsuite.showing.table_plots import plot_table

BOARD = Board(
    rows=2,
    columns=3,
    moves=((0, -1), (1, 0), (0, 1), (-1, 0)),
    starts=frozenset({0}),
    goals=frozenset({5}),
    walls=frozenset({1}),
    pits=frozenset({4}),
)
VALUES = np.array([0.0, np.nan, 0.5, 1.0, np.nan, np.nan])
POLICY = np.eye(4)[[1, 0, 2, 1, 0, 0]]


def table(kind: str = "values", board: Board | None = BOARD, numbers=None) -> StateTable:
    found = (POLICY if kind == "policy" else VALUES) if numbers is None else numbers
    return StateTable(
        kind=kind, numbers=found, board=board, who="rlsuite/Q-v0", task="a/Task-v0", note="a note"
    )


def colors_of(path: Path) -> set[tuple[int, ...]]:
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    found, counts = np.unique(pixels, axis=0, return_counts=True)
    return {tuple(color) for color in found[counts > 500].tolist()}


def test_values_are_a_heat_map_with_walls_pits_and_goals(tmp_path):
    plot_table(table(), tmp_path / "a.png")
    found = colors_of(tmp_path / "a.png")
    viridis = {(68, 1, 84), (33, 145, 140), (253, 231, 37)}  # its ends and its middle
    for wanted in viridis:
        assert any(max(abs(a - b) for a, b in zip(wanted, c, strict=True)) <= 3 for c in found)
    assert {(66, 74, 86), (0, 158, 115), (213, 94, 0)} <= found


def test_a_policy_is_arrows(tmp_path):
    plot_table(table("policy"), tmp_path / "a.png")
    assert (0, 114, 178) in colors_of(tmp_path / "a.png")


def test_diagonals_and_staying_are_drawn_too(tmp_path):
    moves = (*BOARD.moves, (1, 1), (0, 0))
    board = replace(BOARD, moves=moves)
    pictures = []
    for actions in ([4] * 6, [5] * 6, [1] * 6):
        plot_table(table("policy", board, np.eye(6)[actions]), tmp_path / "a.png")
        assert (0, 114, 178) in colors_of(tmp_path / "a.png")
        pictures.append((tmp_path / "a.png").read_bytes())
    assert len(set(pictures)) == 3


@pytest.mark.parametrize("kind", ["values", "policy", "visits"])
@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_same_table_gives_the_same_bytes(tmp_path, kind, suffix):
    numbers = np.arange(6.0) if kind == "visits" else None
    paths = [tmp_path / f"{name}.{suffix}" for name in "ab"]
    for path in paths:
        plot_table(table(kind, numbers=numbers), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    if suffix == "svg":
        assert ElementTree.parse(paths[0]).getroot().tag.endswith("svg")
    else:
        with Image.open(paths[0]) as image:
            assert 600 <= image.width <= 2200


@pytest.mark.parametrize("kind", ["values", "policy", "visits"])
def test_states_that_are_no_places(tmp_path, kind):
    numbers = np.full((500, 6), 1 / 6) if kind == "policy" else np.linspace(-3, 5, 500)
    plot_table(table(kind, None, numbers), tmp_path / "a.png")
    assert len(colors_of(tmp_path / "a.png")) >= 2


def test_large_grids_have_no_numbers(tmp_path):
    board = Board(rows=40, columns=50, moves=BOARD.moves, goals=frozenset({1999}))
    plot_table(table("values", board, np.arange(2000.0)), tmp_path / "a.svg")
    plot_table(table("values", BOARD, np.arange(6.0)), tmp_path / "b.svg")
    texts = [(tmp_path / name).read_text().count('id="text_') for name in ("a.svg", "b.svg")]
    assert texts[0] < 2000 / 10
    assert texts[1] > 6


def test_values_that_are_all_unknown_or_equal(tmp_path):
    plot_table(table(numbers=np.full(6, np.nan)), tmp_path / "a.png")
    plot_table(table(numbers=np.full(6, 2.0)), tmp_path / "b.png")
    assert (tmp_path / "a.png").exists()
    assert (tmp_path / "b.png").exists()


def test_matplotlibs_global_state_is_left_alone(tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    plot_table(table(), tmp_path / "a.png")
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a.pdf", r"a \.png or \.svg file"),
        ("nowhere/a.png", "its folder does not exist"),
        ("folder.png", "it is a folder"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, name, said):
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(SettingError, match=said):
        plot_table(table(), tmp_path / name)


def test_a_real_one(tmp_path):
    found = state_table("visits", "optimal", "rlsuite/CliffWalk-v0")
    plot_table(found, tmp_path / "a.png")
    assert colors_of(tmp_path / "a.png")
