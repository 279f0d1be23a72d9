"""What every backend keeps: run on the serial one, on processes of both kinds, and on a faulty one.

The first tests ask the protocol itself; the last ones ask a whole benchmark, whose records must be
the same bits whatever ran them.
"""

from __future__ import annotations

import functools
import sys

import pytest

import rlsuite
from rlsuite.backends import Job
from rlsuite.backends.processes import ProcessesBackend
from rlsuite.backends.serial import SerialBackend
from rlsuite.identity import fingerprint, key_of, resolved_settings
from rlsuite.running.cells import run_cell
from rlsuite.running.payloads import payload_of
from rlsuite.suite import Grid, Suite, choices

from .faulty import FaultyBackend

GRID = "rlsuite/GridWorld-v0"
LINUX = sys.platform.startswith("linux")

BACKENDS = {
    "serial": SerialBackend,
    "fork": functools.partial(ProcessesBackend, workers=2, method="forkserver"),
    "spawn": functools.partial(ProcessesBackend, workers=1, method="spawn"),
    "faulty": functools.partial(FaultyBackend, rate=0.0),
}


@pytest.fixture(params=[name for name in BACKENDS if LINUX or name != "fork"])
def backend(request):
    made = BACKENDS[request.param]()
    yield made
    made.close()


def jobs(count=1, steps=60):
    grid = Grid(
        tasks=(GRID,),
        agents=choices({"q": "rlsuite/QLearning-v0"}),
        seeds=count,
        total_timesteps=steps,
        eval_points=3,
    )
    for cell in Suite("jobs", (grid,)).cells():
        key, settings, known = key_of(cell), resolved_settings(cell.choice), fingerprint()
        yield Job(
            cell=cell,
            key=key,
            payload=payload_of(cell, key, settings=settings, fingerprint=known),
            run=functools.partial(_run, cell, key, settings, known),
        )


def _run(cell, key, settings, known, progress):
    return run_cell(cell, key, settings=settings, fingerprint=known, progress=progress)


def all_of(backend, handles, timeout=60):
    """Waits for every one of the handles; outcomes by handle."""
    found = {}
    while left := [handle for handle in handles if handle not in found]:
        outcomes = backend.wait(left, timeout)
        assert outcomes, "no outcome in time"
        for outcome in outcomes:
            assert outcome.handle in left
            found[outcome.handle] = outcome
    return found


def test_every_job_has_one_outcome_with_its_own_record(backend):
    assert backend.capacity() >= 1
    submitted = {backend.submit(job): job for job in jobs(3)}
    assert len(submitted) == 3
    found = all_of(backend, list(submitted))
    for handle, job in submitted.items():
        assert (found[handle].state, found[handle].detail) == ("done", "")
        assert found[handle].record.key == job.key
        assert found[handle].record.state == "ok"
        assert found[handle].seconds > 0
    assert backend.wait(list(submitted), 0.05) == []


def test_progress_comes_in_order_and_from_inside_wait(backend):
    heard = []
    (job,) = jobs(steps=90)
    handle = backend.submit(job, lambda steps, budget: heard.append((steps, budget)))
    assert heard == []
    all_of(backend, [handle])
    assert heard == [(30, 90), (60, 90)]


def test_no_time_is_no_outcome_and_loses_nothing(backend):
    (job,) = jobs()
    handle = backend.submit(job)
    assert backend.wait([handle], 0) == []
    assert all_of(backend, [handle])[handle].state == "done"


def test_nothing_to_wait_for_is_no_outcome_at_once(backend):
    assert backend.wait([], None) == []
    assert backend.wait([99], None) == []


def test_what_is_cancelled_has_one_outcome_without_a_record(backend):
    (job,) = jobs(steps=10_000_000)
    handle = backend.submit(job)
    backend.cancel(handle)
    outcome = all_of(backend, [handle])[handle]
    assert (outcome.state, outcome.record) == ("cancelled", None)
    backend.cancel(handle)  # again, and what is unknown: no harm
    backend.cancel(99)
    assert backend.wait([handle], 0.05) == []


def test_close_gives_up_what_is_under_way_and_twice_is_no_harm(backend):
    for job in jobs(2, steps=10_000_000):
        backend.submit(job)
    backend.close()
    backend.close()


def mixed():
    """Tables, bandits, texts and Stable-Baselines3."""
    return Suite(
        "mixed",
        (
            Grid(
                tasks=(GRID,),
                agents=choices(["rlsuite/QLearning-v0", "rlsuite/Random-v0"]),
                seeds=2,
                total_timesteps=500,
            ),
            Grid(
                tasks=("rlsuite/BernoulliBandit-v0",),
                agents=choices(["rlsuite/ThompsonSampling-v0"]),
                seeds=1,
            ),
            Grid(
                tasks=("rlsuite/TokenGeneration-v0",),
                agents=choices(["rlsuite/Reinforce-v0"]),
                seeds=1,
                total_timesteps=150,
            ),
            Grid(
                tasks=("CartPole-v1",),
                agents=choices({"ppo": ("sb3/PPO-v0", {"n_steps": 64})}),
                seeds=1,
                total_timesteps=128,
                eval_points=2,
                final_episodes=3,
            ),
        ),
    )


@pytest.fixture(scope="module")
def serial_table(tmp_path_factory):
    result = rlsuite.benchmark(mixed(), store=tmp_path_factory.mktemp("serial") / "s.sqlite")
    assert result.failed == ()
    return rlsuite.results_table(result.records)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_same_bits_from_processes(tmp_path, serial_table, workers):
    result = rlsuite.benchmark(mixed(), store=tmp_path / "s.sqlite", workers=workers)
    assert rlsuite.results_table(result.records) == serial_table


def test_the_same_bits_from_a_backend_that_loses_half_of_them(tmp_path, serial_table, monkeypatch):
    made = []

    def faulty(workers=None):
        made.append(FaultyBackend(seed=4))
        return made[-1]

    monkeypatch.setattr("rlsuite.backends.serial.SerialBackend", faulty)
    result = rlsuite.benchmark(mixed(), store=tmp_path / "s.sqlite", retries=20)
    assert rlsuite.results_table(result.records) == serial_table
    assert all(made[0].faults.values()), made[0].faults
