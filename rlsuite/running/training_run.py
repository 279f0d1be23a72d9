"""One training of one agent: what `rlsuite train` does."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from registry.catalogue import registry
from registry.errors import DivergenceError, SettingError
from registry.seeding import Stream, integer_seed
from registry.specs import AgentSpec, TaskSpec
from rlsuite.evaluation import Evaluation, Evaluator, check_whole
from rlsuite.isolation import global_streams, one_thread
from rlsuite.making import make_environment
from rlsuite.records import canonical_json
from rlsuite.reporting.event_files import TrainingFile, run_folder
from rlsuite.running.cells import GLOBAL_STREAMS
from rlsuite.running.saved_steps import CheckpointRules, SavedSteps
from rlsuite.running.training_record import training_record
from rlsuite.sessions import make_learner, refuse_unwritable, task_with
from rlsuite.store import DEFAULT_PATH, Store
from rlsuite.suite import AgentChoice
from rlsuite.training import TrainingLog
from rlsuite.views import recorders_of
from rlsuite.watching.watch import Alarm, Watch

__all__ = ["Listeners", "TrainingResult", "train_agent"]

UNITS: Mapping[str, Literal["step", "sweep", "example"]] = {
    "steps": "step",
    "sweeps": "sweep",
    "examples": "example",
    "none": "step",
}
"""What one unit of a budget is called."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingResult:
    """How a training went.

    `regret` was summed while learning, None where the environment tells none. `evaluation` is None
    where the training was stopped before its end. `unit` is what `steps` counts. `alarms` are those
    of the watchdogs. `checkpoint` is the last one, where checkpoints were asked for.
    """

    steps: int
    episodes: int
    total: int
    regret: float | None
    evaluation: Evaluation | None
    unit: Literal["step", "sweep", "example"] = "step"
    alarms: tuple[Alarm, ...] = ()
    checkpoint: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Listeners:
    """Who is told what while a training goes on.

    `on_step`: after every step, the steps done and the steps in all; False stops. `on_update`: the
    numbers of every update of the agent, by name. `on_alarm`: what a watchdog sees. `on_resume`:
    sentences about the checkpoint from which it goes on.
    """

    on_step: Callable[[int, int], bool | None] | None = None
    on_update: Callable[[Mapping[str, float]], object] | None = None
    on_alarm: Callable[[Alarm], object] | None = None
    on_resume: Callable[[str], object] | None = None


def train_agent(
    agent: str,
    environment: str,
    *,
    steps: int | None = None,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    env_settings: Mapping[str, Any] | None = None,
    save: Path | None = None,
    device: str = "cpu",
    episodes: int = 20,
    listeners: Listeners = Listeners(),
    tensorboard: Path | None = None,
    checkpoints: CheckpointRules | None = None,
    store: Path | None = None,
) -> TrainingResult:
    """Trains an agent, saves it if asked to, and evaluates it in an environment of its own.

    Args:
        agent: Id of an agent.
        environment: Id of an environment or a task.
        steps: Steps to train for, at least 0, all in all; None: those of the task.
        seed: Root of all random draws, at least 0.
        settings: Settings of the agent.
        env_settings: Keywords of the environment.
        save: Where to write the trained agent.
        device: Where networks run.
        episodes: Episodes of the evaluation.
        listeners: Who is told. A training that they stop is saved, but not evaluated.
        tensorboard: Folder for a file that TensorBoard reads while the training goes on.
        checkpoints: How it is saved on the way, and goes on with the same bits.
        store: Where to keep it as a run, beside the cells of benchmarks, if it comes to its end.

    Raises:
        RlsuiteError: whatever is refused; a place that cannot be written is refused before the
            training and not after it. A training that diverges names the last good checkpoint.
    """
    check_whole("episodes", episodes)
    task = task_with(environment, env_settings or {})
    if save is not None:
        refuse_unwritable(save)
    if store is not None:
        Store(store).close()
    about = {"agent": agent, "environment": environment, "seed": seed}
    about |= {f"agent: {name}": value for name, value in (settings or {}).items()}
    about |= {f"environment: {name}": value for name, value in (env_settings or {}).items()}
    spec = registry.agent_spec(agent)
    run = _Training(
        spec=spec,
        total=task.total_timesteps if steps is None else check_whole("total_timesteps", steps, 0),
        listeners=listeners,
        saved=None if checkpoints is None else _saved_steps(spec, checkpoints, about),
        every=None if checkpoints is None else checkpoints.every,
    )
    with global_streams(integer_seed(seed, Stream.AGENT, GLOBAL_STREAMS)):
        learner = make_learner(agent, task, settings or {}, run.log, seed=seed, device=device)
        learner = run.resumed(learner, device, checkpoints is not None and checkpoints.resume)
        with run.followed(tensorboard, about) as follow:
            with one_thread():
                run.learn(learner)
            if save is not None:
                learner.save(save)
            found = None if run.stopped else _evaluated(learner, task, episodes, seed)
            if follow is not None:
                follow.finish(run.log, found)
    if store is not None and found is not None:
        choice = AgentChoice(agent, settings or {})
        told = (run.total, run.log, run.watch, found, episodes, run.seconds)
        with Store(store) as opened:
            opened.put(training_record(task, choice, seed, *told))
    return TrainingResult(
        steps=run.log.steps,
        episodes=run.log.episodes,
        total=run.total,
        regret=run.log.regret,
        evaluation=found,
        unit=UNITS[spec.budget_unit],
        alarms=tuple(run.watch.alarms),
        checkpoint=run.checkpoint,
    )


