"""Event files, read back with TensorBoard itself."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import rlsuite
from registry.errors import SettingError
from rlsuite.reporting import event_files
from rlsuite.reporting.event_files import CellFiles, cell_events
from rlsuite.running.events import CellFinished
from rlsuite.running.packing import pack
from rlsuite.running.saved_steps import CheckpointRules
from rlsuite.running.training_run import Listeners, train_agent
from rlsuite.store import Store

accumulator = pytest.importorskip(
    "tensorboard.backend.event_processing.event_accumulator",
    reason="the extra tensorboard is not installed",
)
PPO = ("rlsuite/PPO-v0", "CartPole-v1")
GRID = "rlsuite/GridWorld-v0"
BANDIT = "rlsuite/BernoulliBandit-v0"


def read(folder):
    found = accumulator.EventAccumulator(
        str(folder), size_guidance={accumulator.SCALARS: 0, accumulator.TENSORS: 0}
    )
    found.Reload()
    return found


def series(found, tag):
    events = found.Scalars(tag)
    return [event.step for event in events], [event.value for event in events]


def text(found):
    (event,) = found.Tensors("cell/text_summary")
    return event.tensor_proto.string_val[0].decode()


def runs_of(folder):
    return sorted(path.parent for path in folder.rglob("*tfevents*"))


def small(tmp_path, **keywords):
    return rlsuite.benchmark(
        agents={"q": ("rlsuite/QLearning-v0", {"step_size": 0.25})},
        tasks=[GRID],
        seeds=1,
        total_timesteps=600,
        **{"store": tmp_path / "s.sqlite", **keywords},
    )


def test_a_cell_is_read_back_as_it_is_stored(tmp_path):
    result = small(tmp_path, progress=CellFiles(tmp_path / "tb"))
    (record,) = result.records
    (folder,) = runs_of(tmp_path / "tb")
    assert folder.relative_to(tmp_path / "tb").parent == Path("rlsuite_GridWorld-v0/q")
    assert folder.name == f"seed-0-{record.key.digest[:8]}"
    assert [path.name for path in folder.iterdir()] == [
        f"events.out.tfevents.{record.key.digest[:16]}"
    ]
    found = read(folder)
    steps, values = series(found, "evaluation/return")
    assert steps == [point.step for point in record.curve]
    assert values == [np.float32(point.mean_return) for point in record.curve]
    assert series(found, "evaluation/score")[1][-1] == np.float32(record.score)
    curve = record.training
    for tag, column in (
        ("training/return", curve.mean),
        ("training/lowest return", curve.minimum),
        ("training/highest return", curve.maximum),
        ("training/length", curve.length),
    ):
        steps, values = series(found, tag)
        assert steps == curve.step.tolist()
        assert values == column.astype(np.float32).tolist()
    assert "training/regret" not in found.Tags()["scalars"]  # GridWorld tells none
    said = text(found)
    for row in ("| task | rlsuite/GridWorld-v0 |", "| step_size | 0.25 |", "| state | ok |"):
        assert row in said


def test_results_are_the_same_with_and_without(tmp_path):
    without = small(tmp_path, store=tmp_path / "without.sqlite").records
    files = CellFiles(tmp_path / "tb")
    with_files = small(tmp_path, store=tmp_path / "with.sqlite", progress=files).records
    for one, other in zip(without, with_files, strict=True):
        assert one.key.digest == other.key.digest
        assert one.episodes == other.episodes
        assert [(p.step, p.mean_return) for p in one.curve] == [
            (p.step, p.mean_return) for p in other.curve
        ]
        assert pack(one)[1] == pack(other)[1]


def test_the_same_record_gives_the_same_bytes(tmp_path):
    (record,) = small(tmp_path).records
    assert cell_events(record) == cell_events(record)


def test_times_are_those_of_the_training(make_record, tmp_path):
    (record,) = small(tmp_path).records
    (tmp_path / "events.out.tfevents.1").write_bytes(cell_events(record))
    events = read(tmp_path).Scalars("evaluation/return")
    gone = [event.wall_time - events[0].wall_time for event in events]
    taken = [point.train_seconds - record.curve[0].train_seconds for point in record.curve]
    assert gone == pytest.approx(taken, abs=1e-5)


def test_regret_while_learning(tmp_path):
    rlsuite.benchmark(
        agents=["rlsuite/UCB1-v0"],
        tasks=[BANDIT],
        seeds=1,
        total_timesteps=50,
        store=tmp_path / "s.sqlite",
        progress=CellFiles(tmp_path / "tb"),
    )
    (folder,) = runs_of(tmp_path / "tb")
    steps, values = series(read(folder), "training/regret")
    assert steps == list(range(1, 51))
    assert sorted(values) == values


def test_stored_cells_get_a_file_once(tmp_path):
    (record,) = small(tmp_path).records
    small(tmp_path, progress=CellFiles(tmp_path / "tb"))  # all reused
    (path,) = (tmp_path / "tb").rglob("*tfevents*")
    with Store(tmp_path / "s.sqlite", read_only=True) as store:
        assert path.read_bytes() == cell_events(store.get(record.key.digest))
    path.write_bytes(b"not touched again")
    small(tmp_path, progress=CellFiles(tmp_path / "tb"))
    assert path.read_bytes() == b"not touched again"


def test_a_cell_without_figures_says_what_happened(make_record, tmp_path):
    failed = make_record(GRID, "q", 0, state="timeout", error="a <b>tail</b>\nstopped after 3 s")
    CellFiles(tmp_path)(CellFinished(0, 1, failed, False))
    said = text(read(runs_of(tmp_path)[0]))
    assert "| state | timeout |" in said
    assert "\n    a <b>tail</b>\n    stopped after 3 s\n" in said  # indented: code, not HTML


@pytest.mark.parametrize("label", ["../../out", "..", "a/b", "a|b\nc", "", "x" * 500])
def test_a_label_cannot_leave_the_folder(make_record, tmp_path, label):
    CellFiles(tmp_path / "tb")(CellFinished(0, 1, make_record(GRID, label, 0), False))
    (folder,) = runs_of(tmp_path / "tb")
    assert folder.resolve().is_relative_to(tmp_path / "tb" / "rlsuite_GridWorld-v0")
    assert len(list(tmp_path.iterdir())) == 1


def test_a_training_is_followed_to_its_end(tmp_path):
    result = train_agent(
        "rlsuite/QLearning-v0",
        GRID,
        steps=1_000,
        settings={"step_size": 0.25},
        tensorboard=tmp_path,
    )
    (folder,) = runs_of(tmp_path)
    found = read(folder)
    steps, values = series(found, "training/return")
    assert steps[-1] <= 1_000
    assert all(step % 5 == 0 for step in steps)  # a 200th of the training
    assert max(values) > min(values)
    assert series(found, "evaluation/return") == (
        [1_000],
        [np.float32(result.evaluation.mean_return)],
    )
    assert "| agent: step_size | 0.25 |" in text(found)
    plain = train_agent("rlsuite/QLearning-v0", GRID, steps=1_000, settings={"step_size": 0.25})
    assert plain.evaluation.mean_return == result.evaluation.mean_return
    assert (plain.steps, plain.episodes) == (result.steps, result.episodes)


def test_points_of_a_training_hold_every_episode_once(tmp_path):
    """Two points over everything: their means, weighted, are the mean of all episodes."""
    from rlsuite.reporting.event_files import TrainingFile
    from rlsuite.training import TrainingLog

    log = TrainingLog()
    file = TrainingFile(tmp_path, {"agent": "a", "environment": "e", "seed": 0}, 10, TrainingLog())
    for step, ended in enumerate((None, 1.0, 2.0, None, 6.0), start=1):
        log.count(None)
        if ended is not None:
            log.finish(ended, step)
        if step in (3, 5):
            file.point(log)
    file.finish(log, None)
    file.close()
    assert series(read(runs_of(tmp_path)[0]), "training/return") == ([3, 5], [1.5, 6.0])
    assert series(read(runs_of(tmp_path)[0]), "training/length") == ([3, 5], [2.5, 5.0])


def test_an_interrupted_training_keeps_its_file(tmp_path):
    result = train_agent(
        "rlsuite/QLearning-v0",
        GRID,
        steps=1_000,
        tensorboard=tmp_path,
        listeners=Listeners(on_step=lambda done, total: done < 300),
    )
    assert result.evaluation is None
    found = read(runs_of(tmp_path)[0])
    assert "evaluation/return" not in found.Tags()["scalars"]
    assert series(found, "training/return")[0][-1] <= 300


def test_a_training_that_breaks_leaves_no_open_file(tmp_path, monkeypatch):
    streams = []
    make = event_files.TrainingFile.__init__

    def noted(self, *arguments):
        make(self, *arguments)
        streams.append(self._stream)

    def breaks(done, total):
        raise RuntimeError("enough")

    monkeypatch.setattr(event_files.TrainingFile, "__init__", noted)
    with pytest.raises(RuntimeError, match="enough"):
        train_agent(
            "rlsuite/QLearning-v0",
            GRID,
            steps=100,
            tensorboard=tmp_path,
            listeners=Listeners(on_step=breaks),
        )
    assert [stream.closed for stream in streams] == [True]


def test_without_tensorboard_the_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard.summary.writer.record_writer", None)
    with pytest.raises(SettingError, match=r"pip install 'rlsuite\[tensorboard\]'"):
        CellFiles(tmp_path)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SettingError, match="cannot be written: Not a directory"):
        CellFiles(tmp_path / "file")


def test_updates_of_a_training_are_followed_and_a_resumed_one_writes_beside(tmp_path):
    how = {
        "settings": {"n_steps": 20, "batch_size": 20},
        "tensorboard": tmp_path / "tb",
        "episodes": 1,
    }
    rules = CheckpointRules(every=100, folder=tmp_path / "c")
    stop = Listeners(on_step=lambda done, total: done < 200)
    train_agent(*PPO, steps=400, checkpoints=rules, listeners=stop, **how)
    (folder,) = runs_of(tmp_path / "tb")
    assert series(read(folder), "updates/entropy")[0] == list(range(20, 201, 20))
    goes_on = CheckpointRules(every=100, folder=tmp_path / "c", resume=True)
    train_agent(*PPO, steps=400, checkpoints=goes_on, **how)
    assert [path.suffix for path in sorted(folder.iterdir())][1] == ".200"
    steps, _ = series(read(folder), "updates/entropy")
    assert steps == list(range(20, 401, 20))
