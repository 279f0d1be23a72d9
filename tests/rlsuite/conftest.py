"""Records as a benchmark would leave them, made by formulas instead of training."""

from __future__ import annotations

import numpy as np
import pytest

from rlsuite.records import CurvePoint, EpisodeRecord, RunKey, RunRecord, TrainingCurve

FINGERPRINT = {
    "rlsuite": "0.1.0",
    "python": "3.11.9",
    "platform": "Linux-6.1-x86_64",
    "cpu": "Example CPU at 2.4 GHz",
    "device": "cpu",
    "libraries": {"numpy": "2.2.0", "torch": "2.13.0", "gymnasium": "1.4.0"},
}

# task: family, metric, optimal, baseline, budget, method
TASKS = {
    "rlsuite/GridWorld-v0": ("tabular", "final_return", 0.93, -0.62, 20_000, "exact"),
    "rlsuite/CliffWalk-v0": ("tabular", "final_return", -13.0, -1893.2, 20_000, "exact"),
    "FrozenLake-v1": ("tabular", "final_return", 0.74419, 0.01401, 20_000, "exact"),
    "CartPole-v1": ("control", "final_return", None, None, 30_000, "sampled"),
    "rlsuite/BernoulliBandit-v0": ("bandit", "learning_regret", 450.0, 250.0, 500, "exact"),
    "rlsuite/TokenGeneration-v0": (
        "token generation",
        "objective",
        1.161046475249,
        -0.031998398526,
        50_000,
        "exact",
    ),
}


def record(task="rlsuite/GridWorld-v0", agent="q", seed=0, **changes):
    """One finished run whose score is 0.9 unless `mean_return` or `regret` says otherwise."""
    family, metric, optimal, baseline, budget, method = TASKS.get(
        task, ("other", "final_return", None, None, 10_000, "sampled")
    )
    fields = {
        "task": task,
        "env_id": task,
        "family": family,
        "metric": metric,
        "agent": agent,
        "agent_id": f"rlsuite/{agent.title()}-v0",
        "settings": {"step_size": 0.5, "epsilon": 0.1},
        "seed": seed,
        "total_timesteps": budget,
        "steps_used": budget,
        "state": "ok",
        "optimal_return": optimal,
        "baseline_return": baseline,
        "method": method,
        "train_seconds": 1.25,
        "eval_seconds": 0.25,
        "started_at": "2026-01-02T03:04:05+00:00",
        "fingerprint": FINGERPRINT,
    }
    fields.update(changes)
    if fields["state"] == "ok":
        _fill_in_results(fields)
    identity = {
        name: fields[name] for name in ("task", "agent_id", "settings", "seed", "total_timesteps")
    }
    return RunRecord(**{"key": RunKey(identity=identity), **fields})


def _fill_in_results(fields):
    optimal, baseline = fields["optimal_return"], fields["baseline_return"]
    if fields.get("mean_return", 0.0) is None:
        return
    if optimal is None:
        fields.setdefault("mean_return", 100.0)
        return
    if "regret" in fields:
        fields.setdefault("mean_return", optimal - fields["regret"])
    fields.setdefault("mean_return", baseline + fields.get("score", 0.9) * (optimal - baseline))
    fields.setdefault("regret", optimal - fields["mean_return"])
    fields.setdefault("score", (fields["mean_return"] - baseline) / (optimal - baseline))


def curve(rng, optimal, start, final, budget, *, speed=4.0, points=5, method="exact"):
    """Evaluation points that rise from `start` to `final`."""
    made = []
    for step in np.linspace(budget / points, budget, points).astype(int):
        value = final + (start - final) * np.exp(-speed * step / budget)
        value += rng.normal() * 0.03 * abs(final - start)
        value = min(value, optimal) if optimal is not None else value
        made.append(
            CurvePoint(
                step=int(step),
                mean_return=float(value),
                regret=None if optimal is None else float(optimal - value),
                method=method,
                train_seconds=float(step) / 20_000,
            )
        )
    return tuple(made)


