"""What a key is made of: all that can change a result, wherever a command is started."""

from __future__ import annotations

import dataclasses
import functools
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

import rlsuite
from registry.catalogue import registry
from registry.specs import Entry, Provenance, TaskSpec
from rlsuite import identity
from rlsuite.records import canonical_json
from rlsuite.suite import Grid, Suite, choices

GRID, TOKENS = "rlsuite/GridWorld-v0", "rlsuite/TokenGeneration-v0"
Q, SOFT = "rlsuite/QLearning-v0", "rlsuite/SoftValueIteration-v0"
ROOT = Path(__file__).resolve().parent.parent.parent
CODE = "from rlsuite.identity import _is_editable; print(_is_editable('rlsuite'))"


def made(folder, name, direct_url):
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    if direct_url:
        (info / "direct_url.json").write_text(direct_url)


@pytest.mark.parametrize(
    ("copies", "editable"),
    [
        ([""], False),
        (['{"url": "file:///x", "dir_info": {}}'], False),
        (['{"url": "file:///x", "dir_info": {"editable": true}}'], True),
        (["", '{"url": "file:///x", "dir_info": {"editable": true}}'], True),
        ([], True),  # nothing says which version it is
    ],
)
def test_editable_is_what_any_metadata_on_the_path_says(tmp_path, monkeypatch, copies, editable):
    for number, text in enumerate(copies):
        made(tmp_path / str(number), "somebodys", text)
    folders = [str(tmp_path / str(number)) for number in range(len(copies))]
    monkeypatch.setattr(sys, "path", [*folders, *sys.path])
    assert identity._is_editable("somebodys") is editable


def test_the_folder_of_the_source_gives_the_same_answer_as_any_other(tmp_path):
    answers = {
        subprocess.run(
            [sys.executable, "-c", CODE], cwd=folder, capture_output=True, text=True, check=True
        ).stdout
        for folder in (ROOT, tmp_path)
    }
    assert len(answers) == 1


class Mine:
    def __init__(self, env, *, seed, bonus=0):
        self.bonus = bonus

    def predict(self, observation):
        return self.bonus, None


def small(**changes):
    keywords = {
        "tasks": (GRID,),
        "agents": choices({"q": Q}),
        "seeds": (0,),
        "total_timesteps": 100,
        "eval_points": 4,
        "eval_episodes": 2,
        "final_episodes": 3,
    }
    return Suite("small", (Grid(**{**keywords, **changes}),))


def key(**changes):
    (cell,) = small(**changes).cells()
    return identity.key_of(cell)


def soft(reference):
    return key(agents=choices({"soft": (SOFT, {"reference": str(reference)})}))


def test_a_file_that_a_setting_names_is_known_by_its_content(tmp_path):
    file = tmp_path / "policy.npz"
    without = soft(file)
    assert without.identity["named"] == []
    np.savez(file, pi=np.full((25, 4), 0.25))
    first = soft(file)
    np.savez(file, pi=np.full((25, 4), 0.25), further=np.zeros(2))
    second = soft(file)
    np.savez(file, pi=np.full((25, 4), 0.25))
    assert len({without.digest, first.digest, second.digest}) == 3
    assert soft(file).digest == first.digest
    ((name, (content,)),) = first.identity["named"]
    assert (name, len(content)) == (str(file), 64)


def test_a_file_that_a_keyword_names_is_known_by_its_content(tmp_path):
    file = tmp_path / "layout.txt"
    wrapper = ("gymnasium.wrappers:TimeLimit", {"of": [{"layout": str(file)}]})

    def keys():
        tasks = (
            TaskSpec(id=GRID, env_id=GRID, env_kwargs={"layout": str(file)}, family="tabular"),
            TaskSpec(id=GRID, env_id=GRID, wrappers=(wrapper,), family="tabular"),
        )
        return [key(tasks=(task,)).digest for task in tasks]

    file.write_text("S.G")
    before = keys()
    file.write_text("S..G")
    assert not set(before) & set(keys())


def test_a_folder_of_a_model_is_known_by_its_content(tmp_path):
    """As a keyword of the task and as a setting; a folder without a model is a mere name."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"1")

    def digests():
        task = TaskSpec(
            id=TOKENS, env_id=TOKENS, env_kwargs={"reward": str(model)}, family="tokens"
        )
        sft = choices({"sft": ("rlsuite/SFT-v0", {"start": str(model)})})
        return [key(tasks=(task,)).digest, key(tasks=(TOKENS,), agents=sft).digest]

    name = digests()
    (model / "model.safetensors").write_bytes(b"2")
    assert digests() == name
    (model / "config.json").write_text("{}")
    before = digests()
    (model / "model.safetensors").write_bytes(b"3 and more")
    assert not set(before) & set(digests())


def test_a_reward_model_is_known_by_its_code(tmp_path, monkeypatch):
    (tmp_path / "scorer.py").write_text("def make():\n    return lambda tokens, lengths: lengths\n")
    monkeypatch.syspath_prepend(tmp_path)
    entry = Entry(
        kind="reward_model",
        id="here/Length-v0",
        entry_point="scorer:make",
        provenance=Provenance(distribution="unknown", version="0"),
    )
    monkeypatch.setitem(registry._entries["reward_model"], entry.id, entry)
    task = TaskSpec(id=TOKENS, env_id=TOKENS, env_kwargs={"reward": entry.id}, family="tokens")
    ((name, ((entry_point, origin),)),) = key(tasks=(task,)).identity["named"]
    assert (name, entry_point) == ("here/Length-v0", "scorer:make")
    assert len(origin["source"]) == 64


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
        "evaluation", "device", "rlsuite", "named",
    }  # fmt: skip
    assert set(known["task"]) == set(TaskSpec.__dataclass_fields__)
    in_cell = {"task", "choice", "seed", "total_timesteps", "eval_points", "eval_episodes"}
    in_cell |= {"final_episodes", "deterministic"}
    (cell,) = small().cells()
    # a label changes nothing, and runs are named only where there are some
    assert set(cell.__dataclass_fields__) == in_cell | {"label", "runs"}
    block = identity.key_of(dataclasses.replace(cell, runs=(0, 7)))
    assert block.identity["study"] == {"runs": [0, 7]}
    assert {k: v for k, v in block.identity.items() if k != "study"} == known
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
def test_without_a_source_nothing_is_reused(tmp_path, factory):
    suite, store = small(agents=choices({"m": factory})), tmp_path / "s.sqlite"
    assert "the source of m cannot be found" in rlsuite.benchmark(suite, store=store).notes[0]
    assert rlsuite.benchmark(suite, store=store).reused == 0


def test_a_class_is_known_with_its_parents():
    class Child(Mine):
        pass

    source = identity._source_of(Child)
    assert "class Child" in source
    assert "class Mine" in source


def test_an_environment_registered_by_its_class_is_known_by_its_source():
    gym.register("here/Loose-v0", gym.envs.classic_control.CartPoleEnv, max_episode_steps=9)
    try:
        environment = key(tasks=("here/Loose-v0",)).identity["environment"]
        assert len(environment["origin"]["source"]) == 64
        assert environment["max_episode_steps"] == 9
    finally:
        del gym.registry["here/Loose-v0"]
