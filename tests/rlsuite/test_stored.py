"""Reading results back without running anything."""

from __future__ import annotations

import pytest

import rlsuite
from registry.errors import StoreError, UnknownIdError
from rlsuite import stored as reading
from rlsuite.reporting import gathering
from rlsuite.store import Store
from rlsuite.stored import stored

SUITE = """
name = "two"
title = "Two seeds"
[[grid]]
tasks = ["rlsuite/GridWorld-v0"]
seeds = 2
total_timesteps = 50
[grid.agents]
q = "rlsuite/QLearning-v0"
"""


@pytest.fixture
def suite(tmp_path) -> str:
    path = tmp_path / "two.toml"
    path.write_text(SUITE)
    return str(path)


def test_a_suite_gives_its_own_cells_and_says_what_is_missing(suite, tmp_path):
    store = tmp_path / "s.sqlite"
    ran = rlsuite.benchmark(suite, seeds=1, store=store)
    rlsuite.benchmark(
        agents=["rlsuite/Random-v0"],
        tasks=["CartPole-v1"],
        seeds=1,
        total_timesteps=20,
        store=store,
    )
    found = stored(suite, store)
    assert [r.key.digest for r in found.records] == [r.key.digest for r in ran.records]
    assert (found.title, found.suite, found.missing, found.path) == ("Two seeds", "two", 1, store)
    everything = stored(str(store))
    assert len(everything.records) == 2
    assert (everything.suite, everything.missing) == ("", 0)


def test_the_label_of_the_suite_is_shown(suite, tmp_path):
    store = tmp_path / "s.sqlite"
    rlsuite.benchmark(suite, store=store)
    other = tmp_path / "renamed.toml"
    other.write_text(SUITE.replace('q = "rl', 'mine = "rl'))
    assert {record.agent for record in stored(str(other), store).records} == {"mine"}


def test_two_labels_of_one_cell_are_both_shown(tmp_path):
    suite = tmp_path / "labels.toml"
    suite.write_text(SUITE + 'p = "rlsuite/QLearning-v0"\n')
    store = tmp_path / "s.sqlite"
    rlsuite.benchmark(str(suite), seeds=1, store=store)
    found = stored(str(suite), store)
    assert [record.agent for record in found.records] == ["q", "p"]
    assert len({record.key.digest for record in found.records}) == 1


def test_many_cells_of_a_suite_are_read_without_their_arrays(suite, tmp_path, monkeypatch):
    store = tmp_path / "s.sqlite"
    rlsuite.benchmark(suite, store=store)
    assert all(record.training is not None for record in stored(suite, store).records)
    for module in (reading, gathering):
        monkeypatch.setattr(module, "FULL", 1)
    assert [record.training for record in stored(suite, store).records] == [None, None]


def test_baselines_are_shown_beside_the_suites_own_and_are_not_run(suite, tmp_path):
    """Theirs hold Sarsa on the suite's task, an agent that the suite has too, and another task."""
    theirs = tmp_path / "theirs.sqlite"
    for agents, task in (
        ({"sarsa": "rlsuite/Sarsa-v0", "q": "rlsuite/QLearning-v0"}, "rlsuite/GridWorld-v0"),
        ({"sarsa": "rlsuite/Sarsa-v0"}, "rlsuite/CliffWalk-v0"),
    ):
        rlsuite.benchmark(agents=agents, tasks=[task], seeds=2, total_timesteps=60, store=theirs)
    beside = tmp_path / "beside.toml"
    beside.write_text(f'baselines = "theirs.sqlite"{SUITE}')
    store = tmp_path / "s.sqlite"
    result = rlsuite.benchmark(str(beside), seeds=1, store=store)
    assert [(r.agent, r.total_timesteps) for r in result.records] == [("q", 50)]
    assert [(r.agent, r.task, r.seed) for r in result.baselines] == [
        ("sarsa", "rlsuite/GridWorld-v0", 0),
        ("sarsa", "rlsuite/GridWorld-v0", 1),
    ]
    assert "sarsa" in str(result)
    page = result.report(tmp_path / "r.html").read_text(encoding="utf-8")
    assert "From theirs.sqlite, which comes with the suite; not run here." in page
    found = stored(str(beside), store)
    assert [r.key for r in found.shown] == [r.key for r in result.shown]
    assert (found.missing, len(found.records), len(found.baselines)) == (1, 1, 2)
    with Store(store) as opened:
        assert len(list(opened.records())) == 1


def test_nothing_there_is_a_sentence(suite, tmp_path):
    empty = tmp_path / "empty.sqlite"
    Store(empty).close()
    with pytest.raises(StoreError, match="holds no cell of the suite 'two' as it is now: run it"):
        stored(suite, empty)
    with pytest.raises(
        StoreError, match=r"`rlsuite bench run \S+ --store \S+empty.sqlite`, or name"
    ):
        stored(suite, empty)
    with pytest.raises(StoreError, match="is empty: run a suite first"):
        stored(str(empty))
    with pytest.raises(StoreError, match="there is no store"):
        stored(str(tmp_path / "none.sqlite"))
    with pytest.raises(UnknownIdError, match="there is no suite 'nothing'"):
        stored("nothing")
