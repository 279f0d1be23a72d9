"""Checks of pictures: every declared mode, without a screen, and without moving the course."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from gymnasium.error import DependencyNotInstalled

from rlsuite.isolation import no_screen
from rlsuite.testing.env_subject import EnvSubject
from rlsuite.testing.report import Failure, Skip, check, require
from rlsuite.testing.walks import require_same, seeded_walk

__all__ = ["CHECKS"]

STEPS = {"human": 1}  # it waits as long as its frames are to be seen


@check
def render_modes(subject: EnvSubject) -> None:
    """Every declared mode gives frames of its kind, fresh ones, and leaves the course alone."""
    modes = [mode for mode in subject.bare().metadata.get("render_modes", ()) if mode is not None]
    if not modes:
        raise Skip("it declares no render modes")
    missing = []
    with no_screen():
        for mode in modes:
            try:
                _check_mode(subject, mode)
            except DependencyNotInstalled as error:
                missing.append(f"{mode}: {error}")
    if missing:
        raise Skip(f"not installed here: {'; '.join(missing)}")


@check
def render_fps(subject: EnvSubject) -> None:
    """An environment with render modes says how many frames a second has."""
    metadata = subject.bare().metadata
    if not metadata.get("render_modes"):
        raise Skip("it declares no render modes")
    fps = metadata.get("render_fps")
    require(
        isinstance(fps, int | float) and fps > 0,
        f"metadata['render_fps'] is {fps!r}, it should be a number above 0",
    )


def _check_mode(subject: EnvSubject, mode: str) -> None:
    env = subject.make(render_mode=mode)
    require(env.render_mode == mode, f"made with render_mode={mode!r}, it has {env.render_mode!r}")
    check_frame = _KINDS.get(mode.removesuffix("_list"), lambda frame, where: None)
    listed = mode.endswith("_list")
    try:
        frames = []
        for number, _ in enumerate(seeded_walk(env, STEPS.get(mode, 6), 0)):
            where = f"render_mode={mode!r}, frame {number}"
            frame: Any = env.render()
            if listed:
                require(isinstance(frame, list), f"{where}: it is no list of frames")
            for one in frame if listed else [frame]:
                check_frame(one, where)
                frames.append(one)
        arrays = [frame for frame in frames if isinstance(frame, np.ndarray)]
        for one, other in pairwise(arrays):
            require(not np.shares_memory(one, other), f"{mode!r}: two frames share memory")
        if mode != "human":
            _check_course(subject, mode)
    finally:
        env.close()
        env.close()  # twice is allowed


def _check_course(subject: EnvSubject, mode: str) -> None:
    shown, plain = subject.make(render_mode=mode), subject.make()

    def rendered() -> Iterator[Any]:
        for event in seeded_walk(shown, 6, 0):
            shown.render()
            yield event

    require_same(rendered(), seeded_walk(plain, 6, 0), f"rendering {mode!r} moved the course")
    shown.close()
    plain.close()


def _array(frame: Any, where: str) -> None:
    good = isinstance(frame, np.ndarray) and frame.dtype == np.uint8 and frame.ndim == 3
    if not good or frame.shape[2] != 3 or 0 in frame.shape:
        kind = f"{frame.dtype}{frame.shape}" if isinstance(frame, np.ndarray) else type(frame)
        raise Failure(f"{where} is {kind}, it should be a uint8 array [H, W, 3]")


def _text(frame: Any, where: str) -> None:
    readable = hasattr(frame, "getvalue")  # a StringIO is text as well
    text = isinstance(frame, str) or readable
    require(text, f"{where} is {type(frame).__name__}, it should be a str")
    require(frame.getvalue() if readable else frame, f"{where} is empty")


def _nothing(frame: Any, where: str) -> None:
    require(frame is None, f"{where} returned {type(frame).__name__}, it should be None")


_KINDS: dict[str, Callable[[Any, str], None]] = {
    "rgb_array": _array,
    "ansi": _text,
    "human": _nothing,
}


CHECKS = (render_modes, render_fps)
