"""A training that is stopped and goes on gives the same bits as one that never stopped."""

from __future__ import annotations

import os
import signal
import time

import pytest

import rlsuite
from registry.errors import CheckpointError, SettingError
from registry.specs import TaskSpec
from rlsuite.identity import key_of, resolved_settings
from rlsuite.running import resuming
from rlsuite.running.cells import run_cell
from rlsuite.running.resuming import CheckpointPlan, Saver, Stopped, load_cell, remove_cell
from rlsuite.store import Store
from rlsuite.suite import Grid, Suite, choices

CASES = [
    ("FrozenLake-v1", "rlsuite/QLearning-v0", 2_100),
    ("rlsuite/CliffWalk-v0", "rlsuite/Sarsa-v0", 2_100),
    ("rlsuite/BernoulliBandit-v0", "rlsuite/ThompsonSampling-v0", 500),
    ("CartPole-v1", "rlsuite/Reinforce-v0", 700),
    ("rlsuite/TokenGeneration-v0", "rlsuite/Reinforce-v0", 210),
    ("CartPole-v1", ("rlsuite/PPO-v0", {"num_envs": 3, "n_steps": 40, "batch_size": 60}), 700),
    ("CartPole-v1", ("rlsuite/DQN-v0", {"prioritized": True}), 500),
]


def cell_of(task, agent, steps):
    grid = Grid(
        tasks=(task,),
        agents=choices({"a": agent}),
        seeds=1,
        total_timesteps=steps,
        eval_points=3,
        eval_episodes=2,
        final_episodes=2,
    )
    (cell,) = Suite("one", (grid,)).cells()
    return cell


def run(cell, plan=None):
    record = run_cell(
        cell,
        key_of(cell),
        settings=resolved_settings(cell.choice),
        fingerprint={},
        checkpoints=plan,
    )
    assert record.state == "ok", record.error
    return rlsuite.results_table([record])


@pytest.fixture
def plan(tmp_path):
    return CheckpointPlan(folder=str(tmp_path / "c"), digest="d", every=100)


@pytest.fixture
def stop_at_each_save(monkeypatch):
    save = Saver._save

    def stop(self, agent, done):
        save(self, agent, done)
        raise Stopped

    monkeypatch.setattr(Saver, "_save", stop)


@pytest.mark.parametrize(("task", "agent", "steps"), CASES)
def test_stopped_at_every_checkpoint_the_record_is_the_same(
    tmp_path, task, agent, steps, stop_at_each_save
):
    """The points of saving are no divisors of the points of evaluation."""
    cell = cell_of(task, agent, steps)
    plain = run(cell)
    plan = CheckpointPlan(folder=str(tmp_path), digest="d", every=steps // 5 + 1)
    stops = 0
    while True:
        try:
            assert run(cell, plan) == plain
            break
        except Stopped:
            stops += 1
    assert stops == 4


def test_sigterm_saves_and_stops(plan):
    cell = cell_of("FrozenLake-v1", "rlsuite/QLearning-v0", 3_000)
    plain = run(cell)
    far = CheckpointPlan(folder=plan.folder, digest="d", every=10**9)
    asked = []

    def progress(steps, budget):
        if not asked:
            asked.append(steps)
            resuming.stop_requests, original = soon, resuming.stop_requests
            asked.append(original)

    def soon():
        resuming.stop_requests = asked[1]
        return _Asked(asked[1])

    try:
        with pytest.raises(Stopped, match="stopped after"):
            run_cell(
                cell,
                key_of(cell),
                settings=resolved_settings(cell.choice),
                fingerprint={},
                progress=progress,
                checkpoints=far,
            )
    finally:
        resuming.stop_requests = asked[1]
    file, state = load_cell(far)
    assert 1_000 < state["done"] < 3_000
    assert file.exists()
    assert run(cell, far) == plain


class _Asked:
    """`stop_requests`, in which this process gets a real SIGTERM."""

    def __init__(self, original):
        self.inner = original()

    def __enter__(self):
        event = self.inner.__enter__()
        os.kill(os.getpid(), signal.SIGTERM)
        deadline = time.monotonic() + 5
        while not event.is_set() and time.monotonic() < deadline:
            time.sleep(0.001)
        return event

    def __exit__(self, *error):
        return self.inner.__exit__(*error)


def damaged(plan, how):
    head = plan.head
    if how == "torn":
        head.write_bytes(head.read_bytes()[:-20])
    elif how == "another agent":
        file, _ = load_cell(plan)
        file.write_bytes(file.read_bytes()[:-1])
    elif how == "no agent":
        load_cell(plan)[0].unlink()
    else:
        assert '"format": 3' in head.read_text()
        other = {"a newer format": 9, "an older format": 1}[how]
        head.write_text(head.read_text().replace('"format": 3', f'"format": {other}'))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("torn", "is damaged"),
        ("another agent", "is not the agent that d.json was saved with"),
        ("no agent", "names an agent that is missing"),
        ("a newer format", "has the format 9, not 3"),
        ("an older format", "has the format 1, not 3"),
    ],
)
def test_a_damaged_checkpoint_is_set_aside_and_says_so(plan, how, said, capsys, stop_at_each_save):
    cell = cell_of("FrozenLake-v1", "rlsuite/QLearning-v0", 150)
    plain = run(cell)
    with pytest.raises(Stopped):
        run(cell, plan)
    damaged(plan, how)
    with pytest.raises(CheckpointError, match=said):
        load_cell(plan)
    with pytest.raises(Stopped):  # anew, up to the same checkpoint
        run(cell, plan)
    assert "The training begins anew, its checkpoint cannot be used" in capsys.readouterr().out
    assert run(cell, plan) == plain


