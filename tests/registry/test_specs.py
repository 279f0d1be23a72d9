from __future__ import annotations

import pytest

from registry.errors import PluginError, UnknownIdError
from registry.specs import (
    AgentSpec,
    Entry,
    Provenance,
    TaskSpec,
    check_entry_point,
    check_id,
    imported_id,
    load_entry_point,
)

OURS = Provenance(distribution="d", version="1")


@pytest.mark.parametrize("good", ["a/B-v0", "name_space/Some.Thing-v12", "a-b/C.d-v3"])
def test_ids_read_namespace_name_version(good):
    check_id(good)


@pytest.mark.parametrize(
    "bad", ["B-v0", "a/B", "a/B-v", "a/b/C-v0", "", "a/B-v0 ", "m:a/B-v0", None, 3]
)
def test_other_ids_are_refused(bad):
    with pytest.raises(PluginError, match="an id reads 'namespace/Name-vN'"):
        check_id(bad)


@pytest.mark.parametrize("bad", ["package.module", ":name", "a:b:c", "a b:c", len, None])
def test_an_entry_point_is_a_string(bad):
    with pytest.raises(PluginError, match=r"an entry point is a string 'package\.module:name'"):
        check_entry_point(bad)


def test_an_entry_point_is_followed_through_dots():
    assert load_entry_point("collections:OrderedDict.fromkeys")("a") == {"a": None}


def test_an_id_may_name_a_module_to_import_first():
    assert imported_id("rlsuite/GridWorld-v0") == "rlsuite/GridWorld-v0"
    assert imported_id("rlsuite:rlsuite/GridWorld-v0") == "rlsuite/GridWorld-v0"
    with pytest.raises(UnknownIdError, match="there is no module 'no_such_module'"):
        imported_id("no_such_module:a/B-v0")
    for bad in ("::", ":a/B-v0", "m:", "a:b:c"):
        with pytest.raises(UnknownIdError, match="an id with a module in front reads 'module:"):
            imported_id(bad)


def test_a_missing_name_is_named():
    with pytest.raises(PluginError, match="names 'missing', which 'collections' does not have"):
        load_entry_point("collections:missing")


def test_specs_are_frozen_all_the_way_down():
    some = {"epsilon": 0.1}
    spec = AgentSpec(id="a/B-v0", entry_point="m:C", settings=some, check_settings=some)
    for settings in (spec.settings, spec.check_settings):
        with pytest.raises(TypeError, match="does not support item assignment"):
            settings["epsilon"] = 1.0  # type: ignore[index]
    entry = Entry(kind="agent", id="a/B-v0", entry_point="m:C", provenance=OURS, meta={"x": 1})
    with pytest.raises(TypeError, match="does not support item assignment"):
        entry.meta["x"] = 2  # type: ignore[index]


def test_an_agent_spec_is_checked():
    with pytest.raises(PluginError, match=r"budget_unit must be one of .*, got 'minutes'"):
        AgentSpec(id="a/B-v0", entry_point="m:C", budget_unit="minutes")  # type: ignore[arg-type]
    with pytest.raises(PluginError, match=r"promises must be among .*, got \['luck'\]"):
        AgentSpec(id="a/B-v0", entry_point="m:C", promises=frozenset({"luck"}))
    with pytest.raises(PluginError, match=r"learns must be one of .*, got 'everything'"):
        AgentSpec(id="a/B-v0", entry_point="m:C", learns="everything")  # type: ignore[arg-type]


def test_a_task_spec_is_checked():
    with pytest.raises(PluginError, match=r"metric must be one of .*, got 'applause'"):
        TaskSpec(id="a/B-v0", env_id="a/B-v0", metric="applause")  # type: ignore[arg-type]
    for bad in (-1, 1.5, True):
        with pytest.raises(PluginError, match="eval_points must be a whole number of at least 0"):
            TaskSpec(id="a/B-v0", env_id="a/B-v0", eval_points=bad)  # type: ignore[arg-type]
    with pytest.raises(PluginError, match="an entry point is a string"):
        TaskSpec(id="a/B-v0", env_id="a/B-v0", wrappers=(("no entry point", {}),))


def test_what_an_unlisted_task_gets():
    spec = TaskSpec(id="x/Y-v0", env_id="x/Y-v0")
    assert (spec.total_timesteps, spec.eval_points, spec.eval_episodes) == (50_000, 5, 20)
    assert spec.deterministic
    assert spec.metric == "final_return"
