"""Suites in Python and TOML, and the sentence for each way to write one wrongly."""

from __future__ import annotations

import pytest

import rlsuite
from registry.catalogue import registry
from registry.errors import SettingError, SuiteError, UnknownIdError, UnsupportedSpaceError
from registry.specs import TaskSpec
from rlsuite.store import Store
from rlsuite.suite import AgentChoice, Grid, Suite, choices, load_suite

GRID, Q = "rlsuite/GridWorld-v0", "rlsuite/QLearning-v0"

GOOD = """
name = "mine"
title = "My suite"

[[task]]
id = "slippery"
env_id = "rlsuite/GridWorld-v0"
env_kwargs = { slip = 0.1 }
total_timesteps = 70

[[grid]]
tasks = ["rlsuite/GridWorld-v0", "slippery"]
seeds = [3, 1]
total_timesteps = 500
eval_points = 2
eval_episodes = 4
final_episodes = 6
deterministic = false

[grid.agents]
q = "rlsuite/QLearning-v0"
slow = { id = "rlsuite/QLearning-v0", step_size = 0.1 }

[[grid]]
tasks = ["slippery"]
agents = ["rlsuite/Random-v0"]
seeds = 1
"""


class Mine:
    def __init__(self, env, seed):
        pass

    def predict(self, observation):
        return 0, None


