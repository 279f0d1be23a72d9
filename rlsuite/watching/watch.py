"""Watches an agent while it trains: it hangs on `agent.on_update`, and the agent knows nothing."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from registry.errors import DivergenceError, SettingError
from rlsuite.records import UpdateCurve
from rlsuite.watching.detectors import DETECTORS, Detector
from rlsuite.watching.stream import ALWAYS, Facts, Stream, facts_of
from rlsuite.watching.updates import STEP, UpdateLog, numbers_of

__all__ = ["WATCHDOG", "Alarm", "TrainingWarning", "Watch", "watch"]

WATCHDOG = "watchdog"
"""How the notes of alarms begin."""

LOOK_STEPS = 64
"""Steps between two updates that detectors look at; all of them would cost small agents a tenth."""


class TrainingWarning(UserWarning):
    """Something goes wrong in a training that goes on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Alarm:
    """What a watchdog saw, after which step of the environment."""

    kind: str
    step: int
    sentence: str

    def __str__(self) -> str:
        return f"step {self.step:,}: {self.sentence}"

    @property
    def note(self) -> str:
        """The same without the step: alike for all runs that have the fault."""
        return f"{WATCHDOG}, {self.kind}: {self.sentence}"


class Watch:
    """Keeps what updates tell, and says once of each kind what goes wrong.

    Args:
        tell: Called with each alarm when it is raised.
        total_timesteps: Of the training, where they are known.
        detectors: What is looked for.
        on_numbers: Called with the numbers of every update, by name.

    Attributes:
        log: The updates, in at most 200 rows.
        alarms: Those so far.
    """

    def __init__(
        self,
        tell: Callable[[Alarm], object] | None = None,
        total_timesteps: int | None = None,
        detectors: Sequence[Detector] = DETECTORS,
        on_numbers: Callable[[Mapping[str, float]], object] | None = None,
    ) -> None:
        self.tell, self.total_timesteps, self.detectors = tell, total_timesteps, tuple(detectors)
        self.on_numbers = on_numbers
        self.log, self.alarms = UpdateLog(), list[Alarm]()
        self._stream, self._next = Stream(), 0.0

    @property
    def curve(self) -> UpdateCurve | None:
        """All updates so far, None before the first."""
        return self.log.curve()

    @contextmanager
    def attached(self, agent: Any, env: Any) -> Iterator[None]:
        """Hangs on the agent inside; an agent that tells no updates is left as it is."""
        if not hasattr(agent, "on_update"):
            yield
            return
        before = agent.on_update
        self.attach(agent, env)
        try:
            yield
        finally:
            agent.on_update = before

    def attach(self, agent: Any, env: Any) -> None:
        """Hangs on an agent that learns in `env`; what heard its updates before is called first."""
        facts, before = facts_of(agent, env, self.total_timesteps), agent.on_update

        def told(metrics: Any) -> None:
            if before is not None:
                before(metrics)
            self.see(numbers_of(metrics), facts, agent)

        agent.on_update = told

    def see(self, numbers: Mapping[str, float], facts: Facts, agent: Any = None) -> None:
        """One update: its numbers by name; without `num_timesteps` it is passed over.

        Raises:
            DivergenceError: a loss is NaN or infinite.
        """
        if STEP not in numbers:
            return
        self.log.add(numbers)
        if self.on_numbers is not None:
            self.on_numbers(numbers)
        if numbers[STEP] >= self._next or not all(
            math.isfinite(value) for name, value in numbers.items() if name in ALWAYS
        ):
            self._next = numbers[STEP] + LOOK_STEPS
            self._look(numbers, facts, agent)

    def _look(self, numbers: Mapping[str, float], facts: Facts, agent: Any) -> None:
        self._stream.look(dead_units(agent))
        self._stream.add(numbers)
        spoken = {alarm.kind for alarm in self.alarms}
        for detector in self.detectors:
            if detector.kind not in spoken and detector.sees(self._stream, facts):
                self._raise(detector, int(numbers[STEP]))

    def _raise(self, detector: Detector, step: int) -> None:
        alarm = Alarm(kind=detector.kind, step=step, sentence=detector.sentence)
        self.alarms.append(alarm)
        if detector.fatal:
            raise DivergenceError(str(alarm))
        if self.tell is not None:
            self.tell(alarm)

    def state(self) -> dict[str, Any]:
        """Everything, as JSON would hold it (but for NaN and infinity)."""
        return {
            "log": self.log.state(),
            "stream": self._stream.state(),
            "alarms": [asdict(alarm) for alarm in self.alarms],
            "next": self._next,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from a `state`."""
        self.log.restore(state["log"])
        self._stream.restore(state["stream"])
        self.alarms = [Alarm(**alarm) for alarm in state["alarms"]]
        self._next = state["next"]


def dead_units(agent: Any) -> float:
    """The share of hidden units without gradient, of that network of an agent where it is largest.

    In the latest minibatch; NaN where the agent does not show gradients of layers by name
    (`q.bias0`, `q.bias1`, ...; the last ones are those of the outputs) as arrays of NumPy: what is
    on another device stays there.
    """
    networks = getattr(agent, "networks", None)
    gradients = getattr(getattr(networks, "parameters", None), "gradients", {})
    units: dict[str, list[Any]] = {}
    for name in gradients:
        network, _, layer = name.rpartition(".bias")
        hidden = layer.isdecimal() and f"{network}.bias{int(layer) + 1}" in gradients
        if hidden and isinstance(gradients[name], np.ndarray):
            units.setdefault(network, []).append(gradients[name].ravel())
    dead = [float((np.concatenate(found) == 0).mean()) for found in units.values()]
    return max(dead, default=float("nan"))


def watch(
    agent: Any,
    *,
    tell: Callable[[Alarm], object] | None = None,
    total_timesteps: int | None = None,
    detectors: Sequence[Detector] = DETECTORS,
) -> Watch:
    """Watches an agent from now on: a warning of each kind at most once, with cause and remedy.

    What it sees, and when, is in `docs/training.md`. It changes nothing of the training, but that a
    NaN ends it. An agent that is loaded from a checkpoint is another one: watch it as well.

    Args:
        agent: One that tells its updates, as the deep agents of rlsuite do: with `on_update`.
        tell: Called with each `Alarm`; None warns with `TrainingWarning`.
        total_timesteps: The budget, where it is known: some faults are then seen earlier.
        detectors: What to look for; `rlsuite.watching.detectors` has them, with their settings.

    Returns:
        The watch: `alarms` so far, and the updates as `curve`.

    Raises:
        SettingError: the agent does not tell its updates.
    """
    if not hasattr(agent, "on_update"):
        raise SettingError(
            f"{type(agent).__name__} cannot be watched: it does not tell its updates, for which "
            "agents have an attribute on_update."
        )
    found = Watch(_warn if tell is None else tell, total_timesteps, detectors)
    found.attach(agent, agent.env)
    return found


def _warn(alarm: Alarm) -> None:
    warnings.warn(str(alarm), TrainingWarning, stacklevel=2)
