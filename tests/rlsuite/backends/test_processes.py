"""What an agent does to its process is the outcome of its cell, and of no other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import rlsuite
from registry.catalogue import registry
from registry.errors import SettingError, StoreError
from rlsuite.backends.processes import ProcessesBackend
from rlsuite.running.events import CellProgress, CellRetried
from rlsuite.running.run_loop import memory_bytes
from rlsuite.store import Store
from rlsuite.suite import AgentChoice

sys.path.insert(0, str(Path(__file__).parent))
import mischief

GRID = "rlsuite/GridWorld-v0"


@pytest.fixture
def run(tmp_path):
    def run(agents, **keywords):
        keywords = {"seeds": 1, "total_timesteps": 40, "workers": 2, **keywords}
        return rlsuite.benchmark(
            agents=agents, tasks=[GRID], store=tmp_path / "s.sqlite", **keywords
        )

    return run


def by_label(result):
    return {record.agent: record for record in result.records}


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def test_each_mischief_is_its_own_outcome(run, tmp_path):
    heard = []
    names = ("Good", "Leaves", "Crashes", "Raises", "LeavesPython", "Binary", "KilledAlways")
    agents = {name: getattr(mischief, name) for name in names}
    agents["KilledOnce"] = AgentChoice(mischief.KilledOnce, {"note": str(tmp_path / "note")})
    found = by_label(run(agents, progress=heard.append))
    states = {label: record.state for label, record in found.items()}
    assert states == {
        "Good": "ok",
        "Leaves": "failed",
        "Crashes": "failed",
        "Raises": "failed",
        "LeavesPython": "failed",
        "Binary": "ok",
        "KilledAlways": "killed",
        "KilledOnce": "ok",
    }
    said = found["Leaves"].error.splitlines()
    assert said[-1] == "its process ended with exit code 3 before it had a result"
    assert said[-2] == "these were \\xff\ufffd its last words"
    assert found["Crashes"].error.endswith("its process crashed: SIGSEGV")
    assert found["Raises"].error.endswith("RuntimeError: the wheels came off")
    assert found["LeavesPython"].error.endswith("SystemExit: 0")
    assert "about to be killed" in found["KilledAlways"].error
    assert found["KilledAlways"].error.endswith("ended from outside by SIGKILL (3 times)")
    assert sum(isinstance(event, CellRetried) for event in heard) == 3  # 1 + 2; no exception is
    with Store(tmp_path / "s.sqlite", read_only=True) as store:
        tries = {label: store.attempts(r.key.digest) for label, r in found.items()}
        assert store.leases() == {}
    assert [t.state for t in tries["KilledOnce"]] == ["killed", "ok"]
    assert [t.state for t in tries["KilledAlways"]] == ["killed"] * 3
    assert [t.state for t in tries["Raises"]] == ["failed"]
    kept = tmp_path / tries["Binary"][0].output
    assert kept.read_bytes().startswith(bytes(range(256)))
    assert tries["Good"][0].output == ""


def test_too_long_is_a_timeout_even_for_who_ignores_sigterm(run, tmp_path, monkeypatch):
    monkeypatch.setattr("rlsuite.backends.processes.GRACE_SECONDS", 1.0)
    note = tmp_path / "note"
    agents = {
        "Sleeps": mischief.Sleeps,
        "Stubborn": AgentChoice(mischief.Stubborn, {"note": str(note)}),
        "Good": mischief.Good,
    }
    start = time.monotonic()
    found = by_label(run(agents, timeout=1.5, seeds=1))
    assert found["Sleeps"].state == found["Stubborn"].state == "timeout"
    assert found["Sleeps"].error == "stopped after its limit of 1.5 s"
    assert found["Good"].state == "ok"
    assert 1.5 < time.monotonic() - start < 30
    worker, grandchild = map(int, note.read_text().split())
    assert not alive(worker)
    assert not alive(grandchild)


def test_too_much_memory_is_oom_and_tried_again(run):
    heard = []
    result = run({"Leaks": mischief.Leaks}, memory="900MiB", retries=1, progress=heard.append)
    (record,) = result.records
    assert record.state == "oom"
    assert record.error == "stopped at its limit of 900 MiB of memory (2 times)"
    assert [e.state for e in heard if isinstance(e, CellRetried)] == ["oom"]


def test_a_class_without_a_name_runs_here_and_says_so(run):
    class Local(mischief.Good):
        pass

    result = run({"local": Local, "q": "rlsuite/QLearning-v0"})
    assert [record.state for record in result.records] == ["ok", "ok"]
    assert (
        "Note: the agent 'local' cannot be imported by name, so its cells ran one after the other "
        "in this process, without limits. Put it into a module that can be imported."
    ) in result.notes


def test_a_nursery_that_is_killed_costs_no_cell(run):
    """What was running is lost and done again; a new nursery is started."""
    killed = []

    def progress(event):
        if not killed and type(event).__name__ == "CellProgress":
            me = os.getpid()
            for stat in Path("/proc").glob("[0-9]*/stat"):
                try:
                    fields = stat.read_text().rpartition(")")[2].split()
                    command = (stat.parent / "cmdline").read_bytes()
                except OSError:
                    continue
                if int(fields[1]) == me and b"nursery" in command:
                    os.kill(int(stat.parent.name), signal.SIGKILL)
                    killed.append(int(stat.parent.name))

    agents = {"q": "rlsuite/QLearning-v0"}
    result = run(agents, seeds=4, total_timesteps=3_000, progress=progress)
    assert killed
    assert [record.state for record in result.records] == ["ok"] * 4


def test_limits_need_processes(run):
    with pytest.raises(SettingError, match="limits of time and memory need cells in processes"):
        run(["rlsuite/Random-v0"], backend="rlsuite/serial-v0", workers=None, timeout=1)
    with pytest.raises(SettingError, match="one cell at a time, got workers=2"):
        run(["rlsuite/Random-v0"], backend="rlsuite/serial-v0")


@pytest.mark.parametrize(
    ("keywords", "match"),
    [
        ({"workers": 0}, "workers is a whole number of at least 1, got 0"),
        ({"timeout": 0}, "timeout must be a number of seconds above 0, got 0"),
        ({"memory": -1}, "memory must be a number of bytes above 0, got -1"),
        ({"memory": "much"}, "memory is a number of bytes, or a number with a unit"),
        ({"memory": "xGB"}, "got 'xGB'"),
        ({"memory": "infGB"}, "got 'infGB'"),
        ({"memory": "5 furlongs"}, "got '5 furlongs'"),
        ({"memory": "0"}, "memory must be a number of bytes above 0, got 0"),
        ({"timeout": float("inf")}, "timeout must be a number of seconds above 0, got inf"),
        ({"retries": -1}, "retries is a whole number of at least 0, got -1"),
        ({"checkpoint_every": 0}, "checkpoint_every is a whole number of steps of at least 1"),
    ],
)
def test_settings_out_of_range(run, tmp_path, keywords, match):
    with pytest.raises(SettingError, match=match):
        run(["rlsuite/Random-v0"], **keywords)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [(None, None), (7, 7), ("7", 7), ("2 GiB", 2**31), ("500MB", 500_000_000), (" 1.5 kb", 1_500)],
)
def test_memory_in_words(given, wanted):
    assert memory_bytes(given) == wanted


@pytest.mark.parametrize(
    ("keywords", "match"),
    [
        ({"grace": -1}, "grace is a number of seconds"),
        ({"method": "threads"}, "method is 'forkserver' or 'spawn', got 'threads'"),
    ],
)
def test_settings_of_the_backend_out_of_range(keywords, match):
    with pytest.raises(SettingError, match=match):
        ProcessesBackend(**keywords)


def test_an_output_folder_that_cannot_be_made(run, tmp_path):
    (tmp_path / "s.output").write_text("in the way")
    with pytest.raises(StoreError, match="the output of a cell cannot be kept in"):
        run(["rlsuite/Random-v0"])


def test_a_coordinator_that_is_killed_leaves_no_worker(tmp_path):
    note = tmp_path / "note"
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import rlsuite, mischief\n"
        "from rlsuite.suite import AgentChoice\n"
        f"rlsuite.benchmark(agents={{'s': AgentChoice(mischief.Waits, {{'note': {str(note)!r}}})}},"
        f" tasks=[{GRID!r}], seeds=1, workers=1, store={str(tmp_path / 's.sqlite')!r})"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as coordinator:
        deadline = time.monotonic() + 60
        while not (note.exists() and note.read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
        coordinator.kill()
    pids = list(map(int, note.read_text().split()))
    deadline = time.monotonic() + 30
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(alive, pids))


def test_it_is_registered():
    assert registry.get("backend", "rlsuite/processes-v0").load() is ProcessesBackend


def test_steps_are_told_between_evaluations(run):
    """Of a training of a few seconds without evaluations in between; they only grow."""
    heard = []
    agents = {"paced": mischief.Paced, "q": "rlsuite/QLearning-v0"}
    result = run(agents, total_timesteps=60, progress=heard.append)
    assert [record.state for record in result.records] == ["ok", "ok"]
    steps = [e.steps for e in heard if isinstance(e, CellProgress) and e.index == 0]
    between = [step for step in steps if step not in (12, 24, 36, 48)]
    assert between
    assert all(0 < step < 60 for step in between)
