"""A store with everything that may be stored: NaN, infinities, unknown figures, a failed cell."""

from __future__ import annotations

import numpy as np
import pytest

from rlsuite.records import CurvePoint, EpisodeRecord, RunKey, RunRecord, TrainingCurve
from rlsuite.store import Store

NAN, INF = float("nan"), float("inf")


def cell(agent: str, seed: int, **changes) -> RunRecord:
    values = {
        "key": RunKey(identity={"agent": agent, "seed": seed}),
        "task": "x/Task-v0",
        "env_id": "x/Env-v0",
        "family": "f",
        "metric": "final_return",
        "agent": agent,
        "agent_id": "x/A-v0",
        "settings": {"step_size": 0.1, "name": 'a "b", c'},
        "seed": seed,
        "total_timesteps": 100,
        "steps_used": 104,
        "state": "ok",
        "score": 0.1 + 0.2,
        "mean_return": -INF,
        "low": NAN,
        "high": INF,
        "metrics": {"kl": NAN},
        "notes": ("one",),
        "curve": (
            CurvePoint(step=50, mean_return=1.5, score=NAN, method="exact"),
            CurvePoint(step=100, mean_return=INF, low=1.0, high=2.0, train_seconds=0.5),
        ),
        "training": TrainingCurve(
            step=np.array([10, 20, 30]),
            mean=np.array([NAN, -INF, 1 / 3]),
            minimum=np.zeros(3),
            maximum=np.ones(3),
            length=np.full(3, 2.5),
            regret=np.full(3, NAN),
            episodes=np.array([0, 1, 2]),
        ),
        "episodes": tuple(
            EpisodeRecord(
                index=k,
                seed=2**53 + 1 + k,
                episode_return=k / 3,
                length=7,
                terminated=k == 0,
                truncated=k == 1,
            )
            for k in range(2)
        ),
        "train_seconds": 1.5,
        "eval_seconds": 0.25,
        "started_at": "2026-01-01T00:00:00+00:00",
    }
    return RunRecord(**{**values, **changes})


@pytest.fixture
def store(tmp_path):
    """Two cells of `b` and a failed one of `a`, put in another order than they are read."""
    path = tmp_path / "results.sqlite"
    failed = {"score": None, "mean_return": None, "low": None, "high": None, "episodes": ()}
    with Store(path) as opened:
        opened.put(cell("b", 10))
        opened.put(cell("b", 9))
        opened.put(cell("a", 0, state="failed", error="x\nboom", curve=(), training=None, **failed))
    return path
