"""The racetrack as an environment, and its answer key: both come from the same arrays."""

from __future__ import annotations

import numpy as np

from registry.errors import SettingError
from rlsuite_envs.tabular.env import TabularEnv
from rlsuite_envs.tabular.mdp import TabularMDP
from rlsuite_racetrack.track import (
    ACCELERATIONS,
    CRASH,
    FINISH,
    MAPS,
    N_VELOCITIES,
    Track,
    accelerate,
)

__all__ = ["Racetrack"]


class Racetrack(TabularEnv):
    """Sutton & Barto, 2nd ed., section 5.7, Exercise 5.12: drive around a bend without leaving it.

    The observation is `25 * cell + 5 * up + right`: the cell of the track (counted row by row) and
    the two components of the velocity, 0 to 4 cells a step. Action `3 * i + j` changes them by
    (i - 1, j - 1); with probability `noise` they stay as they are. A car that leaves the track goes
    back to a random cell of the start line, at rest. Each step pays -1, and crossing the finish
    line ends the episode.

    Args:
        track: `"left"` (the left track of Figure 5.5), `"small"`, or a map of your own: lines of
            `S` (start line), `F` (finish line), `.` (track) and `#` (anything else).
        noise: Probability in [0, 1] that the acceleration fails.
        render_mode: As of every `TabularEnv`.

    Raises:
        SettingError: `noise` is outside its range, or the map makes no sense.
    """

    def __init__(
        self, *, track: str = "left", noise: float = 0.1, render_mode: str | None = None
    ) -> None:
        if not 0 <= noise <= 1:
            raise SettingError(f"noise must be in [0, 1], got {noise!r}.")
        if track not in MAPS and "F" not in track:
            raise SettingError(f"there is no track {track!r}; give one of {list(MAPS)} or a map.")
        self.track = Track.parse(MAPS.get(track, track))
        super().__init__(
            model_of(self.track, noise), id="racetrack/Racetrack-v0", render_mode=render_mode
        )


def model_of(track: Track, noise: float) -> TabularMDP:
    """p(s', r | s, a) as arrays [S, A, K], here built as [cells, velocities, A, K].

    Outcome 0: the car accelerates. Outcome 1: it keeps its velocity. The others: it has crashed,
    in either of these cases, and stands on one of the cells of the start line.
    """
    n_starts = len(track.starts)
    shape = (len(track.cells), N_VELOCITIES, len(ACCELERATIONS), 2 + n_starts)
    next_state = np.zeros(shape, dtype=np.int64)
    probability, terminal = np.zeros(shape), np.zeros(shape, dtype=bool)
    kept = np.tile(np.arange(N_VELOCITIES)[:, None], len(ACCELERATIONS))  # [velocities, A]
    changed = np.array([[accelerate(v, a) for a in range(9)] for v in range(N_VELOCITIES)])
    for k, (p, velocity) in enumerate([(1 - noise, changed), (noise, kept)]):
        cell = track.arrival[:, velocity]  # [cells, velocities, A]
        next_state[..., k] = np.where(cell >= 0, N_VELOCITIES * cell + velocity, 0)
        probability[..., k] = np.where(cell == CRASH, 0.0, p)
        probability[..., 2:] += np.where(cell == CRASH, p / n_starts, 0.0)[..., None]
        terminal[..., k] = cell == FINISH
    start_states = N_VELOCITIES * np.array(track.starts)  # at rest
    next_state[..., 2:] = start_states
    start = np.zeros(len(track.cells) * N_VELOCITIES)
    start[start_states] = 1 / n_starts
    flat = (len(start), len(ACCELERATIONS), 2 + n_starts)
    return TabularMDP(
        next_state=next_state.reshape(flat),
        probability=probability.reshape(flat),
        reward=np.full(flat, -1.0),
        terminal=terminal.reshape(flat),
        start=start,
    )
