"""The serial backend keeps the protocol of all backends."""

from __future__ import annotations

import pytest

import rlsuite
from registry.catalogue import registry
from rlsuite.backends import Job
from rlsuite.backends.serial import SerialBackend
from rlsuite.records import RunKey
from rlsuite.suite import AgentChoice, Cell


def job(run):
    cell = Cell(
        task=registry.task_spec("rlsuite/GridWorld-v0"),
        label="q",
        choice=AgentChoice("rlsuite/QLearning-v0"),
        seed=0,
        total_timesteps=1,
        eval_points=1,
        eval_episodes=1,
        final_episodes=1,
        deterministic=True,
    )
    return Job(cell=cell, key=RunKey(identity={}), payload="{}", run=run)


def test_jobs_run_when_somebody_waits_one_at_a_time():
    heard = []
    backend = SerialBackend()
    assert backend.capacity() == 1
    handles = [backend.submit(job(lambda _, k=k: heard.append(k))) for k in range(2)]
    assert heard == []
    (first,) = backend.wait(handles)
    assert (first.handle, first.state, heard) == (handles[0], "done", [0])
    (second,) = backend.wait(handles)
    assert (second.handle, heard) == (handles[1], [0, 1])
    assert backend.wait(handles) == []


def test_what_is_cancelled_is_never_run():
    backend = SerialBackend()
    handle = backend.submit(job(lambda _: pytest.fail("ran")))
    backend.cancel(handle)
    (outcome,) = backend.wait([handle])
    assert (outcome.state, outcome.record) == ("cancelled", None)
    backend.cancel(handle)
    assert backend.wait([handle]) == []


def test_no_time_runs_nothing():
    backend = SerialBackend()
    handle = backend.submit(job(lambda _: "ran"))
    assert backend.wait([handle], timeout=0) == []
    assert backend.wait([handle], timeout=1)[0].record == "ran"


def test_it_is_the_registered_one():
    assert registry.get("backend", "rlsuite/serial-v0").load() is SerialBackend
    with pytest.raises(rlsuite.UnknownIdError, match=r"no backend 'rlsuite/serail-v0'. Did you me"):
        rlsuite.benchmark(
            agents=["rlsuite/Random-v0"],
            tasks=["rlsuite/BernoulliBandit-v0"],
            backend="rlsuite/serail-v0",
        )
