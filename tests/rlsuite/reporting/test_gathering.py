"""Large reports: what a run keeps, and which runs are shown one by one."""

from __future__ import annotations

import re

import numpy as np
import pytest

from rlsuite.records import EpisodeRecord, TrainingCurve
from rlsuite.reporting import gathering
from rlsuite.reporting.gathering import gathered, shown_runs
from rlsuite.reporting.report import render_report

GRID, BANDIT = "rlsuite/GridWorld-v0", "rlsuite/BernoulliBandit-v0"


def training(windows):
    step = np.arange(1, windows + 1)
    flat = np.zeros(windows)
    regret = np.sqrt(step)
    return TrainingCurve(
        step=step,
        mean=flat,
        minimum=flat,
        maximum=flat,
        length=flat,
        regret=regret,
        episodes=np.ones(windows, dtype=np.int64),
    )


def episode():
    return EpisodeRecord(
        index=0, seed=0, episode_return=1.0, length=1, terminated=True, truncated=False
    )


@pytest.fixture(name="few")
def few_fixture(monkeypatch):
    """Reports are large from the sixth run on."""
    monkeypatch.setattr(gathering, "FULL", 5)
    monkeypatch.setattr(gathering, "FAILED", 2)


def many(make_record, count, task=GRID, **fields):
    return [
        make_record(task, "q", seed, score=0.5, episodes=(episode(),), **fields)
        for seed in range(count)
    ]


def test_a_small_report_keeps_everything(few, make_record):
    records = many(make_record, 5)
    assert list(gathered(iter(records))) == records


def test_a_large_report_keeps_figures_of_all_alike(few, make_record):
    records = many(make_record, 9, training=training(300))
    kept = gathered(iter(records))
    assert [r.seed for r in kept] == list(range(9))
    assert all(r.episodes == () and r.training is None for r in kept)
    assert all(r.settings is kept[0].settings for r in kept)
    assert all(r.fingerprint is kept[0].fingerprint for r in kept)
    assert [r.score for r in kept] == [r.score for r in records]
    assert [r.key.digest for r in kept] == [r.key.digest for r in records]


def test_the_regret_of_learning_is_thinned_and_stays_true(few, make_record):
    kept = gathered(many(make_record, 7, BANDIT, training=training(300)))
    for record in kept:
        curve = record.training
        assert len(curve.step) == gathering.WINDOWS
        assert (curve.step[0], curve.step[-1]) == (1, 300)
        np.testing.assert_allclose(curve.regret, np.sqrt(curve.step))
        assert curve.step is kept[0].training.step


def test_the_runs_shown_hold_failures_and_are_spread_evenly(few, make_record):
    records = many(make_record, 20)
    records[3:8] = [make_record(GRID, "q", s, state="failed", error="no") for s in range(3, 8)]
    shown = shown_runs(records)
    assert len(shown) == 5
    assert [r.seed for r in shown if r.state == "failed"] == [3, 7]
    done = [r.seed for r in shown if r.state == "ok"]
    assert (done[0], done[-1], len(done)) == (0, 19, 3)
    assert [r.seed for r in shown] == sorted(r.seed for r in shown)


def test_a_large_report_says_what_it_leaves_out(make_record):
    records = many(make_record, 2_001)
    text = render_report(records)
    assert "2,000 of 2,001 runs" in text
    runs = text[text.index('<section id="runs">') : text.index('<section id="settings">')]
    assert runs.count("<tr>") == 1 + 2_000
    assert "2,000 of 2,001 dots are drawn" in text
    assert len(re.findall(r"<title>q, seed \d+: ", text)) == 2_000
    assert '"runs_in_all":2001' in text
    assert "2,001 runs of 1 agent on 1 task" in text
