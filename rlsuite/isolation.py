"""What a run must not leave behind, and must not depend on: hidden global state."""

from __future__ import annotations

import io
import os
import random
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO

import numpy as np

__all__ = ["LogTail", "global_streams", "log_tail", "no_screen", "one_thread"]

TAIL_CHARACTERS = 4_000
SDL = {"SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy"}


@contextmanager
def no_screen() -> Iterator[None]:
    """Inside, pygame draws without a screen, unless the reader's environment names one."""
    before = {name: os.environ.get(name) for name in SDL}
    os.environ.update({name: value for name, value in SDL.items() if before[name] is None})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)


@contextmanager
def global_streams(seed: int | None = None) -> Iterator[None]:
    """Puts the global generators of `random`, NumPy and torch back as they were found.

    With a seed they are seeded inside, so that code which draws from them is repeatable as well.
    Torch takes part only if somebody has imported it.
    """
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 - to leave it alone
    torch = sys.modules.get("torch")
    devices: list[int] = []
    kept_torch, kept_cuda = None, None
    if torch is not None:
        devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
        kept_torch = torch.random.get_rng_state()
        kept_cuda = [torch.cuda.get_rng_state(device) for device in devices]
    try:
        if seed is not None:
            seed_global_streams(seed)
        yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002 - to leave it alone
        if torch is not None and kept_torch is not None:
            torch.random.set_rng_state(kept_torch)
            for device, state in zip(devices, kept_cuda or (), strict=True):
                torch.cuda.set_rng_state(state, device)


def seed_global_streams(seed: int) -> None:
    """Seeds the global generators. Only inside `global_streams`, which puts them back."""
    random.seed(seed)
    key: Any = np.random.SeedSequence(seed).generate_state(624)
    np.random.set_state(("MT19937", key, 624, 0, 0.0))  # noqa: NPY002 - strangers draw from it
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(seed)


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread inside, if torch is imported: cells run side by side, not inside."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch is not None else 1
    if torch is not None:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if torch is not None:
            torch.set_num_threads(before)


class LogTail(io.TextIOBase):
    """Passes text on to a stream and keeps the last 4,000 characters of it."""

    def __init__(self, stream: TextIO, kept: deque[str]) -> None:
        self._stream = stream
        self._kept = kept

    def writable(self) -> bool:
        """True."""
        return True

    def write(self, text: str) -> int:
        """Writes to the stream and to the tail."""
        self._kept.extend(text)
        return self._stream.write(text)

    def flush(self) -> None:
        """Flushes the stream."""
        self._stream.flush()

    def isatty(self) -> bool:
        """Whatever the stream is."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """The stream's."""
        return self._stream.fileno()

    @property
    def buffer(self) -> Any:
        """The stream's, for code that writes bytes; they are shown, and not kept in the tail."""
        return self._stream.buffer

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The stream's."""
        return self._stream.encoding


@contextmanager
def log_tail() -> Iterator[deque[str]]:
    """The last characters written to standard output and error inside; they are shown as well."""
    kept: deque[str] = deque(maxlen=TAIL_CHARACTERS)
    with (
        redirect_stdout(LogTail(sys.stdout, kept)),
        redirect_stderr(LogTail(sys.stderr, kept)),
    ):
        yield kept
