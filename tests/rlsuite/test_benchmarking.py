"""benchmark: cells, resume, failures, regret while learning, and classes of one's own."""

from __future__ import annotations

import random
import sqlite3
from html import unescape

import numpy as np
import pytest

import rlsuite
from registry.errors import StoreError, SuiteError
from registry.seeding import Stream, integer_seed
from registry.specs import TaskSpec
from rlsuite.benchmarking import (
    CellFinished,
    CellProgress,
    CellStarted,
    SuiteStarted,
    written_call,
)
from rlsuite.reporting.leaderboard import leaderboards
from rlsuite.running import cells
from rlsuite.running import run_loop as running
from rlsuite.suite import Grid, Suite, choices

GRID, BANDIT = "rlsuite/GridWorld-v0", "rlsuite/BernoulliBandit-v0"
Q = "rlsuite/QLearning-v0"


class Mine:
    """A learner in the shape of the contract that draws from everywhere."""

    def __init__(self, env, *, seed, bonus=0):
        self.env, self.bonus = env, bonus
        self.drawn = (random.random(), float(np.random.random()))  # noqa: NPY002
        self.taken = 0

    def learn(self, total_timesteps):
        self.env.reset()
        for _ in range(total_timesteps + self.bonus):
            action = self.env.action_space.sample()
            *_, terminated, truncated, info = self.env.step(action)
            assert "regret" not in info
            self.taken += 1
            if terminated or truncated:
                self.env.reset()

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return (self.taken + int(10 * self.drawn[0])) % int(self.env.action_space.n), state


class OnlyPredicts:
    def __init__(self, env, *, seed):
        assert not env.has_wrapper_attr("oracle")

    def predict(self, observation):
        return 0, None


class Broken:
    def __init__(self, env, *, seed):
        self.seed = seed

    def learn(self, total_timesteps):
        if self.seed == 1:
            print("something is about to happen")
            raise RuntimeError("the agent broke")
        if self.seed == 2:
            raise SystemExit(3)

    def predict(self, observation):
        return 0, None


@pytest.fixture
def run(tmp_path):
    """`rlsuite.benchmark` on a store of this test's own, noting the events."""

    def benchmark(suite=None, **keywords):
        benchmark.events = []
        keywords.setdefault("store", tmp_path / "s.sqlite")
        return rlsuite.benchmark(suite, progress=benchmark.events.append, **keywords)

    return benchmark


def small(**changes):
    keywords = {
        "tasks": (GRID,),
        "agents": choices({"q": Q}),
        "seeds": (0,),
        "total_timesteps": 100,
        "eval_points": 4,
        "eval_episodes": 2,
        "final_episodes": 3,
        **changes,
    }
    return Suite("small", (Grid(**keywords),))


def table(result):
    return rlsuite.results_table(result.records)


def test_a_report_shows_the_call_that_made_it(run, tmp_path):
    result = run(agents={"m": OnlyPredicts, "q": (Q, {"step_size": 0.2})}, tasks=[GRID], seeds=1)
    call = (
        "rlsuite.benchmark(agents={'m': OnlyPredicts, 'q': ('rlsuite/QLearning-v0', "
        f"{{'step_size': 0.2}})}}, tasks=['{GRID}'], seeds=1, store='{tmp_path / 's.sqlite'}')"
    )
    assert result.call == call
    assert call in unescape(result.report(tmp_path / "r.html").read_text())
    assert run(small()).call.startswith("rlsuite.benchmark(Suite('small', ...), store=")
    task = rlsuite.TaskSpec(id="t", env_id=GRID)
    assert written_call("benchmark", "quick", tasks=[task], seeds=None) == (
        "rlsuite.benchmark('quick', tasks=[TaskSpec(id='t', ...)])"
    )


# The record of a cell ---------------------------------------------------------------------------


def test_a_cell_is_trained_evaluated_and_recorded(run):
    (record,) = run(small(total_timesteps=2_000)).records
    assert (record.state, record.task, record.agent, record.agent_id) == ("ok", GRID, "q", Q)
    assert (record.family, record.metric, record.seed) == ("tabular", "final_return", 0)
    assert record.steps_used == record.total_timesteps == 2_000
    assert [point.step for point in record.curve] == [500, 1000, 1500, 2000]
    assert record.curve[-1].mean_return == record.mean_return
    assert record.method == "exact"
    assert record.score == pytest.approx(
        (record.mean_return - record.baseline_return)
        / (record.optimal_return - record.baseline_return)
    )
    assert record.settings == {
        "step_size": 0.5,
        "epsilon": 0.1,
        "gamma": 1.0,
        "exploration": "greedy",
        "initial_value": 0.0,
    }
    assert record.train_seconds > 0
    assert record.eval_seconds > 0
    assert record.fingerprint["numpy"] == np.__version__
    training = record.training
    assert int((training.episodes * np.nan_to_num(training.length)).sum()) <= 2_000
    assert training.episodes.sum() > 10


