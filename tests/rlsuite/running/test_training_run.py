"""A training that is stopped and goes on ends with the bits of one that never stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import rlsuite
from registry.errors import CheckpointError, DivergenceError, SettingError
from rlsuite.running.saved_steps import CheckpointRules, SavedSteps
from rlsuite.running.training_run import Listeners, train_agent
from rlsuite_agents.deep.dqn import DQN

Q, GRID = "rlsuite/QLearning-v0", "rlsuite/GridWorld-v0"
DEEP = [
    (
        "PPO",
        "CartPole-v1",
        {
            **{"num_envs": 2, "n_steps": 48, "batch_size": 32},
            **{"normalize_observations": True, "normalize_rewards": True},
        },
    ),
    ("PPO", "Pendulum-v1", {"n_steps": 50, "batch_size": 25, "normalize_observations": True}),
    ("A2C", "CartPole-v1", {"num_envs": 3}),
    (
        "DQN",
        "CartPole-v1",
        {
            **{"prioritized": True, "n_steps": 3, "double": True, "dueling": True},
            **{"learning_starts": 50, "buffer_size": 700},
        },
    ),
    ("DQN", "CartPole-v1", {"num_envs": 2, "learning_starts": 50}),
    ("SAC", "Pendulum-v1", {"learning_starts": 50, "net_arch": (32, 32), "batch_size": 32}),
    ("ActorCritic", "CartPole-v1", {}),
    ("Reinforce", "CartPole-v1", {}),
]
CHILD = """
import sys
from pathlib import Path
from rlsuite.cli.main import main
main(sys.argv[1:])
"""


def until(count):
    """Stops after so many steps."""
    return Listeners(on_step=lambda done, total: done < count)


def rules(folder, every=300, resume=False, **more):
    return CheckpointRules(every=every, folder=folder, resume=resume, **more)


def words_of(settings):
    return [word for k, v in settings.items() for word in ("--set", f"{k}={_literal(v)}")]


def _literal(value):
    if isinstance(value, bool):
        return str(value).lower()
    return str(list(value)) if isinstance(value, tuple) else str(value)


@pytest.mark.parametrize(("name", "env", "settings"), DEEP)
def test_stopped_twice_in_the_middle_it_ends_with_the_same_bits(tmp_path, name, env, settings):
    """The stops are at steps that are no multiples of anything."""
    agent, folder = f"rlsuite/{name}-v0", tmp_path / "c"
    how = {"settings": settings, "seed": 5, "episodes": 2}
    whole = train_agent(agent, env, steps=1_300, save=tmp_path / "whole", **how)
    for stop in (211, 655):
        part = train_agent(
            agent,
            env,
            steps=1_300,
            listeners=until(stop),
            checkpoints=rules(folder, resume=stop > 211),
            **how,
        )
        assert part.evaluation is None
        assert stop <= part.steps < stop + 3
        assert part.checkpoint == folder / f"step-{part.steps}.agent"
    rest = train_agent(
        agent, env, steps=1_300, save=tmp_path / "rest", checkpoints=rules(folder, 300, True), **how
    )
    assert (tmp_path / "rest").read_bytes() == (tmp_path / "whole").read_bytes()
    assert (rest.steps, rest.episodes) == (whole.steps, whole.episodes)
    assert rest.evaluation.mean_return == whole.evaluation.mean_return


def killed(folder, agent, env, settings, how=signal.SIGTERM):
    """Trains in a process of its own, asks it to end in the middle; the step of its checkpoint."""
    words = ["train", agent, env, "--steps", "1000000000", "--seed", "3", *words_of(settings)]
    words += ["--checkpoint-every", "150", "--checkpoint-folder", str(folder), "--quiet"]
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        deadline = time.monotonic() + 60
        while not list(folder.glob("step-*.json")) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        process.send_signal(how)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "The same command with --resume goes on." in err
    (line,) = [line for line in out.splitlines() if line.startswith("Checkpoint: ")]
    return int(Path(line.partition(": ")[2]).stem.removeprefix("step-"))


def goes_on_as_if_never_stopped(tmp_path, name, env, settings, how):
    agent, folder = f"rlsuite/{name}-v0", tmp_path / "c"
    step = killed(folder, agent, env, settings, how)
    told = []
    same = {"settings": settings, "seed": 3, "steps": step + 1_000, "episodes": 1}
    train_agent(
        agent,
        env,
        save=tmp_path / "rest",
        checkpoints=rules(folder, 10**9, True),
        listeners=Listeners(on_resume=told.append),
        **same,
    )
    assert told == [f"Goes on from {folder / f'step-{step}.agent'}."]
    train_agent(agent, env, save=tmp_path / "whole", **same)
    assert (tmp_path / "rest").read_bytes() == (tmp_path / "whole").read_bytes()


def test_a_process_that_gets_sigterm_saves_and_goes_on_with_the_same_bits(tmp_path):
    goes_on_as_if_never_stopped(tmp_path, *DEEP[3], signal.SIGTERM)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(("name", "env", "settings"), DEEP)
def test_every_deep_agent_goes_on_after_a_signal(tmp_path, name, env, settings, how):
    goes_on_as_if_never_stopped(tmp_path, name, env, settings, how)


def test_the_last_three_checkpoints_are_kept(tmp_path):
    result = train_agent(Q, GRID, steps=1_100, checkpoints=rules(tmp_path, 200))
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {f"step-{k}.{end}" for k in (800, 1000, 1100) for end in ("json", "agent")}
    assert result.checkpoint == tmp_path / "step-1100.agent"
    again = train_agent(Q, GRID, steps=1_100, checkpoints=rules(tmp_path, 200, True))
    assert (again.steps, again.episodes) == (result.steps, result.episodes)
    assert again.evaluation.mean_return == result.evaluation.mean_return


def test_without_resume_nothing_is_mixed_up(tmp_path):
    train_agent(Q, GRID, steps=100, checkpoints=rules(tmp_path))
    with pytest.raises(SettingError, match=r"holds checkpoints up to step 100: go on .* --resume"):
        train_agent(Q, GRID, steps=100, checkpoints=rules(tmp_path))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 1}, "with seed 0 instead of 1"),
        ({"settings": {"step_size": 0.1}}, "agent: step_size None instead of 0.1"),
        ({"env_settings": {"size": 4}}, "environment: size None instead of 4"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(tmp_path, change, said):
    train_agent(Q, GRID, steps=100, checkpoints=rules(tmp_path))
    with pytest.raises(CheckpointError, match=said):
        train_agent(Q, GRID, steps=200, checkpoints=rules(tmp_path, resume=True), **change)


def test_a_torn_checkpoint_gives_way_to_the_one_before(tmp_path):
    how = {"steps": 1_000, "save": tmp_path / "saved"}
    folder = tmp_path / "c"
    train_agent(Q, GRID, **how)
    expected = how["save"].read_bytes()
    train_agent(Q, GRID, steps=900, checkpoints=rules(folder))
    file = folder / "step-900.agent"
    file.write_bytes(file.read_bytes()[:-1])
    told = []
    listeners = Listeners(on_resume=told.append)
    train_agent(Q, GRID, checkpoints=rules(folder, resume=True), listeners=listeners, **how)
    assert "step-900.agent is not the agent that step-900.json was saved with" in told[0]
    assert told[1] == f"Goes on from {folder / 'step-600.agent'}."
    assert how["save"].read_bytes() == expected
    for path in folder.glob("*.json"):
        path.write_text("torn")
    with pytest.raises(CheckpointError, match=r"no checkpoint in .* can be read"):
        train_agent(Q, GRID, checkpoints=rules(folder, resume=True), **how)


def test_resume_begins_where_there_is_no_checkpoint(tmp_path):
    told = []
    result = train_agent(
        *(Q, GRID),
        steps=50,
        checkpoints=rules(tmp_path / "c", resume=True),
        listeners=Listeners(on_resume=told.append),
    )
    assert told == ["There is no checkpoint yet: the training begins."]
    assert result.steps == 50


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")  # which are planted
def test_a_training_that_diverges_keeps_the_last_good_checkpoint_and_names_it(
    tmp_path, monkeypatch
):
    gradient = DQN._update

    def diverge(self, minibatches):
        if self.num_timesteps > 500:
            self.networks.parameters.vector[:] = float("inf")
        gradient(self, minibatches)

    monkeypatch.setattr(DQN, "_update", diverge)
    with pytest.raises(DivergenceError, match=r"The last good checkpoint is .*step-400.agent, aft"):
        train_agent(
            "rlsuite/DQN-v0",
            "CartPole-v1",
            steps=1_000,
            checkpoints=rules(tmp_path, 200),
            save=tmp_path / "never",
        )
    assert DQN.load(tmp_path / "step-400.agent").num_timesteps == 400
    assert not (tmp_path / "never").exists()
    with pytest.raises(DivergenceError, match="There is no earlier checkpoint"):
        train_agent(
            *("rlsuite/DQN-v0", "CartPole-v1"), steps=1_000, checkpoints=rules(tmp_path / "c", 900)
        )


def test_agents_that_cannot_go_on_are_refused(tmp_path):
    with pytest.raises(SettingError, match="'sb3/DQN-v0' does not promise to go on"):
        train_agent("sb3/DQN-v0", "CartPole-v1", steps=10, checkpoints=rules(tmp_path))


def test_a_place_that_cannot_be_written_ends_the_training(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="the checkpoint after step 300 was not written"):
        train_agent(Q, GRID, steps=400, checkpoints=rules(tmp_path / "file" / "c"))


@pytest.mark.parametrize("number", [{"every": 0}, {"every": 1, "keep": 0}, {"every": True}])
def test_numbers_are_checked(number):
    with pytest.raises(SettingError, match="must be a whole number of at least 1"):
        CheckpointRules(**number)


def test_no_folder_no_steps(tmp_path):
    saved = SavedSteps(tmp_path / "none", 3, {})
    assert saved.steps == []
    assert saved.newest() is None
    saved.refuse_others()


def test_a_training_is_kept_in_a_store_beside_cells_of_benchmarks(tmp_path):
    path, settings = tmp_path / "s.sqlite", {"n_steps": 32, "batch_size": 32}
    result = train_agent(
        *("rlsuite/PPO-v0", "CartPole-v1"), steps=640, settings=settings, episodes=2, store=path
    )
    with rlsuite.Store(path) as opened:
        (record,) = opened.records()
    assert record.mean_return == result.evaluation.mean_return
    assert (record.steps_used, len(record.updates.step)) == (640, 20)
    assert int(record.training.episodes.sum()) == result.episodes
    assert record.notes[0].startswith("trained by rlsuite train")
    suite = rlsuite.benchmark(
        agents={"ppo": ("rlsuite/PPO-v0", settings)},
        tasks=["CartPole-v1"],
        seeds=1,
        total_timesteps=640,
        store=path,
    )
    assert suite.reused == 0


def test_the_regret_of_learning_is_kept_and_an_unfinished_training_is_not(tmp_path):
    path = tmp_path / "s.sqlite"
    bandit = ("rlsuite/UCB1-v0", "rlsuite/BernoulliBandit-v0")
    assert train_agent(*bandit, listeners=until(50), store=path).evaluation is None
    result = train_agent(*bandit, store=path)
    with rlsuite.Store(path) as opened:
        (record,) = opened.records()
    assert record.regret == result.regret