def test_agents_that_do_not_promise_it_are_not_saved(plan):
    cell = cell_of("CartPole-v1", "sb3/DQN-v0", 120)
    run(cell, plan)
    assert load_cell(plan) is None


def test_a_place_that_cannot_be_written_costs_only_the_copy(tmp_path, capsys):
    (tmp_path / "file").touch()
    plan = CheckpointPlan(folder=str(tmp_path / "file"), digest="d", every=50)
    with pytest.raises(CheckpointError, match=r"d.json cannot be read: Not a directory"):
        load_cell(plan)
    assert run(cell_of("FrozenLake-v1", "rlsuite/QLearning-v0", 40), plan)
    cell = cell_of("FrozenLake-v1", "rlsuite/QLearning-v0", 120)
    plan = CheckpointPlan(folder=str(tmp_path / "c"), digest="d", every=50)
    os.symlink(tmp_path / "nowhere" / "c", tmp_path / "c")
    assert run(cell, plan) == run(cell)
    assert "The training goes on, but could not be saved" in capsys.readouterr().out


def test_how_often_is_checked():
    with pytest.raises(SettingError, match="at least 1, got 0"):
        CheckpointPlan(folder="", digest="", every=0)


def test_a_cell_that_timed_out_goes_on_in_the_next_run(tmp_path):
    """Its checkpoint is kept, and removed when the cell is finished."""
    fickle = {"fickle_passenger": True}  # no compiled loop follows it, so it takes longer
    grid = Grid(
        tasks=(TaskSpec(id="test/Fickle-v0", env_id="Taxi-v4", env_kwargs=fickle),),
        agents=choices({"q": "rlsuite/QLearning-v0"}),
        seeds=1,
        total_timesteps=100_000,
        eval_points=1,
    )
    suite = Suite("long", (grid,))
    store = tmp_path / "s.sqlite"
    first = rlsuite.benchmark(suite, store=store, timeout=0.5)
    assert [record.state for record in first.records] == ["timeout"]
    folder = tmp_path / "s.checkpoints"
    assert len(list(folder.iterdir())) == 2
    second = rlsuite.benchmark(suite, store=store, workers=1)
    assert second.failed == ()
    assert list(folder.iterdir()) == []
    undisturbed = rlsuite.benchmark(suite, store=tmp_path / "u.sqlite")
    assert rlsuite.results_table(second.records) == rlsuite.results_table(undisturbed.records)
    with Store(store, read_only=True) as opened:
        states = [a.state for a in opened.attempts(second.records[0].key.digest)]
    assert states == ["timeout", "ok"]
    remove_cell(CheckpointPlan(folder=str(folder), digest="unknown", every=1))
