"""Hidden global state is left as it was found."""

from __future__ import annotations

import random
import sys

import numpy as np
import pytest

from rlsuite.isolation import TAIL_CHARACTERS, global_streams, log_tail, one_thread

torch = pytest.importorskip("torch")


def draws():
    return random.random(), np.random.random(), float(torch.rand(1))  # noqa: NPY002


def test_global_generators_end_as_they_were_found():
    with global_streams():
        expected = draws()
    with global_streams():
        draws()
    with global_streams(5):
        draws()
    with pytest.raises(ValueError, match="on purpose"):
        drawing_and_failing()
    assert draws() == expected


def drawing_and_failing():
    with global_streams(6):
        draws()
        raise ValueError("on purpose")


def test_a_seed_makes_them_repeatable():
    with global_streams(11):
        one = draws()
    with global_streams(11):
        assert draws() == one
    with global_streams(12):
        assert draws() != one


def test_one_torch_thread_inside():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_the_tail_of_the_log_is_kept_and_shown(capsys):
    with log_tail() as tail:
        print("a" * TAIL_CHARACTERS)
        print("the end", file=sys.stderr)
        assert not sys.stdout.isatty()
        assert sys.stdout.writable()
        sys.stdout.flush()
    assert "".join(tail).endswith("a\nthe end\n")
    assert len(tail) == TAIL_CHARACTERS
    shown = capsys.readouterr()
    assert shown.out.startswith("aaa")
    assert shown.err == "the end\n"