def bandit_training(rng, rate, horizon=500):
    """A regret that grows like a logarithm, in one window a step."""
    step = np.arange(1, horizon + 1)
    regret = rate * np.log1p(step / 10) + np.cumsum(rng.random(horizon) < 0.03) * 0.3
    empty = np.full(horizon, np.nan)
    return TrainingCurve(
        step=step,
        mean=empty,
        minimum=empty,
        maximum=empty,
        length=empty,
        regret=regret,
        episodes=np.zeros(horizon, dtype=np.int64),
    )


def quick_records():
    """A whole small benchmark: five families, one failed run."""
    rng = np.random.default_rng(7)
    records = []
    for agent, gap in (("q-learning", 0.02), ("sarsa", 0.04), ("sb3 PPO", 0.25), ("random", 1.0)):
        for task in ("rlsuite/GridWorld-v0", "rlsuite/CliffWalk-v0", "FrozenLake-v1"):
            records += _planning_runs(rng, task, agent, gap, seeds=3 if agent == "sb3 PPO" else 5)
    for agent, rate in (("ucb1", 9.0), ("thompson", 4.0), ("epsilon-greedy", 7.0)):
        for seed in range(5):
            training = bandit_training(rng, rate)
            regret = float(training.regret[-1])
            records.append(
                record(
                    "rlsuite/BernoulliBandit-v0",
                    agent,
                    seed,
                    training=training,
                    regret=regret,
                    score=1 - regret / 200,
                )
            )
    records += _control_runs(rng)
    for agent, gap in (("reinforce", 0.05), ("reinforce without baseline", 0.2)):
        metrics = {"reward": 1.31 - gap, "kl": 0.37 + gap}
        records += _planning_runs(rng, "rlsuite/TokenGeneration-v0", agent, gap, 5, metrics=metrics)
    return records


def _planning_runs(rng, task, agent, gap, seeds, **more):
    _, _, optimal, baseline, budget, _ = TASKS[task]
    runs = []
    for seed in range(seeds):
        noise = abs(rng.normal()) * 0.3 * gap * (gap < 1)
        final = optimal - min(gap + noise, 1.0) * (optimal - baseline)
        points = curve(rng, optimal, baseline, final, budget, speed=6 * (1.2 - gap))
        runs.append(record(task, agent, seed, mean_return=float(final), curve=points, **more))
    return runs


def _control_runs(rng):
    runs = []
    for agent, final, budget in (("sb3 PPO", 480.0, 30_000), ("sb3 DQN", 140.0, 10_000)):
        for seed in range(3):
            settings = {"learning_rate": 0.001 if agent == "sb3 PPO" else 0.0023}
            common = {"settings": settings, "total_timesteps": budget}
            if agent == "sb3 DQN" and seed == 2:
                tail = "Traceback (most recent call last):\n  ...\nValueError: NaN in weights"
                runs.append(
                    record("CartPole-v1", agent, seed, state="failed", error=tail, **common)
                )
                continue
            value = float(np.clip(final + 20 * rng.normal(), 0, 500))
            episodes = tuple(
                EpisodeRecord(
                    index=k,
                    seed=k,
                    episode_return=value,
                    length=int(value),
                    terminated=True,
                    truncated=False,
                )
                for k in range(20)
            )
            points = curve(rng, None, 22.0, value, budget, method="sampled")
            runs.append(
                record(
                    "CartPole-v1",
                    agent,
                    seed,
                    mean_return=value,
                    low=value - 8,
                    high=value + 8,
                    curve=points,
                    episodes=episodes,
                    steps_used=budget,
                    train_seconds=21.5,
                    **common,
                )
            )
    return runs


@pytest.fixture(name="make_record")
def make_record_fixture():
    """`make_record(task, agent, seed, **fields)`."""
    return record


@pytest.fixture(name="quick_records")
def quick_records_fixture():
    """The records of a whole small benchmark."""
    return quick_records()
