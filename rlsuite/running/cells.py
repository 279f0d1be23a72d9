"""Runs one cell of a benchmark: makes the environment and the agent, trains, evaluates.

Everything a cell draws comes from its seed, so a cell gives the same record wherever and whenever
it is run; only its clocks differ.
"""

from __future__ import annotations

import contextlib
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import gymnasium as gym

from registry.catalogue import registry
from registry.errors import CheckpointError, SettingError
from registry.seeding import Stream, integer_seed
from registry.specs import AgentSpec
from rlsuite.answer_key import AnswerKey, normalised, time_limit
from rlsuite.episodes import Seat, driver_for
from rlsuite.evaluation import MAX_STEPS, Evaluation, Evaluator
from rlsuite.isolation import global_streams, log_tail, one_thread
from rlsuite.making import build_agent, make_config, make_environment, train_env
from rlsuite.records import CurvePoint, RunKey, RunRecord
from rlsuite.running.bandit_blocks import block_record
from rlsuite.running.policies import FINAL, Shelf
from rlsuite.running.resuming import CheckpointPlan, Saver
from rlsuite.running.scoring import curve_point, evaluated_again, scored
from rlsuite.suite import Cell
from rlsuite.training import TrainingLog, budget_note
from rlsuite.views import AgentView, EpisodeRecorder
from rlsuite.watching.watch import Watch

__all__ = ["Progress", "failed_record", "run_cell"]

Progress = Callable[[int, int], None]
"""Called as `progress(steps, budget)` at the evaluation points of a cell."""

GLOBAL_STREAMS = 1_000
"""Member of the agent's stream that seeds the global generators, for code that draws from them."""

ERROR_LINES = 40


def run_cell(
    cell: Cell,
    key: RunKey,
    *,
    settings: Mapping[str, Any],
    fingerprint: Mapping[str, str],
    device: str = "cpu",
    progress: Progress | None = None,
    checkpoints: CheckpointPlan | None = None,
    shelf: Shelf | None = None,
    before: RunRecord | None = None,
    tick: float | None = None,
    updates: bool = True,
) -> RunRecord:
    """Trains and scores. An exception becomes a failed record with the tail of the log.

    With `checkpoints` a training that was interrupted goes on where it was saved, if the agent
    promises `resume` and `split_learn`; the record is the same. The policies that are evaluated are
    kept on the `shelf`; with `before`, the record of a cell that differs in its numbers of episodes
    alone, they are taken from there, and nothing is trained, unless they cannot be used: then
    standard output says so. With `tick`, `progress` is also called from a thread every so many
    seconds while there are new steps. Without `updates` what the agent tells of its updates is
    neither kept nor watched. `KeyboardInterrupt` passes through, and so does `Stopped`, when
    SIGTERM came and the training was saved. Global generators and thread counts end as they were
    found.
    """
    started = datetime.now(UTC).isoformat(timespec="seconds")
    blank = RunRecord(
        key=key,
        task=cell.task.id,
        env_id=cell.task.env_id,
        family=cell.task.family,
        metric=cell.task.metric,
        agent=cell.label,
        agent_id=cell.choice.id,
        settings=settings,
        seed=cell.seed,
        total_timesteps=cell.total_timesteps,
        state="ok",
        started_at=started,
        fingerprint=fingerprint,
    )
    watch = Watch(total_timesteps=cell.total_timesteps) if updates else None
    with log_tail() as tail:
        try:
            if isinstance(cell.choice.agent, str):  # imports come first: torch may be among them
                registry.agent_spec(cell.choice.agent).load()
            seed = integer_seed(cell.seed, Stream.AGENT, GLOBAL_STREAMS)
            if cell.runs is not None:
                with global_streams(seed), one_thread():
                    return block_record(cell, blank)
            if before is not None and shelf is not None:
                try:
                    with global_streams(seed):
                        return evaluated_again(cell, blank, before, shelf)
                except CheckpointError as error:
                    print(f"The training begins anew, its policy cannot be used: {error}")
                    shelf.clear()
            with global_streams(seed):
                run = _Run(cell, device, progress, checkpoints, shelf, watch)
                with _ticking(run, tick):
                    return _finished(run, blank)
        except gym.error.DependencyNotInstalled as error:
            return replace(blank, state="skipped", error=f"{type(error).__name__}: {error}")
        except (Exception, SystemExit) as error:  # of an agent or an environment: it may be any
            return replace(failed_record(blank, error, "".join(tail)), **_watched(watch))


