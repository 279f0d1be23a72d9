"""Where tensors live, and how many threads work on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from registry.errors import SettingError
from rlsuite_agents.parts.threads import one_blas_thread

__all__ = ["fetched", "reproducible", "resolve_device", "single_thread"]


def resolve_device(device: str, *, images: bool = False) -> torch.device:
    """The device of a network: `"cpu"`, `"cuda"`, or `"auto"`, the GPU for images if there is one.

    Networks of a few thousand weights run faster on a CPU core than on any accelerator, whose
    launches cost more than the arithmetic; so for rows of numbers `"auto"` is the CPU.

    Raises:
        SettingError: another name, or `"cuda"` where torch sees no CUDA device.
    """
    if device not in ("cpu", "cuda", "auto"):
        which = "; CUDA_VISIBLE_DEVICES says which GPU that is" if "cuda" in str(device) else ""
        raise SettingError(f"device is 'cpu', 'cuda' or 'auto', got {device!r}{which}.")
    if device == "cuda" and not torch.cuda.is_available():
        raise SettingError("device is 'cuda', but torch finds no CUDA device here; use 'cpu'.")
    wanted = device == "cuda" or (device == "auto" and images and torch.cuda.is_available())
    return torch.device("cuda" if wanted else "cpu")


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


@contextmanager
def reproducible(device: torch.device) -> Iterator[None]:
    """Convolutions on CUDA that give the same numbers each time, and those of a CPU to 1e-4.

    That is without TF32, whose products have 10 bits of precision, and without algorithms that add
    up in the order in which threads happen to finish. On a CPU there is nothing to set.
    """
    if device.type != "cuda":
        yield
        return
    with torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    ):
        yield


def fetched(values: Sequence[Any]) -> NDArray[np.float64]:
    """What minibatches gave, one below the other: tensors come from their device all at once."""
    if values and isinstance(values[0], torch.Tensor):
        return torch.stack(list(values)).cpu().numpy().astype(np.float64)
    return np.array(values, np.float64)
