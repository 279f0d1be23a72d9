"""A broken plugin is a line in a report: it stops nobody else, and nothing of it stays."""

from __future__ import annotations

import json

import pytest

GOOD = """
def register(registry):
    registry.add_env("good/Env-v0", "good.env:Env", max_episode_steps=7)
"""

RAISES_AT_IMPORT = """
import a_module_that_nobody_has

def register(registry):
    registry.add_env("bad/Env-v0", "bad.env:Env")
"""

RAISES_HALF_WAY = """
import gymnasium

def register(registry):
    registry.add_env("bad/First-v0", "bad.env:Env")
    registry.add_agent("bad/Agent-v0", "bad.agent:Agent")
    gymnasium.register(id="bad/Direct-v0", entry_point="bad.env:Env")
    raise ValueError("the second half is missing")
"""

TAKES_A_TAKEN_ID = """
def register(registry):
    registry.add_env("bad/Free-v0", "bad.env:Env")
    registry.add_env("rlsuite/GridWorld-v0", "bad.env:Env")
"""

CALLS_SYS_EXIT = """
import sys

def register(registry):
    registry.add_env("bad/Env-v0", "bad.env:Env")
    sys.exit(3)
"""

WRONG_METADATA = """
def register(registry):
    registry.add_env("bad/Env-v0", "bad.env:Env", max_steps=3)
"""

NO_REGISTER = "answer = 42\n"

WRONG_ID = """
def register(registry):
    registry.add_env("BadEnv", "bad.env:Env")
"""

REFUSED_BY_GYMNASIUM = """
import gymnasium

def register(registry):
    registry.add_agent("bad/Agent-v0", "bad.agent:Agent")
    registry.add_env("bad/First-v0", "bad.env:Env")
    registry.add_env("bad/Second-v0", "bad.env:Env")
    gymnasium.register(id="bad/Second", entry_point="bad.env:Env")
"""

BROKEN = {
    "refused": (REFUSED_BY_GYMNASIUM, "RegistrationError: "),
    "import": (RAISES_AT_IMPORT, "No module named 'a_module_that_nobody_has'"),
    "half-way": (RAISES_HALF_WAY, "ValueError: the second half is missing"),
    "taken": (TAKES_A_TAKEN_ID, "registered by rlsuite 0.1.0, and bad 1.0 claims it too"),
    "exit": (CALLS_SYS_EXIT, "SystemExit: 3"),
    "metadata": (WRONG_METADATA, "unknown metadata ['max_steps']"),
    "no register": (NO_REGISTER, "names 'register', which 'bad.plugin' does not have"),
    "id": (WRONG_ID, "an id reads 'namespace/Name-vN'"),
}

LOOK = """
import json
import rlsuite
import gymnasium
from registry.catalogue import registry
from registry.plugins import plugin_report
report = plugin_report()
print(json.dumps({
    "ids": sorted({*registry.ids("env"), *registry.ids("agent"), *gymnasium.registry}),
    "loaded": [info.name for info in report.loaded],
    "failures": {f.name: f.reason for f in report.failures},
    "left_out": report.left_out,
}))
"""
CLI = ("-m", "rlsuite.cli.main")


def look(run, **keywords):
    """What a fresh `import rlsuite` finds."""
    done = run("-c", LOOK, **keywords)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_stops_nobody_and_leaves_nothing(site, run, name):
    register, reason = BROKEN[name]
    site.install_module("bad", register)
    site.install_module("good", GOOD)
    found = look(run)
    assert "good/Env-v0" in found["ids"]
    assert "rlsuite/GridWorld-v0" in found["ids"]
    assert [i for i in found["ids"] if i.startswith("bad")] == []
    assert found["loaded"] == ["agents", "environments", "suites", "good"]
    assert list(found["failures"]) == ["bad"]
    assert reason in found["failures"]["bad"]


def test_the_commands_show_who_failed_and_why(site, run):
    register, reason = BROKEN["half-way"]
    site.install_module("bad", register)
    shown = run(*CLI, "plugins")
    assert shown.returncode == 0
    assert "bad 1.0" in shown.stdout
    assert reason in shown.stdout
    assert "Traceback" not in shown.stdout
    traced = run(*CLI, "plugins", "--traceback")
    assert "bad/plugin.py" in traced.stdout
    examined = run(*CLI, "doctor")
    assert examined.returncode == 1
    assert reason in examined.stdout
    assert "uninstall 'bad'" in examined.stdout


def test_an_unknown_id_is_explained_by_the_plugin_that_failed(site, run):
    site.install_module("bad", BROKEN["exit"][0])
    done = run(*CLI, "evaluate", "rlsuite/Random-v0", "--env", "bad/Env-v0")
    assert done.returncode == 2
    assert "there is no environment 'bad/Env-v0'" in done.stderr
    assert "Not loaded because of an error: 'bad' of bad 1.0" in done.stderr