def test_what_is_stored_is_what_was_returned(run, tmp_path):
    result = run(small())
    with rlsuite.Store(tmp_path / "s.sqlite", read_only=True) as store:
        assert rlsuite.results_table(store.records()) == table(result)
        assert store.digests() == {record.key.digest for record in result.records}


def test_sampled_evaluations_have_episodes_and_an_interval(run):
    (record,) = run(small(tasks=("CartPole-v1",), agents=choices(["rlsuite/Random-v0"]))).records
    assert (record.method, len(record.episodes), record.score) == ("sampled", 3, None)
    assert record.low <= record.mean_return <= record.high
    seeds = [integer_seed(0, Stream.EVALUATION, k) for k in range(3)]
    assert [episode.seed for episode in record.episodes] == seeds


def test_agents_that_learn_in_one_go_are_evaluated_on_the_way(run):
    result = run(small(agents=choices({"mine": Mine})))
    (record,) = result.records
    assert [point.step for point in record.curve] == [25, 50, 75, 100]
    assert record.steps_used == 100
    assert record.notes[-1].startswith("all episodes")
    progress = [e for e in run.events if isinstance(e, CellProgress)]
    assert [(e.steps, e.budget) for e in progress] == [(25, 100), (50, 100), (75, 100)]


def test_steps_beyond_the_budget_are_reported(run):
    (record,) = run(small(agents=choices({"mine": (Mine, {"bonus": 7})}))).records
    assert (record.steps_used, record.settings) == (107, {"bonus": 7})
    assert "took 107 steps of a budget of 100" in record.notes


def test_a_class_with_only_predict_is_evaluated_with_budget_0(run):
    (record,) = run(small(agents=choices({"p": OnlyPredicts}))).records
    assert (record.state, record.steps_used, len(record.curve)) == ("ok", 0, 1)
    assert "only predict(): nothing was trained" in record.notes
    assert record.mean_return == pytest.approx(-1.0)


def test_a_vectorized_agent_learns_in_several_environments(run):
    agents = choices({"a2c": ("sb3/A2C-v0", {"num_envs": 4, "n_steps": 5})})
    (record,) = run(small(tasks=("CartPole-v1",), agents=agents)).records
    assert (record.state, record.steps_used, record.error) == ("ok", 100, "")
    assert [point.step for point in record.curve] == [25, 50, 75, 100]
    assert record.training.episodes.sum() > 2


def test_the_sampled_policy_can_be_asked_for(run):
    agents = choices(["rlsuite/Random-v0"])
    (record,) = run(small(agents=agents, deterministic=False)).records
    assert record.score == pytest.approx(0.0, abs=1e-12)
    assert "the sampled policy was scored" in record.notes


def test_of_played_texts_only_the_reward_is_known(run):
    tokens = "rlsuite/TokenGeneration-v0"
    agents = {"rule": OnlyPredicts, "random": "rlsuite/Random-v0"}
    result = run(agents=agents, tasks=[tokens], seeds=2, total_timesteps=0)
    rule, exact = result.records[0], result.records[2]
    assert (rule.state, rule.method, rule.curve) == ("ok", "sampled", ())
    assert rule.mean_return is rule.low is rule.high is rule.score is rule.regret is None
    returns = [episode.episode_return for episode in rule.episodes]
    assert rule.metrics["expected_reward"] == pytest.approx(np.mean(returns))
    assert exact.method == "exact"
    assert exact.mean_return < exact.metrics["expected_reward"]
    (board,) = leaderboards(result.records)
    assert [(row.agent, row.rank) for row in board.rows] == [("random", 1), ("rule", None)]
    assert "reward only" in str(result)


# Same key, same bits ----------------------------------------------------------------------------


