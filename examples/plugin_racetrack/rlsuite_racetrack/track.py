"""The racetrack as arithmetic: where a car is after one step, for every place and velocity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from registry.errors import SettingError

__all__ = ["ACCELERATIONS", "CRASH", "FINISH", "MAPS", "N_VELOCITIES", "Track", "accelerate"]

N_SPEEDS = 5  # a velocity component is 0, 1, 2, 3 or 4 cells per step
N_VELOCITIES = N_SPEEDS**2  # numbered 5 * up + right
ACCELERATIONS = tuple((up, right) for up in (-1, 0, 1) for right in (-1, 0, 1))
CRASH, FINISH = -1, -2  # in `Track.arrival`, where other numbers are cells

MAPS = {
    # After the left track of Figure 5.5: `S` start line, `F` finish line, `.` track, `#` not track.
    "left": """
        ###.............F
        ##..............F
        ##..............F
        #...............F
        ................F
        ................F
        ..........#######
        .........########
        .........########
        .........########
        .........########
        .........########
        .........########
        .........########
        #........########
        #........########
        #........########
        #........########
        #........########
        #........########
        #........########
        #........########
        ##.......########
        ##.......########
        ##.......########
        ##.......########
        ##.......########
        ##.......########
        ##.......########
        ###......########
        ###......########
        ###SSSSSS########
    """,
    "small": """
        ##......F
        #.......F
        ........F
        .....####
        .....####
        .....####
        .....####
        SSSS.####
    """,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Track:
    """A parsed map. The car moves up and to the right; a velocity is `5 * up + right`.

    `cells`: (row, column) of every cell that is track, the finish line excluded. `starts`: indices
    of the start line. `arrival[cell, velocity]`: the cell where the car comes to stand, or CRASH,
    or FINISH.
    """

    cells: tuple[tuple[int, int], ...]
    starts: tuple[int, ...]
    arrival: NDArray[np.int64]

    @classmethod
    def parse(cls, text: str) -> Track:
        """Reads a map.

        Raises:
            SettingError: an unknown character, or no start line, or no finish line.
        """
        rows = text.split()
        unknown = sorted(set("".join(rows)) - set("#.SF"))
        if unknown:
            raise SettingError(f"a track consists of '#', '.', 'S' and 'F'; got {unknown}.")
        marks = {(y, x): c for y, row in enumerate(rows) for x, c in enumerate(row) if c != "#"}
        cells = tuple(place for place, mark in marks.items() if mark != "F")
        starts = tuple(i for i, place in enumerate(cells) if marks[place] == "S")
        if not starts or len(cells) == len(marks):
            raise SettingError("a track needs a start line of 'S' and a finish line of 'F'.")
        index = {place: i for i, place in enumerate(cells)}
        arrival = np.empty((len(cells), N_VELOCITIES), dtype=np.int64)
        for i, place in enumerate(cells):
            for velocity in range(N_VELOCITIES):
                arrival[i, velocity] = _drive(place, *divmod(velocity, N_SPEEDS), marks, index)
        return cls(cells=cells, starts=starts, arrival=arrival)


def accelerate(velocity: int, action: int) -> int:
    """The next velocity: components stay in 0..4, and a moving car never comes to rest."""
    up, right = divmod(velocity, N_SPEEDS)
    more_up, more_right = ACCELERATIONS[action]
    up = min(max(up + more_up, 0), N_SPEEDS - 1)
    right = min(max(right + more_right, 0), N_SPEEDS - 1)
    return N_SPEEDS * up + right or velocity


def _drive(
    place: tuple[int, int],
    up: int,
    right: int,
    marks: dict[tuple[int, int], str],
    index: dict[tuple[int, int], int],
) -> int:
    """Follows the projected path cell by cell; the first thing that is hit counts."""
    (y, x), pieces = place, max(up, right)
    for k in range(1, pieces + 1):
        # The k-th of `pieces` points on the straight line, halves rounded up: whole numbers only.
        step_up = (2 * k * up + pieces) // (2 * pieces)
        step_right = (2 * k * right + pieces) // (2 * pieces)
        mark = marks.get((y - step_up, x + step_right), "#")
        if mark in "#F":
            return CRASH if mark == "#" else FINISH
    return index[y - up, x + right]
