"""More episodes are only played: the record is that of a training from the start, bit for bit."""

from __future__ import annotations

import dataclasses

import pytest

import rlsuite
import rlsuite.evaluation
from registry.catalogue import registry
from registry.errors import CheckpointError
from registry.specs import TaskSpec
from rlsuite.identity import key_of
from rlsuite.running import policies, run_loop
from rlsuite.running.events import CellFinished
from rlsuite.running.planning import make_plan
from rlsuite.running.policies import Shelf, trim
from rlsuite.running.resuming import Saver, Stopped
from rlsuite.store import Store
from rlsuite.suite import Grid, Suite, choices

STICKY = TaskSpec(
    id="sticky",
    env_id="FrozenLake-v1",
    family="tabular",
    wrappers=(("gymnasium.wrappers:StickyAction", {"repeat_action_probability": 0.25}),),
)
"""No exact answer is known here, so that episodes are played."""

CASES = [
    (STICKY, "rlsuite/QLearning-v0", True),
    (STICKY, "rlsuite/Sarsa-v0", False),
    ("CartPole-v1", "rlsuite/Reinforce-v0", True),
    ("CartPole-v1", "rlsuite/Reinforce-v0", False),
    ("CartPole-v1", "sb3/PPO-v0", True),
    ("CartPole-v1", "sb3/PPO-v0", False),
    ("CartPole-v1", "sb3/DQN-v0", False),
]


def suite(task=STICKY, agent="rlsuite/QLearning-v0", **changes):
    fields = {
        "seeds": 1,
        "total_timesteps": 300,
        "eval_points": 3,
        "eval_episodes": 2,
        "final_episodes": 3,
        **changes,
    }
    return Suite("one", (Grid(tasks=(task,), agents=choices({"a": agent}), **fields),))


def table(result):
    assert [record.state for record in result.records] == ["ok"], result.records[0].error
    return rlsuite.results_table(result.records)


@pytest.fixture
def played(monkeypatch):
    """The numbers of the episodes that are played, evaluation by evaluation."""
    calls = []
    play = rlsuite.evaluation.play

    def noted(*arguments, episodes, **keywords):
        calls.append(list(episodes))
        return play(*arguments, episodes=episodes, **keywords)

    monkeypatch.setattr(rlsuite.evaluation, "play", noted)
    return calls


@pytest.fixture
def nothing_learns(monkeypatch):
    """From the call of what this gives on, training is an error."""

    def forbid(agent):
        def learn(self, total_timesteps, callback=None):
            raise AssertionError("something was trained")

        monkeypatch.setattr(registry.agent_spec(agent).load(), "learn", learn)

    return forbid


@pytest.mark.parametrize(("task", "agent", "greedy"), CASES)
@pytest.mark.parametrize(
    "changes",
    [{"final_episodes": 7}, {"final_episodes": 2}, {"eval_episodes": 5, "final_episodes": 7}],
    ids=["more", "fewer", "everywhere"],
)
def test_the_record_is_that_of_a_fresh_run(tmp_path, nothing_learns, task, agent, greedy, changes):
    small = suite(task, agent, deterministic=greedy)
    large = suite(task, agent, deterministic=greedy, **changes)
    fresh = table(rlsuite.benchmark(large, store=tmp_path / "fresh.sqlite"))
    before = table(rlsuite.benchmark(small, store=tmp_path / "s.sqlite"))
    nothing_learns(agent)
    assert make_plan(large, tmp_path / "s.sqlite").counts == {"evaluate only": 1}
    assert table(rlsuite.benchmark(large, store=tmp_path / "s.sqlite")) == fresh
    again = rlsuite.benchmark(small, store=tmp_path / "s.sqlite")
    assert (table(again), again.reused) == (before, 1)


def test_only_what_is_missing_is_played(tmp_path, played):
    rlsuite.benchmark(suite(), store=tmp_path / "s.sqlite")
    assert played == [[0, 1], [0, 1], [0, 1, 2]]
    played.clear()
    rlsuite.benchmark(suite(final_episodes=6), store=tmp_path / "s.sqlite")
    assert played == [[2], [2, 3, 4, 5]]  # episode 2 twice as a proof


def test_the_plan_counts_no_steps_for_them(tmp_path):
    store = tmp_path / "s.sqlite"
    rlsuite.benchmark(suite(), store=store)
    plan = make_plan(suite(final_episodes=6, seeds=2), store)
    assert plan.counts == {"evaluate only": 1, "missing": 1}
    ((_, _, states, to_run, steps),) = plan.rows()
    assert (states["evaluate only"], to_run, steps) == (1, 2, 300)


