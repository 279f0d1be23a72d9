from __future__ import annotations

import gymnasium as gym
import pytest

from registry.catalogue import KINDS, Registry, Transaction
from registry.errors import PluginError, TakenIdError, UnknownIdError
from registry.specs import Provenance

MINE = Provenance(distribution="mine", version="1.0")
YOURS = Provenance(distribution="yours", version="2.0")


@pytest.fixture
def catalogue():
    """A registry of its own; what it enters into Gymnasium's is taken back."""
    before = dict(gym.registry)
    yield Registry()
    gym.registry.clear()
    gym.registry.update(before)


def enter(catalogue: Registry, provenance: Provenance = MINE) -> Transaction:
    return Transaction(catalogue, provenance)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_can_be_added_and_looked_up(catalogue, kind):
    transaction = enter(catalogue)
    if kind == "task":
        transaction.add_task("mine/Thing-v0", total_timesteps=7)
    else:
        getattr(transaction, f"add_{kind}")("mine/Thing-v0", "package.module:name", summary="s")
    assert catalogue.find(kind, "mine/Thing-v0") is None, "nothing is entered before the commit"
    transaction.commit()
    entry = catalogue.get(kind, "mine/Thing-v0")
    assert entry.provenance is MINE
    assert catalogue.ids(kind) == ["mine/Thing-v0"]


def test_an_environment_is_entered_into_gymnasiums_registry(catalogue):
    transaction = enter(catalogue)
    transaction.add_env(
        "mine/Env-v0", "package.module:Env", max_episode_steps=9, kwargs={"size": 2}, summary="s"
    )
    transaction.commit()
    spec = gym.spec("mine/Env-v0")
    assert (spec.entry_point, spec.max_episode_steps, spec.kwargs) == (
        "package.module:Env",
        9,
        {"size": 2},
    )


def test_a_taken_id_is_refused_naming_both(catalogue):
    first = enter(catalogue)
    first.add_agent("a/B-v0", "m:B")
    first.commit()
    with pytest.raises(TakenIdError, match=r"'a/B-v0' is taken.*mine 1\.0.*yours 2\.0 claims it"):
        enter(catalogue, YOURS).add_agent("a/B-v0", "m:C")


def test_an_id_claimed_twice_by_one_plugin_is_refused(catalogue):
    transaction = enter(catalogue)
    transaction.add_agent("a/B-v0", "m:B")
    with pytest.raises(TakenIdError, match=r"registered by mine 1\.0 itself"):
        transaction.add_agent("a/B-v0", "m:B")


def test_an_id_that_gymnasium_holds_is_taken(catalogue):
    gym.register("b/C-v0", entry_point="m:C")
    with pytest.raises(TakenIdError, match="registered by gymnasium's own registry"):
        enter(catalogue).add_env("b/C-v0", "m:C")


def test_one_id_may_be_an_environment_and_a_task(catalogue):
    transaction = enter(catalogue)
    transaction.add_env("mine/Env-v0", "m:Env")
    transaction.add_task("mine/Env-v0", family="tabular")
    transaction.commit()
    assert catalogue.task_spec("mine/Env-v0").family == "tabular"


def test_a_task_may_carry_the_id_of_any_gymnasium_environment(catalogue):
    transaction = enter(catalogue)
    transaction.add_task("CartPole-v1", family="control")
    with pytest.raises(PluginError, match="an id reads 'namespace/Name-vN'"):
        transaction.add_task("NoSuchEnvironment-v1")


def test_malformed_registrations_are_refused(catalogue):
    transaction = enter(catalogue)
    with pytest.raises(PluginError, match="there is no kind 'planet'; the kinds are env,"):
        transaction.add("planet", "a/B-v0", "m:B")
    with pytest.raises(PluginError, match=r"unknown metadata \['colour'\]"):
        transaction.add_agent("a/B-v0", "m:B", colour="red")
    with pytest.raises(PluginError, match="an entry point is a string"):
        transaction.add_agent("a/B-v0", dict)  # type: ignore[arg-type]
    with pytest.raises(PluginError, match="metric must be one of"):
        transaction.add_task("a/B-v0", metric="applause")
    with pytest.raises(PluginError, match="there is no kind 'planet'"):
        catalogue.ids("planet")
    assert transaction.entries == []


def test_an_unknown_id_names_the_nearest_and_the_plugins_that_failed(catalogue):
    transaction = enter(catalogue)
    transaction.add_agent("mine/QLearning-v0", "m:Q")
    transaction.commit()
    with pytest.raises(UnknownIdError, match=r"no agent 'mine/QLerning-v0'\. Did you mean 'mine/Q"):
        catalogue.get("agent", "mine/QLerning-v0")
    with pytest.raises(UnknownIdError, match=r"`rlsuite list agents` shows all 1\."):
        catalogue.get("agent", "zzzzzz")
    with pytest.raises(UnknownIdError, match=r"no reward model 'zzz'\. Known: none\."):
        catalogue.get("reward_model", "zzz")
    catalogue.hints = lambda: " Not loaded because of an error: 'x'."
    with pytest.raises(UnknownIdError, match=r"Not loaded because of an error: 'x'\.$"):
        catalogue.get("agent", "zzzzzz")


def test_agent_and_task_specs(catalogue):
    transaction = enter(catalogue)
    transaction.add_agent("mine/A-v0", "m:A", settings={"x": 1}, promises={"resume"})
    transaction.commit()
    spec = catalogue.agent_spec("mine/A-v0")
    assert dict(spec.settings) == {"x": 1}
    assert spec.promises == {"resume"}
    unlisted = catalogue.task_spec("any/Env-v3")
    assert (unlisted.env_id, unlisted.total_timesteps) == ("any/Env-v3", 50_000)
