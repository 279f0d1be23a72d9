"""What numba compiles is compiled once, before the first worker, and never by several at once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from registry.catalogue import Transaction, registry
from registry.specs import Provenance
from rlsuite.backends.processes import ProcessesBackend
from rlsuite.running.payloads import WORTH_REHEARSING, rehearsal_of
from rlsuite.running.run_loop import Rules, Running
from rlsuite.store import Store
from rlsuite.suite import AgentChoice, Grid, Suite, choices

sys.path.insert(0, str(Path(__file__).parent))
import mischief

METHODS = ["forkserver", "spawn"] if sys.platform.startswith("linux") else ["spawn"]
ID = "here/Rehearsed-v0"


@pytest.fixture
def agent(tmp_path):
    """A registered agent that notes what is done with it."""
    transaction = Transaction(registry, Provenance(distribution="here", version="0"))
    transaction.add_agent(ID, "rehearsed:Rehearsed")
    transaction.commit()
    yield AgentChoice(ID, {"note": str(tmp_path / "note")})
    del registry._entries["agent"][ID]


def suite(agent, steps=WORTH_REHEARSING, seeds=1):
    grid = Grid(
        tasks=("rlsuite/GridWorld-v0",),
        agents=choices({"a": agent}),
        seeds=seeds,
        total_timesteps=steps,
        eval_points=0,
        eval_episodes=1,
        final_episodes=1,
    )
    return Suite("rehearsed", (grid,))


def rehearsal(agent, **changes):
    (cell,) = suite(agent, **changes).cells()
    return rehearsal_of(cell)


def test_only_what_is_compiled_and_worth_it_is_rehearsed(agent):
    assert rehearsal(agent) is not None
    assert rehearsal(agent, steps=WORTH_REHEARSING - 1) is None
    assert rehearsal("rlsuite/Random-v0") is None
    assert rehearsal(AgentChoice(mischief.Good)) is None


@pytest.mark.parametrize("method", METHODS)
def test_once_before_the_first_worker_and_its_failure_is_left_to_the_cells(tmp_path, agent, method):
    backend = ProcessesBackend(workers=2, method=method)
    with Store(tmp_path / "s.sqlite") as store:
        run = Running(suite(agent, seeds=3), store, backend, lambda event: None, Rules())
        run.finish()
    assert [record.state for record in run.records.values()] == ["ok"] * 3
    lines = [line.split(maxsplit=2) for line in (tmp_path / "note").read_text().splitlines()]
    assert [what for _, _, what in lines] == ["rehearsal [0] 1", "cell", "cell", "cell"]
    (rehearser, *_), *workers = lines
    assert len({pid for pid, _, _ in lines}) == 4
    if method == "forkserver":  # what is compiled in the parent of the workers is theirs as well
        assert {parent for _, parent, _ in workers} == {rehearser}
