"""Planning agents in a benchmark and on the command line: budgets are in sweeps, scores exact."""

from __future__ import annotations

import numpy as np
from typer.testing import CliRunner

import rlsuite
from rlsuite.cli.main import app


def test_a_benchmark_counts_sweeps(tmp_path):
    result = rlsuite.benchmark(
        agents={"plan": "rlsuite/ValueIteration-v0"},
        tasks=["FrozenLake-v1"],
        seeds=1,
        total_timesteps=200,
        store=tmp_path / "runs.sqlite",
    )
    (record,) = result.records
    assert (record.state, record.steps_used, record.method) == ("ok", 200, "exact")
    np.testing.assert_allclose(record.score, 1.0, atol=1e-12)
    assert [point.step for point in record.curve] == [40, 80, 120, 160, 200]
    scores = [point.score for point in record.curve]
    assert scores == sorted(scores)
    assert not any("took" in note for note in record.notes)


def test_training_says_sweeps():
    arguments = ["train", "rlsuite/PolicyIteration-v0", "rlsuite/GridWorld-v0", "--steps", "50"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "Trained 50 sweeps." in done.output
    assert "score    1.0000" in done.output
