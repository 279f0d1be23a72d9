"""Devices and threads."""

from __future__ import annotations

import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from registry.errors import SettingError
from rlsuite_agents.parts.device import resolve_device, single_thread


def test_small_networks_stay_on_the_cpu_unless_asked():
    assert resolve_device("cpu").type == "cpu"
    assert resolve_device("auto").type == "cpu"
    there = "cuda" if torch.cuda.is_available() else "cpu"
    assert resolve_device("auto", images=True).type == there


def test_other_names_are_refused():
    with pytest.raises(SettingError, match="device is 'cpu', 'cuda' or 'auto', got 'tpu'"):
        resolve_device("tpu")
    with pytest.raises(SettingError, match="got 'cuda:1'; CUDA_VISIBLE_DEVICES says which GPU"):
        resolve_device("cuda:1")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_where_there_is_none_is_refused():
    with pytest.raises(SettingError, match="finds no CUDA device"):
        resolve_device("cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_where_there_is_one():
    assert resolve_device("cuda").type == "cuda"


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_are_restored_even_after_an_error(threads):
    found = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with single_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == threads
        with pytest.raises(KeyError), single_thread():
            raise KeyError
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(found)


def test_numpys_threads_are_one_inside_and_as_before_outside():
    def threads():
        info = threadpool_info()
        return [library["num_threads"] for library in info if library["user_api"] == "blas"]

    with threadpool_limits(limits=2, user_api="blas"):
        before = threads()
        with single_thread():
            assert set(threads()) == {1}
        assert threads() == before