def everything():
    brief = {"eval_points": 2, "eval_episodes": 2, "final_episodes": 2}
    dqn = choices({"dqn": ("sb3/DQN-v0", {"learning_starts": 8})})
    grids = (
        Grid(
            tasks=(GRID, "CartPole-v1"),
            agents=choices({"mine": Mine, "r": "rlsuite/Reinforce-v0"}),
            seeds=(0, 1),
            total_timesteps=200,
            **brief,
        ),
        Grid(
            tasks=(GRID, "FrozenLake-v1"),
            agents=choices({"q": Q}),
            seeds=(0, 1),
            total_timesteps=500,
            **brief,
        ),
        Grid(tasks=(BANDIT,), agents=choices(["rlsuite/ThompsonSampling-v0"]), seeds=(0, 1)),
        Grid(tasks=("CartPole-v1",), agents=dqn, seeds=(0,), total_timesteps=60, **brief),
    )
    return Suite("everything", grids)


def test_a_suite_run_twice_gives_the_same_bytes(run, tmp_path):
    one = run(everything(), store=tmp_path / "one.sqlite")
    np.random.seed(99)  # noqa: NPY002 - what stands in the global generators does not matter
    random.seed(99)
    other = run(everything(), store=tmp_path / "other.sqlite")
    assert one.failed == other.failed == ()
    assert table(one) == table(other)


def test_global_generators_end_as_they_were_found(run):
    before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    run(small(agents=choices({"mine": Mine})))
    assert before == (random.getstate(), np.random.get_state()[1].tolist())  # noqa: NPY002


def test_the_same_command_again_runs_nothing(run, monkeypatch):
    first = run(small(seeds=(0, 1)))
    assert [type(e) for e in run.events if not isinstance(e, CellProgress)] == (
        [SuiteStarted, *[CellStarted, CellFinished] * 2]
    )
    monkeypatch.setattr(running, "run_cell", lambda *a, **k: pytest.fail("ran again"))
    again = run(small(seeds=(0, 1)))
    assert run.events[0] == SuiteStarted(total=2, reused=2, to_run=())
    assert [e.reused for e in run.events[1:]] == [True, True]
    assert (first.reused, again.reused) == (0, 2)
    assert table(first) == table(again)


def test_more_seeds_and_agents_run_only_what_is_new(run):
    run(small())
    grown = run(small(seeds=(0, 1), agents=choices({"again": Q, "slow": (Q, {"step_size": 0.1})})))
    assert grown.reused == 1
    reused = [e.record for e in run.events if isinstance(e, CellFinished) and e.reused]
    assert [(r.agent, r.seed) for r in reused] == [("again", 0)]  # labels are only names
    assert [(r.agent, r.seed) for r in grown.records] == [
        ("again", 0), ("again", 1), ("slow", 0), ("slow", 1)
    ]  # fmt: skip


def test_another_fingerprint_is_reused_with_a_note(run, monkeypatch):
    assert run(small()).notes == ()
    monkeypatch.setattr(running, "fingerprint", lambda: {"numpy": "another one"})
    again = run(small())
    assert again.reused == 1
    assert "other library versions or on another machine" in again.notes[0]


# Failures ---------------------------------------------------------------------------------------


def test_a_failed_cell_is_recorded_and_the_others_go_on(run):
    result = run(small(agents=choices({"b": Broken}), seeds=(0, 1, 2, 3)))
    assert [record.state for record in result.records] == ["ok", "failed", "failed", "ok"]
    assert [record.seed for record in result.failed] == [1, 2]
    error = result.failed[0].error
    assert error.startswith("something is about to happen")
    assert error.endswith("RuntimeError: the agent broke")
    assert result.failed[1].error.endswith("SystemExit: 3")
    assert "failed cells are tried again" in result.notes[0]


def test_printing_says_why_cells_failed(run):
    text = str(run(small(agents=choices({"b": Broken}), seeds=(0, 1))))
    said = f"  {GRID}  b  seed 1  FAILED: RuntimeError: the agent broke"
    assert f"\n\n1 cell without figures (1 failed):\n{said}\n\n" in text
    assert "without figures" not in str(run(small()))


def test_damaged_cells_are_run_again_with_a_note(run, tmp_path):
    """A flipped letter in the name of a cell: nobody finds it, and its arrays are nobody's."""
    first = run(small(seeds=(0, 1)))
    with sqlite3.connect(tmp_path / "s.sqlite") as connection:
        connection.execute("UPDATE run SET digest = 'x' WHERE seed = 0")
    connection.close()
    again = run(small(seeds=(0, 1)))
    assert (again.reused, again.failed) == (1, ())
    assert table(again) == table(first)
    assert again.notes[0].startswith("Note: 1 cell of the store")
    assert "Those of this suite were run again" in again.notes[0]
    with pytest.raises(StoreError, match="is damaged: cell x cannot be read"):
        with rlsuite.Store(tmp_path / "s.sqlite", read_only=True) as store:
            list(store.records())


