"""Pictures of trained policies: whose, of which episode, and what happens without them."""

from __future__ import annotations

import io
import shutil

import numpy as np
import pytest

import rlsuite
from registry.errors import SettingError
from registry.specs import TaskSpec
from rlsuite.evaluation import evaluate
from rlsuite.reporting import pictures
from rlsuite.reporting.pictures import Filmstrip, film_strip, task_of, task_pictures
from rlsuite.reporting.report import render_report
from rlsuite.store import Store

GRID = "rlsuite/GridWorld-v0"


class Right:
    """Always the second action; no more than `predict`."""

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return 1, state


def task(**keywords):
    fields = {"id": GRID, "env_id": GRID, "env_kwargs": {"render_mode": "rgb_array", **keywords}}
    return TaskSpec(**fields)


def opened(frame):
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(frame.png)).convert("RGB"))


def test_a_strip_runs_from_the_start_to_the_end_of_the_first_evaluation_episode():
    strip = film_strip(Right(), task(), Filmstrip(agent="a", seed=3), deterministic=True)
    played = evaluate(Right(), GRID, episodes=1, seed=3)
    (episode,) = played.episodes
    assert (strip.steps, strip.episode_return) == (episode.length, episode.episode_return)
    steps = [frame.step for frame in strip.frames]
    assert (steps[0], steps[-1]) == (0, episode.length)
    assert steps == sorted(set(steps))
    assert 2 <= len(steps) <= pictures.FRAMES
    sizes = {opened(frame).shape for frame in strip.frames}
    assert len(sizes) == 1
    assert max(sizes.pop()) <= pictures.SIDE
    assert strip.frames[0].uri.startswith("data:image/png;base64,iVBOR")


def test_a_long_episode_is_filmed_in_few_frames_and_no_further_than_the_limit(monkeypatch):
    monkeypatch.setattr(pictures, "STEPS", 90)
    strip = film_strip(Right(), task(), Filmstrip(agent="a", seed=0), deterministic=True)
    again = film_strip(Right(), task(), Filmstrip(agent="a", seed=0), deterministic=True)
    assert strip == again
    assert strip.steps == 90
    assert strip.episode_return is None
    gaps = np.diff([frame.step for frame in strip.frames])
    assert gaps.max() <= 2 * gaps.min()


def test_an_environment_without_a_picture_is_refused():
    written = task(render_mode="ansi")
    with pytest.raises(SettingError, match=r"render\(\) gave str, not a picture"):
        film_strip(Right(), written, Filmstrip(agent="a", seed=0), deterministic=True)


@pytest.fixture(name="trained", scope="module")
def trained_fixture(tmp_path_factory):
    """A store of a few short trainings, and its records."""
    path = tmp_path_factory.mktemp("store") / "s.sqlite"
    rlsuite.benchmark(
        agents={"q": "rlsuite/QLearning-v0", "random": "rlsuite/Random-v0"},
        tasks=[GRID],
        seeds=3,
        total_timesteps=400,
        store=path,
    )
    with Store(path, read_only=True) as store:
        return path, list(store.records())


def test_the_run_in_the_middle_of_the_best_agent_is_shown(trained):
    path, records = trained
    found = task_pictures(records, path)
    assert set(found) == {GRID}
    means = {
        agent: np.mean([r.mean_return for r in records if (r.task, r.agent) == (GRID, agent)])
        for agent in ("q", "random")
    }
    best = max(means, key=means.get)
    returns = {r.seed: r.mean_return for r in records if (r.task, r.agent) == (GRID, best)}
    strip = found[GRID]
    assert strip.agent == best
    assert returns[strip.seed] == sorted(returns.values())[1]
    assert strip.frames
    assert task_pictures(records, path) == found
    text = render_report(records, pictures=found)
    assert text.count('<img src="data:image/png;base64,') == len(strip.frames)
    assert f"One episode of {best}, seed {strip.seed} after training" in text


def test_without_policies_there_are_no_pictures(trained, tmp_path):
    _, records = trained
    assert task_pictures(records, tmp_path / "other.sqlite") == {}
    assert "<img" not in render_report(records)


def test_a_policy_that_cannot_be_played_says_so(trained, tmp_path):
    path, records = trained
    copy = tmp_path / "s.sqlite"
    shutil.copytree(path.with_suffix(".policies"), copy.with_suffix(".policies"))
    for file in copy.with_suffix(".policies").glob("*/*"):
        file.write_bytes(b"<script>")
    strip = task_pictures(records, copy)[GRID]
    assert strip.frames == ()
    assert strip.note.startswith("CheckpointError")
    assert "No pictures of" in render_report(records, pictures={GRID: strip})


def test_a_task_comes_back_from_its_key(trained):
    _, records = trained
    (found,) = {r.task: task_of(r.key.identity["task"]) for r in records if r.task == GRID}.values()
    assert (found.id, found.env_id, found.metric) == (GRID, GRID, "final_return")
