"""Seeds until it is clear, with real agents: one pair separates, one is equal, one fails."""

from __future__ import annotations

import numpy as np
import pytest

import rlsuite
from registry.errors import SettingError
from rlsuite.benchmarking import CellFinished, SuiteStarted
from rlsuite.running.planning import chosen_by
from rlsuite.store import Store
from rlsuite.suite import choices
from rlsuite.until_clear import UntilClear, benchmark_until_clear

GRID = "rlsuite/GridWorld-v0"
Q, RANDOM = "rlsuite/QLearning-v0", "rlsuite/Random-v0"


class Fickle:
    """Moves at random with a probability that is drawn once, from the seed; else to the right."""

    stream = 0

    def __init__(self, env, seed):
        self.rng = np.random.default_rng([seed, self.stream])
        self.chance = self.rng.random()

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        move = self.rng.integers(4) if self.rng.random() < self.chance else 1
        return move, state


class Twin(Fickle):
    """The same agent, with other luck."""

    stream = 1


class Breaks:
    """Fails with every second seed, and has nothing to show for the others."""

    def __init__(self, env, seed):
        if seed % 2:
            raise RuntimeError("no luck")

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return 0, state


def small(agents, seeds=5):
    grid = rlsuite.Grid(
        tasks=(GRID,),
        agents=choices(agents),
        seeds=seeds,
        total_timesteps=1500,
        eval_points=0,
        final_episodes=6,
    )
    return rlsuite.Suite("small", (grid,))


def run(store, agents, *, seeds=5, **more):
    looks, events = [], []
    result = benchmark_until_clear(
        small(agents, seeds), store=store, looked=looks.append, progress=events.append, **more
    )
    return result, looks, events


def test_a_pair_that_separates_needs_no_second_look(tmp_path):
    result, looks, _ = run(tmp_path / "s.sqlite", {"q": Q, "random": RANDOM})
    assert len(looks) == 1
    (found,) = result.decisions
    assert looks[0] == result.decisions
    assert (found.pairs[0].better, found.pairs[0].look, found.clear) == ("q", 5, True)
    assert len(result.records) == 10
    assert result.notes[-1].startswith("Note: seeds were added until")
    assert "tabular, score: 1 of 1 pair told apart: enough seeds." in str(result)


def test_equal_agents_run_to_the_end_and_the_third_stops(tmp_path):
    store = tmp_path / "s.sqlite"
    agents = {"fickle": Fickle, "twin": Twin, "q": Q}
    result, looks, events = run(store, agents, max_seeds=12)
    assert [found.looks for (found,) in looks] == [(5, 10, 12)] * len(looks)
    (last,) = looks[-1]
    better = {(p.first, p.second): p.better for p in last.pairs}
    assert better == {("fickle", "twin"): None, ("fickle", "q"): "q", ("twin", "q"): "q"}
    assert last.seeds == {"fickle": 12, "twin": 12, "q": 5}
    assert [found.most_cells for (found,) in looks] == [14, 4, 0]
    assert last.sentence.endswith("after 12 seeds, the last look: the others may be equal.")
    # cells are counted look by look, and each is told once
    plans = [(e.total, e.reused) for e in events if isinstance(e, SuiteStarted)]
    assert plans == [(15, 0), (10, 0), (4, 0)]
    told = [(e.index, e.total) for e in events if isinstance(e, CellFinished)]
    assert told == [(i, n) for n in (15, 10, 4) for i in range(n)]
    assert (len(result.records), result.reused) == (29, 0)

    again, relooks, events = run(store, agents, max_seeds=12)
    assert relooks == looks
    assert again.reused == 29
    assert all(event.reused for event in events if isinstance(event, CellFinished))
    assert [r.key.digest for r in again.records] == [r.key.digest for r in result.records]


def test_after_an_interruption_the_same_call_goes_on(tmp_path):
    agents = {"fickle": Fickle, "twin": Twin}
    whole, looks, _ = run(tmp_path / "whole.sqlite", agents, max_seeds=10)
    store, done = tmp_path / "cut.sqlite", []

    def stop(event):
        done.append(isinstance(event, CellFinished))
        if sum(done) == 13:  # in the middle of the second look
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        benchmark_until_clear(small(agents), max_seeds=10, store=store, progress=stop)
    again, relooks, _ = run(store, agents, max_seeds=10)
    assert relooks == looks
    assert 13 <= again.reused < 20
    assert len(again.records) == len(whole.records) == 20


def test_seeds_stored_beyond_the_look_do_not_decide(tmp_path):
    store = tmp_path / "s.sqlite"
    agents = {"q": Q, "random": RANDOM}
    rlsuite.benchmark(small(agents, 8), store=store)
    result, _, _ = run(store, agents)
    assert result.decisions[0].seeds == {"q": 5, "random": 5}
    assert (len(result.records), result.reused) == (10, 10)


def test_a_run_that_failed_counts_and_is_not_tried_again_in_the_same_call(tmp_path):
    store = tmp_path / "s.sqlite"
    result, looks, _ = run(store, {"breaks": Breaks, "random": RANDOM}, seeds=4, max_seeds=8)
    assert [found.failed for (found,) in looks] == [{"breaks": 2}, {"breaks": 4}]
    assert len(result.failed) == 4
    with Store(store, read_only=True) as opened:
        attempts = {len(opened.attempts(record.key.digest)) for record in result.failed}
    assert attempts == {1}


def test_only_what_is_chosen_is_compared(tmp_path):
    result, _, _ = run(
        tmp_path / "s.sqlite",
        {"q": Q, "random": RANDOM, "fickle": Fickle},
        choose=chosen_by(["agent=q", "agent=random"]),
    )
    assert {record.agent for record in result.records} == {"q", "random"}
    assert set(result.decisions[0].seeds) == {"q", "random"}


def test_what_is_refused_runs_nothing(tmp_path):
    store = tmp_path / "s.sqlite"
    with pytest.raises(SettingError, match="the first look takes at least 2"):
        run(store, {"q": Q, "random": RANDOM}, seeds=1)
    assert not store.exists()


def test_the_looks_are_over_when_there_are_no_cells_left(tmp_path):
    steps = UntilClear(small({"q": Q, "random": RANDOM}))
    assert (steps.done, len(steps.cells())) == (False, 10)
    steps.look(store=tmp_path / "s.sqlite")
    assert (steps.done, steps.cells()) == (True, [])
