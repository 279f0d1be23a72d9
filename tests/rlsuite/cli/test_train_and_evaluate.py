"""`rlsuite train` and `rlsuite evaluate`, as typed."""

from __future__ import annotations

import json
import re
import signal
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import pytest

from rlsuite.cli.progress import training_progress, update_words

Q, GRID = "rlsuite/QLearning-v0", "rlsuite/GridWorld-v0"


def test_train_save_and_evaluate(cli):
    trained = cli("train", Q, GRID, "--steps", "5000", "--seed", "1", "--save", "q.safetensors")
    assert trained.code == 0
    assert trained.err == ""
    assert re.search(rf"{Q} in {GRID}: 500 of 5,000 steps; [\d,]+/s\n", trained.out)
    assert "Trained 5,000 steps, " in trained.out
    assert "Saved to q.safetensors" in trained.out
    assert f"{GRID}: exact" in trained.out
    assert "\x1b" not in trained.out
    found = cli("evaluate", Q, "--checkpoint", "q.safetensors", "--env", GRID, "--json")
    assert found.code == 0
    result = json.loads(found.out)
    assert result["method"] == "exact"
    assert result["optimal_return"] == pytest.approx(0.93)
    text = cli("evaluate", Q, "--checkpoint", "q.safetensors", "--env", GRID)
    assert text.out == trained.out[trained.out.index(f"{GRID}: exact") :]


def test_the_same_seed_trains_the_same_agent(cli):
    for name in ("a", "b"):
        cli("train", Q, GRID, "--steps", "300", "--seed", "7", "--save", name)
    assert Path("a").read_bytes() == Path("b").read_bytes()


def test_settings_and_keywords_reach_agent_and_environment(cli):
    shown = cli(
        "train",
        Q,
        GRID,
        "--steps",
        "0",
        "--env-set",
        "n_obstacles=0",
        "--env-set",
        "size=4",
        "--set",
        "epsilon=0.5",
        "--save",
        "q.safetensors",
    )
    assert shown.code == 0
    assert "  optimal  0.95\n" in shown.out  # five steps of -0.01, then +1
    assert '"epsilon": 0.5' in Path("q.safetensors").read_bytes().decode("latin-1").replace(
        "\\", ""
    )


@pytest.mark.parametrize(
    ("more", "horizon"),
    [
        (["--steps", "40"], 40),
        (["--steps", "40", "--set", "total_timesteps=80"], 80),
        ([], 100),  # of the task
    ],
)
def test_rates_fall_over_the_steps_of_the_training(cli, more, horizon, monkeypatch):
    from registry.catalogue import registry

    task = registry.task_spec(GRID)
    monkeypatch.setattr(registry, "task_spec", lambda _: replace(task, total_timesteps=100))
    words = ["--set", "learning_rate=lin_1e-3", "--set", "n_steps=20", "--set", "batch_size=20"]
    shown = cli("train", "rlsuite/PPO-v0", GRID, *words, *more, "--save", "p", "--episodes", "1")
    assert shown.code == 0, shown.err
    kept = Path("p").read_bytes().decode("latin-1").replace("\\", "")
    assert f'"total_timesteps": {horizon}' in kept


def test_an_untrained_agent_and_an_environment_without_an_answer_key(cli):
    words = ["evaluate", "rlsuite/Random-v0", "--env", "CartPole-v1", "--episodes", "3"]
    shown = cli(*words, "--sampled", "--json")
    assert shown.code == 0
    result = json.loads(shown.out)
    assert result["method"] == "sampled"
    assert len(result["episodes"]) == 3
    assert result["score"] is None


