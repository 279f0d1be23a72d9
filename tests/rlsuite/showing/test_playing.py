"""Playing: a person by posted keys, agents without any screen."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from PIL import Image

import rlsuite
from registry.errors import CheckpointError, SettingError
from rlsuite import episodes
from rlsuite.running.training_run import train_agent
from rlsuite.showing.playing import play

Q, GRID, BANDIT = "rlsuite/QLearning-v0", "rlsuite/GridWorld-v0", "rlsuite/BernoulliBandit-v0"
CORRIDOR = {"map": "S.G"}


@pytest.fixture
def keyboard(monkeypatch):
    """`keyboard(keys...)`: presses keys as soon as a window is open."""
    pygame = pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    threads: list[threading.Thread] = []

    def press(*codes: int) -> None:
        def run() -> None:
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                if pygame.display.get_init() and pygame.display.get_surface() is not None:
                    break
                time.sleep(0.005)
            for code in codes:
                pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=code))

        threads.append(threading.Thread(target=run))
        threads[-1].start()

    yield press
    for thread in threads:
        thread.join()


def test_a_person_walks_to_the_goal(keyboard):
    import pygame

    keyboard(pygame.K_UP, pygame.K_RIGHT, ord("d"), pygame.K_ESCAPE)
    result = play(GRID, env_settings=CORRIDOR)
    (episode,) = result.episodes
    assert (episode.length, episode.terminated) == (3, True)
    assert episode.episode_return == pytest.approx(0.98)
    assert result.optimal_return == pytest.approx(0.99)
    assert result.frames == 4


def test_any_key_goes_on_and_r_begins_anew(keyboard):
    import pygame

    right = pygame.K_RIGHT
    keyboard(right, ord("r"), ord("x"), right, right, ord("x"), right, right, ord("x"))
    result = play(GRID, episodes=2, env_settings=CORRIDOR)
    assert [episode.length for episode in result.episodes] == [2, 2]
    assert result.frames == 2 + 3 + 3


def test_what_a_person_plays_can_be_filmed(keyboard, tmp_path):
    import pygame

    out = tmp_path / "me.gif"
    keyboard(ord("4"), ord("0"), pygame.K_ESCAPE)
    result = play(BANDIT, films=(out,))
    assert result.regret == pytest.approx(0.8)
    with Image.open(out) as image:
        assert image.n_frames == 3


def test_a_person_writes_a_text(keyboard):
    import pygame

    keyboard(ord("b"), ord("d"), pygame.K_RETURN, pygame.K_ESCAPE)
    result = play("rlsuite/TokenGeneration-v0")
    (episode,) = result.episodes
    assert episode.length == 3


def test_an_agent_is_watched_in_a_window_until_it_is_closed(keyboard):
    import pygame

    keyboard(pygame.K_ESCAPE)
    result = play(GRID, agent=Q, steps=100, episodes=50, fps=20)
    assert len(result.episodes) < 50


def test_a_trained_agent_is_filmed_without_a_screen(tmp_path, monkeypatch):
    """The film shows the environment's own pictures of the greedy walk, goal at the end."""
    monkeypatch.setitem(__import__("sys").modules, "pygame", None)
    out = tmp_path / "q.gif"
    result = play(GRID, agent=Q, steps=2000, films=(out,), env_settings=CORRIDOR)
    assert [e.episode_return for e in result.episodes] == [pytest.approx(0.99)]
    env = gym.make(GRID, render_mode="rgb_array", **CORRIDOR)
    env.reset(seed=0)
    wanted = [env.render()]
    for action in (1, 1):
        env.step(action)
        wanted.append(env.render())
    with Image.open(out) as image:
        assert image.n_frames == 3
        for k, picture in enumerate(wanted):
            image.seek(k)
            shown = np.asarray(image.convert("RGB"))
            left = (shown.shape[1] - picture.shape[1]) // 2
            part = shown[: picture.shape[0], left : left + picture.shape[1]]
            assert np.abs(part.astype(int) - picture).mean() < 0.2  # soft edges share colours
            same = (part == picture).all(axis=-1).mean()
            assert same > 0.99