def test_two_strangers_who_claim_one_id_are_both_named(site, run):
    site.install_module("alpha", GOOD)
    site.install_module("beta", GOOD)
    found = look(run)
    assert "alpha" in found["loaded"]
    assert (
        "'good/Env-v0' is taken: it was registered by alpha 1.0, and beta 1.0 claims it too"
        in found["failures"]["beta"]
    )


def test_an_id_that_stands_in_gymnasium_is_taken_too(site, run):
    site.install_module("bad", 'def register(r):\n    r.add_env("x/Y-v0", "a:B")\n')
    direct = "import gymnasium; gymnasium.register(id='x/Y-v0', entry_point='other:Env');"
    done = run("-c", direct + LOOK)
    failure = json.loads(done.stdout)["failures"]["bad"]
    assert "registered by gymnasium's own registry" in failure


@pytest.mark.parametrize("value", ["bad.plugin", "bad plugin:register", "bad.plugin:", ":register"])
def test_a_malformed_entry_point_is_a_failure_with_its_distribution(site, run, value):
    site.install("bad", {"bad/__init__.py": "", "bad/plugin.py": GOOD}, {"bad": value})
    site.install_module("good", GOOD)
    found = look(run)
    assert "good/Env-v0" in found["ids"]
    assert "bad 1.0 declares the plugin 'bad' as" in found["failures"]["bad"]
    assert "must read 'package.plugin:register'" in found["failures"]["bad"]


ENTRY_THAT_IMPORTS_RLSUITE = """
import rlsuite

def register(registry):
    registry.add_env("friend/Env-v0", "friend.env:Env")
"""

FRIEND_FIRST = """
import friend
from registry.catalogue import registry
from registry.plugins import plugin_report
assert "friend/Env-v0" in registry.ids("env"), plugin_report()
assert plugin_report().failures == (), plugin_report()
print([info.name for info in plugin_report().loaded])
"""


def test_a_plugin_may_import_rlsuite_while_rlsuite_imports_it(site, run):
    site.install_module("friend", ENTRY_THAT_IMPORTS_RLSUITE)
    found = look(run)
    assert found["failures"] == {}
    assert "friend/Env-v0" in found["ids"]


def test_a_plugin_that_is_imported_first_is_tried_again_at_the_first_look_up(site, run):
    """`import friend` imports rlsuite, which loads `friend`, whose module is only half there."""
    package = "import rlsuite\nfrom friend.rest import register\n"
    rest = 'def register(registry):\n    registry.add_env("friend/Env-v0", "friend.env:Env")\n'
    files = {"friend/__init__.py": package, "friend/rest.py": rest}
    site.install("friend", files, {"friend": "friend:register"})
    done = run("-c", FRIEND_FIRST)
    assert done.returncode == 0, done.stderr
    assert "'friend'" in done.stdout


def test_a_failure_in_a_second_try_is_kept(site, run):
    package = "import rlsuite\nfrom friend.rest import register\n"
    rest = 'def register(registry):\n    raise ValueError("still broken")\n'
    files = {"friend/__init__.py": package, "friend/rest.py": rest}
    site.install("friend", files, {"friend": "friend:register"})
    found = json.loads(run("-c", "import friend\n" + LOOK).stdout)
    assert found["failures"] == {"friend": "ValueError: still broken"}


def test_ctrl_c_is_not_swallowed(site, run):
    site.install_module("bad", "def register(registry):\n    raise KeyboardInterrupt\n")
    done = run("-c", "import rlsuite")
    assert done.returncode != 0
    assert "KeyboardInterrupt" in done.stderr


def test_off_leaves_all_but_the_built_ins_out(site, run):
    site.install_module("bad", RAISES_AT_IMPORT)
    site.install_module("good", GOOD)
    found = look(run, plugins="off")
    assert found["loaded"] == ["agents", "environments", "suites"]
    assert found["failures"] == {}
    assert found["left_out"] == ["bad", "good"]
    shown = run(*CLI, "plugins", plugins="off")
    assert "Left out by RLSUITE_PLUGINS: bad, good" in shown.stdout


def test_an_allow_list_lets_the_named_ones_in(site, run):
    site.install_module("bad", RAISES_AT_IMPORT)
    site.install_module("good", GOOD)
    site.install(
        "other-tools", {"other.py": GOOD.replace("good/", "other/")}, {"o": "other:register"}
    )
    found = look(run, plugins="good, other-tools")
    assert found["loaded"] == ["agents", "environments", "suites", "good", "o"]
    assert found["left_out"] == ["bad"]
    assert found["failures"] == {}
