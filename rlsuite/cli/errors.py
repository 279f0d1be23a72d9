"""Which errors are a refusal of bad input, and the sentence that is shown for each."""

from __future__ import annotations

import os

import gymnasium as gym

from registry.errors import RlsuiteError

__all__ = ["sentence"]


def sentence(error: BaseException) -> str | None:
    """What to tell the user, on one line; None if the error is a defect and not a refusal."""
    if isinstance(error, RlsuiteError | gym.error.Error):
        return _one_line(str(error))
    if isinstance(error, OSError) and error.errno is not None:
        where = f" {os.fspath(error.filename)!r}" if isinstance(error.filename, str) else ""
        reason = _one_line(error.strerror or str(error))
        return f"cannot read or write{where}: {reason}. Give a path that can be written."
    return None


def _one_line(text: str) -> str:
    return " ".join(text.split())
