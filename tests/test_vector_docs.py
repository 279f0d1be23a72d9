"""`docs/vector_envs.md`: its programs run, and its table of the three modes is what happens."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from gymnasium.error import ResetNeeded

import rlsuite

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "vector_envs.md").read_text("utf-8")
RIGHT = np.array([1])


def told(result) -> str:
    """What a step returned, in the words of the table."""
    observations, rewards, terminated, _, infos = result
    words = [f"observation {observations[0]}", f"reward {rewards[0]}"]
    words += ["terminated"] * bool(terminated[0])
    words += [f"`final_obs` {infos['final_obs'][0]}"] if "final_obs" in infos else []
    return ", ".join(words)


def walk(mode: str, way: str | None) -> list[str]:
    envs = rlsuite.make_vec(
        "rlsuite/GridWorld-v0", 1, autoreset_mode=mode, vectorization_mode=way, map="S.G"
    )
    envs.reset(seed=0)
    cells = []
    for _ in range(4):
        try:
            cells.append(told(envs.step(RIGHT)))
        except ResetNeeded:
            cells.append("`ResetNeeded`")
    return cells


def test_the_table_of_the_modes_is_what_happens():
    columns = [walk(mode, None) for mode in ("NextStep", "SameStep", "Disabled")]
    for call, cells in enumerate(zip(*columns, strict=True), start=1):
        assert f"\n| {call} | {' | '.join(cells)} |\n" in PAGE
    assert columns[:2] == [walk(mode, "sync") for mode in ("NextStep", "SameStep")]


@pytest.mark.parametrize("program", re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL))
def test_the_programs_run(program, capsys):
    exec(program, {})
    assert "Error" not in capsys.readouterr().out
