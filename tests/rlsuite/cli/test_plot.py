"""`rlsuite plot`, as typed."""

from __future__ import annotations

from pathlib import Path

import pytest

Q, CLIFF = "rlsuite/QLearning-v0", "rlsuite/CliffWalk-v0"


@pytest.mark.parametrize("kind", ["values", "policy", "visits"])
def test_each_kind_of_plot_of_a_checkpoint(cli, kind):
    cli("train", Q, CLIFF, "--steps", "2000", "--save", "q.safetensors")
    shown = cli("plot", kind, "q.safetensors", CLIFF)
    assert (shown.code, shown.out, shown.err) == (0, f"Wrote {kind}.png\n", "")
    assert Path(f"{kind}.png").read_bytes().startswith(b"\x89PNG")


def test_an_agent_is_trained_and_drawn_as_svg(cli):
    words = ["plot", "policy", Q, CLIFF, "--steps", "300", "--sampled", "--set", "epsilon=0.3"]
    shown = cli(*words, "--env-set", "slip=0.1", "--out", "p.svg")
    assert shown.out == "Wrote p.svg\n"
    assert "<svg" in Path("p.svg").read_text()


def test_a_wrong_name_is_refused_before_anything_is_trained(cli):
    shown = cli("plot", "values", Q, CLIFF, "--out", "p.pdf")
    assert shown.code == 2
    assert shown.err == "Error: a plot is a .png or .svg file, got 'p.pdf'.\n"


def test_a_kind_that_does_not_exist(cli):
    assert cli("plot", "regret", Q, CLIFF).code == 2
