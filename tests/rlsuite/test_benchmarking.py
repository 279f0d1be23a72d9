"""benchmark: cells, resume, failures, regret while learning, and classes of one's own."""

from __future__ import annotations

import functools
import random
import sqlite3
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

import rlsuite
from registry.errors import StoreError, SuiteError
from registry.seeding import Stream, integer_seed
from registry.specs import TaskSpec
from rlsuite import identity
from rlsuite.benchmarking import CellFinished, CellProgress, CellStarted, SuiteStarted
from rlsuite.records import canonical_json
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


# Regret while learning --------------------------------------------------------------------------


def test_bandits_are_scored_by_the_regret_of_learning(run):
    (record,) = run(agents=["rlsuite/UCB1-v0"], tasks=[BANDIT], seeds=1).records
    assert (record.metric, record.steps_used, record.curve) == ("learning_regret", 500, ())
    assert record.regret == pytest.approx(record.training.regret[-1])
    assert record.mean_return == pytest.approx(450 - record.regret)
    assert record.score == pytest.approx(1 - record.regret / 200)  # uniform play loses 0.4 a step
    assert len(record.training.step) == 500


def test_regret_over_several_episodes_is_scored_per_episode(run):
    result = run(agents=["rlsuite/Random-v0"], tasks=[BANDIT], seeds=1, total_timesteps=1_250)
    (record,) = result.records
    assert record.mean_return == pytest.approx(450 - record.regret * 500 / 1_250)
    assert record.score == pytest.approx(1 - record.regret / 500)


def test_a_fixed_policy_plays_the_whole_budget(run):
    (record,) = run(agents={"p": OnlyPredicts}, tasks=[BANDIT], seeds=1).records
    assert (record.state, record.steps_used) == ("ok", 500)
    assert record.regret == pytest.approx(0.8 * 500)  # arm 0 pays 0.1, the best 0.9


def test_without_regret_in_info_the_cell_fails_with_a_sentence(run):
    task = TaskSpec(id="odd", env_id="CartPole-v1", metric="learning_regret", total_timesteps=9)
    (record,) = run(agents=["rlsuite/Random-v0"], tasks=[task], seeds=1).records
    assert record.state == "failed"
    assert "its environment puts no 'regret' into info" in record.error


def test_arms_drawn_anew_give_regret_but_no_score(run):
    task = TaskSpec(
        id="drawn",
        env_id=BANDIT,
        env_kwargs={"n_arms": 3},
        metric="learning_regret",
        total_timesteps=500,
    )
    (record,) = run(agents=["rlsuite/UCB1-v0"], tasks=[task], seeds=1).records
    assert record.regret > 0
    assert record.score is record.mean_return is None


class Half:
    """Takes half of its budget, always the best arm but one."""

    def __init__(self, env, *, seed, factor=0.5):
        self.env, self.factor = env, factor

    def learn(self, total_timesteps):
        self.env.reset()
        for _ in range(int(self.factor * total_timesteps)):
            *_, terminated, truncated, _ = self.env.step(0)
            if terminated or truncated:
                self.env.reset()

    def predict(self, observation):
        return 0, None


def test_regret_of_fewer_steps_than_the_budget_is_not_comparable(run):
    """Else the laziest would be the first: regret grows with every step."""
    result = run(agents={"half": Half, "u": "rlsuite/UCB1-v0"}, tasks=[BANDIT], seeds=1)
    half, ucb = result.records
    assert (half.state, half.steps_used, half.regret, half.score) == ("failed", 250, None, None)
    assert half.error == "took 250 steps of a budget of 500: its regret is not comparable"
    (board,) = leaderboards(result.records)
    assert [(row.agent, row.rank) for row in board.rows] == [("u", 1), ("half", None)]
    assert ucb.state == "ok"


def test_a_budget_of_no_steps_has_no_regret(run):
    (record,) = run(agents=["rlsuite/UCB1-v0"], tasks=[BANDIT], seeds=1, total_timesteps=0).records
    assert record.error == "took 0 steps of a budget of 0: its regret is not comparable"


def test_regret_is_counted_up_to_the_budget_and_no_further(run):
    (exact,) = run(agents={"x": (Half, {"factor": 1})}, tasks=[BANDIT], seeds=1).records
    (more,) = run(agents={"x": (Half, {"factor": 1.5})}, tasks=[BANDIT], seeds=1).records
    assert (exact.steps_used, more.steps_used) == (500, 750)
    assert more.regret == exact.regret == pytest.approx(0.8 * 500)
    assert more.score == exact.score
    assert more.training.regret[-1] == more.regret
    assert more.notes[-2:] == (
        "took 750 steps of a budget of 500",
        "its regret is counted over the first 500 steps",
    )


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


# Identity ---------------------------------------------------------------------------------------


def key(**changes):
    (cell,) = small(**changes).cells()
    return identity.key_of(cell)