def test_a_bandit_tells_the_regret_of_learning(cli):
    shown = cli("train", "rlsuite/UCB1-v0", "rlsuite/BernoulliBandit-v0")
    assert "Trained 500 steps, 1 episode; regret while learning " in shown.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "rlsuite/QLerning-v0", GRID], "no agent 'rlsuite/QLerning-v0'. Did you mean"),
        (["train", Q, "rlsuite/GridWrld-v0"], "Did you mean 'rlsuite/GridWorld-v0'?"),
        (["train", Q, "CartPole-v1"], "handles Discrete observations, but CartPole-v1 has Box"),
        (["train", Q, GRID, "--set", "stepsize=1"], "has no setting 'stepsize'. Did you mean"),
        (["train", Q, GRID, "--set", "epsilon=2"], "epsilon must be a number in [0, 1], got 2"),
        (["train", Q, GRID, "--set", "epsilon=lots"], "epsilon must be a number in [0, 1]"),
        (["train", Q, GRID, "--set", "epsilon"], "--set wants key=value"),
        (["train", Q, GRID, "--device", "tpu"], "device must be"),
        (["train", Q, GRID, "--env-set", "sise=3"], "has no keyword 'sise'. Did you mean 'size'?"),
        (["train", Q, "rlsuite/CliffWalk-v0", "--env-set", "x=1"], "Its keywords: slip"),
        (["train", Q, GRID, "--env-set", "slip=2"], "slip must be"),
        (["train", Q, "FrozenLake-v1", "--env-set", "map_name=x"], "made with map_name='x': KeyE"),
        (["train", Q, GRID, "--steps", "-5"], "total_timesteps must be a whole number of at"),
        (["train", Q, GRID, "--seed", "-1"], "a seed is a whole number of at least 0, got -1"),
        (["evaluate", Q, "--env", GRID, "--episodes", "0"], "episodes must be a whole number"),
        (["train", Q, "nomod:x/Y-v0"], "there is no module 'nomod'"),
        (["evaluate", Q, "--env", "::"], "an id with a module in front reads 'module:namespace"),
        (["train", Q, GRID, "--save", "no/such/q"], "no/such/q cannot be written: its folder does"),
        (["train", Q, GRID, "--save", "."], ". cannot be written: it is a folder"),
        (["train", Q, GRID, "--save", "/proc/q"], "/proc/q cannot be written"),
        (["evaluate", Q, "--env", GRID, "--checkpoint", "none"], "there is no checkpoint none"),
        (["evaluate", Q, "--env", GRID, "--checkpoint", "bad"], "bad cannot be read"),
        (
            ["evaluate", Q, "--env", GRID, "--checkpoint", "bad", "--set", "epsilon=0.1"],
            "bad holds the settings of its agent, so epsilon cannot be set",
        ),
    ],
)
def test_bad_input_is_one_sentence_and_code_2(cli, words, said):
    Path("bad").write_text("this is no checkpoint")
    shown = cli(*words)
    assert shown.code == 2
    assert said in shown.err
    assert shown.err.startswith("Error: ")
    assert shown.err.count("\n") == 1
    assert not Path("q").exists()


def test_a_checkpoint_of_other_spaces_is_refused(cli):
    cli("train", Q, GRID, "--steps", "10", "--save", "q")
    shown = cli("evaluate", Q, "--checkpoint", "q", "--env", "rlsuite/CliffWalk-v0")
    assert shown.code == 2
    assert "q was trained with the observation_space Discrete(25)" in shown.err
    assert "has Discrete(48)" in shown.err


def test_a_checkpoint_of_another_agent_is_refused(cli):
    cli("train", Q, GRID, "--steps", "10", "--save", "q")
    shown = cli("evaluate", "rlsuite/Sarsa-v0", "--checkpoint", "q", "--env", GRID)
    assert shown.code == 2
    assert "q is a checkpoint of 'rlsuite/QLearning-v0', not of 'rlsuite/Sarsa-v0'" in shown.err


