"""`rlsuite play`, as typed."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

Q, GRID = "rlsuite/QLearning-v0", "rlsuite/GridWorld-v0"


def test_a_checkpoint_is_filmed_without_naming_its_agent(cli):
    cli("train", Q, GRID, "--steps", "5000", "--save", "q.safetensors")
    shown = cli("play", GRID, "--checkpoint", "q.safetensors", "--gif", "q.gif")
    assert shown.code == 0
    assert shown.out == (
        "Episode 1: return 0.930, optimal 0.930, 8 steps\nWrote q.gif (9 frames)\n"
    )
    with Image.open("q.gif") as image:
        assert image.n_frames == 9


def test_a_bandit_is_watched_while_it_learns(cli):
    words = ["play", "rlsuite/BernoulliBandit-v0", "--agent", "rlsuite/UCB1-v0", "--steps", "7"]
    shown = cli(*words, "--gif", "b.gif", "--set", "exploration=0.5", "--fps", "20")
    assert shown.code == 0
    assert shown.out.startswith("No episode came to its end.\nRegret ")
    assert shown.out.endswith("Wrote b.gif (8 frames)\n")


def test_an_environment_without_an_answer_key(cli):
    words = ["play", "CartPole-v1", "--agent", "rlsuite/Random-v0", "--steps", "1", "--sampled"]
    shown = cli(*words, "--gif", "c.gif")
    assert shown.code == 0
    assert "optimal" not in shown.out


def test_a_wrong_name_is_refused_before_anything_is_trained(cli):
    shown = cli("play", GRID, "--agent", Q, "--gif", "q.mov")
    assert shown.code == 2
    assert shown.err == "Error: a film is a .gif or an .mp4 file, got 'q.mov'.\n"
    assert not list(Path().iterdir())