def _evaluated(learner: Any, task: TaskSpec, episodes: int, seed: int) -> Evaluation:
    with Evaluator(task, lambda: make_environment(task)) as evaluator:
        return evaluator(learner, episodes=episodes, seed=seed)


def _saved_steps(spec: AgentSpec, rules: CheckpointRules, about: Mapping[str, Any]) -> SavedSteps:
    """The checkpoints of this training, which may be there already if it is to go on."""
    if not {"resume", "split_learn"} <= spec.promises:
        raise SettingError(
            f"{spec.id!r} does not promise to go on from a checkpoint as if it had never stopped, "
            "so it cannot be saved on the way; --save keeps the trained agent."
        )
    folder = rules.folder
    if folder is None:
        digest = hashlib.sha256(canonical_json(about).encode()).hexdigest()
        names = (about["environment"], about["agent"], about["seed"])
        folder = run_folder(DEFAULT_PATH.parent / "checkpoints", *names, digest)
    saved = SavedSteps(folder, rules.keep, about)
    if not rules.resume:
        saved.refuse_others()
    return saved


class _Training:
    """A training while it goes on."""

    def __init__(
        self,
        *,
        spec: AgentSpec,
        total: int,
        listeners: Listeners,
        saved: SavedSteps | None,
        every: int | None,
    ) -> None:
        self.spec, self.total, self.listeners = spec, total, listeners
        self.saved, self.every = saved, every
        self.log, self.stopped, self.asked, self.seconds = TrainingLog(), False, 0, 0.0
        self.watch = Watch(listeners.on_alarm, total, on_numbers=self._updated)
        self._follow: TrainingFile | None = None

    @property
    def checkpoint(self) -> Path | None:
        """The last one."""
        if self.saved is None or not self.saved.steps:
            return None
        return self.saved.agent_file(self.saved.steps[-1])

    @contextmanager
    def followed(
        self, folder: Path | None, about: Mapping[str, Any]
    ) -> Iterator[TrainingFile | None]:
        """A file for TensorBoard, where a folder is named."""
        if folder is not None:
            self._follow = TrainingFile(folder, about, self.total, self.log)
        try:
            yield self._follow
        finally:
            if self._follow is not None:
                self._follow.close()

    def resumed(self, learner: Any, device: str, wanted: bool) -> Any:
        """The agent of the newest checkpoint, or the one that is given."""
        found = self.saved.newest() if self.saved is not None and wanted else None
        if found is None:
            if wanted:
                self._say("There is no checkpoint yet: the training begins.")
            return learner
        file, state, damaged = found
        for sentence in damaged:
            self._say(f"A checkpoint cannot be used, an older one is: {sentence}")
        env = learner.env
        learner = type(learner).load(file, env=env, device=device)
        self.log.restore(state["log"])
        for recorder, saved in zip(recorders_of(env), state["recorders"], strict=True):
            recorder.restore(saved)
        self.watch.restore(state["watch"])
        self.seconds = state["seconds"]
        self.asked = learner.num_timesteps + getattr(learner, "unspent", 0)
        self._say(f"Goes on from {file}.")
        return learner

    def learn(self, learner: Any) -> None:
        """The rest of the training, saved on the way.

        Raises:
            DivergenceError: it led to NaN or infinity; the error names the last good checkpoint.
        """
        try:
            with self.watch.attached(learner, learner.env):
                while self.asked < self.total and not self.stopped:
                    part = self.total - self.asked
                    if self.every is not None:
                        part = min(part, self.every - self.asked % self.every)
                    start = time.perf_counter()
                    learner.learn(part, self._step)
                    self.seconds += time.perf_counter() - start
                    self.asked += part
                    self._save(learner)
        except DivergenceError as error:
            if self.saved is None:
                raise
            raise DivergenceError(f"{error} {self.saved.newest_words}") from error

    def _step(self, learner: Any) -> bool:
        if self.spec.counts_itself:
            self.log.steps = learner.num_timesteps
        if self._follow is not None:
            self._follow(self.log)
        on_step = self.listeners.on_step
        self.stopped = on_step is not None and on_step(self.log.steps, self.total) is False
        return not self.stopped

    def _updated(self, numbers: Mapping[str, float]) -> None:
        if self._follow is not None:
            self._follow.update(numbers)
        if self.listeners.on_update is not None:
            self.listeners.on_update(numbers)

    def _save(self, learner: Any) -> None:
        if self.saved is None:
            return
        state = {
            "log": self.log.state(),
            "recorders": [recorder.state() for recorder in recorders_of(learner.env)],
            "watch": self.watch.state(),
            "seconds": self.seconds,
        }
        self.saved.save(learner, learner.num_timesteps, state)

    def _say(self, sentence: str) -> None:
        if self.listeners.on_resume is not None:
            self.listeners.on_resume(sentence)
