"""What a benchmark leaves behind: frozen values that the store keeps bit for bit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from registry.bandit_runs import BanditBlock

__all__ = [
    "IDENTITY_VERSION",
    "ONLY_EVALUATED",
    "REWARD",
    "SCHEMA_VERSION",
    "STUDY",
    "CurvePoint",
    "EpisodeRecord",
    "RunKey",
    "RunRecord",
    "State",
    "TrainingCurve",
    "UpdateCurve",
    "canonical_json",
]

IDENTITY_VERSION = 1
"""Version of what a key is made of: raising it makes every stored cell another one."""

REWARD = "expected_reward"
"""The metric that holds the plain reward of a task that is scored by a KL-regularised objective."""

STUDY = "study"
"""The metric of a block of runs of a study: its record has a `block`, and is on no leaderboard."""

SCHEMA_VERSION = 3
"""Version of the store. A newer store is refused, an older one migrated."""

ONLY_EVALUATED = frozenset({"episodes", "final_episodes"})
"""Parts of `identity["evaluation"]` that no training depends on: with the policies that it left,
another number of episodes is only played."""

State = Literal["ok", "failed", "timeout", "oom", "killed", "skipped"]
"""How a cell ended; everything but `ok` has no figures and counts as a run that failed.

`failed`: its code raised, crashed or left the process. `timeout`, `oom`: it was stopped at its
limit of time or memory. `killed`: somebody else ended its process, every time it was tried.
`skipped`: a library that its environment needs is not installed.
"""


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and one spelling for each value: 1.0 reads 1, NaN is refused."""
    return json.dumps(_plain(value), sort_keys=True, allow_nan=False, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


@dataclass(frozen=True, kw_only=True, slots=True)
class RunKey:
    """What can change a result, and nothing else; `digest` is the SHA-256 of its canonical JSON."""

    identity: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """64 hexadecimal digits."""
        return _digest(self.identity)

    @property
    def training(self) -> str:
        """The same of the training alone: all but how many episodes are played to evaluate it.

        The points of evaluation belong to it, because agents are stopped there, and so does the
        mode of play, which a training scored by its regret depends on.
        """
        protocol = self.identity.get("evaluation", {})
        kept = {name: value for name, value in protocol.items() if name not in ONLY_EVALUATED}
        return _digest({**self.identity, "evaluation": kept})


def _digest(identity: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(identity).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class EpisodeRecord:
    """One finished episode of an evaluation. `capped`: the evaluator's own step cap ended it."""

    index: int
    seed: int
    episode_return: float
    length: int
    terminated: bool
    truncated: bool
    capped: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class CurvePoint:
    """The policy after `step` environment steps. Interval over episodes; None where it is exact."""

    step: int
    mean_return: float
    low: float | None = None
    high: float | None = None
    score: float | None = None
    regret: float | None = None
    method: Literal["exact", "sampled"] = "sampled"
    train_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TrainingCurve:
    """All episodes of a training run in at most 2,000 windows; arrays of shape [W].

    `step`: environment step at the window's end. `mean`, `minimum`, `maximum`: of the episode
    returns in the window. `length`: their mean length. `regret`: cumulative pseudo-regret up to
    `step`, NaN where the environment tells none. `episodes`: how many in the window; an unfinished
    last episode is not counted.
    """

    step: NDArray[np.int64]
    mean: NDArray[np.float64]
    minimum: NDArray[np.float64]
    maximum: NDArray[np.float64]
    length: NDArray[np.float64]
    regret: NDArray[np.float64]
    episodes: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class UpdateCurve:
    """What the updates of a training run told, in at most 200 windows; arrays of shape [W].

    `step`: environment step of a window's last update. `updates`: how many are in it. `values`: the
    mean of each metric over them, NaN where no update told it; float32.
    """

    step: NDArray[np.int64]
    updates: NDArray[np.int64]
    values: Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    """One finished cell of a benchmark: (task, agent, settings, seed), trained and scored.

    `mean_return`, `score` and `regret` are the headline figures by the task's `metric`. For
    `final_return` and `objective` they describe the final policy; for `learning_regret` `regret` is
    the pseudo-regret summed while learning, `mean_return` what it is measured against (J*, or what
    the best fixed arm earns from an adversary) less the regret, and `score` the share of uniform
    play's regret that was avoided. `low`, `high` bound `mean_return` over the episodes of the
    evaluation. For `objective` `mean_return` is None where episodes were played: they show the
    reward alone, which is the metric `expected_reward`.
    A record of the metric `study` is a whole `block` of runs: its `regret` is their mean.
    All are None for a cell whose state is not `ok`; its `error` then holds the tail of its log.
    """

    key: RunKey
    task: str
    env_id: str
    family: str
    metric: str
    agent: str
    agent_id: str
    settings: Mapping[str, Any]
    seed: int
    total_timesteps: int
    state: State
    steps_used: int = 0
    mean_return: float | None = None
    low: float | None = None
    high: float | None = None
    score: float | None = None
    regret: float | None = None
    optimal_return: float | None = None
    baseline_return: float | None = None
    method: Literal["exact", "sampled"] = "sampled"
    metrics: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    curve: tuple[CurvePoint, ...] = ()
    training: TrainingCurve | None = None
    updates: UpdateCurve | None = None
    episodes: tuple[EpisodeRecord, ...] = ()
    block: BanditBlock | None = None
    error: str = ""
    train_seconds: float = 0.0
    eval_seconds: float = 0.0
    started_at: str = ""
    fingerprint: Mapping[str, Any] = field(default_factory=dict)

    @property
    def imported(self) -> str:
        """Where it comes from, if it was not computed here; else empty."""
        return str(self.key.identity.get("imported", ""))
