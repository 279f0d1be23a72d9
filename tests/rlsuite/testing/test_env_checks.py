"""Every check of an environment passes a good one, and catches the fault planted for it."""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path

import gymnasium as gym
import pytest
from gymnasium.envs.registration import EnvSpec, WrapperSpec

from registry.errors import SettingError, UnknownIdError
from rlsuite.testing import ENV_CHECKS, EnvSubject, check_env, env_subject
from rlsuite_envs.bandits.bernoulli import BernoulliBandit
from rlsuite_envs.bandits.wrappers import DelayedFeedback

sys.path.insert(0, str(Path(__file__).parent))
import planted_envs
from planted_envs import Good, spec_of


def subject_of(spec, **more):
    return EnvSubject(id=spec.id, spec=spec, steps=200, samples=6_000, **more)


def run(name, spec):
    (check,) = [check for check in ENV_CHECKS if check.name == name]
    return check.run(subject_of(spec))


def test_a_good_environment_passes_every_check():
    report = check_env(subject_of(spec_of(Good)))
    assert report.ok, str(report)
    skipped = {result.name: result.reason for result in report.with_status("skipped")}
    assert skipped == {"plugin_import_weight": "no plugin registers this id"}


def late_bandit(render_mode=None):
    return DelayedFeedback(BernoulliBandit(render_mode=render_mode), delay=3)


def test_a_bandit_with_late_rewards_passes_every_check():
    """What arrives has another length at each step, in a mapping that vectors leave whole."""
    report = check_env(subject_of(EnvSpec(id="test/LateBandit-v0", entry_point=late_bandit)))
    assert report.ok, str(report)


FAULTS = [
    ("gymnasium_checker", planted_envs.OutsideItsSpace, "not in|not within|contain"),
    ("sb3_checker", planted_envs.NumpyReward, "reward returned by `step"),
    ("passive_checker", planted_envs.NotANumber, "NaN|nan"),
    ("python_types", planted_envs.NumpyFlag, "flags are .* should be bool"),
    ("python_types", planted_envs.NumpyReward, "it should be a Python number"),
    ("python_types", planted_envs.NotANumber, "the reward is nan"),
    ("reward_schema", planted_envs.NowAnInt, "now float and now int"),
    ("info_schema", planted_envs.KeyAtTheEnd, "'success'"),
    (
        "info_schema",
        planted_envs.NowAnIntInInfo,
        r"info\['prob'\] is float at event 1 .* but int before",
    ),
    ("answer_key_info", planted_envs.NegativeRegret, r"info\['regret'\] is -0.5"),
    ("answer_key_info", planted_envs.NotOneArm, r"in one episode info\['optimal_action'\] is \{"),
    ("episodes_end", planted_envs.OnlyOneEpisode, "RuntimeError: one episode is enough"),
    ("invalid_actions_refused", planted_envs.AcceptsAnything, "the action 2 was taken"),
    ("invalid_actions_refused", planted_envs.MovedByARefusal, "refusing the action 2 moved it"),
    (
        "unknown_keyword_refused",
        planted_envs.IgnoresKeywords,
        "a misspelt setting would be ignored",
    ),
    ("action_masks_truthful", planted_envs.MaskOfTheWrongAction, "not of one kind|differs"),
    (
        "action_masks_truthful",
        planted_envs.MaskThatForbidsNothing,
        "action 0 is allowed, but raised",
    ),
    ("action_masks_truthful", planted_envs.TwoMasks, "differs from that of info"),
    ("determinism", planted_envs.DrawsGlobally, "seed 5 twice: event .* differs"),
    ("seeded_reset_forgets", planted_envs.RemembersEpisodes, "used before, and not used before"),
    (
        "seeds_differ",
        planted_envs.IgnoresTheSeed,
        "seeds 1 and 2 leave np_random in the same state",
    ),
    ("global_generators_unmoved", planted_envs.DrawsFromRandom, "the global generator of random"),
    ("fresh_objects", planted_envs.SharesItsMask, "was changed later|shares memory"),
    (
        "fresh_objects",
        planted_envs.ReadsItsObservationBack,
        "overwriting what was returned changed the course",
    ),
    (
        "deep_copies",
        planted_envs.CopiesForgetTheGenerator,
        "a deep copy made after 0 steps goes elsewhere",
    ),
    (
        "pickling",
        planted_envs.PicklesForgetTheState,
        "a pickled copy made after 0 steps goes elsewhere",
    ),
    (
        "state_round_trip",
        planted_envs.StateWithoutGenerator,
        "set in another instance, goes elsewhere",
    ),
    (
        "state_round_trip",
        planted_envs.StateThatIsNoJSON,
        "JSON cannot hold what get_state returned",
    ),
    ("model_matches_simulator", planted_envs.AnotherModel, "do not fit the model, chi-square"),
    (
        "model_matches_simulator",
        planted_envs.ImpossibleOutcomes,
        "which the model holds impossible",
    ),
    ("oracle_contract", planted_envs.OptimumBelowBaseline, "the baseline is above the optimum"),
    (
        "oracle_matches_sampling",
        planted_envs.GenerousOracle,
        "a random policy is worth .* but earned",
    ),
    ("oracle_matches_sampling", planted_envs.FalseBaseline, "the uniform policy .* is worth 0.5"),
    (
        "oracle_knows_the_limit",
        planted_envs.OracleOfAnotherLimit,
        "without a horizon and with the registered",
    ),
    ("render_modes", planted_envs.FloatFrames, r"float64\(8, 24, 3\), it should be a uint8 array"),
    ("render_modes", planted_envs.SameFrame, "two frames share memory"),
    ("render_modes", planted_envs.RenderingDraws, "rendering 'ansi' moved the course"),
    ("render_fps", planted_envs.NoFramesPerSecond, "it should be a number above 0"),
]


