"""Films of what was played: GIF with Pillow, MP4 with the extra `video`. No screen is needed."""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from registry.errors import SettingError
from rlsuite.diagnosis import write_failure

__all__ = ["Film", "refuse_film"]

LAST_FRAME = 1.5
"""Seconds that the end of an episode stays to be seen, at least one frame."""

SHORTEST = 0.02
"""Seconds of a frame below which players of GIF slow down."""

SAMPLED = 24
"""Frames from which the colours of a GIF are chosen."""

COLORS, EXACT = 256, 192
"""Colours of a GIF, and how many of them are the commonest ones as they are."""

FILM_KINDS = (".gif", ".mp4")

Frame = NDArray[np.uint8]


class Film:
    """Keeps frames, packed, until they are written.

    Args:
        fps: Frames of a second, above 0.
    """

    def __init__(self, fps: float) -> None:
        self.fps = fps
        self._frames: list[tuple[bytes, tuple[int, ...], float]] = []

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, frame: Frame, ends: bool = False) -> None:
        """Appends a frame; the last one of an episode stays longer."""
        seconds = max(1.0 / self.fps, LAST_FRAME if ends else 0.0)
        self._frames.append((zlib.compress(frame.tobytes(), 1), frame.shape, seconds))

    def write(self, path: Path) -> None:
        """Writes `.gif` or `.mp4`, as the name says.

        Raises:
            SettingError: nothing was filmed, or the name ends otherwise.
            DependencyNotInstalled: an MP4 without the extra `video`.
        """
        if not self._frames:
            raise SettingError(f"there is nothing to write to {path}: no frame was shown.")
        if _kind(path) == ".gif":
            self._write_gif(path)
        else:
            self._write_mp4(path)

    def _write_gif(self, path: Path) -> None:
        from PIL import Image

        palette = self._palette()
        images = []
        for frame in self._unpacked():
            # Pillow's own mapping rounds colours first, so that white would not stay white
            images.append(Image.fromarray(_indices(frame, palette)))
            images[-1].putpalette(palette.tobytes())
        durations = [round(1000 * max(seconds, SHORTEST)) for *_, seconds in self._frames]
        images[0].save(
            path,
            format="GIF",
            save_all=True,
            append_images=images[1:],
            duration=durations,
            loop=0,
            optimize=False,
        )

    def _palette(self) -> Frame:
        """At most 256 colours [n, 3]: the commonest as they are, the others by median cut.

        They are counted in frames spread evenly over the film, the last one among them.
        """
        from PIL import Image

        count = len(self._frames)
        chosen = set(np.linspace(0, count - 1, min(count, SAMPLED)).round().astype(int).tolist())
        codes = [_codes(frame).ravel() for i, frame in enumerate(self._unpacked()) if i in chosen]
        found, counts = np.unique(np.concatenate(codes), return_counts=True)
        order = np.argsort(-counts, kind="stable")
        if len(found) <= COLORS:
            return _split(found[order])
        rare = Image.fromarray(_split(found[order[EXACT:]])[None])
        shared = rare.quantize(colors=COLORS - EXACT, method=Image.Quantize.MEDIANCUT)
        rest = np.array(shared.getpalette(), np.uint8).reshape(-1, 3)
        return np.concatenate([_split(found[order[:EXACT]]), rest])[:COLORS]

    def _write_mp4(self, path: Path) -> None:
        imageio = _imageio()
        with imageio.get_writer(path, fps=self.fps, codec="libx264", macro_block_size=2) as writer:
            for frame, (*_, seconds) in zip(self._unpacked(), self._frames, strict=True):
                for _ in range(max(1, round(seconds * self.fps))):
                    writer.append_data(frame)

    def _unpacked(self) -> Iterator[Frame]:
        """The frames, all of the size of the largest, smaller ones on white."""
        height = max(shape[0] for _, shape, _ in self._frames)
        width = max(shape[1] for _, shape, _ in self._frames)
        for packed, shape, _ in self._frames:
            frame = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(shape)
            if shape[:2] != (height, width):
                full = np.full((height, width, 3), 255, np.uint8)
                full[: shape[0], : shape[1]] = frame
                frame = full
            yield frame


def refuse_film(path: Path) -> None:
    """Says before anything is played that a film cannot be written.

    Raises:
        SettingError: the name ends in neither `.gif` nor `.mp4`, or its folder cannot be written.
        DependencyNotInstalled: an MP4 without the extra `video`.
    """
    if _kind(path) == ".mp4":
        _imageio()
    reason = write_failure(path.parent) if path.parent.is_dir() else "its folder does not exist"
    if path.is_dir():
        reason = "it is a folder"
    if reason is not None:
        raise SettingError(
            f"{path} cannot be written: {reason}. Give a path in a folder that exists and can be "
            "written; nothing was played yet."
        )


def _kind(path: Path) -> str:
    kind = path.suffix.lower()
    if kind not in FILM_KINDS:
        raise SettingError(f"a film is a .gif or an .mp4 file, got {str(path)!r}.")
    return kind


def _imageio() -> Any:
    try:
        imageio = importlib.import_module("imageio.v2")
        importlib.import_module("imageio_ffmpeg")  # imageio would miss it only when it writes
    except ImportError as error:
        raise gym.error.DependencyNotInstalled(
            "an MP4 needs the extra video, which is not installed: pip install 'rlsuite[video]'. "
            "A GIF needs nothing more."
        ) from error
    return imageio


def _codes(frame: Frame) -> NDArray[np.int64]:
    """One number for each colour, [height, width]."""
    return frame.astype(np.int64) @ (65536, 256, 1)


def _split(codes: NDArray[np.int64]) -> Frame:
    """The three bytes of each colour, [n, 3]."""
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1).astype(np.uint8)


def _indices(frame: Frame, palette: Frame) -> Frame:
    """The nearest colour of the palette for each pixel, [height, width]."""
    codes, inverse = np.unique(_codes(frame), return_inverse=True)
    apart = _split(codes)[:, None].astype(np.int32) - palette[None].astype(np.int32)
    nearest = (apart * apart).sum(axis=2).argmin(axis=1).astype(np.uint8)
    return np.ascontiguousarray(nearest[inverse].reshape(frame.shape[:2]))