class Broken(gym.Env):
    """Observes NaN."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (1,))
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        return self.observation_space.low * float("nan"), {}

    def step(self, action):
        raise AssertionError("not reached")


def test_a_nan_observation_is_a_sentence(cli, monkeypatch):
    spec = gym.envs.registration.EnvSpec(
        "test/Nan-v0", entry_point=Broken, disable_env_checker=True
    )
    monkeypatch.setitem(gym.registry, spec.id, spec)
    shown = cli("train", "rlsuite/Random-v0", spec.id, "--steps", "5")
    assert shown.code == 2
    assert "nan" in shown.err


def test_a_full_disk_keeps_what_stood_there(cli, monkeypatch):
    cli("train", Q, GRID, "--steps", "10", "--save", "q")
    before = Path("q").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    shown = cli("train", Q, GRID, "--steps", "20", "--save", "q")
    assert shown.code == 2
    assert "q was not written: No space left on device" in shown.err
    assert Path("q").read_bytes() == before


def test_ctrl_c_stops_between_two_steps_and_saves(cli, monkeypatch):
    """The signal comes during step 100; a second one is not needed, and nothing is lost."""
    from rlsuite_agents.tabular.q_learning import QLearning

    observe = QLearning.observe

    def observe_and_interrupt(self, transition):
        observe(self, transition)
        if self.num_timesteps == 99:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(QLearning, "observe", observe_and_interrupt)
        shown = cli("train", Q, GRID, "--steps", "5000", "--save", "q")
    assert shown.code == 130
    assert "Trained 100 steps" in shown.out
    assert "not evaluated" in shown.err
    assert QLearning.load("q").num_timesteps == 100


def test_ctrl_c_before_the_first_step_and_a_second_one_interrupt_at_once():
    with training_progress("t") as shown:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert shown.on_step(1, 10) is True
        signal.raise_signal(signal.SIGINT)
        assert shown.on_step(2, 10) is False
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_training_writes_curves_for_tensorboard(cli):
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    words = ("train", "rlsuite/QLearning-v0", "rlsuite/GridWorld-v0", "--steps", "300")
    plain = cli(*words)
    shown = cli(*words, "--tensorboard", "tb")
    rate = r"; [\d,]+/s"
    assert (shown.code, re.sub(rate, "", shown.out)) == (0, re.sub(rate, "", plain.out))
    assert len(list(Path("tb").rglob("*tfevents*"))) == 1


def test_an_agent_with_networks_tells_return_loss_and_entropy(cli):
    shown = cli("train", "rlsuite/A2C-v0", "CartPole-v1", "--steps", "200", "--episodes", "1")
    line = r"200 of 200 steps; [\d,]+/s, return [\d.]+, loss -?[\d.e-]+, entropy 0\.\d+\n"
    assert re.search(line, shown.out)
    quiet = cli("train", "rlsuite/A2C-v0", "CartPole-v1", "--steps", "200", "--quiet")
    assert (quiet.code, quiet.err) == (0, "")
    assert quiet.out.startswith("Trained 200 steps")


def test_figures_that_are_shown():
    assert update_words({"episode_return": float("nan"), "loss": 3553140852.0, "q_mean": 0.5}) == [
        "loss 3.553e+09",
        "Q 0.5",
    ]
    assert update_words({"critic_loss": 1.0, "policy_loss": -2.0, "entropy": 0.25}) == [
        "loss -2",
        "entropy 0.25",
    ]


def test_a_watchdog_speaks_once_on_standard_error(cli):
    words = (
        "train",
        "rlsuite/A2C-v0",
        "CartPole-v1",
        "--steps",
        "500",
        "--set",
        "learning_rate=0.1",
    )
    shown = cli(*words, "--quiet")
    assert shown.code == 0
    assert shown.err.count("Warning: step 200: the entropy has all but vanished early") == 1


def test_checkpoints_and_resume(cli):
    words = ("train", Q, GRID, "--steps", "500", "--checkpoint-every", "200")
    first = cli(*words, "--checkpoint-folder", "c")
    assert first.code == 0
    assert "Checkpoint: c/step-500.agent\n" in first.out
    refused = cli(*words, "--checkpoint-folder", "c")
    assert refused.code == 2
    assert "c holds checkpoints up to step 500" in refused.err
    words = ("train", Q, GRID, "--steps", "700", "--checkpoint-every", "200", "--resume")
    rest = cli(*words, "--checkpoint-folder", "c", "--save", "rest")
    assert "Goes on from c/step-500.agent.\n" in rest.out
    cli("train", Q, GRID, "--steps", "700", "--save", "whole")
    assert Path("rest").read_bytes() == Path("whole").read_bytes()
    cli("train", Q, GRID, "--steps", "100", "--checkpoint-every", "100")
    assert len(list(Path("results/checkpoints").rglob("step-100.agent"))) == 1


@pytest.mark.parametrize("option", [("--resume",), ("--checkpoint-folder", "c")])
def test_checkpoints_need_to_know_how_often(cli, option):
    shown = cli("train", Q, GRID, "--steps", "10", *option)
    assert shown.code == 2
    assert "need --checkpoint-every STEPS" in shown.err


def test_sigterm_stops_like_ctrl_c():
    with training_progress("t") as shown:
        assert shown.on_step(1, 10) is True
        signal.raise_signal(signal.SIGTERM)
        assert shown.on_step(2, 10) is False
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