def _watched(watch: Watch | None) -> dict[str, Any]:
    """What a record says of updates, though its training failed."""
    if watch is None:
        return {}
    return {"notes": tuple(alarm.note for alarm in watch.alarms), "updates": watch.curve}


def failed_record(blank: RunRecord, error: BaseException, log: str = "") -> RunRecord:
    """A failed cell: the end of its output, and the end of its traceback."""
    trace = "".join(traceback.format_exception(error)).splitlines()[-ERROR_LINES:]
    text = "\n".join([*log.splitlines()[-ERROR_LINES:], *trace])
    return replace(blank, state="failed", error=text)


def _finished(run: _Run, blank: RunRecord) -> RunRecord:
    with Evaluator(run.cell.task, lambda: make_environment(run.cell.task)) as run.evaluator:
        try:
            with one_thread():
                agent = run.build()
            with one_thread():  # once more: a class may have imported torch only now
                agent = run.train(agent)
                return run.record(agent, blank)
        finally:
            if run.env is not None:
                run.env.close()


@contextmanager
def _ticking(run: _Run, seconds: float | None) -> Iterator[None]:
    """Tells progress from a thread: it only reads the count of steps, and changes nothing."""
    if seconds is None or run.progress is None:
        yield
        return
    done, tell = threading.Event(), run.progress

    def tick() -> None:
        told = 0
        with contextlib.suppress(OSError):  # nobody listens any more
            while not done.wait(seconds):
                if run.log.steps > told:
                    told = run.log.steps
                    tell(told, run.cell.total_timesteps)

    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@dataclass
