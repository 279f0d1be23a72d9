"""The contract of pictures, over every id: each mode gives its kind; drawing changes nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import rlsuite  # noqa: F401  registers the ids
from registry.catalogue import registry

IDS = [e.id for e in registry.entries("env") if e.provenance.distribution == "rlsuite"]
MODES = ["human", "rgb_array", "ansi"]
SIDES = range(200, 640)  # pixels: legible on a slide, small in a repository
STRIPS = {"rlsuite/RandomWalk-v0", "rlsuite/LQR-v0"}  # worlds of one dimension are lower
LOW = range(140, 200)

every_id = pytest.mark.parametrize("identifier", IDS)


def actions_for(env: gym.Env, count: int) -> list[Any]:
    env.action_space.seed(1)
    return [env.action_space.sample() for _ in range(count)]


def an_action(env: gym.Env) -> Any:
    """1, or the only one there is, or a push to the right."""
    space = env.action_space
    return min(1, space.n - 1) if isinstance(space, gym.spaces.Discrete) else space.high


def states_of(env: gym.Env, steps: int, *, draw: bool) -> list[Any]:
    env.reset(seed=0)
    found = [env.unwrapped.get_state()]
    for action in actions_for(env, steps):
        if draw:
            env.render()
        *_, terminated, truncated, _ = env.step(action)
        found.append(env.unwrapped.get_state())
        if terminated or truncated:
            env.reset()
    return found


@every_id
def test_metadata_is_consistent(identifier):
    env = gym.make(identifier)
    assert env.metadata["render_modes"] == MODES
    assert env.metadata["render_fps"] > 0


@every_id
def test_pixels(identifier):
    env = gym.make(identifier, render_mode="rgb_array")
    env.reset(seed=0)
    first = env.render()
    assert first.dtype == np.uint8
    assert first.ndim == 3
    assert first.shape[2] == 3
    assert first.shape[0] in (LOW if identifier in STRIPS else SIDES)
    assert first.shape[1] in SIDES
    for action in actions_for(env, 5):
        *_, terminated, truncated, _ = env.step(action)
        assert env.render().shape == first.shape
        if terminated or truncated:
            break
    assert (env.render() != first).any()


@every_id
def test_text(identifier):
    env = gym.make(identifier, render_mode="ansi")
    env.reset(seed=0)
    shown = env.render()
    assert isinstance(shown, str)
    assert shown.endswith("\n")
    assert max(map(len, shown.splitlines())) <= 100
    env.step(an_action(env))
    assert env.render() != shown


@every_id
def test_the_same_state_gives_the_same_bytes(identifier):
    frames = []
    for _ in range(2):
        env = gym.make(identifier, render_mode="rgb_array")
        env.reset(seed=3)
        env.step(an_action(env))
        frames += [env.render(), env.render()]
    assert len({frame.tobytes() for frame in frames}) == 1
    assert not any(np.shares_memory(frames[0], other) for other in frames[1:])


@every_id
@pytest.mark.parametrize("mode", ["rgb_array", "ansi"])
def test_drawing_changes_nothing(identifier, mode):
    drawn = states_of(gym.make(identifier, render_mode=mode), 30, draw=True)
    assert drawn == states_of(gym.make(identifier), 30, draw=False)


@every_id
def test_lists_of_frames(identifier):
    env = gym.make(identifier, render_mode="rgb_array_list")
    env.reset(seed=0)
    env.step(an_action(env))
    frames = env.render()
    assert len(frames) == 2
    assert all(frame.dtype == np.uint8 for frame in frames)


@every_id
def test_a_window_without_a_screen(identifier, monkeypatch):
    pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = gym.make(identifier, render_mode="human")
    env.reset(seed=0)
    env.step(an_action(env))
    assert env.render() is None
    env.close()


@every_id
def test_pixels_as_observations_hold_no_answers(identifier):
    """`AddRenderObservation` shows agents the picture: it must not name the best arm."""
    env = gym.wrappers.AddRenderObservation(gym.make(identifier, render_mode="rgb_array"))
    observation, _ = env.reset(seed=0)
    assert observation.dtype == np.uint8
    if "means" in gym.make(identifier).unwrapped.get_state():
        one = gym.make(identifier, means=[0.1, 0.9], render_mode="rgb_array")
        other = gym.make(identifier, means=[0.9, 0.1], render_mode="rgb_array")
        one.reset(seed=0)
        other.reset(seed=0)
        assert one.render().tobytes() == other.render().tobytes()


@every_id
def test_keys_name_actions(identifier):
    env = gym.make(identifier)
    if not isinstance(env.action_space, gym.spaces.Discrete):
        assert not hasattr(env.unwrapped, "get_keys_to_action")  # forces are numbers
        return
    keys = env.unwrapped.get_keys_to_action()
    assert {action for action in keys.values() if action in env.action_space} == set(keys.values())
    assert len(set(keys.values())) == min(env.action_space.n, 10)


def test_pictures_need_neither_pygame_nor_matplotlib():
    program = (
        "import sys, gymnasium as gym, rlsuite\n"
        f"for i in {IDS!r}:\n"
        "    for mode in ('rgb_array', 'ansi'):\n"
        "        env = gym.make(i, render_mode=mode)\n"
        "        env.reset(seed=0)\n"
        "        env.render()\n"
        "print([m for m in ('pygame', 'matplotlib', 'PIL') if m in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_gymnasiums_own_test_of_pictures_passes_on_our_ids(tmp_path):
    """`tests/envs/test_rendering.py` of a Gymnasium checkout, unmodified, over our ids."""
    source = os.environ.get("GYMNASIUM_SOURCE")
    if not source:
        pytest.skip("GYMNASIUM_SOURCE names no Gymnasium checkout; wheels carry no tests")
    suite = Path(source).resolve() / "tests" / "envs" / "test_rendering.py"
    if not suite.is_file():
        pytest.skip(f"GYMNASIUM_SOURCE={source} has no tests/envs/test_rendering.py")
    plugins = Path(__file__).parent / "upstream"
    report = tmp_path / "report.xml"
    flags = ["-p", "rlsuite_specs", "-p", "no:cacheprovider", "--import-mode=prepend"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *flags, f"--junitxml={report}", str(suite)],
        cwd=tmp_path,
        env={
            **os.environ,
            "GYMNASIUM_SOURCE": str(Path(source).resolve()),
            "PYTHONPATH": os.pathsep.join([str(plugins), os.environ.get("PYTHONPATH", "")]),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    cases = list(ElementTree.parse(report).iter("testcase"))
    ran = [case for case in cases if case.attrib["name"].startswith("test_render_modes[")]
    assert len(ran) == len(IDS)  # its cases are numbered, not named
    assert not any(list(case) for case in ran)  # a skip or a failure would be a child
