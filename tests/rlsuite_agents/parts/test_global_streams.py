"""The global generators: lent, and given back."""

# ruff: noqa: NPY002  (the legacy generator is what is tested)

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from rlsuite_agents.parts.global_streams import GlobalStreams

CPU = torch.device("cpu")


def streams(seed=0):
    return GlobalStreams(np.random.SeedSequence(seed), CPU)


def draw():
    return random.random(), np.random.random(), torch.rand(1).item()


def outside():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()


def test_they_are_found_as_they_were_left_inside_and_outside():
    before = outside()
    one = streams()
    with one.installed():
        first = draw()
    with one.installed():
        second = draw()
    assert outside() == before
    with streams().installed():
        assert (draw(), draw()) == (first, second)
    assert len({*first, *second}) == 6


def test_seeds_differ():
    with streams(0).installed():
        one = draw()
    with streams(1).installed():
        assert not set(one) & set(draw())


def test_nested_use_disturbs_nobody():
    training, prediction = streams(0), streams(1)
    with training.installed():
        first = draw()
        with prediction.installed():
            draw()
        second = draw()
    with streams(0).installed():
        assert (draw(), draw()) == (first, second)


def test_an_error_inside_leaves_nothing_behind():
    before = outside()
    with pytest.raises(ZeroDivisionError), streams().installed():
        draw()[0] / 0
    assert outside() == before