class _Run:
    """A cell while it is being run."""

    cell: Cell
    device: str
    progress: Progress | None
    checkpoints: CheckpointPlan | None = None
    shelf: Shelf | None = None
    watch: Watch | None = None
    evaluator: Evaluator = field(init=False)
    env: Any = None
    spec: AgentSpec | None = None
    log: TrainingLog = field(default_factory=TrainingLog)
    curve: list[CurvePoint] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    train_seconds: float = 0.0
    eval_seconds: float = 0.0
    resumed_at: float = 0.0  # when the running stretch of training began

    def __post_init__(self) -> None:
        if self.learns_by_regret:  # steps beyond the budget neither cost nor win anything
            self.log.regret_steps = self.cell.total_timesteps

    @property
    def learns_by_regret(self) -> bool:
        """Whether the task is scored by the regret of learning, so that nothing is evaluated."""
        return self.cell.task.metric == "learning_regret"

    @property
    def points(self) -> list[int]:
        """Steps after which the policy is evaluated, before the end."""
        if self.learns_by_regret:
            return []
        n, budget = self.cell.eval_points, self.cell.total_timesteps
        points = {budget * k // n for k in range(1, n)}
        return sorted(point for point in points if 0 < point < budget)

    def build(self) -> Any:
        """The agent in its view of the training environment."""
        choice, seed = self.cell.choice, self.cell.seed
        if not isinstance(choice.agent, str):
            self.env = self._view(0, model=False)
            return choice.agent(self.env, seed=seed, **choice.settings)
        self.spec = spec = registry.agent_spec(choice.agent)
        agent_type = spec.load()
        config = make_config(spec, agent_type, choice.settings)
        reveal = "model" in spec.requires
        self.env = train_env(spec, config, lambda k: self._view(k, model=reveal))
        return build_agent(spec, agent_type, config, self.env, seed=seed, device=self.device)

    def _view(self, member: int, *, model: bool) -> gym.Env[Any, Any]:
        seed = integer_seed(self.cell.seed, Stream.ENVIRONMENT, member)
        env = EpisodeRecorder(make_environment(self.cell.task), self.log, seed)
        env.action_space.seed(seed)
        env.observation_space.seed(seed)
        return AgentView(env, model=model)

    def train(self, agent: Any) -> Any:
        """Takes the steps of the budget, with evaluations on the way; returns the trained agent."""
        budget = self.cell.total_timesteps
        if not self._learns(agent):
            budget = 0
            if self.learns_by_regret:
                self._timed(partial(self._act_only, agent))
        elif self.spec is not None and "split_learn" in self.spec.promises:
            agent = self._train_in_parts(agent, budget)
        elif budget:
            self._train_in_one(agent, budget)
        self.notes += [str(note) for note in getattr(agent, "notes", ())]
        self.notes += [] if self.watch is None else [alarm.note for alarm in self.watch.alarms]
        if self.cell.deterministic != self.cell.task.deterministic:
            mode = "greedy" if self.cell.deterministic else "sampled"
            self.notes.append(f"the {mode} policy was scored")
        if budget and self.log.steps != budget:
            self.notes.append(budget_note(self.log.steps, budget))
        return agent

    def _train_in_parts(self, agent: Any, budget: int) -> Any:
        saver = self._saver()
        done = 0
        if saver is not None:
            agent, done = saver.resumed(agent)
        for number, point in enumerate([*self.points, budget]):
            if point > done:
                if saver is None:
                    self._learn(agent, point - done)
                else:
                    saver.train(agent, done, point, self._learn)
                done = point
            if point < budget and number >= len(self.curve):  # not evaluated before it was stopped
                self._evaluate_point(agent)
        return agent

    def _learn(self, agent: Any, budget: int) -> None:
        """A stretch of training, on the clock; sweeps and examples are counted by the agent."""
        with nullcontext() if self.watch is None else self.watch.attached(agent, self.env):
            self._timed(partial(agent.learn, budget))
        if self.spec is not None and self.spec.counts_itself:
            self.log.steps = agent.num_timesteps

    def _saver(self) -> Saver | None:
        """What saves this training, if it is to be saved and the agent promises that it can be."""
        resumable = self.spec is not None and "resume" in self.spec.promises
        if self.checkpoints is None or not resumable:
            return None
        return Saver(self.checkpoints, self)

    def _train_in_one(self, agent: Any, budget: int) -> None:
        """One call of `learn`, interrupted by evaluations from inside the recorder."""
        pending = self.points

        def on_step(steps: int) -> None:
            if pending and steps >= pending[0]:
                while pending and steps >= pending[0]:
                    pending.pop(0)
                self._stop_clock()
                self._evaluate_point(agent)
                self.resumed_at = time.perf_counter()

        self.log.on_step = on_step
        try:
            self._learn(agent, budget)
        finally:
            self.log.on_step = None

    def _learns(self, agent: Any) -> bool:
        """Whether there is something to train."""
        if not callable(getattr(agent, "learn", None)):
            self.notes.append("only predict(): nothing was trained")
            return False
        return self.spec is None or self.spec.budget_unit != "none"

    def _act_only(self, policy: Any) -> None:
        """Plays a policy that does not learn for the whole budget, so that its regret is known."""
        env = self.env
        seat = Seat(env)
        driver = driver_for(policy, env, self.cell.deterministic)
        with global_streams():
            index = -1
            fresh = True
            for _ in range(self.cell.total_timesteps):
                if fresh:
                    index += 1
                    seat.start(index, self.cell.seed)
                    driver.start(seat, self.cell.seed)
                (action,) = driver.actions([seat])
                fresh = seat.step(action, MAX_STEPS) is not None

    def _timed(self, work: Callable[[], Any]) -> None:
        self.resumed_at = time.perf_counter()
        work()
        self._stop_clock()

    def _stop_clock(self) -> None:
        self.train_seconds += time.perf_counter() - self.resumed_at

    def _evaluate(self, agent: Any, episodes: int) -> Evaluation:
        start = time.perf_counter()
        cell = self.cell
        evaluation = self.evaluator(
            agent, episodes=episodes, seed=cell.seed, deterministic=cell.deterministic
        )
        self.eval_seconds += time.perf_counter() - start
        return evaluation

    def _evaluate_point(self, agent: Any) -> None:
        evaluation = self._evaluate(agent, self.cell.eval_episodes)
        number = len(self.curve)
        if self._add_point(evaluation):
            self._keep(agent, evaluation, str(number))
        if self.progress is not None:
            self.progress(self.log.steps, self.cell.total_timesteps)

    def _add_point(self, evaluation: Evaluation) -> bool:
        """Adds a point to the curve; False where the evaluation is none."""
        point = curve_point(evaluation, self.log.steps, self.train_seconds)
        self.curve += [] if point is None else [point]
        return point is not None

    def _keep(self, agent: Any, evaluation: Evaluation, name: str) -> None:
        """Keeps the policy if more episodes of it could be played; the last one also to show it."""
        playable = evaluation.invariant and (evaluation.method == "sampled" or name == FINAL)
        if self.shelf is not None and self.spec is not None and playable:
            self.shelf = self.shelf if self.shelf.keep(agent, name) else None

    def record(self, agent: Any, blank: RunRecord) -> RunRecord:
        """The record of the cell, after the final evaluation."""
        if self.learns_by_regret:
            return self._with_learning(blank)
        final = self._evaluate(agent, self.cell.final_episodes)
        self._add_point(final)
        self._keep(agent, final, FINAL)
        return self._with_training(scored(blank, final), final.notes)

    def _with_learning(self, blank: RunRecord) -> RunRecord:
        """Scores the regret summed over the budget, against uniform play over as many steps.

        Doing less costs less: a run that took fewer steps than its budget is a failed one.
        """
        steps, budget = self.log.steps, self.cell.total_timesteps
        if steps < budget or not budget:
            error = f"{budget_note(steps, budget)}: its regret is not comparable"
            return replace(self._with_training(blank, ()), state="failed", error=error)
        if steps > budget:
            self.notes.append(f"its regret is counted over the first {budget:,} steps")
        if self.log.regret is None:
            raise SettingError(
                f"the task {self.cell.task.id!r} is scored by the regret of learning, but its "
                "environment puts no 'regret' into info."
            )
        key = self.evaluator.key(self.cell.seed)
        regret = self.log.regret
        scored = replace(blank, regret=regret, method="sampled")
        horizon = _horizon(key, self.evaluator.env)
        if key.oracle is None or not key.scores or not horizon:
            return self._with_training(scored, (key.why_not,))
        # an adversary's regret is measured against one arm, which earns less than a clairvoyant
        measure = getattr(key.oracle, "measure_return", key.oracle.optimal_return)
        optimal, baseline = float(measure), float(key.oracle.baseline_return)
        per_episode = regret * horizon / budget
        scored = replace(
            scored,
            mean_return=optimal - per_episode,
            score=normalised(optimal - per_episode, baseline, optimal),
            optimal_return=optimal,
            baseline_return=baseline,
        )
        return self._with_training(scored, (key.why_not,))

    def _with_training(self, scored: RunRecord, notes: tuple[str, ...]) -> RunRecord:
        return replace(
            scored,
            steps_used=self.log.steps,
            notes=tuple(note for note in [*self.notes, *notes] if note),
            curve=tuple(self.curve),
            training=self.log.curve(),
            updates=None if self.watch is None else self.watch.curve,
            train_seconds=self.train_seconds,
            eval_seconds=self.eval_seconds,
        )


def _horizon(key: AnswerKey, env: Any) -> int | None:
    """Steps of an episode of fixed length: the oracle's, else the time limit's."""
    horizon = getattr(key.oracle, "horizon", None)
    return time_limit(env) if horizon is None else int(horizon)
