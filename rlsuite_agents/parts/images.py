"""Which observations are images, and where their rows, columns and channels lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from registry.errors import UnsupportedSpaceError

__all__ = ["Image", "check_rows", "image_of"]


@dataclass(frozen=True, slots=True)
class Image:
    """The layout of an image of bytes."""

    height: int
    width: int
    channels: int
    channels_first: bool  # [C, H, W] instead of [H, W, C]; of no meaning with one channel

    def planes(self, rows: Any) -> Any:
        """Flattened images [B, H W C], uint8 on any device, as float32 [B, C, H, W] in [0, 1]."""
        if self.channels_first:
            shaped = rows.view(-1, self.channels, self.height, self.width)
        else:
            shaped = rows.view(-1, self.height, self.width, self.channels).permute(0, 3, 1, 2)
        return shaped.float().div_(255.0)


def image_of(space: spaces.Space[Any]) -> Image | None:
    """The layout of an image space; None for a space of another kind.

    An image is a `Box` of bytes from 0 to 255 of two or three axes: [H, W], or with channels on the
    first or the last axis, which is the shortest then, as in Stable-Baselines3.

    Raises:
        UnsupportedSpaceError: there are more axes, or the shape does not tell which one holds the
            channels.
    """
    if not isinstance(space, spaces.Box) or space.dtype != np.uint8 or len(space.shape) < 2:
        return None
    if (space.low != 0).any() or (space.high != 255).any():
        return None
    shape = tuple(map(int, space.shape))
    if len(shape) == 2:
        return Image(*shape, 1, channels_first=True)
    if len(shape) > 3:
        raise UnsupportedSpaceError(
            f"images have two or three axes, got {space}; stack grey frames instead, for example "
            "GrayscaleObservation before FrameStackObservation of gymnasium.wrappers."
        )
    first, middle, last = shape
    if first < min(middle, last):
        return Image(middle, last, first, channels_first=True)
    if last < min(first, middle):
        return Image(first, middle, last, channels_first=False)
    raise UnsupportedSpaceError(
        f"the channels of an image lie on its first or its last axis, the shortest one; the shape "
        f"{shape} does not tell which. Change it with gymnasium.wrappers.TransformObservation."
    )


def check_rows(space: spaces.Space[Any], agent: str) -> None:
    """Raises `UnsupportedSpaceError` where observations are images: the agent reads rows alone."""
    if image_of(space) is not None:
        raise UnsupportedSpaceError(
            f"{agent} reads no images, got {space}; rlsuite/PPO-v0 and rlsuite/DQN-v0 do. As a row "
            "of numbers it reads them behind gymnasium.wrappers.FlattenObservation."
        )
