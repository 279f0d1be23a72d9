"""From an agent to data, from data to an agent, on the command line and in a benchmark."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import rlsuite

CLIFF = "rlsuite/CliffWalk-v0"
RANDOM = "rlsuite/Random-v0"
OFFLINE = "rlsuite/OfflineQLearning-v0"


def test_an_agent_is_trained_logged_and_learned_from(cli):
    trained = cli("train", "rlsuite/QLearning-v0", CLIFF, "--steps", "2000", "--save", "q")
    assert trained.code == 0, trained.err
    logged = cli(
        *("collect", "rlsuite/QLearning-v0", CLIFF, "--checkpoint", "q", "--steps", "3000"),
        *("--epsilon", "0.3", "--seed", "2", "--out", "cliff.npz"),
    )
    assert logged.code == 0, logged.err
    assert "Collected 3,000 transitions in " in logged.out
    assert "Wrote cliff.npz\n" in logged.out
    data = rlsuite.LoggedData.load("cliff.npz")
    assert len(data) == 3_000
    assert data.about["agent"] == "rlsuite/QLearning-v0"
    assert (data.about["num_timesteps"], data.about["epsilon"]) == (2_000, 0.3)
    settings = ("--set", "data=cliff.npz")
    learned = cli("train", OFFLINE, CLIFF, *settings, "--steps", "300")
    assert learned.code == 0, learned.err
    assert "150 of 300 sweeps; " in learned.out
    assert "Trained 300 sweeps.\n" in learned.out
    assert "exact" in learned.out
    cloned = cli("train", "rlsuite/BehaviourCloning-v0", CLIFF, *settings, "--steps", "3000")
    assert "1,500 of 3,000 examples; " in cloned.out
    assert "Trained 3,000 examples.\n" in cloned.out


def test_an_untrained_agent_greedily_and_by_episodes(cli):
    logged = cli("collect", RANDOM, CLIFF, "--episodes", "2", "--greedy", "--out", "a.npz")
    assert logged.code == 0, logged.err
    data = rlsuite.LoggedData.load("a.npz")
    assert data.ends.sum() == 2
    assert (data.action == 0).all()  # the lowest of equals
    again = cli("collect", RANDOM, CLIFF, "--episodes", "2", "--greedy", "--out", "b.npz")
    assert again.code == 0
    assert Path("a.npz").read_bytes() == Path("b.npz").read_bytes()


def test_keywords_of_the_environment_are_kept(cli):
    words = ("--env-set", "slip=0.25", "--steps", "5", "--out", "a.npz")
    assert cli("collect", RANDOM, "rlsuite/GridWorld-v0", *words).code == 0
    about = rlsuite.LoggedData.load("a.npz").about
    assert about["environment"]["kwargs"]["slip"] == 0.25


def test_the_log_of_an_agent_that_learns_meanwhile(cli):
    bandit, agent = "rlsuite/ContextualBandit-v0", "rlsuite/EpsilonGreedy-v0"
    words = (agent, bandit, "--set", "epsilon=0.3", "--steps", "60", "--seed", "4")
    logged = cli("collect", *words, "--learn", "--out", "log.csv")
    assert logged.code == 0, logged.err
    assert logged.out == "Collected 60 decisions.\nWrote log.csv\n"
    log = rlsuite.ope.read("log.csv")
    want = rlsuite.ope.record(agent, bandit, 60, seed=4, epsilon=0.3)
    for name in ("context", "action", "reward", "probabilities"):
        np.testing.assert_array_equal(getattr(log, name), getattr(want, name), err_msg=name)
    assert cli("collect", *words, "--out", "still.csv").code == 0
    still = rlsuite.ope.read("still.csv").probabilities
    assert (still == still[0]).all()  # it has learned nothing
    assert (log.probabilities != still).any()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "say where the data go: --out FILE"),
        (("--out", "no/folder.npz"), "its folder does not exist"),
        (("--out", "a.npz", "--steps", "0"), "steps must be a whole number of at least 1, got 0"),
        (("--out", "a.npz", "--steps", "1", "--episodes", "1"), "either steps or episodes"),
        (("--out", "a.npz", "--learn"), "name a file that ends in .csv or .parquet with --out"),
        (("--out", "a.csv", "--steps", "0"), "steps must be a whole number of at least 1, got 0"),
        (
            ("--out", "a.csv", "--episodes", "1", "--epsilon", "0.5", "--greedy"),
            "alone, so --episodes, --epsilon, --greedy cannot be given; write an .npz file",
        ),
        (("--out", "a.npz", "--epsilon", "2"), "epsilon must be a number in [0, 1], got 2.0"),
    ],
)
def test_what_is_refused_leaves_nothing(cli, words, sentence, tmp_path):
    refused = cli("collect", RANDOM, CLIFF, *words)
    assert refused.code == 2
    assert sentence in refused.err
    assert list(tmp_path.iterdir()) == []


def test_without_data_the_agent_says_how_to_get_them(cli):
    refused = cli("train", OFFLINE, CLIFF, "--steps", "5")
    assert refused.code == 2
    assert "name a file in its setting `data`, such as `rlsuite collect` writes" in refused.err


def test_to_minari_and_back_through_the_command_line(cli, monkeypatch, tmp_path):
    pytest.importorskip("minari", reason="needs the extra minari")
    pytest.importorskip("h5py", reason="needs the extra minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "sets"))
    words = ("--steps", "150", "--out", "a.npz", "--minari", "cliff/random-v0")
    logged = cli("collect", RANDOM, CLIFF, *words)
    assert logged.code == 0, logged.err
    assert "Wrote the Minari data set cliff/random-v0\n" in logged.out
    found = cli("import", "minari", "cliff/random-v0", "--out", "b.npz")
    assert found.out == "Wrote 150 transitions to b.npz\n"
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    gone = cli("import", "minari", "cliff/gone-v0", "--out", "c.npz")
    assert gone.code == 2
    assert "there is no Minari data set 'cliff/gone-v0' on this machine" in gone.err


def test_the_contents_of_the_data_are_part_of_a_cell(tmp_path, cli):
    """The same name with other data is another cell, which is run again; the same data are not."""
    path = str(tmp_path / "cliff.npz")

    def cells():
        choice = {"offline": (OFFLINE, {"data": path, "gamma": 0.9})}
        return rlsuite.benchmark(
            agents=choice, tasks=[CLIFF], seeds=1, total_timesteps=50, store=tmp_path / "store"
        )

    keys = []
    for steps in (500, 500, 501):
        assert cli("collect", RANDOM, CLIFF, "--steps", str(steps), "--out", path).code == 0
        (record,) = cells().records
        assert record.state == "ok"
        assert (record.steps_used, record.method) == (50, "exact")
        keys.append(record.key)
    assert keys[0] == keys[1] != keys[2]
