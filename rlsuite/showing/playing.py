"""Plays an environment to be looked at: by a person or an agent, on screen or on film."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from registry.errors import SettingError
from registry.seeding import Stream, integer_seed
from registry.specs import TaskSpec
from rlsuite.checkpoint_owner import agent_of
from rlsuite.episodes import Seat, driver_for
from rlsuite.isolation import global_streams, one_thread
from rlsuite.making import make_environment
from rlsuite.running.cells import GLOBAL_STREAMS
from rlsuite.sessions import load_policy, make_learner, task_with
from rlsuite.showing.film import Film, refuse_film
from rlsuite.showing.scoreboard import PlayedEpisode, Scoreboard
from rlsuite.showing.window import Window, key_help, keys_of
from rlsuite.training import TrainingLog

__all__ = ["PlayResult", "play", "policy_for", "with_picture"]

MAX_STEPS = 10_000
"""An episode that is only watched ends here."""

FPS = 10.0
"""Where the environment does not say how fast it is shown."""

LAST_FRAME = 1.5
NEW_EPISODE = ord("r")


@dataclass(frozen=True, kw_only=True, slots=True)
class PlayResult:
    """What was played.

    `episodes`: those that came to their end. `optimal_return`: None without an answer key.
    `regret`: over all steps, None where the environment tells none.
    """

    episodes: tuple[PlayedEpisode, ...]
    optimal_return: float | None
    regret: float | None
    frames: int


def play(
    environment: str,
    *,
    agent: str | None = None,
    checkpoint: Path | None = None,
    episodes: int | None = None,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    env_settings: Mapping[str, Any] | None = None,
    learn: bool | None = None,
    steps: int | None = None,
    deterministic: bool | None = None,
    films: tuple[Path, ...] = (),
    fps: float | None = None,
    device: str = "cpu",
) -> PlayResult:
    """Shows an environment while somebody plays it.

    Without agent and checkpoint a person plays in a window, until it is closed or `episodes` are
    over. An agent is watched in a window, or, where films are named, filmed without any screen; one
    without a checkpoint is trained first, or, with `learn`, watched while it learns.

    Args:
        environment: Id of an environment or a task.
        agent: Id of an agent; the checkpoint's own where only that is given.
        checkpoint: What `rlsuite train --save` wrote.
        episodes: How many, at least 1; None: one of an agent, any number of a person's.
        seed: Root of all random draws. Episode k is the one that `evaluate` plays as its k-th.
        settings: Settings of an agent that is made anew.
        env_settings: Keywords of the environment.
        learn: Whether to watch the learning itself; None: for tasks scored by the regret of
            learning.
        steps: Steps of the training; None: those of the task.
        deterministic: Whether a watched agent is greedy; None: as the task says.
        films: Where to write `.gif` and `.mp4`.
        fps: Frames of a second; None: as the environment says.
        device: Where networks run.

    Raises:
        RlsuiteError: whatever is refused, such as an environment without a picture.
        DependencyNotInstalled: an MP4 without the extra `video`, a window without pygame.
    """
    for path in films:
        refuse_film(path)
    task = with_picture(task_with(environment, env_settings or {}))
    fps = _speed(task, fps)
    film = Film(fps) if films else None
    person = agent is None and checkpoint is None
    window = Window(task.id, fps) if person or film is None else None
    stage = _Stage(task, window, film)
    try:
        if person:
            _refuse(settings=settings, learn=learn, steps=steps, deterministic=deterministic)
            board = _play_yourself(stage, episodes, seed)
        elif _learns(task, learn, checkpoint):
            assert agent is not None
            _refuse(episodes=episodes, deterministic=deterministic)
            board = _watch_learning(stage, agent, settings or {}, steps, seed, device)
        else:
            policy = policy_for(
                agent, checkpoint, task, settings or {}, steps=steps, seed=seed, device=device
            )
            board = _watch(stage, policy, episodes or 1, seed, deterministic)
    finally:
        if window is not None:
            window.close()
    for path in films:
        assert film is not None
        film.write(path)
    return PlayResult(
        episodes=tuple(board.finished),
        optimal_return=board.optimal,
        regret=board.regret,
        frames=stage.frames,
    )


def policy_for(
    agent: str | None,
    checkpoint: Path | None,
    task: TaskSpec,
    settings: Mapping[str, Any],
    *,
    steps: int | None,
    seed: int,
    device: str = "cpu",
) -> Any:
    """The agent of a checkpoint, or one that is trained now, for as long as the task says.

    Raises:
        RlsuiteError: whatever is refused, such as training steps for a checkpoint.
    """
    if checkpoint is not None:
        _refuse(steps=steps)
        name = agent_of(checkpoint) if agent is None else agent
        return load_policy(name, checkpoint, task, settings, device=device)
    assert agent is not None
    unseen = dataclasses.replace(
        task, env_kwargs={k: v for k, v in task.env_kwargs.items() if k != "render_mode"}
    )
    total = task.total_timesteps if steps is None else steps
    with global_streams(integer_seed(seed, Stream.AGENT, GLOBAL_STREAMS)):
        learner = make_learner(agent, unseen, settings, TrainingLog(), seed=seed, device=device)
        with one_thread():
            learner.learn(total)
    return learner


class _Stage:
    """The environment of a task between the one who plays and those who look on."""

    def __init__(self, task: TaskSpec, window: Window | None, film: Film | None) -> None:
        self.task, self.window, self.film = task, window, film
        self.frames = 0

    def board(
        self, env: gym.Env[Any, Any] | None = None, *, help: str = "", pause: bool = True
    ) -> Scoreboard:
        """The environment with its score; with `pause`, a frame lasts as long as it is meant to."""

        def audience(frame: NDArray[np.uint8], ends: bool) -> None:
            self.frames += 1
            if self.film is not None:
                self.film.add(frame, ends)
            if self.window is not None:
                self.window.show(frame)
                if pause:
                    self.window.rest(LAST_FRAME if ends else 0.0)

        env = make_environment(self.task) if env is None else env
        objective = self.task.metric == "objective"
        return Scoreboard(env, audience, objective=objective, help=help)

    @property
    def closed(self) -> bool:
        """Whether nobody looks on any more."""
        return self.window is not None and self.window.closed


def _play_yourself(stage: _Stage, episodes: int | None, seed: int) -> Scoreboard:
    env = make_environment(stage.task)
    keys = keys_of(env)
    help = f"{key_help(keys)}   R new episode   Esc ends"
    with closing(stage.board(env, help=help, pause=False)) as board:
        k = 0
        while not stage.closed and (episodes is None or len(board.finished) < episodes):
            board.reset(seed=integer_seed(seed, Stream.EVALUATION, k))
            _play_episode(stage, board, keys)
            k += 1
        return board


def _play_episode(stage: _Stage, board: Scoreboard, keys: Mapping[int, Any]) -> None:
    """One episode; at its end any key goes on to the next."""
    over = False
    while True:
        assert stage.window is not None
        key = stage.window.key()
        if key is None or over or (key == NEW_EPISODE and key not in keys):
            return
        if key in keys:
            *_, terminated, truncated, _ = board.step(keys[key])
            over = terminated or truncated


def _watch(
    stage: _Stage, policy: Any, episodes: int, seed: int, deterministic: bool | None
) -> Scoreboard:
    greedy = stage.task.deterministic if deterministic is None else deterministic
    with closing(stage.board()) as board, global_streams():
        driver = driver_for(policy, board, greedy)
        seat = Seat(board)
        for k in range(episodes):
            if stage.closed:
                break
            seat.start(k, seed)
            driver.start(seat, seed)
            record = None
            while record is None and not stage.closed:
                record = seat.step(driver.actions([seat])[0], MAX_STEPS)
        return board


def _watch_learning(
    stage: _Stage,
    agent: str,
    settings: Mapping[str, Any],
    steps: int | None,
    seed: int,
    device: str,
) -> Scoreboard:
    boards: list[Scoreboard] = []

    def staged(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
        boards.append(stage.board(env))
        return boards[0]

    total = stage.task.total_timesteps if steps is None else steps
    with global_streams(integer_seed(seed, Stream.AGENT, GLOBAL_STREAMS)):
        learner = make_learner(
            agent, stage.task, settings, TrainingLog(), seed=seed, device=device, stage=staged
        )
        with one_thread():
            learner.learn(total, lambda _: not stage.closed)
    boards[0].close()
    return boards[0]


def _learns(task: TaskSpec, learn: bool | None, checkpoint: Path | None) -> bool:
    if checkpoint is not None:
        if learn:
            raise SettingError(
                "a checkpoint holds what was learned: watch it, or name an agent alone to watch it "
                "learn."
            )
        return False
    return task.metric == "learning_regret" if learn is None else learn


def _refuse(**given: Any) -> None:
    """Nothing is accepted and ignored."""
    for name, value in given.items():
        if value is not None and value != {}:
            raise SettingError(
                f"{name} means nothing here: steps and settings are for an agent that is trained, "
                "episodes and greedy or sampled play for one that is not learning, and all of them "
                "but episodes for an agent instead of a person."
            )


def with_picture(task: TaskSpec) -> TaskSpec:
    """The task with `render_mode="rgb_array"`; refused where the environment has no picture."""
    with closing(make_environment(task)) as env:
        modes = env.metadata.get("render_modes") or []
    if "rgb_array" not in modes:
        raise SettingError(
            f"{task.id!r} has no picture: its render modes are {list(modes)}, and 'rgb_array' is "
            "what is needed."
        )
    return dataclasses.replace(task, env_kwargs={**task.env_kwargs, "render_mode": "rgb_array"})


def _speed(task: TaskSpec, fps: float | None) -> float:
    if fps is not None and not 0 < fps <= 1000:
        raise SettingError(f"fps must be above 0 and at most 1000, got {fps!r}.")
    if fps is not None:
        return float(fps)
    with closing(make_environment(task)) as env:
        return float(env.metadata.get("render_fps") or FPS)
