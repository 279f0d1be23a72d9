"""Files that Stable-Baselines3's own Monitor writes, and every way in which one is malformed."""

from __future__ import annotations

import json

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.results_plotter import load_results, ts2xy

import rlsuite
from registry.errors import SettingError, StoreError
from rlsuite.data.monitor import LAST, SOURCE, import_monitor, run_folders
from rlsuite.reporting.leaderboard import leaderboards
from rlsuite.reporting.report import render_report
from rlsuite.store import Store

HEADER = '#{"t_start": 100.0, "env_id": "CartPole-v1"}'


def play(folder, seed, episodes=30, files=1):
    """Random play, as Monitor logs it; in turns where there are several environments."""
    folder.mkdir(parents=True)
    envs = [Monitor(gym.make("CartPole-v1"), str(folder / str(k))) for k in range(files)]
    for k, env in enumerate(envs):
        env.action_space.seed(100 * seed + k)
    for number in range(episodes):
        env = envs[number % files]
        env.reset(seed=seed + number)
        done = False
        while not done:
            _, _, terminated, truncated, _ = env.step(env.action_space.sample())
            done = terminated or truncated
    for env in envs:
        env.close()


def write(folder, *lines, name="0.monitor.csv"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("\n".join([HEADER, "r,l,t", *lines]) + "\n")


def imported(folder, tmp_path, **changes):
    keywords = {"agent": "PPO", "task": "CartPole-v1", "store": tmp_path / "s.sqlite", **changes}
    return import_monitor(folder, **keywords)


@pytest.mark.parametrize("files", [1, 3])
def test_real_files_give_the_curve_that_stable_baselines3_reads(tmp_path, files):
    play(tmp_path / "run", 0, files=files)
    (found,) = imported(tmp_path / "run", tmp_path)
    table = load_results(str(tmp_path / "run"))
    steps, returns = ts2xy(table, "timesteps")
    training = found.record.training
    np.testing.assert_array_equal(training.step, steps)
    np.testing.assert_array_equal(training.mean, returns)
    np.testing.assert_array_equal(training.length, table["l"])
    assert training.episodes.tolist() == [1] * 30
    assert found.record.mean_return == pytest.approx(table["r"][-LAST:].mean(), rel=1e-15)
    assert found.record.total_timesteps == found.record.steps_used == steps[-1]
    assert found.record.train_seconds == pytest.approx(table["t"].max(), abs=1e-6)


def test_by_hand(tmp_path):
    """Two environments that began two seconds apart: their episodes alternate."""
    write(tmp_path / "run", "1.0,10,1.0", "3.0,10,5.0")
    text = HEADER.replace("100.0", "102.0") + "\nr,l,t,extra\n2.0,5,1.0,x\n"
    (tmp_path / "run" / "1.monitor.csv").write_text(text)
    (found,) = imported(tmp_path / "run", tmp_path)
    record = found.record
    assert record.training.step.tolist() == [10, 15, 25]
    assert record.training.mean.tolist() == [1.0, 2.0, 3.0]
    assert (record.mean_return, record.steps_used, record.train_seconds) == (2.0, 25, 5.0)
    assert record.started_at == "1970-01-01T00:01:40+00:00"
    assert (record.curve[-1].step, record.curve[-1].mean_return) == (25, 2.0)
    assert (record.curve[0].step, record.curve[0].mean_return) == (10, 1.0)


def test_long_runs_are_folded_into_windows(tmp_path):
    rng = np.random.default_rng(0)
    lengths, returns = rng.integers(1, 9, 5000), rng.normal(size=5000)
    rows = enumerate(zip(returns, lengths, strict=True))
    write(tmp_path / "run", *(f"{r},{n},{k}.0" for k, (r, n) in rows))
    (found,) = imported(tmp_path / "run", tmp_path)
    training = found.record.training
    assert 1000 < len(training.step) <= 2000
    assert training.episodes.sum() == 5000
    assert training.step[-1] == lengths.sum()
    assert (np.diff(training.step) > 0).all()
    total = (training.mean * training.episodes).sum()
    assert total == pytest.approx(returns.sum())
    assert training.minimum.min() == returns.min()
    assert found.record.mean_return == pytest.approx(returns[-100:].mean())


def test_a_folder_for_each_run(tmp_path):
    for k, name in enumerate(["run_10", "run_9", "run_1"]):
        write(tmp_path / "logs" / name, f"{k}.0,10,1.0")
    (tmp_path / "logs" / "empty").mkdir()
    assert [f.name for f in run_folders(tmp_path / "logs")] == ["run_1", "run_9", "run_10"]
    found = imported(tmp_path / "logs", tmp_path, seed=5)
    assert [(one.record.seed, one.record.mean_return) for one in found] == [(5, 2), (6, 1), (7, 0)]


def test_runs_share_their_budget(tmp_path):
    write(tmp_path / "logs" / "a", "1.0,10,1.0")
    write(tmp_path / "logs" / "b", "1.0,14,1.0")
    found = imported(tmp_path / "logs", tmp_path)
    assert [(r.record.steps_used, r.record.total_timesteps) for r in found] == [(10, 14), (14, 14)]
    found = imported(tmp_path / "logs", tmp_path, total_timesteps=20)
    assert {one.record.total_timesteps for one in found} == {20}
    with pytest.raises(SettingError, match="--steps 12 is less than the 14 steps that a run took"):
        imported(tmp_path / "logs", tmp_path, total_timesteps=12)


def test_importing_again_changes_nothing(tmp_path):
    write(tmp_path / "run", "1.0,10,1.0")
    assert [one.known for one in imported(tmp_path / "run", tmp_path)] == [False]
    assert [one.known for one in imported(tmp_path / "run", tmp_path)] == [True]
    write(tmp_path / "run", "1.0,10,1.0", "2.0,5,2.0")
    assert [one.known for one in imported(tmp_path / "run", tmp_path)] == [False]
    with Store(tmp_path / "s.sqlite", read_only=True) as opened:
        assert len(opened.digests()) == 2


def test_it_is_shown_as_imported_and_never_reused(tmp_path):
    store = tmp_path / "s.sqlite"
    write(tmp_path / "run", "50.0,100,1.0", "150.0,100,2.0")
    import_monitor(tmp_path / "run", agent="r", task="CartPole-v1", store=store)
    result = rlsuite.benchmark(
        agents={"r": "rlsuite/Random-v0"},
        tasks=["CartPole-v1"],
        seeds=1,
        total_timesteps=200,
        store=store,
    )
    assert result.reused == 0
    with Store(store, read_only=True) as opened:
        records = list(opened.records())
    assert sorted(record.imported for record in records) == ["", SOURCE]
    (board,) = leaderboards(records)
    assert {row.agent for row in board.rows} == {"r (rlsuite/Random-v0)", "r (imported)"}
    assert any(f"Imported from {SOURCE}, not run here: r (imported)." in n for n in board.notes)
    assert f"imported from {SOURCE} files" in render_report(records)


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (["1.0,10,1.0", "1.0,x,2.0"], r"0\.monitor\.csv, line 4: expected a finite return"),
        (["1.0,10"], r"line 3: .*got '1\.0,10'\. Nothing was imported\."),
        (["1.0,10,1.0,7"], r"line 3: .*got '1\.0,10,1\.0,7'"),
        (["nan,10,1.0"], r"line 3: .*got 'nan,10,1\.0'"),
        (["1.0,0,1.0"], r"line 3: .*a length of at least 1"),
        (["1.0,10,1.0", "", "1.0,10,2.0"], r"line 4: .*got ''"),
    ],
)
def test_a_malformed_line_is_named(tmp_path, lines, sentence):
    write(tmp_path / "logs" / "a", "1.0,10,1.0")
    write(tmp_path / "logs" / "b", *lines)
    with pytest.raises(SettingError, match=sentence):
        imported(tmp_path / "logs", tmp_path)
    assert not (tmp_path / "s.sqlite").exists()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", r"line 1: expected a # and JSON with t_start"),
        ("r,l,t\n1.0,10,1.0\n", r"line 1: .*got 'r,l,t'"),
        ("#{}\nr,l,t\n", r"line 1: .*got '#\{\}'"),
        ("#[1]\nr,l,t\n", r"line 1: expected a #"),
        (f"{HEADER}\n", r"line 2: expected names of columns like r,l,t; got ''"),
        (f"{HEADER}\nr,l\n1.0,10\n", r"line 2: .*got 'r,l'"),
        (f"{HEADER}\nr,l,t\n", r"run holds no finished episode"),
    ],
)
def test_a_malformed_beginning_is_named(tmp_path, text, sentence):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "0.monitor.csv").write_text(text)
    with pytest.raises(SettingError, match=sentence):
        imported(tmp_path / "run", tmp_path)