def test_watched_episodes_are_those_of_evaluate(tmp_path):
    agent = rlsuite.make_agent(Q, GRID, seed=0, epsilon=0.3)
    agent.learn(3000)
    path = tmp_path / "q.safetensors"
    agent.save(path)
    watched = play(
        GRID,
        checkpoint=path,
        episodes=4,
        seed=5,
        deterministic=False,
        films=(tmp_path / "a.gif",),
        env_settings={"slip": 0.2},
    )
    env = gym.make(GRID, slip=0.2)
    evaluated = episodes.play(
        episodes.driver_for(agent, env, False), iter([env]), episodes=range(4), seed=5, cap=1000
    )
    assert [e.episode_return for e in watched.episodes] == pytest.approx(
        [e.episode_return for e in evaluated]
    )


def test_a_bandit_agent_is_watched_while_it_learns(tmp_path):
    out = tmp_path / "b.gif"
    result = play(BANDIT, agent="rlsuite/UCB1-v0", steps=12, films=(out,))
    assert result.frames == 13
    assert result.regret > 0
    with Image.open(out) as image:
        assert image.n_frames >= 12


def test_learning_that_is_watched_is_the_same_learning(tmp_path):
    watched = play(BANDIT, agent="rlsuite/UCB1-v0", steps=40, films=(tmp_path / "b.gif",))
    trained = train_agent("rlsuite/UCB1-v0", BANDIT, steps=40)
    assert watched.regret == trained.regret


def test_learning_on_a_grid_can_be_watched_too(tmp_path):
    result = play(GRID, agent=Q, learn=True, steps=30, films=(tmp_path / "q.gif",))
    assert result.frames >= 31


def test_a_bandit_agent_that_learned_can_be_watched(tmp_path):
    result = play(
        BANDIT,
        agent="rlsuite/UCB1-v0",
        learn=False,
        steps=200,
        films=(tmp_path / "b.gif",),
        env_settings={"horizon": 6},
    )
    assert [episode.length for episode in result.episodes] == [6]


def saved(folder: Path) -> Path:
    rlsuite.make_agent(Q, GRID, seed=0).save(folder / "q.safetensors")
    return folder / "q.safetensors"


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"steps": 5}, SettingError, "steps means nothing here"),
        ({"deterministic": True}, SettingError, "deterministic means nothing here"),
        ({"learn": True}, SettingError, "learn means nothing here"),
        ({"settings": {"epsilon": 0.5}}, SettingError, "settings means nothing here"),
        ({"agent": Q, "learn": True, "episodes": 2}, SettingError, "episodes means nothing here"),
        ({"checkpoint": True, "learn": True}, SettingError, "a checkpoint holds what was learned"),
        ({"checkpoint": True, "steps": 5}, SettingError, "steps means nothing here"),
        ({"checkpoint": True, "settings": {"epsilon": 0.5}}, SettingError, "cannot be set"),
        ({"agent": Q, "fps": 0.0}, SettingError, "fps must be above 0"),
        ({"agent": Q, "env_settings": {"size": 4}, "checkpoint": True}, CheckpointError, "trained"),
    ],
)
def test_nothing_is_accepted_and_ignored(tmp_path, monkeypatch, given, error, said):
    pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    if "checkpoint" in given:
        given = {**given, "checkpoint": saved(tmp_path)}
    if "agent" in given or "checkpoint" in given:
        given = {**given, "films": (tmp_path / "a.gif",)}
    with pytest.raises(error, match=said):
        play(GRID, **given)


class Unseen(gym.Env):
    """No pictures at all."""

    observation_space = gym.spaces.Discrete(2)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return 0, {}


def test_an_environment_without_a_picture_is_refused(tmp_path):
    gym.register("tests/Unseen-v0", Unseen)
    try:
        with pytest.raises(SettingError, match=r"has no picture: its render modes are \[\]"):
            play("tests/Unseen-v0", agent=Q, films=(tmp_path / "a.gif",))
    finally:
        del gym.registry["tests/Unseen-v0"]
