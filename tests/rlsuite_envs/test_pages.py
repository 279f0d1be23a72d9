"""The figures on the pages of environments with one answer key are those of their answer keys."""

from __future__ import annotations

import re
from pathlib import Path

import gymnasium as gym
import pytest

import rlsuite  # noqa: F401  registers the ids

PAGES = Path(__file__).resolve().parents[2] / "docs" / "environments"
NAMES = {
    "CliffWalk": "cliff_walk",
    "DeepSea": "deep_sea",
    "DynaMaze": "dyna_maze",
    "Garnet": "garnet",
    "GoalGrid": "goal_grid",
    "GridWorld": "grid_world",
    "LQR": "lqr",
    "RandomWalk": "random_walk",
    "WindyGrid": "windy_grid",
}


@pytest.mark.parametrize("name", NAMES)
def test_the_answer_key_of_the_page_is_the_oracles(name):
    page = (PAGES / f"{NAMES[name]}.md").read_text(encoding="utf-8")
    oracle = gym.make(f"rlsuite/{name}-v0").unwrapped.oracle()
    for figure in ("optimal_return", "baseline_return", "best_stationary_return"):
        found = re.search(rf"^\| `{figure}` \| (None|-?[\d.]*\d)", page, flags=re.MULTILINE)
        assert found is not None, figure
        value = getattr(oracle, figure)
        if found[1] == "None":
            assert value is None
        else:
            decimals = len(found[1].partition(".")[2])
            assert round(value, decimals) == float(found[1]), figure


def test_the_answers_of_windy_grid_with_other_keywords():
    page = (PAGES / "windy_grid.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w=, ]+=True)` \| (-[\d.]+) \|$", page, flags=re.MULTILINE)
    assert len(rows) == 4
    for keywords, shown in rows:
        chosen = dict.fromkeys(re.findall(r"(\w+)=True", keywords), True)
        value = gym.make("rlsuite/WindyGrid-v0", **chosen).unwrapped.oracle().optimal_return
        assert round(value, 6) == float(shown)
