"""What agents tell of their updates, in records, the store, frames and event files."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import rlsuite
from rlsuite.data.frames import frame
from rlsuite.data.querying import Query
from rlsuite.identity import key_of, resolved_settings
from rlsuite.reporting.curves import update_series
from rlsuite.reporting.event_files import cell_events
from rlsuite.running.cells import run_cell
from rlsuite.running.packing import from_bytes, to_bytes
from rlsuite.running.resuming import CheckpointPlan, Saver, Stopped
from rlsuite.suite import Grid, Suite, choices
from rlsuite.watching.detectors import EntropyCollapse

CLOCKS = {"steps_per_second"}
PPO = ("rlsuite/PPO-v0", {"n_steps": 32, "batch_size": 32})
BAD = ("rlsuite/PPO-v0", {"n_steps": 32, "batch_size": 32, "learning_rate": 100.0})


def suite_of(**agents):
    grid = Grid(
        tasks=("CartPole-v1",),
        agents=choices(agents),
        seeds=1,
        total_timesteps=640,
        eval_points=3,
        eval_episodes=2,
        final_episodes=2,
    )
    return Suite("updates", (grid,))


def run(plan=None, **more):
    (cell,) = suite_of(ppo=PPO).cells()
    return run_cell(
        cell,
        key_of(cell),
        settings=resolved_settings(cell.choice),
        fingerprint={},
        checkpoints=plan,
        **more,
    )


def same(one, other):
    assert one.step.tolist() == other.step.tolist()
    assert one.updates.tolist() == other.updates.tolist()
    assert one.values.keys() == other.values.keys()
    for name in one.values.keys() - CLOCKS:
        assert one.values[name].tobytes() == other.values[name].tobytes()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("updates") / "s.sqlite"
    agents = {"ppo": PPO, "bad": BAD, "random": "rlsuite/Random-v0"}
    rlsuite.benchmark(suite_of(**agents), store=path)
    return path


def records(store):
    with rlsuite.Store(store, read_only=True) as opened:
        return {record.agent: record for record in opened.records()}


def test_a_record_holds_a_row_for_each_update(store):
    updates = records(store)["ppo"].updates
    assert updates.step.tolist() == list(range(32, 641, 32))
    assert set(updates.updates.tolist()) == {1}
    assert updates.values["entropy"][0] == pytest.approx(np.log(2), rel=0.01)
    assert records(store)["random"].updates is None


def test_what_a_watchdog_said_is_a_note_of_the_record(store, tmp_path):
    found = records(store)
    assert found["ppo"].notes == ()
    note = f"watchdog, entropy collapse: {EntropyCollapse().sentence}"
    assert note in found["bad"].notes
    page = rlsuite.benchmark(suite_of(ppo=PPO, bad=BAD), store=store).report(tmp_path / "r.html")
    text = page.read_text(encoding="utf-8")
    assert "watchdog, entropy collapse: the entropy has all but vanished early" in text
    assert "bad on CartPole-v1 (seed 0)" in text
    assert "Entropy of the policy" in text
    assert "Mean of the Q values" not in text  # nobody told any


def test_curves_of_a_metric_are_means_over_runs(store):
    found = records(store)["ppo"]
    other = dataclasses.replace(
        found.updates,
        step=found.updates.step + 32,
        values={"entropy": np.full(20, 0.5, np.float32)},
    )
    runs = [found, dataclasses.replace(found, updates=other)]
    (series,) = update_series(runs, {"ppo": 3}, "entropy")
    assert series.x.tolist() == list(range(32, 673, 32))
    told = found.updates.values["entropy"]
    assert series.y[0] == pytest.approx(told[0])  # the second one had told nothing yet
    np.testing.assert_allclose(series.y[1:-1], (told[1:] + 0.5) / 2, rtol=1e-6)
    assert series.y[-1] == 0.5
    assert update_series(runs, {"ppo": 3}, "q_mean") == []


def test_a_cell_that_was_stopped_keeps_the_same_rows(tmp_path, monkeypatch):
    save = Saver._save

    def stop(self, agent, done):
        save(self, agent, done)
        raise Stopped

    whole, stops = run(), 0
    monkeypatch.setattr(Saver, "_save", stop)
    plan = CheckpointPlan(folder=str(tmp_path), digest="d", every=210)
    while stops < 3:
        with pytest.raises(Stopped):
            run(plan)
        stops += 1
    same(run(plan).updates, whole.updates)


def test_without_updates_the_results_are_the_same(tmp_path):
    plain, bare = run(), run(updates=False)
    assert bare.updates is None
    assert rlsuite.results_table([plain]) == rlsuite.results_table([bare])
    path = tmp_path / "s.sqlite"
    result = rlsuite.benchmark(suite_of(ppo=PPO), store=path, updates=False)
    assert result.records[0].updates is None
    again = rlsuite.benchmark(suite_of(ppo=PPO), store=path)
    assert again.reused == 1  # it belongs to no key


def test_other_processes_keep_them_too(tmp_path, store):
    suite = suite_of(ppo=PPO)
    result = rlsuite.benchmark(suite, store=tmp_path / "s.sqlite", workers=1)
    same(result.records[0].updates, records(store)["ppo"].updates)
    off = rlsuite.benchmark(suite, store=tmp_path / "off.sqlite", workers=1, updates=False)
    assert off.records[0].updates is None


class Diverging:
    """Tells a loss that is no number."""

    def __init__(self, env, *, seed):
        self.env, self.on_update = env, None

    def learn(self, total_timesteps):
        for step in (1, 2):
            self.env.reset()
            self.on_update({"num_timesteps": step, "loss": float(step) if step < 2 else np.nan})

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return np.zeros(len(observation), np.int64), None


def test_a_cell_that_diverges_fails_and_keeps_what_was_told(tmp_path):
    result = rlsuite.benchmark(suite_of(bad=Diverging), store=tmp_path / "s.sqlite")
    (record,) = result.records
    assert record.state == "failed"
    assert "DivergenceError: step 2: a loss, a Q value or the entropy is NaN" in record.error
    assert record.notes[0].startswith("watchdog, not a number: ")
    np.testing.assert_array_equal(record.updates.values["loss"], np.float32([1, np.nan]))


def test_bytes_on_their_way_hold_them(store):
    record = records(store)["ppo"]
    same(from_bytes(to_bytes(record)).updates, record.updates)
    assert from_bytes(to_bytes(dataclasses.replace(record, updates=None))).updates is None


def test_frames_and_sql_have_a_row_for_each_metric_and_window(store):
    found = frame(store, "updates")
    mine = found[(found["agent"] == "ppo") & (found["metric"] == "entropy")]
    updates = records(store)["ppo"].updates
    assert mine["step"].tolist() == updates.step.tolist()
    assert mine["value"].tolist() == updates.values["entropy"].tolist()
    with Query(store) as ask:
        sql = "select metric, count(*) from updates where agent = 'ppo' group by metric"
        assert dict(ask(sql).rows) == dict.fromkeys(updates.values, 20)


def test_event_files_have_them(store):
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    content = cell_events(records(store)["ppo"])
    assert content.count(b"updates/entropy") == 20
    assert b"updates/num_timesteps" not in content
