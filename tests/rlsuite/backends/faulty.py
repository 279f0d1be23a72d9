"""A backend that injects faults: it loses jobs, tells torn results and delivers twice late."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rlsuite.backends import Outcome
from rlsuite.backends.serial import SerialBackend
from rlsuite.running.packing import from_bytes, to_bytes


class FaultyBackend(SerialBackend):
    """The serial backend on a bad day: drawn from a seed, jobs are lost, killed or torn.

    A torn result is one whose bytes were cut off on their way, which a backend has to notice.
    """

    def __init__(self, workers=None, seed=0, rate=0.5):
        super().__init__()
        self.rng = np.random.default_rng(seed)
        self.rate = rate
        self.faults = {"lost": 0, "killed": 0, "torn": 0}

    def capacity(self):
        return 3

    def wait(self, handles, timeout=None):
        return [self._spoiled(outcome) for outcome in super().wait(handles, timeout)]

    def _spoiled(self, outcome):
        if outcome.record is None or self.rng.random() >= self.rate:
            return outcome
        fault = list(self.faults)[sum(self.faults.values()) % 3]
        self.faults[fault] += 1
        if fault == "torn":
            data = to_bytes(outcome.record)
            try:
                return replace(
                    outcome, record=from_bytes(data[: int(self.rng.random() * len(data))])
                )
            except ValueError:
                fault = "lost"
        return Outcome(handle=outcome.handle, state=fault)
