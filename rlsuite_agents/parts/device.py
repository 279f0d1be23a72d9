"""Where tensors live, and how many threads work on them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from registry.errors import SettingError
from rlsuite_agents.parts.threads import one_blas_thread

__all__ = ["resolve_device", "single_thread"]


def resolve_device(device: str) -> torch.device:
    """The device of a small network: `"cpu"`, `"cuda"`, or `"auto"`, which is the CPU.

    Networks of a few thousand weights run faster on a CPU core than on any accelerator, whose
    launches cost more than the arithmetic; so `"auto"` does not reach for the GPU.

    Raises:
        SettingError: another name, or `"cuda"` where torch sees no CUDA device.
    """
    if device not in ("cpu", "cuda", "auto"):
        raise SettingError(f"device is 'cpu', 'cuda' or 'auto', got {device!r}.")
    if device == "cuda" and not torch.cuda.is_available():
        raise SettingError("device is 'cuda', but torch finds no CUDA device here; use 'cpu'.")
    return torch.device("cuda" if device == "cuda" else "cpu")


@contextmanager
def single_thread() -> Iterator[None]:
    """One thread of torch and of NumPy's BLAS inside, the former numbers afterwards.

    See `parts.threads` for why.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with one_blas_thread():
            yield
    finally:
        torch.set_num_threads(before)