@pytest.mark.parametrize(
    ("name", "cls", "sentence"), FAULTS, ids=[f"{name}-{cls.__name__}" for name, cls, _ in FAULTS]
)
def test_a_planted_fault_is_caught(name, cls, sentence):
    result = run(name, spec_of(cls))
    assert result.status == "failed", result
    assert re.search(sentence, result.reason), result


def test_a_limit_that_is_swallowed_is_caught():
    wrapper = WrapperSpec("swallow", f"{planted_envs.__name__}:SwallowsTheLimit", {})
    result = run("time_limit", spec_of(Good, additional_wrappers=(wrapper,)))
    assert (result.status, result.reason) == ("failed", "step 1 of a limit of 1 is not truncated")


def test_without_a_limit_the_check_of_it_is_skipped():
    result = run("time_limit", dataclasses.replace(spec_of(Good), max_episode_steps=None))
    assert result.status == "skipped"
    assert result.reason == (
        "no limit is registered for it; limits of 1 and 3 put around it were kept"
    )


def test_render_modes_are_not_for_the_caller_to_choose():
    with pytest.raises(SettingError, match="takes no render_mode, got 'rgb_array': it tries every"):
        check_env("rlsuite/GridWorld-v0", env_kwargs={"render_mode": "rgb_array"})
    with pytest.raises(SettingError, match="takes no render_mode, got 'human'"):
        check_env(spec_of(Good, kwargs={"render_mode": "human"}))


def test_a_spec_that_json_changes_is_caught():
    result = run("json_spec", spec_of(planted_envs.KeysOfNumbers, kwargs={"gains": {1: 0.5}}))
    assert result.status == "failed"
    assert "made from JSON, it goes elsewhere" in result.reason
    result = run("json_spec", dataclasses.replace(spec_of(Good), entry_point=Good))
    assert result.reason.startswith("its entry point is an object, not a string")


@pytest.mark.parametrize("mode", ["next_step", "same_step", "disabled"])
def test_a_vector_that_is_not_sync_is_caught(mode):
    result = run(
        f"vector_{mode}", spec_of(Good, vector_entry_point=f"{planted_envs.__name__}:other_type")
    )
    assert result.status == "failed"
    assert "rewards is float32 array of shape (3,) against float64" in result.reason
    result = run(
        f"vector_{mode}",
        spec_of(Good, vector_entry_point=f"{planted_envs.__name__}:shared_buffers"),
    )
    assert result.status == "failed"
    assert "changed what was returned before" in result.reason


def test_autoreset_modes_that_are_not_there():
    result = run(
        "vector_disabled",
        spec_of(Good, vector_entry_point=f"{planted_envs.__name__}:without_modes"),
    )
    assert result.status == "skipped"
    assert "offers AutoresetMode.NEXT_STEP alone" in result.reason
    result = run(
        "vector_disabled",
        spec_of(Good, vector_entry_point=f"{planted_envs.__name__}:deaf_to_modes"),
    )
    assert result.status == "failed"
    assert "its metadata say" in result.reason


def test_every_check_has_its_planted_fault():
    planted = {name for name, _, _ in FAULTS}
    elsewhere = {"time_limit", "json_spec", "plugin_import_weight"}  # the last: test_global_state
    elsewhere |= {"vector_next_step", "vector_same_step", "vector_disabled"}
    assert planted | elsewhere == {check.name for check in ENV_CHECKS}


def test_every_check_says_what_it_checks():
    assert all(check.summary.endswith((".", ":")) for check in ENV_CHECKS)


def test_bad_input_is_refused():
    with pytest.raises(UnknownIdError, match="there is no environment 'rlsuite/GridWolrd-v0'"):
        check_env("rlsuite/GridWolrd-v0")
    with pytest.raises(SettingError, match="has no keyword 'slipp'"):
        check_env("rlsuite/GridWorld-v0", env_kwargs={"slipp": 0.1})
    with pytest.raises(SettingError, match="slip must be"):
        check_env("rlsuite/GridWorld-v0", env_kwargs={"slip": 7})
    for thing, shown in ((Good, "class"), (Good(), "Good object"), (3, r"3 \(int\)")):
        with pytest.raises(SettingError, match=f"the id or the EnvSpec .*, got .*{shown}"):
            check_env(thing)
    with pytest.raises(UnknownIdError, match="is an agent, not an environment: `rlsuite check ag"):
        check_env("rlsuite/QLearning-v0")
    with pytest.raises(gym.error.DependencyNotInstalled, match="install nothing-v9"):
        check_env(spec_of(planted_envs.NeedsALibrary))


def test_an_environment_that_cannot_be_made_fails():
    report = check_env(spec_of(planted_envs.CannotBeMade))
    assert "RuntimeError: not today" in report.result("python_types").reason


def test_a_module_before_the_id_is_imported():
    assert env_subject("rlsuite:rlsuite/GridWorld-v0").id == "rlsuite/GridWorld-v0"
    with pytest.raises(UnknownIdError, match="there is no module 'no_such_module'"):
        env_subject("no_such_module:rlsuite/GridWorld-v0")
