"""The numbers and pictures of the agents' pages are those of the functions they speak of."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from dataclasses import fields
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

from rlsuite_agents.deep.a2c import A2CMetrics
from rlsuite_agents.deep.actor_critic import ActorCriticMetrics
from rlsuite_agents.deep.dqn import DQNMetrics
from rlsuite_agents.deep.ppo import PPOMetrics
from rlsuite_agents.deep.reinforce import ReinforceMetrics
from rlsuite_agents.deep.sac import SACMetrics

ROOT = Path(__file__).resolve().parent.parent
PPO = (ROOT / "docs" / "agents" / "ppo.md").read_text(encoding="utf-8")
DQN = (ROOT / "docs" / "agents" / "dqn.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def drawings() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("docs_drawings", ROOT / "docs" / "drawings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def rows_below(heading: str) -> list[list[float]]:
    """The rows of numbers of the first table below a heading."""
    section = PPO.partition(f"\n### {heading}\n")[2].partition("\n### ")[0]
    rows = re.findall(r"^\| (-?[\d.].*) \|$", section, flags=re.MULTILINE)
    return [[float(cell) for cell in row.split("|")] for row in rows]


def test_the_table_of_the_clipped_objective(drawings):
    rows = rows_below("The clipped objective")
    assert len(rows) == 7
    for ratio, *cells in rows:
        found = [*drawings.clipped_objective(ratio, 1.0), *drawings.clipped_objective(ratio, -1.0)]
        assert cells == pytest.approx(found), ratio


def test_the_table_of_advantages(drawings):
    rows = rows_below("Generalised advantages, worked")
    assert [row[0] for row in rows] == [0, 0.5, 0.9, 0.95, 1]
    for lambda_, *cells in rows:
        assert cells == pytest.approx(drawings.worked_advantages(lambda_), abs=5e-5)
    assert rows[-1][1] == pytest.approx(1 + 0.99**4 * 10 - 5, abs=5e-5)


def test_the_errors_that_the_page_writes_out(drawings):
    written = re.findall(r"δ_\d = .*? = (-?[\d.]+)|(?:δ_4 = 10 - 1 = )(\d)", PPO)
    rewards, values = drawings.REWARDS, [*drawings.VALUES, 0.0]
    expected = [rewards[t] + 0.99 * values[t + 1] - values[t] for t in range(5)]
    assert [float(one or other) for one, other in written] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("metrics", "page"),
    [
        (A2CMetrics, "a2c"),
        (ActorCriticMetrics, "actor_critic"),
        (DQNMetrics, "dqn"),
        (PPOMetrics, "ppo"),
        (ReinforceMetrics, "reinforce"),
        (SACMetrics, "sac"),
    ],
)
def test_every_metric_is_on_its_page(metrics, page):
    text = (ROOT / "docs" / "agents" / f"{page}.md").read_text(encoding="utf-8")
    table = text.partition("\n### Metrics\n")[2].partition("\n## ")[0]
    assert [f.name for f in fields(metrics) if f"`{f.name}`" not in table] == []


def test_without_a_target_network_q_has_no_bounds(drawings):
    """After 2,000 steps on CartPole no true value exceeds 1 / (1 - 0.99) = 100."""
    with_one, without = (drawings.target_network_run(i, seed=0, blocks=2)[-1] for i in (500, 1))
    assert with_one[0] == without[0] == 2_000
    assert 0 < with_one[1] < 100 < without[1]


def test_pictures_can_be_drawn_and_are_shown(drawings, tmp_path):
    for draw, name, page in (
        (drawings.draw_clipped_objective, "ppo_clip.png", PPO),
        (drawings.draw_advantages, "ppo_gae.png", PPO),
        (partial(drawings.draw_target_networks, seeds=1, blocks=2), "dqn_target_network.png", DQN),
    ):
        draw(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 10_000
        assert f"](../drawings/{name})" in page
        assert (drawings.FOLDER / name).exists()