def test_failed_cells_are_tried_again_and_only_they(run, monkeypatch):
    suite = small(agents=choices({"b": Broken}), seeds=(0, 1))
    run(suite)
    with monkeypatch.context() as patch:
        patch.setattr(Broken, "learn", lambda self, total_timesteps: None)
        again = run(suite)
    assert again.reused == 1
    assert again.failed == ()
    assert run(suite).reused == 2


def test_an_agent_that_does_not_fit_fails_with_its_sentence(run):
    def mine(env, *, seed):
        return rlsuite.make_agent(Q, env, seed=seed)

    (record,) = run(small(tasks=("CartPole-v1",), agents=choices({"mine": mine}))).records
    assert record.state == "failed"
    assert "handles Discrete observations" in record.error


def test_ctrl_c_keeps_what_is_done(run, monkeypatch):
    calls = []
    run_cell = cells.run_cell

    def interrupted(*arguments, **keywords):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return run_cell(*arguments, **keywords)

    monkeypatch.setattr(running, "run_cell", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(small(seeds=(0, 1, 2)))
    monkeypatch.undo()
    assert run(small(seeds=(0, 1, 2))).reused == 1


def test_lost_work_is_done_again_three_times_at_most(run, monkeypatch):
    from rlsuite.backends import Outcome
    from rlsuite.backends.serial import SerialBackend

    lost = {}

    class Unreliable(SerialBackend):
        def wait(self, handles, timeout=None):
            (outcome,) = super().wait(handles, timeout)
            seed = outcome.record.seed
            lost[seed] = lost.get(seed, 0) + 1
            if seed == 1 or (seed == 0 and lost[seed] == 1):
                return [Outcome(handle=outcome.handle, state="lost")]
            return [outcome]

    monkeypatch.setattr("rlsuite.backends.serial.SerialBackend", Unreliable)
    result = run(small(seeds=(0, 1)))
    assert [record.state for record in result.records] == ["ok", "killed"]
    assert result.failed[0].error == "whoever ran this cell vanished (3 times)"
    assert lost == {0: 2, 1: 3}


# What is refused before anything is run ---------------------------------------------------------


@pytest.mark.parametrize(
    ("keywords", "match"),
    [
        ({}, "agents and tasks is missing"),
        ({"agents": [Q]}, "tasks is missing"),
        ({"tasks": [GRID]}, "agents is missing"),
        ({"agents": [Q], "tasks": GRID}, "tasks is a list of ids"),
        ({"agents": [Q], "tasks": [GRID], "seeds": 0}, "seeds must be a count"),
        ({"agents": [Q], "tasks": [GRID], "total_timesteps": -1}, "total_timesteps must be"),
        ({"suite": "quick", "agents": [Q]}, "not both"),
        ({"agents": {"b": Broken(None, seed=0)}, "tasks": [GRID]}, "'b' is a built Broken"),
    ],
)
def test_malformed_calls(run, tmp_path, keywords, match):
    with pytest.raises(SuiteError, match=match):
        run(**keywords)
    assert not (tmp_path / "s.sqlite").exists()


def test_keywords_that_are_no_json(run):
    task = TaskSpec(id="odd", env_id="CartPole-v1", env_kwargs={"sutton_barto_reward": object()})
    with pytest.raises(SuiteError, match=r"the task 'odd' has keywords that cannot be written"):
        run(agents=["rlsuite/Random-v0"], tasks=[task])


def test_seeds_and_budget_of_a_suite_can_be_set(run):
    result = run(small(), seeds=[7, 8], total_timesteps=40)
    assert [(r.seed, r.total_timesteps) for r in result.records] == [(7, 40), (8, 40)]


def test_printing_shows_leaderboards_and_the_place(run, tmp_path):
    text = str(run(small(seeds=(0, 1))))
    assert text.startswith("small: 2 cells (2 ok), 0 reused")
    assert "| q |" in text
    assert text.endswith(f"Results: {tmp_path / 's.sqlite'}")


def test_a_report_is_one_file(run, tmp_path):
    path = run(small()).report(tmp_path / "report.html")
    assert "<html" in path.read_text(encoding="utf-8")


def test_the_default_store_is_under_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = rlsuite.benchmark(small())
    assert (tmp_path / "results" / "rlsuite.sqlite").is_file()
    assert str(result.store_path) == "results/rlsuite.sqlite"