@pytest.mark.parametrize("workers", [1, 2])
def test_in_processes_of_their_own(tmp_path, workers):
    small, large = suite(seeds=2), suite(seeds=2, eval_episodes=4, final_episodes=6)
    fresh = rlsuite.benchmark(large, store=tmp_path / "fresh.sqlite")
    store = tmp_path / "s.sqlite"
    rlsuite.benchmark(small, store=store, workers=workers)
    assert make_plan(large, store).counts == {"evaluate only": 2}
    again = rlsuite.benchmark(large, store=store, workers=workers)
    assert rlsuite.results_table(again.records) == rlsuite.results_table(fresh.records)
    times = [[r.train_seconds for r in rlsuite.benchmark(s, store=store).records] for s in
             (small, large)]  # fmt: skip
    assert times[0] == times[1]


@pytest.mark.parametrize(
    ("task", "agent"),
    [
        ("rlsuite/GridWorld-v0", "rlsuite/QLearning-v0"),
        ("rlsuite/BernoulliBandit-v0", "rlsuite/UCB1-v0"),
    ],
)
def test_where_no_episode_is_played_nothing_is_left_to_do(
    tmp_path, nothing_learns, played, task, agent
):
    """Exact evaluation, of which the last policy is kept to be shown; the regret of learning."""
    store = tmp_path / "s.sqlite"
    before = rlsuite.benchmark(suite(task, agent), store=store)
    kept = [file.name.split(".")[1] for file in (tmp_path / "s.policies").glob("*/*")]
    assert kept == ([] if before.records[0].metric == "learning_regret" else ["final"])
    nothing_learns(agent)
    large = suite(task, agent, eval_episodes=9, final_episodes=9)
    plan = make_plan(large, store)
    assert (plan.counts, plan.to_run) == ({"ok": 1}, 0)
    after = rlsuite.benchmark(large, store=store)
    assert (table(after), after.reused, played) == (table(before), 1, [])
    assert after.records[0].key != before.records[0].key


@pytest.mark.parametrize(
    "changes",
    [{"total_timesteps": 301}, {"eval_points": 2}, {"deterministic": False}, {"seeds": (7,)}],
    ids=lambda changes: next(iter(changes)),
)
def test_whatever_changes_the_training_is_trained(tmp_path, changes):
    store = tmp_path / "s.sqlite"
    rlsuite.benchmark(suite(), store=store)
    assert make_plan(suite(**changes), store).counts == {"missing": 1}


def damage(folder, how):
    files = sorted(folder.glob("*/*.final.agent"))
    (file,) = files
    if how == "missing":
        file.unlink()
    elif how == "torn":
        file.write_bytes(file.read_bytes()[:-9])
    else:
        other = next(iter(sorted(folder.glob("*/*.0.agent"))))
        file.write_bytes(other.read_bytes())


@pytest.mark.parametrize(
    ("how", "planned", "said"),
    [
        ("missing", "missing", ""),
        ("torn", "evaluate only", "its policy cannot be used: the policy"),
        ("another", "evaluate only", "came out otherwise than before"),
    ],
)
def test_a_policy_that_cannot_be_used_means_training_anew(tmp_path, capsys, how, planned, said):
    store = tmp_path / "s.sqlite"
    cart = {"task": "CartPole-v1", "agent": "rlsuite/Reinforce-v0"}
    first, large = suite(**cart), suite(**cart, final_episodes=6)
    rlsuite.benchmark(first, store=store)
    fresh = table(rlsuite.benchmark(large, store=tmp_path / "fresh.sqlite"))
    damage(tmp_path / "s.policies", how)
    assert make_plan(large, store).counts == {planned: 1}
    capsys.readouterr()
    assert table(rlsuite.benchmark(large, store=store)) == fresh
    assert said in capsys.readouterr().out
    assert make_plan(suite(**cart, final_episodes=9), store).counts == {
        "evaluate only": 1
    }  # kept anew


class Mine:
    """Brings no file of its policy."""

    def __init__(self, env, seed):
        self.env = env

    def learn(self, total_timesteps, callback=None):
        self.env.reset()
        for _ in range(total_timesteps):
            if any(self.env.step(0)[2:4]):
                self.env.reset()

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return 0, None


def test_classes_that_are_passed_in_are_trained_anew(tmp_path):
    store = tmp_path / "s.sqlite"
    rlsuite.benchmark(suite(agent=Mine), store=store)
    assert not (tmp_path / "s.policies").exists()
    assert make_plan(suite(agent=Mine, final_episodes=5), store).counts == {"missing": 1}


def test_a_policy_that_is_too_large_is_not_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(policies, "POLICY_BYTES", 100)
    store = tmp_path / "s.sqlite"
    rlsuite.benchmark(suite(), store=store)
    assert "The policy is not kept, so that more episodes will need" in capsys.readouterr().out
    assert list((tmp_path / "s.policies").glob("*/*")) == []
    assert make_plan(suite(final_episodes=5), store).counts == {"missing": 1}