def toml(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return Suite.from_toml(path)


def grid(**changes):
    keywords = {"tasks": ("CartPole-v1",), "agents": choices(["rlsuite/Random-v0"]), **changes}
    return Grid(**keywords)


def test_a_file_becomes_cells(tmp_path):
    suite = toml(tmp_path, GOOD)
    assert (suite.name, suite.title) == ("mine", "My suite")
    suite.check()
    cells = list(suite.cells())
    assert len(cells) == 2 * 2 * 2 + 1
    assert [(c.task.id, c.label, c.seed) for c in cells[:3]] == [
        ("rlsuite/GridWorld-v0", "q", 3),
        ("rlsuite/GridWorld-v0", "q", 1),
        ("rlsuite/GridWorld-v0", "slow", 3),
    ]
    first, last = cells[0], cells[-1]
    assert (first.total_timesteps, first.eval_points, first.eval_episodes) == (500, 2, 4)
    assert (first.final_episodes, first.deterministic) == (6, False)
    assert (last.total_timesteps, last.final_episodes, last.deterministic) == (70, 20, True)
    assert last.task.env_kwargs == {"slip": 0.1}
    assert cells[2].choice.settings == {"step_size": 0.1}


def test_a_cell_is_run_once_though_two_grids_name_it():
    suite = Suite("twice", (grid(), grid(seeds=(4, 5))))
    assert [cell.seed for cell in suite.cells()] == [0, 1, 2, 3, 4, 5]


def test_the_name_of_a_file_is_the_default_name(tmp_path):
    text = '[[grid]]\ntasks = ["CartPole-v1"]\nagents = ["rlsuite/Random-v0"]'
    assert toml(tmp_path, text).name == "mine"


def test_a_suite_is_found_by_name_id_and_path(tmp_path):
    assert load_suite("quick") == load_suite("rlsuite/quick-v0")
    path = tmp_path / "mine.toml"
    path.write_text(GOOD, encoding="utf-8")
    assert load_suite(path).name == "mine"
    with pytest.raises(UnknownIdError, match=r"no suite 'quik'. Did you mean 'rlsuite/quick-v0'"):
        load_suite("quik")
    with pytest.raises(SuiteError, match=r"there is no suite file 'quik.toml'"):
        load_suite("quik.toml")


def test_the_quick_suite_holds_what_it_promises():
    suite = load_suite("quick")
    suite.check()
    cells = list(suite.cells())
    by_task = {}
    for cell in cells:
        by_task.setdefault(cell.task.id, []).append(cell)
    assert {"FrozenLake-v1", "CartPole-v1", "rlsuite/TokenGeneration-v0"} <= set(by_task)
    for task, ours in by_task.items():
        for label in {cell.label for cell in ours}:
            seeds = {cell.seed for cell in ours if cell.label == label}
            assert len(seeds) >= (3 if task == "CartPole-v1" else 5)
    budgets = {(c.task.id, c.choice.id): c.total_timesteps for c in cells}
    assert budgets["CartPole-v1", "sb3/PPO-v0"] == budgets["CartPole-v1", "sb3/A2C-v0"] == 30_000
    assert budgets["CartPole-v1", "sb3/DQN-v0"] == 10_000
    assert budgets["FrozenLake-v1", "rlsuite/QLearning-v0"] == 20_000
    assert budgets["rlsuite/TokenGeneration-v0", "rlsuite/Reinforce-v0"] == 50_000
    providers = {entry.id.partition("/")[0] for entry in registry.entries("agent")}
    assert {cell.choice.id.partition("/")[0] for cell in cells} <= providers


def test_the_suite_of_bandits_ranks_like_with_like():
    """All agents of a family run all of its tasks: each has one figure on the leaderboard."""
    suite = load_suite("bandits")
    suite.check()
    by_family = {}
    for cell in suite.cells():
        by_family.setdefault(cell.task.family, {}).setdefault(cell.task.id, set()).add(cell.label)
    assert set(by_family) == {"bandit", "normal bandit", "contextual bandit"}
    for tasks in by_family.values():
        assert len({frozenset(labels) for labels in tasks.values()}) == 1
        assert all("Random" in labels for labels in tasks.values())
    played = {cell.choice.id for cell in suite.cells()}
    policies = {e.id for e in registry.entries("agent") if ".bandits." in e.entry_point}
    assert policies - played == {"rlsuite/LogisticTS-v0"}  # of payoffs of 0 and 1 alone
    assert all(cell.task.metric == "learning_regret" for cell in suite.cells())


def test_baselines_stand_beside_the_file(tmp_path):
    (tmp_path / "theirs.sqlite").touch()
    suite = toml(tmp_path, 'baselines = "theirs.sqlite"\n' + GOOD)
    assert suite.baselines == tmp_path / "theirs.sqlite"
    assert toml(tmp_path, GOOD).baselines is None
    with pytest.raises(SuiteError, match=r"a store beside the file, there is no .*ours\.sqlite"):
        toml(tmp_path, 'baselines = "ours.sqlite"\n' + GOOD)
    with pytest.raises(SuiteError, match="baselines must be a string, got 3"):
        toml(tmp_path, "baselines = 3\n" + GOOD)


def test_agents_of_every_spelling():
    found = choices(
        {"a": "x/A-v0", "b": ("x/B-v0", {"k": 1}), "c": Mine, "d": AgentChoice("x/D-v0")}
    )
    assert [choice.id for choice in found.values()] == ["x/A-v0", "x/B-v0", "Mine", "x/D-v0"]
    assert found["b"].settings == {"k": 1}
    assert list(choices(["x/A-v0"])) == ["x/A-v0"]


@pytest.mark.parametrize(
    ("agents", "match"),
    [
        ({"a": Mine(None, 0)}, "agent 'a' is a built Mine; pass the class itself"),
        ({"a": 3}, "got a built int"),
        ({"a": ("x/A-v0", 1)}, r"must be a pair \(id, settings\)"),
        ({"a": {"step_size": 1}}, "agent 'a' needs an id beside its settings"),
        ({"a": ("x/A-v0", {"k": object()})}, "numbers, strings"),
        ([Mine], "a list of agents holds ids"),
        ("x/A-v0", "a list of ids or a table of labels"),
    ],
)
def test_what_is_no_agent(agents, match):
    with pytest.raises(SuiteError, match=match):
        choices(agents)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"tasks": ()}, "a grid is empty: it has no tasks"),
        ({"agents": {}}, "a grid is empty: it has no agents"),
        ({"seeds": ()}, "seeds must be a count"),
        ({"seeds": 0}, "seeds must be a count"),
        ({"seeds": True}, "seeds must be a count"),
        ({"seeds": (1, 1)}, "different whole numbers"),
        ({"seeds": (-1,)}, "at least 0"),
        ({"total_timesteps": -5}, "total_timesteps must be a whole number of at least 0, got -5"),
        ({"total_timesteps": 1.5}, "total_timesteps must be a whole number"),
        ({"eval_points": -1}, "eval_points must be"),
        ({"eval_episodes": 0}, "eval_episodes must be a whole number of at least 1"),
        ({"final_episodes": 0}, "final_episodes must be"),
        ({"deterministic": "no"}, "deterministic must be true or false"),
    ],
)
def test_a_grid_is_checked(changes, match):
    with pytest.raises(SuiteError, match=match):
        grid(**changes)


def test_a_suite_without_a_grid():
    with pytest.raises(SuiteError, match=r"'none' is empty: it has no grid"):
        Suite("none", ())


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("grids = []", r"mine.toml: a suite has no key 'grids'. Did you mean 'grid'"),
        ("grid = 3", r"'grid' must be written as \[\[grid\]\]"),
        ("name = 3\n[[grid]]\ntasks=['a']\nagents=['b']", "name must be a string"),
        ("[[grid]]\ntask = ['a']", "a grid has no key 'task'. Did you mean 'tasks'"),
        ("[[grid]]\ntasks = 'a'", "tasks must be a list of ids"),
        ("[[grid]]\nseedz = 1\ntasks=['a']", "Did you mean 'seeds'"),
        ("[[task]]\nenv_id = 'a'", r"a \[\[task\]\] needs an id"),
        ("[[task]]\nid = 'a'\nenvid = 'a'", "a task has no key 'envid'. Did you mean 'env_id'"),
        ("[[task]]\nid = 'a'\nmetric = 'luck'", "metric must be one of"),
        ("what is this", "is not TOML"),
    ],
)
def test_a_file_is_checked(tmp_path, text, match):
    with pytest.raises(SuiteError, match=match):
        toml(tmp_path, text)


