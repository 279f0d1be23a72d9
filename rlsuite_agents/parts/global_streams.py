"""The process-wide random generators, lent to a library that draws from nothing else."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.random import MT19937

__all__ = ["GlobalStreams"]


class GlobalStreams:
    """Positions of the global generators of `random`, NumPy and torch that belong to one agent.

    Inside `installed()` the global generators stand where this agent left them; afterwards they
    stand where everybody else left them. Agents of one process then do not meet in them, and
    nested use is right too: what predicts inside a training step finds its own streams, and hands
    the training's back.
    """

    def __init__(self, seed: np.random.SeedSequence, device: torch.device) -> None:
        """Starts the streams.

        Args:
            seed: what they are derived from.
            device: the CUDA generator is looked after only where the agent lives on CUDA.
        """
        self._cuda = device if device.type == "cuda" else None
        for_random, for_numpy, for_torch, for_cuda = seed.spawn(4)
        key = MT19937(for_numpy).state["state"]
        generators = [torch.Generator()]
        generators[0].manual_seed(_number(for_torch))
        if self._cuda is not None:
            generators.append(torch.Generator(self._cuda))
            generators[1].manual_seed(_number(for_cuda))
        self._positions: tuple[Any, ...] = (
            random.Random(_number(for_random)).getstate(),
            ("MT19937", key["key"], key["pos"], 0, 0.0),
            *(generator.get_state() for generator in generators),
        )

    @contextmanager
    def installed(self) -> Iterator[None]:
        """The global generators are this agent's inside, and as they were found afterwards."""
        found = self._read()
        self._write(self._positions)
        try:
            yield
        finally:
            self._positions = self._read()
            self._write(found)

    def _read(self) -> tuple[Any, ...]:
        cuda = () if self._cuda is None else (torch.cuda.get_rng_state(self._cuda),)
        return random.getstate(), np.random.get_state(), torch.get_rng_state(), *cuda  # noqa: NPY002

    def _write(self, positions: tuple[Any, ...]) -> None:
        for_random, for_numpy, for_torch, *for_cuda = positions
        random.setstate(for_random)
        np.random.set_state(for_numpy)  # noqa: NPY002  (it is the subject here)
        torch.set_rng_state(for_torch)
        if self._cuda is not None:
            torch.cuda.set_rng_state(for_cuda[0], self._cuda)


def _number(seed: np.random.SeedSequence) -> int:
    return int(seed.generate_state(1, dtype=np.uint64)[0])