def test_equal_cells_have_equal_keys_and_each_difference_makes_another():
    base = key()
    assert key().digest == base.digest
    assert key(agents=choices({"label": Q})).digest == base.digest
    assert key(agents=choices({"q": (Q, {"step_size": 0.5})})).digest == base.digest
    others = [
        key(seeds=(1,)),
        key(total_timesteps=101),
        key(eval_points=3),
        key(eval_episodes=3),
        key(final_episodes=2),
        key(deterministic=False),
        key(agents=choices({"q": (Q, {"step_size": 0.4})})),
        key(agents=choices({"q": "rlsuite/Sarsa-v0"})),
        key(tasks=("rlsuite/CliffWalk-v0",)),
        key(tasks=(TaskSpec(id=GRID, env_id=GRID, env_kwargs={"slip": 0.1}, family="tabular"),)),
        key(tasks=(TaskSpec(id=GRID, env_id=GRID, wrappers=(
            ("gymnasium.wrappers:TimeLimit", {"max_episode_steps": 9}),), family="tabular"),)),
        identity.key_of(next(iter(small().cells())), device="cuda"),
    ]  # fmt: skip
    assert len({k.digest for k in [base, *others]}) == 1 + len(others)


def test_the_identity_names_every_field_of_a_cell():
    """Who adds a field to a cell or a task has to say here whether it can change a result."""
    known = key().identity
    assert set(known) == {
        "schema", "task", "environment", "agent", "settings", "seed", "total_timesteps",
        "evaluation", "device", "rlsuite",
    }  # fmt: skip
    assert set(known["task"]) == set(TaskSpec.__dataclass_fields__)
    in_cell = {"task", "choice", "seed", "total_timesteps", "eval_points", "eval_episodes"}
    in_cell |= {"final_episodes", "deterministic"}
    (cell,) = small().cells()
    assert set(cell.__dataclass_fields__) == in_cell | {"label"}  # a label changes nothing
    canonical_json(known)


def test_code_is_known_by_version_or_by_source():
    ours = key().identity
    assert ours["agent"]["origin"]["distribution"] == "rlsuite"
    theirs = key(tasks=("CartPole-v1",)).identity["environment"]["origin"]
    assert theirs == {"distribution": "gymnasium", "version": gym.__version__, "source": None}
    passed_in = key(agents=choices({"m": Mine})).identity["agent"]
    assert passed_in["entry_point"].endswith(":Mine")
    assert len(passed_in["origin"]["source"]) == 64


def test_a_package_outside_of_any_distribution_is_hashed(tmp_path, monkeypatch):
    package = tmp_path / "loose_package"
    package.mkdir()
    (package / "__init__.py").write_text("x = 1")
    (tmp_path / "loose_module.py").write_text("y = 1")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("loose_package", "loose_module"):
        found = identity.origin_of(f"{name}:x")
        assert (found["distribution"], found["version"]) == (None, None)
        assert len(found["source"]) == 64
    before = identity._package_hash("loose_package")
    (package / "more.py").write_text("x = 2")
    assert identity._package_hash("loose_package") != before
    assert identity._package_hash("loose_package", frozenset({"more"})) == before
    assert identity._package_hash("no_such_package") == identity._package_hash("neither")


def test_what_cannot_change_a_result_is_named_as_it_is_now():
    """Whatever is not on the list is part of every key, the loop of a cell among it."""
    folder = Path(rlsuite.__file__).parent
    for name in identity.SHOWN_ONLY:
        assert (folder / name).is_dir() or (folder / f"{name}.py").is_file(), name
    assert not identity.SHOWN_ONLY & {"running", "running/cells", "running/scoring", "evaluation"}


def test_a_module_of_a_room_can_be_left_out(tmp_path, monkeypatch):
    room = tmp_path / "house" / "room"
    room.mkdir(parents=True)
    for file in (room.parent / "__init__.py", room / "__init__.py", room / "shown.py"):
        file.write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    left_out = frozenset({"room/shown"})
    before = identity._package_hash("house", left_out)
    (room / "shown.py").write_text("x = 1")
    assert identity._package_hash("house", left_out) == before
    (room / "counts.py").write_text("x = 1")
    assert identity._package_hash("house", left_out) != before


def closure(bonus):
    def make(env, *, seed):
        return Mine(env, seed=seed, bonus=bonus)

    return make


@pytest.mark.parametrize(
    "factory", [closure(3), functools.partial(Mine, bonus=3), type("Typed", (Mine,), {})]
)
def test_without_a_source_nothing_is_reused(run, factory):
    suite = small(agents=choices({"m": factory}))
    assert "the source of m cannot be found" in run(suite).notes[0]
    assert run(suite).reused == 0


def test_a_class_is_known_with_its_parents():
    class Child(Mine):
        pass

    source = identity._source_of(Child)
    assert "class Child" in source
    assert "class Mine" in source


def test_an_environment_registered_by_its_class_is_known_by_its_source(run):
    gym.register("here/Loose-v0", gym.envs.classic_control.CartPoleEnv, max_episode_steps=9)
    try:
        environment = key(tasks=("here/Loose-v0",)).identity["environment"]
        assert len(environment["origin"]["source"]) == 64
        assert environment["max_episode_steps"] == 9
    finally:
        del gym.registry["here/Loose-v0"]
