"""The conformance kit over every agent that rlsuite registers: one test per promise."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

import rlsuite  # noqa: F401  registers the ids
from registry.catalogue import registry
from rlsuite.testing import AGENT_CHECKS, agent_subject, check_agent

IDS = [e.id for e in registry.entries("agent") if e.provenance.distribution == "rlsuite"]
THEIRS = [i for i in IDS if i.startswith("sb3/")]
OURS = [i for i in IDS if i not in THEIRS]
SMALL = {
    "sb3/PPO-v0": {"n_steps": 16, "batch_size": 16, "n_epochs": 2, "net_arch": (8,)},
    "sb3/A2C-v0": {"n_steps": 4, "net_arch": (8,)},
    "sb3/DQN-v0": {"buffer_size": 1_000, "learning_starts": 20, "net_arch": (8,)},
    "sb3/SAC-v0": {"buffer_size": 1_000, "learning_starts": 20, "net_arch": (8,)},
}
LADDER = {
    "one_transition_overfitted",
    "one_step_task",
    "two_step_credit",
    "stochastic_policy",
    "truncation_bootstrapped",
}
EXPECTED_SKIPS = {
    "nothing": LADDER,
    "prediction": LADDER - {"one_transition_overfitted", "truncation_bootstrapped"},
    "bandit": LADDER - {"one_step_task"},
    "values": {"stochastic_policy"},
    "policy": set(),
}


def test_every_agent_is_here():
    assert len(OURS) >= 8
    assert set(THEIRS) >= set(SMALL)


@pytest.mark.parametrize("identifier", OURS)
def test_ours_pass_every_check(identifier):
    report = check_agent(identifier)
    assert report.ok, str(report)
    skipped = {result.name for result in report.with_status("skipped")}
    spec = registry.agent_spec(identifier)
    without = set() if fields(spec.load().config_type) else {"settings_read"}
    tiny = LADDER | {"masks_obeyed"} if "texts" in spec.requires else set()
    assert skipped == EXPECTED_SKIPS[spec.learns] | without | tiny


@pytest.mark.parametrize("identifier", THEIRS)
@pytest.mark.parametrize("check", [c for c in AGENT_CHECKS if c.name not in LADDER], ids=str)
def test_stable_baselines3s_keep_their_contract(identifier, check):
    subject = replace(agent_subject(identifier, settings=SMALL[identifier]), steps=60)
    result = check.run(subject)
    assert result.status != "failed", result


@pytest.mark.slow
@pytest.mark.parametrize("identifier", THEIRS)
@pytest.mark.parametrize("settings", [{}, {"num_envs": 2, "n_steps": 32}], ids=str)
def test_stable_baselines3s_pass_every_check(identifier, settings):
    if settings and ("DQN" in identifier or "SAC" in identifier):
        pytest.skip("it learns in one environment")
    if settings and "PPO" in identifier:
        settings = {**settings, "batch_size": 16}
    report = check_agent(identifier, settings=settings)
    assert report.ok, str(report)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("identifier", "task"),
    [
        ("rlsuite/Random-v0", "rlsuite/TokenGeneration-v0"),
        ("rlsuite/QLearning-v0", "rlsuite/GridWorld-v0"),
        ("rlsuite/Sarsa-v0", "Taxi-v4"),
        ("rlsuite/UCB1-v0", "rlsuite/BernoulliBandit-v0"),
        ("rlsuite/ThompsonSampling-v0", "rlsuite/BernoulliBandit-v0"),
        ("rlsuite/LinUCB-v0", "rlsuite/ContextualBandit-v0"),
        ("rlsuite/Reinforce-v0", "rlsuite/TokenGeneration-v0"),
        ("rlsuite/Reinforce-v0", "CartPole-v1"),
    ],
)
def test_on_the_ground_that_they_are_made_for(identifier, task):
    report = check_agent(identifier, env=task)
    assert report.ok, str(report)