def test_a_place_that_cannot_be_written_costs_only_the_copy(tmp_path, capsys):
    (tmp_path / "s.policies").write_text("in the way")
    found = rlsuite.benchmark(suite(), store=tmp_path / "s.sqlite")
    assert table(found) == table(rlsuite.benchmark(suite(), store=tmp_path / "u.sqlite"))
    assert "The policy is not kept" in capsys.readouterr().out


def test_a_training_that_was_interrupted_keeps_its_policies_too(tmp_path, monkeypatch):
    """Those of the first stretch are there when the second one ends."""
    store = tmp_path / "s.sqlite"
    small, large = suite(final_episodes=4), suite(eval_episodes=4, final_episodes=6)
    fresh = table(rlsuite.benchmark(large, store=tmp_path / "fresh.sqlite"))
    save = Saver._save

    def stop(self, agent, done):
        save(self, agent, done)
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(Saver, "_save", stop)
        with pytest.raises(Stopped):
            rlsuite.benchmark(small, store=store, checkpoint_every=150)
    assert len(list((tmp_path / "s.policies").glob("*/*.0.agent"))) == 1
    rlsuite.benchmark(small, store=store, checkpoint_every=150)
    assert make_plan(large, store).counts == {"evaluate only": 1}
    assert table(rlsuite.benchmark(large, store=store)) == fresh


def test_what_a_kill_leaves_is_removed(tmp_path):
    shelf = Shelf(folder=str(tmp_path), training="ab" * 32)
    agent = rlsuite.make_agent("rlsuite/QLearning-v0", "FrozenLake-v1")
    assert shelf.keep(agent, "0")
    torn = shelf.file("0").with_name(f".{shelf.training}.1.7.tmp")
    torn.touch()
    shelf.clear(torn_only=True)
    assert [shelf.has(["0"]), torn.exists()] == [True, False]
    shelf.clear()
    assert not shelf.has(["0"])
    with pytest.raises(CheckpointError, match="cannot be used"):
        shelf.load(type(agent), "0")


def test_what_a_failed_cell_leaves_is_removed(tmp_path, monkeypatch):
    kept = []
    keep = Shelf.keep
    monkeypatch.setattr(Shelf, "keep", lambda *given: kept.append(given[2]) or keep(*given))
    agent_type = registry.agent_spec("rlsuite/QLearning-v0").load()
    learn = agent_type.learn

    def fails_late(self, total_timesteps, callback=None):
        if self.num_timesteps >= 100:
            raise RuntimeError("late")
        return learn(self, total_timesteps, callback)

    monkeypatch.setattr(agent_type, "learn", fails_late)
    found = rlsuite.benchmark(suite(), store=tmp_path / "s.sqlite")
    assert (found.records[0].state, kept) == ("failed", ["0"])
    assert list((tmp_path / "s.policies").glob("*/*")) == []


def test_the_oldest_policies_give_way(tmp_path):
    (tmp_path / "ab").mkdir()
    for age in range(5):
        (tmp_path / "ab" / str(age)).write_bytes(b"x" * 100)
    trim(tmp_path, 320)
    assert sorted(file.name for file in tmp_path.glob("*/*")) == ["2", "3", "4"]
    trim(tmp_path / "nowhere", 0)


def test_a_damaged_record_is_no_help(tmp_path):
    store = tmp_path / "s.sqlite"
    rlsuite.benchmark(suite(), store=store)
    with Store(store) as opened:
        opened._connection.execute("UPDATE run SET record = '{}'")
    assert make_plan(suite(final_episodes=5), store).counts == {"missing": 1}


def test_only_numbers_of_episodes_are_apart_from_the_training():
    """Who adds a part to the protocol of evaluation has to say here whether it trains anew."""
    (cell,) = suite().cells()
    key = key_of(cell)
    assert set(key.identity["evaluation"]) == {
        *("points", "deterministic", "max_steps", "width"),  # train anew
        *("episodes", "final_episodes"),  # are only played
    }
    same = [
        name
        for name in (field.name for field in dataclasses.fields(cell))
        if name not in ("task", "choice", "label")
        and key_of(dataclasses.replace(cell, **{name: not cell.deterministic})).training
        == key.training
    ]
    assert same == ["eval_episodes", "final_episodes"]


def test_the_folder_stays_small_while_a_suite_runs(tmp_path, monkeypatch):
    store = tmp_path / "s.sqlite"
    rlsuite.benchmark(suite(seeds=1), store=store)
    one = sum(file.stat().st_size for file in store.with_suffix(".policies").glob("*/*"))
    monkeypatch.setattr(run_loop, "POLICIES_BYTES", int(1.5 * one))
    sizes = []

    def told(event):
        if isinstance(event, CellFinished):
            files = store.with_suffix(".policies").glob("*/*")
            sizes.append(sum(file.stat().st_size for file in files))

    rlsuite.benchmark(suite(seeds=6), store=store, progress=told)
    assert len(sizes) == 6
    assert 0 < min(sizes)
    assert max(sizes) <= 1.5 * one
