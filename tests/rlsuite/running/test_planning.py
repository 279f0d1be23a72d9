"""Plans, patterns and further seeds; and every field of every spec is classified."""

from __future__ import annotations

import dataclasses

import pytest

import rlsuite
from registry.catalogue import registry
from registry.errors import SuiteError
from registry.specs import AgentSpec, TaskSpec
from rlsuite.identity import key_of
from rlsuite.running.planning import chosen_by, make_plan, with_more_seeds
from rlsuite.running.run_loop import Rules
from rlsuite.suite import AgentChoice, Cell, Grid, Suite, choices

TASKS = ("rlsuite/GridWorld-v0", "FrozenLake-v1")


def suite(seeds=2, agents=None):
    grid = Grid(
        tasks=TASKS,
        agents=choices(agents or {"q": "rlsuite/QLearning-v0", "s": "rlsuite/Sarsa-v0"}),
        seeds=seeds,
        total_timesteps=100,
        eval_points=1,
    )
    return Suite("planned", (grid,))


@pytest.mark.parametrize(
    ("patterns", "count"),
    [
        ((), 8),
        (("agent=q",), 4),
        (("agent=QLearning",), 4),
        (("agent=rlsuite/*",), 8),
        (("env=Grid*",), 4),
        (("env=gridworld",), 4),
        (("task=FrozenLake-v1", "seed=1"), 2),
        (("agent=q", "agent=s", "seed=0"), 4),
        (("family=tabular",), 8),
        (("agent=x",), 0),
    ],
)
def test_patterns(tmp_path, patterns, count):
    plan = make_plan(suite(), tmp_path / "s.sqlite", chosen_by(patterns))
    assert plan.to_run == count
    assert plan.counts == {"missing": 8}
    assert not (tmp_path / "s.sqlite").exists()


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("ppo", r"--only reads field=pattern, like agent=ppo or env=Grid\*; got 'ppo'"),
        ("agent=", "reads field=pattern"),
        ("agnet=q", "--only knows agent, env, task, seed, family; got 'agnet'. Did you mean"),
    ],
)
def test_patterns_that_say_nothing(text, match):
    with pytest.raises(SuiteError, match=match):
        chosen_by([text])


def test_what_was_run_and_what_failed(tmp_path):
    store = tmp_path / "s.sqlite"
    first = rlsuite.benchmark(suite(), store=store, choose=chosen_by(["agent=q", "env=Grid*"]))
    assert len(first.records) == 2
    plan = make_plan(suite(), store)
    assert plan.counts == {"missing": 6, "ok": 2}
    assert plan.to_run == 6
    assert [row[3] for row in plan.rows()] == [0, 2, 2, 2]
    assert make_plan(suite(), store, chosen_by(failed_only=True)).to_run == 0
    known = plan.as_json()
    assert (known["suite"], known["to_run"], len(known["cells"])) == ("planned", 6, 8)


class Fails:
    """Fails, until it is told otherwise."""

    broken = True

    def __init__(self, env, seed):
        self.env = env

    def learn(self, total_timesteps, callback=None):
        if self.broken:
            raise RuntimeError("not yet")

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return 0, None


def test_only_what_failed_is_tried_again(tmp_path, monkeypatch):
    store = tmp_path / "s.sqlite"
    bad = suite(agents={"bad": Fails})
    only = chosen_by(["env=Grid*"])
    assert len(rlsuite.benchmark(bad, store=store, choose=only).failed) == 2
    monkeypatch.setattr(Fails, "broken", False)
    again = rlsuite.benchmark(bad, store=store, choose=chosen_by(failed_only=True))
    assert [record.state for record in again.records] == ["ok", "ok"]
    assert make_plan(bad, store).counts == {"missing": 2, "ok": 2}


def test_more_seeds_are_the_smallest_that_are_free():
    grid = dataclasses.replace(suite().grids[0], seeds=(0, 3, 7))
    (more,) = with_more_seeds(Suite("s", (grid,)), 4).grids
    assert more.seeds == (0, 3, 7, 1, 2, 4, 5)
    with pytest.raises(SuiteError, match="--add-seeds is a whole number of at least 1, got 0"):
        with_more_seeds(suite(), 0)


# Who adds a field has to say here whether it can change a result --------------------------------

IN = "part of the identity"
OUT = "cannot change a result"
THROUGH = "reaches the identity through the cell or the code's origin"

CLASSIFIED = {
    TaskSpec: {
        **dict.fromkeys(
            ("id", "env_id", "env_kwargs", "wrappers", "total_timesteps", "metric", "family"), IN
        ),
        **dict.fromkeys(("eval_points", "eval_episodes", "deterministic"), IN),
        **dict.fromkeys(("baseline_score", "reference_score", "source"), IN),
    },
    AgentSpec: {
        **dict.fromkeys(("id", "entry_point"), IN),
        "settings": THROUGH,
        # the benchmark reads these, and they stand in the source of who registers the agent
        **dict.fromkeys(("budget_unit", "requires", "vectorized", "promises"), THROUGH),
        **dict.fromkeys(("summary", "spaces", "learns", "check_settings"), OUT),
    },
    AgentChoice: {"agent": IN, "settings": IN},
    Cell: {
        **dict.fromkeys(("task", "choice", "seed", "total_timesteps"), IN),
        **dict.fromkeys(("eval_points", "eval_episodes", "final_episodes", "deterministic"), IN),
        "runs": IN,
        "label": OUT,
    },
    Grid: {
        **dict.fromkeys(("tasks", "agents", "seeds", "total_timesteps"), THROUGH),
        **dict.fromkeys(
            ("eval_points", "eval_episodes", "final_episodes", "deterministic"), THROUGH
        ),
    },
    Suite: {"name": OUT, "title": OUT, "baselines": OUT, "grids": THROUGH},
    Rules: dict.fromkeys(("limits", "retries", "checkpoint_every", "choose", "updates"), OUT),
}


@pytest.mark.parametrize("spec", CLASSIFIED, ids=lambda spec: spec.__name__)
def test_every_field_is_classified(spec):
    assert {field.name for field in dataclasses.fields(spec)} == set(CLASSIFIED[spec])


def test_every_setting_of_an_agent_is_part_of_the_identity():
    for identifier in ("rlsuite/QLearning-v0", "rlsuite/Reinforce-v0", "sb3/PPO-v0"):
        (cell, *_) = suite(agents={"a": identifier}).cells()
        known = key_of(cell).identity["settings"]
        config_type = registry.agent_spec(identifier).load().config_type
        assert set(known) == {f.name for f in dataclasses.fields(config_type) if f.init}


def test_fields_of_the_task_are_in_the_identity_by_name():
    (cell, *_) = suite().cells()
    assert set(key_of(cell).identity["task"]) == set(CLASSIFIED[TaskSpec])


def test_a_label_makes_no_other_cell():
    (cell, *_) = suite().cells()
    assert key_of(dataclasses.replace(cell, label="another")).digest == key_of(cell).digest