def test_what_is_no_log(tmp_path):
    with pytest.raises(SettingError, match=r"holds no file whose name ends in monitor\.csv"):
        imported(tmp_path, tmp_path)
    with pytest.raises(SettingError, match=r"nowhere holds no file"):
        imported(tmp_path / "nowhere", tmp_path)
    write(tmp_path / "run", "1.0,10,1.0")
    with pytest.raises(SettingError, match="--agent is the name under which the runs are shown"):
        imported(tmp_path / "run", tmp_path, agent=" ")
    (tmp_path / "run" / "1.monitor.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(StoreError, match=r"1\.monitor\.csv cannot be read as text"):
        imported(tmp_path / "run", tmp_path)


def test_the_command(tmp_path, monkeypatch, capsys):
    from rlsuite.cli.main import main

    monkeypatch.chdir(tmp_path)
    write(tmp_path / "logs", "12.5,10,1.0")
    words = ["import", "monitor", "logs", "--agent", "mine", "--task", "x/Task-v0", "--store", "s"]
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert not stopped.value.code
    shown = capsys.readouterr().out
    assert "mine on x/Task-v0" in shown
    assert "12.50  imported" in shown
    assert "Store:  s (1 run)" in shown
    with pytest.raises(SystemExit):
        main(
            ["sql", "select agent, imported, return from runs", "--store", "s", "--format", "json"]
        )
    row = {"agent": "mine", "imported": SOURCE, "return": 12.5}
    assert json.loads(capsys.readouterr().out) == [row]
