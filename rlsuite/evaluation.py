"""How good is a policy? Exactly, where an answer key can tell; by played episodes elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Discrete

from registry.catalogue import registry
from registry.errors import CheckpointError, OracleError, SettingError
from registry.seeding import Stream, check_seed, integer_seed
from registry.specs import Metric, TaskSpec
from rlsuite.answer_key import AnswerKey, find_answer_key, layers, normalised, time_limit
from rlsuite.episodes import driver_for, play
from rlsuite.isolation import global_streams
from rlsuite.making import make_environment
from rlsuite.prediction import VALUE_ERROR, prediction_error
from rlsuite.records import EpisodeRecord

__all__ = ["Evaluation", "Evaluator", "evaluate"]

MAX_STEPS = 100_000
"""The evaluation's own cap on the length of an episode, for policies that loop for ever."""

UNIFORM = (
    "this policy draws every action alike, so its greedy form always takes the lowest one; "
    "deterministic=False (--sampled) scores it as it plays"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """What `evaluate` found. `print` shows it as a short block.

    `mean_return` is J, the expected undiscounted return of an episode (of a token task: the
    KL-regularised objective, where it is exact). `low`, `high`: a 95% interval (Student's t over
    episodes) of J; it describes this one policy, not the algorithm that made it. None where J is
    exact. `score` is (J - baseline) / (optimal - baseline), 1 for perfect play; `regret` is
    optimal - J. They are None without an answer key. `best_stationary_return`: the best return
    known of a policy that does not look at the clock, where the optimal one has to.
    `invariant`: the figures depend on neither order nor number of episodes played side by side.
    `metrics`: further figures, such as `expected_reward` and `kl` of a token task. `metric`: what
    the task is scored by.
    """

    task: str
    method: Literal["exact", "sampled"]
    episodes: tuple[EpisodeRecord, ...]
    mean_return: float
    low: float | None
    high: float | None
    score: float | None
    regret: float | None
    optimal_return: float | None
    baseline_return: float | None
    best_stationary_return: float | None
    deterministic: bool
    invariant: bool
    seed: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    metric: Metric = "final_return"

    def __str__(self) -> str:
        policy = "greedy" if self.deterministic else "sampled"
        how = (
            "exact (no episodes drawn)"
            if self.method == "exact"
            else f"sampled, {len(self.episodes)} episodes, seed {self.seed}"
        )
        rows = [("objective" if self._is_objective else "return", self._return_text())]
        if self.score is not None:
            ends = "" if self.metric == VALUE_ERROR else "  (1 is optimal, 0 is the baseline)"
            rows.append(("score", f"{self.score:.4f}{ends}"))
        if self.regret is not None:
            rows.append(("regret", f"{self.regret:.6g}"))
        if self.optimal_return is not None and self.baseline_return is not None:
            rows.append(("optimal", f"{self.optimal_return:.6g}{self._stationary_text()}"))
            rows.append(("baseline", f"{self.baseline_return:.6g}"))
        if self.metrics:
            figures = ", ".join(f"{name} {value:.6g}" for name, value in self.metrics.items())
            rows.append(("metrics", figures))
        rows += [("note", note) for note in self.notes]
        width = max(8, len(rows[0][0]))
        lines = [f"  {name:<{width}} {text}" for name, text in rows]
        return "\n".join([f"{self.task}: {how}, {policy} policy", *lines])

    @property
    def _is_objective(self) -> bool:
        return self.metric == "objective" and self.method == "exact"

    def _return_text(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.mean_return:.6g}"
        return f"{self.mean_return:.6g}  95% interval [{self.low:.6g}, {self.high:.6g}]"

    def _stationary_text(self) -> str:
        best = self.best_stationary_return
        return "" if best is None else f"  (best known without a clock: {best:.6g})"


def evaluate(
    policy: Any,
    env: str | gym.Env[Any, Any],
    *,
    episodes: int = 20,
    seed: int = 0,
    deterministic: bool | None = None,
    exact: bool = True,
    max_steps: int = MAX_STEPS,
) -> Evaluation:
    """Scores a policy in an environment of its own. Nothing is learned, nothing is disturbed.

    The result is exact, and no episode is drawn, where the environment has an exact answer key and
    the policy has `action_probabilities` or, if it looks at the clock, `clocked_probabilities`.
    Elsewhere exactly `episodes` episodes are started and all of them are finished; episode k has
    its own seed, drawn from `seed` and k alone, so that every policy meets the same episodes.

    Args:
        policy: Anything with `predict(observation, state=None, episode_start=None,
            deterministic=False)`, so agents of rlsuite, models of Stable-Baselines3, your own.
        env: Id of a task or environment, or an environment. The environment that the policy was
            trained in is never touched: another one is made from its spec.
        episodes: N, at least 1.
        seed: Root seed of the episodes, at least 0.
        deterministic: Greedy, or sampled from the policy; None takes the task's mode: greedy,
            except sampled for token and bandit tasks.
        exact: False plays episodes even where an exact answer is known.
        max_steps: An episode that has not ended after so many steps is cut off, and a note says so.

    Raises:
        SettingError: an argument outside its range, or an object that is no policy.
        UnknownIdError: no environment has this id.
        InvalidActionError: the policy answers with an action outside the action space.
        InvalidObservationError: an observation or a reward is NaN or infinite.
    """
    check_whole("episodes", episodes)
    check_whole("max_steps", max_steps)
    check_seed(seed)
    with Evaluator.of(env, policy) as evaluator:
        return evaluator(
            policy,
            episodes=episodes,
            seed=seed,
            deterministic=deterministic,
            exact=exact,
            max_steps=max_steps,
        )


def check_whole(name: str, value: Any, low: int = 1) -> int:
    """The value as an int; raises `SettingError` unless it is a whole number of at least `low`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < low:
        raise SettingError(f"{name} must be a whole number of at least {low}, got {value!r}.")
    return int(value)


class Evaluator:
    """The environments of an evaluation, kept for the next one; a context manager.

    `make` makes one more environment, or is None where there is only the `first` one, which then
    belongs to somebody else and is not closed.
    """

    def __init__(
        self,
        task: TaskSpec,
        make: Callable[[], gym.Env[Any, Any]] | None,
        first: gym.Env[Any, Any] | None = None,
    ) -> None:
        self.task = task
        self._make = make
        self._envs: list[gym.Env[Any, Any]] = [] if first is None else [first]
        self._key: AnswerKey | None = None

    @classmethod
    def of(cls, env: str | gym.Env[Any, Any], policy: Any = None) -> Evaluator:
        """For an id, or for an environment that somebody holds."""
        if isinstance(env, str):
            task = registry.task_spec(env)
            return cls(task, lambda: make_environment(task))
        if not isinstance(env, gym.Env):
            raise SettingError(
                f"env is the id of an environment, or a single one made by gymnasium.make; got "
                f"{type(env).__name__}."
            )
        spec = env.spec
        if spec is None:
            name = type(layers(env)[-1]).__name__
            task = TaskSpec(id=name, env_id=name)
        else:
            task = registry.task_spec(spec.id)
        if id(layers(env)[-1]) not in _environments_of(policy):
            return cls(task, None, env)
        return cls(task, _copier(env))

    def __enter__(self) -> Evaluator:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._make is not None:
            for env in self._envs:
                env.close()
        self._envs = []

    @property
    def env(self) -> gym.Env[Any, Any]:
        """The first environment."""
        return next(self._environments())

    def key(self, seed: int = 0) -> AnswerKey:
        """The answer key, looked up once, after a reset with the first episode's seed."""
        if self._key is None:
            self.env.reset(seed=integer_seed(seed, Stream.EVALUATION, 0))
            self._key = find_answer_key(self.env)
        return self._key

    def __call__(
        self,
        policy: Any,
        *,
        episodes: int,
        seed: int,
        deterministic: bool | None = None,
        exact: bool = True,
        max_steps: int = MAX_STEPS,
        played: Sequence[EpisodeRecord] = (),
    ) -> Evaluation:
        """One evaluation; see `evaluate`. The global generators end as they were found.

        `played` are episodes of this policy with this seed, as an earlier evaluation left them:
        only those that are missing are played, and one of the others, as a proof.

        Raises:
            CheckpointError: the proof fails: another policy has played them.
        """
        greedy = self.task.deterministic if deterministic is None else bool(deterministic)
        with global_streams():
            key = self.key(seed)
            if self.task.metric == VALUE_ERROR:
                return self._prediction(policy, key, seed)
            driver = driver_for(policy, self.env, greedy)
            exactly, why_not = None, key.why_not
            stated = _statement(policy, self.env)
            if exact and key.exact and stated is not None:
                exactly = self._exactly(stated, key, greedy, seed)
                why_not = "sampled: without a time limit the exact return is infinite or undefined"
            if exactly is not None:
                return exactly
            todo = _unplayed(played, episodes, driver.invariant)
            fresh = play(driver, self._environments(), episodes=todo, seed=seed, cap=max_steps)
            records = _merged(played, fresh, episodes)
            figures, estimated = self._text_figures(policy, greedy, episodes, seed)
        notes = [driver.note, why_not, _capped_note(records, max_steps), estimated]
        return self._sampled(records, key, greedy, driver.invariant, seed, notes, figures)

    def _text_figures(
        self, policy: Any, greedy: bool, texts: int, seed: int
    ) -> tuple[Mapping[str, float], str]:
        if self.task.metric != "objective":
            return {}, ""
        from rlsuite.text_figures import text_figures

        return text_figures(policy, self.env, greedy=greedy, texts=texts, seed=seed)

    def _environments(self) -> Iterator[gym.Env[Any, Any]]:
        """The environments that there are, then new ones."""
        yield from tuple(self._envs)
        while self._make is not None:
            self._envs.append(self._make())
            yield self._envs[-1]

    def _exactly(
        self, stated: Callable[..., Any], key: AnswerKey, greedy: bool, seed: int
    ) -> Evaluation | None:
        """The exact evaluation of the stated probabilities; None where play never ends."""
        oracle = key.oracle
        assert oracle is not None
        observations = oracle.observations()
        mask = observations.get("action_mask") if isinstance(observations, Mapping) else None
        keywords = {} if mask is None else {"mask": mask}
        pi = stated(observations, deterministic=greedy, **keywords)
        try:
            value = float(oracle.policy_return(pi))
        except OracleError:
            if time_limit(self.env) is not None:
                raise
            return None
        if not math.isfinite(value):
            return None
        uniform = greedy and _is_uniform(stated(observations, deterministic=False, **keywords))
        return Evaluation(
            task=self.task.id,
            metric=self.task.metric,
            method="exact",
            episodes=(),
            mean_return=value,
            low=None,
            high=None,
            score=key.score(value),
            regret=float(oracle.optimal_return) - value,
            optimal_return=float(oracle.optimal_return),
            baseline_return=float(oracle.baseline_return),
            best_stationary_return=_optional(oracle.best_stationary_return),
            deterministic=greedy,
            invariant=True,
            seed=seed,
            metrics={name: float(v) for name, v in oracle.policy_metrics(pi).items()},
            notes=(UNIFORM,) if uniform else (),
        )

    def _prediction(self, agent: Any, key: AnswerKey, seed: int) -> Evaluation:
        """The error of the values that an agent predicts; see `prediction_error`."""
        error, score, value = prediction_error(agent, self.env, key)
        return Evaluation(
            task=self.task.id,
            metric=self.task.metric,
            method="exact",
            episodes=(),
            mean_return=value,
            low=None,
            high=None,
            score=score,
            regret=None,
            optimal_return=None,
            baseline_return=None,
            best_stationary_return=None,
            deterministic=False,
            invariant=True,
            seed=seed,
            metrics={VALUE_ERROR: error},
            notes=("score 1 is exact values, 0 is predicting 0 everywhere",),
        )

    def _sampled(
        self,
        records: tuple[EpisodeRecord, ...],
        key: AnswerKey,
        greedy: bool,
        invariant: bool,
        seed: int,
        notes: list[str],
        figures: Mapping[str, float],
    ) -> Evaluation:
        from rlsuite.statistics import student_t_interval

        interval = student_t_interval([record.episode_return for record in records])
        mean = interval.estimate
        known = key.oracle if key.scores else None
        score = key.score(mean)
        if known is not None and self.task.metric == "objective":
            known, score = None, None
            notes.append("no score: played episodes show the reward alone, not its KL term")
        elif key.oracle is None:
            score, note = _published_score(self.task, mean)
            notes.append(note)
        return Evaluation(
            task=self.task.id,
            metric=self.task.metric,
            method="sampled",
            episodes=records,
            mean_return=mean,
            low=interval.low,
            high=interval.high,
            score=score,
            regret=None if known is None else float(known.optimal_return) - mean,
            optimal_return=None if known is None else float(known.optimal_return),
            baseline_return=None if known is None else float(known.baseline_return),
            best_stationary_return=(
                None if known is None else _optional(known.best_stationary_return)
            ),
            deterministic=greedy,
            invariant=invariant,
            seed=seed,
            metrics={
                "mean_length": float(np.mean([record.length for record in records])),
                **figures,  # of other texts, all of them of the same
            },
            notes=tuple(note for note in [*notes, _spread_note(records)] if note),
        )


def _unplayed(played: Sequence[EpisodeRecord], episodes: int, invariant: bool) -> list[int]:
    """Numbers of the episodes to be played: the missing ones, and the last known one as a proof.

    All of them where an episode may depend on those that were played before it.
    """
    known = [record.index for record in played if record.index < episodes]
    if not invariant or not known:
        return list(range(episodes))
    return sorted({max(known), *(set(range(episodes)) - set(known))})


def _merged(
    played: Sequence[EpisodeRecord], fresh: Sequence[EpisodeRecord], episodes: int
) -> tuple[EpisodeRecord, ...]:
    """The first `episodes` of both; raises `CheckpointError` where they contradict each other."""
    found = {record.index: record for record in played}
    for record in fresh:
        if found.setdefault(record.index, record) != record:
            raise CheckpointError(
                f"episode {record.index} came out otherwise than before, so this is not the policy "
                "that played it."
            )
    return tuple(found[index] for index in range(episodes))


def _statement(policy: Any, env: gym.Env[Any, Any]) -> Callable[..., Any] | None:
    """How a policy states its probabilities, [S, A] or with the clock [H, S, A]; None if not."""
    if not isinstance(env.action_space, Discrete):
        return None
    stated = getattr(policy, "action_probabilities", None)
    if callable(stated):
        return stated
    clocked, horizon = getattr(policy, "clocked_probabilities", None), time_limit(env)
    if callable(clocked) and horizon is not None:
        return partial(clocked, horizon=horizon)
    return None


def _is_uniform(pi: Any) -> bool:
    """Whether every row gives all of its actions the same probability."""
    pi = np.asarray(pi)
    return bool(np.all(pi == pi[..., :1]))


def _published_score(task: TaskSpec, mean: float) -> tuple[float | None, str]:
    """The score against the figures that the task itself names, and a note that says so."""
    if task.baseline_score is None or task.reference_score is None:
        return None, ""
    score = normalised(mean, task.baseline_score, task.reference_score)
    source = f" ({task.source})" if task.source else ""
    return score, (
        f"score 1 is the return {task.reference_score:g}, 0 is {task.baseline_score:g}{source}"
    )


def _capped_note(records: tuple[EpisodeRecord, ...], cap: int) -> str:
    capped = sum(record.capped for record in records)
    if not capped:
        return ""
    return f"{capped} of {len(records)} episodes were cut off after max_steps={cap} steps"


def _spread_note(records: tuple[EpisodeRecord, ...]) -> str:
    if len(records) == 1:
        return "no interval: one episode says nothing about the spread"
    equal = len({record.episode_return for record in records}) == 1
    return "all episodes returned the same, so the interval has no width" if equal else ""


def _optional(value: float | None) -> float | None:
    return None if value is None else float(value)


def _environments_of(policy: Any) -> set[int]:
    """Identities of the environments that a policy is learning in, whatever they are wrapped in."""
    found: set[int] = set()
    open_ends = [getattr(policy, "env", None)]
    while open_ends:
        env = open_ends.pop()
        if isinstance(env, gym.Env):
            found.add(id(layers(env)[-1]))
        elif env is not None:  # a vector environment of Gymnasium's or Stable-Baselines3's
            open_ends += list(getattr(env, "envs", ()))
            open_ends += [getattr(env, name, None) for name in ("venv", "env")]
    return found


def _copier(env: gym.Env[Any, Any]) -> Callable[[], gym.Env[Any, Any]]:
    """Makes further environments like this one, from its spec.

    Raises:
        SettingError: it has no spec, or one that cannot be made again.
    """
    spec = env.spec
    reason = "it was not made by gymnasium.make"
    if spec is not None:
        try:
            gym.make(spec).close()
            return lambda: gym.make(spec)
        except (ValueError, gym.error.Error) as error:
            reason = " ".join(str(error).split())
    raise SettingError(
        "this is the environment that the policy learns in, which an evaluation must not touch, "
        f"and another one cannot be made from it ({reason}). Pass a second environment, or an id."
    )