def test_a_file_that_is_no_text(tmp_path):
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SuiteError, match=r"is not TOML"):
        Suite.from_toml(tmp_path / "bytes.toml")
    with pytest.raises(SuiteError, match=r"cannot be read"):
        Suite.from_toml(tmp_path)


@pytest.mark.parametrize(
    ("suite", "error", "match"),
    [
        (grid(tasks=("CartPol-v1",)), UnknownIdError, "no environment 'CartPol-v1'"),
        (grid(agents=choices(["rlsuite/Randm-v0"])), UnknownIdError, "Did you mean 'rlsuite/Rand"),
        (
            grid(agents=choices({"q": ("rlsuite/QLearning-v0", {"alpha": 1})})),
            SettingError,
            "no setting 'alpha'",
        ),
        (
            grid(agents=choices({"q": ("rlsuite/QLearning-v0", {"step_size": 5})})),
            SettingError,
            "step_size",
        ),
        (
            grid(tasks=("rlsuite/GridWorld-v0", "CartPole-v1"), agents=choices(["sb3/PPO-v0", Q])),
            UnsupportedSpaceError,
            "'rlsuite/QLearning-v0' handles Discrete observations, but CartPole-v1 has Box",
        ),
        (
            grid(tasks=(TaskSpec(id="s", env_id=GRID, env_kwargs={"size": -1}),)),
            SettingError,
            "size must be",
        ),
    ],
)
def test_everything_is_checked_before_anything_is_run(suite, error, match, tmp_path):
    with pytest.raises(error, match=match):
        rlsuite.benchmark(Suite("s", (suite,)), store=tmp_path / "s.sqlite")
    assert not (tmp_path / "s.sqlite").exists()


def test_what_cannot_be_made_or_imported_is_left_to_its_cells(monkeypatch, tmp_path):
    """Somebody's broken code fails its own cells; the check neither stops for it nor hides it."""

    def broken(*arguments, **keywords):
        raise RuntimeError("no display")

    monkeypatch.setattr("rlsuite_envs.tabular.grid_world.GridWorld.__init__", broken)
    suite = Suite("s", (grid(tasks=(GRID,), agents=choices([Q]), seeds=1),))
    suite.check()
    (record,) = rlsuite.benchmark(suite, store=tmp_path / "s.sqlite").records
    assert record.error.endswith("RuntimeError: no display")


def test_the_textbook_suite_has_every_table_that_learns_from_experience():
    ids = {choice.id for grid in load_suite("textbook").grids for choice in grid.agents.values()}
    specs = [registry.agent_spec(identifier) for identifier in registry.ids("agent")]
    tables = {spec.id for spec in specs if spec.entry_point.startswith("rlsuite_agents.tabular.")}
    from_data = {spec.id for spec in specs if "data" in spec.requires}
    assert len(tables - from_data) >= 18
    assert tables - from_data <= ids


def test_the_classic_suite_meets_its_baselines():
    """Same tasks, budgets, seeds and evaluation; the labels differ by who made the agent."""
    ours, theirs = load_suite("classic"), load_suite("classic-sb3")
    theirs.check()
    ours.check()

    def cells(suite):
        return {
            (c.task.id, c.label.removesuffix(" (SB3)"), c.seed, c.total_timesteps, c.final_episodes)
            for c in suite.cells()
        }

    assert cells(theirs) == {c for c in cells(ours) if c[:2] in {d[:2] for d in cells(theirs)}}
    for task, agent, _, steps, episodes in cells(ours):
        seeds = {c[2] for c in cells(ours) if c[:2] == (task, agent)}
        assert (len(seeds), episodes) == (5 if steps == 1_000_000 else 10, 100)


def test_the_baselines_are_those_of_their_suite():
    """What is stored is finished, complete, and was made by the settings that the suite names."""
    wanted = {(c.task.id, c.label, c.seed): c for c in load_suite("classic-sb3").cells()}
    path = load_suite("classic").baselines
    with Store(path, read_only=True) as store:
        records = {(r.task, r.agent, r.seed): r for r in store.records(lean=True)}
    assert records.keys() == wanted.keys()
    for name, record in records.items():
        cell = wanted[name]
        given = dict(record.settings) | cell.choice.settings
        assert (record.state, record.total_timesteps) == ("ok", cell.total_timesteps)
        assert given == record.settings, name
